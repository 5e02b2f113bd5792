/* What a full store does, events that are sent again, and books that balance. */
#include "check.h"
#include <pthread.h>
#include <sched.h>

static esf_error *err;

/* A number of the store's statistics. */
static uint64_t stat(esf_foundation *app, const char *name) {
    char wanted[64];
    esf_string stats = ESF_STRING_INIT;
    OK(esf_events_stats_json(app, &stats, &err));
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(stats.ptr, wanted);
    uint64_t value = CHECK(at != NULL) ? strtoull(at + strlen(wanted), NULL, 10) : 0;
    esf_string_free(&stats);
    return value;
}

/* Whether every event that was handed in is accounted for, once. */
static bool balances(esf_foundation *app) {
    uint64_t gone = stat(app, "dropped_oldest") + stat(app, "pruned") + stat(app, "expired") +
                    stat(app, "evicted") + stat(app, "lost");
    return stat(app, "stored") == stat(app, "events") + gone &&
           stat(app, "offered") == stat(app, "stored") + stat(app, "refused") + stat(app, "dropped_newest") +
                                       stat(app, "repeated");
}

static esf_event event_at(int64_t timestamp) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("tick");
    event.timestamp = timestamp;
    return event;
}

/* A store that holds three events and has them. */
static esf_foundation *full(const char *store_options) {
    char options[256];
    snprintf(options, sizeof options, "{\"event_store\":{\"max_events\":3,%s}}", store_options);
    esf_foundation *app = open_instance(options);
    for (int64_t time = 0; time < 3; time++) {
        esf_event event = event_at(time);
        OK(esf_event_append(app, &event, NULL, &err));
    }
    return app;
}

static void the_oldest_make_room(void) {
    esf_foundation *app = full("\"overflow_strategy\":\"drop_oldest\"");
    esf_event event = event_at(3);
    esf_receipt receipt = ESF_RECEIPT_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_cursor *cursor = NULL;
    esf_event_query query = ESF_QUERY_INIT;
    OK(esf_event_append(app, &event, &receipt, &err));
    CHECK(receipt.level == ESF_LEVEL_ACCEPTED && receipt.seq == 4);
    OK(esf_events_query(app, &query, &cursor, &err));
    OK(esf_cursor_next(cursor, &view));
    CHECK(view.timestamp == 1);
    OK(esf_cursor_free(cursor));
    CHECK(stat(app, "events") == 3 && stat(app, "dropped_oldest") == 1 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

static void the_newest_are_dropped_and_their_receipts_say_so(void) {
    esf_foundation *app = full("\"overflow_strategy\":\"drop_newest\"");
    esf_event events[2] = {event_at(3), event_at(4)};
    esf_receipt receipts[2] = {ESF_RECEIPT_INIT, ESF_RECEIPT_INIT};
    esf_event_view view = ESF_VIEW_INIT;
    esf_string owner = ESF_STRING_INIT;
    events[0].event_id = 77;
    OK(esf_event_append(app, &events[0], &receipts[0], &err));
    CHECK(receipts[0].level == ESF_LEVEL_DROPPED && receipts[0].event_id == 77 && receipts[0].seq == 0);
    FAILS(ESF_E_DATA_NOT_FOUND, esf_event_get(app, 77, &view, &owner, &err));
    OK(esf_event_append_batch(app, events, 2, receipts, &err));
    CHECK(receipts[1].level == ESF_LEVEL_DROPPED && receipts[1].seq == 0 && receipts[1].event_id != 0);
    events[0].encoding = 99;
    FAILS(ESF_E_INVALID_INPUT, esf_event_append(app, &events[0], NULL, &err));
    CHECK(stat(app, "events") == 3 && stat(app, "dropped_newest") == 3 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

static void a_full_store_refuses(void) {
    esf_foundation *app = full("\"overflow_strategy\":\"error\"");
    esf_event events[2] = {event_at(3), event_at(4)};
    esf_receipt receipt = ESF_RECEIPT_INIT;
    FAILS(ESF_E_STORE_FULL, esf_event_append(app, events, &receipt, &err));
    FAILS(ESF_E_STORE_FULL, esf_event_append_batch(app, events, 2, NULL, &err));
    CHECK(receipt.event_id == 0 && stat(app, "refused_full") == 3 && balances(app));
    OK(esf_events_prune_before(app, 2, NULL, &err));
    OK(esf_event_append_batch(app, events, 2, NULL, &err));
    FAILS(ESF_E_STORE_FULL, esf_event_append(app, events, NULL, &err));
    CHECK(stat(app, "events") == 3 && stat(app, "pruned") == 2 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

static void *append_one(void *app) {
    esf_event event = event_at(3);
    return esf_event_append(app, &event, NULL, NULL) == ESF_OK ? app : NULL;
}

static void an_append_waits_for_room(void) {
    esf_foundation *app = full("\"overflow_strategy\":\"block\",\"block_timeout_ms\":2");
    esf_event event = event_at(3);
    FAILS(ESF_E_STORE_FULL, esf_event_append(app, &event, NULL, &err));
    CHECK(stat(app, "refused_full") == 1 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));

    app = full("\"overflow_strategy\":\"block\",\"block_timeout_ms\":300000");
    pthread_t thread;
    void *stored = NULL;
    uint64_t gone = 0;
    CHECK(pthread_create(&thread, NULL, append_one, app) == 0);
    /* It is stored once there is room, whichever of the two comes first. */
    while (esf_events_prune_before(app, 1, &gone, NULL) == ESF_OK && gone == 0)
        sched_yield();
    CHECK(pthread_join(thread, &stored) == 0 && stored == app);
    CHECK(stat(app, "events") == 3 && stat(app, "pruned") == 1 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

static void an_event_sent_again_gets_its_first_receipt(void) {
    esf_foundation *app = open_instance(
        "{\"event_store\":{\"on_duplicate\":\"return\",\"overflow_strategy\":\"error\",\"max_events\":2}}");
    esf_event events[2] = {event_at(5), event_at(6)};
    esf_receipt first = ESF_RECEIPT_INIT, receipts[2] = {ESF_RECEIPT_INIT, ESF_RECEIPT_INIT};
    esf_string why = ESF_STRING_INIT;
    events[0].event_id = 9;
    events[0].data = ESF_STR("{}");
    events[1].event_id = 10;
    OK(esf_event_append(app, &events[0], &first, &err));
    OK(esf_event_append(app, &events[0], &receipts[0], &err));
    CHECK(receipts[0].seq == first.seq && receipts[0].event_id == 9 && receipts[0].level == first.level);
    OK(esf_event_append_batch(app, events, 2, receipts, &err));
    CHECK(receipts[0].seq == first.seq && receipts[1].seq == first.seq + 1);
    /* The store is full now; what it has needs no room. */
    OK(esf_event_append_batch(app, events, 2, receipts, &err));
    events[0].data = ESF_STR("{ }");
    STATUS(ESF_E_DUPLICATE_EVENT_ID, esf_event_append_batch(app, events, 2, NULL, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "\"field\":\"data\"") && has(why, "\"index\":0"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    CHECK(stat(app, "events") == 2 && stat(app, "repeated") == 4 && balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

/* Bytes of a store that may have a mebibyte, of events of a kilobyte. No clean-up comes in between. */
static void memory_is_bounded(void) {
    static char data[1000];
    static const char *const strategies[] = {"drop_oldest", "error", "drop_newest"};
    memset(data, ' ', sizeof data);
    for (size_t at = 0; at < 3; at++) {
        char options[256];
        unsigned long stored = 0, refused = 0;
        snprintf(options, sizeof options,
                 "{\"event_store\":{\"max_memory_mb\":1,\"prune_interval_ms\":86400000,\"max_data_bytes\":"
                 "4096,\"shards\":1,\"max_events\":"
                 "100000,"
                 "\"overflow_strategy\":\"%s\"}}",
                 strategies[at]);
        esf_foundation *app = open_instance(options);
        esf_event event = event_at(0);
        event.encoding = ESF_ENCODING_RAW;
        event.data.ptr = data;
        event.data.len = sizeof data;
        for (int round = 0; round < 3000; round++) {
            esf_status status = esf_event_append(app, &event, NULL, NULL);
            stored += status == ESF_OK;
            refused += status == ESF_E_STORE_FULL;
        }
        uint64_t used = stat(app, "memory_bytes") + stat(app, "index_bytes") + stat(app, "pooled_bytes") +
                        stat(app, "pinned_bytes");
        CHECK(stored + refused == 3000 && used <= 1 << 20 && stat(app, "max_memory_bytes") == 1 << 20);
        CHECK(stat(app, "events") > 100 && stat(app, "events") < 1100 && balances(app));
        CHECK((stat(app, "evicted") > 0) == (at == 0) && (refused > 0) == (at == 1));
        CHECK((stat(app, "dropped_newest") > 0) == (at == 2));
        OK(esf_foundation_close(app, 5000, &err));
    }
}

/* The instance cleans up by itself; what is older than a second goes, what is from the future stays. */
static void events_expire(void) {
    esf_foundation *app = open_instance("{\"event_store\":{\"max_age_seconds\":1,\"prune_interval_ms\":1}}");
    for (int64_t time = 0; time < 5; time++) {
        esf_event event = event_at(time == 4 ? INT64_MAX : time);
        OK(esf_event_append(app, &event, NULL, &err));
    }
    for (bool expired = false; !expired; sched_yield()) {
        esf_string stats = ESF_STRING_INIT;
        expired = esf_events_stats_json(app, &stats, NULL) != ESF_OK || has(stats, "\"expired\":4,");
        esf_string_free(&stats);
    }
    CHECK(stat(app, "events") == 1 && stat(app, "expired") == 4 && stat(app, "pruned") == 0 &&
          stat(app, "max_age_ms") == 1000);
    CHECK(balances(app));
    OK(esf_foundation_close(app, 5000, &err));
}

int main(void) {
    the_oldest_make_room();
    the_newest_are_dropped_and_their_receipts_say_so();
    a_full_store_refuses();
    an_append_waits_for_room();
    an_event_sent_again_gets_its_first_receipt();
    memory_is_bounded();
    events_expire();
    return check_report();
}
