#!/usr/bin/env python3
"""Writes the C program that calls every function of the header with each argument wrong in turn.

    matrix.py HEADER > matrix.c

The functions and their parameters come from the header; what a valid and a wrong argument is, from the
tables below, by type and name. A type or a function that the tables do not know stops the script, so that
nothing can be forgotten. After each call the program checks that the instance still works.
"""

import re
import sys

HANDLES = {
    # type: (a valid one, one that this program may give away)
    "esf_foundation": ("live", "fresh_foundation()"),
    "esf_config_key": ("key", "fresh_key()"),
    "esf_subscription": ("subscription", "fresh_subscription()"),
    "esf_event_type": ("type", "fresh_type()"),
    "esf_cursor": ("cursor", "fresh_cursor()"),
    "esf_trace": ("trace", "fresh_trace()"),
    "esf_tail": ("tail", "fresh_tail()"),
    "esf_counter": ("counter", "fresh_counter()"),
    "esf_gauge": ("gauge", "fresh_gauge()"),
    "esf_histogram": ("histogram", "fresh_histogram()"),
    "esf_error": ("error", "fresh_error()"),
}
FREES = re.compile(r"_(free|cancel|close)$")

# Parameters that may be NULL.
OPTIONAL = {"err", "out_version", "out_count", "out_receipt", "out_receipts", "out_event_id", "user_data", "drop", "labels", "out_depth"}
# Where a parameter of such a name must be there all the same.
REQUIRED = {("esf_config_version", "out_version"), ("esf_events_count", "out_count"), ("esf_event_generate_id", "out_event_id"), ("esf_cursor_next_batch", "out_count")}

# A valid text for each parameter of that name.
TEXTS = {
    "options": '"{}"',
    "path": '"ai.planning.sampling_rate"',
    "value_json": '"0.5"',
    "tree_json": "whole_tree",
    "name": '"matrix.name"',
    "help": '"what it is"',
    "file": "export_file",
    "correlation_id": '"matrix"',
    "aggregate": '"{\\"by_type\\":true}"',
}
# Parameters that take any bytes.
BYTES = {"correlation_id"}
# Valid texts that depend on the function.
TEXTS_OF = {
    ("esf_config_get_bool_at", "path"): '"dev.debug_mode"',
    ("esf_config_get_i64_at", "path"): '"ai.analysis.timeout"',
    ("esf_config_get_text_at", "path"): '"ai.planning.default_strategy"',
    ("esf_config_get_text_at_into", "path"): '"ai.planning.default_strategy"',
    ("esf_events_import_jsonl", "file"): "import_file",
    ("esf_event_type_resolve", "name"): '"matrix_type"',
    ("esf_counter_new", "name"): '"matrix.counter"',
    ("esf_gauge_new", "name"): '"matrix.gauge"',
    ("esf_histogram_new", "name"): '"matrix.histogram"',
}
# Texts that are well-formed and wrong: (text, status).
WRONG_TEXTS = {
    "options": [('"{\\"nothing\\":1}"', "ESF_E_INVALID_INPUT"), ('"{"', "ESF_E_FORMAT_ERROR")],
    "path": [('"no.such.key"', "NO_SUCH_KEY")],
    "value_json": [('"0.5 0.5"', "ESF_E_FORMAT_ERROR"), ('"\\"text\\""', "ANY_ERROR")],
    "tree_json": [('"[1"', "ESF_E_FORMAT_ERROR"), ('"7"', "ANY_ERROR"), ("deep", "ESF_E_TOO_DEEP")],
    "name": [('""', "ANY_ERROR")],
    "aggregate": [('"{"', "ESF_E_INVALID_INPUT"), ('"{\\"nothing\\":1}"', "ESF_E_INVALID_INPUT"), ("deep", "ESF_E_INVALID_INPUT")],
    "correlation_id": [('""', "ESF_E_INVALID_INPUT")],
    "file": [('"/nowhere/at/all.jsonl"', "ESF_E_DATA_NOT_FOUND")],
}
# Valid handles that depend on the function.
HANDLES_OF = {
    ("esf_config_get_bool", "key"): "bool_key",
    ("esf_config_get_i64", "key"): "int_key",
    ("esf_config_get_enum", "key"): "enum_key",
    ("esf_config_get_enum_into", "key"): "enum_key",
    ("esf_config_next_change", "subscription"): "fresh_subscription()",
    ("esf_cursor_next", "cursor"): "fresh_cursor()",
    ("esf_cursor_next_batch", "cursor"): "fresh_cursor()",
    ("esf_trace_next", "trace"): "fresh_trace()",
    ("esf_tail_next", "tail"): "fresh_tail()",
}
# Numbers: name -> (valid, [(wrong, status)]).
NUMBERS = {
    "deadline_ms": ("5000", [("-1", "ESF_E_INVALID_INPUT"), ("INT64_MIN", "ESF_E_INVALID_INPUT")]),
    "timeout_ms": ("0", [("-1", "ESF_E_INVALID_INPUT"), ("INT64_MIN", "ESF_E_INVALID_INPUT")]),
    "capacity": ("sizeof buffer", [("1", "ESF_AGAIN"), ("0", "ESF_AGAIN")]),
    "event_id": ("event_id", [("0", "ANY_ERROR"), ("UINT64_MAX", "ANY_ERROR")]),
    "count": ("1", [("5368709120", "ESF_E_DATA_TOO_LARGE"), ("SIZE_MAX", "ESF_E_DATA_TOO_LARGE")]),
    "label_count": ("1", [("5368709120", "ESF_E_DATA_TOO_LARGE"), ("SIZE_MAX", "ESF_E_DATA_TOO_LARGE")]),
    "timestamp": ("INT64_MIN", [("0", "ESF_OK")]),
    "limit": ("5", [("-1", "ESF_E_INVALID_INPUT"), ("INT64_MIN", "ESF_E_INVALID_INPUT")]),
    "n": ("1", [("UINT64_MAX / 2", "ESF_OK")]),
    "value": ("1.5", [("NAN", "ESF_E_INVALID_INPUT")]),
    "quantile": ("0.5", [("NAN", "ESF_E_RANGE_ERROR"), ("-0.1", "ESF_E_RANGE_ERROR"), ("1.1", "ESF_E_RANGE_ERROR")]),
    "level": ("ESF_LEVEL_ACCEPTED", [("0", "ESF_E_INVALID_INPUT"), ("4", "ESF_E_INVALID_INPUT"), ("UINT32_MAX", "ESF_E_INVALID_INPUT"), ("ESF_LEVEL_DURABLE", "ESF_OK")]),
    "seq": ("1", [("0", "ESF_OK"), ("UINT64_MAX", "ESF_OK")]),
    "status": ("0", [("-1", "ESF_OK"), ("INT32_MAX", "ESF_OK"), ("1203", "ESF_OK")]),
}
# An instance without files cannot make anything durable.
WITHOUT_FILES = ("ESF_LEVEL_ACCEPTED", [("0", "ESF_E_INVALID_INPUT"), ("4", "ESF_E_INVALID_INPUT"), ("UINT32_MAX", "ESF_E_INVALID_INPUT"), ("ESF_LEVEL_DURABLE", "ESF_E_OPERATION_FORBIDDEN")])
NUMBERS_OF = {
    ("esf_events_wait_durable", "level"): WITHOUT_FILES,
    ("esf_events_when_durable", "level"): WITHOUT_FILES,
    ("esf_config_subscribe", "capacity"): ("4", [("0", "ESF_E_INVALID_INPUT"), ("UINT32_MAX", "ESF_E_INVALID_INPUT")]),
    ("esf_config_subscribe_callback", "capacity"): ("4", [("0", "ESF_E_INVALID_INPUT"), ("UINT32_MAX", "ESF_E_INVALID_INPUT")]),
    ("esf_events_trace", "limit"): ("5", [("0", "ESF_E_INVALID_INPUT"), ("100001", "ESF_E_INVALID_INPUT"), ("-1", "ESF_E_INVALID_INPUT"), ("INT64_MAX", "ESF_E_INVALID_INPUT")]),
    ("esf_cursor_next_batch", "capacity"): ("1", [("0", "ESF_E_INVALID_INPUT"), ("5368709120", "ESF_E_DATA_TOO_LARGE"), ("SIZE_MAX", "ESF_E_DATA_TOO_LARGE")]),
    # The worker comes a moment later.
    ("esf_event_flush_async", "timeout_ms"): ("30000", [("-1", "ESF_E_INVALID_INPUT"), ("INT64_MIN", "ESF_E_INVALID_INPUT")]),
    ("esf_histogram_record", "value"): ("1.5", [("NAN", "ESF_E_INVALID_INPUT"), ("-1.0", "ESF_E_INVALID_INPUT")]),
}
NUMBER_TYPES = {"int64_t", "uint64_t", "uint32_t", "int32_t", "size_t", "double", "esf_status", "esf_level"}
# Results of plain types: the program's variable for each type, and its alignment.
RESULTS = {"bool": 1, "int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "double": 8, "size_t": 8, "esf_status": 4,
           "esf_str": 8, "esf_string": 8}
RECORDS_IN = {"esf_event": "good_event()", "esf_event_query": "good_query()", "esf_tail_options": "good_tail_options()"}
RECORDS_OUT = {"esf_receipt", "esf_event_view", "esf_trace_info", "esf_config_change", "esf_gap"}
# What is found out after the call has returned.
FOUND_LATER = {("esf_event_append_async", "ESF_E_DUPLICATE_EVENT_ID"): "ESF_OK"}

# What a record says, wrong in each of its fields: (statements on `it`, status).
WRONG_RECORDS = {
    "esf_event": [
        ("it.encoding = 0", "ESF_E_INVALID_INPUT"),
        ("it.encoding = 99", "ESF_E_INVALID_INPUT"),
        ("it.event_id = UINT64_MAX", "ANY_ERROR"),
        ("it.event_id = event_id", "ESF_E_DUPLICATE_EVENT_ID"),
        ("it.parent_id = UINT64_MAX", "ANY_ERROR"),
        ("it.type_handle = (const esf_event_type *)live", "ESF_E_STALE_HANDLE"),
        ("it.type_handle = (const esf_event_type *)stale_type", "ESF_E_STALE_HANDLE"),
        ("it.type_handle = (const esf_event_type *)foreign_type", "ANY_ERROR"),
        ("it.type = (esf_str){NULL, 0}", "ESF_E_INVALID_EVENT_TYPE"),
        ("it.type = (esf_str){big, 300}", "ANY_ERROR"),
        ("it.node = (esf_str){big, 300}", "ANY_ERROR"),
        ("it.pid = (esf_str){big, 300}", "ANY_ERROR"),
        ("it.correlation_id = (esf_str){big, 300}", "ANY_ERROR"),
        ("it.correlation_id = (esf_str){NULL, 3}", "ESF_E_NULL_ARGUMENT"),
        ("it.correlation_id = (esf_str){big, 5368709120}", "ESF_E_DATA_TOO_LARGE"),
        ("it.data = (esf_str){big, sizeof big}", "ESF_E_DATA_TOO_LARGE"),
        ("it.data = (esf_str){big, 5368709120}", "ESF_E_DATA_TOO_LARGE"),
        ("it.data = (esf_str){big, SIZE_MAX}", "ESF_E_DATA_TOO_LARGE"),
        ("it.data = (esf_str){NULL, 3}", "ESF_E_NULL_ARGUMENT"),
        ('it.data = (esf_str){"\\"\\xff\\"", 3}', "ANY_ERROR"),
        ("it.encoding = ESF_ENCODING_ETF, it.data = (esf_str){\"\\x83\\x50zzzz\", 6}", "ANY_ERROR"),
    ] + [
        (f"it.{text} = (esf_str){wrong}", status)
        for text in ("type", "node", "pid")
        for wrong, status in (
            ("{NULL, 3}", "ESF_E_NULL_ARGUMENT"),
            ('{"\\xc3(", 2}', "ESF_E_INVALID_UTF8"),
            ("{big, 5368709120}", "ESF_E_DATA_TOO_LARGE"),
        )
    ],
    "esf_tail_options": [
        ("it.window = 5", "ANY"),
        ("it.from_seq = UINT64_MAX", "ESF_E_INVALID_INPUT"),
        ("it.capacity = UINT64_MAX", "ESF_OK"),
        ("it.filter = (const esf_event_query *)(big + 1)", "ESF_E_INVALID_INPUT"),
        ("it.filter = (const esf_event_query *)big", "ESF_E_INVALID_INPUT"),
        ("it.filter = esf_event_query_with((it.limit = INT64_MAX))", "ESF_OK"),
        ("it.filter = esf_event_query_with((it.limit = 5))", "ESF_E_INVALID_INPUT"),
        ("it.filter = esf_event_query_with((it.order = 99))", "ESF_E_INVALID_INPUT"),
    ],
    "esf_event_query": [
        ("it.order = 0", "ESF_E_INVALID_INPUT"),
        ("it.order = 99", "ESF_E_INVALID_INPUT"),
        ("it.descending = 2", "ESF_E_INVALID_INPUT"),
        ("it.limit = -1", "ESF_E_INVALID_INPUT"),
        ("it.limit = INT64_MIN", "ESF_E_INVALID_INPUT"),
        ("it.offset = -1", "ESF_E_INVALID_INPUT"),
        ("it.types = NULL, it.type_count = 2", "ESF_E_NULL_ARGUMENT"),
        ("it.types = (const esf_str *)(big + 1), it.type_count = 1", "ESF_E_INVALID_INPUT"),
        ("it.types = &bad_utf8, it.type_count = 1", "ESF_E_INVALID_UTF8"),
        ("it.types = &bad_utf8, it.type_count = SIZE_MAX", "ESF_E_DATA_TOO_LARGE"),
        ("it.correlation_id = (esf_str){NULL, 3}", "ESF_E_NULL_ARGUMENT"),
        ("it.correlation_id = (esf_str){big, SIZE_MAX}", "ESF_E_DATA_TOO_LARGE"),
        ("it.from_time = INT64_MAX, it.to_time = INT64_MIN", "ANY"),
        ("it.from_seq = UINT64_MAX, it.to_seq = 0", "ANY"),
        ("it.from_id = UINT64_MAX, it.to_id = 1", "ANY"),
        ("it.flags = 16", "ESF_E_INVALID_INPUT"),
        ("it.flags = UINT32_MAX", "ESF_E_INVALID_INPUT"),
        ("it.flags = ESF_QUERY_WITHOUT_PARENT, it.parent_id = 1", "ESF_E_INVALID_INPUT"),
        ("it.flags = ESF_QUERY_WITHOUT_NODE, it.node = (esf_str){big, 3}", "ESF_E_INVALID_INPUT"),
        ("it.flags = ESF_QUERY_WITHOUT_PID, it.pid = (esf_str){big, 3}", "ESF_E_INVALID_INPUT"),
        ("it.timeout_ms = -1", "ESF_E_INVALID_INPUT"),
        ("it.timeout_ms = INT64_MAX", "ANY"),
        ("it.conditions = (esf_str){big, 300}", "ESF_E_INVALID_INPUT"),
        ("it.conditions = text(deep)", "ESF_E_INVALID_INPUT"),
        ('it.conditions = ESF_STR("[{\\"path\\":[],\\"op\\":\\"==\\",\\"value\\":1}]")', "ESF_E_INVALID_INPUT"),
        ('it.conditions = ESF_STR("[{\\"path\\":\\"n\\",\\"op\\":\\"=\\",\\"value\\":1}]")', "ESF_E_INVALID_INPUT"),
    ] + [
        (f"it.{text} = (esf_str){wrong}", status)
        for text in ("node", "pid", "conditions")
        for wrong, status in (
            ("{NULL, 3}", "ESF_E_NULL_ARGUMENT"),
            ('{"\\xc3(", 2}', "ESF_E_INVALID_UTF8"),
            ("{big, 5368709120}", "ESF_E_DATA_TOO_LARGE"),
        )
    ],
}
# Functions that come in a bracket around fork; test_fork.c calls them with every argument.
ELSEWHERE = {"esf_before_fork", "esf_after_fork_parent", "esf_after_fork_child"}
# Outcomes of a call with valid arguments, where that is not ESF_OK.
OUTCOMES = {"esf_config_next_change": "ESF_AGAIN"}


def stop(why):
    sys.exit(f"matrix.py: {why}")


def functions(header):
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.S | re.M)
    for match in re.finditer(r"^(\w+) (esf_\w+)\(([^;]*?)\);", text, flags=re.M | re.S):
        parameters = []
        for parameter in match[3].split(","):
            parameter = " ".join(parameter.split())
            if parameter == "void":
                continue
            found = re.fullmatch(r"(.*?)(\**)(\w+)", parameter)
            parameters.append((found[1].strip().removeprefix("const ").strip(), len(found[2]), found[3]))
        yield match[1], match[2], parameters


def text_cases(function, name):
    good = TEXTS_OF.get((function, name), TEXTS.get(name))
    if good is None:
        stop(f"no valid text for {name} of {function}")
    wrong = [
        ("(esf_str){NULL, 3}", "ESF_E_NULL_ARGUMENT"),
        ("(esf_str){big, 5368709120}", "ESF_E_DATA_TOO_LARGE"),
        ("(esf_str){big, SIZE_MAX}", "ESF_E_DATA_TOO_LARGE"),
        ("bad_utf8", "SAME" if name in BYTES else "ESF_E_INVALID_UTF8"),
        ("(esf_str){NULL, 0}", "ANY"),
        ('(esf_str){"a\\0b", 3}', "ANY"),
    ]
    # What may be updated is a list; whatever is not on it, is forbidden.
    no_such_key = "ESF_E_CONFIG_UPDATE_FORBIDDEN" if "update" in function else "ESF_E_CONFIG_PATH_NOT_FOUND"
    wrong += [
        (f"text({bad})", no_such_key if status == "NO_SUCH_KEY" else status)
        for bad, status in WRONG_TEXTS.get(name, [])
    ]
    return f"text({good})", wrong


def handle_cases(function, kind, name):
    frees = FREES.search(function)
    good = HANDLES_OF.get((function, name), HANDLES[kind][1 if frees else 0])
    wrong = [("NULL", "ESF_OK" if frees else "ESF_E_NULL_ARGUMENT")]
    strangers = ["(void *)1", "(void *)UINTPTR_MAX", "(void *)big", f"stale_{kind[4:]}"]
    strangers += [f"(void *){other}" for of, (other, _) in HANDLES.items() if of != kind]
    wrong += [(f"({kind} *){stranger}", "ESF_E_STALE_HANDLE") for stranger in strangers]
    return good, wrong


def record_cases(function, kind, name, array):
    wrong = [
        ("NULL", "ESF_E_NULL_ARGUMENT"),
        (f"(const {kind} *)(big + 1)", "ESF_E_INVALID_INPUT"),
    ]
    for size in ("0", "3", "5000", "UINT32_MAX"):
        wrong.append((f"{kind}_with((it.size = {size}))", "ESF_E_INVALID_INPUT"))
    wrong.append((f"{kind}_with((it.size = 4))", "ANY"))
    wrong.append((f"{kind}_longer(1)", "ESF_E_INVALID_INPUT"))
    wrong.append((f"{kind}_longer(0)", "ESF_OK"))
    for change, status in WRONG_RECORDS[kind]:
        wrong.append((f"{kind}_with(({change}))", FOUND_LATER.get((function, status), status)))
    return f"{kind}_with((void)0)", wrong


def cases(function, kind, stars, name):
    """A valid argument, and the wrong ones with the status that each must give."""
    if kind == "esf_str" and stars == 0:
        return text_cases(function, name)
    if kind in HANDLES and stars == 1:
        return handle_cases(function, kind, name)
    if kind in HANDLES and stars == 2:
        missing = "ESF_E_NULL_ARGUMENT" if name not in OPTIONAL else "SAME"
        crooked = "ESF_E_INVALID_INPUT" if name not in OPTIONAL else "ANY"
        return f"&out.{kind}", [("NULL", missing), (f"({kind} **)(big + 1)", crooked)]
    if kind in RECORDS_IN and stars == 1:
        return record_cases(function, kind, name, name.endswith("s"))
    if kind in RECORDS_OUT and stars == 1:
        wrong = [("NULL", "SAME" if name in OPTIONAL else "ESF_E_NULL_ARGUMENT")]
        wrong += [(f"({kind} *)(big + 1)", "ESF_E_INVALID_INPUT")]
        wrong += [(f"{kind}_sized({size})", "ESF_E_INVALID_INPUT") for size in ("0", "3", "5000", "UINT32_MAX")]
        wrong += [(f"{kind}_sized(8)", "SAME"), (f"{kind}_sized(sizeof({kind}) + 64)", "SAME")]
        return f"{kind}_sized(sizeof({kind}))", wrong
    if kind == "esf_label" and stars == 1:
        return "&good_label", [
            ("NULL", "ESF_E_NULL_ARGUMENT"),
            ("(const esf_label *)(big + 1)", "ESF_E_INVALID_INPUT"),
            ("&(esf_label){bad_utf8, ESF_STR(\"v\")}", "ESF_E_INVALID_UTF8"),
            ("&(esf_label){ESF_STR(\"n\"), bad_utf8}", "ESF_E_INVALID_UTF8"),
            ("&(esf_label){{NULL, 2}, ESF_STR(\"v\")}", "ESF_E_NULL_ARGUMENT"),
            ("&(esf_label){ESF_STR(\"n\"), {big, SIZE_MAX}}", "ESF_E_DATA_TOO_LARGE"),
            ("&(esf_label){ESF_STR(\"\"), ESF_STR(\"v\")}", "ESF_E_INVALID_INPUT"),
        ]
    if (kind, stars, name) == ("esf_string", 1, "text"):
        return "fresh_string()", [("NULL", "ESF_OK"), ("(esf_string *)(big + 1)", "ESF_E_INVALID_INPUT"),
                                  ("&(esf_string){big, 5, 0x123456789abcdef}", "ESF_E_STALE_HANDLE"),
                                  ("&(esf_string){big, 5, (uint64_t)(uintptr_t)live}", "ESF_E_STALE_HANDLE")]
    if kind in RESULTS and stars == 1:
        optional = name in OPTIONAL and (function, name) not in REQUIRED
        wrong = [("NULL", "SAME" if optional else "ESF_E_NULL_ARGUMENT")]
        if RESULTS[kind] > 1:
            wrong.append((f"({kind} *)(big + 1)", "ESF_E_INVALID_INPUT"))
        return f"&out.{kind}_", wrong
    if (kind, stars, name) == ("char", 1, "buffer"):
        return "buffer", [("NULL", "ESF_E_NULL_ARGUMENT")]
    if kind == "void" and stars == 1:
        return "NULL", [("big", "SAME")]
    if kind == "esf_config_change_fn":
        return "on_change", [("NULL", "ESF_E_NULL_ARGUMENT")]
    if kind == "esf_tail_fn":
        return "on_event", [("NULL", "ESF_E_NULL_ARGUMENT")]
    if kind == "esf_durable_fn":
        return "on_durable", [("NULL", "ESF_E_NULL_ARGUMENT")]
    if kind == "esf_progress_fn":
        return "on_progress", [("NULL", "ESF_E_NULL_ARGUMENT")]
    if kind == "esf_drop_fn":
        return "on_drop", [("NULL", "SAME")]
    if kind in NUMBER_TYPES and stars == 0:
        found = NUMBERS_OF.get((function, name), NUMBERS.get(name))
        if found:
            return found
    stop(f"{function}: nothing is known about `{kind} {'*' * stars}{name}`")


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        found = list(functions(file.read()))
    if len(found) < 40:
        stop(f"only {len(found)} functions in the header")
    print("/* Written by matrix.py from the header. */")
    print('#include "matrix.h"\n')
    found = [one for one in found if one[1] not in ELSEWHERE]
    for result, function, parameters in found:
        good, wrong = [], []
        for index, (kind, stars, name) in enumerate(parameters):
            valid, bad = cases(function, kind, stars, name)
            good.append(valid)
            wrong += [(index, argument, status) for argument, status in bad]
        detailed = bool(parameters) and parameters[-1][2] == "err"
        outcome = OUTCOMES.get(function, "ESF_OK")
        print(f"static void matrix_{function}(void) {{")
        calls = [(good, outcome, "all arguments valid")]
        for index, argument, status in wrong:
            arguments = good[:index] + [argument] + good[index + 1 :]
            status = outcome if status == "SAME" else status
            calls.append((arguments, status, f"{parameters[index][2]} = {argument}"))
        for arguments, status, what in calls:
            call = f"{function}({', '.join(arguments)})"
            what = what.replace("\\", "\\\\").replace('"', '\\"')
            if result != "esf_status":
                print(f"    (void){call};")
                print(f"    matrix_case(ESF_OK, ESF_OK, false, \"{function}\", \"{what}\");")
            else:
                wants = "true" if detailed and not what.startswith("err = ") else "false"
                print(f"    matrix_case({call}, {status}, {wants}, \"{function}\", \"{what}\");")
        print("}\n")
    print("int main(void) {\n    matrix_open();")
    for _, function, _ in found:
        print(f"    matrix_{function}();")
    print("    matrix_close();\n    return check_report();\n}")


if __name__ == "__main__":
    main()
