#!/usr/bin/env python3
"""Makes one big real log of this machine's own package and system logs, in time order.

Usage: make_log.py [--lines N] FILE

Each line is `YYYY-MM-DD HH:MM:SS what package:architecture …`, the form of dpkg's own log. The lines come
from dpkg.log (also rotated ones), apt's term.log, and the file lists of the installed packages, each file
at the time its package was installed. When they are fewer than N lines, the whole log is repeated with its
times moved back by its own length, and the script says so.
"""

import argparse
import datetime
import glob
import gzip
import os
import re
import sys

STAMP = "%Y-%m-%d %H:%M:%S"
EPOCH = datetime.datetime(1970, 1, 1)
DPKG_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.+)$")
TERM_START = re.compile(r"^Log started: (\d{4}-\d\d-\d\d)\s+(\d\d:\d\d:\d\d)")
TERM_PACKAGE = re.compile(r"^(Unpacking|Setting up|Removing|Preparing to unpack|Selecting previously) .+")


def seconds(text):
    return int((datetime.datetime.strptime(text, STAMP) - EPOCH).total_seconds())


def open_text(path):
    opener = gzip.open if path.endswith(".gz") else open
    return opener(path, "rt", encoding="utf-8", errors="replace")


def dpkg_log():
    """The lines of dpkg's log, rotated parts included."""
    for path in glob.glob("/var/log/dpkg.log*"):
        with open_text(path) as log:
            for line in log:
                match = DPKG_LINE.match(line.rstrip("\n"))
                if match:
                    yield seconds(match[1]), match[2]


def apt_term_log():
    """What apt's terminal log says of packages, at the time its run started."""
    for path in glob.glob("/var/log/apt/term.log*"):
        if path.endswith(".xz"):
            continue
        now = None
        with open_text(path) as log:
            for line in log:
                start = TERM_START.match(line)
                if start:
                    now = seconds(f"{start[1]} {start[2]}")
                elif now is not None and TERM_PACKAGE.match(line):
                    yield now, "terminal " + line.rstrip()


def file_lists():
    """One line for each file of each installed package, at the time of its installation."""
    for path in glob.glob("/var/lib/dpkg/info/*.list"):
        package = os.path.basename(path)[: -len(".list")]
        if ":" not in package:
            package += ":all"
        installed = int(os.stat(path).st_mtime)
        with open_text(path) as files:
            for line in files:
                yield installed, f"file {package} {line.rstrip()}"


def readable(source):
    """The lines of a source; none of what this user may not read."""
    try:
        return list(source())
    except PermissionError as error:
        print(f"make_log.py: left out, not readable by this user: {error.filename}", file=sys.stderr)
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="at least so many lines")
    parser.add_argument("file")
    arguments = parser.parse_args()

    real = []
    for name, source in [("dpkg.log", dpkg_log), ("apt term.log", apt_term_log), ("file lists", file_lists)]:
        lines = readable(source)
        print(f"  {name:14} {len(lines):9,} lines")
        real += lines
    if not real:
        sys.exit("make_log.py: this machine has no package logs under /var/log and /var/lib/dpkg")
    real.sort(key=lambda line: line[0])

    span = real[-1][0] - real[0][0] + 1
    rounds = -(-arguments.lines // len(real))
    os.makedirs(os.path.dirname(os.path.abspath(arguments.file)), exist_ok=True)
    unfinished = arguments.file + ".new"
    with open(unfinished, "w", encoding="utf-8") as out:
        for turn in reversed(range(rounds)):
            stamp_of, stamp = None, ""
            for at, text in real:
                if at != stamp_of:
                    moved = EPOCH + datetime.timedelta(seconds=at - turn * span)
                    stamp_of, stamp = at, moved.strftime(STAMP)
                out.write(f"{stamp} {text}\n")
    os.replace(unfinished, arguments.file)
    repeated = f", {rounds} times over with the times moved back by {span:,} s each" if rounds > 1 else ""
    print(f"{arguments.file}: {rounds * len(real):,} lines = {len(real):,} real ones{repeated}")


if __name__ == "__main__":
    main()
