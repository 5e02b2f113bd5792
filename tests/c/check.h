/* The tests' own little frame: checks that count, one line at the end, no dependency. */
#ifndef ESF_TESTS_CHECK_H
#define ESF_TESTS_CHECK_H

#include <elixirscope_foundation.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long check_passed, check_failed;

/* Counts one check and says where it failed. */
static inline bool check_that(bool holds, const char *what, const char *file, int line) {
    if (holds) {
        check_passed++;
    } else {
        check_failed++;
        printf("%s:%d: failed: %s\n", file, line, what);
    }
    return holds;
}
#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)

/* Checks a status and names both numbers when they differ. */
static inline bool check_status(esf_status found, esf_status expected, const char *what, const char *file,
                                int line) {
    bool same = found == expected;
    if (!same)
        printf("%s:%d: %s answered %d (%.*s), not %d\n", file, line, what, found,
               ESF_FMT(esf_status_name(found)), expected);
    return check_that(same, what, file, line);
}
#define STATUS(expected, call) check_status((call), (expected), #call, __FILE__, __LINE__)
#define OK(call) STATUS(ESF_OK, call)

/* Checks that a call failed with this error, that the details agree, and frees them. */
static inline bool check_error(esf_status found, esf_status expected, esf_error **err, const char *what,
                               const char *file, int line) {
    esf_status code = 0;
    esf_str message = ESF_STR_INIT;
    bool good = check_status(found, expected, what, file, line);
    if (*err) {
        good &= check_that(esf_error_code(*err, &code) == ESF_OK && code == found, "the error has the status",
                           file, line);
        good &= check_that(esf_error_message(*err, &message) == ESF_OK && message.len > 0,
                           "the error has a message", file, line);
        esf_error_free(*err);
        *err = NULL;
    } else {
        good = check_that(false, "there is an error to read", file, line);
    }
    return good;
}
#define FAILS(expected, call) check_error((call), (expected), &err, #call, __FILE__, __LINE__)

static inline bool is_text(esf_str text, const char *expected) {
    return text.len == strlen(expected) && (text.len == 0 || memcmp(text.ptr, expected, text.len) == 0);
}

/* Whether an owned text (which ends in a NUL) contains this. */
static inline bool has(esf_string text, const char *part) {
    return text.ptr && strstr(text.ptr, part) != NULL;
}

static inline esf_foundation *open_instance(const char *options) {
    esf_foundation *foundation = NULL;
    esf_error *err = NULL;
    esf_str text = ESF_STR_INIT;
    text.ptr = options;
    text.len = strlen(options);
    if (esf_foundation_open(text, &foundation, &err) != ESF_OK) {
        esf_str why = ESF_STR_INIT;
        esf_error_message(err, &why);
        printf("cannot open an instance: %.*s\n", ESF_FMT(why));
        exit(1);
    }
    return foundation;
}

/* The last line of a test program, and its exit code. */
static inline int check_report(void) {
    printf("%lu passed, %lu failed\n", check_passed, check_failed);
    return check_failed != 0 || check_passed == 0;
}

#endif
