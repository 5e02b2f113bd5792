//! Traces: the tree of causes that an event belongs to, by `parent_id`.
//!
//! A trace is read from its root on, each event before those that it caused:
//!
//! ```text
//! esf_trace *trace;
//! if (esf_events_trace(app, event_id, 1000, &trace, &err) == ESF_OK) {
//!     esf_event_view view = ESF_VIEW_INIT;
//!     uint32_t depth;
//!     while (esf_trace_next(trace, &view, &depth) == ESF_OK)
//!         printf("%*s%.*s\n", (int)(2 * depth), "", ESF_FMT(view.type));
//!     esf_trace_free(trace);
//! }
//! ```
//!
//! A parent that is not in the store (any more) ends the way up, and a circle is not followed: both are reported.

use super::arg;
use super::error::esf_error;
use super::event::{esf_event_view, view_record};
use super::foundation::esf_foundation;
use super::record::Record;
use super::status::{ESF_DONE, ESF_OK, esf_status};
use crate::handles::{self, TraceReader};
use crate::runtime::fork;

/// The tree of causes that an event belongs to.
pub struct esf_trace {
    _opaque: [u8; 0],
}

/// What is to be known of a trace as a whole; start from `ESF_TRACE_INFO_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_trace_info {
    /// `sizeof(esf_trace_info)`.
    pub size: u32,
    /// 1 if there are more events than were asked for, else 0.
    pub truncated: u32,
    /// How many events the trace has.
    pub event_count: u64,
    /// The parent that the root names and that is not in the store; 0 if there is none.
    pub missing_parent: u64,
    /// The ids of events at which the way would go round in a circle; NULL if there are none.
    pub cycles: *const u64,
    /// How many of them there are.
    pub cycle_count: usize,
}

layout! {
    esf_trace_info 40 { size 0, truncated 4, event_count 8, missing_parent 16, cycles 24, cycle_count 32 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_trace_info {}

/// The whole tree of causes that the event of this id belongs to, at most `limit` (1 to 100,000) events of it.
///
/// Errors: ESF_E_DATA_NOT_FOUND if there is no such event; ESF_E_INVALID_INPUT for another limit;
/// ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: the trace is the caller's; free it with `esf_trace_free`. It keeps its events in memory, also after
/// its instance was closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_trace(
    foundation: *const esf_foundation,
    event_id: u64,
    limit: i64,
    out_trace: *mut *mut esf_trace,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), not_negative(limit), out(out_trace) => {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let trace = foundation.foundation().events().trace(event_id, limit)?;
        let reader = TraceReader { trace, read: 0 };
        out_trace.set(arg::to_handle(handles::traces().insert(reader.into())?));
        Ok(ESF_OK)
    } }
}

/// The next event of a trace, and how far it is from the root, which has the depth 0. `out_depth` may be NULL.
///
/// Errors: those of the header's introduction; ESF_DONE when there is none.
/// Threads: any, but one call on a trace at a time.
/// Ownership: the view's texts and bytes live as long as the trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_trace_next(
    trace: *mut esf_trace,
    out_view: *mut esf_event_view,
    out_depth: *mut u32,
) -> esf_status {
    guard! { brief, trace(trace), out_record(out_view), optional_out(out_depth) => {
        let mut reader = arg::lock(&trace);
        let Some(next) = reader.trace.events.get(reader.read) else { return Ok(ESF_DONE) };
        out_view.set(&view_record(&next.event.view()));
        arg::set_optional(out_depth, next.depth);
        reader.read += 1;
        Ok(ESF_OK)
    } }
}

/// What is to be known of a trace as a whole, however much of it was read.
///
/// Errors: those of the header's introduction.
/// Threads: any, but one call on a trace at a time.
/// Ownership: `cycles` lives as long as the trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_trace_get_info(
    trace: *mut esf_trace,
    out_info: *mut esf_trace_info,
) -> esf_status {
    guard! { brief, trace(trace), out_record(out_info) => {
        let reader = arg::lock(&trace);
        let found = &reader.trace;
        out_info.set(&esf_trace_info {
            size: size_of::<esf_trace_info>() as u32,
            truncated: u32::from(found.truncated),
            event_count: found.events.len() as u64,
            missing_parent: found.missing_parent.unwrap_or(0),
            cycles: if found.cycles.is_empty() { std::ptr::null() } else { found.cycles.as_ptr() },
            cycle_count: found.cycles.len(),
        });
        Ok(ESF_OK)
    } }
}

/// Frees a trace. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before; ESF_E_TIMEOUT if another thread is inside a call on it:
/// it is not freed then.
/// Threads: any; not while a call on the same trace runs.
/// Ownership: ends here; views of it are no longer valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_trace_free(trace: *mut esf_trace) -> esf_status {
    guard! { brief, optional_handle(trace) => {
        if trace != 0 {
            fork::check()?;
            drop(handles::traces().remove(trace, arg::AT_ONCE)?);
        }
        Ok(ESF_OK)
    } }
}
