#!/usr/bin/env python3
"""Compiles and runs the programs of README.md: `readme_snippets.py c` or `readme_snippets.py elixir`.

Each block of the language is a whole program; it passes when it compiles without a warning and exits with 0.
(The Rust ones are documentation tests of the crate.) The last line is `N passed, N failed`.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "build", "readme")


def snippets(language):
    """The blocks of a language: (line number, text)."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        text = readme.read()
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def run_c(path):
    """Compiles against what `make build` made, and runs."""
    program = path.removesuffix(".c")
    library = os.path.join(ROOT, "build")
    compiler = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{library}/include", path]
    linker = ["-o", program, f"-L{library}/lib", "-lelixirscope_foundation", f"-Wl,-rpath,{library}/lib"]
    subprocess.run(compiler + linker, check=True)
    subprocess.run([program], check=True, timeout=60)


def run_elixir(path):
    """Runs inside the binding's project."""
    subprocess.run(
        ["mix", "run", path],
        check=True,
        timeout=300,
        cwd=os.path.join(ROOT, "bindings", "elixir"),
        env={**os.environ, "MIX_ENV": "test"},
    )


RUNNERS = {"c": (".c", run_c), "elixir": (".exs", run_elixir)}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in RUNNERS:
        sys.exit(f"usage: readme_snippets.py {'|'.join(RUNNERS)}")
    language = sys.argv[1]
    ending, run = RUNNERS[language]
    os.makedirs(WORK, exist_ok=True)
    passed = failed = 0
    for line, text in snippets(language):
        path = os.path.join(WORK, f"line_{line}{ending}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            run(path)
            passed += 1
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"README.md, line {line}: {error}", file=sys.stderr)
            failed += 1
    if passed + failed == 0:
        print(f"README.md has no {language} program", file=sys.stderr)
        failed = 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
