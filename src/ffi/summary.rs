//! Summaries: what a query finds, counted instead of shown, and how it is found.
//!
//! An aggregate goes through the events once and keeps none of them. What to count besides the events is said in
//! JSON, all of it optional; docs/queries.md says what each answers and how exact it is:
//!
//! ```text
//! {"by_type": true, "bucket_ns": 60000000000, "top_correlations": 10, "field": ["order", "total"]}
//! ```

use std::ffi::c_char;

use super::arg::{self, MAX_JSON};
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::query::{esf_event_query, in_time, typed};
use super::status::{ESF_OK, esf_status};
use super::text::{Sink, esf_str, esf_string};
use crate::error::Result;
use crate::events::Aggregate;
use crate::foundation::Foundation;

/// How many events a query finds.
///
/// Errors: as `esf_events_query`; ESF_TIMED_OUT when the query's time was up.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_count(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    out_count: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), out(out_count) => {
        let count = typed(&query).and_then(|query| foundation.foundation().events().query(&query)?.count());
        in_time(count, |count| {
            out_count.set(count);
            Ok(ESF_OK)
        })
    } }
}

/// How a query would be answered, as JSON: which index finds the events, why that one, how many events it is
/// expected to look at, and what the other indexes were expected to show.
///
/// Errors: as `esf_events_query`.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_explain(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), out(out_json) => {
        out_json.put(explain(foundation.foundation(), &query)?)
    } }
}

/// How a query would be answered, as JSON, into a buffer.
///
/// Errors: as `esf_events_query`; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_explain_into(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), buffer(buffer, capacity, out_needed) => {
        buffer.put(explain(foundation.foundation(), &query)?)
    } }
}

/// What a query finds, counted: `aggregate` says in JSON what to count besides the events; it may be empty.
///
/// The answer is JSON: `count`, what was asked for, and `uncomparable`, how often a condition met a value that it
/// could not be compared with. The query's offset and limit hold.
///
/// Errors: as `esf_events_query`; ESF_TIMED_OUT when the query's time was up; ESF_E_INVALID_INPUT for an aggregate
/// that cannot be read; ESF_E_RESOURCE_EXHAUSTED for more than 100,000 spans of time.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_aggregate(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    aggregate: esf_str,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), text(aggregate, MAX_JSON), out(out_json) => {
        in_time(summary(foundation.foundation(), &query, aggregate), |json| out_json.put(json))
    } }
}

/// What a query finds, counted, as JSON into a buffer. Each call goes through the events anew.
///
/// Errors: as `esf_events_aggregate`; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_aggregate_into(
    foundation: *const esf_foundation,
    query: *const esf_event_query,
    aggregate: esf_str,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(query), text(aggregate, MAX_JSON),
             buffer(buffer, capacity, out_needed) => {
        in_time(summary(foundation.foundation(), &query, aggregate), |json| buffer.put(json))
    } }
}

fn explain(foundation: &Foundation, query: &esf_event_query) -> Result<String> {
    arg::to_json(&foundation.events().explain(&typed(query)?)?)
}

fn summary(foundation: &Foundation, query: &esf_event_query, aggregate: &str) -> Result<String> {
    let aggregate =
        if aggregate.is_empty() { Aggregate::default() } else { Aggregate::from_json(aggregate)? };
    arg::to_json(&foundation.events().aggregate(&typed(query)?, &aggregate)?)
}
