//! The checks of the calls that take a few nanoseconds. They answer a code: with nobody to tell details to,
//! there is nothing to allocate or to format, and the whole call is a handful of instructions.
//!
//! Every `unsafe fn` in here asks of its caller what those of `arg` ask.

use super::arg::{self, Out};
use super::config::esf_config_key;
use super::status::{ESF_OK, esf_status};
use crate::config::RawKey;
use crate::error::Code;
use crate::handles;

/// What a hot call comes to.
pub(super) type Outcome<T> = Result<T, Code>;

/// The number behind a handle. No table has an entry for 0, so NULL needs no check of its own.
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) unsafe fn handle<T>(handle: *const T) -> Outcome<u64> {
    Ok(handle.addr() as u64)
}

/// The configuration key of a handle.
#[inline]
pub(super) unsafe fn config_key(key: *const esf_config_key) -> Outcome<RawKey> {
    let key = key.addr() as u64;
    handles::config_key(key).ok_or_else(|| nothing(key))
}

/// A result parameter that must be there.
#[inline]
pub(super) unsafe fn out<T>(ptr: *mut T) -> Outcome<Out<T>> {
    // SAFETY: the same promise as ours.
    unsafe { arg::out_or(ptr, Code::NullArgument, Code::InvalidInput) }
}

/// Why a handle stands for nothing.
#[inline]
pub(super) fn nothing(handle: u64) -> Code {
    if handle == 0 { Code::NullArgument } else { Code::StaleHandle }
}

/// The outcome of a call that finds its handle or not.
#[inline]
pub(super) fn done(found: Option<()>, handle: u64) -> Outcome<esf_status> {
    found.map(|()| ESF_OK).ok_or_else(|| nothing(handle))
}

/// The outcome of a call that finds its handle or not, and accepts the value or not.
#[inline]
pub(super) fn accepted(outcome: Option<bool>, handle: u64) -> Outcome<esf_status> {
    match outcome {
        Some(true) => Ok(ESF_OK),
        Some(false) => Err(Code::InvalidInput),
        None => Err(nothing(handle)),
    }
}

/// Writes what a call found, if it found its handle.
#[inline]
pub(super) fn put<T>(value: Option<T>, out: &mut Out<T>, handle: u64) -> Outcome<esf_status> {
    out.set(value.ok_or_else(|| nothing(handle))?);
    Ok(ESF_OK)
}
