/* Subscriptions: the queue with its descriptor, the callback, and how they end. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static const char *const path = "ai.planning.sampling_rate";

static void set_rate(esf_foundation *app, const char *value) {
    esf_str text = {value, strlen(value)}, key = {path, strlen(path)};
    OK(esf_config_update(app, key, text, NULL, NULL));
}

static bool readable(int descriptor) {
    struct pollfd poller = {.fd = descriptor, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static void polling(esf_foundation *app) {
    esf_subscription *subscription;
    esf_config_change change = ESF_CHANGE_INIT;
    esf_string owner = ESF_STRING_INIT, stats = ESF_STRING_INIT;
    esf_error *err = NULL;
    int32_t descriptor = -1;
    OK(esf_config_subscribe(app, ESF_STR("ai"), 8, &subscription, &err));
    OK(esf_subscription_descriptor(subscription, &descriptor, &err));
    CHECK(descriptor >= 0 && !readable(descriptor));
    STATUS(ESF_AGAIN, esf_config_next_change(subscription, 0, &change, &owner, &err));
    STATUS(ESF_TIMED_OUT, esf_config_next_change(subscription, 5, &change, &owner, &err));
    FAILS(ESF_E_INVALID_INPUT, esf_config_next_change(subscription, -5, &change, &owner, &err));

    /* Two changes of one value while it is unread: the newest, and a count. */
    set_rate(app, "0.5");
    set_rate(app, "0.25");
    CHECK(readable(descriptor));
    OK(esf_config_next_change(subscription, 1000, &change, &owner, &err));
    CHECK(is_text(change.path, path) && is_text(change.new_json, "0.25"));
    CHECK(change.kind == ESF_CHANGE_UPDATED && change.version > 1 && change.timestamp > 0);
    OK(esf_string_free(&owner));
    CHECK(!readable(descriptor));
    OK(esf_subscription_stats_json(subscription, &stats, &err));
    CHECK(has(stats, "\"coalesced\":1") && has(stats, "\"popped\":1"));
    char buffer[512];
    size_t needed = 0;
    OK(esf_subscription_stats_json_into(subscription, buffer, sizeof buffer, &needed, &err));
    CHECK(strcmp(buffer, stats.ptr) == 0);
    esf_string_free(&stats);

    OK(esf_config_reset(app, NULL, &err));
    OK(esf_config_next_change(subscription, 1000, &change, &owner, &err));
    CHECK(change.kind == ESF_CHANGE_RESET && is_text(change.path, "ai") && change.new_json.ptr[0] == '{');
    OK(esf_string_free(&owner));

    OK(esf_subscription_cancel(subscription, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_subscription_cancel(subscription, &err));
    FAILS(ESF_E_STALE_HANDLE, esf_config_next_change(subscription, 0, &change, &owner, &err));
    OK(esf_subscription_cancel(NULL, &err));
}

static void *wait_for_change(void *subscription) {
    esf_config_change change = ESF_CHANGE_INIT;
    esf_string owner = ESF_STRING_INIT;
    esf_status status = esf_config_next_change(subscription, 60000, &change, &owner, NULL);
    return (void *)(intptr_t)status;
}

/* Whoever waits is woken by cancel, and by close. */
static void the_end_wakes_waiters(void) {
    for (int closes = 0; closes < 2; closes++) {
        esf_foundation *app = open_instance("{}");
        esf_subscription *subscription;
        pthread_t waiter;
        void *status;
        OK(esf_config_subscribe(app, ESF_STR(""), 8, &subscription, NULL));
        pthread_create(&waiter, NULL, wait_for_change, subscription);
        OK(closes ? esf_foundation_close(app, 5000, NULL) : esf_subscription_cancel(subscription, NULL));
        pthread_join(waiter, &status);
        /* The cancellation may come before the waiter's call. */
        CHECK((intptr_t)status == ESF_DONE || (intptr_t)status == ESF_E_STALE_HANDLE ||
              (intptr_t)status == ESF_E_CLOSING);
        if (closes)
            OK(esf_subscription_cancel(subscription, NULL));
        else
            OK(esf_foundation_close(app, 5000, NULL));
    }
}

struct seen {
    esf_foundation *app;
    esf_subscription *itself;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int calls, drops;
    double rate;
    esf_status close, read, cancel;
    bool cancels;
};

static void on_change(void *user_data, const esf_config_change *change) {
    struct seen *seen = user_data;
    pthread_mutex_lock(&seen->lock);
    /* A callback may call anything but close. */
    seen->read = esf_config_get_f64_at(seen->app, ESF_STR("ai.planning.sampling_rate"), &seen->rate, NULL);
    seen->close = esf_foundation_close(seen->app, 0, NULL);
    if (seen->cancels)
        seen->cancel = esf_subscription_cancel(seen->itself, NULL);
    seen->calls += change->new_json.len > 0;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void on_drop(void *user_data) {
    struct seen *seen = user_data;
    seen->drops++;
}

static void calling_back(void) {
    for (int cancels = 0; cancels < 2; cancels++) {
        struct seen seen = {.app = open_instance("{}"), .cancels = cancels};
        pthread_mutex_init(&seen.lock, NULL);
        pthread_cond_init(&seen.changed, NULL);
        pthread_mutex_lock(&seen.lock);
        OK(esf_config_subscribe_callback(seen.app, ESF_STR(""), 8, on_change, &seen, on_drop, &seen.itself,
                                         NULL));
        set_rate(seen.app, "0.5");
        while (seen.calls == 0)
            pthread_cond_wait(&seen.changed, &seen.lock);
        pthread_mutex_unlock(&seen.lock);
        CHECK(seen.read == ESF_OK && seen.rate == 0.5);
        CHECK(seen.close == ESF_E_REENTRANT);
        if (cancels)
            CHECK(seen.cancel == ESF_OK);
        else
            OK(esf_subscription_cancel(seen.itself, NULL));
        set_rate(seen.app, "0.75");
        OK(esf_foundation_close(seen.app, 5000, NULL));
        CHECK(seen.calls == 1 && seen.drops == 1);
        pthread_cond_destroy(&seen.changed);
        pthread_mutex_destroy(&seen.lock);
    }
}

static void block_until_unlocked(void *user_data, const esf_config_change *change) {
    struct seen *seen = user_data;
    (void)change;
    pthread_mutex_lock(&seen->lock);
    seen->calls++;
    pthread_cond_broadcast(&seen->changed);
    while (!seen->cancels)
        pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
}

static void mark_dropped(void *user_data) {
    struct seen *seen = user_data;
    pthread_mutex_lock(&seen->lock);
    seen->drops++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

/* A callback that does not return holds up neither close, which says so at its deadline, nor other instances.
 */
static void close_has_a_deadline(esf_foundation *other) {
    struct seen seen = {.app = open_instance("{}")};
    esf_error *err = NULL;
    esf_string why = ESF_STRING_INIT;
    pthread_mutex_init(&seen.lock, NULL);
    pthread_cond_init(&seen.changed, NULL);
    OK(esf_config_subscribe_callback(seen.app, ESF_STR(""), 8, block_until_unlocked, &seen, mark_dropped,
                                     &seen.itself, NULL));
    pthread_mutex_lock(&seen.lock);
    set_rate(seen.app, "0.5");
    while (seen.calls == 0)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);

    STATUS(ESF_TIMED_OUT, esf_foundation_close(seen.app, 20, &err));
    OK(esf_error_json(err, &why));
    CHECK(has(why, "config-notify"));
    OK(esf_string_free(&why));
    OK(esf_error_free(err));
    STATUS(ESF_E_STALE_HANDLE, esf_foundation_close(seen.app, 20, NULL));
    set_rate(other, "0.5");

    pthread_mutex_lock(&seen.lock);
    seen.cancels = true;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
    OK(esf_subscription_cancel(seen.itself, NULL));
    pthread_mutex_lock(&seen.lock);
    while (seen.drops == 0)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
    CHECK(seen.calls == 1 && seen.drops == 1);
    pthread_cond_destroy(&seen.changed);
    pthread_mutex_destroy(&seen.lock);
}

static void a_refused_callback_keeps_nothing(esf_foundation *app) {
    struct seen seen = {.app = app};
    esf_error *err = NULL;
    FAILS(ESF_E_CONFIG_PATH_NOT_FOUND, esf_config_subscribe_callback(app, ESF_STR("no.key"), 8, on_change,
                                                                     &seen, on_drop, &seen.itself, &err));
    FAILS(ESF_E_NULL_ARGUMENT,
          esf_config_subscribe_callback(app, ESF_STR(""), 8, NULL, &seen, on_drop, &seen.itself, &err));
    CHECK(seen.drops == 0);
}

/* A queue that is full drops its oldest and says so. */
static void a_full_queue_drops(esf_foundation *app) {
    esf_subscription *subscription;
    esf_config_change change = ESF_CHANGE_INIT;
    esf_string owner = ESF_STRING_INIT, stats = ESF_STRING_INIT;
    OK(esf_config_subscribe(app, ESF_STR(""), 1, &subscription, NULL));
    set_rate(app, "0.5");
    OK(esf_config_update(app, ESF_STR("dev.verbose_logging"), ESF_STR("true"), NULL, NULL));
    OK(esf_config_next_change(subscription, 0, &change, &owner, NULL));
    CHECK(is_text(change.path, "dev.verbose_logging") && is_text(change.new_json, "true"));
    OK(esf_string_free(&owner));
    OK(esf_subscription_stats_json(subscription, &stats, NULL));
    CHECK(has(stats, "\"dropped\":1"));
    OK(esf_string_free(&stats));
    OK(esf_subscription_cancel(subscription, NULL));
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    polling(app);
    the_end_wakes_waiters();
    calling_back();
    close_has_a_deadline(app);
    a_refused_callback_keeps_nothing(app);
    a_full_queue_drops(app);
    OK(esf_foundation_close(app, 5000, NULL));
    return check_report();
}
