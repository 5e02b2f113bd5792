#!/usr/bin/env python3
"""Runs every test step, counts what passed, and ends with one line: `N passed, N failed`.

The steps are targets of the Makefile. Their output streams through; the counts are read from what the
runners print (cargo test, ExUnit, and our own C runner); a step without counts, such as a linter, is one
test. A step that fails without naming a failed test, hangs, or runs no test at all counts as one failure.
Later steps run whatever earlier ones did.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "suite")

# (target, whether it must print counts, seconds after which it is hanging)
STEPS = [
    ("lint", False, 1800),
    ("test-rust", True, 1800),
    ("test-crash", True, 1800),
    ("test-models", True, 1800),
    ("test-c", True, 1800),
    ("test-elixir", True, 1800),
]

COUNTS = [
    # cargo test: test result: ok. 12 passed; 0 failed; …
    re.compile(r"^test result: \w+\. (?P<passed>\d+) passed; (?P<failed>\d+) failed"),
    # our own runners: 12 passed, 0 failed
    re.compile(r"^(?P<passed>\d+) passed, (?P<failed>\d+) failed$"),
    # ExUnit: 3 doctests, 12 tests, 1 failure, 2 excluded
    re.compile(
        r"^(?:(?P<doctests>\d+) doctests?, )?(?:\d+ propert\w+, )?(?P<tests>\d+) tests?, "
        r"(?P<failures>\d+) failures?(?:, (?P<excluded>\d+) excluded)?(?:, (?P<skipped>\d+) skipped)?"
    ),
]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def count_line(line):
    """What one line of output says: (passed, failed), or None."""
    line = COLOUR.sub("", line).strip()
    for pattern in COUNTS:
        match = pattern.match(line)
        if not match:
            continue
        found = {name: int(value) for name, value in match.groupdict().items() if value is not None}
        if "passed" in found:
            return found["passed"], found["failed"]
        run = found.get("doctests", 0) + found["tests"]
        run -= found.get("excluded", 0) + found.get("skipped", 0)
        return run - found["failures"], found["failures"]
    return None


def run_step(target, must_count, limit):
    """Runs one target; returns (passed, failed, remark)."""
    log_path = os.path.join(LOGS, target + ".log")
    passed = failed = 0
    hung = threading.Event()
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["make", "--no-print-directory", target],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )

        def stop():
            hung.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                log.write(line)
                counts = count_line(line)
                if counts:
                    passed += counts[0]
                    failed += counts[1]
            status = process.wait()
        finally:
            timer.cancel()
    if hung.is_set():
        return passed, failed + 1, f"stopped after {limit} s"
    if status != 0:
        return passed, max(failed, 1), f"exit {status}, see {os.path.relpath(log_path, ROOT)}"
    if must_count and passed == 0:
        return 0, 1, "no test ran"
    return (passed, failed, "") if must_count else (max(passed, 1), failed, "")


def main():
    os.makedirs(LOGS, exist_ok=True)
    chosen = sys.argv[1:] or [step[0] for step in STEPS]
    unknown = set(chosen) - {step[0] for step in STEPS}
    if unknown:
        sys.exit(f"suite.py: unknown step: {', '.join(sorted(unknown))}")
    steps = [step for step in STEPS if step[0] in chosen]
    results = []
    for number, (target, must_count, limit) in enumerate(steps, 1):
        print(f"==> [{number}/{len(steps)}] make {target}", flush=True)
        start = time.monotonic()
        passed, failed, remark = run_step(target, must_count, limit)
        results.append((target, passed, failed, time.monotonic() - start, remark))
    print()
    for target, passed, failed, seconds, remark in results:
        print(f"{target:14} {passed:6} passed {failed:4} failed {seconds:6.0f} s  {remark}".rstrip())
    passed = sum(result[1] for result in results)
    failed = sum(result[2] for result in results)
    summary = f"{passed} passed, {failed} failed"
    with open(os.path.join(LOGS, "summary"), "w", encoding="utf-8") as file:
        file.write(summary + "\n")
    print(summary, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
