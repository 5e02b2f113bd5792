//! The books of asynchronous appends.

use serde::Serialize;

use super::queue::Limits;
use crate::error::Code;
use crate::runtime::sync::{AtomicU64, Ordering};

/// What has become of the events that were to be stored later. At rest `offered = waiting + stored + refused_full +
/// refused_invalid + refused_closed + failed_duplicate + failed_full + failed_other + dropped_newest +
/// dropped_at_close`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AsyncStats {
    /// Events handed in. The store's own `offered` has them from the moment when they are tried to be stored.
    pub offered: u64,
    /// Events that wait to be stored.
    pub waiting: u64,
    /// Bytes that they take.
    pub waiting_bytes: u64,
    /// Events that are stored, or were stored already where the store answers such events.
    pub stored: u64,
    /// Events refused at the call because the queue was full: `store_full`.
    pub refused_full: u64,
    /// Events refused at the call because something about them was wrong.
    pub refused_invalid: u64,
    /// Events refused at the call because the store was being closed.
    pub refused_closed: u64,
    /// Events that were taken and then not stored, because their id was stored already.
    pub failed_duplicate: u64,
    /// Events that were taken and then not stored, because the store was full and its strategy is an error.
    pub failed_full: u64,
    /// Events that were taken and then not stored for another reason.
    pub failed_other: u64,
    /// Events that were taken and then dropped, because the store was full and its strategy is to drop the newest.
    pub dropped_newest: u64,
    /// Events that were not stored by the deadline of closing.
    pub dropped_at_close: u64,
    /// The most events that wait.
    pub max_events: u64,
    /// The most bytes that they take.
    pub max_bytes: u64,
}

/// Why a call did not take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Invalid,
    Closed,
}

/// Why an event that was taken could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Duplicate,
    Full,
    Other,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        match code {
            Code::DuplicateEventId => Self::Duplicate,
            Code::StoreFull => Self::Full,
            _ => Self::Other,
        }
    }
}

/// What became of an event that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    DroppedNewest,
    Failed(Failure),
    /// Nobody was to store it any more.
    Dropped,
}

/// The counts. Each event is counted as offered, and once more when its fate is known.
pub(crate) struct Books {
    offered: AtomicU64,
    stored: AtomicU64,
    refused: [AtomicU64; 3],
    failed: [AtomicU64; 3],
    dropped_newest: AtomicU64,
    dropped: AtomicU64,
}

impl Books {
    pub(crate) fn new() -> Self {
        let none = || [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
        Self {
            offered: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            refused: none(),
            failed: none(),
            dropped_newest: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn offered(&self, events: u64) {
        self.offered.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: Refused) {
        self.offered(1);
        let [full, invalid, closed] = &self.refused;
        let count = match reason {
            Refused::Full => full,
            Refused::Invalid => invalid,
            Refused::Closed => closed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finished(&self, outcome: Outcome) {
        let [duplicate, full, other] = &self.failed;
        let count = match outcome {
            Outcome::Stored => &self.stored,
            Outcome::DroppedNewest => &self.dropped_newest,
            Outcome::Failed(Failure::Duplicate) => duplicate,
            Outcome::Failed(Failure::Full) => full,
            Outcome::Failed(Failure::Other) => other,
            Outcome::Dropped => &self.dropped,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, limits: Limits, waiting: u64, waiting_bytes: u64) -> AsyncStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [refused_full, refused_invalid, refused_closed] = self.refused.each_ref().map(read);
        let [failed_duplicate, failed_full, failed_other] = self.failed.each_ref().map(read);
        AsyncStats {
            offered: read(&self.offered),
            waiting,
            waiting_bytes,
            stored: read(&self.stored),
            refused_full,
            refused_invalid,
            refused_closed,
            failed_duplicate,
            failed_full,
            failed_other,
            dropped_newest: read(&self.dropped_newest),
            dropped_at_close: read(&self.dropped),
            max_events: limits.events,
            max_bytes: limits.bytes,
        }
    }
}
