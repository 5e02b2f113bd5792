#!/usr/bin/env bash
# Formatters and linters of every language, and the rules of the tree. Goes on after a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

check() { # $1: what it is; the rest: the command
    local what=$1
    shift
    if "$@"; then
        printf '%-40s ok\n' "$what"
    else
        printf '%-40s FAILED: %s\n' "$what" "$*"
        failed=1
    fi
}
tracked() { # files of these patterns that git has or would take, and that are there
    git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
        if [ -f "$file" ]; then echo "$file"; fi
    done
}

check "cargo fmt" cargo fmt --all --check
check "cargo clippy" cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
check "cargo clippy of the crash tests" \
    cargo clippy --locked --quiet --features crash-tests --test crash -- -D warnings
check "cargo clippy without the C ABI" cargo clippy --locked --quiet --no-default-features --lib -- -D warnings
# Crates that are workspaces of their own.
for manifest in native/*/Cargo.toml; do
    if grep -qs '^\[workspace\]' "$manifest"; then
        check "cargo fmt $manifest" cargo fmt --manifest-path "$manifest" --check
        check "cargo clippy $manifest" \
            cargo clippy --locked --quiet --manifest-path "$manifest" --all-targets -- -D warnings
    fi
done
# The generated header is cbindgen's to format.
mapfile -t c_files < <(tracked '*.c' '*.h' '*.cpp' '*.hpp' | grep -v '^include/elixirscope_foundation.h$')
if [ "${#c_files[@]}" -gt 0 ]; then
    check "clang-format" clang-format --dry-run -Werror "${c_files[@]}"
fi
mapfile -t shell_files < <(tracked '*.sh' .ci/run)
check "shellcheck" shellcheck "${shell_files[@]}"
check "rules of the tree" python3 scripts/tree_rules.py
exit "$failed"
