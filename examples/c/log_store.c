/*
 * Stores every line of a log as an event, then finds some of them again.
 *
 *     log_store FILE PATTERN [LINES]
 *
 * PATTERN is an extended regular expression whose first group is a line's correlation id. A line that begins
 * with a time such as 2026-11-22 03:15:00 gets it as its timestamp, others get the time of reading.
 */
#define _GNU_SOURCE
#include <elixirscope_foundation.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 500, SECOND = 1000000000 };

static esf_error *err;

static void try_or_exit(esf_status status, const char *what) {
    esf_str why = ESF_STR_INIT;
    if (status == ESF_OK)
        return;
    esf_error_message(err, &why);
    fprintf(stderr, "%s: %d %.*s\n", what, status, ESF_FMT(why));
    exit(1);
}
#define TRY(call) try_or_exit(call, #call)

/* The time that a line begins with, in nanoseconds since the epoch, or ESF_NOW. */
static int64_t line_time(const char *line) {
    struct tm tm = {0};
    return strptime(line, "%Y-%m-%d%n%H:%M:%S", &tm) ? (int64_t)timegm(&tm) * SECOND : ESF_NOW;
}

static void show_configuration(esf_foundation *app, esf_subscription **changes) {
    esf_config_key *rate;
    double before, after;
    TRY(esf_config_key_resolve(app, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    TRY(esf_config_get_f64(rate, &before));
    TRY(esf_config_subscribe(app, ESF_STR("ai.planning"), 16, changes, &err));
    TRY(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.25"), NULL, &err));
    TRY(esf_config_get_f64(rate, &after));
    printf("sampling rate: %g, after the update %g\n", before, after);

    esf_config_change change = ESF_CHANGE_INIT;
    esf_string owner = ESF_STRING_INIT;
    TRY(esf_config_next_change(*changes, 1000, &change, &owner, &err));
    printf("subscriber saw: %.*s from %.*s to %.*s in version %" PRIu64 "\n", ESF_FMT(change.path),
           ESF_FMT(change.old_json), ESF_FMT(change.new_json), change.version);
    esf_string_free(&owner);
    esf_config_key_free(rate);
}

/* Counts what a query finds and prints the first events of it. */
static void show_query(esf_foundation *app, const esf_event_query *query, const char *title) {
    esf_cursor *cursor;
    esf_event_view view = ESF_VIEW_INIT;
    uint64_t found = 0;
    TRY(esf_events_query(app, query, &cursor, &err));
    for (; esf_cursor_next(cursor, &view) == ESF_OK; found++)
        if (found < 3)
            printf("  %9" PRIu64 "  %.*s\n", view.seq, view.data.len < 96 ? (int)view.data.len : 96,
                   view.data.ptr);
    printf("%s: %" PRIu64 " events\n", title, found);
    esf_cursor_free(cursor);
}

int main(int argc, char **argv) {
    regex_t pattern;
    FILE *file = argc < 3 ? NULL : fopen(argv[1], "r");
    if (!file || regcomp(&pattern, argv[2], REG_EXTENDED)) {
        fprintf(stderr, "usage: log_store FILE PATTERN [LINES]   (a readable file, an extended regex)\n");
        return 2;
    }
    uint64_t most = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;

    esf_foundation *app;
    TRY(esf_foundation_open(ESF_STR("{\"namespace\":\"log_store\",\"event_store\":{\"max_events\":2000000}}"),
                            &app, &err));
    esf_subscription *changes;
    show_configuration(app, &changes);

    esf_counter *lines;
    esf_histogram *lengths;
    esf_event_type *type;
    const esf_label label = {ESF_STR("program"), ESF_STR("log_store")};
    TRY(esf_counter_new(app, ESF_STR("log.lines"), &label, 1, &lines, &err));
    TRY(esf_histogram_new(app, ESF_STR("log.line.bytes"), NULL, 0, &lengths, &err));
    TRY(esf_telemetry_describe(app, ESF_STR("log.lines"), ESF_STR("Lines stored as events"), &err));
    TRY(esf_event_type_resolve(app, ESF_STR("log_line"), &type, &err));

    static esf_event batch[BATCH];
    static char *text[BATCH];
    static size_t room[BATCH];
    char wanted[256] = "";
    int64_t first = INT64_MAX, last = INT64_MIN;
    uint64_t stored = 0;
    size_t filled = 0;
    for (bool more = true; more; filled = 0) {
        while (filled < BATCH && (more = stored + filled < most)) {
            ssize_t length = getline(&text[filled], &room[filled], file);
            if (!(more = length >= 0))
                break;
            regmatch_t match[2] = {{0, 0}, {-1, -1}};
            esf_event event = ESF_EVENT_INIT;
            event.type_handle = type;
            event.encoding = ESF_ENCODING_RAW;
            event.data = (esf_str){text[filled], strcspn(text[filled], "\n")};
            event.timestamp = event.wall_time = line_time(text[filled]);
            if (event.timestamp != ESF_NOW) {
                first = event.timestamp < first ? event.timestamp : first;
                last = event.timestamp > last ? event.timestamp : last;
            }
            if (regexec(&pattern, text[filled], 2, match, 0) == 0 && match[1].rm_so >= 0) {
                event.correlation_id.ptr = text[filled] + match[1].rm_so;
                event.correlation_id.len = (size_t)(match[1].rm_eo - match[1].rm_so);
                if (!wanted[0])
                    snprintf(wanted, sizeof wanted, "%.*s", ESF_FMT(event.correlation_id));
            }
            esf_histogram_record(lengths, (double)length);
            batch[filled++] = event;
        }
        TRY(esf_event_append_batch(app, batch, filled, NULL, &err));
        esf_counter_add(lines, filled);
        stored += filled;
        if (stored % 100000 < filled)
            fprintf(stderr, "%" PRIu64 " lines stored\n", stored);
    }

    esf_event_query query = ESF_QUERY_INIT;
    query.correlation_id = (esf_str){wanted, strlen(wanted)};
    show_query(app, &query, wanted[0] ? wanted : "everything, since no line has a correlation id");
    esf_event_query range = ESF_QUERY_INIT;
    if (first <= last) {
        range.from_time = first + (last - first) / 100 * 50;
        range.to_time = first + (last - first) / 100 * 51;
    }
    show_query(app, &range, first <= last ? "one hundredth of the log's time" : "all times");

    esf_string metrics = ESF_STRING_INIT;
    TRY(esf_telemetry_prometheus(app, &metrics, &err));
    printf("%.*s", ESF_FMT(metrics));
    esf_string_free(&metrics);
    TRY(esf_subscription_cancel(changes, &err));
    TRY(esf_foundation_close(app, 5000, &err));
    return 0;
}
