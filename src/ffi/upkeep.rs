//! Upkeep: forgetting events, writing them to a file and reading them back, and the store's books.

use std::ffi::c_char;

use super::arg::{self, MAX_NAME};
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::query::{esf_event_query, in_time, typed};
use super::status::{ESF_OK, esf_status};
use super::text::{Sink, esf_str, esf_string};
use crate::storage::RealStorage;

/// Removes all events whose timestamp is before this one. `out_count` may be NULL.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently; cursors that are open still show what they would have shown.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_prune_before(
    foundation: *const esf_foundation,
    timestamp: i64,
    out_count: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), optional_out(out_count) => {
        let count = foundation.foundation().events().prune_before(timestamp)?;
        arg::set_optional(out_count, count);
        Ok(ESF_OK)
    } }
}

/// Writes the events that a query finds to a file, one JSON object a line. `out_count` may be NULL.
///
/// The file appears all at once, replacing one of that name, or not at all. Data of any encoding becomes
/// JSON, as docs/data-conversion.md says.
///
/// Errors: as `esf_events_query`; ESF_TIMED_OUT when the query's time was up; ESF_E_DATA_NOT_FOUND if the folder
/// does not exist, ESF_E_IO_ERROR, ESF_E_NO_SPACE.
/// Threads: any, concurrently; waits for the disk.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_export_jsonl(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    file: esf_str,
    out_count: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), text(file, MAX_NAME),
             optional_out(out_count) => {
        let events = foundation.foundation().events();
        in_time(events.export_jsonl(&typed(&query)?, &RealStorage, file.as_ref()), |count| {
            arg::set_optional(out_count, count);
            Ok(ESF_OK)
        })
    } }
}

/// Stores the events of a file that `esf_events_export_jsonl` wrote, or of any other file of one JSON object a
/// line of that shape; only `event_type` must be there. `out_count` may be NULL.
///
/// Lines are stored some hundred KiB at a time, each part whole or not at all. Events keep their ids and times;
/// their positions are new. docs/data-conversion.md says what comes back as it was.
///
/// Errors: as `esf_event_append_batch`; ESF_E_FORMAT_ERROR, ESF_E_DATA_NOT_FOUND, ESF_E_IO_ERROR. The error's JSON
/// has the number of the `line`, from 1, and how many events were `imported` before.
/// Threads: any, concurrently; waits for the disk.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_import_jsonl(
    foundation: *const esf_foundation,
    file: esf_str,
    out_count: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(file, MAX_NAME), optional_out(out_count) => {
        let count = foundation.foundation().events().import_jsonl(&RealStorage, file.as_ref())?;
        arg::set_optional(out_count, count);
        Ok(ESF_OK)
    } }
}

/// What the store holds and has done, as JSON.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_stats_json(
    foundation: *const esf_foundation,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_json) => {
        out_json.put(arg::to_json(&foundation.foundation().events().stats())?)
    } }
}

/// What the store holds and has done, as JSON, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_stats_json_into(
    foundation: *const esf_foundation,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), buffer(buffer, capacity, out_needed) => {
        buffer.put(arg::to_json(&foundation.foundation().events().stats())?)
    } }
}
