//! The boundary that nobody can forget: [`guard!`] is the whole body of every export.
//!
//! ```text
//! guard! { cold(err), instance(foundation), text(path, MAX_PATH), out(out_value) => {
//!     out_value.set(foundation.config().get_f64(path)?);
//!     Ok(ESF_OK)
//! } }
//! ```
//!
//! First the kind of the call, then one check for each argument in the order of the parameters, then the
//! body, which sees the checked and converted arguments under their own names. A check is a function of
//! `arg` of that name; the first that fails ends the call with an error that names the argument.
//!
//! Kinds: `cold(err)` refuses calls in a forked child and reports details through `err`; `local(err)` is the
//! same without the fork check, for what touches no instance; `brief` has neither, for what has no `err`;
//! `hot` is for calls of a few nanoseconds, whose checks are those of `swift` and answer a code instead of an
//! error, so that nothing in them is ever allocated, formatted or unwound; `value(fallback)` is for what
//! answers a value instead of a status.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::{self, esf_error};
use super::status::esf_status;
use super::swift::Outcome;
use crate::error::{Code, Error, Result};
use crate::runtime::fork;

macro_rules! guard {
    (cold($err:ident) $(, $check:ident($arg:ident $(, $extra:expr)*))* => $body:block) => {
        $crate::ffi::guard::cold($err, || {
            $(guard!(@check $check($arg $(, $extra)*));)*
            $body
        })
    };
    (local($err:ident) $(, $check:ident($arg:ident $(, $extra:expr)*))* => $body:block) => {
        $crate::ffi::guard::local($err, || {
            $(guard!(@check $check($arg $(, $extra)*));)*
            $body
        })
    };
    (hot $(, $check:ident($arg:ident))* => $body:block) => {
        $crate::ffi::guard::hot(|| {
            $(
                // SAFETY: as for `@check` below.
                #[allow(unused_mut, reason = "not every check gives something to write to")]
                let mut $arg = unsafe { $crate::ffi::swift::$check($arg) }?;
            )*
            $body
        })
    };
    (brief $(, $check:ident($arg:ident $(, $extra:expr)*))* => $body:block) => {
        $crate::ffi::guard::brief(|| {
            $(guard!(@check $check($arg $(, $extra)*));)*
            $body
        })
    };
    (value($fallback:expr) => $body:block) => {
        $crate::ffi::guard::value($fallback, || $body)
    };
    (@check $check:ident($arg:ident $(, $extra:expr)*)) => {
        // SAFETY: the pointers are arguments of an export: its caller promised what the header's
        // introduction asks of them, and the check itself refuses NULL and misaligned ones.
        #[allow(unused_mut, unused_variables, reason = "not every check gives something to write to")]
        let mut $arg = unsafe { $crate::ffi::arg::$check($arg, stringify!($arg) $(, $extra)*) }?;
    };
}

/// A call on an instance, a cursor or a subscription.
#[inline]
pub(super) fn cold(err: *mut *mut esf_error, body: impl FnOnce() -> Result<esf_status>) -> esf_status {
    if fork::is_forked() {
        return error::report_forked(err);
    }
    local(err, body)
}

/// A call that touches no instance.
#[inline]
pub(super) fn local(err: *mut *mut esf_error, body: impl FnOnce() -> Result<esf_status>) -> esf_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => error::report(err, error),
        Err(payload) => error::report(err, panicked(payload)),
    }
}

/// A call of a few nanoseconds, which answers a status and no details.
#[inline]
pub(super) fn hot(body: impl FnOnce() -> Outcome<esf_status>) -> esf_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(code)) => code as esf_status,
        Err(payload) => status_of(panicked(payload)),
    }
}

/// A call that answers a status and no details.
#[inline]
pub(super) fn brief(body: impl FnOnce() -> Result<esf_status>) -> esf_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => status_of(error),
        Err(payload) => status_of(panicked(payload)),
    }
}

/// A call that answers a value.
#[inline]
pub(super) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            drop(panicked(payload));
            fallback
        }
    }
}

#[cold]
#[inline(never)]
#[allow(clippy::needless_pass_by_value, reason = "the error ends here")]
fn status_of(error: Error) -> esf_status {
    error.code() as esf_status
}

/// The error for a caught panic. A payload that is not text is leaked, since dropping it could panic again.
#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let payload = payload.downcast::<&'static str>().map(|text| (*text).to_owned());
    let payload = payload.or_else(|other| other.downcast::<String>().map(|text| *text));
    let text = payload.unwrap_or_else(|other| {
        std::mem::forget(other);
        "no message".to_owned()
    });
    Error::new(Code::InternalError, format!("a defect of this library was caught at its boundary: {text}"))
        .with("panic", text)
}
