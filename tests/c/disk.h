/* What the tests of files share: a directory of their own, instances on it, children that are killed. */
#ifndef ESF_TESTS_DISK_H
#define ESF_TESTS_DISK_H

#include "check.h"
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const modes[] = {"crash_safe", "interval", "group", "strict"};
enum { MODES = sizeof modes / sizeof *modes };

static esf_error *err;
static char directory[] = "disk-XXXXXX";

/* Opens an instance on the directory, with more options of the event store ("" or ",\"key\":value"). */
static inline esf_status try_to_open(const char *more, esf_foundation **app) {
    char options[512];
    int length =
        snprintf(options, sizeof options, "{\"namespace\":\"shop\",\"event_store\":{\"data_dir\":\"%s\"%s}}",
                 directory, more);
    esf_str text = {options, (size_t)length};
    return esf_foundation_open(text, app, &err);
}

static inline esf_foundation *open_files(const char *more) {
    esf_foundation *app = NULL;
    if (!OK(try_to_open(more, &app)))
        exit(1);
    return app;
}

static inline esf_foundation *open_in(const char *mode) {
    char more[64];
    snprintf(more, sizeof more, ",\"durability\":\"%s\"", mode);
    return open_files(more);
}

static inline void close_files(esf_foundation *app) {
    OK(esf_foundation_close(app, 30000, &err));
}

static inline void remove_files(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    char file[512];
    while (folder && (entry = readdir(folder)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        unlink(file);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

static inline esf_event tick(void) {
    esf_event event = ESF_EVENT_INIT;
    event.type = ESF_STR("tick");
    event.data = ESF_STR("{\"n\":1}");
    return event;
}

static inline int64_t count_of(const esf_foundation *app, const char *type) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_str name = {type, strlen(type)};
    uint64_t count = 0;
    query.types = &name;
    query.type_count = 1;
    OK(esf_events_count(app, &query, &count, &err));
    return (int64_t)count;
}

static inline uint64_t watermark(const esf_foundation *app, esf_level level) {
    uint64_t seq = 0;
    OK(esf_events_watermark(app, level, &seq, &err));
    return seq;
}

/* Runs something in the child of a bracketed fork that then dies of SIGKILL. It answers how many bytes the
 * child wrote to `pipe` before: what it was told is stored, one byte each. Checks that fail in the child
 * count here. */
static inline long in_a_killed_child(void (*child)(const void *argument, int pipe), const void *argument) {
    int ends[2];
    long written = 0;
    char bytes[256];
    ssize_t count;
    fflush(stdout);
    if (pipe(ends) != 0)
        return -1;
    OK(esf_before_fork(&err));
    pid_t pid = fork();
    if (pid == 0) {
        check_failed = 0;
        OK(esf_after_fork_child(&err));
        child(argument, ends[1]);
        fflush(stdout);
        if (check_failed == 0)
            raise(SIGKILL);
        _exit(1);
    }
    OK(esf_after_fork_parent(&err));
    close(ends[1]);
    while ((count = read(ends[0], bytes, sizeof bytes)) > 0)
        written += count;
    close(ends[0]);
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return written;
}

static inline void tell(int pipe) {
    CHECK(write(pipe, ".", 1) == 1);
}

#endif
