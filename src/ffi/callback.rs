//! Callbacks: C's `(function, user_data, drop)`, kept together and dropped once.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::watch::{esf_config_change, esf_drop_fn};
use crate::error::{Code, Error, Result};

/// The function itself, known not to be NULL.
pub(super) type Function = unsafe extern "C" fn(user_data: *mut c_void, change: *const esf_config_change);

thread_local! {
    /// Whether this thread is inside a callback. It has no destructor.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Refuses what must not be called from inside a callback.
pub(super) fn refuse_inside() -> Result<()> {
    if INSIDE.get() {
        return Err(Error::new(
            Code::Reentrant,
            "an instance cannot be closed from inside a callback, which its closing would wait for",
        ));
    }
    Ok(())
}

/// A callback of the host's. `drop` is called when the last clone is gone, unless it was forgotten.
#[derive(Clone)]
pub(super) struct Callback(Arc<Inner>);

struct Inner {
    function: Function,
    user_data: *mut c_void,
    drop: esf_drop_fn,
    forgotten: AtomicBool,
}

// SAFETY: the pointer is the host's and is only handed back to its functions; the header asks that it be fit
// for use on another thread. The functions are called one at a time.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Callback {
    pub(super) fn new(function: Function, user_data: *mut c_void, drop: esf_drop_fn) -> Self {
        Self(Arc::new(Inner { function, user_data, drop, forgotten: AtomicBool::new(false) }))
    }

    /// Never mind `drop`: the host keeps its data.
    pub(super) fn forget(&self) {
        self.0.forgotten.store(true, Ordering::Relaxed);
    }

    /// Calls the function.
    pub(super) fn run(&self, change: &esf_config_change) {
        let before = INSIDE.replace(true);
        // SAFETY: the host gave this function for this purpose; `change` and what it points to live until
        // the call returns.
        unsafe { (self.0.function)(self.0.user_data, change) };
        INSIDE.set(before);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let (false, Some(drop)) = (*self.forgotten.get_mut(), self.drop) {
            // SAFETY: the host gave this function for its own data, and this is the only time it is called.
            unsafe { drop(self.user_data) };
        }
    }
}
