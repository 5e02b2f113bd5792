/* Counters, gauges, histograms; what they look like to Prometheus. With a file name, the text goes there. */
#include "check.h"
#include <math.h>
#include <pthread.h>

enum { THREADS = 4, TIMES = 20000 };

static esf_error *err;

static void *count_up(void *counter) {
    unsigned long failed = 0;
    for (int at = 0; at < TIMES; at++)
        failed += esf_counter_add(counter, 2) != ESF_OK;
    return (void *)failed;
}

static void counting(esf_foundation *app) {
    esf_counter *counter = NULL, *same = NULL;
    pthread_t threads[THREADS];
    uint64_t value = 0;
    const esf_label labels[] = {{ESF_STR("shop"), ESF_STR("berlin")}, {ESF_STR("kind"), ESF_STR("a\"b\n")}};
    const esf_label turned[] = {labels[1], labels[0]};
    OK(esf_counter_new(app, ESF_STR("orders.paid"), labels, 2, &counter, &err));
    OK(esf_counter_new(app, ESF_STR("orders.paid"), turned, 2, &same, &err));
    for (size_t at = 0; at < THREADS; at++)
        pthread_create(&threads[at], NULL, count_up, at % 2 ? counter : same);
    for (size_t at = 0; at < THREADS; at++) {
        void *failed;
        pthread_join(threads[at], &failed);
        CHECK(failed == NULL);
    }
    OK(esf_counter_value(counter, &value));
    CHECK(value == 2 * THREADS * TIMES);
    OK(esf_counter_free(same));
    STATUS(ESF_E_STALE_HANDLE, esf_counter_add(same, 1));
    STATUS(ESF_E_STALE_HANDLE, esf_counter_free(same));
    OK(esf_counter_add(counter, 1));
    OK(esf_counter_free(NULL));

    esf_gauge *gauge = NULL;
    FAILS(ESF_E_TYPE_MISMATCH, esf_gauge_new(app, ESF_STR("orders.paid"), NULL, 0, &gauge, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_counter_new(app, ESF_STR("no blanks"), NULL, 0, &same, &err));
    STATUS(ESF_E_STALE_HANDLE, esf_counter_add((esf_counter *)(void *)app, 1));
}

static void gauging(esf_foundation *app) {
    esf_gauge *gauge = NULL;
    double value = 0;
    OK(esf_gauge_new(app, ESF_STR("queue.length"), NULL, 0, &gauge, &err));
    OK(esf_gauge_set(gauge, 5));
    OK(esf_gauge_add(gauge, -1.5));
    OK(esf_gauge_value(gauge, &value));
    CHECK(value == 3.5);
    STATUS(ESF_E_INVALID_INPUT, esf_gauge_set(gauge, NAN));
    STATUS(ESF_E_INVALID_INPUT, esf_gauge_add(gauge, NAN));
    OK(esf_gauge_value(gauge, &value));
    CHECK(value == 3.5);
    OK(esf_gauge_free(gauge));
    STATUS(ESF_E_STALE_HANDLE, esf_gauge_value(gauge, &value));
    OK(esf_gauge_free(NULL));
}

static void distributions(esf_foundation *app) {
    esf_histogram *histogram = NULL;
    double value = 0;
    OK(esf_histogram_new(app, ESF_STR("request.seconds"), NULL, 0, &histogram, &err));
    STATUS(ESF_E_DATA_NOT_FOUND, esf_histogram_quantile(histogram, 0.5, &value));
    unsigned long failed = 0;
    for (int at = 1; at <= 1000; at++)
        failed += esf_histogram_record(histogram, at / 1000.0) != ESF_OK;
    CHECK(failed == 0);
    OK(esf_histogram_quantile(histogram, 0.5, &value));
    CHECK(fabs(value - 0.5) <= 0.5 * 0.01);
    OK(esf_histogram_quantile(histogram, 0.99, &value));
    CHECK(fabs(value - 0.99) <= 0.99 * 0.01);
    STATUS(ESF_E_RANGE_ERROR, esf_histogram_quantile(histogram, 1.5, &value));
    STATUS(ESF_E_INVALID_INPUT, esf_histogram_record(histogram, -1));
    STATUS(ESF_E_INVALID_INPUT, esf_histogram_record(histogram, NAN));
    OK(esf_histogram_free(histogram));
    STATUS(ESF_E_STALE_HANDLE, esf_histogram_record(histogram, 1));
    OK(esf_histogram_free(NULL));
}

static void reading(esf_foundation *app, const char *file) {
    esf_string text = ESF_STRING_INIT, json = ESF_STRING_INIT;
    OK(esf_telemetry_describe(app, ESF_STR("orders.paid"), ESF_STR("Orders that were paid"), &err));
    OK(esf_telemetry_prometheus(app, &text, &err));
    CHECK(has(text, "# HELP orders_paid_total Orders that were paid\n# TYPE orders_paid_total counter\n"));
    CHECK(has(text, "orders_paid_total{kind=\"a\\\"b\\n\",shop=\"berlin\"} 160001\n"));
    CHECK(has(text, "queue_length 3.5\n") && has(text, "request_seconds_count 1000\n"));
    OK(esf_telemetry_snapshot_json(app, &json, &err));
    CHECK(has(json, "160001") && has(json, "orders.paid"));

    char *buffer = malloc(2 * (text.len + json.len));
    size_t needed = 0;
    OK(esf_telemetry_prometheus_into(app, buffer, 2 * (text.len + json.len), &needed, &err));
    CHECK(strstr(buffer, "queue_length 3.5\n") && needed == strlen(buffer) + 1);
    OK(esf_telemetry_snapshot_json_into(app, buffer, 2 * (text.len + json.len), &needed, &err));
    CHECK(strstr(buffer, "orders.paid") && needed == strlen(buffer) + 1);
    free(buffer);
    if (file) {
        FILE *out = fopen(file, "w");
        CHECK(out && fwrite(text.ptr, 1, text.len, out) == text.len && fclose(out) == 0);
    }
    OK(esf_string_free(&text));
    OK(esf_string_free(&json));
}

int main(int argc, char **argv) {
    esf_foundation *app = open_instance("{}");
    counting(app);
    gauging(app);
    distributions(app);
    reading(app, argc > 1 ? argv[1] : NULL);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
