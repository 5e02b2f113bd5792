/* Fork: a child answers so, unless the fork was bracketed; then it goes on by itself. */
#include "check.h"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static esf_error *err;

static void on_change(void *user_data, const esf_config_change *change) {
    (void)change;
    ++*(volatile int *)user_data;
}

/* Runs a child's checks and answers whether all of them held. */
static bool child_passes(void (*child)(esf_foundation *), esf_foundation *app) {
    int ends[2];
    unsigned long failed = 1;
    fflush(stdout);
    if (pipe(ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        check_failed = 0;
        child(app);
        fflush(stdout);
        /* Killed rather than ended: what other threads held in the parent looks like a leak in here. */
        if (write(ends[1], &check_failed, sizeof check_failed) > 0)
            raise(SIGKILL);
        _exit(1);
    }
    close(ends[1]);
    bool reported = read(ends[0], &failed, sizeof failed) == sizeof failed;
    close(ends[0]);
    return pid > 0 && waitpid(pid, NULL, 0) == pid && reported && failed == 0;
}

static esf_counter *counter;
static esf_config_key *key;
static esf_cursor *cursor;
static esf_trace *trace;
static esf_tail *tail, *told;
static esf_subscription *subscription;
static esf_error *older;

static bool readable(int descriptor) {
    struct pollfd poller = {.fd = descriptor, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

/* Answers an event of a child by one of its own. */
static void on_event(void *user_data, const esf_event_view *event, const esf_gap *gap) {
    esf_event answer = ESF_EVENT_INIT;
    (void)gap;
    answer.type = ESF_STR("told");
    if (event && is_text(event->type, "child"))
        esf_event_append(user_data, &answer, NULL, NULL);
}

static void in_a_plain_child(esf_foundation *app) {
    esf_event event = ESF_EVENT_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_config_change change = ESF_CHANGE_INIT;
    esf_string text = ESF_STRING_INIT;
    esf_foundation *second = NULL;
    esf_str message = ESF_STR_INIT;
    esf_gap gap = ESF_GAP_INIT;
    double rate = 0;
    event.type = ESF_STR("child");
    FAILS(ESF_E_FORKED, esf_event_append(app, &event, NULL, &err));
    FAILS(ESF_E_FORKED, esf_config_update(app, ESF_STR("ai"), ESF_STR("1"), NULL, &err));
    FAILS(ESF_E_FORKED, esf_foundation_status_json(app, &text, &err));
    FAILS(ESF_E_FORKED, esf_telemetry_prometheus(app, &text, &err));
    FAILS(ESF_E_FORKED, esf_config_next_change(subscription, 1000, &change, &text, &err));
    FAILS(ESF_E_FORKED, esf_subscription_cancel(subscription, &err));
    FAILS(ESF_E_FORKED, esf_foundation_open(ESF_STR("{}"), &second, &err));
    FAILS(ESF_E_FORKED, esf_foundation_close(app, 5000, &err));
    FAILS(ESF_E_FORKED, esf_before_fork(&err));
    FAILS(ESF_E_FORKED, esf_after_fork_parent(&err));
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_child(&err));
    STATUS(ESF_E_FORKED, esf_cursor_next(cursor, &view));
    STATUS(ESF_E_FORKED, esf_cursor_free(cursor));
    STATUS(ESF_E_FORKED, esf_trace_next(trace, &view, NULL));
    STATUS(ESF_E_FORKED, esf_trace_free(trace));
    FAILS(ESF_E_FORKED, esf_tail_next(tail, 0, &view, &gap, &err));
    FAILS(ESF_E_FORKED, esf_tail_cancel(tail, &err));
    /* Hot handles work on the child's own copy, and errors of before can be read. */
    OK(esf_counter_add(counter, 1));
    OK(esf_config_get_f64(key, &rate));
    OK(esf_error_message(older, &message));
    CHECK(message.len > 0);
}

static void in_a_bracketed_child(esf_foundation *app) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("child");
    esf_subscription *own = NULL;
    esf_string text = ESF_STRING_INIT;
    volatile int calls = 0;
    STATUS(ESF_E_FORKED, esf_event_append(app, &event, NULL, NULL));
    OK(esf_after_fork_child(&err));
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_child(&err));
    /* A tail goes on in the child: from where it was, with a descriptor of its own. */
    int32_t before = -1, descriptor = -1;
    esf_event_view view = ESF_VIEW_INIT;
    esf_gap gap = ESF_GAP_INIT;
    OK(esf_tail_descriptor(tail, &before, &err));
    while (esf_tail_next(tail, 0, &view, &gap, &err) == ESF_OK)
        continue;
    CHECK(!readable(before));
    OK(esf_event_append(app, &event, NULL, &err));
    OK(esf_tail_descriptor(tail, &descriptor, &err));
    CHECK(descriptor == before && readable(descriptor));
    OK(esf_tail_next(tail, 0, &view, &gap, &err));
    CHECK(is_text(view.type, "child"));
    /* The worker of callbacks is started in the child, too. */
    while (esf_tail_next(tail, 60000, &view, &gap, &err) == ESF_OK && !is_text(view.type, "told"))
        continue;
    CHECK(is_text(view.type, "told"));
    OK(esf_tail_cancel(told, &err));
    OK(esf_config_subscribe_callback(app, ESF_STR(""), 8, on_change, (void *)&calls, NULL, &own, &err));
    OK(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.5"), NULL, &err));
    OK(esf_subscription_cancel(own, &err));
    OK(esf_telemetry_prometheus(app, &text, &err));
    OK(esf_string_free(&text));
    OK(esf_foundation_close(app, 5000, &err));
}

static bool bracketed(esf_foundation *app) {
    bool passed;
    OK(esf_before_fork(&err));
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_before_fork(&err));
    passed = child_passes(in_a_bracketed_child, app);
    OK(esf_after_fork_parent(&err));
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_parent(&err));
    return passed;
}

int main(void) {
    esf_foundation *app = open_instance("{}"), *none = NULL;
    esf_event_query query = ESF_QUERY_INIT;
    esf_subscription *called = NULL;
    esf_tail_options options = ESF_TAIL_INIT;
    int32_t descriptor = -1;
    esf_event event = ESF_EVENT_INIT;
    volatile int calls = 0;
    event.type = ESF_STR("parent");
    event.event_id = 1000;
    OK(esf_event_append(app, &event, NULL, &err));
    event.event_id = 0;
    OK(esf_events_trace(app, 1000, 10, &trace, &err));
    OK(esf_counter_new(app, ESF_STR("c"), NULL, 0, &counter, &err));
    OK(esf_config_key_resolve(app, ESF_STR("ai.planning.sampling_rate"), &key, &err));
    OK(esf_events_query(app, &query, &cursor, &err));
    OK(esf_events_tail(app, &options, &tail, &err));
    OK(esf_tail_descriptor(tail, &descriptor, &err));
    OK(esf_events_tail_callback(app, &options, on_event, app, NULL, &told, &err));
    OK(esf_config_subscribe(app, ESF_STR("interface"), 8, &subscription, &err));
    /* A thread of the library's is running when the process forks. */
    OK(esf_config_subscribe_callback(app, ESF_STR(""), 8, on_change, (void *)&calls, NULL, &called, &err));
    CHECK(esf_foundation_open(ESF_STR("7"), &none, &older) >= 1000);

    CHECK(child_passes(in_a_plain_child, app));
    CHECK(bracketed(app));
    CHECK(bracketed(app));
    CHECK(child_passes(in_a_plain_child, app));
    /* Wrong arguments are no matter. */
    OK(esf_before_fork(NULL));
    OK(esf_after_fork_parent(NULL));
    STATUS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_parent(NULL));
    STATUS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_child(NULL));
    STATUS(ESF_E_OPERATION_FORBIDDEN, esf_after_fork_child((esf_error **)((char *)&err + 1)));

    OK(esf_event_append(app, &event, NULL, &err));
    OK(esf_error_free(older));
    OK(esf_cursor_free(cursor));
    OK(esf_trace_free(trace));
    CHECK(readable(descriptor));
    OK(esf_tail_cancel(tail, &err));
    OK(esf_tail_cancel(told, &err));
    OK(esf_subscription_cancel(subscription, &err));
    OK(esf_subscription_cancel(called, &err));
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
