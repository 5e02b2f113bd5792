//! Instances: open, ask how they are, close.
//!
//! An instance holds a configuration, an event store and telemetry, isolated from every other instance in
//! the process; a process may hold many. Its options are a JSON document; `""` or `{}` means the defaults.
//! An option that does not exist, or whose value is wrong, is an error that names it by its path.
//!
//! ```text
//! {
//!   "namespace": "shop",
//!   "config": {"ai": {"planning": {"sampling_rate": 0.5}}},
//!   "event_store": {"max_events": 2000000, "overflow_strategy": "drop_oldest", "on_duplicate": "error",
//!                   "block_timeout_ms": 100, "max_memory_mb": 512, "max_age_seconds": 3600,
//!                   "prune_interval_ms": 60000, "cleanup_strategy": "oldest", "shards": 2,
//!                   "max_data_bytes": 1000000,
//!                   "data_dir": "/var/lib/shop", "durability": "group", "sync_interval_ms": 200,
//!                   "sync_kb": 8192, "max_disk_mb": 4096, "compression": "zstd", "read_only": false},
//!   "telemetry": {"max_series": 100000, "max_series_per_metric": 20000}
//! }
//! ```
//!
//! What the store keeps in files is said by
//!
//! ```text
//! data_dir          the directory of the files; none: events are in memory only, and no file is touched
//! durability        what an append waits for: "volatile", "crash_safe", "interval", "group" (the default) or
//!                   "strict"; see the section "Durability"
//! sync_interval_ms  how old unsynced events become: with "interval" all, else those that nobody waits for
//! sync_kb           with "interval", how many KiB are unsynced at most
//! max_disk_mb       how many MiB sealed segments take; the oldest events make room. None is no bound
//! compression       of sealed segments: "zstd" (the default), "gzip" or "none"
//! read_only         reads what is there, beside the process that writes
//! ```

use std::ffi::{c_char, c_void};

use super::arg::{self, MAX_JSON};
use super::callback;
use super::error::{self, esf_error};
use super::fork;
use super::status::{ESF_OK, ESF_TIMED_OUT, esf_status};
use super::text::{Sink, esf_str, esf_string};
use crate::error::{Code, Error};
use crate::events::Progress;
use crate::foundation::CloseReport;
use crate::handles::Instance;
use crate::options::Options;

/// An open instance.
pub struct esf_foundation {
    _opaque: [u8; 0],
}

/// Opens an instance.
///
/// `options` is JSON, as this section's introduction shows. Without `data_dir` no file is touched, and no thread is
/// started unless `max_memory_mb` or `max_age_seconds` asks for a clean-up at intervals. With it the directory is
/// made if need be, what is in it is read (after a crash that takes about a second for each ten million events
/// that were not sealed), and two threads are started that sync and seal, unless `read_only`.
///
/// Errors: ESF_E_FORMAT_ERROR if the options are no JSON; ESF_E_INVALID_INPUT naming an option that does not
/// exist or is wrong; the errors of a configuration value (all violations are in the error's JSON);
/// ESF_E_SERVICE_UNAVAILABLE while another thread makes ready for a fork: try again. With `data_dir` also
/// ESF_E_LOCKED, whose JSON names the `holder`; ESF_E_OPERATION_FORBIDDEN for a directory with other files in it;
/// ESF_E_INCOMPATIBLE_FORMAT, ESF_E_DATA_CORRUPTION, ESF_E_IO_ERROR, ESF_E_NO_SPACE.
/// Threads: any, concurrently.
/// Ownership: the instance is the caller's; close it with `esf_foundation_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_foundation_open(
    options: esf_str,
    out_foundation: *mut *mut esf_foundation,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), text(options, MAX_JSON), out(out_foundation) => {
        error::prepare();
        fork::prepare()?;
        let handle = Instance::open(&Options::from_json(options)?)?;
        out_foundation.set(arg::to_handle(handle));
        Ok(ESF_OK)
    } }
}

/// What is told how far opening has come: `done` of `total` bytes of logs are read.
pub type esf_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, done: u64, total: u64)>;

/// Opens an instance as `esf_foundation_open` does, and tells how far it has come.
///
/// `callback` is run on this thread while the files are read: before each log, and with `done` equal to `total` at
/// the end. After a clean close both are 0; for an instance without files it is not called. It may call anything
/// but `esf_foundation_close` and `esf_before_fork`.
///
/// Errors: as `esf_foundation_open`; ESF_E_NULL_ARGUMENT without a callback.
/// Threads: any, concurrently.
/// Ownership: the instance is the caller's; close it with `esf_foundation_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_foundation_open_with_progress(
    options: esf_str,
    callback: esf_progress_fn,
    user_data: *mut c_void,
    out_foundation: *mut *mut esf_foundation,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), text(options, MAX_JSON), function(callback), out(out_foundation) => {
        error::prepare();
        fork::prepare()?;
        let mut tell = |progress: Progress| callback::inside(|| {
            // SAFETY: the host gave this function for this purpose, and it is called during this call only.
            unsafe { callback(user_data, progress.done, progress.total) }
        });
        let handle = Instance::open_with_progress(&Options::from_json(options)?, &mut tell)?;
        out_foundation.set(arg::to_handle(handle));
        Ok(ESF_OK)
    } }
}

/// Closes an instance: waits for the calls that are running on it, then lets its threads finish, for at most
/// `deadline_ms` milliseconds altogether. Files are synced and sealed, so that nothing is left to recover.
///
/// Events that asynchronous appends took are stored first; those that are not by the deadline are lost, and the
/// error says how many.
///
/// From the start on, other calls answer ESF_E_CLOSING. Afterwards the instance's handle and its config keys,
/// event types and instruments are stale; cursors show the rest of what they found, and subscriptions what is
/// queued, until they are freed. NULL is fine.
///
/// Errors: ESF_E_TIMEOUT if calls were still running at the deadline: the instance stays open;
/// ESF_E_REENTRANT from inside a callback; ESF_E_INVALID_INPUT for a negative deadline. ESF_TIMED_OUT if the
/// instance is closed but threads of it were still finishing at the deadline, or events were lost; `err` then says
/// which and how many, and what could not be written to the files (the logs have it, unless the disk would not take
/// it: then it says so).
/// Threads: any; a second close of the same instance answers ESF_E_CLOSING or ESF_E_STALE_HANDLE.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_foundation_close(
    foundation: *mut esf_foundation,
    deadline_ms: i64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), optional_handle(foundation), millis(deadline_ms) => {
        if foundation == 0 {
            return Ok(ESF_OK);
        }
        callback::refuse_inside()?;
        let report = Instance::close(foundation, deadline_ms)?;
        if report.unfinished.is_empty() && report.unstored_events == 0 {
            return Ok(ESF_OK);
        }
        error::report(err, unfinished(report));
        Ok(ESF_TIMED_OUT)
    } }
}

/// How the instance is doing, as JSON: `status`, `namespace`, `version`, `uptime_ms`, `config`, `events`,
/// `telemetry` and `workers`; with files also `disk`: their numbers, `gaps` (events that are known to be missing, by
/// ranges of `seq`, with the reason), the `last_failure` of the disk, and `recovery`, what opening found.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_foundation_status_json(
    foundation: *const esf_foundation,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_json) => {
        out_json.put(arg::to_json(&foundation.foundation().status())?)
    } }
}

/// How the instance is doing, as JSON, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_foundation_status_json_into(
    foundation: *const esf_foundation,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), buffer(buffer, capacity, out_needed) => {
        buffer.put(arg::to_json(&foundation.foundation().status())?)
    } }
}

fn unfinished(report: CloseReport) -> Error {
    let CloseReport { unfinished: threads, unstored_events } = report;
    let mut left = Vec::new();
    if !threads.is_empty() {
        left.push(format!("threads were still finishing: {}", threads.join(", ")));
    }
    if unstored_events > 0 {
        left.push(format!("{unstored_events} events that waited to be stored are lost"));
    }
    Error::new(Code::Timeout, format!("the instance is closed, but {}", left.join(", and ")))
        .with("unfinished", threads)
        .with("unstored_events", unstored_events)
}
