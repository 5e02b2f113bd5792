/* Queries and their cursors, pruning, export and statistics. */
#include "check.h"
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
        int64_t now = query->order == ESF_ORDER_SEQ ? (int64_t)view.seq : view.timestamp;
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
    remove(name);
    FAILS(ESF_E_DATA_NOT_FOUND, esf_events_export_jsonl(app, &query, ESF_STR("/no/folder/x"), NULL, &err));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    fill(app);
    conditions(app);
    refusals(app);
    cursors_are_stable();
    pruning_and_statistics(app);
    exporting(app);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
