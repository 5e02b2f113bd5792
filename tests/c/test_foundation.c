/* Instances: many at once, options, status, closing while others call. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static void options_are_checked(void) {
    esf_foundation *none = NULL;
    esf_error *err = NULL;
    FAILS(ESF_E_FORMAT_ERROR, esf_foundation_open(ESF_STR("{\"namespace\":"), &none, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_foundation_open(ESF_STR("{\"event_store\":{\"max\":1}}"), &none, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_foundation_open(ESF_STR("{\"namespace\":7}"), &none, &err));

    esf_string json = ESF_STRING_INIT;
    CHECK(esf_foundation_open(
              ESF_STR("{\"config\":{\"ai\":{\"planning\":{\"sampling_rate\":7,\"performance_target\":-1}}}}"),
              &none, &err) >= 1000);
    OK(esf_error_json(err, &json));
    CHECK(has(json, "ai.planning.sampling_rate") && has(json, "ai.planning.performance_target"));
    esf_string_free(&json);
    esf_error_free(err);
    CHECK(none == NULL);
}

static void instances_are_isolated(void) {
    esf_foundation *a = open_instance("{\"namespace\":\"a\"}"), *b = open_instance("{\"namespace\":\"b\"}");
    esf_error *err = NULL;
    double rate = 0;
    esf_string status = ESF_STRING_INIT;
    OK(esf_config_update(a, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.125"), NULL, &err));
    OK(esf_config_get_f64_at(a, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    CHECK(rate == 0.125);
    OK(esf_config_get_f64_at(b, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    CHECK(rate != 0.125);
    OK(esf_foundation_status_json(b, &status, &err));
    CHECK(has(status, "\"namespace\":\"b\"") && has(status, "\"workers\":[]"));
    char buffer[8192];
    size_t needed = 0;
    OK(esf_foundation_status_json_into(b, buffer, sizeof buffer, &needed, &err));
    CHECK(needed == strlen(buffer) + 1);
    esf_string_free(&status);

    OK(esf_foundation_close(a, 5000, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_foundation_close(a, 5000, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_foundation_status_json(a, &status, &err));
    OK(esf_config_get_f64_at(b, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    OK(esf_foundation_close(b, 5000, &err));
    OK(esf_foundation_close(NULL, 0, NULL));
}

static void hot_handles_end_with_their_instance(void) {
    esf_foundation *foundation = open_instance("");
    esf_config_key *key;
    esf_counter *counter;
    esf_gauge *gauge;
    esf_histogram *histogram;
    esf_event_type *type;
    double value;
    OK(esf_config_key_resolve(foundation, ESF_STR("ai.planning.sampling_rate"), &key, NULL));
    OK(esf_counter_new(foundation, ESF_STR("c"), NULL, 0, &counter, NULL));
    OK(esf_gauge_new(foundation, ESF_STR("g"), NULL, 0, &gauge, NULL));
    OK(esf_histogram_new(foundation, ESF_STR("h"), NULL, 0, &histogram, NULL));
    OK(esf_event_type_resolve(foundation, ESF_STR("t"), &type, NULL));
    OK(esf_foundation_close(foundation, 5000, NULL));
    STATUS(ESF_E_STALE_HANDLE, esf_config_get_f64(key, &value));
    STATUS(ESF_E_STALE_HANDLE, esf_counter_add(counter, 1));
    STATUS(ESF_E_STALE_HANDLE, esf_gauge_set(gauge, 1));
    STATUS(ESF_E_STALE_HANDLE, esf_histogram_record(histogram, 1));
    STATUS(ESF_E_STALE_HANDLE, esf_event_type_free(type));
}

struct caller {
    esf_foundation *foundation;
    esf_counter *counter;
    atomic_ulong calls, strange;
};

static void *call_until_closed(void *data) {
    struct caller *caller = data;
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("call");
    for (;;) {
        esf_status status = esf_event_append(caller->foundation, &event, NULL, NULL);
        esf_status added = esf_counter_add(caller->counter, 1);
        atomic_fetch_add(&caller->calls, 1);
        if (added != ESF_OK && added != ESF_E_STALE_HANDLE)
            atomic_fetch_add(&caller->strange, 1);
        if (status == ESF_E_CLOSING || status == ESF_E_STALE_HANDLE)
            return NULL;
        if (status != ESF_OK)
            atomic_fetch_add(&caller->strange, 1);
    }
}

static void closing_under_load(void) {
    for (int round = 0; round < 20; round++) {
        struct caller caller = {.foundation = open_instance("{\"event_store\":{\"max_events\":1000}}")};
        pthread_t threads[3];
        OK(esf_counter_new(caller.foundation, ESF_STR("calls"), NULL, 0, &caller.counter, NULL));
        for (size_t at = 0; at < 3; at++)
            pthread_create(&threads[at], NULL, call_until_closed, &caller);
        while (atomic_load(&caller.calls) < 300)
            ;
        OK(esf_foundation_close(caller.foundation, 5000, NULL));
        for (size_t at = 0; at < 3; at++)
            pthread_join(threads[at], NULL);
        CHECK(atomic_load(&caller.strange) == 0);
    }
}

int main(void) {
    options_are_checked();
    instances_are_isolated();
    hot_handles_end_with_their_instance();
    closing_under_load();
    return check_report();
}
