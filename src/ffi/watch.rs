//! Watching the configuration: subscriptions to the changes below a path.
//!
//! Delivery never holds up whoever changes something: a subscription is a bounded queue in which a later
//! change of the same path replaces the earlier one while that is unread (counted as `coalesced`), and which
//! drops its oldest change when it is full (counted as `dropped`).
//!
//! There are two forms. A queue to poll: `esf_config_next_change` takes from it, and
//! `esf_subscription_descriptor` gives a file descriptor that poll or epoll shows as readable while there is
//! something to take. Or a callback, run on a thread of the library's, one call at a time, with no lock
//! held: it may call anything but `esf_foundation_close`.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use super::arg::{self, MAX_NAME, Out};
use super::callback::Callback;
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::record::{OutRecord, Record};
use super::status::{ESF_AGAIN, ESF_DONE, ESF_OK, ESF_TIMED_OUT, esf_status};
use super::text::{self, Sink, esf_str, esf_string, lend};
use crate::config::{Change, ChangeKind, Subscription};
use crate::error::Result;
use crate::handles;
use crate::runtime::queue::Pop;

/// A subscription to changes of the configuration.
pub struct esf_subscription {
    _opaque: [u8; 0],
}

/// What happened to a value: one of the `ESF_CHANGE_` constants.
pub type esf_change_kind = u32;

/// The value was set by an update.
pub const ESF_CHANGE_UPDATED: esf_change_kind = 1;
/// All values were set back to their defaults; the path is the subscription's, the values are all below it.
pub const ESF_CHANGE_RESET: esf_change_kind = 2;

/// A change of one value; start from `ESF_CHANGE_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esf_config_change {
    /// `sizeof(esf_config_change)`.
    pub size: u32,
    /// What happened.
    pub kind: esf_change_kind,
    /// The version of the configuration since then.
    pub version: u64,
    /// When: nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Whose value it is.
    pub path: esf_str,
    /// The value before, as JSON.
    pub old_json: esf_str,
    /// The value since then, as JSON.
    pub new_json: esf_str,
}

layout! {
    esf_config_change 72 { size 0, kind 4, version 8, timestamp 16, path 24, old_json 40, new_json 56 }
}

// SAFETY: `repr(C)`, starts with its size, and holds integers and raw pointers only.
unsafe impl Record for esf_config_change {}

/// What is called with each change; the change and its texts live until it returns.
pub type esf_config_change_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, change: *const esf_config_change)>;

/// What is called once when `user_data` is no longer needed.
pub type esf_drop_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Subscribes to the changes of all values at and below a path ("" for all), as a queue to poll.
///
/// `capacity` is how many unread changes are kept, 1 to 65536.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_INVALID_INPUT for the capacity;
/// ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: the subscription is the caller's; end it with `esf_subscription_cancel`. When its instance is
/// closed, what is queued can still be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_subscribe(
    foundation: *const esf_foundation,
    path: esf_str,
    capacity: u32,
    out_subscription: *mut *mut esf_subscription,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), capacity(capacity),
             out(out_subscription) => {
        let subscription = foundation.foundation().config().subscribe(path, capacity)?;
        out_subscription.set(arg::to_handle(handles::subscriptions().insert(subscription)?));
        Ok(ESF_OK)
    } }
}

/// Subscribes to the changes of all values at and below a path ("" for all), with a callback.
///
/// `callback` is run on the thread `esf-config-notify` of the library's. After the subscription was
/// cancelled (except from inside the callback itself) it is not running and will not run again. `drop`, which
/// may be NULL, is then called once with `user_data`; if this call fails it is not called.
///
/// Errors: as `esf_config_subscribe`; ESF_E_NULL_ARGUMENT without a callback.
/// Threads: any, concurrently. `user_data` must be fit for use on another thread.
/// Ownership: the subscription is the caller's; end it with `esf_subscription_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_subscribe_callback(
    foundation: *const esf_foundation,
    path: esf_str,
    capacity: u32,
    callback: esf_config_change_fn,
    user_data: *mut c_void,
    drop: esf_drop_fn,
    out_subscription: *mut *mut esf_subscription,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), capacity(capacity),
             function(callback), out(out_subscription) => {
        let call = Callback::new(callback, user_data, drop);
        let subscribed = {
            let call = call.clone();
            foundation.foundation().config().subscribe_callback(path, capacity, Box::new(move |change| {
                let text = ChangeText::new(change);
                let record = text.record(change);
                // SAFETY: the host gave this function for this purpose; the change and its texts live until it
                // returns.
                call.run(|function, user_data| unsafe { function(user_data, &raw const record) });
            }))
        };
        let subscription = subscribed.inspect_err(|_| call.forget())?;
        let handle = handles::subscriptions().insert(subscription).inspect_err(|_| call.forget())?;
        out_subscription.set(arg::to_handle(handle));
        Ok(ESF_OK)
    } }
}

/// A file descriptor that is readable while the subscription has something to take or is over.
///
/// Use it with poll, select or epoll only; do not read or close it.
///
/// Errors: ESF_E_RESOURCE_EXHAUSTED if the process has too many files open.
/// Threads: any, concurrently.
/// Ownership: the subscription's; it ends with `esf_subscription_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_subscription_descriptor(
    subscription: *const esf_subscription,
    out_descriptor: *mut i32,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), subscription(subscription), out(out_descriptor) => {
        out_descriptor.set(subscription.descriptor()?);
        Ok(ESF_OK)
    } }
}

/// Takes the oldest change that is queued, waiting for one for at most `timeout_ms` milliseconds.
///
/// The texts of `out_change` point into `out_owner`.
///
/// Errors: those of the header's introduction; ESF_AGAIN if there is none and `timeout_ms` is 0,
/// ESF_TIMED_OUT if none came in time, ESF_DONE if the subscription is over and empty.
/// Threads: any, concurrently; each change is taken once.
/// Ownership: `out_owner` is the caller's; free it with `esf_string_free` when done with the change.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_next_change(
    subscription: *const esf_subscription,
    timeout_ms: i64,
    out_change: *mut esf_config_change,
    out_owner: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), subscription(subscription), millis(timeout_ms), out_record(out_change),
             out(out_owner) => {
        next_change(&subscription, timeout_ms, &mut out_change, &mut out_owner)
    } }
}

/// What the subscription has queued, coalesced and dropped, as JSON.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_subscription_stats_json(
    subscription: *const esf_subscription,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), subscription(subscription), out(out_json) => {
        out_json.put(arg::to_json(&subscription.stats())?)
    } }
}

/// What the subscription has queued, coalesced and dropped, as JSON, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_subscription_stats_json_into(
    subscription: *const esf_subscription,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), subscription(subscription), buffer(buffer, capacity, out_needed) => {
        buffer.put(arg::to_json(&subscription.stats())?)
    } }
}

/// Ends a subscription and frees it. NULL is fine.
///
/// Whoever waits in `esf_config_next_change` gets ESF_DONE. A callback that is running has returned when this
/// call returns, unless this call was made from inside it.
///
/// Errors: ESF_E_STALE_HANDLE if it was cancelled before, or meanwhile by another thread; ESF_E_TIMEOUT if a
/// call on it was still running after 5 seconds: the subscription is over but its handle is not freed yet.
/// Threads: any, also from inside its own callback. It waits as long as a running callback takes, so two
/// callbacks of two instances must not cancel one another.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_subscription_cancel(
    subscription: *mut esf_subscription,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), optional_handle(subscription) => {
        if subscription != 0 {
            // Not waited for under the pin: the callback that is waited for may make this very call.
            let ended = handles::subscriptions().pin(subscription)?.end();
            ended.wait();
            drop(handles::subscriptions().remove(subscription, CANCEL_DEADLINE)?);
        }
        Ok(ESF_OK)
    } }
}

/// How long a cancellation waits for calls that were woken by it.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// The texts of a change, as they are shown to C.
struct ChangeText {
    old: String,
    new: String,
}

impl ChangeText {
    fn new(change: &Change) -> Self {
        Self { old: change.old.to_string(), new: change.new.to_string() }
    }

    fn record(&self, change: &Change) -> esf_config_change {
        esf_config_change {
            size: size_of::<esf_config_change>() as u32,
            kind: match change.kind {
                ChangeKind::Updated => ESF_CHANGE_UPDATED,
                ChangeKind::Reset => ESF_CHANGE_RESET,
            },
            version: change.version,
            timestamp: change.timestamp_ns,
            path: lend(change.path),
            old_json: lend(&self.old),
            new_json: lend(&self.new),
        }
    }
}

fn next_change(
    subscription: &Subscription,
    timeout: Duration,
    out_change: &mut OutRecord<esf_config_change>,
    out_owner: &mut Out<esf_string>,
) -> Result<esf_status> {
    let change = match subscription.next_timeout(timeout) {
        Pop::Item(change) => change,
        Pop::Closed => return Ok(ESF_DONE),
        Pop::TimedOut if timeout.is_zero() => return Ok(ESF_AGAIN),
        Pop::TimedOut => return Ok(ESF_TIMED_OUT),
    };
    let texts = ChangeText::new(&change);
    let mut record = texts.record(&change);
    text::own(&mut [&mut record.path, &mut record.old_json, &mut record.new_json], out_owner)?;
    out_change.set(&record);
    Ok(ESF_OK)
}
