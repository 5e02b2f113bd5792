#!/usr/bin/env bash
# Makes sure that the named tools are there; what is missing is installed from the distribution.
#
# Usage: scripts/need.sh TOOL…     (rust rust-src gcc g++ valgrind clang-format shellcheck elixir dialyzer promtool
#                                  rocksdb zstd patch)
#        scripts/need.sh all
#
# Says what it installs. Without root it says what to install and exits with 69, changing nothing.
set -euo pipefail

readonly cannot=69 # EX_UNAVAILABLE of sysexits.h
here=$(cd "$(dirname "$0")/.." && pwd)
readonly tools_dir="$here/build/tools"
PATH="$tools_dir/usr/bin:$PATH"

say() { printf 'need.sh: %s\n' "$*" >&2; }

# The distribution's package for a tool.
package_of() {
    case $1 in
        gcc) echo "gcc libc6-dev" ;;
        dialyzer) echo "erlang-dialyzer" ;;
        rocksdb) echo "librocksdb-dev" ;;
        *) echo "$1" ;;
    esac
}

missing() {
    case $1 in
        # A library, not a program.
        rocksdb) ! compgen -G '/usr/lib*/*/librocksdb.so' >/dev/null && ! compgen -G '/usr/lib*/librocksdb.so' >/dev/null ;;
        *) ! command -v "$1" >/dev/null 2>&1 ;;
    esac
}

add_component() {
    say "adding the Rust component $1"
    if ! rustup component add "$1" >&2; then
        say "could not add it; install it with: rustup component add $1"
        exit $cannot
    fi
}

need_rust() {
    if missing cargo; then
        say "Rust is missing: install rustup (https://rustup.rs), then run this again"
        exit $cannot
    fi
    local component
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || add_component "$component"
    done
}

# The sources of the standard library, to build it in another way.
need_rust_src() {
    need_rust
    [ -f "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ] || add_component rust-src
}

apt_lists_are_there() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

as_root_or_say() { # $1: what a person has to run instead
    if [ "$(id -u)" -ne 0 ] || missing apt-get; then
        say "missing, and this user cannot install it. As root, run:"
        say "    $1"
        exit $cannot
    fi
}

# Unpacks only the one program: its package would start a server.
need_promtool() {
    missing promtool || return 0
    if ! apt_lists_are_there; then
        as_root_or_say "apt-get update"
        apt-get update -qq >&2
    fi
    say "unpacking promtool of the distribution's package prometheus into build/tools"
    local download
    download=$(mktemp -d)
    if ! (cd "$download" && apt-get download -qq -o APT::Sandbox::User=root prometheus >&2 && dpkg-deb -x prometheus_*.deb unpacked); then
        rm -rf "$download"
        say "could not download it; install it with: apt-get install prometheus"
        exit $cannot
    fi
    mkdir -p "$tools_dir/usr/bin"
    mv "$download/unpacked/usr/bin/promtool" "$tools_dir/usr/bin/promtool"
    rm -rf "$download"
}

install_packages() {
    [ "$#" -gt 0 ] || return 0
    as_root_or_say "apt-get install --no-install-recommends $*"
    say "installing from the distribution: $*"
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    apt_lists_are_there || apt-get update -qq >"$log" 2>&1 || true
    # Lists that are old name packages that are gone: refresh them once and try again.
    if ! apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 &&
        ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        rm -f "$log"
        say "apt-get could not install them. Run: apt-get install $*"
        exit $cannot
    fi
    rm -f "$log"
}

[ "$#" -gt 0 ] || { say "name a tool, or all"; exit 64; }
if [ "$1" = all ]; then
    set -- rust gcc g++ valgrind clang-format shellcheck elixir dialyzer promtool zstd patch
fi

packages=()
for tool in "$@"; do
    case $tool in
        rust | rust-src | promtool) ;;
        gcc | g++ | valgrind | clang-format | shellcheck | elixir | dialyzer | rocksdb | zstd | patch)
            if missing "$tool"; then
                read -ra names <<<"$(package_of "$tool")"
                packages+=("${names[@]}")
            fi
            ;;
        *) say "unknown tool: $tool"; exit 64 ;;
    esac
done
# One installation for all of them, before the steps that are not packages.
install_packages "${packages[@]}"
for tool in "$@"; do
    case $tool in
        rust) need_rust ;;
        rust-src) need_rust_src ;;
        promtool) need_promtool ;;
    esac
done
