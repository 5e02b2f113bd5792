#!/usr/bin/env bash
# Builds the C library the way it is shipped: shared and static, with link-time optimisation, the header and
# a pkg-config file beside them, under build/ (include/, lib/, lib/pkgconfig/).
#
# Each kind is built by itself: with several crate types in one build cargo drops LTO without a word.
set -euo pipefail
cd "$(dirname "$0")/.."

name=elixirscope_foundation
target_dir=${CARGO_TARGET_DIR:-target}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

for kind in cdylib staticlib; do
    cargo rustc --locked --quiet --release --package elixirscope-foundation --lib --crate-type "$kind"
done

mkdir -p build/include build/lib/pkgconfig
soname=$(readelf -d "$target_dir/release/lib$name.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ -n "$soname" ] || { echo "build_libraries.sh: the shared library has no SONAME" >&2; exit 1; }

# A temporary name and a rename: a process that has the old file mapped keeps it whole.
install_file() {
    cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}
install_file "$target_dir/release/lib$name.so" "build/lib/$soname"
install_file "$target_dir/release/lib$name.a" "build/lib/lib$name.a"
install_file "include/$name.h" "build/include/$name.h"
ln -sfn "$soname" "build/lib/lib$name.so"
cat >"build/lib/pkgconfig/$name.pc" <<END
prefix=\${pcfiledir}/../..
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: $name
Description: Configuration, an event store and telemetry in one process
Version: $version
Libs: -L\${libdir} -l$name
Libs.private: -lpthread -ldl -lm
Cflags: -I\${includedir}
END
echo "build/lib/$soname $(stat -c %s "build/lib/$soname") bytes, build/lib/lib$name.a, build/include/$name.h"
