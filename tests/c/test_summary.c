/* What a query finds, counted, and how it is found. */
#include "check.h"

enum { COUNT = 200 };

static esf_error *err;

/* Two types, four correlation ids, timestamps from 0 on in steps of 10, the numbers from 1 on. */
static void fill(esf_foundation *app) {
    for (int at = 0; at < COUNT; at++) {
        char correlation[16], data[32];
        esf_event event = ESF_EVENT_INIT;
        event.type = at % 4 ? ESF_STR("common") : ESF_STR("rare");
        event.correlation_id.len = (size_t)snprintf(correlation, sizeof correlation, "c-%d", at % 3);
        event.correlation_id.ptr = correlation;
        event.data.len = (size_t)snprintf(data, sizeof data, "{\"n\":[%d]}", at + 1);
        event.data.ptr = data;
        event.timestamp = 10 * at;
        event.parent_id = at < 5 ? 9 : 0;
        OK(esf_event_append(app, &event, NULL, &err));
    }
}

/* Which index a query takes, by both forms of the call. */
static bool uses(esf_foundation *app, const esf_event_query *query, const char *index) {
    char buffer[4096], wanted[64];
    size_t needed = 0;
    esf_string json = ESF_STRING_INIT;
    OK(esf_events_explain(app, query, &json, &err));
    OK(esf_events_explain_into(app, query, buffer, sizeof buffer, &needed, &err));
    CHECK(json.len + 1 == needed && strcmp(buffer, json.ptr) == 0 && has(json, "\"reason\""));
    STATUS(ESF_AGAIN, esf_events_explain_into(app, query, buffer, needed - 1, &needed, &err));
    snprintf(wanted, sizeof wanted, "\"index\":\"%s\"", index);
    bool same = has(json, wanted);
    if (!same)
        printf("%s\n", json.ptr);
    esf_string_free(&json);
    return same;
}

static void explaining(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_str rare = ESF_STR("rare");
    CHECK(uses(app, &query, "none"));
    query.correlation_id = ESF_STR("c-1");
    CHECK(uses(app, &query, "correlation"));
    query.flags = ESF_QUERY_NO_INDEX;
    CHECK(uses(app, &query, "none"));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.types = &rare;
    query.type_count = 1;
    CHECK(uses(app, &query, "type"));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.parent_id = 9;
    CHECK(uses(app, &query, "parent"));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.from_id = query.to_id = 3;
    CHECK(uses(app, &query, "id"));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.from_time = 100;
    query.to_time = 200;
    CHECK(uses(app, &query, "time"));
    query = (esf_event_query)ESF_QUERY_INIT;
    query.from_seq = query.to_seq = 5;
    CHECK(uses(app, &query, "seq"));
    query.limit = -1;
    esf_string json = ESF_STRING_INIT;
    FAILS(ESF_E_INVALID_INPUT, esf_events_explain(app, &query, &json, &err));
}

static void counting(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    uint64_t count = 0;
    OK(esf_events_count(app, &query, &count, &err));
    CHECK(count == COUNT);
    query.from_time = 100;
    query.to_time = 290;
    OK(esf_events_count(app, &query, &count, &err));
    CHECK(count == 20);
    query.offset = 5;
    query.limit = 7;
    OK(esf_events_count(app, &query, &count, &err));
    CHECK(count == 7);
    query.limit = 0;
    OK(esf_events_count(app, &query, &count, &err));
    CHECK(count == 0);
    query = (esf_event_query)ESF_QUERY_INIT;
    query.correlation_id = ESF_STR("c-1");
    query.conditions = ESF_STR("[{\"path\":[\"n\",0],\"op\":\"<=\",\"value\":50}]");
    OK(esf_events_count(app, &query, &count, &err));
    CHECK(count == 17);
}

static void aggregating(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_string json = ESF_STRING_INIT;
    char buffer[4096];
    size_t needed = 0;
    esf_str all = ESF_STR("{\"by_type\":true,\"bucket_ns\":1000,\"top_correlations\":1,\"field\":[\"n\",0]}");
    OK(esf_events_aggregate(app, &query, all, &json, &err));
    CHECK(has(json, "\"count\":200,\"by_type\":[{\"event_type\":\"common\",\"count\":150},"
                    "{\"event_type\":\"rare\",\"count\":50}]"));
    CHECK(has(json, "\"buckets\":[{\"from\":0,\"count\":100},{\"from\":1000,\"count\":100}]"));
    CHECK(has(json, "\"top_correlations\":[{\"correlation_id\":\"c-0\",\"count\":67}]"));
    CHECK(has(json, "\"min\":1.0,\"mean\":100.5,\"max\":200.0,\"p50\":100.0,\"p90\":180.0,\"p99\":198.0"));
    OK(esf_events_aggregate_into(app, &query, all, buffer, sizeof buffer, &needed, &err));
    CHECK(needed == json.len + 1 && strcmp(buffer, json.ptr) == 0);
    STATUS(ESF_AGAIN, esf_events_aggregate_into(app, &query, all, NULL, 0, &needed, &err));
    esf_string_free(&json);
    query.limit = 3;
    OK(esf_events_aggregate(app, &query, ESF_STR(""), &json, &err));
    CHECK(has(json, "\"count\":3,") && !has(json, "by_type"));
    esf_string_free(&json);
    FAILS(ESF_E_INVALID_INPUT, esf_events_aggregate(app, &query, ESF_STR("{\"bucket_ns\":0}"), &json, &err));
    query.limit = ESF_NO_LIMIT;
    FAILS(ESF_E_INVALID_INPUT, esf_events_aggregate(app, &query, ESF_STR("[]]"), &json, &err));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    fill(app);
    explaining(app);
    counting(app);
    aggregating(app);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
