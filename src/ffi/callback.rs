//! Callbacks: C's `(function, user_data, drop)`, kept together and dropped once.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::watch::esf_drop_fn;
use crate::error::{Code, Error, Result};

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

/// Runs what calls a function of the host's.
pub(super) fn inside(call: impl FnOnce()) {
    let before = INSIDE.replace(true);
    call();
    INSIDE.set(before);
}

/// A callback of the host's: a function `F`, known not to be NULL. `drop` is called when the last clone is gone,
/// unless it was forgotten.
pub(super) struct Callback<F>(Arc<Inner<F>>);

impl<F> Clone for Callback<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<F> {
    function: F,
    user_data: *mut c_void,
    drop: esf_drop_fn,
    forgotten: AtomicBool,
}

// SAFETY: the pointer is the host's and is only handed back to its functions; the header asks that it be fit
// for use on another thread. The functions are called one at a time.
unsafe impl<F: Send> Send for Inner<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for Inner<F> {}

impl<F: Copy> Callback<F> {
    pub(super) fn new(function: F, user_data: *mut c_void, drop: esf_drop_fn) -> Self {
        Self(Arc::new(Inner { function, user_data, drop, forgotten: AtomicBool::new(false) }))
    }

    /// Never mind `drop`: the host keeps its data.
    pub(super) fn forget(&self) {
        self.0.forgotten.store(true, Ordering::Relaxed);
    }

    /// Has `call` call the function with the host's data.
    pub(super) fn run(&self, call: impl FnOnce(F, *mut c_void)) {
        inside(|| call(self.0.function, self.0.user_data));
    }
}

impl<F> Drop for Inner<F> {
    fn drop(&mut self) {
        if let (false, Some(drop)) = (*self.forgotten.get_mut(), self.drop) {
            // SAFETY: the host gave this function for its own data, and this is the only time it is called.
            unsafe { drop(self.user_data) };
        }
    }
}
