/* What the generated contract.c stands on: a store, and the comparison of answers with those that are
 * written. */
#ifndef ESF_TESTS_SCENARIO_H
#define ESF_TESTS_SCENARIO_H

#include "check.h"

static esf_foundation *app;
static esf_error *err;
/* The line of the scenario file. */
static int at;

static inline void end(void) {
    if (app)
        OK(esf_foundation_close(app, 5000, &err));
    app = NULL;
}

static inline void begin(void) {
    end();
    app = open_instance("{}");
}

static inline void same(bool same) {
    if (!CHECK(same))
        printf("queries.jsonl:%d: another answer\n", at);
}

/* The query finds just these events, one by one and in batches. */
static inline void finds(const esf_event_query *query, const uint64_t *ids, size_t count) {
    esf_cursor *cursor = NULL;
    esf_event_view view = ESF_VIEW_INIT, views[2] = {ESF_VIEW_INIT, ESF_VIEW_INIT};
    size_t found = 0, part = 0;
    bool good = true;
    OK(esf_events_query(app, query, &cursor, &err));
    for (; esf_cursor_next(cursor, &view) == ESF_OK; found++)
        good &= found < count && view.event_id == ids[found];
    same(good && found == count);
    OK(esf_cursor_free(cursor));
    OK(esf_events_query(app, query, &cursor, &err));
    for (found = 0; esf_cursor_next_batch(cursor, views, 2, &part) == ESF_OK;)
        for (size_t one = 0; one < part; one++, found++)
            good &= found < count && views[one].event_id == ids[found];
    same(good && found == count);
    OK(esf_cursor_free(cursor));
}

/* A tail from the start tells just these events, in whatever order they are given here. */
static inline void tells(esf_event_query *query, const uint64_t *ids, size_t count) {
    esf_tail_options options = ESF_TAIL_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_gap gap = ESF_GAP_INIT;
    esf_tail *tail = NULL;
    size_t found = 0;
    bool good = true;
    uint64_t last = 0;
    query->timeout_ms = 0;
    options.filter = query;
    options.from_seq = 1;
    OK(esf_events_tail(app, &options, &tail, &err));
    for (; esf_tail_next(tail, 0, &view, &gap, &err) == ESF_OK; found++) {
        bool known = false;
        for (size_t one = 0; one < count; one++)
            known |= ids[one] == view.event_id;
        good &= known && view.seq > last;
        last = view.seq;
    }
    same(good && found == count);
    OK(esf_tail_cancel(tail, &err));
}

static inline void aggregates(const esf_event_query *query, esf_str aggregate, esf_str expected) {
    esf_string json = ESF_STRING_INIT;
    OK(esf_events_aggregate(app, query, aggregate, &json, &err));
    same(json.len == expected.len && memcmp(json.ptr, expected.ptr, json.len) == 0);
    esf_string_free(&json);
}

/* Events are pairs of an id and a depth. */
static inline void traces(esf_trace *trace, const uint64_t *events, size_t count, uint64_t missing_parent,
                          const uint64_t *cycles, size_t cycle_count, uint32_t truncated) {
    esf_trace_info info = ESF_TRACE_INFO_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    uint32_t depth = 0;
    size_t found = 0;
    bool good = true;
    OK(esf_trace_get_info(trace, &info));
    same(info.event_count == count && info.missing_parent == missing_parent && info.truncated == truncated);
    same(info.cycle_count == cycle_count &&
         (cycle_count == 0 || memcmp(info.cycles, cycles, cycle_count * sizeof *cycles) == 0));
    for (; esf_trace_next(trace, &view, &depth) == ESF_OK; found++)
        good &= found < count && view.event_id == events[2 * found] && depth == events[2 * found + 1];
    same(good && found == count);
    OK(esf_trace_free(trace));
}

#endif
