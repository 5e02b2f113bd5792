//! Delivery to callbacks: one worker, `esf-config-notify`, started with the first of them.
//!
//! The worker takes the number of a subscription with something unread, delivers one change, and puts the
//! number back if there is more, so that no subscriber starves the others. No lock is held while a
//! callback runs. A callback that panics is counted and goes on being called.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::watch::{Change, Ready, Watchers};
use crate::runtime::call;
use crate::runtime::queue::Pop;
use crate::runtime::stop::StopToken;

/// The name of the worker.
pub(crate) const WORKER: &str = "config-notify";

/// What is called with each change.
pub(crate) type Callback = call::Callback<Change>;

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
