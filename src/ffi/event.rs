//! Events: appending them, and getting one back by its id.
//!
//! An event has a type, data (JSON by default), and optionally a correlation id that ties it to others, the
//! id of the event that caused it, a node and a pid that produced it. The store adds `seq`, the event's
//! position (dense and increasing), and the version of the configuration that was in force. Types, nodes,
//! pids and correlation ids have at most 255 bytes; data at most the instance's `max_data_bytes`.

use std::ffi::c_char;

use super::arg::{self, MAX_DATA, MAX_NAME};
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::query::in_time;
use super::record::{Array, Record};
use super::status::{ESF_OK, esf_status};
use super::text::{self, esf_str, esf_string, lend, lend_bytes};
use crate::error::{Code, Error, Result};
use crate::events::{Encoding, EventStore, EventView, Level, NewEvent, Receipt};
use crate::handles;

/// An event type, resolved once for appending many events of it.
pub struct esf_event_type {
    _opaque: [u8; 0],
}

/// How the data of an event is encoded: one of the `ESF_ENCODING_` constants.
pub type esf_encoding = u32;

/// JSON text in UTF-8; no data means `null`.
pub const ESF_ENCODING_JSON: esf_encoding = 1;
/// The Erlang external term format, uncompressed.
pub const ESF_ENCODING_ETF: esf_encoding = 2;
/// Bytes that the store does not look into.
pub const ESF_ENCODING_RAW: esf_encoding = 3;

/// How safe an event is: one of the `ESF_LEVEL_` constants.
pub type esf_level = u32;

/// The store was full and its strategy is `drop_newest`: the event is not there, and its `seq` is 0.
pub const ESF_LEVEL_DROPPED: esf_level = 0;
/// The event is in memory: every query that starts from now on finds it.
pub const ESF_LEVEL_ACCEPTED: esf_level = 1;
/// The event is with the operating system: it outlives the process, however that ends.
pub const ESF_LEVEL_CRASH_SAFE: esf_level = 2;
/// The event is on the disk: it outlives a loss of power.
pub const ESF_LEVEL_DURABLE: esf_level = 3;

/// A time that means the moment of the call.
pub const ESF_NOW: i64 = i64::MIN;

/// In `flags` of a view: the data was cut to the size that the store allows.
pub const ESF_EVENT_TRUNCATED: u32 = 1;

/// An event to be stored; start from `ESF_EVENT_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_event {
    /// `sizeof(esf_event)`.
    pub size: u32,
    /// How `data` is encoded.
    pub encoding: esf_encoding,
    /// The identity, 1 to 2^59 - 1; 0 lets the store choose.
    pub event_id: u64,
    /// The event that caused this one; 0 for none.
    pub parent_id: u64,
    /// When: nanoseconds since the Unix epoch on the instance's clock, or `ESF_NOW`.
    pub timestamp: i64,
    /// When, by the wall clock: nanoseconds since the Unix epoch, or `ESF_NOW`.
    pub wall_time: i64,
    /// The type, resolved; NULL to name it in `type`.
    pub type_handle: *const esf_event_type,
    /// The type by name, if `type_handle` is NULL.
    pub r#type: esf_str,
    /// The node that produced it; may be empty.
    pub node: esf_str,
    /// The process or thread that produced it; may be empty.
    pub pid: esf_str,
    /// What ties it to other events, any bytes; may be empty.
    pub correlation_id: esf_str,
    /// The data.
    pub data: esf_str,
}

/// What an append answers; start from `ESF_RECEIPT_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_receipt {
    /// `sizeof(esf_receipt)`.
    pub size: u32,
    /// How safe the event is.
    pub level: esf_level,
    /// The event's identity.
    pub event_id: u64,
    /// The event's position in the store.
    pub seq: u64,
}

/// A stored event; start from `ESF_VIEW_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_event_view {
    /// `sizeof(esf_event_view)`.
    pub size: u32,
    /// How `data` is encoded.
    pub encoding: esf_encoding,
    /// `ESF_EVENT_TRUNCATED`, or 0.
    pub flags: u32,
    /// Nothing yet: 0.
    pub reserved: u32,
    /// The position in the store.
    pub seq: u64,
    /// The identity.
    pub event_id: u64,
    /// The event that caused this one; 0 for none.
    pub parent_id: u64,
    /// The version of the configuration that was in force.
    pub config_version: u64,
    /// When: nanoseconds since the Unix epoch on the instance's clock.
    pub timestamp: i64,
    /// When, by the wall clock: nanoseconds since the Unix epoch.
    pub wall_time: i64,
    /// The type.
    pub r#type: esf_str,
    /// The node that produced it.
    pub node: esf_str,
    /// The process or thread that produced it.
    pub pid: esf_str,
    /// What ties it to other events.
    pub correlation_id: esf_str,
    /// The data.
    pub data: esf_str,
}

layout! {
    esf_event 128 { size 0, encoding 4, event_id 8, parent_id 16, timestamp 24, wall_time 32, type_handle 40,
                    r#type 48, node 64, pid 80, correlation_id 96, data 112 }
    esf_receipt 24 { size 0, level 4, event_id 8, seq 16 }
    esf_event_view 144 { size 0, encoding 4, flags 8, reserved 12, seq 16, event_id 24, parent_id 32,
                         config_version 40, timestamp 48, wall_time 56, r#type 64, node 80, pid 96,
                         correlation_id 112, data 128 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_event {}
// SAFETY: as above.
unsafe impl Record for esf_receipt {}
// SAFETY: as above.
unsafe impl Record for esf_event_view {}

/// Resolves an event type for appending many events of it.
///
/// Errors: ESF_E_INVALID_EVENT_TYPE; ESF_E_RESOURCE_EXHAUSTED past 65,536 different names.
/// Threads: any, concurrently.
/// Ownership: the handle is the caller's; free it with `esf_event_type_free`. It ends with its instance, and
/// works with that instance only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_type_resolve(
    foundation: *const esf_foundation,
    name: esf_str,
    out_type: *mut *mut esf_event_type,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(name, MAX_NAME), out(out_type) => {
        out_type.set(arg::to_handle(foundation.event_type(name)?));
        Ok(ESF_OK)
    } }
}

/// Frees an event type's handle; the type stays. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
/// Threads: any.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_type_free(r#type: *mut esf_event_type) -> esf_status {
    guard! { brief, optional_handle(r#type) => { arg::free_hot(handles::event_types(), r#type) } }
}

/// Appends an event. When the call returns, every query that starts from now on finds it, and it has the level of
/// the instance's mode (see "Durability").
///
/// `out_receipt` may be NULL. When the store is full the instance's `overflow_strategy` decides: the oldest
/// events make room, or this one is dropped and its receipt says `ESF_LEVEL_DROPPED`, or the call fails, or it
/// waits for room up to `block_timeout_ms`. With `on_duplicate` at `return`, an event that is stored already is
/// answered like the first time.
///
/// Errors: ESF_E_INVALID_EVENT_TYPE, ESF_E_DATA_TOO_LARGE, ESF_E_INVALID_UTF8 and ESF_E_INVALID_INPUT, each
/// naming the field; ESF_E_DUPLICATE_EVENT_ID; ESF_E_STORE_FULL; ESF_E_RESOURCE_EXHAUSTED. With files also
/// ESF_E_IO_ERROR and ESF_E_NO_SPACE, after which the event is stored and not as safe as the mode says;
/// ESF_E_OPERATION_FORBIDDEN if they are read only; ESF_E_FORKED in the child of a fork, whose parent's they are.
/// Threads: any, concurrently; with files in the modes `group` and `strict` it waits for the disk.
/// Ownership: the event is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_append(
    foundation: *const esf_foundation,
    event: *const esf_event,
    out_receipt: *mut esf_receipt,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(event), optional_out_record(out_receipt) => {
        let receipt = foundation.foundation().events().append(&new_event(&event)?)?;
        if let Some(out) = &mut out_receipt {
            out.set(&receipt_record(receipt));
        }
        Ok(ESF_OK)
    } }
}

/// Appends several events, all or none, with consecutive positions.
///
/// All events of the array must state the same `size`. `out_receipts` is NULL or an array of `count` receipts.
///
/// Errors: as `esf_event_append`; the error's JSON names the event by `index`.
/// Threads: any, concurrently.
/// Ownership: the events are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_append_batch(
    foundation: *const esf_foundation,
    events: *const esf_event,
    count: usize,
    out_receipts: *mut esf_receipt,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), records(events, count),
             optional_out_records(out_receipts, count) => {
        append_batch(foundation.foundation().events(), &events, None, out_receipts)
    } }
}

/// Has an event appended a moment later, by a thread of the instance: for callers who prefer not to wait.
///
/// What is wrong with the event is said now; that it could not be stored after all, because its id was stored
/// already or the store was full, is counted in the instance's status, under `events.later`. Times that it leaves
/// to the instance are those of this call. Events are stored in the order of the calls of a thread, which waits for
/// no disk: how safe they are then, `esf_events_watermark` and `esf_events_wait_durable` tell. The instance's thread is
/// started with the first such call. `out_event_id` may be NULL.
///
/// Errors: as `esf_event_append` for what is wrong with the event; ESF_E_STORE_FULL if as many events wait as
/// `async_queue_events` and `async_queue_bytes` allow.
/// Threads: any, concurrently.
/// Ownership: the event is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_append_async(
    foundation: *const esf_foundation,
    event: *const esf_event,
    out_event_id: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(event), optional_out(out_event_id) => {
        let event_id = foundation.foundation().events().append_async(&new_event(&event)?)?;
        arg::set_optional(out_event_id, event_id);
        Ok(ESF_OK)
    } }
}

/// Waits until every event that `esf_event_append_async` took before this call is stored, or counted as not stored.
///
/// Errors: ESF_TIMED_OUT if that takes longer than `timeout_ms`; ESF_E_INVALID_INPUT for a negative one.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_flush_async(
    foundation: *const esf_foundation,
    timeout_ms: i64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), millis(timeout_ms) => {
        in_time(foundation.foundation().events().flush_async(timeout_ms), |()| Ok(ESF_OK))
    } }
}

/// An id that no event of this instance has and that the store will not give out again.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_generate_id(
    foundation: *const esf_foundation,
    out_event_id: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_event_id) => {
        out_event_id.set(foundation.foundation().events().generate_id());
        Ok(ESF_OK)
    } }
}

/// The event of this id. The texts and bytes of `out_view` point into `out_owner`.
///
/// Errors: ESF_E_DATA_NOT_FOUND; ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: `out_owner` is the caller's; free it with `esf_string_free` when done with the view.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_get(
    foundation: *const esf_foundation,
    event_id: u64,
    out_view: *mut esf_event_view,
    out_owner: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out_record(out_view), out(out_owner) => {
        let event = foundation.foundation().events().get(event_id)?;
        let mut view = view_record(&event.view());
        text::own(&mut parts(&mut view), &mut out_owner)?;
        out_view.set(&view);
        Ok(ESF_OK)
    } }
}

/// The event of this id. The texts and bytes of `out_view` point into the buffer.
///
/// If the buffer is too small the view is not written.
///
/// Errors: ESF_E_DATA_NOT_FOUND; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: the view lives as long as the buffer; nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_event_get_into(
    foundation: *const esf_foundation,
    event_id: u64,
    out_view: *mut esf_event_view,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out_record(out_view),
             buffer(buffer, capacity, out_needed) => {
        let event = foundation.foundation().events().get(event_id)?;
        let mut view = view_record(&event.view());
        let status = buffer.own(&mut parts(&mut view));
        if status == ESF_OK {
            out_view.set(&view);
        }
        Ok(status)
    } }
}

/// Appends an array of events, at a level or at that of the store's mode.
pub(super) fn append_batch(
    store: &EventStore,
    events: &Array<esf_event>,
    level: Option<Level>,
    out_receipts: Option<Array<esf_receipt>>,
) -> Result<esf_status> {
    let mut batch = Vec::new();
    batch.try_reserve_exact(events.len()).map_err(|_| no_memory(events.len()))?;
    for (index, event) in events.iter().enumerate() {
        let event = event.and_then(|event| new_event(&event));
        batch.push(event.map_err(|error| error.with("index", index))?);
    }
    let mut receipts = Vec::new();
    receipts.try_reserve_exact(events.len()).map_err(|_| no_memory(events.len()))?;
    receipts.resize(events.len(), Receipt::default());
    store.append_batch_with(&batch, &mut receipts, level)?;
    if let Some(mut out) = out_receipts {
        for (index, receipt) in receipts.into_iter().enumerate() {
            out.set(index, &receipt_record(receipt));
        }
    }
    Ok(ESF_OK)
}

/// What C handed in, as the store takes it. It borrows the caller's memory for the call.
pub(super) fn new_event<'a>(event: &esf_event) -> Result<NewEvent<'a>> {
    // SAFETY: the pointers stand in a record of the caller's, whose contract covers them as well.
    let (name, node, pid, correlation_id, data) = unsafe {
        (
            arg::text(event.r#type, "event.type", MAX_NAME)?,
            arg::text(event.node, "event.node", MAX_NAME)?,
            arg::text(event.pid, "event.pid", MAX_NAME)?,
            arg::bytes(event.correlation_id, "event.correlation_id", MAX_NAME)?,
            arg::bytes(event.data, "event.data", MAX_DATA)?,
        )
    };
    let encoding = Encoding::from_number(event.encoding).ok_or_else(|| {
        arg::unknown_constant("event.encoding", event.encoding, "the ESF_ENCODING_ constants")
    })?;
    let event_type = if event.type_handle.is_null() {
        name.into()
    } else {
        let handle = event.type_handle.addr() as u64;
        handles::event_type(handle).ok_or_else(|| arg::stale(handle, "event type"))?.into()
    };
    Ok(NewEvent {
        event_type,
        event_id: Some(event.event_id).filter(|id| *id != 0),
        timestamp: Some(event.timestamp).filter(|time| *time != ESF_NOW),
        wall_time: Some(event.wall_time).filter(|time| *time != ESF_NOW),
        node,
        pid,
        correlation_id: Some(correlation_id).filter(|id| !id.is_empty()),
        parent_id: Some(event.parent_id).filter(|id| *id != 0),
        encoding,
        data,
    })
}

pub(super) fn receipt_record(receipt: Receipt) -> esf_receipt {
    esf_receipt {
        size: size_of::<esf_receipt>() as u32,
        level: receipt.level,
        event_id: receipt.event_id,
        seq: receipt.seq,
    }
}

/// A stored event as C sees it; it lends what the view borrows.
pub(super) fn view_record(event: &EventView<'_>) -> esf_event_view {
    esf_event_view {
        size: size_of::<esf_event_view>() as u32,
        encoding: event.encoding() as u32,
        flags: if event.truncated() { ESF_EVENT_TRUNCATED } else { 0 },
        reserved: 0,
        seq: event.seq(),
        event_id: event.event_id(),
        parent_id: event.parent_id().unwrap_or_default(),
        config_version: event.config_version(),
        timestamp: event.timestamp(),
        wall_time: event.wall_time(),
        r#type: lend(event.event_type()),
        node: lend(event.node()),
        pid: lend(event.pid()),
        correlation_id: lend_bytes(event.correlation_id().unwrap_or_default()),
        data: lend_bytes(event.data()),
    }
}

/// What of a view lies elsewhere.
fn parts(view: &mut esf_event_view) -> [&mut esf_str; 5] {
    [&mut view.r#type, &mut view.node, &mut view.pid, &mut view.correlation_id, &mut view.data]
}

fn no_memory(count: usize) -> Error {
    Error::new(Code::NoMemory, format!("no memory for a batch of {count} events")).with("count", count)
}
