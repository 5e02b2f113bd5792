/* Queries and their cursors, pruning, export and statistics. */
#include "check.h"
#include <time.h>
#include <unistd.h>

enum { COUNT = 1000 };

static esf_error *err;

/* A thousand events: two types, ten correlation ids, timestamps from 1,000 on in steps of 10. */
static void fill(esf_foundation *app) {
    unsigned long failed = 0;
    for (int at = 0; at < COUNT; at++) {
        char correlation[16], data[32];
        esf_event event = ESF_EVENT_INIT;
        event.type = at % 4 ? ESF_STR("common") : ESF_STR("rare");
        event.correlation_id.len = (size_t)snprintf(correlation, sizeof correlation, "c-%d", at % 10);
        event.correlation_id.ptr = correlation;
        event.data.len = (size_t)snprintf(data, sizeof data, "{\"at\":%d}", at);
        event.data.ptr = data;
        event.timestamp = 1000 + 10 * at;
        failed += esf_event_append(app, &event, NULL, &err) != ESF_OK;
    }
    CHECK(failed == 0);
}

/* How many events a query finds; they must come in the order that it asks for. */
static unsigned long found(esf_foundation *app, const esf_event_query *query) {
    esf_cursor *cursor = NULL;
    esf_event_view view = ESF_VIEW_INIT;
    unsigned long count = 0, disordered = 0;
    int64_t last = 0;
    if (!OK(esf_events_query(app, query, &cursor, &err)))
        return 0;
    esf_status status;
    while ((status = esf_cursor_next(cursor, &view)) == ESF_OK) {
        int64_t now = query->order == ESF_ORDER_SEQ  ? (int64_t)view.seq
                      : query->order == ESF_ORDER_ID ? (int64_t)view.event_id
                                                     : view.timestamp;
        disordered += count > 0 && (query->descending ? now > last : now < last);
        last = now;
        count++;
    }
    CHECK(status == ESF_DONE && disordered == 0);
    STATUS(ESF_DONE, esf_cursor_next(cursor, &view));
    OK(esf_cursor_free(cursor));
    STATUS(ESF_E_STALE_HANDLE, esf_cursor_next(cursor, &view));
    STATUS(ESF_E_STALE_HANDLE, esf_cursor_free(cursor));
    return count;
}

static void conditions(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_str types[] = {ESF_STR("rare"), ESF_STR("common"), ESF_STR("unknown")};
    CHECK(found(app, &query) == COUNT);
    query.types = types;
    query.type_count = 1;
    CHECK(found(app, &query) == COUNT / 4);
    query.type_count = 3;
    CHECK(found(app, &query) == COUNT);
    query.types = &types[2];
    query.type_count = 1;
    CHECK(found(app, &query) == 0);

    query = (esf_event_query)ESF_QUERY_INIT;
    query.correlation_id = ESF_STR("c-3");
    CHECK(found(app, &query) == COUNT / 10);
    query.correlation_id = ESF_STR("c-33");
    CHECK(found(app, &query) == 0);

    query = (esf_event_query)ESF_QUERY_INIT;
    query.from_time = 2000;
    query.to_time = 2990;
    CHECK(found(app, &query) == 100);
    query.descending = 1;
    query.offset = 30;
    query.limit = 20;
    CHECK(found(app, &query) == 20);
    query.limit = 0;
    CHECK(found(app, &query) == 0);

    query = (esf_event_query)ESF_QUERY_INIT;
    query.order = ESF_ORDER_SEQ;
    query.descending = 1;
    CHECK(found(app, &query) == COUNT);
    esf_cursor *cursor = NULL;
    esf_event_view view = ESF_VIEW_INIT;
    OK(esf_events_query(app, &query, &cursor, &err));
    OK(esf_cursor_next(cursor, &view));
    OK(esf_cursor_free(cursor));
    query.from_seq = query.to_seq = view.seq;
    CHECK(found(app, &query) == 1);
    OK(esf_cursor_free(NULL));
}

/* A tree of five events with nodes, processes and data in both encodings, in an instance of its own. */
static esf_foundation *family(void) {
    static const char etf[] = "\x83t\0\0\0\1w\1na\7"; /* %{n: 7} */
    esf_foundation *app = open_instance("{}");
    for (uint64_t id = 1; id <= 5; id++) {
        char data[32];
        esf_event event = ESF_EVENT_INIT;
        event.type = ESF_STR("member");
        event.event_id = 10 * (6 - id);
        event.parent_id = id == 1 ? 0 : 50;
        event.timestamp = (int64_t)id;
        event.node = id % 2 ? ESF_STR("one@host") : ESF_STR("");
        event.pid = id == 3 ? ESF_STR("<0.3.0>") : ESF_STR("");
        event.data.len = (size_t)snprintf(data, sizeof data, "{\"n\":%d,\"k\":[\"a\"]}", (int)id);
        event.data.ptr = data;
        if (id == 5) {
            event.encoding = ESF_ENCODING_ETF;
            event.data.ptr = etf;
            event.data.len = sizeof etf - 1;
        }
        OK(esf_event_append(app, &event, NULL, &err));
    }
    return app;
}

/* Every condition by itself; with an index and without. */
static void filters(void) {
    esf_foundation *app = family();
    static const struct {
        const char *conditions;
        unsigned long count;
    } cases[] = {
        {"[{\"path\":\"n\",\"op\":\">\",\"value\":2}]", 3},
        {"[{\"path\":[\"n\"],\"op\":\"==\",\"value\":7.0}]", 1},
        {"[{\"path\":[\"n\"],\"op\":\"in\",\"value\":[1,7,\"x\"]}]", 2},
        {"[{\"path\":[\"k\",0],\"op\":\"prefix\",\"value\":\"a\"}]", 4},
        {"[{\"path\":[\"k\"],\"op\":\"exists\",\"value\":false}]", 1},
        {"[{\"path\":\"n\",\"op\":\">\",\"value\":1},{\"path\":\"n\",\"op\":\"<\",\"value\":4}]", 2},
        {"[{\"path\":\"n\",\"op\":\"!=\",\"value\":\"text\"}]", 0},
        {"[]", 5},
    };
    for (uint32_t flags = 0; flags <= ESF_QUERY_NO_INDEX; flags += ESF_QUERY_NO_INDEX) {
        esf_event_query none = ESF_QUERY_INIT, query;
        none.flags = flags;
        query = none;
        query.parent_id = 50;
        CHECK(found(app, &query) == 4);
        query.parent_id = 51;
        CHECK(found(app, &query) == 0);
        query = none;
        query.flags |= ESF_QUERY_WITHOUT_PARENT;
        CHECK(found(app, &query) == 1);
        query = none;
        query.from_id = 20;
        CHECK(found(app, &query) == 4);
        query.to_id = 40;
        CHECK(found(app, &query) == 3);
        query.from_id = 0;
        CHECK(found(app, &query) == 4);
        query = none;
        query.node = ESF_STR("one@host");
        CHECK(found(app, &query) == 3);
        query.node = ESF_STR("unknown@host");
        CHECK(found(app, &query) == 0);
        query = none;
        query.flags |= ESF_QUERY_WITHOUT_NODE;
        CHECK(found(app, &query) == 2);
        query = none;
        query.pid = ESF_STR("<0.3.0>");
        CHECK(found(app, &query) == 1);
        query = none;
        query.flags |= ESF_QUERY_WITHOUT_PID;
        CHECK(found(app, &query) == 4);
        query = none;
        query.order = ESF_ORDER_ID;
        CHECK(found(app, &query) == 5);
        query.descending = 1;
        CHECK(found(app, &query) == 5);
        for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
            query = none;
            query.conditions.ptr = cases[at].conditions;
            query.conditions.len = strlen(cases[at].conditions);
            if (!CHECK(found(app, &query) == cases[at].count))
                printf("  %s\n", cases[at].conditions);
        }
    }
    OK(esf_foundation_close(app, 5000, &err));
}

/* A query of an older header ends before the fields that came later. */
static void queries_of_an_older_header(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    memset((char *)&query + offsetof(esf_event_query, parent_id), 0x7f,
           sizeof query - offsetof(esf_event_query, parent_id));
    query.size = offsetof(esf_event_query, parent_id);
    CHECK(found(app, &query) == COUNT);
}

static void recent_and_chains(esf_foundation *app) {
    esf_cursor *cursor = NULL;
    esf_event_view view = ESF_VIEW_INIT;
    int64_t last = INT64_MAX;
    unsigned long count = 0;
    OK(esf_events_recent(app, 25, &cursor, &err));
    for (; esf_cursor_next(cursor, &view) == ESF_OK; count++) {
        CHECK(view.timestamp < last && view.timestamp >= 1000 + 10 * (COUNT - 25));
        last = view.timestamp;
    }
    CHECK(count == 25);
    OK(esf_cursor_free(cursor));
    OK(esf_events_correlation_chain(app, ESF_STR("c-7"), &cursor, &err));
    for (count = 0; esf_cursor_next(cursor, &view) == ESF_OK; count++)
        CHECK(view.timestamp == 1000 + 10 * (7 + 10 * (int64_t)count) && is_text(view.correlation_id, "c-7"));
    CHECK(count == COUNT / 10);
    OK(esf_cursor_free(cursor));
    FAILS(ESF_E_INVALID_INPUT, esf_events_recent(app, -1, &cursor, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_events_correlation_chain(app, ESF_STR(""), &cursor, &err));
}

/* Batches give what single steps give, and all views of a batch hold at once, while the store forgets. */
static void batches(void) {
    enum { ROOM = 300 };
    static esf_event_view views[ROOM];
    esf_foundation *app = open_instance("{\"event_store\":{\"max_events\":1000,\"shards\":1}}");
    esf_event_query query = ESF_QUERY_INIT;
    esf_event_view single = ESF_VIEW_INIT;
    esf_cursor *one = NULL, *many = NULL;
    unsigned long wrong = 0, total = 0, calls = 0, short_ones = 0;
    size_t count = 77;
    for (size_t at = 0; at < ROOM; at++)
        views[at] = (esf_event_view)ESF_VIEW_INIT;
    fill(app);
    query.order = ESF_ORDER_SEQ;
    query.offset = 5;
    query.limit = 950;
    OK(esf_events_query(app, &query, &one, &err));
    OK(esf_events_query(app, &query, &many, &err));
    STATUS(ESF_E_INVALID_INPUT, esf_cursor_next_batch(many, views, 0, &count));
    views[7].size = 8;
    STATUS(ESF_E_INVALID_INPUT, esf_cursor_next_batch(many, views, ROOM, &count));
    views[7].size = sizeof *views;
    CHECK(count == 77);
    esf_status status;
    while ((status = esf_cursor_next_batch(many, views, ROOM, &count)) == ESF_OK) {
        fill(app); /* All of the answer is gone from the store now. */
        short_ones += count < ROOM;
        for (size_t at = 0; at < count; at++) {
            if (!OK(esf_cursor_next(one, &single)))
                break;
            /* The very same bytes: neither of them was copied. */
            wrong += single.seq != views[at].seq || single.data.ptr != views[at].data.ptr ||
                     single.data.len != views[at].data.len;
        }
        total += count;
        calls++;
    }
    STATUS(ESF_DONE, status);
    CHECK(wrong == 0 && total > 0 && count == 0 && calls <= 4 && short_ones <= 1);
    STATUS(ESF_DONE, esf_cursor_next(one, &single));
    STATUS(ESF_DONE, esf_cursor_next_batch(many, views, ROOM, &count));
    OK(esf_cursor_free(one));
    OK(esf_cursor_free(many));
    OK(esf_foundation_close(app, 5000, &err));
}

static void timeouts(void) {
    enum { MANY = 100000, AT_ONCE = 1000 };
    static esf_event events[AT_ONCE];
    esf_foundation *app = open_instance("{}");
    esf_event_query query = ESF_QUERY_INIT;
    esf_cursor *cursor = NULL;
    esf_event_view view = ESF_VIEW_INIT;
    esf_string json = ESF_STRING_INIT;
    struct timespec start, now;
    uint64_t found = 4242;
    size_t count = 0;
    for (size_t at = 0; at < AT_ONCE; at++) {
        events[at] = (esf_event)ESF_EVENT_INIT;
        events[at].type = ESF_STR("many");
        events[at].data = ESF_STR("{\"a\":[1,2,3,4,5,6,7,8,9],\"b\":{\"c\":\"some text\"},\"n\":12}");
    }
    for (int round = 0; round < MANY / AT_ONCE; round++)
        OK(esf_event_append_batch(app, events, AT_ONCE, NULL, &err));
    query.timeout_ms = 1;
    clock_gettime(CLOCK_MONOTONIC, &start);
    OK(esf_events_query(app, &query, &cursor, &err));
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < 2000000);
    STATUS(ESF_TIMED_OUT, esf_cursor_next(cursor, &view));
    STATUS(ESF_TIMED_OUT, esf_cursor_next(cursor, &view));
    STATUS(ESF_TIMED_OUT, esf_cursor_next_batch(cursor, &view, 1, &count));
    CHECK(view.seq == 0);
    OK(esf_cursor_free(cursor));

    /* Looking at all of these takes many times the time. */
    query.conditions = ESF_STR("[{\"path\":\"n\",\"op\":\"==\",\"value\":13}]");
    STATUS(ESF_TIMED_OUT, esf_events_count(app, &query, &found, &err));
    STATUS(ESF_TIMED_OUT, esf_events_aggregate(app, &query, ESF_STR("{}"), &json, &err));
    STATUS(ESF_TIMED_OUT, esf_events_export_jsonl(app, &query, ESF_STR("never.jsonl"), &found, &err));
    CHECK(found == 4242 && json.ptr == NULL && err == NULL && access("never.jsonl", F_OK) != 0);
    query.timeout_ms = 600000;
    OK(esf_events_count(app, &query, &found, &err));
    CHECK(found == 0);
    OK(esf_foundation_close(app, 5000, &err));
}

static void refusals(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_cursor *cursor = NULL;
    esf_string why = ESF_STRING_INIT;
    query.limit = -1;
    STATUS(ESF_E_INVALID_INPUT, esf_events_query(app, &query, &cursor, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "limit") && has(why, "-1"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    query = (esf_event_query)ESF_QUERY_INIT;
    query.order = 7;
    FAILS(ESF_E_INVALID_INPUT, esf_events_query(app, &query, &cursor, &err));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.conditions =
        ESF_STR("[{\"path\":\"a\",\"op\":\"exists\"},{\"path\":\"a\",\"op\":\"like\",\"value\":1}]");
    STATUS(ESF_E_INVALID_INPUT, esf_events_query(app, &query, &cursor, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "\"index\":1") && has(why, "like"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    CHECK(cursor == NULL);
}

/* A cursor shows what was there when it was made, whatever happens meanwhile, even the end of its instance.
 */
static void cursors_are_stable(void) {
    esf_foundation *app = open_instance("{\"event_store\":{\"max_events\":2000}}");
    esf_event_query query = ESF_QUERY_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_cursor *cursor = NULL;
    unsigned long count = 0;
    fill(app);
    OK(esf_events_query(app, &query, &cursor, &err));
    for (int round = 0; round < 10; round++)
        fill(app);
    for (; count < 10 && OK(esf_cursor_next(cursor, &view)); count++)
        CHECK(view.timestamp == 1000 + 10 * (int64_t)count);
    OK(esf_foundation_close(app, 5000, &err));
    while (esf_cursor_next(cursor, &view) == ESF_OK)
        count++;
    CHECK(count <= COUNT && view.data.len > 0);
    OK(esf_cursor_free(cursor));
}

static void pruning_and_statistics(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_string stats = ESF_STRING_INIT;
    uint64_t gone = 0;
    OK(esf_events_prune_before(app, 1500, &gone, &err));
    CHECK(gone == 50 && found(app, &query) == COUNT - 50);
    OK(esf_events_prune_before(app, 1500, NULL, &err));
    OK(esf_events_stats_json(app, &stats, &err));
    CHECK(has(stats, "\"pruned\":50") && has(stats, "\"events\":950") && has(stats, "\"stored\":1000"));
    char buffer[4096];
    size_t needed = 0;
    OK(esf_events_stats_json_into(app, buffer, sizeof buffer, &needed, &err));
    CHECK(strstr(buffer, "\"pruned\":50") && needed == strlen(buffer) + 1);
    esf_string_free(&stats);
}

static void exporting(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    char name[64], line[1024];
    unsigned long lines = 0, objects = 0;
    uint64_t count = 0;
    snprintf(name, sizeof name, "export-%ld.jsonl", (long)getpid());
    query.correlation_id = ESF_STR("c-3");
    esf_str file = {name, strlen(name)};
    OK(esf_events_export_jsonl(app, &query, file, &count, &err));
    FILE *in = fopen(name, "r");
    while (in && fgets(line, sizeof line, in)) {
        lines++;
        objects += line[0] == '{' && strstr(line, "\"c-3\"") && line[strlen(line) - 2] == '}';
    }
    CHECK(in && lines == count && objects == lines && count == COUNT / 10 - 5);
    if (in)
        fclose(in);

    /* Another instance reads them back; a second time they are there already. */
    esf_foundation *other = open_instance("{}");
    esf_string why = ESF_STRING_INIT;
    uint64_t imported = 0;
    OK(esf_events_import_jsonl(other, file, &imported, &err));
    CHECK(imported == count && found(other, &query) == count);
    STATUS(ESF_E_DUPLICATE_EVENT_ID, esf_events_import_jsonl(other, file, NULL, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "\"line\":1") && has(why, "\"imported\":0"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    OK(esf_foundation_close(other, 5000, &err));
    remove(name);
    FAILS(ESF_E_DATA_NOT_FOUND, esf_events_import_jsonl(app, file, NULL, &err));
    FAILS(ESF_E_DATA_NOT_FOUND, esf_events_export_jsonl(app, &query, ESF_STR("/no/folder/x"), NULL, &err));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    fill(app);
    conditions(app);
    refusals(app);
    queries_of_an_older_header(app);
    recent_and_chains(app);
    filters();
    batches();
    timeouts();
    cursors_are_stable();
    pruning_and_statistics(app);
    exporting(app);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
