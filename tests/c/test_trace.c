/* The tree of causes that an event belongs to. */
#include "check.h"

static esf_error *err;

static void append(esf_foundation *app, uint64_t id, uint64_t parent) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("step");
    event.event_id = id;
    event.parent_id = parent;
    event.timestamp = (int64_t)id;
    OK(esf_event_append(app, &event, NULL, &err));
}

/* Whether the trace shows just these events at these depths, given as id, depth, id, depth, … */
static bool shows(esf_trace *trace, const uint64_t *expected, size_t count) {
    esf_event_view view = ESF_VIEW_INIT;
    uint32_t depth = 0;
    bool same = true;
    for (size_t at = 0; at < count; at++) {
        same &= esf_trace_next(trace, &view, &depth) == ESF_OK;
        same &= view.event_id == expected[2 * at] && depth == expected[2 * at + 1];
        same &= is_text(view.type, "step");
    }
    return same && esf_trace_next(trace, &view, &depth) == ESF_DONE;
}

static void trees(esf_foundation *app) {
    static const uint64_t whole[] = {10, 0, 20, 1, 30, 2, 31, 2, 40, 3, 21, 1};
    static const uint64_t from[] = {10, 20, 30, 21, 31, 40};
    append(app, 10, 0);
    append(app, 20, 10);
    append(app, 21, 10);
    append(app, 30, 20);
    append(app, 31, 20);
    append(app, 40, 31);
    for (size_t at = 0; at < sizeof from / sizeof *from; at++) {
        esf_trace *trace = NULL;
        esf_trace_info info = ESF_TRACE_INFO_INIT;
        OK(esf_events_trace(app, from[at], 100, &trace, &err));
        CHECK(shows(trace, whole, 6));
        OK(esf_trace_get_info(trace, &info));
        CHECK(info.event_count == 6 && !info.truncated && !info.missing_parent);
        CHECK(info.cycle_count == 0 && info.cycles == NULL);
        OK(esf_trace_free(trace));
        STATUS(ESF_E_STALE_HANDLE, esf_trace_get_info(trace, &info));
        STATUS(ESF_E_STALE_HANDLE, esf_trace_free(trace));
    }
    esf_trace *trace = NULL;
    esf_trace_info info = ESF_TRACE_INFO_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    OK(esf_events_trace(app, 40, 2, &trace, &err));
    OK(esf_trace_get_info(trace, &info));
    CHECK(info.truncated == 1 && info.event_count == 2);
    OK(esf_trace_next(trace, &view, NULL));
    CHECK(view.event_id == 10);
    OK(esf_trace_free(trace));
    OK(esf_trace_free(NULL));
    FAILS(ESF_E_DATA_NOT_FOUND, esf_events_trace(app, 41, 100, &trace, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_events_trace(app, 40, 0, &trace, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_events_trace(app, 40, 100001, &trace, &err));
}

static void parents_that_are_missing_and_circles(esf_foundation *app) {
    static const uint64_t orphans[] = {102, 0, 103, 1};
    esf_trace *trace = NULL;
    esf_trace_info info = ESF_TRACE_INFO_INIT;
    append(app, 102, 101);
    append(app, 103, 102);
    OK(esf_events_trace(app, 103, 100, &trace, &err));
    OK(esf_trace_get_info(trace, &info));
    CHECK(shows(trace, orphans, 2) && info.missing_parent == 101 && info.cycle_count == 0);
    OK(esf_trace_free(trace));

    append(app, 205, 207);
    append(app, 206, 205);
    append(app, 207, 206);
    OK(esf_events_trace(app, 206, 100, &trace, &err));
    OK(esf_trace_get_info(trace, &info));
    CHECK(info.event_count == 3 && info.cycle_count == 1 && info.missing_parent == 0);
    CHECK(info.cycles && info.cycles[0] >= 205 && info.cycles[0] <= 207);
    OK(esf_trace_free(trace));
}

/* A trace keeps what it shows, whatever becomes of the store. */
static void traces_outlive_their_instance(void) {
    static const uint64_t both[] = {1, 0, 2, 1};
    esf_foundation *app = open_instance("{}");
    esf_trace *trace = NULL;
    append(app, 1, 0);
    append(app, 2, 1);
    OK(esf_events_trace(app, 1, 10, &trace, &err));
    OK(esf_events_prune_before(app, INT64_MAX, NULL, &err));
    OK(esf_foundation_close(app, 5000, &err));
    CHECK(shows(trace, both, 2));
    OK(esf_trace_free(trace));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    trees(app);
    parents_that_are_missing_and_circles(app);
    traces_outlive_their_instance();
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
