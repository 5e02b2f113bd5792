#!/usr/bin/env python3
"""Shows that `make test-tsan` would notice: plants mistakes in a copy of the tree, one at a time, and expects a report.

Usage: scripts/tsan_planted.py [NAME…]      (without names: all)

Each mistake replaces text that must be there, so this fails as well when the code has moved on. A test that fails
without a report of ThreadSanitizer does not count.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPY = os.path.join(ROOT, "target-tsan", "planted")
REPORT = re.compile(r"^SUMMARY: ThreadSanitizer: (.*)$", re.MULTILINE)
LIMIT = 900


# What a mutex guards, without taking it.
UNLOCKED = """
#[allow(invalid_reference_casting)]
pub(crate) fn unlocked<T>(mutex: &Mutex<T>) -> &mut T {
    unsafe { &mut *std::ptr::from_ref(mutex).cast_mut() }.get_mut().unwrap()
}

/// A cell whose accesses"""


def unlock(file, text, instead):
    """A mistake where a lock is not taken: `crate::runtime::sync::unlocked` is there for it."""
    return [("src/runtime/sync.rs", "\n/// A cell whose accesses", UNLOCKED), (file, text, instead)]


# name: (the test that is to notice, [(file, text, what stands there instead)…])
MISTAKES = {
    "events are published without release": (
        "memory::a_store_that_drops_the_oldest",
        [
            (
                "src/events/segment.rs",
                "self.segment.committed.store(self.staged, Ordering::Release)",
                "self.segment.committed.store(self.staged, Ordering::Relaxed)",
            )
        ],
    ),
    "events are looked for without acquire": (
        "memory::a_store_that_drops_the_oldest",
        [
            (
                "src/events/segment.rs",
                "self.committed.load(Ordering::Acquire)",
                "self.committed.load(Ordering::Relaxed)",
            )
        ],
    ),
    "memory is used again while readers hold it": (
        "memory::a_store_that_drops_the_oldest",
        [
            (
                "src/events/shard.rs",
                "        gone\n    }",
                "        gone.iter().for_each(|entry| entry.segment.recycle_early());\n        gone\n    }",
            ),
            (
                "src/events/segment.rs",
                "    /// Notes that somebody reads it.\n",
                "    pub(crate) fn recycle_early(&self) {\n"
                "        if let Some(buffers) = &self.buffers {\n"
                "            self.shared.pool.give(self.shape, unsafe { std::ptr::read(buffers) });\n"
                "        }\n"
                "    }\n\n"
                "    /// Notes that somebody reads it.\n",
            ),
            (
                "src/events/segment.rs",
                "            self.shared.pool.give(self.shape, buffers);",
                "            std::mem::forget(buffers);",
            ),
        ],
    ),
    "memory is given back without the lock of the pool": (
        "memory::a_store_that_drops_the_oldest",
        unlock(
            "src/events/recycle.rs",
            "            let mut kept = lock(&self.kept);\n"
            "            if kept.buffers.len() < KEPT {\n"
            "                kept.buffers.push(buffers);\n"
            "                drop(kept);\n",
            "            let kept = crate::runtime::sync::unlocked(&self.kept);\n"
            "            if kept.buffers.len() < KEPT {\n"
            "                kept.buffers.push(buffers);\n",
        ),
    ),
    "what was stored later is taken without the lock of the queue": (
        "instance::in_memory",
        unlock(
            "src/events/later/queue.rs",
            "&mut lock(&self.arriving).piece);",
            "&mut crate::runtime::sync::unlocked(&self.arriving).piece);",
        ),
    ),
    "who waits for the disk is noted without the lock": (
        "instance::with_files_and_little_memory",
        unlock(
            "src/events/disk/sync.rs",
            "            let mut state = lock(&disk.sync.state);\n            // Under the lock:",
            "            let state = crate::runtime::sync::unlocked(&disk.sync.state);\n            // Under the lock:",
        ),
    ),
    "a mapped log is written to without its lock": (
        "files::in_mapped_logs",
        unlock(
            "src/events/disk/mapped.rs",
            "self.copy(disk, names, &mut lock(slot), writer, first)",
            "self.copy(disk, names, crate::runtime::sync::unlocked(slot), writer, first)",
        ),
    ),
    "subscribers are looked up without the lock": (
        "instance::in_memory",
        unlock(
            "src/config/watch.rs",
            "self.lock().live.iter().find(|entry| entry.id == id).cloned()",
            "crate::runtime::sync::unlocked(&self.entries).live.iter().find(|entry| entry.id == id).cloned()",
        ),
    ),
    "a counter is not atomic": (
        "instance::in_memory",
        [
            (
                "src/telemetry/slab.rs",
                "self.cell(stripe::index()).fetch_add(n, Ordering::Relaxed);",
                "unsafe { *self.cell(stripe::index()).as_ptr() += n };",
            )
        ],
    ),
}


def copy_tree():
    shutil.rmtree(COPY, ignore_errors=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if os.path.isfile(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(COPY, name)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), os.path.join(COPY, name))
    # Another version, or cargo would take what is built of the copy for what is built of the tree.
    change("Cargo.toml", r'^version = "(.*)"$', r'version = "\1-planted"')
    change("Cargo.lock", r'^version = "(.*)"\n(?!source)', r'version = "\1-planted"\n')


def change(name, pattern, instead):
    path = os.path.join(COPY, name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(pattern, instead, text, flags=re.MULTILINE))


def plant(changes):
    """The files as they were."""
    before = {}
    for name, text, instead in changes:
        path = os.path.join(COPY, name)
        with open(path, encoding="utf-8") as file:
            source = file.read()
        if source.count(text) != 1:
            sys.exit(f"tsan_planted.py: {name} has this {source.count(text)} times, not once:\n{text}")
        before.setdefault(path, source)
        with open(path, "w", encoding="utf-8") as file:
            file.write(source.replace(text, instead))
    return before


def main():
    names = sys.argv[1:] or list(MISTAKES)
    unknown = set(names) - set(MISTAKES)
    if unknown:
        sys.exit(f"tsan_planted.py: unknown mistake: {', '.join(sorted(unknown))}")
    copy_tree()
    environment = dict(
        os.environ,
        ESF_TSAN_TARGET=os.path.join(ROOT, "target-tsan"),
        TSAN_OPTIONS="halt_on_error=1",
        RUST_BACKTRACE="0",
    )
    noticed = 0
    for name in names:
        test, changes = MISTAKES[name]
        before = plant(changes)
        try:
            run = subprocess.run(
                ["scripts/tsan.sh", "--test", "stress", test],
                cwd=COPY,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=LIMIT,
            )
            report = REPORT.search(run.stdout)
        except subprocess.TimeoutExpired:
            run, report = None, None
        for path, source in before.items():
            with open(path, "w", encoding="utf-8") as file:
                file.write(source)
        if report:
            noticed += 1
            where = report.group(1).replace(COPY + os.sep, "")
            print(f"noticed: {name}\n    {where}", flush=True)
        else:
            end = "no end" if run is None else "\n".join(run.stdout.splitlines()[-15:])
            print(f"NOT NOTICED: {name}\n{end}", flush=True)
    print(f"{noticed} passed, {len(names) - noticed} failed")
    sys.exit(0 if noticed == len(names) else 1)


if __name__ == "__main__":
    main()
