#!/usr/bin/env bash
# Gets what `make bench*` compares with and cargo cannot build quickly: RocksDB of the distribution, and DuckDB's shared
# library out of the package that has it. What is not to be had is said, and its rows say so too; that is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly package=@duckdb/node-bindings-linux-x64
readonly version=1.5.6-r.1
readonly sum=3f4962cdd266eab2b479a5b5a4a6d063d279b2954ae814ed00385d553b747633
readonly folder=build/peers
readonly library=$folder/libduckdb.so

say() { printf 'peers.sh: %s\n' "$*" >&2; }

as_pinned() { printf '%s  %s\n' "$sum" "$1" | sha256sum --check --status 2>/dev/null; }

get_duckdb() {
    as_pinned "$library" && return 0
    if [ "$(uname -m)" != x86_64 ] || ! command -v npm >/dev/null 2>&1; then
        say "DuckDB comes as an npm package for x86_64: without npm or on another processor it is left out"
        return 0
    fi
    say "unpacking DuckDB's library of $package $version into $folder"
    local download
    download=$(mktemp -d)
    if (cd "$download" && npm pack --silent "$package@$version" >/dev/null && tar xzf ./*.tgz) &&
        as_pinned "$download/package/libduckdb.so"; then
        mkdir -p "$folder"
        mv "$download/package/libduckdb.so" "$library"
    else
        say "it could not be had as it was pinned; DuckDB is left out"
    fi
    rm -rf "$download"
}

scripts/need.sh rocksdb || say "RocksDB is left out"
get_duckdb
