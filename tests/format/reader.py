#!/usr/bin/env python3
"""A second reader of the event store's files, written from docs/file-format.md alone.

    reader.py DIRECTORY

Prints every event that the store in the directory holds, one JSON object a line, in the order of seq; bytes as
Base64. What is damaged is named on standard error, and the exit code is 1 then. Nothing is written and no lock is
taken. Needs the command zstd for segments compressed with it.
"""

import base64
import gzip
import json
import os
import re
import struct
import subprocess
import sys

LOG, SEGMENT = 1, 2
MAGIC = {LOG: b"ESFLOG\r\n", SEGMENT: b"ESFSEG\r\n"}
HEADER, NAME, MARKER, COMMIT, END, DATA, FILTER, FOOTER = range(0xF1, 0xF9)
RECORD_BYTES = 72
FIRST, LAST = 4, 8
ENCODINGS = {1: "json", 2: "etf", 3: "raw"}


def crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = list(crc_table())


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def round8(length):
    return (length + 7) // 8 * 8


class Refused(Exception):
    """The files are of a format that this reader does not know."""


class File:
    """The frames of one log or segment."""

    def __init__(self, path, kind, store, number):
        with open(path, "rb") as file:
            self.data = file.read()
        self.kind = kind
        self.salt = crc32c(bytes([kind]) + store + struct.pack("<Q", number))
        self.first_seq = 0
        header = self.frame(0)
        if header and header[0] == HEADER and self.data[16:24] == MAGIC[kind]:
            if u32(self.data, 24) != 1 or u32(self.data, 28) != 0:
                raise Refused(f"{path}: version {u32(self.data, 24)}, flags {u32(self.data, 28):#x}")
            self.first_seq = u64(self.data, 64)

    def frame(self, at):
        """(kind, bytes) of the frame there, kind 0 being an event; None if it does not check."""
        data = self.data
        if at + 24 > len(data):
            return None
        length, tag = u32(data, at), u64(data, at + 8)
        if length % 8 or length < 24 or at + length > len(data):
            return None
        kind = tag >> 56
        bytes_ = data[at : at + length]
        if kind and tag << 8 & (1 << 64) - 1:
            kind = None  # of a later version, whatever its top byte
        least = {0: RECORD_BYTES, HEADER: 72, MARKER: 40, COMMIT: 56, END: 56, DATA: 88, FILTER: 40, FOOTER: 104}
        if length < least.get(kind, 24) or not self.fits(kind, bytes_):
            return None
        if u32(bytes_, 4) != crc32c(bytes_[8:], crc32c(bytes_[:4], self.salt)):
            return None
        if kind in (MARKER, COMMIT, END, DATA, FILTER, FOOTER) and u64(bytes_, 16) != at:
            return None
        if kind is None or not (kind == 0 or HEADER <= kind <= FOOTER):
            if tag >> 48 & 1:
                raise Refused(f"a frame of the unknown kind {tag:016x}")
            return None, bytes_
        return kind, bytes_

    @staticmethod
    def fits(kind, frame):
        if kind == 0:
            parts = frame[66] + frame[67] + u32(frame, 68)
            return u64(frame, 8) > 0 and len(frame) == round8(RECORD_BYTES + parts)
        if kind == NAME:
            return len(frame) == round8(24 + frame[20])
        if kind == DATA:
            return len(frame) == round8(88 + u32(frame, 48))
        if kind == FILTER:
            return len(frame) == 40 + 8 * u32(frame, 28)
        return True

    def find(self, start, kinds):
        """Where the next frame of one of these kinds is that checks; the file's end if there is none."""
        for at in range(start, len(self.data) - 23, 8):
            if self.data[at + 15] in kinds and u64(self.data, at + 16) == at:
                found = self.frame(at)
                if found and found[0] in kinds:
                    return at
        return len(self.data)


def event(fields, names, correlation, pid, data):
    seq, event_id, timestamp, wall_time, parent, version, kind, node, flags, encoding = fields
    text = lambda number: names[number] if number else ""
    return {
        "seq": seq,
        "event_id": event_id,
        "event_type": text(kind),
        "timestamp": timestamp,
        "wall_time": wall_time,
        "node": text(node),
        "pid": base64.b64encode(pid).decode(),
        "correlation_id": base64.b64encode(correlation).decode() if flags & 1 else None,
        "parent_id": parent,
        "config_version": version,
        "truncated": bool(flags & 2),
        "config_change": bool(flags & 16),
        "encoding": ENCODINGS[encoding],
        "data": base64.b64encode(data).decode(),
    }


def record_event(frame, names):
    fields = struct.unpack_from("<QQqqQQIIBB", frame, 8)
    correlation_end = RECORD_BYTES + frame[66]
    pid_end = correlation_end + frame[67]
    data = frame[pid_end : pid_end + u32(frame, 68)]
    return event(fields, names, frame[RECORD_BYTES:correlation_end], frame[correlation_end:pid_end], data)


def read_log(log, complain):
    """The events of a log: before what is proven each that checks, behind it whole appends only."""
    at, names, last_seq, proven = 0, {}, log.first_seq - 1, 0
    runs = []  # [offset, starts with the first record, ends with the last one, events]
    open_run = False
    damage = []
    while at < len(log.data):
        found = log.frame(at)
        kind, frame = found if found else (None, None)
        bad = found is None
        if kind == 0:
            seq, flags = u64(frame, 8), frame[64]
            numbers = [number for number in (u32(frame, 56), u32(frame, 60)) if number]
            bad = seq <= last_seq or not all(number in names for number in numbers)
            if not bad:
                last_seq = seq
                if flags & FIRST or not open_run:
                    runs.append([at, bool(flags & FIRST), False, []])
                runs[-1][3].append(record_event(frame, names))
                runs[-1][2] = bool(flags & LAST)
                open_run = not flags & LAST
        elif kind == NAME:
            names[u32(frame, 16)] = frame[24 : 24 + frame[20]].decode()
        elif kind == MARKER:
            names = {}
        elif kind in (COMMIT, END):
            proven = max(proven, u64(frame, 40))
            if kind == END:
                break
        if not bad:
            at += len(frame)
            continue
        # A damaged header hides nothing: what follows it has its known place.
        to = 72 if at == 0 and log.frame(72) else log.find(at + 8, (MARKER, COMMIT, END))
        open_run = False
        damage.append((at, to))
        at = to
    for start, end in damage:
        if end < len(log.data) and start > 0:
            complain(f"bytes {start} to {end} do not check")
    for offset, starts, ends, events in runs:
        if offset < proven or (starts and ends):
            yield from events
        else:
            complain(f"an append at {offset} is not whole")


def decompress(stored):
    """The raw bytes of blocks, given (codec, stored, raw length); zstd is called once."""
    frames = [block for codec, block, _ in stored if codec == 1]
    plain = b""
    if frames:
        command = ["zstd", "--decompress", "--stdout", "--quiet"]
        plain = subprocess.run(command, input=b"".join(frames), stdout=subprocess.PIPE, check=True).stdout
    at = 0
    for codec, block, length in stored:
        if codec == 1:
            raw = plain[at : at + length]
            at += length
        elif codec == 2:
            raw = gzip.decompress(block)
        elif codec == 0:
            raw = block
        else:
            raise Refused(f"the unknown codec {codec}")
        if len(raw) != length:
            raise ValueError("a block is not as long as it says")
        yield raw


def block_events(raw, count):
    at = 4
    names = {}
    for _ in range(u32(raw, 0)):
        number, length = u32(raw, at), raw[at + 4]
        names[number] = raw[at + 5 : at + 5 + length].decode()
        at += 5 + length

    def column(width):
        nonlocal at
        planes = [raw[at + plane * count : at + (plane + 1) * count] for plane in range(width)]
        at += width * count
        return [sum(planes[plane][n] << 8 * plane for plane in range(width)) for n in range(count)]

    def sums(values):
        total = 0
        for value in values:
            total = total + value & (1 << 64) - 1
            yield total

    def signed(value):
        value &= (1 << 64) - 1
        return value - (1 << 64) if value >> 63 else value

    seqs, ids, times, later, parents, versions = (list(sums(column(8))) for _ in range(6))
    types, nodes = column(4), column(4)
    flags, encodings, correlation_lens, pid_lens = (column(1) for _ in range(4))
    data_lens = column(4)

    def parts(lengths):
        nonlocal at
        for length in lengths:
            at += length
            yield raw[at - length : at]

    correlations, pids, data = (list(parts(lens)) for lens in (correlation_lens, pid_lens, data_lens))
    if at != len(raw):
        raise ValueError("a block holds more than its events")
    for n in range(count):
        wall_time = signed(times[n] + later[n])
        fields = (seqs[n], ids[n], signed(times[n]), wall_time, parents[n], versions[n])
        yield event(fields + (types[n], nodes[n], flags[n], encodings[n]), names, correlations[n], pids[n], data[n])


def read_segment(segment, complain):
    """The events of a sealed segment, block by block as they stand in the file."""
    check_footer(segment, complain)
    at, blocks = 72, []
    while at < len(segment.data):
        found = segment.frame(at)
        if found is None:
            to = segment.find(at + 8, (DATA, FILTER, FOOTER))
            complain(f"bytes {at} to {to} do not check")
            at = to
            continue
        if found[0] == DATA:
            blocks.append(found[1])
        at += len(found[1])
    stored = [(block[52], block[88 : 88 + u32(block, 48)], u32(block, 44)) for block in blocks]
    for block, raw in zip(blocks, decompress(stored)):
        events = list(block_events(raw, u32(block, 40)))
        if (events[0]["seq"], events[-1]["seq"]) != (u64(block, 24), u64(block, 32)):
            complain("a block does not hold what it says")
        yield from events


def check_footer(segment, complain):
    """The footer is not needed to read all of a file; that it agrees with the file is looked at all the same."""
    data = segment.data
    found = segment.frame(len(data) - u64(data, len(data) - 8)) if len(data) >= 8 else None
    if not found or found[0] != FOOTER:
        complain("the footer does not check")
        return
    footer = found[1]
    blocks, filters, types = (u32(footer, at) for at in (80, 84, 88))
    events = 0
    for n in range(blocks):
        offset, first, last, _, _, count, length = struct.unpack_from("<QQQqqII", footer, 96 + 48 * n)
        block = segment.frame(offset)
        if not block or (len(block[1]), u64(block[1], 24), u64(block[1], 32)) != (length, first, last):
            complain(f"the footer's block at {offset} is not there")
        events += count
    at = 96 + 48 * blocks
    for n in range(filters):
        offset, length, kind = struct.unpack_from("<QII", footer, at + 16 * n)
        words = segment.frame(offset)
        if not words or (len(words[1]), u32(words[1], 24)) != (length, kind):
            complain(f"the footer's filter at {offset} is not there")
    at += 16 * filters
    typed = 0
    for _ in range(types):
        typed += u32(footer, at)
        at += 5 + footer[at + 4]
    if events != u64(footer, 72) or typed != events:
        complain("the footer counts other events than its blocks and types")


def read_manifest(directory):
    with open(os.path.join(directory, "MANIFEST"), "rb") as file:
        data = file.read()
    body, line = data[:-16], data[-16:]
    if line != b"crc32c:%08x\n" % crc32c(body):
        raise ValueError("the manifest's checksum does not hold")
    manifest = json.loads(body)
    if manifest["format"] != "esf-manifest" or manifest["version"] != 1 or manifest["incompatible"] != 0:
        raise Refused("the manifest is of another version")
    return manifest


def read_store(directory, complain):
    manifest = read_manifest(directory)
    store = bytes.fromhex(manifest["store"])
    events = []
    for entry in manifest["segments"]:
        name = "seg-%016x-%016x.esf" % (entry["first_seq"], entry["file"])
        segment = File(os.path.join(directory, name), SEGMENT, store, entry["file"])
        events += read_segment(segment, lambda what, name=name: complain(f"{name}: {what}"))
    for name in sorted(os.listdir(directory)):
        match = re.fullmatch(r"log-([0-9a-f]{16})\.esl", name)
        if match and int(match[1], 16) >= manifest["log_floor"]:
            log = File(os.path.join(directory, name), LOG, store, int(match[1], 16))
            in_log = read_log(log, lambda what, name=name: complain(f"{name}: {what}"))
            events += (event for event in in_log if event["seq"] >= manifest["sealed_seq"])
    gone = lambda event: event["seq"] < manifest["low_seq"] or any(
        event["timestamp"] < prune["before_time"] and event["seq"] < prune["below_seq"]
        for prune in manifest["prunes"]
    )
    # An event that is in two logs is the same in both.
    there = {event["seq"]: event for event in events if not gone(event)}
    return [there[seq] for seq in sorted(there)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    complaints = []
    for event in read_store(sys.argv[1], complaints.append):
        print(json.dumps(event))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
