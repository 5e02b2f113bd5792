//! Queries: finding events.
//!
//! A query sees everything that was appended before it started and nothing later. Its result is a cursor:
//! memory does not grow with the number of events, and nothing is copied. A cursor gives one event after the
//! other, or fills an array of views, which is quicker for many:
//!
//! ```text
//! esf_event_query query = ESF_QUERY_INIT;
//! query.types = (esf_str[]){ESF_STR("order_paid")};
//! query.type_count = 1;
//! query.conditions = ESF_STR("[{\"path\": [\"total\"], \"op\": \">\", \"value\": 100}]");
//! query.timeout_ms = 2000;
//! esf_cursor *cursor;
//! if (esf_events_query(app, &query, &cursor, &err) == ESF_OK) {
//!     esf_event_view view = ESF_VIEW_INIT;
//!     esf_status status;
//!     while ((status = esf_cursor_next(cursor, &view)) == ESF_OK)
//!         printf("%.*s\n", ESF_FMT(view.data));
//!     if (status != ESF_DONE)
//!         fprintf(stderr, "%.*s\n", ESF_FMT(esf_status_name(status)));
//!     esf_cursor_free(cursor);
//! }
//! ```
//!
//! Conditions on the data are a JSON list of {"path", "op", "value"}. A path is a list of 1 to 32 keys and
//! positions (from 0), or one key. The operators are ==, !=, <, <=, >, >=, in (the value is a list of at most
//! 1,024), prefix (of text) and exists (the value is true or false; it may be left out). All of at most 64
//! conditions must hold. Values of different kinds do not compare, not even with !=. docs/queries.md has the
//! rules for JSON and for the Erlang external term format, and how an index is chosen.

use std::time::Duration;

use super::arg::{self, MAX_JSON, MAX_NAME};
use super::error::esf_error;
use super::event::{esf_event_view, view_record};
use super::foundation::esf_foundation;
use super::record::Record;
use super::status::{ESF_DONE, ESF_OK, ESF_TIMED_OUT, esf_status};
use super::text::esf_str;
use crate::error::{Code, Error, Result};
use crate::events::{Condition, Order, Query};
use crate::foundation::Foundation;
use crate::handles;
use crate::runtime::fork;

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
/// By event id.
pub const ESF_ORDER_ID: esf_order = 3;

/// In `flags` of a query: only events that no other one caused.
pub const ESF_QUERY_WITHOUT_PARENT: u32 = 1;
/// In `flags` of a query: only events without a node.
pub const ESF_QUERY_WITHOUT_NODE: u32 = 2;
/// In `flags` of a query: only events without a process or thread.
pub const ESF_QUERY_WITHOUT_PID: u32 = 4;
/// In `flags` of a query: look at every event instead of at an index. The results are the same; this is for
/// tests and for doubt.
pub const ESF_QUERY_NO_INDEX: u32 = 8;

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
    /// Any of the `ESF_QUERY_` flags, or 0.
    pub flags: u32,
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
    /// Only events that the event of this id caused; 0 for all.
    pub parent_id: u64,
    /// Not below this event id.
    pub from_id: u64,
    /// Not above this event id; 0 for no bound.
    pub to_id: u64,
    /// Only events of this node; empty for all.
    pub node: esf_str,
    /// Only events of this process or thread; empty for all.
    pub pid: esf_str,
    /// Conditions on the data, as JSON; empty for none.
    pub conditions: esf_str,
    /// How long finding may take, in milliseconds from when the query is asked; 0 for as long as it takes.
    /// When it is up every call on the cursor answers `ESF_TIMED_OUT`, so that nothing is missing in silence.
    pub timeout_ms: i64,
}

layout! {
    esf_event_query 176 { size 0, order 4, descending 8, flags 12, types 16, type_count 24,
                          correlation_id 32, from_time 48, to_time 56, from_seq 64, to_seq 72, offset 80,
                          limit 88, parent_id 96, from_id 104, to_id 112, node 120, pid 136,
                          conditions 152, timeout_ms 168 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_event_query {}

/// Starts a query.
///
/// Errors: ESF_E_INVALID_INPUT, naming the field, for a negative offset, limit or timeout, an unknown order or
/// flag, `descending` above 1, a flag that contradicts a field, and conditions that cannot be read;
/// ESF_E_RESOURCE_EXHAUSTED.
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
        out_cursor.set(open(foundation.foundation(), &typed(&query)?)?);
        Ok(ESF_OK)
    } }
}

/// Starts a query for the newest events by timestamp, at most `limit`, newest first.
///
/// Errors: ESF_E_INVALID_INPUT for a negative limit; ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: as `esf_events_query`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_recent(
    foundation: *const esf_foundation,
    limit: i64,
    out_cursor: *mut *mut esf_cursor,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), not_negative(limit), out(out_cursor) => {
        out_cursor.set(open(foundation.foundation(), &Query::newest(limit))?);
        Ok(ESF_OK)
    } }
}

/// Starts a query for all events of a correlation id, by timestamp, oldest first.
///
/// Errors: ESF_E_INVALID_INPUT for an empty id; ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: as `esf_events_query`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_correlation_chain(
    foundation: *const esf_foundation,
    correlation_id: esf_str,
    out_cursor: *mut *mut esf_cursor,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), some_bytes(correlation_id, MAX_NAME), out(out_cursor) => {
        out_cursor.set(open(foundation.foundation(), &Query::correlation(correlation_id))?);
        Ok(ESF_OK)
    } }
}

/// The next event.
///
/// Errors: those of the header's introduction; ESF_DONE when there is none; ESF_TIMED_OUT when the query's time
/// is up; ESF_E_IO_ERROR and ESF_E_DATA_CORRUPTION where events are in a file that cannot be read.
/// Threads: any, but one call on a cursor at a time.
/// Ownership: the view's texts and bytes live until the next call on this cursor. They lie in the store's own
/// memory: nothing is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_cursor_next(
    cursor: *mut esf_cursor,
    out_view: *mut esf_event_view,
) -> esf_status {
    guard! { brief, cursor(cursor), out_record(out_view) => {
        in_time(arg::lock(&cursor).try_next(), |found| match found {
            Some(event) => {
                out_view.set(&view_record(&event));
                Ok(ESF_OK)
            }
            None => Ok(ESF_DONE),
        })
    } }
}

/// The next events: fills `out_views`, an array of `capacity` views, and says in `out_count` how many there are,
/// at most 65,536 a call.
///
/// All views of the array must state the same `size`. It answers ESF_OK as long as there was an event; a call may
/// give fewer than there is room for only at the end.
///
/// Errors: ESF_E_INVALID_INPUT for a capacity of 0; ESF_DONE when there is no event, with `out_count` set to 0;
/// ESF_TIMED_OUT when the query's time is up.
/// Threads: any, but one call on a cursor at a time.
/// Ownership: the texts and bytes of all views live until the next call on this cursor. They lie in the store's
/// own memory: nothing is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_cursor_next_batch(
    cursor: *mut esf_cursor,
    out_views: *mut esf_event_view,
    capacity: usize,
    out_count: *mut usize,
) -> esf_status {
    guard! { brief, cursor(cursor), out_records(out_views, capacity), out(out_count) => {
        let mut cursor = arg::lock(&cursor);
        in_time(cursor.next_batch(capacity), |events| {
            let mut count = 0;
            for event in events {
                out_views.set(count, &view_record(&event));
                count += 1;
            }
            out_count.set(count);
            Ok(if count == 0 { ESF_DONE } else { ESF_OK })
        })
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

/// A cursor of the caller's.
fn open(foundation: &Foundation, query: &Query) -> Result<*mut esf_cursor> {
    let cursor = foundation.events().query(query)?;
    Ok(arg::to_handle(handles::cursors().insert(cursor.into())?))
}

/// Goes on with what was found, unless the query's time was up.
pub(super) fn in_time<T>(
    found: Result<T>,
    go_on: impl FnOnce(T) -> Result<esf_status>,
) -> Result<esf_status> {
    match found {
        Err(error) if error.code() == Code::Timeout => Ok(ESF_TIMED_OUT),
        found => go_on(found?),
    }
}

/// What C asked for, as the store takes it.
pub(super) fn typed(query: &esf_event_query) -> Result<Query> {
    // SAFETY: the pointers stand in a record of the caller's, whose contract covers them as well.
    let (types, correlation_id, node, pid, conditions) = unsafe {
        let types: Result<Vec<String>> = arg::list(query.types, "query.types", query.type_count)?
            .iter()
            .map(|name| Ok(arg::text(*name, "query.types", MAX_NAME)?.to_owned()))
            .collect();
        (
            types?,
            arg::bytes(query.correlation_id, "query.correlation_id", MAX_NAME)?,
            arg::text(query.node, "query.node", MAX_NAME)?,
            arg::text(query.pid, "query.pid", MAX_NAME)?,
            arg::text(query.conditions, "query.conditions", MAX_JSON)?,
        )
    };
    let order = match query.order {
        ESF_ORDER_TIMESTAMP => Order::Timestamp,
        ESF_ORDER_SEQ => Order::Seq,
        ESF_ORDER_ID => Order::Id,
        other => return Err(arg::unknown_constant("query.order", other, "the ESF_ORDER_ constants")),
    };
    if query.descending > 1 {
        return Err(arg::unknown_constant("query.descending", query.descending, "0 or 1"));
    }
    if query.flags & !KNOWN_FLAGS != 0 {
        return Err(arg::unknown_constant("query.flags", query.flags, "the ESF_QUERY_ flags"));
    }
    let flag = |flag| query.flags & flag != 0;
    Ok(Query {
        types,
        correlation_id: Some(correlation_id).filter(|id| !id.is_empty()).map(<[u8]>::to_vec),
        time_range: Some((query.from_time, query.to_time)).filter(|range| *range != (i64::MIN, i64::MAX)),
        seq_range: Some((query.from_seq, query.to_seq)).filter(|range| *range != (0, u64::MAX)),
        id_range: match (query.from_id, query.to_id) {
            (0, 0) => None,
            (first, 0) => Some((first, u64::MAX)),
            range => Some(range),
        },
        parent_id: this_or_none(query.parent_id, 0, flag(ESF_QUERY_WITHOUT_PARENT), "parent_id")?,
        node: this_or_none(node, "", flag(ESF_QUERY_WITHOUT_NODE), "node")?.map(str::to_owned),
        pid: this_or_none(pid, "", flag(ESF_QUERY_WITHOUT_PID), "pid")?.map(str::to_owned),
        conditions: if conditions.is_empty() { Vec::new() } else { Condition::list_from_json(conditions)? },
        order,
        descending: query.descending == 1,
        offset: arg::count(query.offset, "query.offset")?,
        limit: Some(arg::count(query.limit, "query.limit")?).filter(|_| query.limit != ESF_NO_LIMIT),
        timeout: Some(arg::count(query.timeout_ms, "query.timeout_ms")?)
            .filter(|millis| *millis != 0)
            .map(Duration::from_millis),
        without_indexes: flag(ESF_QUERY_NO_INDEX),
    })
}

const KNOWN_FLAGS: u32 =
    ESF_QUERY_WITHOUT_PARENT | ESF_QUERY_WITHOUT_NODE | ESF_QUERY_WITHOUT_PID | ESF_QUERY_NO_INDEX;

/// The value asked for: any if it is `none` and no flag is set, `none` itself if the flag asks for that.
fn this_or_none<T: Copy + PartialEq>(value: T, none: T, wants_none: bool, name: &str) -> Result<Option<T>> {
    match (value == none, wants_none) {
        (true, true) => Ok(Some(none)),
        (true, false) => Ok(None),
        (false, false) => Ok(Some(value)),
        (false, true) => Err(Error::new(
            Code::InvalidInput,
            format!("query.{name} asks for a value and query.flags for events without one"),
        )
        .with("argument", format!("query.{name}"))),
    }
}
