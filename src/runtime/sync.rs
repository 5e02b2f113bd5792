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

/// A sequentially consistent load. Loom takes that for a mere acquire, and a read-modify-write for what it is.
pub(crate) fn load_in_order(atomic: &AtomicU32) -> u32 {
    #[cfg(not(loom))]
    return atomic.load(Ordering::SeqCst);
    #[cfg(loom)]
    return atomic.fetch_add(0, Ordering::AcqRel);
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

/// A value that is set once and then read by many.
#[cfg(not(loom))]
pub(crate) use std::sync::OnceLock;

/// The same for loom, which does not see the library's: a flag says whether the value is there, as the library's does.
#[cfg(loom)]
pub(crate) struct OnceLock<T> {
    there: AtomicBool,
    setting: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

#[cfg(loom)]
impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { there: AtomicBool::new(false), setting: Mutex::new(()), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.there.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _setting = lock(&self.setting);
        self.value.set(value)?;
        self.there.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _setting = lock(&self.setting);
        let value = self.value.get_or_init(make);
        self.there.store(true, Ordering::Release);
        value
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.value.take()
    }
}

#[cfg(loom)]
impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
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

/// The same for loom, see [`Step`].
#[cfg(loom)]
pub(crate) struct Switch<T>(Step<Option<Arc<T>>>);

#[cfg(loom)]
impl<T> Switch<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Step::new(Some(value)))
    }

    /// The value, if it is still there.
    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.0.load()
    }

    /// Takes it away. Those who have it keep it.
    pub(crate) fn clear(&self) {
        self.0.store(None);
    }
}

/// A shared value that is replaced as a whole: readers take what is there without a lock.
#[cfg(not(loom))]
pub(crate) struct Whole<T>(arc_swap::ArcSwap<T>);

/// What was taken from a [`Whole`].
#[cfg(not(loom))]
pub(crate) type Taken<T> = arc_swap::Guard<Arc<T>>;

#[cfg(not(loom))]
impl<T> Whole<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    pub(crate) fn load(&self) -> Taken<T> {
        self.0.load()
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// The same for loom, see [`Step`].
#[cfg(loom)]
pub(crate) struct Whole<T>(Step<Arc<T>>);

/// What was taken from a [`Whole`].
#[cfg(loom)]
pub(crate) type Taken<T> = Arc<T>;

#[cfg(loom)]
impl<T> Whole<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Step::new(Arc::new(value)))
    }

    pub(crate) fn load(&self) -> Taken<T> {
        self.0.load()
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// A value that is read and replaced in one step, as `arc_swap` does it, whose own steps loom does not see. The step is
/// one of `stores`: whoever loads a value sees what its store was preceded by, and not the other way round. It reads
/// by a read-modify-write, so that what it finds is what `value` holds; nothing of loom's happens between the two.
#[cfg(loom)]
struct Step<V> {
    stores: AtomicUsize,
    value: std::sync::Mutex<V>,
}

#[cfg(loom)]
impl<V: Clone> Step<V> {
    fn new(value: V) -> Self {
        Self { stores: AtomicUsize::new(0), value: std::sync::Mutex::new(value) }
    }

    fn value(&self) -> std::sync::MutexGuard<'_, V> {
        self.value.try_lock().expect("nothing of loom's happens while it is held")
    }

    fn load(&self) -> V {
        self.stores.fetch_add(0, Ordering::Acquire);
        self.value().clone()
    }

    fn store(&self, value: V) {
        self.stores.fetch_add(1, Ordering::Release);
        let old = std::mem::replace(&mut *self.value(), value);
        // It may be the last of its kind, whose end has steps of loom's.
        drop(old);
    }
}
