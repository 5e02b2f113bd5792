/* Appending events for callers who prefer not to wait. */
#include "check.h"

static esf_error *err;

static esf_event tick(uint64_t id) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("tick");
    event.event_id = id;
    event.data = ESF_STR("{}");
    return event;
}

static bool status_has(esf_foundation *app, const char *what) {
    esf_string status = ESF_STRING_INIT;
    bool found = esf_foundation_status_json(app, &status, NULL) == ESF_OK && has(status, what);
    esf_string_free(&status);
    return found;
}

static void events_are_stored_in_the_order_of_the_calls(void) {
    esf_foundation *app = open_instance("{}");
    esf_event_view view = ESF_VIEW_INIT;
    char buffer[256];
    size_t needed = 0;
    uint64_t id = 0, last_seq = 0;
    esf_event drawn = tick(0);
    OK(esf_event_append_async(app, &drawn, &id, &err));
    CHECK(id != 0);
    for (uint64_t n = 0; n < 100; n++) {
        esf_event event = tick(1000 + n);
        OK(esf_event_append_async(app, &event, NULL, &err));
    }
    OK(esf_event_flush_async(app, 30000, &err));
    OK(esf_event_get_into(app, id, &view, buffer, sizeof buffer, &needed, &err));
    CHECK(is_text(view.type, "tick") && is_text(view.data, "{}") && view.timestamp > 1600000000000000000);
    for (uint64_t n = 0; n < 100; n++) {
        OK(esf_event_get_into(app, 1000 + n, &view, buffer, sizeof buffer, &needed, &err));
        CHECK(view.seq > last_seq);
        last_seq = view.seq;
    }
    CHECK(status_has(app, "\"events-append\"") && status_has(app, "\"stored\":101"));
    OK(esf_foundation_close(app, 5000, &err));
}

/* What is wrong is said by the call; what turns out later is counted. */
static void every_event_has_a_fate(void) {
    esf_foundation *app =
        open_instance("{\"event_store\":{\"max_events\":2,\"overflow_strategy\":\"error\"}}");
    esf_event event = tick(1);
    event.data.ptr = "\xff";
    event.data.len = 1;
    FAILS(ESF_E_INVALID_UTF8, esf_event_append_async(app, &event, NULL, &err));
    event = tick(1);
    event.type.len = 0;
    FAILS(ESF_E_INVALID_EVENT_TYPE, esf_event_append_async(app, &event, NULL, &err));
    static const uint64_t ids[] = {1, 1, 2, 3};
    for (size_t n = 0; n < 4; n++) {
        event = tick(ids[n]);
        OK(esf_event_append_async(app, &event, NULL, &err));
    }
    OK(esf_event_flush_async(app, 30000, &err));
    CHECK(status_has(app, "\"refused_invalid\":2") && status_has(app, "\"failed_duplicate\":1"));
    CHECK(status_has(app, "\"failed_full\":1") && status_has(app, "\"waiting\":0"));
    FAILS(ESF_E_INVALID_INPUT, esf_event_flush_async(app, -1, &err));
    OK(esf_foundation_close(app, 5000, &err));
}

/* The second event waits for room, and the queue behind it has room for two more. */
static void the_queue_is_bounded_and_closing_says_what_is_lost(void) {
    esf_foundation *app = open_instance("{\"event_store\":{\"max_events\":1,\"overflow_strategy\":\"block\","
                                        "\"block_timeout_ms\":2000,\"async_queue_events\":3}}");
    esf_string why = ESF_STRING_INIT;
    esf_status status = ESF_OK;
    uint64_t taken = 0;
    for (; taken < 100 && status == ESF_OK; taken++) {
        esf_event event = tick(taken + 1);
        status = esf_event_append_async(app, &event, NULL, &err);
    }
    STATUS(ESF_E_STORE_FULL, status);
    esf_error_free(err);
    err = NULL;
    STATUS(ESF_TIMED_OUT, esf_event_flush_async(app, 0, &err));
    STATUS(ESF_TIMED_OUT, esf_foundation_close(app, 1, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "unstored_events") && has(why, "are lost"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    esf_event event = tick(1);
    FAILS(ESF_E_STALE_HANDLE, esf_event_append_async(app, &event, NULL, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_event_flush_async(app, 0, &err));
}

int main(void) {
    events_are_stored_in_the_order_of_the_calls();
    every_event_has_a_fate();
    the_queue_is_bounded_and_closing_says_what_is_lost();
    return check_report();
}
