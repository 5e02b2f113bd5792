//! Delivery to callbacks: one worker, `esf-config-notify`, started with the first of them.
//!
//! The worker takes the number of a subscription with something unread, delivers one change, and puts the
//! number back if there is more, so that no subscriber starves the others. No lock is held while a
//! callback runs. A callback that panics is counted and goes on being called.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::watch::{Change, Ready, Watchers};
use crate::runtime::queue::Pop;
use crate::runtime::stop::StopToken;

/// The name of the worker.
pub(crate) const WORKER: &str = "config-notify";

/// What is called with each change.
pub(crate) type Callback = Box<dyn Fn(&Change) + Send>;

/// A callback and where it is: at rest, running, or gone.
pub(super) struct Call {
    state: Mutex<State>,
    rested: Condvar,
}

struct State {
    /// Empty while the callback runs and after it was cancelled.
    callback: Option<Callback>,
    running_on: Option<ThreadId>,
    cancelled: bool,
}

impl Call {
    pub(super) fn new(callback: Callback) -> Self {
        let state = State { callback: Some(callback), running_on: None, cancelled: false };
        Self { state: Mutex::new(state), rested: Condvar::new() }
    }

    /// Calls with one change, unless cancelled; whether the callback returned rather than panicked.
    fn run(&self, change: &Change) -> bool {
        let callback = {
            let mut state = self.lock();
            let Some(callback) = state.callback.take() else { return true };
            state.running_on = Some(thread::current().id());
            callback
        };
        let returned = catch_unwind(AssertUnwindSafe(|| callback(change))).is_ok();
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
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        while state.running_on.is_some_and(|thread| thread != thread::current().id()) {
            state = self.rested.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No further call begins; one that runs goes on. What the callback owns is dropped here or after it.
    pub(super) fn forbid(&self) {
        let at_rest = {
            let mut state = self.lock();
            state.cancelled = true;
            state.callback.take()
        };
        drop(at_rest);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every step under the lock leaves the state whole, and no callback runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's body: delivers until it is told to stop.
pub(crate) fn deliver(watchers: &Arc<Watchers>, stop: &StopToken) {
    let waker = watchers.clone();
    stop.on_stop(move || waker.ready.wake());
    // After a restart, a number that was taken may not have been put back.
    for id in watchers.with_callbacks() {
        watchers.ready.push(Ready(id));
    }
    while !stop.is_stopped() {
        match watchers.ready.pop_timeout(Duration::from_hours(1)) {
            Pop::Item(Ready(id)) => deliver_one(watchers, id),
            Pop::TimedOut => {}
            Pop::Closed => return,
        }
    }
}

fn deliver_one(watchers: &Watchers, id: u64) {
    let Some(entry) = watchers.find(id) else { return };
    let (Some(call), Some(change)) = (&entry.call, entry.queue.try_pop()) else { return };
    if !call.run(&change) {
        watchers.panics.fetch_add(1, Ordering::Relaxed);
    }
    if entry.queue.stats().len > 0 {
        watchers.ready.push(Ready(id));
    }
}
