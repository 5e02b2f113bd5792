#!/usr/bin/env python3
"""Writes the C program that asks the scenarios of tests/contract/queries.jsonl through the C ABI.

    scenario.py queries.jsonl > contract.c

tests/contract/queries.rs says what the lines mean. A key that this script does not know stops it, so that nothing
is left out in silence.
"""

import json
import re
import sys

ORDERS = {"timestamp": "ESF_ORDER_TIMESTAMP", "seq": "ESF_ORDER_SEQ", "id": "ESF_ORDER_ID"}
EVENT_TEXTS = ("node", "pid", "correlation_id")
# What a tail cannot ask: it tells all, by position.
NEVER_TOLD = {"seq_range", "order", "descending", "offset", "limit"}
NONE_FLAGS = {"parent_id": "PARENT", "node": "NODE", "pid": "PID"}


def literal(data):
    """Bytes as a C string literal of any characters, and their number."""
    if isinstance(data, str):
        data = data.encode()
    text = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in data)
    return f'"{text}", {len(data)}'


def integer(value):
    return "INT64_MIN" if value == -(2**63) else str(value)


def wrong_key(known, given):
    unknown = set(given) - set(known)
    if unknown:
        sys.exit(f"scenario.py: nothing is known about {sorted(unknown)}")


def raw_data(line):
    """The text of an event's data, which must stay as it is written."""
    found = re.search(r', "data": (.*)\}\}$', line)
    return found[1] if found else ""


def append(line, event):
    wrong_key(("event_type", "event_id", "timestamp", "parent_id", "etf", "data", *EVENT_TEXTS), event)
    yield "{"
    yield "    esf_event event = ESF_EVENT_INIT;"
    yield f"    event.type = (esf_str){{{literal(event['event_type'])}}};"
    yield f"    event.event_id = {event['event_id']};"
    yield f"    event.timestamp = {integer(event['timestamp'])};"
    yield f"    event.parent_id = {event.get('parent_id', 0)};"
    for name in EVENT_TEXTS:
        if name in event:
            yield f"    event.{name} = (esf_str){{{literal(event[name])}}};"
    if "etf" in event:
        yield "    event.encoding = ESF_ENCODING_ETF;"
        yield f"    event.data = (esf_str){{{literal(bytes.fromhex(event['etf']))}}};"
    else:
        yield f"    event.data = (esf_str){{{literal(raw_data(line))}}};"
    yield "    OK(esf_event_append(app, &event, NULL, &err));"
    yield "}"


def query(asked):
    """Statements that make `query` what is asked for."""
    texts = ("node", "pid", "correlation_id")
    ranges = {"time_range": "time", "id_range": "id", "seq_range": "seq"}
    known = ("types", "parent_id", "data", "order", "descending", "offset", "limit", *texts, *ranges)
    wrong_key(known, asked)
    yield "esf_event_query query = ESF_QUERY_INIT;"
    if "types" in asked:
        names = ", ".join(f"{{{literal(name)}}}" for name in asked["types"])
        yield f"esf_str types[] = {{{names}}};"
        yield f"query.types = types, query.type_count = {len(asked['types'])};"
    for name, flag in NONE_FLAGS.items():
        if name in asked and asked[name] is None:
            yield f"query.flags |= ESF_QUERY_WITHOUT_{flag};"
    if asked.get("parent_id") is not None:
        yield f"query.parent_id = {asked['parent_id']};"
    for name in texts:
        if asked.get(name) is not None:
            yield f"query.{name} = (esf_str){{{literal(asked[name])}}};"
    for name, field in ranges.items():
        if name in asked:
            first, last = asked[name]
            yield f"query.from_{field} = {integer(first)}, query.to_{field} = {integer(last)};"
    if "data" in asked:
        text = json.dumps(asked["data"], ensure_ascii=False)
        text = re.sub(r'\{"big": "(-?\d+)"\}', r"\1", text)
        yield f"query.conditions = (esf_str){{{literal(text)}}};"
    if "order" in asked:
        yield f"query.order = {ORDERS[asked['order']]};"
    for name in ("descending", "offset", "limit"):
        if name in asked:
            yield f"query.{name} = {int(asked[name])};"
    yield "query.timeout_ms = 600000;"


def check(line):
    """Statements that ask and compare."""
    error = f"ESF_E_{line['error'].upper()}" if "error" in line else None
    if "aggregate" in line:
        wrong_key(("aggregate", "query", "result"), line)
        yield from query(line["query"])
        expected = json.dumps(line["result"], ensure_ascii=False, separators=(",", ":"))
        yield f"aggregates(&query, (esf_str){{{literal(json.dumps(line['aggregate']))}}}, (esf_str){{{literal(expected)}}});"
    elif "query" in line:
        wrong_key(("query", "ids", "error"), line)
        yield from query(line["query"])
        if error:
            yield "esf_cursor *cursor = NULL;"
            yield f"FAILS({error}, esf_events_query(app, &query, &cursor, &err));"
        else:
            ids = ", ".join(str(one) for one in line["ids"]) or "0"
            yield f"static const uint64_t ids[] = {{{ids}}};"
            yield f"finds(&query, ids, {len(line['ids'])});"
            yield "query.flags |= ESF_QUERY_NO_INDEX;"
            yield f"finds(&query, ids, {len(line['ids'])});"
            if not NEVER_TOLD & set(line["query"]):
                yield f"tells(&query, ids, {len(line['ids'])});"
    elif "count" in line:
        wrong_key(("count", "result"), line)
        yield from query(line["count"])
        yield "uint64_t count = 0;"
        yield "OK(esf_events_count(app, &query, &count, &err));"
        yield f"CHECK(count == {line['result']});"
    else:
        wrong_key(("trace", "limit", "events", "missing_parent", "cycles", "truncated", "error"), line)
        yield "esf_trace *trace = NULL;"
        call = f"esf_events_trace(app, {line['trace']}, {line['limit']}, &trace, &err)"
        if error:
            yield f"FAILS({error}, {call});"
            return
        events = ", ".join(f"{one}, {depth}" for one, depth in line["events"])
        cycles = ", ".join(str(one) for one in line["cycles"]) or "0"
        yield f"static const uint64_t events[] = {{{events}}}, cycles[] = {{{cycles}}};"
        yield f"OK({call});"
        yield f"traces(trace, events, {len(line['events'])}, {line['missing_parent'] or 0}, cycles, {len(line['cycles'])},"
        yield f"       {int(line['truncated'])});"


def main():
    print("/* Written by scenario.py from tests/contract/queries.jsonl. */")
    print('#include "scenario.h"\n')
    bodies = []
    with open(sys.argv[1], encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            text = text.rstrip("\n")
            line = json.loads(text)
            if "store" in line:
                bodies.append(f"    begin(); /* {line['store']} */")
                continue
            statements = append(text, line["append"]) if "append" in line else check(line)
            lines = "\n".join(f"    {one}" for one in statements)
            print(f"static void line_{number}(void) {{\n    at = {number};\n{lines}\n}}\n")
            bodies.append(f"    line_{number}();")
    print("int main(void) {")
    print("\n".join(bodies))
    print("    end();\n    return check_report();\n}")


if __name__ == "__main__":
    main()
