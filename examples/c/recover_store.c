/* Opens the files that a killed program left and compares them with what that program had been told is safe.
 *
 *     recover_store DATA_DIR ACKS_DIR
 *
 * ACKS_DIR has a file `producer-N` for each producer: the number of its last event that was acknowledged. Its
 * events have the correlation id `producer-N` and were numbered from 1. Every acknowledged one must be there,
 * in order, without a gap; of those that were on their way when the program was killed, one a producer may be
 * there as well. Ends with 0 when that is so, with 1 when it is not.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elixirscope_foundation.h"

static esf_error *err;

/* Ends the program with the library's words if a call did not go well. */
static void try(esf_status status) {
    esf_str message = ESF_STR("no details");
    if (status < 1000)
        return;
    (void)esf_error_message(err, &message);
    fprintf(stderr, "recover_store: %.*s\n", ESF_FMT(message));
    exit(1);
}

static void show_progress(void *unused, uint64_t done, uint64_t total) {
    (void)unused;
    if (total > 0)
        fprintf(stderr, "\r  reading logs: %3" PRIu64 " %%%s", done * 100 / total, done == total ? "\n" : "");
}

/* The number in a producer's file; 0 if it was told of nothing. */
static uint64_t acknowledged(const char *directory, const char *producer) {
    char path[4096], text[32] = "";
    snprintf(path, sizeof path, "%s/%s", directory, producer);
    FILE *file = fopen(path, "r");
    if (file && !fgets(text, sizeof text, file))
        text[0] = '\0';
    if (file)
        fclose(file);
    return strtoull(text, NULL, 10);
}

/* How many events a producer has, counted in the order of their positions. */
static uint64_t recorded(esf_foundation *store, const char *producer) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_cursor *cursor;
    esf_event_view view = ESF_VIEW_INIT;
    uint64_t count = 0;
    query.correlation_id = (esf_str){producer, strlen(producer)};
    try(esf_events_query(store, &query, &cursor, &err));
    while (esf_cursor_next(cursor, &view) == ESF_OK)
        count++;
    esf_cursor_free(cursor);
    return count;
}

int main(int argc, char **argv) {
    DIR *acks = argc == 3 ? opendir(argv[2]) : NULL;
    if (!acks) {
        fprintf(stderr, "usage: recover_store DATA_DIR ACKS_DIR\n");
        return 2;
    }
    char options[4096];
    snprintf(
        options, sizeof options,
        "{\"namespace\":\"recover_store\",\"event_store\":{\"data_dir\":\"%s\",\"max_events\":100000000}}",
        argv[1]);
    esf_foundation *store;
    try(esf_foundation_open_with_progress((esf_str){options, strlen(options)}, show_progress, NULL, &store,
                                          &err));

    uint64_t all_acked = 0, all_found = 0;
    int wrong = 0;
    printf("  %-14s %14s %14s\n", "producer", "acknowledged", "found");
    for (struct dirent *entry; (entry = readdir(acks));) {
        if (strncmp(entry->d_name, "producer-", 9) != 0)
            continue;
        uint64_t acked = acknowledged(argv[2], entry->d_name), found = recorded(store, entry->d_name);
        /* The event after the last acknowledged one may have been on its way. */
        int right = found == acked || found == acked + 1;
        printf("  %-14s %14" PRIu64 " %14" PRIu64 "%s\n", entry->d_name, acked, found,
               right ? "" : "  WRONG");
        all_acked += acked;
        all_found += found;
        wrong |= !right;
    }
    closedir(acks);
    printf("  %-14s %14" PRIu64 " %14" PRIu64 "\n", "all", all_acked, all_found);
    try(esf_foundation_close(store, 60000, &err));
    return wrong || all_acked == 0;
}
