#!/usr/bin/env bash
# Compiles examples/c/log_store.c against the shared library in build/ and runs it on a log.
#
# Usage: scripts/demo_c.sh LOG PATTERN     (an extended regular expression; group 1 is the correlation id)
set -euo pipefail
cd "$(dirname "$0")/.."
log=$1
pattern=$2
[ -f build/lib/libelixirscope_foundation.so ] || scripts/build_libraries.sh
mkdir -p build/demo
cc -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -Ibuild/include examples/c/log_store.c \
    -o build/demo/log_store -Lbuild/lib -lelixirscope_foundation -Wl,-rpath,"$PWD/build/lib"
exec build/demo/log_store "$log" "$pattern"
