//! Queries: finding events, and what else concerns the store as a whole.
//!
//! A query sees everything that was appended before it started and nothing later. Its result is a cursor:
//! memory does not grow with the number of events, and nothing is copied.

use std::ffi::c_char;

use super::arg::{self, MAX_NAME};
use super::error::esf_error;
use super::event::{esf_event_view, view_record};
use super::foundation::esf_foundation;
use super::record::Record;
use super::status::{ESF_DONE, ESF_OK, esf_status};
use super::text::{Sink, esf_str, esf_string};
use crate::error::Result;
use crate::events::{Order, Query};
use crate::handles;
use crate::runtime::fork;
use crate::storage::RealStorage;

/// The result of a query, one event after the other.
pub struct esf_cursor {
    _opaque: [u8; 0],
}

/// What a query's events are sorted by: one of the `ESF_ORDER_` constants.
pub type esf_order = u32;

/// By timestamp; equal ones by position.
pub const ESF_ORDER_TIMESTAMP: esf_order = 1;
/// By position in the store.
pub const ESF_ORDER_SEQ: esf_order = 2;

/// A limit that is none.
pub const ESF_NO_LIMIT: i64 = i64::MAX;

/// What to find: all conditions must hold. Start from `ESF_QUERY_INIT`, which has none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_event_query {
    /// `sizeof(esf_event_query)`.
    pub size: u32,
    /// What to sort by.
    pub order: esf_order,
    /// 1 for newest (or highest) first, 0 for oldest first.
    pub descending: u32,
    /// Nothing yet: 0.
    pub reserved: u32,
    /// Any of these types; NULL for all.
    pub types: *const esf_str,
    /// How many types there are.
    pub type_count: usize,
    /// This correlation id; empty for all.
    pub correlation_id: esf_str,
    /// Not before this timestamp.
    pub from_time: i64,
    /// Not after this timestamp.
    pub to_time: i64,
    /// Not before this position.
    pub from_seq: u64,
    /// Not after this position.
    pub to_seq: u64,
    /// How many of the events found to skip.
    pub offset: i64,
    /// How many events to answer at most, or `ESF_NO_LIMIT`.
    pub limit: i64,
}

layout! {
    esf_event_query 96 { size 0, order 4, descending 8, reserved 12, types 16, type_count 24,
                         correlation_id 32, from_time 48, to_time 56, from_seq 64, to_seq 72, offset 80,
                         limit 88 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_event_query {}

/// Starts a query.
///
/// Errors: ESF_E_INVALID_INPUT for a negative offset or limit, an unknown order, `descending` above 1 or
/// `reserved` not 0; ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: the cursor is the caller's; free it with `esf_cursor_free`. It keeps the memory of what it may
/// still show, also after its instance was closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_query(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    out_cursor: *mut *mut esf_cursor,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), out(out_cursor) => {
        let cursor = foundation.foundation().events().query(&typed(&query)?)?;
        out_cursor.set(arg::to_handle(handles::cursors().insert(cursor.into())?));
        Ok(ESF_OK)
    } }
}

/// The next event.
///
/// Errors: those of the header's introduction; ESF_DONE when there is none.
/// Threads: any, but one call on a cursor at a time.
/// Ownership: the view's texts and bytes live until the next call on this cursor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_cursor_next(
    cursor: *mut esf_cursor,
    out_view: *mut esf_event_view,
) -> esf_status {
    guard! { brief, cursor(cursor), out_record(out_view) => {
        match arg::lock(&cursor).try_next()? {
            Some(event) => {
                out_view.set(&view_record(&event));
                Ok(ESF_OK)
            }
            None => Ok(ESF_DONE),
        }
    } }
}

/// Frees a cursor. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is inside a call on it:
/// it is not freed then.
/// Threads: any; not while a call on the same cursor runs.
/// Ownership: ends here; views of it are no longer valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_cursor_free(cursor: *mut esf_cursor) -> esf_status {
    guard! { brief, optional_handle(cursor) => {
        if cursor != 0 {
            fork::check()?;
            drop(handles::cursors().remove(cursor, arg::AT_ONCE)?);
        }
        Ok(ESF_OK)
    } }
}

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
/// Errors: as `esf_events_query`; ESF_E_DATA_NOT_FOUND if the folder does not exist, ESF_E_IO_ERROR,
/// ESF_E_NO_SPACE.
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
        let count = events.export_jsonl(&typed(&query)?, &RealStorage, file.as_ref())?;
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

/// What C asked for, as the store takes it.
fn typed(query: &esf_event_query) -> Result<Query> {
    // SAFETY: the pointers stand in a record of the caller's, whose contract covers them as well.
    let (types, correlation_id) = unsafe {
        let types: Result<Vec<String>> = arg::list(query.types, "query.types", query.type_count)?
            .iter()
            .map(|name| Ok(arg::text(*name, "query.types", MAX_NAME)?.to_owned()))
            .collect();
        (types?, arg::bytes(query.correlation_id, "query.correlation_id", MAX_NAME)?)
    };
    let order = match query.order {
        ESF_ORDER_TIMESTAMP => Order::Timestamp,
        ESF_ORDER_SEQ => Order::Seq,
        other => return Err(arg::unknown_constant("query.order", other, "the ESF_ORDER_ constants")),
    };
    if query.descending > 1 {
        return Err(arg::unknown_constant("query.descending", query.descending, "0 or 1"));
    }
    if query.reserved != 0 {
        return Err(arg::unknown_constant("query.reserved", query.reserved, "0 only"));
    }
    Ok(Query {
        types,
        correlation_id: Some(correlation_id).filter(|id| !id.is_empty()).map(<[u8]>::to_vec),
        time_range: Some((query.from_time, query.to_time)).filter(|range| *range != (i64::MIN, i64::MAX)),
        seq_range: Some((query.from_seq, query.to_seq)).filter(|range| *range != (0, u64::MAX)),
        order,
        descending: query.descending == 1,
        offset: arg::count(query.offset, "query.offset")?,
        limit: Some(arg::count(query.limit, "query.limit")?).filter(|_| query.limit != ESF_NO_LIMIT),
        ..Query::default()
    })
}
