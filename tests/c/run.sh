#!/usr/bin/env bash
# Tests of the C ABI: the header under several compilers and standards, the built libraries, and every test
# program against the shared and the static library, under AddressSanitizer and UBSan, and under valgrind.
#
# Usage: tests/c/run.sh [NAME…]      only these test programs (matrix, config, …), without the rest
#
# ESF_BUILD (default: build) is a folder with include/ and lib/, as scripts/build_libraries.sh makes it.
# The last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
out=$root/build/c
passed=0
failed=0

if [ -z "${ESF_BUILD:-}" ]; then
    ESF_BUILD=$root/build
    scripts/build_libraries.sh
fi
lib=$(cd "$ESF_BUILD/lib" && pwd)
include=$(cd "$ESF_BUILD/include" && pwd)
header=$include/elixirscope_foundation.h
mkdir -p "$out"
# The panic that a test asks for needs no backtrace.
export RUST_BACKTRACE=0

strict=(-Wall -Wextra -Wpedantic -Werror)
shared=("-L$lib" -lelixirscope_foundation "-Wl,-rpath,$lib")
static=("$lib/libelixirscope_foundation.a" -ldl)

# Counts one thing that holds or does not.
check() { # $1: what it is; the rest: the command
    local what=$1
    shift
    if "$@" >"$out/check.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what: $*"
        tail -n 30 "$out/check.log"
    fi
}

# Runs something that ends with "N passed, N failed" and adds its counts; shows its output if it fails.
counted() { # $1: what it is; the rest: the command
    local what=$1 last status=0
    shift
    (cd "$out" && timeout 300 "$@") >"$out/$what.log" 2>&1 || status=$?
    last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$out/$what.log" | tail -n 1 || true)
    if [ -n "$last" ]; then
        passed=$((passed + ${last%% *}))
        last=${last#*, }
        failed=$((failed + ${last%% *}))
    fi
    if [ "$status" -ne 0 ]; then
        # A crash, or an error that the sanitizer or valgrind saw in checks that all passed.
        if [ -z "$last" ] || [ "${last%% *}" = 0 ]; then
            failed=$((failed + 1))
        fi
        echo "FAILED: $what (exit code $status)"
        tail -n 60 "$out/$what.log"
    else
        printf '%-28s %s\n' "$what" "$(grep -E ' passed, 0 failed$' "$out/$what.log" | tail -n 1)"
    fi
}

check_header() {
    local compiler standard
    printf '#include <elixirscope_foundation.h>\n#include <elixirscope_foundation.h>\n%s\n' \
        'int main(void) { esf_event event = ESF_EVENT_INIT; esf_receipt receipt = ESF_RECEIPT_INIT;
         esf_event_query query = ESF_QUERY_INIT; esf_event_view view = ESF_VIEW_INIT;
         esf_config_change change = ESF_CHANGE_INIT; esf_trace_info info = ESF_TRACE_INFO_INIT; esf_gap gap = ESF_GAP_INIT;
         esf_tail_options tail = ESF_TAIL_INIT; esf_string owned = ESF_STRING_INIT;
         esf_str text = ESF_STR_INIT; event.type = ESF_STR("x"); text = event.type;
         return (int)(receipt.size + query.size + view.size + change.size + info.size + gap.size + tail.size + text.len + owned.len) == 0 ||
                !ESF_CHECK_VERSION(); }' >"$out/header.c"
    for compiler in gcc clang; do
        if command -v "$compiler" >/dev/null; then
            for standard in c99 c11 c17; do
                check "header as $standard with $compiler" "$compiler" "-std=$standard" "${strict[@]}" \
                    -Wconversion -Wstrict-prototypes -I"$include" -c "$out/header.c" -o "$out/header.o"
            done
            for standard in c++11 c++17 c++20; do
                check "header as $standard with $compiler" "$compiler" -x c++ "-std=$standard" "${strict[@]}" \
                    -Wconversion -I"$include" -c "$out/header.c" -o "$out/header.o"
            done
        fi
    done
}

# Compiles one program in three ways and runs it in four.
test_program() { # $1: its name
    local name=$1 source=$root/tests/c/test_$1.c
    if [ "$name" = matrix ]; then
        source=$out/matrix.c
        python3 tests/c/matrix.py "$header" >"$source"
    elif [ "$name" = contract ]; then
        source=$out/contract.c
        python3 tests/c/scenario.py tests/contract/queries.jsonl >"$source"
    fi
    local flags=(-std=c11 -D_DEFAULT_SOURCE -g -O1 "${strict[@]}" -Itests/c -I"$include" "$source")
    # shellcheck disable=SC2054 # the comma is the option's
    local sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    local ends=(-lm -lpthread)
    check "compile $name" gcc "${flags[@]}" -o "$out/$name" "${shared[@]}" "${ends[@]}"
    check "compile $name statically" gcc "${flags[@]}" -o "$out/$name.static" "${static[@]}" "${ends[@]}"
    check "compile $name sanitized" gcc "${sanitize[@]}" "${flags[@]}" -o "$out/$name.sanitized" "${shared[@]}" \
        "${ends[@]}"
    counted "$name" "$out/$name"
    counted "$name.static" "$out/$name.static"
    counted "$name.sanitized" "$out/$name.sanitized"
    counted "$name.valgrind" valgrind --quiet --error-exitcode=9 --fair-sched=yes --trace-children=no \
        --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite "$out/$name"
}

# Loaded at run time, beside a copy of itself.
check_dlopen() {
    # Nothing of the header's inline helpers that would need the library at link time is called.
    cp "$lib/libelixirscope_foundation.so" "$out/copy.so"
    check "compile dlopen" gcc -std=c11 -D_GNU_SOURCE -g -O2 "${strict[@]}" -Itests/c -I"$include" \
        tests/c/test_dlopen.c -o "$out/dlopen" -ldl
    counted dlopen "$out/dlopen" "$lib/libelixirscope_foundation.so" "$out/copy.so"
    counted dlopen.valgrind valgrind --quiet --error-exitcode=9 "$out/dlopen" \
        "$lib/libelixirscope_foundation.so" "$out/copy.so"
}

# The Prometheus text of a program, by Prometheus' own tool.
check_metrics() {
    counted telemetry.text "$out/telemetry" "$out/metrics.txt"
    if command -v promtool >/dev/null; then
        check "promtool check metrics" promtool check metrics <"$out/metrics.txt"
    fi
}

# The example, on a log of known content.
check_example() {
    local log=$out/log_store.log line
    for ((line = 0; line < 3000; line++)); do
        printf '2026-11-22 03:%02d:%02d order-%d paid\n' $((line / 60)) $((line % 60)) $((line % 10))
    done >"$log"
    check "compile log_store" gcc -std=c11 -O2 "${strict[@]}" -I"$include" examples/c/log_store.c -o "$out/log_store" \
        "${shared[@]}"
    # shellcheck disable=SC2016 # the inner shell expands them
    check "run log_store" sh -c '"$1" "$2" "$3" >"$4"' - "$out/log_store" "$log" '(order-[0-9]+)' "$out/found.txt"
    check "log_store finds a correlation" grep -qx 'order-0: 300 events' "$out/found.txt"
    check "log_store finds a time range" grep -q "^one hundredth of the log's time: [1-9]" "$out/found.txt"
    check "log_store counts lines" grep -qF 'log_lines_total{program="log_store"} 3000' "$out/found.txt"
}

names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
    check_header
    counted library python3 "$root/tests/c/library.py" "$header" "$lib"
    names=(matrix error foundation config watch event later bounds query summary trace tail disk contract telemetry fork)
fi
for name in "${names[@]}"; do
    test_program "$name"
done
if [ "$#" -eq 0 ]; then
    check_dlopen
    check_metrics
    check_example
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
