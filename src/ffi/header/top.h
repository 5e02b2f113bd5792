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

/* @VERSION@ */

#ifdef __cplusplus
extern "C" {
#endif
