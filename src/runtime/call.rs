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
    /// Who calls it or drops it.
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

    /// Returns when the callback neither runs nor is being dropped: at once when called from inside it. After
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
            let at_rest = state.callback.take();
            if at_rest.is_some() {
                // Who waits for the end waits for this, too.
                state.running_on = Some(thread::current().id());
            }
            at_rest
        };
        if let Some(callback) = at_rest {
            let _resting = Resting(self);
            drop(callback);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every step under the lock leaves the state whole, and no callback runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callback is being dropped until this is, also by a panic.
struct Resting<'a, T>(&'a Call<T>);

impl<T> Drop for Resting<'_, T> {
    fn drop(&mut self) {
        self.0.lock().running_on = None;
        self.0.rested.notify_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    /// Its end takes until it is told.
    struct Slow<'a>(std::sync::mpsc::Sender<()>, Receiver<()>, &'a AtomicBool);

    impl Drop for Slow<'_> {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            self.1.recv().unwrap();
            self.2.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_for_the_end_also_waits_for_what_the_callback_owned() {
        static GONE: AtomicBool = AtomicBool::new(false);
        let (begun, beginning) = channel();
        let (go, gate) = channel();
        let owned = Slow(begun, gate, &GONE);
        let call: Call<()> = Call::new(Box::new(move |()| {
            let _owned = &owned;
        }));
        std::thread::scope(|scope| {
            // The store is being closed while the owner cancels.
            scope.spawn(|| call.forbid());
            beginning.recv().unwrap();
            let (returned, returns) = channel();
            let call = &call;
            scope.spawn(move || {
                call.forbid();
                call.wait();
                returned.send(GONE.load(Ordering::SeqCst)).unwrap();
            });
            let early = returns.recv_timeout(Duration::from_millis(100)).ok();
            go.send(()).unwrap();
            let gone = early.unwrap_or_else(|| returns.recv().unwrap());
            assert!(gone, "cancelled, and what the callback owned is still there");
        });
    }
}
