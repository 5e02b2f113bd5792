/* What the generated matrix.c stands on: one live instance with a handle of each kind, stale and foreign
 * ones, and the check after each call that the instance still works. */
#ifndef ESF_TESTS_MATRIX_H
#define ESF_TESTS_MATRIX_H

#include "check.h"
#include <math.h>
#include <unistd.h>

enum { ANY = -2, ANY_ERROR = -3 };

static esf_foundation *live, *stale_foundation, *foreign;
static esf_config_key *key, *bool_key, *int_key, *enum_key, *stale_config_key;
static esf_subscription *subscription, *stale_subscription;
static esf_event_type *type, *stale_type, *foreign_type;
#define stale_event_type stale_type
static esf_cursor *cursor, *stale_cursor;
static esf_trace *trace, *stale_trace;
static esf_tail *tail, *stale_tail;
static esf_counter *counter, *stale_counter;
static esf_gauge *gauge, *stale_gauge;
static esf_histogram *histogram, *stale_histogram;
static esf_error *error, *stale_error;
static uint64_t event_id;

/* 2 MB of text; also something that is memory and no handle, aligned, so that one byte on it is not. */
static _Alignas(16) char big[2000000];
static char buffer[1 << 16];
static char export_file[64];
static char import_file[64];
static char whole_tree[1 << 14];
/* A document of a hundred thousand opening brackets. */
static char deep[100001];
static const esf_str bad_utf8 = {"\xff\xfe", 2};
static const esf_label good_label = {{"shop", 4}, {"berlin", 6}};

/* What the calls write to. */
static struct {
    esf_foundation *esf_foundation;
    esf_config_key *esf_config_key;
    esf_subscription *esf_subscription;
    esf_event_type *esf_event_type;
    esf_cursor *esf_cursor;
    esf_trace *esf_trace;
    esf_tail *esf_tail;
    esf_counter *esf_counter;
    esf_gauge *esf_gauge;
    esf_histogram *esf_histogram;
    esf_error *esf_error;
    esf_string esf_string_;
    esf_str esf_str_;
    bool bool_;
    int32_t int32_t_;
    uint32_t uint32_t_;
    int64_t int64_t_;
    uint64_t uint64_t_;
    double double_;
    size_t size_t_;
    esf_status esf_status_;
} out;

/* What a call was given to free, in case that it did not. */
static struct {
    esf_foundation *foundation;
    esf_config_key *key;
    esf_subscription *subscription;
    esf_event_type *type;
    esf_cursor *cursor;
    esf_trace *trace;
    esf_tail *tail;
    esf_counter *counter;
    esf_gauge *gauge;
    esf_histogram *histogram;
    esf_error *error;
    esf_string string;
} fresh;

static inline esf_str text(const char *literal) {
    esf_str made = {literal, strlen(literal)};
    return made;
}

static inline void on_change(void *user_data, const esf_config_change *change) {
    (void)user_data;
    (void)change;
}

static inline void on_event(void *user_data, const esf_event_view *event, const esf_gap *gap) {
    (void)user_data;
    (void)event;
    (void)gap;
}

static inline void on_durable(void *user_data, esf_status status, const esf_error *error_of_it) {
    (void)user_data;
    (void)status;
    (void)error_of_it;
}

static inline void on_progress(void *user_data, uint64_t done, uint64_t total) {
    (void)user_data;
    (void)done;
    (void)total;
}

static inline void on_drop(void *user_data) {
    (void)user_data;
}

static inline void must(esf_status status, const char *what) {
    if (status != ESF_OK) {
        printf("matrix: %s answered %d\n", what, status);
        exit(1);
    }
}
#define MUST(call) must(call, #call)

static inline esf_event good_event(void) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("matrix");
    event.data = ESF_STR("{\"total\":12}");
    return event;
}

static inline esf_event_query good_query(void) {
    esf_event_query query = ESF_QUERY_INIT;
    query.limit = 5;
    return query;
}

static inline esf_tail_options good_tail_options(void) {
    esf_tail_options options = ESF_TAIL_INIT;
    options.from_seq = 1;
    return options;
}

/* A good record with one change made to `it`. */
#define esf_tail_options_with(change)                                                                        \
    __extension__({                                                                                          \
        static esf_tail_options it;                                                                          \
        it = good_tail_options();                                                                            \
        (void)(change);                                                                                      \
        &it;                                                                                                 \
    })
#define esf_event_with(change)                                                                               \
    __extension__({                                                                                          \
        static esf_event it;                                                                                 \
        it = good_event();                                                                                   \
        (void)(change);                                                                                      \
        &it;                                                                                                 \
    })
#define esf_event_query_with(change)                                                                         \
    __extension__({                                                                                          \
        static esf_event_query it;                                                                           \
        it = good_query();                                                                                   \
        (void)(change);                                                                                      \
        &it;                                                                                                 \
    })

/* A record of a later version, whose new fields are zero or not. */
static inline const esf_event *esf_event_longer(char tail) {
    static struct {
        esf_event event;
        char tail[64];
    } later;
    later.event = good_event();
    later.event.size = sizeof later;
    memset(later.tail, 0, sizeof later.tail);
    later.tail[63] = tail;
    return &later.event;
}
static inline const esf_event_query *esf_event_query_longer(char tail) {
    static struct {
        esf_event_query query;
        char tail[64];
    } later;
    later.query = good_query();
    later.query.size = sizeof later;
    memset(later.tail, 0, sizeof later.tail);
    later.tail[0] = tail;
    return &later.query;
}

static inline const esf_tail_options *esf_tail_options_longer(char tail) {
    static struct {
        esf_tail_options options;
        char tail[64];
    } later;
    later.options = good_tail_options();
    later.options.size = sizeof later;
    memset(later.tail, 0, sizeof later.tail);
    later.tail[7] = tail;
    return &later.options;
}

/* A record to be written to, of any stated size; what lies behind that size is checked after the call. */
static union {
    uint32_t size;
    esf_receipt receipt;
    esf_event_view view;
    esf_trace_info info;
    esf_config_change change;
    unsigned char bytes[512];
} sized;
/* The same for gaps, which a call writes beside a view. */
static union {
    uint32_t size;
    esf_gap gap;
    unsigned char bytes[512];
} sized_gap = {512};
static inline void *sized_to(size_t size) {
    memset(sized.bytes, 0x5a, sizeof sized.bytes);
    sized.size = (uint32_t)size;
    return &sized;
}
static inline bool sized_is_whole(void) {
    bool whole = true;
    for (size_t at = sized.size; at < sizeof sized.bytes && sized.size <= sizeof sized.bytes; at++)
        whole &= at < 4 || sized.bytes[at] == 0x5a;
    for (size_t at = sized_gap.size; at < sizeof sized_gap.bytes && sized_gap.size <= sizeof sized_gap.bytes;
         at++)
        whole &= at < 4 || sized_gap.bytes[at] == 0x5a;
    return whole;
}
static inline esf_gap *esf_gap_sized(size_t size) {
    memset(sized_gap.bytes, 0x5a, sizeof sized_gap.bytes);
    sized_gap.size = (uint32_t)size;
    return &sized_gap.gap;
}
#define esf_receipt_sized(size) ((esf_receipt *)sized_to(size))
#define esf_event_view_sized(size) ((esf_event_view *)sized_to(size))
#define esf_trace_info_sized(size) ((esf_trace_info *)sized_to(size))
#define esf_config_change_sized(size) ((esf_config_change *)sized_to(size))

static inline esf_foundation *fresh_foundation(void) {
    return fresh.foundation = open_instance("{}");
}
static inline esf_config_key *fresh_key(void) {
    MUST(esf_config_key_resolve(live, text("ai.planning.sampling_rate"), &fresh.key, NULL));
    return fresh.key;
}
static inline esf_subscription *fresh_subscription(void) {
    MUST(esf_config_subscribe(live, text("interface"), 4, &fresh.subscription, NULL));
    return fresh.subscription;
}
static inline esf_event_type *fresh_type(void) {
    MUST(esf_event_type_resolve(live, text("fresh"), &fresh.type, NULL));
    return fresh.type;
}
static inline esf_cursor *fresh_cursor(void) {
    esf_event_query query = good_query();
    MUST(esf_events_query(live, &query, &fresh.cursor, NULL));
    return fresh.cursor;
}
static inline esf_trace *fresh_trace(void) {
    MUST(esf_events_trace(live, event_id, 5, &fresh.trace, NULL));
    return fresh.trace;
}
static inline esf_tail *fresh_tail(void) {
    esf_tail_options options = good_tail_options();
    MUST(esf_events_tail(live, &options, &fresh.tail, NULL));
    return fresh.tail;
}
static inline esf_counter *fresh_counter(void) {
    MUST(esf_counter_new(live, text("fresh.counter"), NULL, 0, &fresh.counter, NULL));
    return fresh.counter;
}
static inline esf_gauge *fresh_gauge(void) {
    MUST(esf_gauge_new(live, text("fresh.gauge"), NULL, 0, &fresh.gauge, NULL));
    return fresh.gauge;
}
static inline esf_histogram *fresh_histogram(void) {
    MUST(esf_histogram_new(live, text("fresh.histogram"), NULL, 0, &fresh.histogram, NULL));
    return fresh.histogram;
}
static inline esf_error *fresh_error(void) {
    if (esf_foundation_open(text("nothing"), &out.esf_foundation, &fresh.error) == ESF_OK)
        exit(1);
    return fresh.error;
}
static inline esf_string *fresh_string(void) {
    MUST(esf_config_updatable_paths_json(&fresh.string, NULL));
    return &fresh.string;
}

/* Frees everything that calls made or left; what is gone already answers so and is no matter. */
static inline void sweep(void) {
    esf_config_key_free(out.esf_config_key);
    esf_config_key_free(fresh.key);
    esf_subscription_cancel(out.esf_subscription, NULL);
    esf_subscription_cancel(fresh.subscription, NULL);
    esf_event_type_free(out.esf_event_type);
    esf_event_type_free(fresh.type);
    esf_cursor_free(out.esf_cursor);
    esf_cursor_free(fresh.cursor);
    esf_trace_free(out.esf_trace);
    esf_trace_free(fresh.trace);
    esf_tail_cancel(out.esf_tail, NULL);
    esf_tail_cancel(fresh.tail, NULL);
    esf_counter_free(out.esf_counter);
    esf_counter_free(fresh.counter);
    esf_gauge_free(out.esf_gauge);
    esf_gauge_free(fresh.gauge);
    esf_histogram_free(out.esf_histogram);
    esf_histogram_free(fresh.histogram);
    esf_error_free(out.esf_error);
    esf_error_free(fresh.error);
    esf_string_free(&out.esf_string_);
    esf_string_free(&fresh.string);
    esf_foundation_close(out.esf_foundation, 5000, NULL);
    esf_foundation_close(fresh.foundation, 5000, NULL);
    memset(&out, 0, sizeof out);
    memset(&fresh, 0, sizeof fresh);
}

/* Whether the instance still does what it is for. */
static inline bool works(void) {
    static uint64_t count;
    esf_event event = good_event();
    esf_receipt receipt = ESF_RECEIPT_INIT;
    double rate = -1;
    uint64_t value = 0;
    bool good = esf_event_append(live, &event, &receipt, NULL) == ESF_OK && receipt.event_id != 0;
    good &= esf_config_get_f64(key, &rate) == ESF_OK && rate >= 0;
    good &= esf_counter_add(counter, 1) == ESF_OK && esf_counter_value(counter, &value) == ESF_OK;
    good &= value != count;
    count = value;
    return good;
}

/* One call of the matrix: its status, what was expected, and whether it must have left details. */
static inline void matrix_case(esf_status found, int expected, bool detailed, const char *function,
                               const char *what) {
    bool good = expected == ANY || (expected == ANY_ERROR ? found >= 1000 : found == expected);
    if (found >= 1000 && detailed) {
        esf_status code = 0;
        good &= esf_error_code(out.esf_error, &code) == ESF_OK && code == found;
    }
    good &= sized_is_whole();
    sweep();
    if (!works()) {
        printf("%s(%s): the instance does not work after it\n", function, what);
        good = false;
    }
    if (good) {
        check_passed++;
        return;
    }
    check_failed++;
    printf("%s(%s) answered %d (%.*s), expected %d\n", function, what, found, ESF_FMT(esf_status_name(found)),
           expected);
}

static inline void matrix_open(void) {
    esf_receipt receipt = ESF_RECEIPT_INIT;
    esf_event event = good_event();
    memset(big, 'x', sizeof big);
    memset(deep, '[', sizeof deep - 1);
    sized_to(sizeof sized);
    snprintf(export_file, sizeof export_file, "matrix-%ld.jsonl", (long)getpid());
    snprintf(import_file, sizeof import_file, "matrix-%ld.in.jsonl", (long)getpid());
    FILE *lines = fopen(import_file, "w");
    if (!lines || fputs("{\"event_type\":\"imported\"}\n", lines) < 0 || fclose(lines) != 0)
        exit(1);
    live = open_instance("{\"namespace\":\"matrix\"}");
    foreign = open_instance("{\"namespace\":\"foreign\"}");
    size_t needed = 0;
    MUST(esf_config_get_json_into(live, text(""), whole_tree, sizeof whole_tree, &needed, NULL));
    MUST(esf_event_append(live, &event, &receipt, NULL));
    event_id = receipt.event_id;

    stale_foundation = fresh_foundation();
    stale_config_key = fresh_key();
    stale_subscription = fresh_subscription();
    stale_type = fresh_type();
    stale_cursor = fresh_cursor();
    stale_trace = fresh_trace();
    stale_tail = fresh_tail();
    stale_counter = fresh_counter();
    stale_gauge = fresh_gauge();
    stale_histogram = fresh_histogram();
    stale_error = fresh_error();
    sweep();

    key = fresh_key();
    subscription = fresh_subscription();
    type = fresh_type();
    cursor = fresh_cursor();
    trace = fresh_trace();
    tail = fresh_tail();
    counter = fresh_counter();
    gauge = fresh_gauge();
    histogram = fresh_histogram();
    error = fresh_error();
    memset(&fresh, 0, sizeof fresh);
    MUST(esf_histogram_record(histogram, 1.0));
    MUST(esf_config_key_resolve(live, text("dev.debug_mode"), &bool_key, NULL));
    MUST(esf_config_key_resolve(live, text("ai.analysis.timeout"), &int_key, NULL));
    MUST(esf_config_key_resolve(live, text("ai.planning.default_strategy"), &enum_key, NULL));
    MUST(esf_event_type_resolve(foreign, text("foreign"), &foreign_type, NULL));
}

static inline void matrix_close(void) {
    remove(export_file);
    remove(import_file);
    OK(esf_subscription_cancel(subscription, NULL));
    OK(esf_cursor_free(cursor));
    OK(esf_trace_free(trace));
    OK(esf_tail_cancel(tail, NULL));
    OK(esf_error_free(error));
    OK(esf_foundation_close(live, 5000, NULL));
    OK(esf_foundation_close(foreign, 5000, NULL));
    STATUS(ESF_E_STALE_HANDLE, esf_counter_add(counter, 1));
    STATUS(ESF_E_STALE_HANDLE, esf_foundation_close(live, 5000, NULL));
}

#endif
