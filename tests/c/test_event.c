/* Appending events one at a time and in batches, and getting them back by id. */
#include "check.h"

static esf_error *err;

/* An event that sets everything comes back as it went in. */
static void every_field_comes_back(esf_foundation *app) {
    esf_event event = ESF_EVENT_INIT;
    esf_receipt receipt = ESF_RECEIPT_INIT, second = ESF_RECEIPT_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_string owner = ESF_STRING_INIT;
    uint64_t id = 0;
    OK(esf_event_generate_id(app, &id, &err));
    event.type = ESF_STR("order_paid");
    event.event_id = id;
    event.parent_id = 77;
    event.timestamp = 1234567890123456789;
    event.wall_time = 1234567890123456000;
    event.node = ESF_STR("web-1");
    event.pid = ESF_STR("<0.1.0>");
    event.correlation_id.ptr = "a\0b";
    event.correlation_id.len = 3;
    event.data = ESF_STR("{\"total\":12}");
    OK(esf_event_append(app, &event, &receipt, &err));
    CHECK(receipt.event_id == id && receipt.level == ESF_LEVEL_ACCEPTED);
    OK(esf_event_get(app, id, &view, &owner, &err));
    CHECK(view.event_id == id && view.parent_id == 77 && view.seq == receipt.seq);
    CHECK(view.timestamp == event.timestamp && view.wall_time == event.wall_time);
    CHECK(view.encoding == ESF_ENCODING_JSON && view.flags == 0 && view.config_version == 1);
    CHECK(is_text(view.type, "order_paid") && is_text(view.node, "web-1") && is_text(view.pid, "<0.1.0>"));
    CHECK(is_text(view.data, "{\"total\":12}"));
    CHECK(view.correlation_id.len == 3 && memcmp(view.correlation_id.ptr, "a\0b", 3) == 0);
    CHECK(view.data.ptr >= owner.ptr && view.data.ptr + view.data.len <= owner.ptr + owner.len);

    char buffer[256];
    size_t needed = 0;
    esf_event_view into = ESF_VIEW_INIT;
    STATUS(ESF_AGAIN, esf_event_get_into(app, id, &into, NULL, 0, &needed, &err));
    CHECK(needed == owner.len + 1 && into.event_id == 0);
    STATUS(ESF_AGAIN, esf_event_get_into(app, id, &into, buffer, needed - 1, &needed, &err));
    OK(esf_event_get_into(app, id, &into, buffer, needed, &needed, &err));
    CHECK(into.seq == view.seq && is_text(into.data, "{\"total\":12}"));
    CHECK(into.data.ptr >= buffer && into.data.ptr < buffer + sizeof buffer);
    esf_string_free(&owner);

    FAILS(ESF_E_DUPLICATE_EVENT_ID, esf_event_append(app, &event, &second, &err));
    CHECK(second.event_id == 0);
    FAILS(ESF_E_DATA_NOT_FOUND, esf_event_get(app, id + 1000, &view, &owner, &err));
}

static void defaults_and_encodings(esf_foundation *app) {
    esf_event event = ESF_EVENT_INIT;
    esf_receipt receipt = ESF_RECEIPT_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    char buffer[256];
    size_t needed = 0;
    event.type = ESF_STR("plain");
    OK(esf_event_append(app, &event, &receipt, &err));
    OK(esf_event_get_into(app, receipt.event_id, &view, buffer, sizeof buffer, &needed, &err));
    CHECK(view.timestamp > 1600000000000000000 && view.wall_time > 1600000000000000000);
    CHECK(view.parent_id == 0 && view.correlation_id.len == 0 && view.pid.len == 0 && view.data.len == 0);

    event.encoding = ESF_ENCODING_RAW;
    event.data.ptr = "\xff\0\xfe";
    event.data.len = 3;
    OK(esf_event_append(app, &event, &receipt, &err));
    OK(esf_event_get_into(app, receipt.event_id, &view, buffer, sizeof buffer, &needed, &err));
    CHECK(view.encoding == ESF_ENCODING_RAW && view.data.len == 3 &&
          memcmp(view.data.ptr, "\xff\0\xfe", 3) == 0);
    event.encoding = ESF_ENCODING_ETF;
    event.data.ptr = "\x83\x61\x07";
    OK(esf_event_append(app, &event, &receipt, &err));
    event.encoding = 4;
    FAILS(ESF_E_INVALID_INPUT, esf_event_append(app, &event, &receipt, &err));
}

static void types_are_resolved_once(esf_foundation *app) {
    esf_foundation *other = open_instance("{}");
    esf_event_type *type, *none;
    esf_event event = ESF_EVENT_INIT;
    OK(esf_event_type_resolve(app, ESF_STR("resolved"), &type, &err));
    FAILS(ESF_E_INVALID_EVENT_TYPE, esf_event_type_resolve(app, ESF_STR(""), &none, &err));
    event.type_handle = type;
    OK(esf_event_append(app, &event, NULL, &err));
    CHECK(esf_event_append(other, &event, NULL, NULL) >= 1000);
    OK(esf_event_type_free(type));
    STATUS(ESF_E_STALE_HANDLE, esf_event_type_free(type));
    FAILS(ESF_E_STALE_HANDLE, esf_event_append(app, &event, NULL, &err));
    OK(esf_event_type_free(NULL));
    OK(esf_foundation_close(other, 5000, &err));
}

static void a_batch_is_all_or_none(esf_foundation *app) {
    enum { COUNT = 100 };
    static esf_event events[COUNT];
    static esf_receipt receipts[COUNT];
    esf_string why = ESF_STRING_INIT;
    unsigned long wrong = 0;
    for (size_t at = 0; at < COUNT; at++) {
        events[at] = (esf_event)ESF_EVENT_INIT;
        receipts[at] = (esf_receipt)ESF_RECEIPT_INIT;
        events[at].type = ESF_STR("batch");
    }
    OK(esf_event_append_batch(app, events, COUNT, receipts, &err));
    for (size_t at = 1; at < COUNT; at++)
        wrong += receipts[at].seq != receipts[0].seq + at || receipts[at].event_id == 0;
    CHECK(wrong == 0);
    OK(esf_event_append_batch(app, NULL, 0, NULL, &err));

    /* A refused batch takes no position. */
    esf_receipt last = ESF_RECEIPT_INIT;
    esf_event good = events[40];
    for (int wrong = 0; wrong < 4; wrong++) {
        static const esf_status statuses[] = {ESF_E_INVALID_INPUT, ESF_E_INVALID_EVENT_TYPE,
                                              ESF_E_DUPLICATE_EVENT_ID, ESF_E_INVALID_UTF8};
        if (wrong == 0)
            events[40].encoding = 99;
        if (wrong == 1)
            events[40].type = ESF_STR("");
        if (wrong == 2)
            events[40].event_id = receipts[7].event_id;
        if (wrong == 3)
            events[40].pid = ESF_STR("\xff");
        STATUS(statuses[wrong], esf_event_append_batch(app, events, COUNT, receipts, &err));
        OK(esf_error_json(err, &why));
        CHECK(has(why, "\"index\":40"));
        esf_string_free(&why);
        esf_error_free(err);
        err = NULL;
        events[40] = good;
    }
    events[40].size = sizeof(esf_event) - 8;
    FAILS(ESF_E_INVALID_INPUT, esf_event_append_batch(app, events, COUNT, receipts, &err));
    events[40].size = sizeof(esf_event);
    receipts[40].size = 16;
    FAILS(ESF_E_INVALID_INPUT, esf_event_append_batch(app, events, COUNT, receipts, &err));
    OK(esf_event_append(app, events, &last, &err));
    CHECK(last.seq == receipts[COUNT - 1].seq + 1);
}

/* Structs of an older and of a newer header. */
static void structs_of_other_versions(esf_foundation *app) {
    struct {
        esf_event event;
        uint64_t later[4];
    } newer = {ESF_EVENT_INIT, {0}};
    esf_receipt older = ESF_RECEIPT_INIT;
    newer.event.type = ESF_STR("newer");
    newer.event.size = sizeof newer;
    OK(esf_event_append(app, &newer.event, NULL, &err));
    newer.later[3] = 1;
    FAILS(ESF_E_INVALID_INPUT, esf_event_append(app, &newer.event, NULL, &err));

    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("older");
    event.data = ESF_STR("\"not looked at\"");
    event.size = offsetof(esf_event, data);
    older.size = offsetof(esf_receipt, seq);
    older.seq = 4242;
    OK(esf_event_append(app, &event, &older, &err));
    CHECK(older.seq == 4242 && older.event_id != 0 && older.size == offsetof(esf_receipt, seq));
    esf_event_view view = ESF_VIEW_INIT;
    char buffer[64];
    size_t needed = 0;
    OK(esf_event_get_into(app, older.event_id, &view, buffer, sizeof buffer, &needed, &err));
    CHECK(view.data.len == 0);
}

/* A line that is too long is refused with its size, and the next one is fine. */
static void limits_are_named(esf_foundation *app) {
    static char big[2000000];
    memset(big, 'x', sizeof big);
    esf_event event = ESF_EVENT_INIT;
    esf_string why = ESF_STRING_INIT;
    event.type = ESF_STR("big");
    event.encoding = ESF_ENCODING_RAW;
    event.data.ptr = big;
    event.data.len = sizeof big;
    STATUS(ESF_E_DATA_TOO_LARGE, esf_event_append(app, &event, NULL, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "2000000") && has(why, "1000000"));
    esf_string_free(&why);
    esf_error_free(err);
    err = NULL;
    event.data.len = 5368709120u;
    FAILS(ESF_E_DATA_TOO_LARGE, esf_event_append(app, &event, NULL, &err));
    event.data.len = 1000000;
    OK(esf_event_append(app, &event, NULL, &err));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    every_field_comes_back(app);
    defaults_and_encodings(app);
    types_are_resolved_once(app);
    a_batch_is_all_or_none(app);
    structs_of_other_versions(app);
    limits_are_named(app);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
