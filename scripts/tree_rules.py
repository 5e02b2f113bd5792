#!/usr/bin/env python3
"""The rules of the tree that no linter has: length of files, leftovers, what must not be committed."""

import ast
import re
import subprocess
import sys

MOST_LINES = 700
SOURCES = (".rs", ".c", ".h", ".hpp", ".cpp", ".ex", ".exs", ".py", ".sh", ".md")
GENERATED = {"include/elixirscope_foundation.h", "docs/errors.md"}
# Assembled, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b|\bdbg!\(")
BUILT = (".so", ".o", ".a", ".beam", ".pyc")


def tracked():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.split("\0") if name]


def complaints(name):
    if name.endswith(BUILT):
        yield "a build product is committed"
        return
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        return
    lines = text.split("\n")
    if name.endswith(SOURCES) and name not in GENERATED and len(lines) - 1 > MOST_LINES:
        yield f"{len(lines) - 1} lines; at most {MOST_LINES}, and most files should be under 400"
    if name.endswith(".py"):
        try:
            ast.parse(text, name)
        except SyntaxError as error:
            yield f"not Python: {error}"
    if name.endswith(SOURCES) and not name.endswith(".md"):
        for number, line in enumerate(lines, 1):
            if LEFTOVERS.search(line):
                yield f"line {number}: a leftover: {line.strip()[:80]}"
    if text and not text.endswith("\n"):
        yield "the last line has no end"


def main():
    found = [f"{name}: {complaint}" for name in tracked() for complaint in complaints(name)]
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
