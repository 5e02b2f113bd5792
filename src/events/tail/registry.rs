//! The tails of a store, and what each shares with its owner and the worker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::store::EventStore;
use super::bell::Bell;
use super::item::TailItem;
use super::reader::Reader;
use super::{TailCounts, TailsStats};
use crate::error::Error;
use crate::runtime::call::Call;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::sync::{Mutex, MutexGuard, lock};

/// A ring costs whoever stores a system call, so a tail asks for one at most this often; in between it looks by
/// itself.
pub(super) const PACE: Duration = Duration::from_micros(200);

/// The tails of one store.
pub(crate) struct Tails {
    pub(crate) bell: Bell,
    entries: Mutex<Entries>,
    pub(super) panics: AtomicU64,
    pub(super) failed_reads: AtomicU64,
    pub(super) totals: Arc<Totals>,
}

pub(super) struct Entries {
    pub(super) live: Vec<Arc<Entry>>,
    pub(super) next_id: u64,
    /// The worker for callbacks was started.
    pub(super) working: bool,
    pub(super) closed: bool,
}

/// What a tail, the store and the worker share.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) store: Weak<EventStore>,
    pub(super) reader: Mutex<Reader>,
    pub(super) call: Option<Call<TailItem>>,
    pub(super) window: u64,
    pub(super) unacknowledged: AtomicU64,
    /// It was ended by its owner: nothing more is told.
    pub(super) over: AtomicBool,
    /// The store is being closed: what was read is told.
    pub(super) closed: AtomicBool,
    /// It has a descriptor.
    pub(super) watched: AtomicBool,
    /// When it was woken by a ring, in nanoseconds of the boot clock.
    pub(super) rung: AtomicU64,
}

pub(super) enum Taken {
    Item(TailItem),
    /// Nothing that matches in what was looked at; there is more.
    Unfinished,
    /// Everything below this position is told.
    Nothing(u64),
    /// What comes next is in a file that cannot be read.
    Failed(Error),
    Over,
}

impl Tails {
    pub(crate) fn new() -> Self {
        let entries = Entries { live: Vec::new(), next_id: 1, working: false, closed: false };
        Self {
            bell: Bell::new(),
            entries: Mutex::new(entries),
            panics: AtomicU64::new(0),
            failed_reads: AtomicU64::new(0),
            totals: Arc::default(),
        }
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }

    /// Ends every tail without waiting for a callback that runs: who waits wakes up.
    pub(crate) fn close(&self) {
        let live = {
            let mut entries = self.entries();
            entries.closed = true;
            entries.live.clone()
        };
        for entry in live {
            entry.closed.store(true, Ordering::Release);
            if let Some(call) = &entry.call {
                call.forbid();
            }
            self.bell.set(entry.id, true);
        }
        self.bell.wake();
    }

    pub(crate) fn stats(&self) -> TailsStats {
        TailsStats {
            tails: self.entries().live.len() as u64,
            callback_panics: self.panics.load(Ordering::Relaxed),
            failed_reads: self.failed_reads.load(Ordering::Relaxed),
            counts: self.totals.read(),
        }
    }

    pub(super) fn remove(&self, entry: &Entry) {
        self.entries().live.retain(|other| other.id != entry.id);
    }
}

/// What all tails have counted. A tail's own counts are its reader's; these are kept beside them, so that the end of
/// a tail waits for no reader.
#[derive(Default)]
pub(super) struct Totals {
    delivered: AtomicU64,
    filtered: AtomicU64,
    missed_removed: AtomicU64,
    missed_lagged: AtomicU64,
    uncomparable: AtomicU64,
}

impl Totals {
    pub(super) fn add(&self, more: TailCounts) {
        let pairs = [
            (&self.delivered, more.delivered),
            (&self.filtered, more.filtered),
            (&self.missed_removed, more.missed_removed),
            (&self.missed_lagged, more.missed_lagged),
            (&self.uncomparable, more.uncomparable),
        ];
        for (total, more) in pairs.into_iter().filter(|(_, more)| *more > 0) {
            total.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn read(&self) -> TailCounts {
        TailCounts {
            delivered: self.delivered.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
            missed_removed: self.missed_removed.load(Ordering::Relaxed),
            missed_lagged: self.missed_lagged.load(Ordering::Relaxed),
            uncomparable: self.uncomparable.load(Ordering::Relaxed),
        }
    }
}

impl Entry {
    /// The next item; where none is at hand, the store is read once.
    pub(super) fn take(&self) -> Taken {
        let mut reader = lock(&self.reader);
        if self.over.load(Ordering::Acquire) {
            return Taken::Over;
        }
        if let Some(item) = reader.next() {
            return Taken::Item(item);
        }
        if self.closed.load(Ordering::Acquire) {
            return Taken::Over;
        }
        let Some(store) = self.store.upgrade() else { return Taken::Over };
        match reader.read(&store) {
            Ok(true) => reader.next().map_or(Taken::Unfinished, Taken::Item),
            Ok(false) => Taken::Nothing(reader.position()),
            Err(error) => Taken::Failed(error),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire)
    }

    pub(super) fn has_room(&self) -> bool {
        self.unacknowledged.load(Ordering::Acquire) < self.window
    }

    /// What is left of the time for which it does not ask for a ring.
    pub(super) fn pace(&self) -> Option<Duration> {
        let since = (SystemClock.boot_ns() as u64).saturating_sub(self.rung.load(Ordering::Relaxed));
        PACE.checked_sub(Duration::from_nanos(since)).filter(|left| !left.is_zero())
    }

    pub(super) fn note_ring(&self) {
        self.rung.store(SystemClock.boot_ns() as u64, Ordering::Relaxed);
    }
}
