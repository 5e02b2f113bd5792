//! A callback of the host's: called by one worker, ended from anywhere, dropped once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// What is called with each `T`.
pub(crate) type Callback<T> = Box<dyn Fn(&T) + Send>;

/// A callback and where it is: at rest, running, or gone. Runs do not overlap: one worker makes them.
pub(crate) struct Call<T> {
    state: Mutex<State<T>>,
    rested: Condvar,
}

struct State<T> {
    /// Empty while the callback runs and after it was cancelled.
    callback: Option<Callback<T>>,
    running_on: Option<ThreadId>,
    cancelled: bool,
}

impl<T> Call<T> {
    pub(crate) fn new(callback: Callback<T>) -> Self {
        let state = State { callback: Some(callback), running_on: None, cancelled: false };
        Self { state: Mutex::new(state), rested: Condvar::new() }
    }

    /// Calls with one item, unless cancelled; whether the callback returned rather than panicked.
    pub(crate) fn run(&self, item: &T) -> bool {
        let callback = {
            let mut state = self.lock();
            let Some(callback) = state.callback.take() else { return true };
            state.running_on = Some(thread::current().id());
            callback
        };
        let returned = catch_unwind(AssertUnwindSafe(|| callback(item))).is_ok();
        let mut state = self.lock();
        if state.cancelled {
            // What the callback owns is dropped before a waiting `cancel` returns, and outside the lock.
            drop(state);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(callback))).is_ok();
            self.lock().running_on = None;
            self.rested.notify_all();
            return returned && dropped;
        }
        state.callback = Some(callback);
        state.running_on = None;
        drop(state);
        self.rested.notify_all();
        returned
    }

    /// Returns when the callback does not run: at once when called from inside it. After
    /// [`forbid`](Self::forbid) it will not run again either.
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while state.running_on.is_some_and(|thread| thread != thread::current().id()) {
            state = self.rested.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No further call begins; one that runs goes on. What the callback owns is dropped here or after it.
    pub(crate) fn forbid(&self) {
        let at_rest = {
            let mut state = self.lock();
            state.cancelled = true;
            state.callback.take()
        };
        drop(at_rest);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every step under the lock leaves the state whole, and no callback runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
