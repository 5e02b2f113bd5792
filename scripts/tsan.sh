#!/usr/bin/env bash
# Runs `cargo test ARGUMENT…` under ThreadSanitizer: a race that it sees fails the test's process with status 66.
#
# The standard library is built from its sources with the same instrumentation. Without that the locks in it would be
# invisible, and everything they guard a false race; with it there is nothing to suppress. Both the sanitizer and the
# building of the standard library are unstable options, which a stable compiler takes with RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
# Fast enough to meet itself, and lines in the reports; assertions stay on.
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread
exec cargo test --locked --no-default-features -Zbuild-std --target "$target" \
    --target-dir "${ESF_TSAN_TARGET:-target-tsan}" "$@"
