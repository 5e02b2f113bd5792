//! Durability: what an instance with files promises about an event, and how to ask for more or less of it.
//!
//! An instance that is opened with `event_store.data_dir` keeps its events, and the changes of its configuration,
//! in the files of that directory; the next one that opens the directory has them again. One process at a time
//! writes there: another is answered ESF_E_LOCKED, and the error's JSON names the `holder`. With `read_only` any
//! number of processes read beside the one that writes, each what was there when it opened.
//!
//! An event has a level, and each includes those before it:
//!
//! ```text
//! ESF_LEVEL_ACCEPTED     in memory: every query finds it, and it ends with the process
//! ESF_LEVEL_CRASH_SAFE   with the operating system: it outlives the process, however that ends (SIGKILL, too)
//! ESF_LEVEL_DURABLE      on the disk: it outlives a loss of power
//! ```
//!
//! `event_store.durability` is the level at which `esf_event_append` answers, and how it gets there:
//!
//! ```text
//! "volatile"     no file at all: ESF_LEVEL_ACCEPTED
//! "crash_safe"   a copy to a mapped file, at the speed of memory: ESF_LEVEL_CRASH_SAFE. The disk has the
//!                events when a segment is full, at closing, and when esf_events_wait_durable asks for it
//! "interval"     the same, and no event stays unsynced for longer than sync_interval_ms, nor more than sync_kb
//!                of them: ESF_LEVEL_CRASH_SAFE
//! "group"        it waits for the disk; one sync serves all threads that wait: ESF_LEVEL_DURABLE. The default
//! "strict"       it waits for a sync of its own: ESF_LEVEL_DURABLE
//! ```
//!
//! What an append has answered as durable is there after any crash; a batch is there whole or not at all; events
//! come back in the order of their `seq`, and what is missing is named by ranges of `seq` in the status. When the
//! disk fails the append says so (ESF_E_IO_ERROR, ESF_E_NO_SPACE): its event is stored all the same, in memory,
//! `context.event_id` and `context.seq` of the error name it, and the library goes on trying until the disk takes
//! it; do not append it again. docs/durability.md has the promises in full and what they stand on.

use std::ffi::c_void;
use std::time::Duration;

use super::callback::Callback;
use super::error::{self, esf_error};
use super::event::{append_batch, esf_event, esf_level, esf_receipt, new_event, receipt_record};
use super::foundation::esf_foundation;
use super::status::{ESF_OK, ESF_TIMED_OUT, esf_status};
use super::watch::esf_drop_fn;
use crate::error::{Code, Result};
use crate::events::{EventStore, Level};

/// What is called when events have reached a level: `status` is ESF_OK, or the number of the `error` that is lent
/// until the call returns.
pub type esf_durable_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, status: esf_status, error: *const esf_error)>;

/// Appends an event and answers when it has this level, whatever the instance's mode.
///
/// ESF_LEVEL_ACCEPTED waits for no disk. What an instance without files is asked for beyond that it cannot give: it
/// accepts the event, and the receipt says ESF_LEVEL_ACCEPTED.
///
/// Errors: as `esf_event_append`; ESF_E_INVALID_INPUT for a level that is none.
/// Threads: any, concurrently.
/// Ownership: the event is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_append_at(
    foundation: *const esf_foundation,
    event: *const esf_event,
    level: esf_level,
    out_receipt: *mut esf_receipt,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(event), level(level),
             optional_out_record(out_receipt) => {
        let events = foundation.foundation().events();
        let receipt = events.append_with(&new_event(&event)?, Some(level))?;
        if let Some(out) = &mut out_receipt {
            out.set(&receipt_record(receipt));
        }
        Ok(ESF_OK)
    } }
}

/// Appends several events, all or none, and answers when all have this level, whatever the instance's mode.
///
/// All events of the array must state the same `size`. `out_receipts` is NULL or an array of `count` receipts.
///
/// Errors: as `esf_event_append_batch`; ESF_E_INVALID_INPUT for a level that is none.
/// Threads: any, concurrently.
/// Ownership: the events are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_append_batch_at(
    foundation: *const esf_foundation,
    events: *const esf_event,
    count: usize,
    level: esf_level,
    out_receipts: *mut esf_receipt,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), records(events, count), level(level),
             optional_out_records(out_receipts, count) => {
        append_batch(foundation.foundation().events(), &events, Some(level), out_receipts)
    } }
}

/// Waits until every event up to this `seq` has at least this level, for at most `timeout_ms` milliseconds.
///
/// Errors: those of the header's introduction; ESF_TIMED_OUT if they had not in time (they will, later);
/// ESF_E_OPERATION_FORBIDDEN if the instance has no files, or only reads them, and they cannot; ESF_E_IO_ERROR or
/// ESF_E_NO_SPACE if the disk would not take them: they are in memory and the library goes on trying.
/// Threads: any, concurrently. `esf_before_fork` waits for it.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_wait_durable(
    foundation: *const esf_foundation,
    seq: u64,
    level: esf_level,
    timeout_ms: i64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), level(level), millis(timeout_ms) => {
        wait_durable(foundation.foundation().events(), seq, level, timeout_ms)
    } }
}

/// How far this level has come: every event whose `seq` is below `out_seq` has it.
///
/// An instance without files has a watermark for ESF_LEVEL_ACCEPTED only; those of the others stay at 1.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_watermark(
    foundation: *const esf_foundation,
    level: esf_level,
    out_seq: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), level(level), out(out_seq) => {
        out_seq.set(foundation.foundation().events().watermark(level));
        Ok(ESF_OK)
    } }
}

/// Has a function called once every event up to this `seq` has at least this level: for hosts that append at
/// ESF_LEVEL_ACCEPTED and may not wait for a disk.
///
/// `callback` is run once: on the thread `esf-events-sync` of the library's, or from inside this call if they have the
/// level already. It may call anything but `esf_foundation_close` and `esf_before_fork`. Its status is ESF_OK; or
/// ESF_E_IO_ERROR or ESF_E_NO_SPACE if the disk would not take them (the library goes on trying, and may be asked
/// again); or ESF_E_CLOSING if the instance was closed before. `drop`, which may be NULL, is called with `user_data`
/// after it; if this call fails neither is called. In the child of a fork, what the parent waits for is not called:
/// `drop` is, when the child closes the instance.
///
/// Errors: those of the header's introduction; ESF_E_OPERATION_FORBIDDEN if the instance has no files, or only
/// reads them; ESF_E_RESOURCE_EXHAUSTED if 65,536 calls are waited for.
/// Threads: any, concurrently. `user_data` must be fit for use on another thread.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_when_durable(
    foundation: *const esf_foundation,
    seq: u64,
    level: esf_level,
    callback: esf_durable_fn,
    user_data: *mut c_void,
    drop: esf_drop_fn,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), level(level), function(callback) => {
        let call = Callback::new(callback, user_data, drop);
        let called = call.clone();
        let then = Box::new(move |outcome: Result<()>| error::lend(outcome, |status, error| {
            // SAFETY: the host gave this function for this purpose; the error lives until it returns.
            called.run(|function, user_data| unsafe { function(user_data, status, error) });
        }));
        let events = foundation.foundation().events();
        events.when_durable(seq, level, then).inspect_err(|_| call.forget())?;
        Ok(ESF_OK)
    } }
}

fn wait_durable(events: &EventStore, seq: u64, level: Level, timeout: Duration) -> Result<esf_status> {
    match events.wait_durable(seq, level, timeout) {
        Ok(()) => Ok(ESF_OK),
        Err(error) if error.code() == Code::Timeout => Ok(ESF_TIMED_OUT),
        Err(error) => Err(error),
    }
}
