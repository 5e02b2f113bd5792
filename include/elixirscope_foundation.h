/*
 * ElixirScope Foundation: configuration, an event store and telemetry in one process, behind a C ABI.
 *
 *     esf_foundation *app;
 *     esf_error *err = NULL;
 *     if (esf_foundation_open(ESF_STR("{\"namespace\":\"shop\"}"), &app, &err) != ESF_OK) {
 *         esf_str why;
 *         esf_error_message(err, &why);
 *         fprintf(stderr, "%.*s\n", ESF_FMT(why));
 *         esf_error_free(err);
 *         return 1;
 *     }
 *     esf_counter *orders;
 *     esf_counter_new(app, ESF_STR("orders"), NULL, 0, &orders, NULL);
 *     esf_counter_add(orders, 1);
 *
 *     esf_event event = ESF_EVENT_INIT;
 *     event.type = ESF_STR("order_paid");
 *     event.data = ESF_STR("{\"total\":12}");
 *     esf_event_append(app, &event, NULL, NULL);
 *     esf_foundation_close(app, 5000, NULL);
 *
 * Installing and linking
 * ----------------------
 * `make build` puts this header, libelixirscope_foundation.so.0 and libelixirscope_foundation.a under build/:
 *
 *     cc program.c -Ibuild/include -Lbuild/lib -lelixirscope_foundation         shared
 *     cc program.c -Ibuild/include build/lib/libelixirscope_foundation.a -lpthread -ldl -lm       static
 *
 * The header is for C99, C11, C++11 and later; 64-bit Linux only. The number at the end of the shared
 * library's name is the ABI: ESF_CHECK_VERSION() tells whether the library in use has the one that a program
 * was compiled for. Names that begin with esf__ (two underscores) are none of it. The library stays mapped
 * after dlclose. It starts a thread only for a callback that was asked for, a bound on age or memory, or
 * files, and touches no signal handler, environment variable or logger.
 *
 * Status and errors
 * -----------------
 * Nearly every function answers an esf_status: ESF_OK (0), another outcome below 100 (ESF_DONE, ESF_AGAIN,
 * ESF_TIMED_OUT, ESF_GAP), or the number of an error from 1000 on. Results go through the trailing out_
 * parameters, which are written only when the call succeeds, unless its description says otherwise. A call
 * that fails has changed nothing, unless it says that the disk would not take what is stored in memory.
 * Functions whose last parameter is `esf_error **err` store details of a failure there; NULL says that nobody
 * wants them. Beyond the errors that are listed with a function, each may answer
 *
 *     ESF_E_NULL_ARGUMENT    a pointer that is needed is NULL
 *     ESF_E_STALE_HANDLE     a handle is closed, of another kind, or not of this library
 *     ESF_E_INVALID_INPUT    a pointer is misaligned, a number out of range, a struct's size untrue
 *     ESF_E_DATA_TOO_LARGE   a length is beyond what is looked at (checked before a byte is read)
 *     ESF_E_INVALID_UTF8     what must be text is not
 *     ESF_E_FORKED           the process is a forked child (see "Fork" at the end)
 *     ESF_E_CLOSING          the instance is being closed by another thread
 *     ESF_E_INTERNAL_ERROR   a defect of the library, caught at its boundary; the instance works on
 *
 * Handles
 * -------
 * esf_foundation, esf_cursor, esf_trace, esf_tail, esf_subscription, esf_error, and the small ones that are
 * resolved once and used often: esf_config_key, esf_event_type, esf_counter, esf_gauge, esf_histogram. They
 * look like pointers but are numbers of a table: using a handle after it was closed, closing it twice or
 * passing one of another kind answers ESF_E_STALE_HANDLE and touches no memory. The small ones end with their
 * instance at the latest; cursors, traces, tails, subscriptions and errors outlive it and are always to be
 * freed. Freeing NULL is fine.
 *
 * Threads
 * -------
 * A function may be called from any thread. Functions whose first parameter points to `const` may be called
 * concurrently on the same handle; the others (cursors, traces, taking from a tail, closing, freeing) may
 * not, but calls on different handles always may. Closing an instance waits for the calls that are running on
 * it. A thread that calls needs 64 KiB of stack, 128 KiB for esf_events_export_jsonl.
 *
 * Ownership and lifetimes
 * -----------------------
 * What goes in is read during the call and not kept (a callback's user_data excepted). What comes out is
 * either lent (an esf_str; the function says until when) or the caller's (a handle or an esf_string, with the
 * function that frees it). In and out pointers must not overlap.
 *
 * What the caller promises, since no library can check it: a pointer that is not NULL points to memory of its
 * type, of the length that goes with it, for the duration of the call, and nobody else writes it meanwhile.
 * Call nothing from a signal handler. Do not throw C++ exceptions or longjmp out of a callback.
 *
 * Structs that may grow start with `uint32_t size`: start from their _INIT, which sets it. A struct of an
 * older header works with a newer library and the other way round, as long as no field is set that the
 * library does not know.
 */
#ifndef ELIXIRSCOPE_FOUNDATION_H
#define ELIXIRSCOPE_FOUNDATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ESF_VERSION_MAJOR 0
#define ESF_VERSION_MINOR 1
#define ESF_VERSION_PATCH 0
#define ESF_VERSION "0.1.0"
#define ESF_ABI_VERSION 0u

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Status: what nearly every function answers.
 * ===========================================
 *
 * 0 is success; 1 to 99 are outcomes that are no errors; from 1000 on it is the number of an error,
 * the same in every language (docs/errors.md), never renumbered and never reused. A program should treat
 * a number it does not know as an error: compare with >= 1000.
 */

/** The outcome of a call: ESF_OK, another outcome below 100, or the number of an error from 1000 on. */
typedef int32_t esf_status;

/** The call did what it says. */
#define ESF_OK 0

/** There is nothing more: a cursor is at its end, or a subscription is over and empty. */
#define ESF_DONE 1

/** Nothing is there yet, or the buffer was too small: call again, later or with a larger buffer. */
#define ESF_AGAIN 2

/** Nothing came within the given time. */
#define ESF_TIMED_OUT 3

/** Events are missing here, and the call says which. */
#define ESF_GAP 4

/*
 * Text and bytes: lent, owned, or written into a buffer.
 * ======================================================
 *
 * An esf_str is lent: a pointer and a length, without a terminating NUL. As an argument it is read
 * during the call only; as a result it lives as long as the function says. (NULL, 0) is empty, both ways.
 * It is the one struct that is passed by value.
 *
 * An esf_string is owned by whoever got it, until esf_string_free. Its text is followed by a NUL, so
 * that printf("%s", text.ptr) works.
 *
 * Every function that answers text has a second form, named ..._into, that fills a buffer of the caller.
 * It writes the text and a NUL and sets *out_needed to the bytes that takes. If the buffer is smaller
 * than that it writes nothing into it and answers ESF_AGAIN; with (NULL, 0) it only tells the size.
 */

/** Text that the caller owns; free it with esf_string_free. */
typedef struct esf_string {
    /** The first byte; the text is followed by a NUL. */
    const char *ptr;
    /** How many bytes the text has, without the NUL. */
    size_t len;
    /** Whom it belongs to: leave it alone. */
    uint64_t owner;
} esf_string;

/** Bytes that are lent: UTF-8 where a function speaks of text. */
typedef struct esf_str {
    /** The first byte; may be NULL if len is 0. */
    const char *ptr;
    /** How many bytes there are. */
    size_t len;
} esf_str;

/**
 * Frees a text and sets it to the empty one.
 *
 * NULL and an empty text are fine. A text that was freed already is an error and nothing else happens.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before (through a copy of the struct), ESF_E_FORKED in a
 * forked child.
 * Threads: any; not concurrently on the same text.
 * Ownership: ends here; pointers into the text are no longer valid.
 */
esf_status esf_string_free(esf_string *text);

/*
 * Errors: the details behind a status.
 * ====================================
 *
 * A call that fails stores an esf_error in its last argument, err, unless that is NULL; a call that
 * succeeds leaves it alone. An error is independent of the instance that it came from and lives until
 * esf_error_free. In JSON it has the keys code, hierarchical_code, error_type, category,
 * subcategory, severity, message, context, correlation_id, timestamp_ns, retry_strategy and
 * recovery_actions; context names what was wrong: argument, path, value, limit, violations.
 */

/** Configuration structure is invalid. */
#define ESF_E_INVALID_CONFIG_STRUCTURE 1101
/** Required configuration field missing. */
#define ESF_E_MISSING_REQUIRED_FIELD 1102
/** Configuration value failed validation. */
#define ESF_E_INVALID_CONFIG_VALUE 1201
/** Configuration constraint violated. */
#define ESF_E_CONSTRAINT_VIOLATION 1202
/** Value outside acceptable range. */
#define ESF_E_RANGE_ERROR 1203
/** Configuration not found. */
#define ESF_E_CONFIG_NOT_FOUND 1301
/** No configuration value has this path. */
#define ESF_E_CONFIG_PATH_NOT_FOUND 1302
/** The configuration path is malformed. */
#define ESF_E_INVALID_PATH 1303
/** Configuration update not allowed. */
#define ESF_E_CONFIG_UPDATE_FORBIDDEN 1401
/** The configuration has another version than expected. */
#define ESF_E_VERSION_CONFLICT 1402
/** The schema has no such key. */
#define ESF_E_UNKNOWN_CONFIG_KEY 1501
/** System initialization failed. */
#define ESF_E_INITIALIZATION_FAILED 2101
/** Required service unavailable. */
#define ESF_E_SERVICE_UNAVAILABLE 2102
/** An instance of this name is open already. */
#define ESF_E_ALREADY_OPEN 2103
/** System resources exhausted. */
#define ESF_E_RESOURCE_EXHAUSTED 2201
/** The disk is full. */
#define ESF_E_NO_SPACE 2202
/** The event store is full. */
#define ESF_E_STORE_FULL 2203
/** Memory could not be allocated. */
#define ESF_E_NO_MEMORY 2204
/** The instance holds as many telemetry series as it may. */
#define ESF_E_TOO_MANY_SERIES 2205
/** The cursor lost the segments that it read from. */
#define ESF_E_CURSOR_EXPIRED 2206
/** Required dependency failed. */
#define ESF_E_DEPENDENCY_FAILED 2301
/** Internal system error. */
#define ESF_E_INTERNAL_ERROR 2401
/** The handle is closed, of another kind or not of this library. */
#define ESF_E_STALE_HANDLE 2402
/** The process was forked: this copy may not use the instance. */
#define ESF_E_FORKED 2403
/** This call is not allowed from inside a callback. */
#define ESF_E_REENTRANT 2404
/** The instance is being closed. */
#define ESF_E_CLOSING 2405
/** Another process holds the lock. */
#define ESF_E_LOCKED 2406
/** The operation is not allowed here. */
#define ESF_E_OPERATION_FORBIDDEN 2407
/** No service is registered under this name. */
#define ESF_E_SERVICE_NOT_FOUND 2408
/** Data serialization failed. */
#define ESF_E_SERIALIZATION_FAILED 3101
/** Data deserialization failed. */
#define ESF_E_DESERIALIZATION_FAILED 3102
/** Data type mismatch. */
#define ESF_E_TYPE_MISMATCH 3201
/** Data format error. */
#define ESF_E_FORMAT_ERROR 3202
/** Data validation failed. */
#define ESF_E_VALIDATION_FAILED 3203
/** Invalid input provided. */
#define ESF_E_INVALID_INPUT 3204
/** Data is larger than allowed. */
#define ESF_E_DATA_TOO_LARGE 3205
/** Text is not valid UTF-8. */
#define ESF_E_INVALID_UTF8 3206
/** Data is nested more deeply than allowed. */
#define ESF_E_TOO_DEEP 3207
/** An argument that must point to something is NULL. */
#define ESF_E_NULL_ARGUMENT 3208
/** The event type is empty, too long or not allowed. */
#define ESF_E_INVALID_EVENT_TYPE 3209
/** Data corruption detected. */
#define ESF_E_DATA_CORRUPTION 3301
/** Requested data not found. */
#define ESF_E_DATA_NOT_FOUND 3401
/** An event with this id is stored already. */
#define ESF_E_DUPLICATE_EVENT_ID 3402
/** Reading or writing a file failed. */
#define ESF_E_IO_ERROR 3501
/** The file is of a format this version cannot read. */
#define ESF_E_INCOMPATIBLE_FORMAT 3502
/** Network communication error. */
#define ESF_E_NETWORK_ERROR 4101
/** External service error. */
#define ESF_E_EXTERNAL_SERVICE_ERROR 4201
/** Operation timeout. */
#define ESF_E_TIMEOUT 4301
/** Authentication failed. */
#define ESF_E_AUTHENTICATION_FAILED 4401
/** The caller's role does not allow this. */
#define ESF_E_UNAUTHORIZED 4402
/** The caller may not read or change this path. */
#define ESF_E_INSUFFICIENT_PRIVILEGES 4403
/** The circuit breaker is open. */
#define ESF_E_CIRCUIT_OPEN 4501
/** The rate limit is reached. */
#define ESF_E_RATE_LIMITED 4502
/** Unknown error. */
#define ESF_E_EXTERNAL_ERROR 9999


/** One failure, with all that is known about it. */
typedef struct esf_error esf_error;

/**
 * The name of a status, such as range_error for 1203.
 *
 * Answers ok, done, again, timed_out, the name of the error, or unknown. The text is static.
 *
 * Errors: none.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_str esf_status_name(esf_status status);

/**
 * The name of a status, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_status_name_into(esf_status status, char *buffer, size_t capacity, size_t *out_needed);

/**
 * The error's number: what the failed call answered.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_error_code(const esf_error *error, esf_status *out_code);

/**
 * The error's name, such as range_error: the same word in every language.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
 * Threads: any, concurrently.
 * Ownership: the text is static; nothing to free.
 */
esf_status esf_error_type(const esf_error *error, esf_str *out_type);

/**
 * The error's name, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_error_type_into(const esf_error *error,
                               char *buffer,
                               size_t capacity,
                               size_t *out_needed);

/**
 * The error's hierarchical code, such as C203: category and the last three digits of its number.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
 * Threads: any, concurrently.
 * Ownership: the text is the error's; it lives until esf_error_free.
 */
esf_status esf_error_hierarchical(const esf_error *error, esf_str *out_hierarchical);

/**
 * The error's hierarchical code, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_error_hierarchical_into(const esf_error *error,
                                       char *buffer,
                                       size_t capacity,
                                       size_t *out_needed);

/**
 * What was wrong, with which value, and what to do: a message for a person.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE.
 * Threads: any, concurrently.
 * Ownership: the text is the error's; it lives until esf_error_free.
 */
esf_status esf_error_message(const esf_error *error, esf_str *out_message);

/**
 * The error's message, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_error_message_into(const esf_error *error,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *out_needed);

/**
 * The whole error as JSON; this section's introduction lists the keys.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE, ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_error_json(const esf_error *error, esf_string *out_json);

/**
 * The whole error as JSON, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT, ESF_E_STALE_HANDLE; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_error_json_into(const esf_error *error,
                               char *buffer,
                               size_t capacity,
                               size_t *out_needed);

/**
 * Frees an error. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is reading it: it is not
 * freed then. ESF_E_FORKED in a forked child, whose memory ends with it anyway.
 * Threads: any; not while a call on the same error runs.
 * Ownership: ends here; text that was lent from it is no longer valid.
 */
esf_status esf_error_free(esf_error *error);

/*
 * Version of the library in use, as opposed to the header's constants ESF_VERSION and ESF_ABI_VERSION.
 * ====================================================================================================
 */

/**
 * The ABI of the library in use; compare with ESF_ABI_VERSION, or use ESF_CHECK_VERSION().
 *
 * Errors: none.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
uint32_t esf_abi_version(void);

/**
 * The version of the library in use, such as 0.1.0.
 *
 * Errors: none.
 * Threads: any, concurrently.
 * Ownership: the text is static; nothing to free.
 */
esf_str esf_version(void);

/**
 * The version of the library in use, into a buffer.
 *
 * Errors: ESF_E_NULL_ARGUMENT; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_version_into(char *buffer, size_t capacity, size_t *out_needed);

/*
 * Instances: open, ask how they are, close.
 * =========================================
 *
 * An instance holds a configuration, an event store and telemetry, isolated from every other instance in
 * the process; a process may hold many. Its options are a JSON document; "" or {} means the defaults.
 * An option that does not exist, or whose value is wrong, is an error that names it by its path.
 *
 *     {
 *       "namespace": "shop",
 *       "config": {"ai": {"planning": {"sampling_rate": 0.5}}},
 *       "event_store": {"max_events": 2000000, "overflow_strategy": "drop_oldest", "on_duplicate": "error",
 *                       "block_timeout_ms": 100, "max_memory_mb": 512, "max_age_seconds": 3600,
 *                       "prune_interval_ms": 60000, "cleanup_strategy": "oldest", "shards": 2,
 *                       "max_data_bytes": 1000000,
 *                       "data_dir": "/var/lib/shop", "durability": "group", "sync_interval_ms": 200,
 *                       "sync_kb": 8192, "max_disk_mb": 4096, "compression": "zstd", "read_only": false},
 *       "telemetry": {"max_series": 100000, "max_series_per_metric": 20000}
 *     }
 *
 * What the store keeps in files is said by
 *
 *     data_dir          the directory of the files; none: events are in memory only, and no file is touched
 *     durability        what an append waits for: "volatile", "crash_safe", "interval", "group" (the default) or
 *                       "strict"; see the section "Durability"
 *     sync_interval_ms  how old unsynced events become: with "interval" all, else those that nobody waits for
 *     sync_kb           with "interval", how many KiB are unsynced at most
 *     max_disk_mb       how many MiB sealed segments take; the oldest events make room. None is no bound
 *     compression       of sealed segments: "zstd" (the default), "gzip" or "none"
 *     read_only         reads what is there, beside the process that writes
 */

/** An open instance. */
typedef struct esf_foundation esf_foundation;

/** What is told how far opening has come: done of total bytes of logs are read. */
typedef void (*esf_progress_fn)(void *user_data, uint64_t done, uint64_t total);

/**
 * Opens an instance.
 *
 * options is JSON, as this section's introduction shows. Without data_dir no file is touched, and no thread is
 * started unless max_memory_mb or max_age_seconds asks for a clean-up at intervals. With it the directory is
 * made if need be, what is in it is read (after a crash that takes about a second for each ten million events
 * that were not sealed), and two threads are started that sync and seal, unless read_only.
 *
 * Errors: ESF_E_FORMAT_ERROR if the options are no JSON; ESF_E_INVALID_INPUT naming an option that does not
 * exist or is wrong; the errors of a configuration value (all violations are in the error's JSON);
 * ESF_E_SERVICE_UNAVAILABLE while another thread makes ready for a fork: try again. With data_dir also
 * ESF_E_LOCKED, whose JSON names the holder; ESF_E_OPERATION_FORBIDDEN for a directory with other files in it;
 * ESF_E_INCOMPATIBLE_FORMAT, ESF_E_DATA_CORRUPTION, ESF_E_IO_ERROR, ESF_E_NO_SPACE.
 * Threads: any, concurrently.
 * Ownership: the instance is the caller's; close it with esf_foundation_close.
 */
esf_status esf_foundation_open(esf_str options,
                               esf_foundation **out_foundation,
                               esf_error **err);

/**
 * Opens an instance as esf_foundation_open does, and tells how far it has come.
 *
 * callback is run on this thread while the files are read: before each log, and with done equal to total at
 * the end. After a clean close both are 0; for an instance without files it is not called. It may call anything
 * but esf_foundation_close and esf_before_fork.
 *
 * Errors: as esf_foundation_open; ESF_E_NULL_ARGUMENT without a callback.
 * Threads: any, concurrently.
 * Ownership: the instance is the caller's; close it with esf_foundation_close.
 */
esf_status esf_foundation_open_with_progress(esf_str options,
                                             esf_progress_fn callback,
                                             void *user_data,
                                             esf_foundation **out_foundation,
                                             esf_error **err);

/**
 * Closes an instance: waits for the calls that are running on it, then lets its threads finish, for at most
 * deadline_ms milliseconds altogether. Files are synced and sealed, so that nothing is left to recover.
 *
 * Events that asynchronous appends took are stored first; those that are not by the deadline are lost, and the
 * error says how many.
 *
 * From the start on, other calls answer ESF_E_CLOSING. Afterwards the instance's handle and its config keys,
 * event types and instruments are stale; cursors show the rest of what they found, and subscriptions what is
 * queued, until they are freed. NULL is fine.
 *
 * Errors: ESF_E_TIMEOUT if calls were still running at the deadline: the instance stays open;
 * ESF_E_REENTRANT from inside a callback; ESF_E_INVALID_INPUT for a negative deadline. ESF_TIMED_OUT if the
 * instance is closed but threads of it were still finishing at the deadline, or events were lost; err then says
 * which and how many, and what could not be written to the files (the logs have it, unless the disk would not take
 * it: then it says so).
 * Threads: any; a second close of the same instance answers ESF_E_CLOSING or ESF_E_STALE_HANDLE.
 * Ownership: ends here.
 */
esf_status esf_foundation_close(esf_foundation *foundation,
                                int64_t deadline_ms,
                                esf_error **err);

/**
 * How the instance is doing, as JSON: status, namespace, version, uptime_ms, config, events,
 * telemetry and workers; with files also disk: their numbers, gaps (events that are known to be missing, by
 * ranges of seq, with the reason), the last_failure of the disk, and recovery, what opening found.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_foundation_status_json(const esf_foundation *foundation,
                                      esf_string *out_json,
                                      esf_error **err);

/**
 * How the instance is doing, as JSON, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_foundation_status_json_into(const esf_foundation *foundation,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *out_needed,
                                           esf_error **err);

/*
 * Configuration: a tree of typed values, read without waiting, changed all at once or not at all.
 * ===============================================================================================
 *
 * A path names a key or a part of the tree, with dots: "ai.planning.sampling_rate"; "" is the whole tree.
 * docs/configuration.md lists every key with its type, default and allowed values. Values travel as JSON.
 *
 * What is read often is resolved once, to an esf_config_key: reading through it takes a few nanoseconds,
 * waits for nobody and never fails for another reason than its handle or type.
 */

/** A configuration key, resolved once and read often. */
typedef struct esf_config_key esf_config_key;

/**
 * The value at a path, a part of the tree or all of it, as JSON.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_config_get_json(const esf_foundation *foundation,
                               esf_str path,
                               esf_string *out_json,
                               esf_error **err);

/**
 * The value at a path, a part of the tree or all of it, as JSON, into a buffer.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_json_into(const esf_foundation *foundation,
                                    esf_str path,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *out_needed,
                                    esf_error **err);

/**
 * The boolean at a path.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_bool_at(const esf_foundation *foundation,
                                  esf_str path,
                                  bool *out_value,
                                  esf_error **err);

/**
 * The integer at a path.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_i64_at(const esf_foundation *foundation,
                                 esf_str path,
                                 int64_t *out_value,
                                 esf_error **err);

/**
 * The number at a path.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_f64_at(const esf_foundation *foundation,
                                 esf_str path,
                                 double *out_value,
                                 esf_error **err);

/**
 * The text at a path: of a string or of an enumeration.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_config_get_text_at(const esf_foundation *foundation,
                                  esf_str path,
                                  esf_string *out_text,
                                  esf_error **err);

/**
 * The text at a path, into a buffer.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found;
 * ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_text_at_into(const esf_foundation *foundation,
                                       esf_str path,
                                       char *buffer,
                                       size_t capacity,
                                       size_t *out_needed,
                                       esf_error **err);

/**
 * Resolves a key for reading it often.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH if the key is text of any
 * form or a part of the tree; ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: the key is the caller's; free it with esf_config_key_free. It ends with its instance.
 */
esf_status esf_config_key_resolve(const esf_foundation *foundation,
                                  esf_str path,
                                  esf_config_key **out_key,
                                  esf_error **err);

/**
 * Frees a key. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
 * Threads: any.
 * Ownership: ends here.
 */
esf_status esf_config_key_free(esf_config_key *key);

/**
 * The current value of a boolean key.
 *
 * Errors: ESF_E_TYPE_MISMATCH.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_bool(const esf_config_key *key, bool *out_value);

/**
 * The current value of an integer key.
 *
 * Errors: ESF_E_TYPE_MISMATCH.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_i64(const esf_config_key *key, int64_t *out_value);

/**
 * The current value of a numeric key.
 *
 * Errors: ESF_E_TYPE_MISMATCH.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_f64(const esf_config_key *key, double *out_value);

/**
 * The current value of an enumeration key, as its word.
 *
 * Errors: ESF_E_TYPE_MISMATCH.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: the text is static; nothing to free.
 */
esf_status esf_config_get_enum(const esf_config_key *key, esf_str *out_value);

/**
 * The current value of an enumeration key, as its word, into a buffer.
 *
 * Errors: ESF_E_TYPE_MISMATCH; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently; waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_config_get_enum_into(const esf_config_key *key,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *out_needed);

/**
 * Sets one updatable key to a JSON value.
 *
 * When the call returns, the change is stored as a config_updated event, counted, published to all
 * readers and on its way to subscribers; or, after an error, nothing has changed. out_version may be
 * NULL. An instance with files answers when the change and its event, which are one record, have
 * ESF_LEVEL_DURABLE, whatever its mode; the next instance that opens them has the value again.
 *
 * Errors: ESF_E_CONFIG_UPDATE_FORBIDDEN, ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH,
 * ESF_E_FORMAT_ERROR if the value is no JSON, ESF_E_TYPE_MISMATCH, ESF_E_RANGE_ERROR and the other errors
 * of a value; ESF_E_SERVICE_UNAVAILABLE if the event could not be stored. ESF_E_IO_ERROR and ESF_E_NO_SPACE with
 * context.applied in their JSON say that the change is in force and not on the disk yet.
 * Threads: any, concurrently; updates follow one another.
 * Ownership: nothing to free.
 */
esf_status esf_config_update(const esf_foundation *foundation,
                             esf_str path,
                             esf_str value_json,
                             uint64_t *out_version,
                             esf_error **err);

/**
 * Says whether esf_config_update would accept this value for this path, and changes nothing.
 *
 * Errors: those of esf_config_update.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_check_update(const esf_foundation *foundation,
                                   esf_str path,
                                   esf_str value_json,
                                   esf_error **err);

/**
 * Validates a whole tree, in which no key may be missing, and changes nothing. All violations are in the
 * error's JSON, in context.
 *
 * Errors: ESF_E_FORMAT_ERROR if the tree is no JSON; the error of the first violation.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_validate(const esf_foundation *foundation, esf_str tree_json, esf_error **err);

/**
 * Sets every key back to its default. Subscribers see one change, of the path that they subscribed to, with
 * all values below it before and after. out_version may be NULL.
 *
 * Errors: ESF_E_SERVICE_UNAVAILABLE if the event could not be stored.
 * Threads: any, concurrently; follows the updates that are under way.
 * Ownership: nothing to free.
 */
esf_status esf_config_reset(const esf_foundation *foundation, uint64_t *out_version, esf_error **err);

/**
 * The version in force: 1 when the instance is opened, one more with every change.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_version(const esf_foundation *foundation, uint64_t *out_version, esf_error **err);

/**
 * The paths that esf_config_update accepts, as a JSON list. It is the same for every instance.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_config_updatable_paths_json(esf_string *out_json, esf_error **err);

/**
 * The paths that esf_config_update accepts, as a JSON list, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_config_updatable_paths_json_into(char *buffer,
                                                size_t capacity,
                                                size_t *out_needed,
                                                esf_error **err);

/*
 * Watching the configuration: subscriptions to the changes below a path.
 * ======================================================================
 *
 * Delivery never holds up whoever changes something: a subscription is a bounded queue in which a later
 * change of the same path replaces the earlier one while that is unread (counted as coalesced), and which
 * drops its oldest change when it is full (counted as dropped).
 *
 * There are two forms. A queue to poll: esf_config_next_change takes from it, and
 * esf_subscription_descriptor gives a file descriptor that poll or epoll shows as readable while there is
 * something to take. Or a callback, run on a thread of the library's, one call at a time, with no lock
 * held: it may call anything but esf_foundation_close.
 */

/** A subscription to changes of the configuration. */
typedef struct esf_subscription esf_subscription;

/** What happened to a value: one of the ESF_CHANGE_ constants. */
typedef uint32_t esf_change_kind;

/** A change of one value; start from ESF_CHANGE_INIT. */
typedef struct esf_config_change {
    /** sizeof(esf_config_change). */
    uint32_t size;
    /** What happened. */
    esf_change_kind kind;
    /** The version of the configuration since then. */
    uint64_t version;
    /** When: nanoseconds since the Unix epoch. */
    int64_t timestamp;
    /** Whose value it is. */
    esf_str path;
    /** The value before, as JSON. */
    esf_str old_json;
    /** The value since then, as JSON. */
    esf_str new_json;
} esf_config_change;

/** What is called with each change; the change and its texts live until it returns. */
typedef void (*esf_config_change_fn)(void *user_data, const esf_config_change *change);

/** What is called once when user_data is no longer needed. */
typedef void (*esf_drop_fn)(void *user_data);

/** The value was set by an update. */
#define ESF_CHANGE_UPDATED 1u

/** All values were set back to their defaults; the path is the subscription's, the values are all below it. */
#define ESF_CHANGE_RESET 2u

/**
 * Subscribes to the changes of all values at and below a path ("" for all), as a queue to poll.
 *
 * capacity is how many unread changes are kept, 1 to 65536.
 *
 * Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_INVALID_INPUT for the capacity;
 * ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: the subscription is the caller's; end it with esf_subscription_cancel. When its instance is
 * closed, what is queued can still be taken.
 */
esf_status esf_config_subscribe(const esf_foundation *foundation,
                                esf_str path,
                                uint32_t capacity,
                                esf_subscription **out_subscription,
                                esf_error **err);

/**
 * Subscribes to the changes of all values at and below a path ("" for all), with a callback.
 *
 * callback is run on the thread esf-config-notify of the library's. After the subscription was
 * cancelled (except from inside the callback itself) it is not running and will not run again. drop, which
 * may be NULL, is then called once with user_data; if this call fails it is not called.
 *
 * Errors: as esf_config_subscribe; ESF_E_NULL_ARGUMENT without a callback.
 * Threads: any, concurrently. user_data must be fit for use on another thread.
 * Ownership: the subscription is the caller's; end it with esf_subscription_cancel.
 */
esf_status esf_config_subscribe_callback(const esf_foundation *foundation,
                                         esf_str path,
                                         uint32_t capacity,
                                         esf_config_change_fn callback,
                                         void *user_data,
                                         esf_drop_fn drop,
                                         esf_subscription **out_subscription,
                                         esf_error **err);

/**
 * A file descriptor that is readable while the subscription has something to take or is over.
 *
 * Use it with poll, select or epoll only; do not read or close it.
 *
 * Errors: ESF_E_RESOURCE_EXHAUSTED if the process has too many files open.
 * Threads: any, concurrently.
 * Ownership: the subscription's; it ends with esf_subscription_cancel.
 */
esf_status esf_subscription_descriptor(const esf_subscription *subscription,
                                       int32_t *out_descriptor,
                                       esf_error **err);

/**
 * Takes the oldest change that is queued, waiting for one for at most timeout_ms milliseconds.
 *
 * The texts of out_change point into out_owner.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if there is none and timeout_ms is 0,
 * ESF_TIMED_OUT if none came in time, ESF_DONE if the subscription is over and empty.
 * Threads: any, concurrently; each change is taken once.
 * Ownership: out_owner is the caller's; free it with esf_string_free when done with the change.
 */
esf_status esf_config_next_change(const esf_subscription *subscription,
                                  int64_t timeout_ms,
                                  esf_config_change *out_change,
                                  esf_string *out_owner,
                                  esf_error **err);

/**
 * What the subscription has queued, coalesced and dropped, as JSON.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_subscription_stats_json(const esf_subscription *subscription,
                                       esf_string *out_json,
                                       esf_error **err);

/**
 * What the subscription has queued, coalesced and dropped, as JSON, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_subscription_stats_json_into(const esf_subscription *subscription,
                                            char *buffer,
                                            size_t capacity,
                                            size_t *out_needed,
                                            esf_error **err);

/**
 * Ends a subscription and frees it. NULL is fine.
 *
 * Whoever waits in esf_config_next_change gets ESF_DONE. A callback that is running has returned when this
 * call returns, unless this call was made from inside it.
 *
 * Errors: ESF_E_STALE_HANDLE if it was cancelled before, or meanwhile by another thread; ESF_E_TIMEOUT if a
 * call on it was still running after 5 seconds: the subscription is over but its handle is not freed yet.
 * Threads: any, also from inside its own callback. It waits as long as a running callback takes, so two
 * callbacks of two instances must not cancel one another.
 * Ownership: ends here.
 */
esf_status esf_subscription_cancel(esf_subscription *subscription, esf_error **err);

/*
 * Events: appending them, and getting one back by its id.
 * =======================================================
 *
 * An event has a type, data (JSON by default), and optionally a correlation id that ties it to others, the
 * id of the event that caused it, a node and a pid that produced it. The store adds seq, the event's
 * position (dense and increasing), and the version of the configuration that was in force. Types, nodes,
 * pids and correlation ids have at most 255 bytes; data at most the instance's max_data_bytes.
 */

/** A time that means the moment of the call. */
#define ESF_NOW INT64_MIN

/** In flags of a view: the data was cut to the size that the store allows. */
#define ESF_EVENT_TRUNCATED 1u

/** An event type, resolved once for appending many events of it. */
typedef struct esf_event_type esf_event_type;

/** How the data of an event is encoded: one of the ESF_ENCODING_ constants. */
typedef uint32_t esf_encoding;

/** An event to be stored; start from ESF_EVENT_INIT. */
typedef struct esf_event {
    /** sizeof(esf_event). */
    uint32_t size;
    /** How data is encoded. */
    esf_encoding encoding;
    /** The identity, 1 to 2^59 - 1; 0 lets the store choose. */
    uint64_t event_id;
    /** The event that caused this one; 0 for none. */
    uint64_t parent_id;
    /** When: nanoseconds since the Unix epoch on the instance's clock, or ESF_NOW. */
    int64_t timestamp;
    /** When, by the wall clock: nanoseconds since the Unix epoch, or ESF_NOW. */
    int64_t wall_time;
    /** The type, resolved; NULL to name it in type. */
    const esf_event_type *type_handle;
    /** The type by name, if type_handle is NULL. */
    esf_str type;
    /** The node that produced it; may be empty. */
    esf_str node;
    /** The process or thread that produced it; may be empty. */
    esf_str pid;
    /** What ties it to other events, any bytes; may be empty. */
    esf_str correlation_id;
    /** The data. */
    esf_str data;
} esf_event;

/** How safe an event is: one of the ESF_LEVEL_ constants. */
typedef uint32_t esf_level;

/** What an append answers; start from ESF_RECEIPT_INIT. */
typedef struct esf_receipt {
    /** sizeof(esf_receipt). */
    uint32_t size;
    /** How safe the event is. */
    esf_level level;
    /** The event's identity. */
    uint64_t event_id;
    /** The event's position in the store. */
    uint64_t seq;
} esf_receipt;

/** A stored event; start from ESF_VIEW_INIT. */
typedef struct esf_event_view {
    /** sizeof(esf_event_view). */
    uint32_t size;
    /** How data is encoded. */
    esf_encoding encoding;
    /** ESF_EVENT_TRUNCATED, or 0. */
    uint32_t flags;
    /** Nothing yet: 0. */
    uint32_t reserved;
    /** The position in the store. */
    uint64_t seq;
    /** The identity. */
    uint64_t event_id;
    /** The event that caused this one; 0 for none. */
    uint64_t parent_id;
    /** The version of the configuration that was in force. */
    uint64_t config_version;
    /** When: nanoseconds since the Unix epoch on the instance's clock. */
    int64_t timestamp;
    /** When, by the wall clock: nanoseconds since the Unix epoch. */
    int64_t wall_time;
    /** The type. */
    esf_str type;
    /** The node that produced it. */
    esf_str node;
    /** The process or thread that produced it. */
    esf_str pid;
    /** What ties it to other events. */
    esf_str correlation_id;
    /** The data. */
    esf_str data;
} esf_event_view;

/** JSON text in UTF-8; no data means null. */
#define ESF_ENCODING_JSON 1u

/** The Erlang external term format, uncompressed. */
#define ESF_ENCODING_ETF 2u

/** Bytes that the store does not look into. */
#define ESF_ENCODING_RAW 3u

/** The store was full and its strategy is drop_newest: the event is not there, and its seq is 0. */
#define ESF_LEVEL_DROPPED 0u

/** The event is in memory: every query that starts from now on finds it. */
#define ESF_LEVEL_ACCEPTED 1u

/** The event is with the operating system: it outlives the process, however that ends. */
#define ESF_LEVEL_CRASH_SAFE 2u

/** The event is on the disk: it outlives a loss of power. */
#define ESF_LEVEL_DURABLE 3u

/**
 * Resolves an event type for appending many events of it.
 *
 * Errors: ESF_E_INVALID_EVENT_TYPE; ESF_E_RESOURCE_EXHAUSTED past 65,536 different names.
 * Threads: any, concurrently.
 * Ownership: the handle is the caller's; free it with esf_event_type_free. It ends with its instance, and
 * works with that instance only.
 */
esf_status esf_event_type_resolve(const esf_foundation *foundation,
                                  esf_str name,
                                  esf_event_type **out_type,
                                  esf_error **err);

/**
 * Frees an event type's handle; the type stays. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
 * Threads: any.
 * Ownership: ends here.
 */
esf_status esf_event_type_free(esf_event_type *type);

/**
 * Appends an event. When the call returns, every query that starts from now on finds it, and it has the level of
 * the instance's mode (see "Durability").
 *
 * out_receipt may be NULL. When the store is full the instance's overflow_strategy decides: the oldest
 * events make room, or this one is dropped and its receipt says ESF_LEVEL_DROPPED, or the call fails, or it
 * waits for room up to block_timeout_ms. With on_duplicate at return, an event that is stored already is
 * answered like the first time.
 *
 * Errors: ESF_E_INVALID_EVENT_TYPE, ESF_E_DATA_TOO_LARGE, ESF_E_INVALID_UTF8 and ESF_E_INVALID_INPUT, each
 * naming the field; ESF_E_DUPLICATE_EVENT_ID; ESF_E_STORE_FULL; ESF_E_RESOURCE_EXHAUSTED. With files also
 * ESF_E_IO_ERROR and ESF_E_NO_SPACE, after which the event is stored and not as safe as the mode says;
 * ESF_E_OPERATION_FORBIDDEN if they are read only; ESF_E_FORKED in the child of a fork, whose parent's they are.
 * Threads: any, concurrently; with files in the modes group and strict it waits for the disk.
 * Ownership: the event is copied.
 */
esf_status esf_event_append(const esf_foundation *foundation,
                            const esf_event *event,
                            esf_receipt *out_receipt,
                            esf_error **err);

/**
 * Appends several events, all or none, with consecutive positions.
 *
 * All events of the array must state the same size. out_receipts is NULL or an array of count receipts.
 *
 * Errors: as esf_event_append; the error's JSON names the event by index.
 * Threads: any, concurrently.
 * Ownership: the events are copied.
 */
esf_status esf_event_append_batch(const esf_foundation *foundation,
                                  const esf_event *events,
                                  size_t count,
                                  esf_receipt *out_receipts,
                                  esf_error **err);

/**
 * Has an event appended a moment later, by a thread of the instance: for callers who prefer not to wait.
 *
 * What is wrong with the event is said now; that it could not be stored after all, because its id was stored
 * already or the store was full, is counted in the instance's status, under events.later. Times that it leaves
 * to the instance are those of this call. Events are stored in the order of the calls of a thread, which waits for
 * no disk: how safe they are then, esf_events_watermark and esf_events_wait_durable tell. The instance's thread is
 * started with the first such call. out_event_id may be NULL.
 *
 * Errors: as esf_event_append for what is wrong with the event; ESF_E_STORE_FULL if as many events wait as
 * async_queue_events and async_queue_bytes allow.
 * Threads: any, concurrently.
 * Ownership: the event is copied.
 */
esf_status esf_event_append_async(const esf_foundation *foundation,
                                  const esf_event *event,
                                  uint64_t *out_event_id,
                                  esf_error **err);

/**
 * Waits until every event that esf_event_append_async took before this call is stored, or counted as not stored.
 *
 * Errors: ESF_TIMED_OUT if that takes longer than timeout_ms; ESF_E_INVALID_INPUT for a negative one.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_event_flush_async(const esf_foundation *foundation,
                                 int64_t timeout_ms,
                                 esf_error **err);

/**
 * An id that no event of this instance has and that the store will not give out again.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_event_generate_id(const esf_foundation *foundation, uint64_t *out_event_id, esf_error **err);

/**
 * The event of this id. The texts and bytes of out_view point into out_owner.
 *
 * Errors: ESF_E_DATA_NOT_FOUND; ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: out_owner is the caller's; free it with esf_string_free when done with the view.
 */
esf_status esf_event_get(const esf_foundation *foundation,
                         uint64_t event_id,
                         esf_event_view *out_view,
                         esf_string *out_owner,
                         esf_error **err);

/**
 * The event of this id. The texts and bytes of out_view point into the buffer.
 *
 * If the buffer is too small the view is not written.
 *
 * Errors: ESF_E_DATA_NOT_FOUND; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: the view lives as long as the buffer; nothing to free.
 */
esf_status esf_event_get_into(const esf_foundation *foundation,
                              uint64_t event_id,
                              esf_event_view *out_view,
                              char *buffer,
                              size_t capacity,
                              size_t *out_needed,
                              esf_error **err);

/*
 * Durability: what an instance with files promises about an event, and how to ask for more or less of it.
 * =======================================================================================================
 *
 * An instance that is opened with event_store.data_dir keeps its events, and the changes of its configuration,
 * in the files of that directory; the next one that opens the directory has them again. One process at a time
 * writes there: another is answered ESF_E_LOCKED, and the error's JSON names the holder. With read_only any
 * number of processes read beside the one that writes, each what was there when it opened.
 *
 * An event has a level, and each includes those before it:
 *
 *     ESF_LEVEL_ACCEPTED     in memory: every query finds it, and it ends with the process
 *     ESF_LEVEL_CRASH_SAFE   with the operating system: it outlives the process, however that ends (SIGKILL, too)
 *     ESF_LEVEL_DURABLE      on the disk: it outlives a loss of power
 *
 * event_store.durability is the level at which esf_event_append answers, and how it gets there:
 *
 *     "volatile"     no file at all: ESF_LEVEL_ACCEPTED
 *     "crash_safe"   a copy to a mapped file, at the speed of memory: ESF_LEVEL_CRASH_SAFE. The disk has the
 *                    events when a segment is full, at closing, and when esf_events_wait_durable asks for it
 *     "interval"     the same, and no event stays unsynced for longer than sync_interval_ms, nor more than sync_kb
 *                    of them: ESF_LEVEL_CRASH_SAFE
 *     "group"        it waits for the disk; one sync serves all threads that wait: ESF_LEVEL_DURABLE. The default
 *     "strict"       it waits for a sync of its own: ESF_LEVEL_DURABLE
 *
 * What an append has answered as durable is there after any crash; a batch is there whole or not at all; events
 * come back in the order of their seq, and what is missing is named by ranges of seq in the status. When the
 * disk fails the append says so (ESF_E_IO_ERROR, ESF_E_NO_SPACE): its event is stored all the same, in memory,
 * context.event_id and context.seq of the error name it, and the library goes on trying until the disk takes
 * it; do not append it again. docs/durability.md has the promises in full and what they stand on.
 */

/**
 * What is called when events have reached a level: status is ESF_OK, or the number of the error that is lent
 * until the call returns.
 */
typedef void (*esf_durable_fn)(void *user_data, esf_status status, const esf_error *error);

/**
 * Appends an event and answers when it has this level, whatever the instance's mode.
 *
 * ESF_LEVEL_ACCEPTED waits for no disk. What an instance without files is asked for beyond that it cannot give: it
 * accepts the event, and the receipt says ESF_LEVEL_ACCEPTED.
 *
 * Errors: as esf_event_append; ESF_E_INVALID_INPUT for a level that is none.
 * Threads: any, concurrently.
 * Ownership: the event is copied.
 */
esf_status esf_event_append_at(const esf_foundation *foundation,
                               const esf_event *event,
                               esf_level level,
                               esf_receipt *out_receipt,
                               esf_error **err);

/**
 * Appends several events, all or none, and answers when all have this level, whatever the instance's mode.
 *
 * All events of the array must state the same size. out_receipts is NULL or an array of count receipts.
 *
 * Errors: as esf_event_append_batch; ESF_E_INVALID_INPUT for a level that is none.
 * Threads: any, concurrently.
 * Ownership: the events are copied.
 */
esf_status esf_event_append_batch_at(const esf_foundation *foundation,
                                     const esf_event *events,
                                     size_t count,
                                     esf_level level,
                                     esf_receipt *out_receipts,
                                     esf_error **err);

/**
 * Waits until every event up to this seq has at least this level, for at most timeout_ms milliseconds.
 *
 * Errors: those of the header's introduction; ESF_TIMED_OUT if they had not in time (they will, later);
 * ESF_E_OPERATION_FORBIDDEN if the instance has no files, or only reads them, and they cannot; ESF_E_IO_ERROR or
 * ESF_E_NO_SPACE if the disk would not take them: they are in memory and the library goes on trying.
 * Threads: any, concurrently. esf_before_fork waits for it.
 * Ownership: nothing to free.
 */
esf_status esf_events_wait_durable(const esf_foundation *foundation,
                                   uint64_t seq,
                                   esf_level level,
                                   int64_t timeout_ms,
                                   esf_error **err);

/**
 * How far this level has come: every event whose seq is below out_seq has it.
 *
 * An instance without files has a watermark for ESF_LEVEL_ACCEPTED only; those of the others stay at 1.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_events_watermark(const esf_foundation *foundation,
                                esf_level level,
                                uint64_t *out_seq,
                                esf_error **err);

/**
 * Has a function called once every event up to this seq has at least this level: for hosts that append at
 * ESF_LEVEL_ACCEPTED and may not wait for a disk.
 *
 * callback is run once: on the thread esf-events-sync of the library's, or from inside this call if they have the
 * level already. It may call anything but esf_foundation_close and esf_before_fork. Its status is ESF_OK; or
 * ESF_E_IO_ERROR or ESF_E_NO_SPACE if the disk would not take them (the library goes on trying, and may be asked
 * again); or ESF_E_CLOSING if the instance was closed before. drop, which may be NULL, is called with user_data
 * after it; if this call fails neither is called. In the child of a fork, what the parent waits for is not called:
 * drop is, when the child closes the instance.
 *
 * Errors: those of the header's introduction; ESF_E_OPERATION_FORBIDDEN if the instance has no files, or only
 * reads them; ESF_E_RESOURCE_EXHAUSTED if 65,536 calls are waited for.
 * Threads: any, concurrently. user_data must be fit for use on another thread.
 * Ownership: nothing to free.
 */
esf_status esf_events_when_durable(const esf_foundation *foundation,
                                   uint64_t seq,
                                   esf_level level,
                                   esf_durable_fn callback,
                                   void *user_data,
                                   esf_drop_fn drop,
                                   esf_error **err);

/*
 * Queries: finding events.
 * ========================
 *
 * A query sees everything that was appended before it started and nothing later. Its result is a cursor:
 * memory does not grow with the number of events, and nothing is copied. A cursor gives one event after the
 * other, or fills an array of views, which is quicker for many:
 *
 *     esf_event_query query = ESF_QUERY_INIT;
 *     query.types = (esf_str[]){ESF_STR("order_paid")};
 *     query.type_count = 1;
 *     query.conditions = ESF_STR("[{\"path\": [\"total\"], \"op\": \">\", \"value\": 100}]");
 *     query.timeout_ms = 2000;
 *     esf_cursor *cursor;
 *     if (esf_events_query(app, &query, &cursor, &err) == ESF_OK) {
 *         esf_event_view view = ESF_VIEW_INIT;
 *         esf_status status;
 *         while ((status = esf_cursor_next(cursor, &view)) == ESF_OK)
 *             printf("%.*s\n", ESF_FMT(view.data));
 *         if (status != ESF_DONE)
 *             fprintf(stderr, "%.*s\n", ESF_FMT(esf_status_name(status)));
 *         esf_cursor_free(cursor);
 *     }
 *
 * Conditions on the data are a JSON list of {"path", "op", "value"}. A path is a list of 1 to 32 keys and
 * positions (from 0), or one key. The operators are ==, !=, <, <=, >, >=, in (the value is a list of at most
 * 1,024), prefix (of text) and exists (the value is true or false; it may be left out). All of at most 64
 * conditions must hold. Values of different kinds do not compare, not even with !=. docs/queries.md has the
 * rules for JSON and for the Erlang external term format, and how an index is chosen.
 */

/** In flags of a query: only events that no other one caused. */
#define ESF_QUERY_WITHOUT_PARENT 1u

/** In flags of a query: only events without a node. */
#define ESF_QUERY_WITHOUT_NODE 2u

/** In flags of a query: only events without a process or thread. */
#define ESF_QUERY_WITHOUT_PID 4u

/**
 * In flags of a query: look at every event instead of at an index. The results are the same; this is for
 * tests and for doubt.
 */
#define ESF_QUERY_NO_INDEX 8u

/** A limit that is none. */
#define ESF_NO_LIMIT INT64_MAX

/** The result of a query, one event after the other. */
typedef struct esf_cursor esf_cursor;

/** What a query's events are sorted by: one of the ESF_ORDER_ constants. */
typedef uint32_t esf_order;

/** What to find: all conditions must hold. Start from ESF_QUERY_INIT, which has none. */
typedef struct esf_event_query {
    /** sizeof(esf_event_query). */
    uint32_t size;
    /** What to sort by. */
    esf_order order;
    /** 1 for newest (or highest) first, 0 for oldest first. */
    uint32_t descending;
    /** Any of the ESF_QUERY_ flags, or 0. */
    uint32_t flags;
    /** Any of these types; NULL for all. */
    const esf_str *types;
    /** How many types there are. */
    size_t type_count;
    /** This correlation id; empty for all. */
    esf_str correlation_id;
    /** Not before this timestamp. */
    int64_t from_time;
    /** Not after this timestamp. */
    int64_t to_time;
    /** Not before this position. */
    uint64_t from_seq;
    /** Not after this position. */
    uint64_t to_seq;
    /** How many of the events found to skip. */
    int64_t offset;
    /** How many events to answer at most, or ESF_NO_LIMIT. */
    int64_t limit;
    /** Only events that the event of this id caused; 0 for all. */
    uint64_t parent_id;
    /** Not below this event id. */
    uint64_t from_id;
    /** Not above this event id; 0 for no bound. */
    uint64_t to_id;
    /** Only events of this node; empty for all. */
    esf_str node;
    /** Only events of this process or thread; empty for all. */
    esf_str pid;
    /** Conditions on the data, as JSON; empty for none. */
    esf_str conditions;
    /**
     * How long finding may take, in milliseconds from when the query is asked; 0 for as long as it takes.
     * When it is up every call on the cursor answers ESF_TIMED_OUT, so that nothing is missing in silence.
     */
    int64_t timeout_ms;
} esf_event_query;

/** By timestamp; equal ones by position. */
#define ESF_ORDER_TIMESTAMP 1u

/** By position in the store. */
#define ESF_ORDER_SEQ 2u

/** By event id. */
#define ESF_ORDER_ID 3u

/**
 * Starts a query.
 *
 * Errors: ESF_E_INVALID_INPUT, naming the field, for a negative offset, limit or timeout, an unknown order or
 * flag, descending above 1, a flag that contradicts a field, and conditions that cannot be read;
 * ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: the cursor is the caller's; free it with esf_cursor_free. It keeps the memory of what it may
 * still show, also after its instance was closed.
 */
esf_status esf_events_query(const esf_foundation *foundation,
                            const esf_event_query *query,
                            esf_cursor **out_cursor,
                            esf_error **err);

/**
 * Starts a query for the newest events by timestamp, at most limit, newest first.
 *
 * Errors: ESF_E_INVALID_INPUT for a negative limit; ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: as esf_events_query.
 */
esf_status esf_events_recent(const esf_foundation *foundation,
                             int64_t limit,
                             esf_cursor **out_cursor,
                             esf_error **err);

/**
 * Starts a query for all events of a correlation id, by timestamp, oldest first.
 *
 * Errors: ESF_E_INVALID_INPUT for an empty id; ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: as esf_events_query.
 */
esf_status esf_events_correlation_chain(const esf_foundation *foundation,
                                        esf_str correlation_id,
                                        esf_cursor **out_cursor,
                                        esf_error **err);

/**
 * The next event.
 *
 * Errors: those of the header's introduction; ESF_DONE when there is none; ESF_TIMED_OUT when the query's time
 * is up; ESF_E_IO_ERROR and ESF_E_DATA_CORRUPTION where events are in a file that cannot be read.
 * Threads: any, but one call on a cursor at a time.
 * Ownership: the view's texts and bytes live until the next call on this cursor. They lie in the store's own
 * memory: nothing is copied.
 */
esf_status esf_cursor_next(esf_cursor *cursor,
                           esf_event_view *out_view);

/**
 * The next events: fills out_views, an array of capacity views, and says in out_count how many there are,
 * at most 65,536 a call.
 *
 * All views of the array must state the same size. It answers ESF_OK as long as there was an event; a call may
 * give fewer than there is room for only at the end.
 *
 * Errors: ESF_E_INVALID_INPUT for a capacity of 0; ESF_DONE when there is no event, with out_count set to 0;
 * ESF_TIMED_OUT when the query's time is up.
 * Threads: any, but one call on a cursor at a time.
 * Ownership: the texts and bytes of all views live until the next call on this cursor. They lie in the store's
 * own memory: nothing is copied.
 */
esf_status esf_cursor_next_batch(esf_cursor *cursor,
                                 esf_event_view *out_views,
                                 size_t capacity,
                                 size_t *out_count);

/**
 * Frees a cursor. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is inside a call on it:
 * it is not freed then.
 * Threads: any; not while a call on the same cursor runs.
 * Ownership: ends here; views of it are no longer valid.
 */
esf_status esf_cursor_free(esf_cursor *cursor);

/*
 * Summaries: what a query finds, counted instead of shown, and how it is found.
 * =============================================================================
 *
 * An aggregate goes through the events once and keeps none of them. What to count besides the events is said in
 * JSON, all of it optional; docs/queries.md says what each answers and how exact it is:
 *
 *     {"by_type": true, "bucket_ns": 60000000000, "top_correlations": 10, "field": ["order", "total"]}
 */

/**
 * How many events a query finds.
 *
 * Errors: as esf_events_query; ESF_TIMED_OUT when the query's time was up.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_events_count(const esf_foundation *foundation,
                            const esf_event_query *query,
                            uint64_t *out_count,
                            esf_error **err);

/**
 * How a query would be answered, as JSON: which index finds the events, why that one, how many events it is
 * expected to look at, and what the other indexes were expected to show.
 *
 * Errors: as esf_events_query.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_events_explain(const esf_foundation *foundation,
                              const esf_event_query *query,
                              esf_string *out_json,
                              esf_error **err);

/**
 * How a query would be answered, as JSON, into a buffer.
 *
 * Errors: as esf_events_query; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_events_explain_into(const esf_foundation *foundation,
                                   const esf_event_query *query,
                                   char *buffer,
                                   size_t capacity,
                                   size_t *out_needed,
                                   esf_error **err);

/**
 * What a query finds, counted: aggregate says in JSON what to count besides the events; it may be empty.
 *
 * The answer is JSON: count, what was asked for, and uncomparable, how often a condition met a value that it
 * could not be compared with. The query's offset and limit hold.
 *
 * Errors: as esf_events_query; ESF_TIMED_OUT when the query's time was up; ESF_E_INVALID_INPUT for an aggregate
 * that cannot be read; ESF_E_RESOURCE_EXHAUSTED for more than 100,000 spans of time.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_events_aggregate(const esf_foundation *foundation,
                                const esf_event_query *query,
                                esf_str aggregate,
                                esf_string *out_json,
                                esf_error **err);

/**
 * What a query finds, counted, as JSON into a buffer. Each call goes through the events anew.
 *
 * Errors: as esf_events_aggregate; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_events_aggregate_into(const esf_foundation *foundation,
                                     const esf_event_query *query,
                                     esf_str aggregate,
                                     char *buffer,
                                     size_t capacity,
                                     size_t *out_needed,
                                     esf_error **err);

/*
 * Traces: the tree of causes that an event belongs to, by parent_id.
 * ==================================================================
 *
 * A trace is read from its root on, each event before those that it caused:
 *
 *     esf_trace *trace;
 *     if (esf_events_trace(app, event_id, 1000, &trace, &err) == ESF_OK) {
 *         esf_event_view view = ESF_VIEW_INIT;
 *         uint32_t depth;
 *         while (esf_trace_next(trace, &view, &depth) == ESF_OK)
 *             printf("%*s%.*s\n", (int)(2 * depth), "", ESF_FMT(view.type));
 *         esf_trace_free(trace);
 *     }
 *
 * A parent that is not in the store (any more) ends the way up, and a circle is not followed: both are reported.
 */

/** The tree of causes that an event belongs to. */
typedef struct esf_trace esf_trace;

/** What is to be known of a trace as a whole; start from ESF_TRACE_INFO_INIT. */
typedef struct esf_trace_info {
    /** sizeof(esf_trace_info). */
    uint32_t size;
    /** 1 if there are more events than were asked for, else 0. */
    uint32_t truncated;
    /** How many events the trace has. */
    uint64_t event_count;
    /** The parent that the root names and that is not in the store; 0 if there is none. */
    uint64_t missing_parent;
    /** The ids of events at which the way would go round in a circle; NULL if there are none. */
    const uint64_t *cycles;
    /** How many of them there are. */
    size_t cycle_count;
} esf_trace_info;

/**
 * The whole tree of causes that the event of this id belongs to, at most limit (1 to 100,000) events of it.
 *
 * Errors: ESF_E_DATA_NOT_FOUND if there is no such event; ESF_E_INVALID_INPUT for another limit;
 * ESF_E_RESOURCE_EXHAUSTED.
 * Threads: any, concurrently.
 * Ownership: the trace is the caller's; free it with esf_trace_free. It keeps its events in memory, also after
 * its instance was closed.
 */
esf_status esf_events_trace(const esf_foundation *foundation,
                            uint64_t event_id,
                            int64_t limit,
                            esf_trace **out_trace,
                            esf_error **err);

/**
 * The next event of a trace, and how far it is from the root, which has the depth 0. out_depth may be NULL.
 *
 * Errors: those of the header's introduction; ESF_DONE when there is none.
 * Threads: any, but one call on a trace at a time.
 * Ownership: the view's texts and bytes live as long as the trace.
 */
esf_status esf_trace_next(esf_trace *trace, esf_event_view *out_view, uint32_t *out_depth);

/**
 * What is to be known of a trace as a whole, however much of it was read.
 *
 * Errors: those of the header's introduction.
 * Threads: any, but one call on a trace at a time.
 * Ownership: cycles lives as long as the trace.
 */
esf_status esf_trace_get_info(esf_trace *trace, esf_trace_info *out_info);

/**
 * Frees a trace. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is inside a call on it:
 * it is not freed then.
 * Threads: any; not while a call on the same trace runs.
 * Ownership: ends here; views of it are no longer valid.
 */
esf_status esf_trace_free(esf_trace *trace);

/*
 * Tails: hearing of events as they are stored.
 * ============================================
 *
 * A tail tells every event that matches its filter once and in the order of storing, from now on or from a
 * position in the past, over which it catches up and goes on live. What it cannot tell, because the store had
 * dropped it before the tail came to it, it tells as a gap: from which position to which. So a program that
 * was away goes on at the position after the last that it has dealt with, and knows whether it missed anything.
 *
 * A tail reads the store whenever it is asked: it has no queue that could fill, a slow reader costs no memory,
 * and storing waits for nobody. There are two forms. One to take from, with a descriptor for poll or epoll:
 *
 *     esf_event_query filter = ESF_QUERY_INIT;
 *     filter.correlation_id = ESF_STR("order-7");
 *     esf_tail_options options = ESF_TAIL_INIT;
 *     options.filter = &filter;
 *     options.from_seq = 1;
 *     esf_tail *tail;
 *     if (esf_events_tail(app, &options, &tail, &err) == ESF_OK) {
 *         esf_event_view view = ESF_VIEW_INIT;
 *         esf_gap gap = ESF_GAP_INIT;
 *         esf_status status;
 *         while ((status = esf_tail_next(tail, 1000, &view, &gap, &err)) == ESF_OK || status == ESF_GAP)
 *             if (status == ESF_GAP)
 *                 printf("%llu events are missing\n", (unsigned long long)gap.count);
 *             else
 *                 printf("%.*s\n", ESF_FMT(view.data));
 *         esf_tail_cancel(tail, NULL);
 *     }
 *
 * Or a callback, run on a thread of the library's, one call at a time for all tails of an instance, with no
 * lock held: it may call anything but esf_foundation_close. docs/tails.md has the promises in full.
 */

/** A position that means what is stored from now on. */
#define ESF_TAIL_FROM_NOW 0u

/** A tail of an instance's events. */
typedef struct esf_tail esf_tail;

/** How a tail is opened; start from ESF_TAIL_INIT, which tells every event that is stored from now on. */
typedef struct esf_tail_options {
    /** sizeof(esf_tail_options). */
    uint32_t size;
    /**
     * For a callback: how many calls may be made before esf_tail_acknowledge says that they are dealt with;
     * then it waits. 0 for as many as there are.
     */
    uint32_t window;
    /**
     * Which events to tell; NULL for all. Order, offset, limit, positions and timeout must be as
     * ESF_QUERY_INIT has them.
     */
    const esf_event_query *filter;
    /** The first position to tell, up to the next that the store gives, or ESF_TAIL_FROM_NOW. */
    uint64_t from_seq;
    /**
     * How many events, matching or not, it may be behind the newest: older ones are passed over, with a gap. 0
     * for as many as the store holds.
     */
    uint64_t capacity;
} esf_tail_options;

/** Why events are missing: one of the ESF_GAP_ constants. */
typedef uint32_t esf_gap_reason;

/**
 * Events that a tail does not tell, whether they match or not: all from the first to the last; start from
 * ESF_GAP_INIT.
 */
typedef struct esf_gap {
    /** sizeof(esf_gap). */
    uint32_t size;
    /** Why. */
    esf_gap_reason reason;
    /** The position of the first. */
    uint64_t first_seq;
    /** The position of the last. */
    uint64_t last_seq;
    /** How many events they are. */
    uint64_t count;
} esf_gap;

/** What is called with each event, or with a gap: the other is NULL. What they point to lives until it returns. */
typedef void (*esf_tail_fn)(void *user_data, const esf_event_view *event, const esf_gap *gap);

/** The store no longer had them when the tail came to them. */
#define ESF_GAP_REMOVED 1u

/** The tail was further behind than its capacity. */
#define ESF_GAP_LAGGED 2u

/**
 * Opens a tail to take from. What is stored after this call returned is told.
 *
 * Errors: ESF_E_INVALID_INPUT for a filter with what a tail has not, for a position that the store has not come
 * to, and for a window; ESF_E_RESOURCE_EXHAUSTED past 4,096 tails of an instance.
 * Threads: any, concurrently.
 * Ownership: the tail is the caller's; end it with esf_tail_cancel. When its instance is closed, what it has
 * read already can still be taken.
 */
esf_status esf_events_tail(const esf_foundation *foundation,
                           const esf_tail_options *options,
                           esf_tail **out_tail,
                           esf_error **err);

/**
 * Opens a tail with a callback, which is run on the thread esf-events-tail of the library's.
 *
 * After the tail was cancelled (except from inside the callback itself) the callback is not running and will
 * not run again. drop, which may be NULL, is then called once with user_data; if this call fails it is not
 * called. Closing the instance ends the tail as well: what is not told then, is not.
 *
 * Errors: as esf_events_tail, but for the window; ESF_E_NULL_ARGUMENT without a callback.
 * Threads: any, concurrently. user_data must be fit for use on another thread.
 * Ownership: the tail is the caller's; end it with esf_tail_cancel.
 */
esf_status esf_events_tail_callback(const esf_foundation *foundation,
                                    const esf_tail_options *options,
                                    esf_tail_fn callback,
                                    void *user_data,
                                    esf_drop_fn drop,
                                    esf_tail **out_tail,
                                    esf_error **err);

/**
 * Takes what comes next, waiting for it for at most timeout_ms milliseconds: ESF_OK with an event in
 * out_view, or ESF_GAP with a gap in out_gap.
 *
 * With a timeout of 0 it looks through all that is stored, however much does not match. While events come faster
 * than one in 200 microseconds, a call that waits looks at such intervals.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if there is nothing and timeout_ms is 0, ESF_TIMED_OUT
 * if nothing came in time, ESF_DONE if the tail or its instance is over; ESF_E_IO_ERROR and others when what comes
 * next is in a file that cannot be read: the next call tries again.
 * Threads: any, but one call on a tail at a time.
 * Ownership: the view's texts and bytes live until the next call of this function on the tail, or its end.
 */
esf_status esf_tail_next(esf_tail *tail,
                         int64_t timeout_ms,
                         esf_event_view *out_view,
                         esf_gap *out_gap,
                         esf_error **err);

/**
 * A file descriptor that is readable when there may be something to take, and at the end.
 *
 * When it is, take with a timeout of 0 until that answers ESF_AGAIN: from then on it waits for more. Use it with
 * poll, select or epoll only; do not read or close it.
 *
 * Errors: ESF_E_RESOURCE_EXHAUSTED if the process has too many files open.
 * Threads: any, concurrently.
 * Ownership: the tail's; it ends with esf_tail_cancel.
 */
esf_status esf_tail_descriptor(const esf_tail *tail,
                               int32_t *out_descriptor,
                               esf_error **err);

/**
 * Says that so many of the calls of a callback with a window are dealt with, so that as many more may be made.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently, also from inside the callback.
 * Ownership: nothing to free.
 */
esf_status esf_tail_acknowledge(const esf_tail *tail,
                                uint64_t n,
                                esf_error **err);

/**
 * What the tail has told, passed over and is behind, as JSON: position is the first that it has not read.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_tail_stats_json(const esf_tail *tail, esf_string *out_json, esf_error **err);

/**
 * What the tail has told, passed over and is behind, as JSON, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_tail_stats_json_into(const esf_tail *tail,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *out_needed,
                                    esf_error **err);

/**
 * Ends a tail and frees it. NULL is fine.
 *
 * Whoever waits in esf_tail_next gets ESF_DONE. A callback that is running has returned when this call returns,
 * unless this call was made from inside it.
 *
 * Errors: ESF_E_STALE_HANDLE if it was cancelled before, or meanwhile by another thread; ESF_E_TIMEOUT if a call
 * on it was still running after 5 seconds: the tail is over but its handle is not freed yet.
 * Threads: any, also from inside its own callback. It waits as long as a running callback takes, so two callbacks
 * of two instances must not cancel one another.
 * Ownership: ends here; views of it are no longer valid.
 */
esf_status esf_tail_cancel(esf_tail *tail,
                           esf_error **err);

/*
 * Upkeep: forgetting events, writing them to a file and reading them back, and the store's books.
 * ===============================================================================================
 */

/**
 * Removes all events whose timestamp is before this one. out_count may be NULL.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently; cursors that are open still show what they would have shown.
 * Ownership: nothing to free.
 */
esf_status esf_events_prune_before(const esf_foundation *foundation,
                                   int64_t timestamp,
                                   uint64_t *out_count,
                                   esf_error **err);

/**
 * Writes the events that a query finds to a file, one JSON object a line. out_count may be NULL.
 *
 * The file appears all at once, replacing one of that name, or not at all. Data of any encoding becomes
 * JSON, as docs/data-conversion.md says.
 *
 * Errors: as esf_events_query; ESF_TIMED_OUT when the query's time was up; ESF_E_DATA_NOT_FOUND if the folder
 * does not exist, ESF_E_IO_ERROR, ESF_E_NO_SPACE.
 * Threads: any, concurrently; waits for the disk.
 * Ownership: nothing to free.
 */
esf_status esf_events_export_jsonl(const esf_foundation *foundation,
                                   const esf_event_query *query,
                                   esf_str file,
                                   uint64_t *out_count,
                                   esf_error **err);

/**
 * Stores the events of a file that esf_events_export_jsonl wrote, or of any other file of one JSON object a
 * line of that shape; only event_type must be there. out_count may be NULL.
 *
 * Lines are stored some hundred KiB at a time, each part whole or not at all. Events keep their ids and times;
 * their positions are new. docs/data-conversion.md says what comes back as it was.
 *
 * Errors: as esf_event_append_batch; ESF_E_FORMAT_ERROR, ESF_E_DATA_NOT_FOUND, ESF_E_IO_ERROR. The error's JSON
 * has the number of the line, from 1, and how many events were imported before.
 * Threads: any, concurrently; waits for the disk.
 * Ownership: nothing to free.
 */
esf_status esf_events_import_jsonl(const esf_foundation *foundation,
                                   esf_str file,
                                   uint64_t *out_count,
                                   esf_error **err);

/**
 * What the store holds and has done, as JSON.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_events_stats_json(const esf_foundation *foundation, esf_string *out_json, esf_error **err);

/**
 * What the store holds and has done, as JSON, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_events_stats_json_into(const esf_foundation *foundation,
                                      char *buffer,
                                      size_t capacity,
                                      size_t *out_needed,
                                      esf_error **err);

/*
 * Telemetry: counters, gauges and histograms with labels.
 * =======================================================
 *
 * An instrument is made once, by name and labels, and used through its handle: a few nanoseconds a call,
 * from any number of threads without contention. The same name with the same labels, in any order, is the
 * same series. A name has at most 200 bytes, letters, digits, _, : and . (which Prometheus shows as
 * _); a series has at most 16 labels. Beyond a metric's limit of series, further ones share an overflow
 * series and are counted.
 *
 * The errors of making an instrument: ESF_E_INVALID_INPUT for a malformed name or label;
 * ESF_E_TYPE_MISMATCH if the name is one of another kind of instrument; ESF_E_TOO_MANY_SERIES;
 * ESF_E_RESOURCE_EXHAUSTED. Instruments end with their instance.
 */

/** A count that only grows. */
typedef struct esf_counter esf_counter;

/** A value that goes up and down. */
typedef struct esf_gauge esf_gauge;

/** A distribution of values that are not negative: latencies, sizes. */
typedef struct esf_histogram esf_histogram;

/** A label of an instrument. */
typedef struct esf_label {
    /** Letters, digits and _. */
    esf_str name;
    /** Any text, at most 1024 bytes. */
    esf_str value;
} esf_label;

/**
 * Makes a counter, or another handle for it.
 *
 * Errors: those of this section's introduction.
 * Threads: any, concurrently.
 * Ownership: the handle is the caller's; free it with esf_counter_free.
 */
esf_status esf_counter_new(const esf_foundation *foundation,
                           esf_str name,
                           const esf_label *labels,
                           size_t label_count,
                           esf_counter **out_counter,
                           esf_error **err);

/**
 * Adds to a counter. An overflow wraps around.
 *
 * Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_counter_add(const esf_counter *counter, uint64_t n);

/**
 * The sum of what was added through any handle of this counter.
 *
 * Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_counter_value(const esf_counter *counter, uint64_t *out_value);

/**
 * Frees a counter's handle; its series stays. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
 * Threads: any.
 * Ownership: ends here.
 */
esf_status esf_counter_free(esf_counter *counter);

/**
 * Makes a gauge, or another handle for it.
 *
 * Errors: those of this section's introduction.
 * Threads: any, concurrently.
 * Ownership: the handle is the caller's; free it with esf_gauge_free.
 */
esf_status esf_gauge_new(const esf_foundation *foundation,
                         esf_str name,
                         const esf_label *labels,
                         size_t label_count,
                         esf_gauge **out_gauge,
                         esf_error **err);

/**
 * Sets a gauge.
 *
 * Errors: ESF_E_INVALID_INPUT for NaN; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
 * Ownership: nothing to free.
 */
esf_status esf_gauge_set(const esf_gauge *gauge, double value);

/**
 * Adds to a gauge; a negative value subtracts.
 *
 * Errors: ESF_E_INVALID_INPUT for NaN; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently; takes a few nanoseconds.
 * Ownership: nothing to free.
 */
esf_status esf_gauge_add(const esf_gauge *gauge, double value);

/**
 * The current value of a gauge.
 *
 * Errors: ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_gauge_value(const esf_gauge *gauge, double *out_value);

/**
 * Frees a gauge's handle; its series stays. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
 * Threads: any.
 * Ownership: ends here.
 */
esf_status esf_gauge_free(esf_gauge *gauge);

/**
 * Makes a histogram, or another handle for it.
 *
 * Errors: those of this section's introduction.
 * Threads: any, concurrently.
 * Ownership: the handle is the caller's; free it with esf_histogram_free.
 */
esf_status esf_histogram_new(const esf_foundation *foundation,
                             esf_str name,
                             const esf_label *labels,
                             size_t label_count,
                             esf_histogram **out_histogram,
                             esf_error **err);

/**
 * Records a value in a histogram.
 *
 * Errors: ESF_E_INVALID_INPUT for NaN and negative values; ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently; takes a few nanoseconds.
 * Ownership: nothing to free.
 */
esf_status esf_histogram_record(const esf_histogram *histogram, double value);

/**
 * A quantile of what was recorded, 0.0 to 1.0, such as 0.99; off by at most 0.8 %.
 *
 * Errors: ESF_E_RANGE_ERROR for a quantile outside 0.0 to 1.0; ESF_E_DATA_NOT_FOUND if nothing was recorded;
 * ESF_E_STALE_HANDLE, ESF_E_NULL_ARGUMENT.
 * Threads: any, concurrently.
 * Ownership: nothing to free.
 */
esf_status esf_histogram_quantile(const esf_histogram *histogram, double quantile, double *out_value);

/**
 * Frees a histogram's handle; its series stays. NULL is fine.
 *
 * Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
 * Threads: any.
 * Ownership: ends here.
 */
esf_status esf_histogram_free(esf_histogram *histogram);

/**
 * Says what a metric is about, for whoever reads it in Prometheus.
 *
 * Errors: ESF_E_INVALID_INPUT for a malformed name or a text that is too long.
 * Threads: any, concurrently.
 * Ownership: the text is copied.
 */
esf_status esf_telemetry_describe(const esf_foundation *foundation,
                                  esf_str name,
                                  esf_str help,
                                  esf_error **err);

/**
 * All metrics as Prometheus text (format 0.0.4), the instance's own among them.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently; recording goes on meanwhile.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_telemetry_prometheus(const esf_foundation *foundation, esf_string *out_text, esf_error **err);

/**
 * All metrics as Prometheus text, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently; recording goes on meanwhile.
 * Ownership: nothing to free.
 */
esf_status esf_telemetry_prometheus_into(const esf_foundation *foundation,
                                         char *buffer,
                                         size_t capacity,
                                         size_t *out_needed,
                                         esf_error **err);

/**
 * All metrics as JSON: counters and gauges with their values, histograms with count, sum and quantiles.
 *
 * Errors: those of the header's introduction.
 * Threads: any, concurrently; recording goes on meanwhile.
 * Ownership: the text is the caller's; free it with esf_string_free.
 */
esf_status esf_telemetry_snapshot_json(const esf_foundation *foundation,
                                       esf_string *out_json,
                                       esf_error **err);

/**
 * All metrics as JSON, into a buffer.
 *
 * Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
 * Threads: any, concurrently; recording goes on meanwhile.
 * Ownership: nothing to free.
 */
esf_status esf_telemetry_snapshot_json_into(const esf_foundation *foundation,
                                            char *buffer,
                                            size_t capacity,
                                            size_t *out_needed,
                                            esf_error **err);

/*
 * Fork.
 * =====
 *
 * After fork, the child has the instances' memory but none of the threads that serve them, so its calls on
 * instances answer ESF_E_FORKED and change nothing; reading an error and using counters, gauges, histograms
 * and config keys goes on working on the child's own copy. A child that calls exec next needs nothing of
 * this. A program that wants to use instances in the child brackets the fork, and calls nothing else of this
 * library in between on the thread that forks:
 *
 *     esf_before_fork(NULL);
 *     pid_t child = fork();
 *     if (child == 0)
 *         esf_after_fork_child(NULL);
 *     else
 *         esf_after_fork_parent(NULL);
 *
 * Files stay the parent's: the child finds what was in memory, and its appends on an instance with files answer
 * ESF_E_FORKED; for storing events it opens an instance of its own in another directory, or in the same one after
 * the parent has closed it. A child that was not bracketed and lives on after its parent was killed keeps the
 * directory locked, until it ends or calls exec.
 *
 * The descriptor of a subscription or a tail is the child's own afterwards, under the same number: it has to
 * be added to an epoll instance of the child's again.
 */

/**
 * Makes ready for fork: lets the library's threads and the calls of other threads come to rest. Call it right
 * before fork.
 *
 * Calls that are under way are waited for; those that come later wait until the fork is over, except those on
 * counters, gauges, histograms and config keys, which go on. If it fails everything goes on as before: do
 * not fork then.
 *
 * Errors: ESF_E_TIMEOUT if calls or callbacks do not end within 5 seconds, such as a long wait in
 * esf_config_next_change or esf_tail_next; ESF_E_REENTRANT from inside a callback;
 * ESF_E_OPERATION_FORBIDDEN if it was called already. Until esf_after_fork_parent or esf_after_fork_child,
 * other calls of this thread on instances, cursors, tails and subscriptions, and calls of it that make or free
 * something, answer ESF_E_OPERATION_FORBIDDEN.
 * Threads: any, one at a time.
 * Ownership: nothing to free.
 */
esf_status esf_before_fork(esf_error **err);

/**
 * Goes on in the parent: starts the threads again. Call it in the parent, also if fork failed.
 *
 * Errors: ESF_E_OPERATION_FORBIDDEN if this thread did not call esf_before_fork.
 * Threads: the one that called esf_before_fork.
 * Ownership: nothing to free.
 */
esf_status esf_after_fork_parent(esf_error **err);

/**
 * Goes on in the child: the instances are the child's own from now on. Call it in the child.
 *
 * Errors: ESF_E_OPERATION_FORBIDDEN if the thread that forked did not call esf_before_fork.
 * Threads: the child's only one.
 * Ownership: nothing to free.
 */
esf_status esf_after_fork_child(esf_error **err);

/*
 * Shorthands
 * ==========
 */

#ifdef __cplusplus
/** An esf_str of a string literal. */
#define ESF_STR(literal) (esf_str{"" literal, sizeof(literal) - 1})
#else
/** An esf_str of a string literal. */
#define ESF_STR(literal) ((esf_str){"" literal, sizeof(literal) - 1})
#endif

/** No text, or no bytes. */
#define ESF_STR_INIT                                                                                         \
    { NULL, 0 }

/** The two arguments of printf's "%.*s" for an esf_str or esf_string. */
#define ESF_FMT(text) (int)(text).len, ((text).len ? (text).ptr : "")

/** True if the library in use has the ABI that this header describes. */
#define ESF_CHECK_VERSION() (esf_abi_version() == ESF_ABI_VERSION)

/** An empty esf_string; esf_string_free leaves it alone. */
#define ESF_STRING_INIT                                                                                      \
    { NULL, 0, 0 }

/** An event of no type with no data, to be filled in. */
#define ESF_EVENT_INIT                                                                                       \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event), ESF_ENCODING_JSON, 0, 0, ESF_NOW, ESF_NOW, NULL, ESF_STR_INIT,          \
            ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT                                           \
    }

/** A receipt to be written to. */
#define ESF_RECEIPT_INIT                                                                                     \
    { (uint32_t)sizeof(esf_receipt), 0, 0, 0 }

/** A query for everything, by timestamp, oldest first. */
#define ESF_QUERY_INIT                                                                                       \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event_query), ESF_ORDER_TIMESTAMP, 0, 0, NULL, 0, ESF_STR_INIT, INT64_MIN,      \
            INT64_MAX, 0, UINT64_MAX, 0, ESF_NO_LIMIT, 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT, 0  \
    }

/** An event's view to be written to. */
#define ESF_VIEW_INIT                                                                                        \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event_view), 0, 0, 0, 0, 0, 0, 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT,             \
            ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT                                                         \
    }

/** What is to be known of a trace, to be written to. */
#define ESF_TRACE_INFO_INIT                                                                                  \
    { (uint32_t)sizeof(esf_trace_info), 0, 0, 0, NULL, 0 }

/** A tail of every event that is stored from now on. */
#define ESF_TAIL_INIT                                                                                        \
    { (uint32_t)sizeof(esf_tail_options), 0, NULL, ESF_TAIL_FROM_NOW, 0 }

/** A gap to be written to. */
#define ESF_GAP_INIT                                                                                         \
    { (uint32_t)sizeof(esf_gap), 0, 0, 0, 0 }

/** A change of configuration to be written to. */
#define ESF_CHANGE_INIT                                                                                      \
    { (uint32_t)sizeof(esf_config_change), 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT }

/*
 * The layout of the structs is part of the ABI: the library is held to the same numbers.
 */
#if defined(__cplusplus)
#define ESF_LAYOUT(condition) static_assert(condition, "the layout of an esf struct")
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ESF_LAYOUT(condition) _Static_assert(condition, "the layout of an esf struct")
#else
#define ESF_LAYOUT(condition) extern int esf__layout_is_checked_from_c11_on
#endif
ESF_LAYOUT(sizeof(esf_str) == 16);
ESF_LAYOUT(offsetof(esf_str, ptr) == 0);
ESF_LAYOUT(offsetof(esf_str, len) == 8);
ESF_LAYOUT(sizeof(esf_string) == 24);
ESF_LAYOUT(offsetof(esf_string, ptr) == 0);
ESF_LAYOUT(offsetof(esf_string, len) == 8);
ESF_LAYOUT(offsetof(esf_string, owner) == 16);
ESF_LAYOUT(sizeof(esf_config_change) == 72);
ESF_LAYOUT(offsetof(esf_config_change, size) == 0);
ESF_LAYOUT(offsetof(esf_config_change, kind) == 4);
ESF_LAYOUT(offsetof(esf_config_change, version) == 8);
ESF_LAYOUT(offsetof(esf_config_change, timestamp) == 16);
ESF_LAYOUT(offsetof(esf_config_change, path) == 24);
ESF_LAYOUT(offsetof(esf_config_change, old_json) == 40);
ESF_LAYOUT(offsetof(esf_config_change, new_json) == 56);
ESF_LAYOUT(sizeof(esf_event) == 128);
ESF_LAYOUT(offsetof(esf_event, size) == 0);
ESF_LAYOUT(offsetof(esf_event, encoding) == 4);
ESF_LAYOUT(offsetof(esf_event, event_id) == 8);
ESF_LAYOUT(offsetof(esf_event, parent_id) == 16);
ESF_LAYOUT(offsetof(esf_event, timestamp) == 24);
ESF_LAYOUT(offsetof(esf_event, wall_time) == 32);
ESF_LAYOUT(offsetof(esf_event, type_handle) == 40);
ESF_LAYOUT(offsetof(esf_event, type) == 48);
ESF_LAYOUT(offsetof(esf_event, node) == 64);
ESF_LAYOUT(offsetof(esf_event, pid) == 80);
ESF_LAYOUT(offsetof(esf_event, correlation_id) == 96);
ESF_LAYOUT(offsetof(esf_event, data) == 112);
ESF_LAYOUT(sizeof(esf_receipt) == 24);
ESF_LAYOUT(offsetof(esf_receipt, size) == 0);
ESF_LAYOUT(offsetof(esf_receipt, level) == 4);
ESF_LAYOUT(offsetof(esf_receipt, event_id) == 8);
ESF_LAYOUT(offsetof(esf_receipt, seq) == 16);
ESF_LAYOUT(sizeof(esf_event_view) == 144);
ESF_LAYOUT(offsetof(esf_event_view, size) == 0);
ESF_LAYOUT(offsetof(esf_event_view, encoding) == 4);
ESF_LAYOUT(offsetof(esf_event_view, flags) == 8);
ESF_LAYOUT(offsetof(esf_event_view, reserved) == 12);
ESF_LAYOUT(offsetof(esf_event_view, seq) == 16);
ESF_LAYOUT(offsetof(esf_event_view, event_id) == 24);
ESF_LAYOUT(offsetof(esf_event_view, parent_id) == 32);
ESF_LAYOUT(offsetof(esf_event_view, config_version) == 40);
ESF_LAYOUT(offsetof(esf_event_view, timestamp) == 48);
ESF_LAYOUT(offsetof(esf_event_view, wall_time) == 56);
ESF_LAYOUT(offsetof(esf_event_view, type) == 64);
ESF_LAYOUT(offsetof(esf_event_view, node) == 80);
ESF_LAYOUT(offsetof(esf_event_view, pid) == 96);
ESF_LAYOUT(offsetof(esf_event_view, correlation_id) == 112);
ESF_LAYOUT(offsetof(esf_event_view, data) == 128);
ESF_LAYOUT(sizeof(esf_event_query) == 176);
ESF_LAYOUT(offsetof(esf_event_query, size) == 0);
ESF_LAYOUT(offsetof(esf_event_query, order) == 4);
ESF_LAYOUT(offsetof(esf_event_query, descending) == 8);
ESF_LAYOUT(offsetof(esf_event_query, flags) == 12);
ESF_LAYOUT(offsetof(esf_event_query, types) == 16);
ESF_LAYOUT(offsetof(esf_event_query, type_count) == 24);
ESF_LAYOUT(offsetof(esf_event_query, correlation_id) == 32);
ESF_LAYOUT(offsetof(esf_event_query, from_time) == 48);
ESF_LAYOUT(offsetof(esf_event_query, to_time) == 56);
ESF_LAYOUT(offsetof(esf_event_query, from_seq) == 64);
ESF_LAYOUT(offsetof(esf_event_query, to_seq) == 72);
ESF_LAYOUT(offsetof(esf_event_query, offset) == 80);
ESF_LAYOUT(offsetof(esf_event_query, limit) == 88);
ESF_LAYOUT(offsetof(esf_event_query, parent_id) == 96);
ESF_LAYOUT(offsetof(esf_event_query, from_id) == 104);
ESF_LAYOUT(offsetof(esf_event_query, to_id) == 112);
ESF_LAYOUT(offsetof(esf_event_query, node) == 120);
ESF_LAYOUT(offsetof(esf_event_query, pid) == 136);
ESF_LAYOUT(offsetof(esf_event_query, conditions) == 152);
ESF_LAYOUT(offsetof(esf_event_query, timeout_ms) == 168);
ESF_LAYOUT(sizeof(esf_trace_info) == 40);
ESF_LAYOUT(offsetof(esf_trace_info, size) == 0);
ESF_LAYOUT(offsetof(esf_trace_info, truncated) == 4);
ESF_LAYOUT(offsetof(esf_trace_info, event_count) == 8);
ESF_LAYOUT(offsetof(esf_trace_info, missing_parent) == 16);
ESF_LAYOUT(offsetof(esf_trace_info, cycles) == 24);
ESF_LAYOUT(offsetof(esf_trace_info, cycle_count) == 32);
ESF_LAYOUT(sizeof(esf_tail_options) == 32);
ESF_LAYOUT(offsetof(esf_tail_options, size) == 0);
ESF_LAYOUT(offsetof(esf_tail_options, window) == 4);
ESF_LAYOUT(offsetof(esf_tail_options, filter) == 8);
ESF_LAYOUT(offsetof(esf_tail_options, from_seq) == 16);
ESF_LAYOUT(offsetof(esf_tail_options, capacity) == 24);
ESF_LAYOUT(sizeof(esf_gap) == 32);
ESF_LAYOUT(offsetof(esf_gap, size) == 0);
ESF_LAYOUT(offsetof(esf_gap, reason) == 4);
ESF_LAYOUT(offsetof(esf_gap, first_seq) == 8);
ESF_LAYOUT(offsetof(esf_gap, last_seq) == 16);
ESF_LAYOUT(offsetof(esf_gap, count) == 24);
ESF_LAYOUT(sizeof(esf_label) == 32);
ESF_LAYOUT(offsetof(esf_label, name) == 0);
ESF_LAYOUT(offsetof(esf_label, value) == 16);
#undef ESF_LAYOUT

#ifdef __cplusplus
}
#endif

#endif
