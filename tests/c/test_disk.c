/* Files: every mode and level, what is there after closing and after a kill, who may open, and how one is
 * told. */
#include "disk.h"
#include <pthread.h>

/* Every mode answers at its level, and each level can be had in every mode. */
static void levels_of(const char *mode) {
    esf_foundation *app = open_in(mode);
    bool waits = strcmp(mode, "group") == 0 || strcmp(mode, "strict") == 0;
    esf_level usual = waits ? ESF_LEVEL_DURABLE : ESF_LEVEL_CRASH_SAFE;
    esf_receipt receipt = ESF_RECEIPT_INIT,
                receipts[3] = {ESF_RECEIPT_INIT, ESF_RECEIPT_INIT, ESF_RECEIPT_INIT};
    esf_event event = tick(), batch[3] = {tick(), tick(), tick()};
    OK(esf_event_append(app, &event, &receipt, &err));
    CHECK(receipt.level == usual && receipt.seq > 0);
    for (esf_level level = ESF_LEVEL_ACCEPTED; level <= ESF_LEVEL_DURABLE; level++) {
        OK(esf_event_append_at(app, &event, level, &receipt, &err));
        CHECK(receipt.level >= level && receipt.level <= ESF_LEVEL_DURABLE);
        CHECK(watermark(app, level) > receipt.seq);
        OK(esf_event_append_batch_at(app, batch, 3, level, receipts, &err));
        CHECK(receipts[2].level >= level && receipts[2].seq == receipts[0].seq + 2);
        CHECK(watermark(app, level) > receipts[2].seq);
    }
    OK(esf_event_append_batch(app, batch, 3, receipts, &err));
    CHECK(receipts[0].level == usual);
    OK(esf_event_append_at(app, &event, ESF_LEVEL_DURABLE, NULL, &err));
    OK(esf_event_append_batch_at(app, NULL, 0, ESF_LEVEL_DURABLE, NULL, &err));
    close_files(app);

    esf_string status = ESF_STRING_INIT;
    app = open_in(mode);
    CHECK(count_of(app, "tick") == 17 && count_of(app, "store_recovered") == 0);
    OK(esf_event_append(app, &event, &receipt, &err));
    CHECK(receipt.seq == 18);
    OK(esf_foundation_status_json(app, &status, &err));
    CHECK(has(status, "\"disk\":{") && has(status, mode) && has(status, "\"gaps\":[]"));
    CHECK(has(status, "\"recovery\":{\"existed\":true,\"clean\":true"));
    OK(esf_string_free(&status));
    close_files(app);
    remove_files(directory);
}

static void append_until_killed(const void *mode, int pipe) {
    esf_foundation *app = open_in(mode);
    esf_event event = tick(), batch[10];
    for (int at = 0; at < 10; at++)
        batch[at] = tick();
    for (int at = 0; at < 20; at++) {
        OK(esf_event_append(app, &event, NULL, &err));
        tell(pipe);
        OK(esf_event_append_batch(app, batch, 10, NULL, &err));
        tell(pipe);
    }
    OK(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.25"), NULL, &err));
    tell(pipe);
}

struct progress {
    unsigned calls;
    uint64_t done, total;
    esf_foundation *other;
};

static void on_progress(void *user_data, uint64_t done, uint64_t total) {
    struct progress *progress = user_data;
    progress->calls++;
    CHECK(done >= progress->done && done <= total);
    progress->done = done;
    progress->total = total;
    /* Other calls may be made from in here, closing may not. */
    esf_event event = tick();
    OK(esf_event_append(progress->other, &event, NULL, &err));
    FAILS(ESF_E_REENTRANT, esf_foundation_close(progress->other, 0, &err));
}

/* What a process was told is stored is there after its death, and opening tells how far it is. */
static void after_a_kill_in(const char *mode) {
    esf_foundation *app = NULL;
    struct progress progress = {0, 0, 0, NULL};
    esf_string status = ESF_STRING_INIT;
    char options[256];
    double rate = 0;
    CHECK(in_a_killed_child(append_until_killed, mode) == 41);
    progress.other = open_instance("{}");
    snprintf(options, sizeof options, "{\"event_store\":{\"data_dir\":\"%s\",\"durability\":\"%s\"}}",
             directory, mode);
    esf_str text = {options, strlen(options)};
    OK(esf_foundation_open_with_progress(text, on_progress, &progress, &app, &err));
    CHECK(progress.calls >= 2 && progress.total > 0 && progress.done == progress.total);
    CHECK(count_of(app, "tick") == 220 && count_of(app, "config_updated") == 1);
    CHECK(count_of(app, "store_recovered") == 1);
    OK(esf_config_get_f64_at(app, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    CHECK(rate == 0.25);
    OK(esf_foundation_status_json(app, &status, &err));
    CHECK(has(status, "\"existed\":true,\"clean\":false") && has(status, "\"gaps\":[]"));
    OK(esf_string_free(&status));
    close_files(app);

    progress.calls = 0;
    progress.done = 0;
    OK(esf_foundation_open_with_progress(text, on_progress, &progress, &app, &err));
    CHECK(progress.calls == 1 && progress.total == 0);
    CHECK(count_of(app, "tick") == 220);
    close_files(app);
    OK(esf_foundation_close(progress.other, 5000, &err));
    remove_files(directory);
}

/* One process writes; others read what was there when they opened. */
static void who_may_open(void) {
    esf_foundation *app = open_files(""), *other = NULL, *reader;
    esf_event event = tick();
    esf_receipt receipt = ESF_RECEIPT_INIT;
    esf_string json = ESF_STRING_INIT;
    char holder[64];
    OK(esf_event_append(app, &event, &receipt, &err));

    STATUS(ESF_E_LOCKED, try_to_open("", &other));
    OK(esf_error_json(err, &json));
    snprintf(holder, sizeof holder, "\"holder\":\"shop, process %ld\"", (long)getpid());
    CHECK(has(json, holder));
    OK(esf_string_free(&json));
    OK(esf_error_free(err));
    err = NULL;

    reader = open_files(",\"read_only\":true");
    CHECK(count_of(reader, "tick") == 1);
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_event_append(reader, &event, NULL, &err));
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_event_append_at(reader, &event, ESF_LEVEL_ACCEPTED, NULL, &err));
    CHECK(esf_config_update(reader, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.5"), NULL, NULL) >=
          1000);
    OK(esf_events_wait_durable(reader, receipt.seq, ESF_LEVEL_DURABLE, 0, &err));
    FAILS(ESF_E_OPERATION_FORBIDDEN,
          esf_events_wait_durable(reader, receipt.seq + 1, ESF_LEVEL_DURABLE, 1000, &err));
    OK(esf_event_append(app, &event, NULL, &err));
    CHECK(count_of(app, "tick") == 2 && count_of(reader, "tick") == 1);
    close_files(reader);
    close_files(app);
    app = open_files("");
    CHECK(count_of(app, "tick") == 2);
    close_files(app);
    remove_files(directory);

    FAILS(ESF_E_INVALID_INPUT,
          esf_foundation_open(ESF_STR("{\"event_store\":{\"durability\":\"group\"}}"), &other, &err));
    FAILS(ESF_E_INVALID_INPUT, try_to_open(",\"durability\":\"always\"", &other));
    FAILS(ESF_E_INVALID_INPUT, try_to_open(",\"compression\":\"rar\"", &other));
    FAILS(ESF_E_INVALID_INPUT, try_to_open(",\"sync_interval_ms\":0", &other));
    /* Without files all the same. */
    app = open_in("volatile");
    OK(esf_event_append_at(app, &event, ESF_LEVEL_DURABLE, &receipt, &err));
    CHECK(receipt.level == ESF_LEVEL_ACCEPTED);
    CHECK(watermark(app, ESF_LEVEL_ACCEPTED) > receipt.seq && watermark(app, ESF_LEVEL_DURABLE) == 1);
    FAILS(ESF_E_OPERATION_FORBIDDEN, esf_events_wait_durable(app, receipt.seq, ESF_LEVEL_DURABLE, 10, &err));
    OK(esf_foundation_close(app, 5000, &err));
}

static void waiting(void) {
    esf_foundation *app = open_in("crash_safe");
    esf_event event = tick();
    esf_receipt receipt = ESF_RECEIPT_INIT;
    OK(esf_event_append(app, &event, &receipt, &err));
    CHECK(receipt.level == ESF_LEVEL_CRASH_SAFE && watermark(app, ESF_LEVEL_DURABLE) <= receipt.seq);
    OK(esf_events_wait_durable(app, receipt.seq, ESF_LEVEL_CRASH_SAFE, 0, &err));
    STATUS(ESF_TIMED_OUT, esf_events_wait_durable(app, receipt.seq + 1000, ESF_LEVEL_DURABLE, 20, &err));
    CHECK(err == NULL);
    OK(esf_events_wait_durable(app, receipt.seq, ESF_LEVEL_DURABLE, 30000, &err));
    CHECK(watermark(app, ESF_LEVEL_DURABLE) > receipt.seq);
    close_files(app);
    remove_files(directory);
}

/* What a callback was told, and the test's means to wait for it. */
struct told {
    pthread_mutex_t gate;
    pthread_cond_t changed;
    const esf_foundation *app;
    int calls, drops;
    esf_status status;
    bool on_this_thread, had_message;
    pthread_t thread;
};

static void on_durable(void *user_data, esf_status status, const esf_error *error) {
    struct told *told = user_data;
    esf_str message = ESF_STR_INIT;
    esf_error *why = NULL;
    esf_event event = tick();
    esf_receipt receipt = ESF_RECEIPT_INIT;
    if (status == ESF_OK) {
        /* From in here one may append and wait, on the very thread that syncs. */
        if (esf_event_append_at(told->app, &event, ESF_LEVEL_ACCEPTED, &receipt, NULL) != ESF_OK ||
            esf_events_wait_durable(told->app, receipt.seq, ESF_LEVEL_DURABLE, 30000, NULL) != ESF_OK ||
            esf_foundation_close((esf_foundation *)told->app, 0, &why) != ESF_E_REENTRANT)
            status = -1;
        esf_error_free(why);
    }
    bool had_message = error && esf_error_message(error, &message) == ESF_OK && message.len > 0;
    pthread_mutex_lock(&told->gate);
    told->calls++;
    told->status = status;
    told->had_message = had_message;
    told->on_this_thread = pthread_equal(told->thread, pthread_self());
    pthread_mutex_unlock(&told->gate);
}

static void on_drop(void *user_data) {
    struct told *told = user_data;
    pthread_mutex_lock(&told->gate);
    told->drops++;
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->gate);
}

static void wait_for_drops(struct told *told, int drops) {
    pthread_mutex_lock(&told->gate);
    while (told->drops < drops)
        pthread_cond_wait(&told->changed, &told->gate);
    CHECK(told->calls == drops && told->drops == drops);
    pthread_mutex_unlock(&told->gate);
}

static void being_called(const char *mode) {
    esf_foundation *app = open_in(mode);
    struct told told = {.gate = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .app = app,
                        .thread = pthread_self()};
    esf_event event = tick();
    esf_receipt receipt = ESF_RECEIPT_INIT;
    OK(esf_event_append_at(app, &event, ESF_LEVEL_ACCEPTED, &receipt, &err));
    OK(esf_events_when_durable(app, receipt.seq, ESF_LEVEL_DURABLE, on_durable, &told, on_drop, &err));
    wait_for_drops(&told, 1);
    CHECK(told.status == ESF_OK && !told.had_message);
    /* It is so already: called at once, from here. */
    OK(esf_events_when_durable(app, receipt.seq, ESF_LEVEL_DURABLE, on_durable, &told, on_drop, &err));
    wait_for_drops(&told, 2);
    CHECK(told.status == ESF_OK && told.on_this_thread);
    /* Never: told when the instance is closed. */
    OK(esf_events_when_durable(app, UINT64_MAX, ESF_LEVEL_DURABLE, on_durable, &told, on_drop, &err));
    OK(esf_events_when_durable(app, UINT64_MAX, ESF_LEVEL_DURABLE, on_durable, &told, NULL, &err));
    close_files(app);
    pthread_mutex_lock(&told.gate);
    CHECK(told.calls == 4 && told.drops == 3 && told.status == ESF_E_CLOSING && told.had_message);
    pthread_mutex_unlock(&told.gate);
    app = open_instance("{}");
    FAILS(ESF_E_OPERATION_FORBIDDEN,
          esf_events_when_durable(app, 1, ESF_LEVEL_DURABLE, on_durable, &told, on_drop, &err));
    CHECK(told.calls == 4 && told.drops == 3);
    OK(esf_foundation_close(app, 5000, &err));
    remove_files(directory);
}

/* The child of a bracketed fork: the files are its parent's, and it may have others. */
static void use_files_in_a_child(const void *parents, int pipe) {
    esf_foundation *app = (esf_foundation *)parents, *own;
    esf_event event = tick();
    char other[] = "disk-XXXXXX";
    CHECK(count_of(app, "tick") == 1);
    FAILS(ESF_E_FORKED, esf_event_append(app, &event, NULL, &err));
    FAILS(ESF_E_FORKED, esf_event_append_at(app, &event, ESF_LEVEL_ACCEPTED, NULL, &err));
    FAILS(ESF_E_FORKED, esf_events_wait_durable(app, 1000, ESF_LEVEL_DURABLE, 1000, &err));
    CHECK(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.5"), NULL, NULL) >= 1000);
    STATUS(ESF_E_LOCKED, try_to_open("", &own));
    OK(esf_error_free(err));
    err = NULL;
    if (!CHECK(mkdtemp(other) != NULL))
        return;
    memcpy(directory, other, sizeof other);
    own = open_files("");
    OK(esf_event_append(own, &event, NULL, &err));
    close_files(own);
    remove_files(directory);
    OK(esf_foundation_close(app, 5000, &err));
    tell(pipe);
}

static void around_a_fork(const char *mode) {
    esf_foundation *app = open_in(mode);
    esf_event event = tick();
    esf_string status = ESF_STRING_INIT;
    OK(esf_event_append(app, &event, NULL, &err));
    CHECK(in_a_killed_child(use_files_in_a_child, app) == 1);
    /* The parent goes on, and its lock is still its own. */
    OK(esf_event_append_at(app, &event, ESF_LEVEL_DURABLE, NULL, &err));
    esf_foundation *other = NULL;
    FAILS(ESF_E_LOCKED, try_to_open("", &other));
    OK(esf_foundation_status_json(app, &status, &err));
    CHECK(has(status, "\"status\":\"running\""));
    OK(esf_string_free(&status));
    close_files(app);
    app = open_in(mode);
    CHECK(count_of(app, "tick") == 2);
    close_files(app);
    remove_files(directory);
}

int main(void) {
    if (!mkdtemp(directory))
        return 1;
    for (int at = 0; at < MODES; at++) {
        levels_of(modes[at]);
        after_a_kill_in(modes[at]);
    }
    /* One mode that maps its logs, and one that writes them in rounds. */
    being_called("crash_safe");
    being_called("group");
    around_a_fork("crash_safe");
    around_a_fork("group");
    who_may_open();
    waiting();
    return check_report();
}
