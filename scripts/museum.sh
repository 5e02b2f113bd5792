#!/usr/bin/env bash
# The museum of mistakes: puts each of tests/museum/*.patch into a copy of the tree and demands that the model it names
# fails there, and that it does not without the patch. Arguments are names of patches; without any it is all of them.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
copy=$root/target-museum/tree
export RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false
# Our own code is compiled anew for each patch, so that is what has to be quick; the rest is compiled once.
models=(cargo test --locked --lib --no-default-features --target-dir "$root/target-museum"
    --config 'profile.dev.package."*".opt-level=1')

test_of() { # $1: a patch
    echo "events::loom_tests::$(sed -n 's/^Test: //p' "tests/museum/$1.patch")"
}

caught() { # $1: a patch, which is in the tree
    local log=$root/target-museum/$1.log code=0
    if ! "${models[@]}" --no-run >"$log" 2>&1; then
        echo "does not build: $1 (see $log)"
        return 1
    fi
    timeout 300 "${models[@]}" -- --exact "$(test_of "$1")" >"$log" 2>&1 || code=$?
    # A model that fails may also abort, by a second panic.
    if ! grep -q '^running 1 test$' "$log" || [ "$code" -eq 124 ]; then
        echo "does not run: $1 (see $log)"
        return 1
    elif [ "$code" -eq 0 ]; then
        echo "NOT CAUGHT: $1"
        return 1
    fi
    echo "caught: $1"
}

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(basename -s .patch tests/museum/*.patch)

rm -rf "$copy"
mkdir -p "$copy"
tar --exclude='./target*' --exclude=./.git --exclude=./build -cf - . | tar -xf - -C "$copy"
cd "$copy" || exit

# What was built last had a patch in it and may look newer than the copy.
touch src/lib.rs
mapfile -t tests < <(for name in "${names[@]}"; do test_of "$name"; done | sort -u)
if ! LOOM_MAX_PREEMPTIONS=2 "${models[@]}" -- --exact "${tests[@]}" >"$root/target-museum/clean.log" 2>&1; then
    echo "without any patch the models fail (see $root/target-museum/clean.log)"
    exit 1
fi

missed=()
for name in "${names[@]}"; do
    if ! patch --silent --fuzz=0 --dry-run --strip=1 <"tests/museum/$name.patch"; then
        echo "does not fit: $name"
        missed+=("$name")
        continue
    fi
    patch --silent --fuzz=0 --strip=1 <"tests/museum/$name.patch"
    caught "$name" || missed+=("$name")
    patch --silent --fuzz=0 --strip=1 --reverse <"tests/museum/$name.patch"
done
echo "${#names[@]} mistakes, ${#missed[@]} not caught: ${missed[*]-}"
[ ${#missed[@]} -eq 0 ]
