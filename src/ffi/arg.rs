//! The checks and conversions of arguments that `guard!` runs before a body: one function for each kind of
//! parameter, each naming the argument in its error.
//!
//! Every `unsafe fn` in here asks the same of its caller: a pointer that is neither NULL nor misaligned
//! points to memory of its type (of the length that belongs to it) for the duration of the call.

use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::config::esf_config_key;
use super::foundation::esf_foundation;
use super::query::esf_cursor;
use super::record::{self, Array, OutRecord, Record};
use super::status::{ESF_OK, esf_status};
use super::tail::esf_tail;
use super::text::{Buffer, esf_str};
use super::trace::esf_trace;
use super::watch::esf_subscription;
use crate::config::{RawKey, Subscription};
use crate::error::{Code, Error, Result};
use crate::events::{Cursor, Level};
use crate::handles::{self, Instance, OpenTail, TraceReader};
use crate::runtime::fork;
use crate::runtime::handle::{HotTable, Pin};

/// The longest configuration path, metric name or other name that is looked at.
pub(super) const MAX_NAME: usize = 4 << 10;
/// The longest JSON document of options or values that is parsed.
pub(super) const MAX_JSON: usize = 16 << 20;
/// The most bytes of one event's data that are looked at; the store's own limit is far below.
pub(super) const MAX_DATA: usize = 1 << 30;
/// The most items of one array.
pub(super) const MAX_ITEMS: usize = 1 << 20;
/// The most unread changes that a subscription keeps.
pub(super) const MAX_CAPACITY: u32 = 1 << 16;
/// A deadline for what nobody should be waiting for.
pub(super) const AT_ONCE: Duration = Duration::ZERO;

/// Somewhere to put a result: a pointer that was checked.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// Writes the result.
    pub(super) fn set(&mut self, value: T) {
        // SAFETY: an `Out` is made by `out`, `out_or` and `optional_out` only, from a pointer that is not NULL, is
        // aligned, and points to a `T` of the caller's for the duration of the call.
        unsafe { self.0.write(value) }
    }
}

impl<T: AnyBytes> Out<T> {
    /// Reads what the caller has there.
    pub(super) fn get(&self) -> T {
        // SAFETY: as in `set`; `AnyBytes` says that whatever the caller left there is a valid `T`.
        unsafe { self.0.read() }
    }
}

/// Types for which all bytes are valid: integers and raw pointers only.
///
/// # Safety
/// As said: no field may have a value that is not allowed, and there must be no drop glue.
pub(super) unsafe trait AnyBytes {}

// SAFETY: a pointer and two integers.
unsafe impl AnyBytes for super::text::esf_string {}

/// A result parameter that must be there.
pub(super) unsafe fn out<T>(ptr: *mut T, name: &str) -> Result<Out<T>> {
    Ok(Out(non_null(ptr, name)?))
}

/// A result parameter that must be there, or what to answer if it is NULL or misaligned.
#[inline]
pub(super) unsafe fn out_or<T, E>(ptr: *mut T, null: E, misaligned: E) -> std::result::Result<Out<T>, E> {
    match NonNull::new(ptr) {
        None => Err(null),
        Some(_) if !ptr.is_aligned() => Err(misaligned),
        Some(ptr) => Ok(Out(ptr)),
    }
}

/// A result parameter that may be NULL.
pub(super) unsafe fn optional_out<T>(ptr: *mut T, name: &str) -> Result<Option<Out<T>>> {
    if ptr.is_null() { Ok(None) } else { Ok(Some(Out(non_null(ptr, name)?))) }
}

/// Text of at most `max` bytes.
pub(super) unsafe fn text<'a>(text: esf_str, name: &str, max: usize) -> Result<&'a str> {
    // SAFETY: the same promise as ours.
    let bytes = unsafe { bytes(text, name, max) }?;
    std::str::from_utf8(bytes).map_err(|error| {
        Error::new(
            Code::InvalidUtf8,
            format!("{name} is not valid UTF-8: the byte at offset {} is wrong", error.valid_up_to()),
        )
        .with("argument", name)
        .with("offset", error.valid_up_to())
    })
}

/// At most `max` bytes.
pub(super) unsafe fn bytes<'a>(bytes: esf_str, name: &str, max: usize) -> Result<&'a [u8]> {
    if bytes.len > max {
        return Err(too_large(name, bytes.len, max));
    }
    if bytes.len == 0 {
        return Ok(&[]);
    }
    if bytes.ptr.is_null() {
        return Err(null(name).with("length", bytes.len));
    }
    // SAFETY: not NULL, no alignment to keep, and `len` (bounded above) bytes are there, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(bytes.ptr.cast(), bytes.len) })
}

/// At least one byte and at most `max`.
pub(super) unsafe fn some_bytes<'a>(text: esf_str, name: &str, max: usize) -> Result<&'a [u8]> {
    if text.len == 0 {
        return Err(Error::new(Code::InvalidInput, format!("{name} is empty")).with("argument", name));
    }
    // SAFETY: the same promise as ours.
    unsafe { bytes(text, name, max) }
}

/// An array of plain items; `(NULL, 0)` is empty.
pub(super) unsafe fn list<'a, T>(ptr: *const T, name: &str, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    let start = items(ptr.cast_mut(), name, count)?;
    // SAFETY: not NULL, aligned, and `count` (bounded above) items are there, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
}

/// The start of an array whose length is believable.
pub(super) fn items<T>(ptr: *mut T, name: &str, count: usize) -> Result<NonNull<T>> {
    if count > MAX_ITEMS {
        return Err(too_large(name, count, MAX_ITEMS));
    }
    non_null(ptr, name)
}

/// A buffer to fill: `(NULL, 0)` asks for the size only.
pub(super) unsafe fn buffer(
    start: *mut c_char,
    name: &str,
    capacity: usize,
    out_needed: *mut usize,
) -> Result<Buffer> {
    if start.is_null() && capacity > 0 {
        return Err(null(name).with("length", capacity));
    }
    // SAFETY: the same promise as ours.
    let needed = unsafe { out(out_needed, "out_needed") }?;
    Ok(Buffer { start, capacity, needed })
}

/// The number behind a handle; which kind it is, the table finds out.
#[inline]
pub(super) unsafe fn handle<T>(handle: *const T, name: &str) -> Result<u64> {
    if handle.is_null() { Err(null(name)) } else { Ok(handle.addr() as u64) }
}

/// The number behind a handle that may be NULL, which is 0 then.
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) unsafe fn optional_handle<T>(handle: *const T, _name: &str) -> Result<u64> {
    Ok(handle.addr() as u64)
}

/// A duration in milliseconds that is not negative.
pub(super) unsafe fn millis(value: i64, name: &str) -> Result<Duration> {
    u64::try_from(value).map(Duration::from_millis).map_err(|_| negative(name, value))
}

/// A count of the caller's that is not negative.
pub(super) unsafe fn not_negative(value: i64, name: &str) -> Result<u64> {
    count(value, name)
}

/// A count that is not negative.
pub(super) fn count(value: i64, name: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| negative(name, value))
}

/// The instance of a handle, held open for the call.
#[inline]
pub(super) unsafe fn instance(
    foundation: *const esf_foundation,
    name: &str,
) -> Result<Pin<'static, Instance>> {
    // SAFETY: a handle is never dereferenced.
    Instance::pin(unsafe { handle(foundation, name) }?)
}

/// The subscription of a handle, held for the call.
pub(super) unsafe fn subscription(
    subscription: *const esf_subscription,
    name: &str,
) -> Result<Pin<'static, Subscription>> {
    // SAFETY: a handle is never dereferenced.
    handles::subscriptions().pin(unsafe { handle(subscription, name) }?)
}

/// The tail of a handle, held for the call.
pub(super) unsafe fn tail(tail: *const esf_tail, name: &str) -> Result<Pin<'static, OpenTail>> {
    // SAFETY: a handle is never dereferenced.
    handles::tails().pin(unsafe { handle(tail, name) }?)
}

/// The cursor of a handle, held for the call; not in a forked child.
#[inline]
pub(super) unsafe fn cursor(cursor: *const esf_cursor, name: &str) -> Result<Pin<'static, Mutex<Cursor>>> {
    fork::check()?;
    // SAFETY: a handle is never dereferenced.
    handles::cursors().pin(unsafe { handle(cursor, name) }?)
}

/// The trace of a handle, held for the call; not in a forked child.
pub(super) unsafe fn trace(trace: *const esf_trace, name: &str) -> Result<Pin<'static, Mutex<TraceReader>>> {
    fork::check()?;
    // SAFETY: a handle is never dereferenced.
    handles::traces().pin(unsafe { handle(trace, name) }?)
}

/// The configuration key of a handle.
#[inline]
pub(super) unsafe fn config_key(key: *const esf_config_key, name: &str) -> Result<RawKey> {
    // SAFETY: a handle is never dereferenced.
    let key = unsafe { handle(key, name) }?;
    handles::config_key(key).ok_or_else(|| stale(key, "config key"))
}

/// JSON text of at most `max` bytes.
pub(super) unsafe fn json(document: esf_str, name: &str, max: usize) -> Result<Value> {
    // SAFETY: the same promise as ours.
    let document = unsafe { text(document, name, max) }?;
    serde_json::from_str(document).map_err(|error| {
        // serde_json says so in words only.
        let code =
            if error.to_string().starts_with("recursion limit") { Code::TooDeep } else { Code::FormatError };
        Error::new(code, format!("{name} is not JSON that can be read: {error}"))
            .with("argument", name)
            .with("line", error.line())
            .with("column", error.column())
    })
}

/// A record of the caller's to read.
pub(super) unsafe fn record<T: Record>(ptr: *const T, name: &str) -> Result<T> {
    // SAFETY: the same promise as ours.
    unsafe { record::read(ptr, name) }
}

/// A record of the caller's to write to.
pub(super) unsafe fn out_record<T: Record>(ptr: *mut T, name: &str) -> Result<OutRecord<T>> {
    // SAFETY: the same promise as ours.
    unsafe { record::out(ptr, name) }
}

/// A record of the caller's to write to, or NULL.
pub(super) unsafe fn optional_out_record<T: Record>(ptr: *mut T, name: &str) -> Result<Option<OutRecord<T>>> {
    if ptr.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise as ours.
    unsafe { record::out(ptr, name) }.map(Some)
}

/// An array of records of the caller's to read.
pub(super) unsafe fn records<T: Record>(ptr: *const T, name: &'static str, count: usize) -> Result<Array<T>> {
    // SAFETY: the same promise as ours.
    unsafe { Array::new(ptr.cast_mut(), name, count) }
}

/// An array of records of the caller's to write to, or NULL.
pub(super) unsafe fn optional_out_records<T: Record>(
    ptr: *mut T,
    name: &'static str,
    count: usize,
) -> Result<Option<Array<T>>> {
    if ptr.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise as ours.
    let array = unsafe { Array::new(ptr, name, count) }?;
    array.check()?;
    Ok(Some(array))
}

/// An array of records of the caller's to write to, with room for at least one.
pub(super) unsafe fn out_records<T: Record>(
    ptr: *mut T,
    name: &'static str,
    count: usize,
) -> Result<Array<T>> {
    if count == 0 {
        return Err(
            Error::new(Code::InvalidInput, format!("{name} has room for nothing")).with("argument", name)
        );
    }
    // SAFETY: the same promise as ours.
    let array = unsafe { Array::new(ptr, name, count) }?;
    array.check()?;
    Ok(array)
}

/// A function of the caller's that must be there.
pub(super) unsafe fn function<F>(function: Option<F>, name: &str) -> Result<F> {
    function.ok_or_else(|| null(name))
}

/// A level of durability.
pub(super) unsafe fn level(level: u32, name: &str) -> Result<Level> {
    Level::from_number(level).map_err(|error| error.with("argument", name))
}

/// How many changes a subscription keeps.
pub(super) unsafe fn capacity(capacity: u32, name: &str) -> Result<usize> {
    if (1..=MAX_CAPACITY).contains(&capacity) {
        return Ok(capacity as usize);
    }
    Err(Error::new(Code::InvalidInput, format!("{name} is {capacity}; allowed are 1 to {MAX_CAPACITY}"))
        .with("argument", name)
        .with("value", capacity))
}

/// A number from 0.0 to 1.0.
pub(super) fn fraction(value: f64, name: &str) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::new(Code::RangeError, format!("{name} is {value}; allowed are 0.0 to 1.0"))
        .with("argument", name))
}

/// Sets a result that the caller may not want.
pub(super) fn set_optional<T>(out: Option<Out<T>>, value: T) {
    if let Some(mut out) = out {
        out.set(value);
    }
}

/// Something of ours as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(Code::SerializationFailed, format!("the answer is not JSON: {error}")))
}

/// Locks what is used by one thread at a time; the holder's panic leaves it whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frees a handle of a hot table; NULL is fine.
pub(super) fn free_hot(table: &HotTable, handle: u64) -> Result<esf_status> {
    if handle != 0 {
        fork::check()?;
        table.free(handle)?;
    }
    Ok(ESF_OK)
}

/// A pointer to C's view of a handle.
pub(super) fn to_handle<T>(handle: u64) -> *mut T {
    std::ptr::without_provenance_mut(handle as usize)
}

/// A pointer that is neither NULL nor misaligned.
pub(super) fn non_null<T>(ptr: *mut T, name: &str) -> Result<NonNull<T>> {
    let Some(checked) = NonNull::new(ptr) else { return Err(null(name)) };
    if !ptr.is_aligned() {
        return Err(misaligned(name, ptr.addr(), align_of::<T>()));
    }
    Ok(checked)
}

#[cold]
fn null(name: &str) -> Error {
    Error::new(Code::NullArgument, format!("{name} is NULL")).with("argument", name)
}

#[cold]
fn misaligned(name: &str, address: usize, alignment: usize) -> Error {
    Error::new(
        Code::InvalidInput,
        format!("{name} is misaligned: the address {address:#x} is no multiple of {alignment}"),
    )
    .with("argument", name)
}

#[cold]
fn too_large(name: &str, len: usize, max: usize) -> Error {
    Error::new(Code::DataTooLarge, format!("{name} has a length of {len}; allowed are {max}"))
        .with("argument", name)
        .with("length", len)
        .with("limit", max)
}

#[cold]
fn negative(name: &str, value: i64) -> Error {
    Error::new(Code::InvalidInput, format!("{name} is {value}; it must not be negative"))
        .with("argument", name)
        .with("value", value)
}

/// The error for a handle that stands for nothing.
#[cold]
pub(super) fn stale(handle: u64, kind: &str) -> Error {
    Error::new(Code::StaleHandle, format!("this is no handle of an open {kind}"))
        .with("handle", format!("{handle:#x}"))
}

/// The error for a histogram that is still empty.
#[cold]
pub(super) fn nothing_recorded() -> Error {
    Error::new(Code::DataNotFound, "nothing was recorded in this histogram yet")
}

/// The error for a number that stands for nothing.
#[cold]
pub(super) fn unknown_constant(name: &str, value: u32, allowed: &str) -> Error {
    Error::new(Code::InvalidInput, format!("{name} is {value}; allowed are {allowed}"))
        .with("argument", name)
        .with("value", value)
}
