//! Tails: hearing of events as they are stored.
//!
//! A tail tells every event that matches its filter once and in the order of storing, from now on or from a
//! position in the past, over which it catches up and goes on live. What it cannot tell, because the store had
//! dropped it before the tail came to it, it tells as a gap: from which position to which. So a program that
//! was away goes on at the position after the last that it has dealt with, and knows whether it missed anything.
//!
//! A tail reads the store whenever it is asked: it has no queue that could fill, a slow reader costs no memory,
//! and storing waits for nobody. There are two forms. One to take from, with a descriptor for poll or epoll:
//!
//! ```text
//! esf_event_query filter = ESF_QUERY_INIT;
//! filter.correlation_id = ESF_STR("order-7");
//! esf_tail_options options = ESF_TAIL_INIT;
//! options.filter = &filter;
//! options.from_seq = 1;
//! esf_tail *tail;
//! if (esf_events_tail(app, &options, &tail, &err) == ESF_OK) {
//!     esf_event_view view = ESF_VIEW_INIT;
//!     esf_gap gap = ESF_GAP_INIT;
//!     esf_status status;
//!     while ((status = esf_tail_next(tail, 1000, &view, &gap, &err)) == ESF_OK || status == ESF_GAP)
//!         if (status == ESF_GAP)
//!             printf("%llu events are missing\n", (unsigned long long)gap.count);
//!         else
//!             printf("%.*s\n", ESF_FMT(view.data));
//!     esf_tail_cancel(tail, NULL);
//! }
//! ```
//!
//! Or a callback, run on a thread of the library's, one call at a time for all tails of an instance, with no
//! lock held: it may call anything but `esf_foundation_close`. docs/tails.md has the promises in full.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use super::arg;
use super::callback::Callback;
use super::error::esf_error;
use super::event::{esf_event_view, view_record};
use super::foundation::esf_foundation;
use super::query::{self, esf_event_query};
use super::record::{OutRecord, Record};
use super::status::{ESF_AGAIN, ESF_DONE, ESF_GAP, ESF_OK, ESF_TIMED_OUT, esf_status};
use super::text::{Sink, esf_string};
use super::watch::esf_drop_fn;
use crate::error::Result;
use crate::events::{Gap, GapReason, Query, TailItem, TailOptions};
use crate::handles::{self, OpenTail};
use crate::runtime::queue::Pop;

/// A tail of an instance's events.
pub struct esf_tail {
    _opaque: [u8; 0],
}

/// Why events are missing: one of the `ESF_GAP_` constants.
pub type esf_gap_reason = u32;

/// The store no longer had them when the tail came to them.
pub const ESF_GAP_REMOVED: esf_gap_reason = 1;
/// The tail was further behind than its capacity.
pub const ESF_GAP_LAGGED: esf_gap_reason = 2;

/// A position that means what is stored from now on.
pub const ESF_TAIL_FROM_NOW: u64 = 0;

/// How a tail is opened; start from `ESF_TAIL_INIT`, which tells every event that is stored from now on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_tail_options {
    /// `sizeof(esf_tail_options)`.
    pub size: u32,
    /// For a callback: how many calls may be made before `esf_tail_acknowledge` says that they are dealt with;
    /// then it waits. 0 for as many as there are.
    pub window: u32,
    /// Which events to tell; NULL for all. Order, offset, limit, positions and timeout must be as
    /// `ESF_QUERY_INIT` has them.
    pub filter: *const esf_event_query,
    /// The first position to tell, up to the next that the store gives, or `ESF_TAIL_FROM_NOW`.
    pub from_seq: u64,
    /// How many events, matching or not, it may be behind the newest: older ones are passed over, with a gap. 0
    /// for as many as the store holds.
    pub capacity: u64,
}

/// Events that a tail does not tell, whether they match or not: all from the first to the last; start from
/// `ESF_GAP_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_gap {
    /// `sizeof(esf_gap)`.
    pub size: u32,
    /// Why.
    pub reason: esf_gap_reason,
    /// The position of the first.
    pub first_seq: u64,
    /// The position of the last.
    pub last_seq: u64,
    /// How many events they are.
    pub count: u64,
}

layout! {
    esf_tail_options 32 { size 0, window 4, filter 8, from_seq 16, capacity 24 }
    esf_gap 32 { size 0, reason 4, first_seq 8, last_seq 16, count 24 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_tail_options {}
// SAFETY: as above.
unsafe impl Record for esf_gap {}

/// What is called with each event, or with a gap: the other is NULL. What they point to lives until it returns.
pub type esf_tail_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const esf_event_view, gap: *const esf_gap)>;

/// Opens a tail to take from. What is stored after this call returned is told.
///
/// Errors: ESF_E_INVALID_INPUT for a filter with what a tail has not, for a position that the store has not come
/// to, and for a window; ESF_E_RESOURCE_EXHAUSTED past 4,096 tails of an instance.
/// Threads: any, concurrently.
/// Ownership: the tail is the caller's; end it with `esf_tail_cancel`. When its instance is closed, what it has
/// read already can still be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_tail(
    foundation: *const esf_foundation,
    options: *const esf_tail_options,
    out_tail: *mut *mut esf_tail,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(options), out(out_tail) => {
        let tail = foundation.foundation().events().tail(typed(&options)?)?;
        out_tail.set(arg::to_handle(handles::tails().insert(OpenTail::new(tail))?));
        Ok(ESF_OK)
    } }
}

/// Opens a tail with a callback, which is run on the thread `esf-events-tail` of the library's.
///
/// After the tail was cancelled (except from inside the callback itself) the callback is not running and will
/// not run again. `drop`, which may be NULL, is then called once with `user_data`; if this call fails it is not
/// called. Closing the instance ends the tail as well: what is not told then, is not.
///
/// Errors: as `esf_events_tail`, but for the window; ESF_E_NULL_ARGUMENT without a callback.
/// Threads: any, concurrently. `user_data` must be fit for use on another thread.
/// Ownership: the tail is the caller's; end it with `esf_tail_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_events_tail_callback(
    foundation: *const esf_foundation,
    options: *const esf_tail_options,
    callback: esf_tail_fn,
    user_data: *mut c_void,
    drop: esf_drop_fn,
    out_tail: *mut *mut esf_tail,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), record(options), function(callback), out(out_tail) => {
        let options = typed(&options)?;
        let call = Callback::new(callback, user_data, drop);
        let opened = {
            let call = call.clone();
            let tell = move |item: &TailItem| match item {
                TailItem::Event(event) => tell(&call, &view_record(&event.view()), std::ptr::null()),
                TailItem::Gap(gap) => tell(&call, std::ptr::null(), &gap_record(*gap)),
            };
            foundation.foundation().tail_callback(options, Box::new(tell))
        };
        let tail = opened.inspect_err(|_| call.forget())?;
        let handle = handles::tails().insert(OpenTail::new(tail)).inspect_err(|_| call.forget())?;
        out_tail.set(arg::to_handle(handle));
        Ok(ESF_OK)
    } }
}

/// Takes what comes next, waiting for it for at most `timeout_ms` milliseconds: ESF_OK with an event in
/// `out_view`, or ESF_GAP with a gap in `out_gap`.
///
/// With a timeout of 0 it looks through all that is stored, however much does not match. While events come faster
/// than one in 200 microseconds, a call that waits looks at such intervals.
///
/// Errors: those of the header's introduction; ESF_AGAIN if there is nothing and `timeout_ms` is 0, ESF_TIMED_OUT
/// if nothing came in time, ESF_DONE if the tail or its instance is over; ESF_E_IO_ERROR and others when what comes
/// next is in a file that cannot be read: the next call tries again.
/// Threads: any, but one call on a tail at a time.
/// Ownership: the view's texts and bytes live until the next call of this function on the tail, or its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_next(
    tail: *mut esf_tail,
    timeout_ms: i64,
    out_view: *mut esf_event_view,
    out_gap: *mut esf_gap,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), tail(tail), millis(timeout_ms), out_record(out_view), out_record(out_gap) => {
        next(&tail, timeout_ms, &mut out_view, &mut out_gap)
    } }
}

/// A file descriptor that is readable when there may be something to take, and at the end.
///
/// When it is, take with a timeout of 0 until that answers ESF_AGAIN: from then on it waits for more. Use it with
/// poll, select or epoll only; do not read or close it.
///
/// Errors: ESF_E_RESOURCE_EXHAUSTED if the process has too many files open.
/// Threads: any, concurrently.
/// Ownership: the tail's; it ends with `esf_tail_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_descriptor(
    tail: *const esf_tail,
    out_descriptor: *mut i32,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), tail(tail), out(out_descriptor) => {
        out_descriptor.set(tail.tail.descriptor()?);
        Ok(ESF_OK)
    } }
}

/// Says that so many of the calls of a callback with a window are dealt with, so that as many more may be made.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently, also from inside the callback.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_acknowledge(
    tail: *const esf_tail,
    n: u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), tail(tail) => {
        tail.tail.acknowledge(n);
        Ok(ESF_OK)
    } }
}

/// What the tail has told, passed over and is behind, as JSON: `position` is the first that it has not read.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_stats_json(
    tail: *const esf_tail,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), tail(tail), out(out_json) => {
        out_json.put(arg::to_json(&tail.tail.stats())?)
    } }
}

/// What the tail has told, passed over and is behind, as JSON, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_stats_json_into(
    tail: *const esf_tail,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), tail(tail), buffer(buffer, capacity, out_needed) => {
        buffer.put(arg::to_json(&tail.tail.stats())?)
    } }
}

/// Ends a tail and frees it. NULL is fine.
///
/// Whoever waits in `esf_tail_next` gets ESF_DONE. A callback that is running has returned when this call returns,
/// unless this call was made from inside it.
///
/// Errors: ESF_E_STALE_HANDLE if it was cancelled before, or meanwhile by another thread; ESF_E_TIMEOUT if a call
/// on it was still running after 5 seconds: the tail is over but its handle is not freed yet.
/// Threads: any, also from inside its own callback. It waits as long as a running callback takes, so two callbacks
/// of two instances must not cancel one another.
/// Ownership: ends here; views of it are no longer valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_tail_cancel(tail: *mut esf_tail, err: *mut *mut esf_error) -> esf_status {
    guard! { cold(err), optional_handle(tail) => {
        if tail != 0 {
            // Not waited for under the pin: the callback that is waited for may make this very call.
            let ended = handles::tails().pin(tail)?.tail.end();
            ended.wait();
            drop(handles::tails().remove(tail, CANCEL_DEADLINE)?);
        }
        Ok(ESF_OK)
    } }
}

/// How long a cancellation waits for calls that were woken by it.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// What C asked for, as the store takes it.
fn typed(options: &esf_tail_options) -> Result<TailOptions> {
    let filter = if options.filter.is_null() {
        Query::default()
    } else {
        // SAFETY: the pointer stands in a record of the caller's, whose contract covers it as well.
        query::typed(&unsafe { arg::record(options.filter, "options.filter") }?)?
    };
    Ok(TailOptions {
        filter,
        from_seq: Some(options.from_seq).filter(|seq| *seq != ESF_TAIL_FROM_NOW),
        capacity: Some(options.capacity).filter(|capacity| *capacity != 0),
        window: Some(options.window).filter(|window| *window != 0),
    })
}

fn gap_record(gap: Gap) -> esf_gap {
    esf_gap {
        size: size_of::<esf_gap>() as u32,
        reason: match gap.reason {
            GapReason::Removed => ESF_GAP_REMOVED,
            GapReason::Lagged => ESF_GAP_LAGGED,
        },
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        count: gap.count(),
    }
}

type TailFunction = unsafe extern "C" fn(*mut c_void, *const esf_event_view, *const esf_gap);

fn tell(call: &Callback<TailFunction>, event: *const esf_event_view, gap: *const esf_gap) {
    // SAFETY: the host gave this function for this purpose; what the pointers point to lives until it returns.
    call.run(|function, user_data| unsafe { function(user_data, event, gap) });
}

fn next(
    tail: &OpenTail,
    timeout: Duration,
    out_view: &mut OutRecord<esf_event_view>,
    out_gap: &mut OutRecord<esf_gap>,
) -> Result<esf_status> {
    // What was shown is let go first, so that its memory can be used again.
    *arg::lock(&tail.shown) = None;
    let item = match tail.tail.next_timeout(timeout)? {
        Pop::Item(item) => item,
        Pop::Closed => return Ok(ESF_DONE),
        Pop::TimedOut if timeout.is_zero() => return Ok(ESF_AGAIN),
        Pop::TimedOut => return Ok(ESF_TIMED_OUT),
    };
    let mut shown = arg::lock(&tail.shown);
    match shown.insert(item) {
        TailItem::Event(event) => {
            out_view.set(&view_record(&event.view()));
            Ok(ESF_OK)
        }
        TailItem::Gap(gap) => {
            out_gap.set(&gap_record(*gap));
            Ok(ESF_GAP)
        }
    }
}
