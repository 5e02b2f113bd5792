//! Atomics, locks and cells of the lock-free structures: the standard library's, or loom's when the crate
//! is built with `--cfg loom`, so that the models run the very code that ships.

use std::sync::TryLockError;

#[cfg(not(loom))]
#[allow(unused_imports, reason = "the set is the same for both, whichever part of it is in use")]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
#[allow(unused_imports, reason = "as above")]
pub(crate) use loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Locks a mutex whose holder may have panicked: what it guards is kept consistent at every step, so the
/// poison flag carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// As [`lock`], but `None` when somebody else has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits for a notification up to a timeout. It may come back early: callers look again at what they wait
/// for. (Loom's never times out.)
pub(crate) fn wait_timeout<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: std::time::Duration,
) -> MutexGuard<'a, T> {
    match condvar.wait_timeout(guard, timeout) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

/// A cell whose accesses loom checks for races; outside loom it is the standard library's.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(
    #[cfg(not(loom))] std::cell::UnsafeCell<T>,
    #[cfg(loom)] loom::cell::UnsafeCell<T>,
);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Hands a pointer for reading to `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Hands a pointer for writing to `f`.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

#[cfg(loom)]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// Hands a pointer for reading to `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.0.with(f)
    }

    /// Hands a pointer for writing to `f`.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}

/// A shared value that is there at first and taken away once: readers take it along without a lock.
#[cfg(not(loom))]
pub(crate) struct Switch<T>(arc_swap::ArcSwapOption<T>);

#[cfg(not(loom))]
impl<T> Switch<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwapOption::new(Some(value)))
    }

    /// The value, if it is still there.
    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }

    /// Takes it away. Those who have it keep it.
    pub(crate) fn clear(&self) {
        self.0.store(None);
    }
}

/// The same for loom, which does not see the library's own steps: one step of loom's says whether the value is gone,
/// and a lock that nobody waits for guards it.
#[cfg(loom)]
pub(crate) struct Switch<T> {
    gone: AtomicBool,
    value: std::sync::Mutex<Option<Arc<T>>>,
}

#[cfg(loom)]
impl<T> Switch<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self { gone: AtomicBool::new(false), value: std::sync::Mutex::new(Some(value)) }
    }

    fn value(&self) -> std::sync::MutexGuard<'_, Option<Arc<T>>> {
        self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The value, if it is still there.
    pub(crate) fn load(&self) -> Option<Arc<T>> {
        if self.gone.load(Ordering::Acquire) { None } else { self.value().clone() }
    }

    /// Takes it away. Those who have it keep it.
    pub(crate) fn clear(&self) {
        self.gone.store(true, Ordering::Release);
        let gone = self.value().take();
        drop(gone);
    }
}
