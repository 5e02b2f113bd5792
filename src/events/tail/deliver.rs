//! Delivery to callbacks: one worker, `esf-events-tail`, started with the first of them.
//!
//! The worker goes round all tails with a callback and gives each a turn, so that no subscriber starves the others.
//! No lock is held while a callback runs. A callback that panics is counted and goes on being called.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::registry::{Entry, PACE, Tails, Taken};
use crate::runtime::deadline::Deadline;
use crate::runtime::stop::StopToken;

/// The name of the worker.
pub(crate) const WORKER: &str = "events-tail";

/// How many calls a tail gets in its turn.
const TURN: usize = 64;

/// After how long a file that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a turn has come to.
enum Turn {
    /// There is more.
    Unfinished,
    /// Everything below this position is told.
    CaughtUp(u64),
    /// It waits for acknowledgements, or is over.
    Resting,
    /// A file could not be read.
    Failed,
}

/// The worker's body: delivers until it is told to stop.
pub(super) fn deliver(tails: &Arc<Tails>, stop: &StopToken) {
    let waker = Arc::clone(tails);
    stop.on_stop(move || waker.bell.wake());
    // Whether a ring was what woke us last.
    let mut rung = false;
    while !stop.is_stopped() {
        let moment = tails.bell.moment();
        let Some(entries) = tails.with_callbacks() else { return };
        let mut behind = None;
        let (mut unfinished, mut failed) = (false, false);
        for entry in &entries {
            match turn(entry, tails, stop) {
                Turn::Unfinished => unfinished = true,
                Turn::Failed => failed = true,
                // The one that is least far says from where on something is new.
                Turn::CaughtUp(position) if behind.is_none_or(|(_, least)| position < least) => {
                    behind = Some((entry, position));
                }
                Turn::CaughtUp(_) | Turn::Resting => {}
            }
        }
        if unfinished {
            continue;
        }
        if std::mem::take(&mut rung) {
            tails.bell.pause(PACE, || !stop.is_stopped());
            continue;
        }
        let waits = match behind.and_then(|(entry, position)| Some((entry.store.upgrade()?, position))) {
            Some((store, position)) => tails.bell.arm(position, &store.frontier),
            None => true,
        };
        drop(entries);
        if waits && !stop.is_stopped() {
            let patience = if failed { RETRY } else { Duration::from_hours(1) };
            tails.bell.wait(moment, Deadline::after(patience));
            rung = true;
        }
    }
}

fn turn(entry: &Entry, tails: &Tails, stop: &StopToken) -> Turn {
    let Some(call) = &entry.call else { return Turn::Resting };
    for _ in 0..TURN {
        if !entry.has_room() {
            return Turn::Resting;
        }
        if stop.is_stopped() {
            break;
        }
        match entry.take() {
            Taken::Item(item) => {
                if entry.window != u64::MAX {
                    entry.unacknowledged.fetch_add(1, Ordering::AcqRel);
                }
                if !call.run(&item) {
                    tails.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
            // A long look without a match is a turn, too.
            Taken::Unfinished => break,
            Taken::Nothing(position) => return Turn::CaughtUp(position),
            Taken::Over => return Turn::Resting,
            Taken::Failed(_) => {
                tails.failed_reads.fetch_add(1, Ordering::Relaxed);
                return Turn::Failed;
            }
        }
    }
    Turn::Unfinished
}

impl Tails {
    /// The tails with a callback; `None` when the store is closed.
    fn with_callbacks(&self) -> Option<Vec<Arc<Entry>>> {
        let entries = self.entries();
        let called = |entry: &&Arc<Entry>| entry.call.is_some();
        (!entries.closed).then(|| entries.live.iter().filter(called).cloned().collect())
    }
}
