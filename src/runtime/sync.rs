//! Atomics, locks and cells of the lock-free structures: the standard library's, or loom's when the crate
//! is built with `--cfg loom`, so that the models run the very code that ships.

#[cfg(not(loom))]
#[allow(unused_imports, reason = "the set is the same for both, whichever part of it is in use")]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
#[allow(unused_imports, reason = "as above")]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Locks a mutex whose holder may have panicked: what it guards is kept consistent at every step, so the
/// poison flag carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
