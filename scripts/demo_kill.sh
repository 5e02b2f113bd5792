#!/usr/bin/env bash
# The last act of the demo: Elixir stores events to files and is killed with SIGKILL in mid-write; a C program opens the
# directory, and the counts must agree with what had been acknowledged.
#
# Usage: scripts/demo_kill.sh DIRECTORY [MODE…]      (default: crash_safe group)
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$(realpath -m "$1")
shift
modes=("$@")
[ ${#modes[@]} -gt 0 ] || modes=(crash_safe group)
[ -f build/lib/libelixirscope_foundation.so ] || scripts/build_libraries.sh
mkdir -p build/demo
cc -std=c11 -D_DEFAULT_SOURCE -O2 -Wall -Wextra -Wpedantic -Werror -Ibuild/include examples/c/recover_store.c \
    -o build/demo/recover_store -Lbuild/lib -lelixirscope_foundation -Wl,-rpath,"$PWD/build/lib"

acked() { # the sum of what all producers were told
    local sum=0 file
    for file in "$1"/producer-*; do
        if [ -s "$file" ]; then sum=$((sum + $(cat "$file"))); fi
    done
    echo "$sum"
}

for mode in "${modes[@]}"; do
    rm -rf "${directory:?}/$mode"
    mkdir -p "$directory/$mode"
    # The shell becomes the virtual machine, so that its process is the one to kill.
    (cd bindings/elixir && MIX_ENV=prod exec mix run --no-compile ../../examples/elixir/flight_recorder.exs \
        "$directory/$mode/store" "$directory/$mode/acks" "$mode") &
    writer=$!
    target=100000
    if [ "$mode" != crash_safe ]; then target=5000; fi
    until [ "$(acked "$directory/$mode/acks" 2>/dev/null || echo 0)" -ge $target ]; do
        if ! kill -0 $writer 2>/dev/null; then
            echo "demo: the writer ended by itself" >&2
            exit 1
        fi
        sleep 0.1
    done
    kill -KILL $writer
    wait $writer 2>/dev/null || true
    echo "  killed with SIGKILL in mid-write; now C opens the directory"
    build/demo/recover_store "$directory/$mode/store" "$directory/$mode/acks"
done
