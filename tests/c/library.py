#!/usr/bin/env python3
"""Checks the built libraries against the header: symbols, SONAME, nodelete, link-time optimisation, size.

    library.py HEADER LIBRARY_DIR
"""

import os
import re
import subprocess
import sys

NAME = "libelixirscope_foundation"
MOST_BYTES = 4 << 20  # of the stripped shared library

checks = {"passed": 0, "failed": 0}


def check(holds, what):
    checks["passed" if holds else "failed"] += 1
    if not holds:
        print(f"library.py: {what}")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def symbols(*arguments):
    """What nm lists: (kind, name)."""
    lines = (line.split() for line in output("nm", *arguments).splitlines())
    return [(words[-2], words[-1]) for words in lines if len(words) >= 2 and len(words[-2]) == 1]


def main():
    header_path, folder = sys.argv[1:]
    with open(header_path, encoding="ascii") as file:
        header = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    declared = set(re.findall(r"^\w+ (esf_\w+)\([^;{]*\);", header, flags=re.M))
    abi = re.search(r"#define ESF_ABI_VERSION (\d+)u", header)[1]
    check(len(declared) > 40, f"only {len(declared)} functions in the header")
    # The library's own test needs this one; the header does not have it.
    declared.add("esf__test_panic")

    shared = os.path.join(folder, f"{NAME}.so.{abi}")
    exported = {name for _, name in symbols("-D", "--defined-only", shared)}
    check(exported == declared, f"exported and not declared: {sorted(exported - declared)}; "
          f"declared and not exported: {sorted(declared - exported)}")

    dynamic = output("readelf", "--wide", "--dynamic", shared)
    check(f"soname: [{NAME}.so.{abi}]" in dynamic, "the SONAME is not the one of this ABI")
    check(re.search(r"FLAGS_1.*NODELETE", dynamic), "not linked with -z nodelete")
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", dynamic))
    allowed = {"libgcc_s.so.1", "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    check(needed <= allowed, f"needs {sorted(needed - allowed)}")

    # With link-time optimisation all crates end in one unit of compilation, ours; without it, the symbol
    # table names a unit of each crate.
    units = {unit_of(line) for line in output("readelf", "--wide", "--syms", shared).splitlines()}
    units -= {None, "crtstuff", "compiler_builtins"}
    check(units == {"elixirscope_foundation"}, f"built without link-time optimisation: units of {sorted(units)}")

    stripped = os.path.join(folder, "stripped.so")
    output("strip", "-o", stripped, shared)
    size = os.path.getsize(stripped)
    os.remove(stripped)
    check(size <= MOST_BYTES, f"the stripped shared library has {size} bytes; at most {MOST_BYTES}")

    static = {name for kind, name in symbols("--defined-only", "--extern-only",
                                             os.path.join(folder, f"{NAME}.a")) if kind in "TW"}
    check(declared <= static, f"not in the static library: {sorted(declared - static)}")

    print(f"{checks['passed']} passed, {checks['failed']} failed")
    sys.exit(1 if checks["failed"] else 0)


def unit_of(line):
    """The crate of a symbol table's line, if the line names a unit of compilation; C and assembly are zstd's."""
    words = line.split()
    if len(words) != 8 or words[3] != "FILE" or words[7].endswith((".c", ".S")):
        return None
    return words[7].partition(".")[0]


if __name__ == "__main__":
    main()
