/* Tails: taking, the descriptor, gaps, the callback with its window, and how they end. */
#include "check.h"
#include <poll.h>
#include <pthread.h>

static esf_error *err;

static void append(esf_foundation *app, const char *type, const char *data) {
    esf_event event = ESF_EVENT_INIT;
    event.type = (esf_str){type, strlen(type)};
    event.data = (esf_str){data, strlen(data)};
    OK(esf_event_append(app, &event, NULL, &err));
}

static bool readable(int descriptor) {
    struct pollfd poller = {.fd = descriptor, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

/* Catches up from the start, goes on live, and tells only what matches. */
static void taking(void) {
    esf_foundation *app = open_instance("{}");
    esf_str types[] = {ESF_STR("paid")};
    esf_event_query filter = ESF_QUERY_INIT;
    esf_tail_options options = ESF_TAIL_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_gap gap = ESF_GAP_INIT;
    esf_tail *paid = NULL, *all = NULL;
    esf_string stats = ESF_STRING_INIT;
    int32_t descriptor = -1;
    filter.types = types;
    filter.type_count = 1;
    filter.conditions = ESF_STR("[{\"path\": \"total\", \"op\": \">\", \"value\": 10}]");
    append(app, "paid", "{\"total\":12}");
    append(app, "paid", "{\"total\":2}");
    append(app, "lost", "{\"total\":99}");
    OK(esf_events_tail(app, &options, &all, &err));
    options.filter = &filter;
    options.from_seq = 1;
    OK(esf_events_tail(app, &options, &paid, &err));
    STATUS(ESF_AGAIN, esf_tail_next(all, 0, &view, &gap, &err));
    STATUS(ESF_TIMED_OUT, esf_tail_next(all, 5, &view, &gap, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_tail_next(all, -5, &view, &gap, &err));
    OK(esf_tail_descriptor(paid, &descriptor, &err));
    CHECK(readable(descriptor));
    OK(esf_tail_next(paid, 0, &view, &gap, &err));
    CHECK(view.seq == 1 && is_text(view.type, "paid") && is_text(view.data, "{\"total\":12}"));
    STATUS(ESF_AGAIN, esf_tail_next(paid, 0, &view, &gap, &err));
    CHECK(!readable(descriptor));
    append(app, "paid", "{\"total\":13}");
    CHECK(readable(descriptor));
    OK(esf_tail_next(paid, 1000, &view, &gap, &err));
    CHECK(view.seq == 4 && is_text(view.data, "{\"total\":13}"));
    OK(esf_tail_next(all, 1000, &view, &gap, &err));
    CHECK(view.seq == 4);

    OK(esf_tail_stats_json(paid, &stats, &err));
    CHECK(has(stats, "\"position\":5") && has(stats, "\"delivered\":2") && has(stats, "\"filtered\":2"));
    char buffer[512];
    size_t needed = 0;
    OK(esf_tail_stats_json_into(paid, buffer, sizeof buffer, &needed, &err));
    CHECK(strcmp(buffer, stats.ptr) == 0);
    OK(esf_string_free(&stats));
    OK(esf_events_stats_json(app, &stats, &err));
    CHECK(has(stats, "\"tails\":{\"tails\":2,"));
    OK(esf_string_free(&stats));

    OK(esf_tail_cancel(paid, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_tail_cancel(paid, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_tail_next(paid, 0, &view, &gap, &err));
    OK(esf_tail_cancel(NULL, &err));
    OK(esf_foundation_close(app, 5000, &err));
    STATUS(ESF_DONE, esf_tail_next(all, 1000, &view, &gap, &err));
    OK(esf_tail_cancel(all, &err));
}

/* What the store had dropped, and what a tail is too late for. */
static void gaps(void) {
    esf_foundation *app = open_instance("{\"event_store\": {\"max_events\": 8}}");
    esf_tail_options options = ESF_TAIL_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_gap gap = ESF_GAP_INIT;
    esf_tail *whole = NULL, *brief = NULL;
    OK(esf_events_tail(app, &options, &whole, &err));
    options.capacity = 3;
    OK(esf_events_tail(app, &options, &brief, &err));
    for (int n = 0; n < 20; n++)
        append(app, "n", "{}");
    STATUS(ESF_GAP, esf_tail_next(whole, 0, &view, &gap, &err));
    CHECK(gap.reason == ESF_GAP_REMOVED && gap.first_seq == 1 && gap.last_seq == 12 && gap.count == 12);
    CHECK(is_text(esf_status_name(ESF_GAP), "gap"));
    for (uint64_t seq = 13; seq <= 20; seq++) {
        OK(esf_tail_next(whole, 0, &view, &gap, &err));
        CHECK(view.seq == seq);
    }
    STATUS(ESF_AGAIN, esf_tail_next(whole, 0, &view, &gap, &err));
    STATUS(ESF_GAP, esf_tail_next(brief, 0, &view, &gap, &err));
    CHECK(gap.reason == ESF_GAP_REMOVED && gap.last_seq == 12);
    STATUS(ESF_GAP, esf_tail_next(brief, 0, &view, &gap, &err));
    CHECK(gap.reason == ESF_GAP_LAGGED && gap.first_seq == 13 && gap.last_seq == 17 && gap.count == 5);
    OK(esf_tail_next(brief, 0, &view, &gap, &err));
    CHECK(view.seq == 18);
    OK(esf_tail_cancel(whole, &err));
    OK(esf_tail_cancel(brief, &err));

    /* What a tail cannot do. */
    esf_event_query filter = ESF_QUERY_INIT;
    filter.limit = 5;
    options.filter = &filter;
    FAILS(ESF_E_INVALID_INPUT, esf_events_tail(app, &options, &whole, &err));
    options.filter = NULL;
    options.from_seq = 22;
    FAILS(ESF_E_INVALID_INPUT, esf_events_tail(app, &options, &whole, &err));
    options.from_seq = 21;
    options.window = 1;
    FAILS(ESF_E_INVALID_INPUT, esf_events_tail(app, &options, &whole, &err));
    OK(esf_foundation_close(app, 5000, &err));
}

static void *wait_for_event(void *tail) {
    esf_event_view view = ESF_VIEW_INIT;
    esf_gap gap = ESF_GAP_INIT;
    return (void *)(intptr_t)esf_tail_next(tail, 60000, &view, &gap, NULL);
}

/* Whoever waits is woken by an event, by cancel and by close. */
static void waiting(void) {
    for (int what = 0; what < 3; what++) {
        esf_foundation *app = open_instance("{}");
        esf_tail_options options = ESF_TAIL_INIT;
        esf_tail *tail = NULL;
        pthread_t waiter;
        void *status;
        OK(esf_events_tail(app, &options, &tail, &err));
        pthread_create(&waiter, NULL, wait_for_event, tail);
        if (what == 0)
            append(app, "n", "{}");
        else
            OK(what == 1 ? esf_foundation_close(app, 5000, &err) : esf_tail_cancel(tail, &err));
        pthread_join(waiter, &status);
        /* The cancellation may come before the waiter's call. */
        CHECK((intptr_t)status == (what == 0 ? ESF_OK : ESF_DONE) ||
              (what == 2 && ((intptr_t)status == ESF_E_STALE_HANDLE || (intptr_t)status == ESF_E_CLOSING)));
        if (what != 2)
            OK(esf_tail_cancel(tail, &err));
        if (what != 1)
            OK(esf_foundation_close(app, 5000, &err));
    }
}

struct told {
    esf_foundation *app;
    esf_tail *itself;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int events, gaps, drops;
    uint64_t missed, last_seq;
    esf_status close, cancel;
    bool cancels, in_order;
};

static void on_event(void *user_data, const esf_event_view *event, const esf_gap *gap) {
    struct told *told = user_data;
    pthread_mutex_lock(&told->lock);
    /* A callback may call anything but close. */
    told->close = esf_foundation_close(told->app, 0, NULL);
    if (told->cancels)
        told->cancel = esf_tail_cancel(told->itself, NULL);
    if (event) {
        told->in_order &= event->seq == told->last_seq + 1 && !gap;
        told->last_seq = event->seq;
        told->events++;
    } else {
        told->in_order &= gap->first_seq == told->last_seq + 1;
        told->last_seq = gap->last_seq;
        told->missed += gap->count;
        told->gaps++;
    }
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void on_drop(void *user_data) {
    struct told *told = user_data;
    told->drops++;
}

static void until_position(struct told *told, uint64_t seq) {
    pthread_mutex_lock(&told->lock);
    while (told->last_seq < seq)
        pthread_cond_wait(&told->changed, &told->lock);
    pthread_mutex_unlock(&told->lock);
}

static void calling_back(void) {
    for (int cancels = 0; cancels < 2; cancels++) {
        struct told told = {.app = open_instance("{}"), .cancels = cancels, .in_order = true};
        esf_tail_options options = ESF_TAIL_INIT;
        int events = cancels ? 1 : 300;
        pthread_mutex_init(&told.lock, NULL);
        pthread_cond_init(&told.changed, NULL);
        pthread_mutex_lock(&told.lock);
        OK(esf_events_tail_callback(told.app, &options, on_event, &told, on_drop, &told.itself, &err));
        pthread_mutex_unlock(&told.lock);
        for (int n = 0; n < events; n++)
            append(told.app, "n", "{}");
        until_position(&told, (uint64_t)events);
        CHECK(told.in_order && told.gaps == 0 && told.close == ESF_E_REENTRANT);
        if (cancels)
            CHECK(told.cancel == ESF_OK);
        else
            OK(esf_tail_cancel(told.itself, &err));
        append(told.app, "n", "{}");
        OK(esf_foundation_close(told.app, 5000, &err));
        CHECK(told.events == events && told.drops == 1);
        pthread_cond_destroy(&told.changed);
        pthread_mutex_destroy(&told.lock);
    }
}

/* A window holds the callback up; the store goes on, and what it drops meanwhile is a gap. */
static void a_window(void) {
    struct told told = {.app = open_instance("{\"event_store\": {\"max_events\": 10}}"), .in_order = true};
    esf_tail_options options = ESF_TAIL_INIT;
    esf_string stats = ESF_STRING_INIT;
    pthread_mutex_init(&told.lock, NULL);
    pthread_cond_init(&told.changed, NULL);
    options.window = 1;
    pthread_mutex_lock(&told.lock);
    OK(esf_events_tail_callback(told.app, &options, on_event, &told, on_drop, &told.itself, &err));
    pthread_mutex_unlock(&told.lock);
    append(told.app, "n", "{}");
    until_position(&told, 1);
    for (int n = 0; n < 39; n++)
        append(told.app, "n", "{}");
    CHECK(told.events == 1);
    OK(esf_tail_stats_json(told.itself, &stats, &err));
    CHECK(has(stats, "\"unacknowledged\":1"));
    OK(esf_string_free(&stats));
    for (uint64_t seq = 1; seq < 40; seq = told.last_seq) {
        OK(esf_tail_acknowledge(told.itself, 1, &err));
        until_position(&told, seq + 1);
    }
    CHECK(told.in_order && told.gaps == 1 && told.missed == 29 && told.events == 11);
    FAILS(ESF_E_NULL_ARGUMENT,
          esf_events_tail_callback(told.app, &options, NULL, &told, on_drop, &told.itself, &err));
    options.from_seq = 99;
    FAILS(ESF_E_INVALID_INPUT,
          esf_events_tail_callback(told.app, &options, on_event, &told, on_drop, &told.itself, &err));
    CHECK(told.drops == 0);
    /* The end of the instance ends the tail. */
    OK(esf_foundation_close(told.app, 5000, &err));
    CHECK(told.drops == 1);
    OK(esf_tail_cancel(told.itself, &err));
    pthread_cond_destroy(&told.changed);
    pthread_mutex_destroy(&told.lock);
}

int main(void) {
    taking();
    gaps();
    waiting();
    calling_back();
    a_window();
    return check_report();
}
