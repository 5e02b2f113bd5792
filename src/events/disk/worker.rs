//! What the threads of a store with files do: `esf-events-sync` syncs and tells those who wait, `esf-events-seal`
//! seals, lets memory go, and removes what the bounds say. A host without an instance calls the same functions.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::super::durability::{Durability, Level};
use super::super::store::EventStore;
use super::Disk;
use super::sync::call;
use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::stop::StopToken;
use crate::runtime::sync::{Ordering, lock};

/// How long after a failure the next attempt is made.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How long a thread with nothing to do waits before it looks again.
const IDLE: Duration = Duration::from_mins(1);

thread_local! {
    /// Whether this is the sync thread of a store.
    static SYNCS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the sync thread of a store, which calls those who wait.
pub(super) fn is_syncing_thread() -> bool {
    SYNCS.get()
}

impl EventStore {
    /// Whether the store has files.
    pub fn has_files(&self) -> bool {
        self.disk.is_some()
    }

    /// Whether events can be stored: not in a store that is read only, closed, or left to a fork's parent.
    pub fn is_writable(&self) -> bool {
        self.check_writable().is_ok()
    }

    /// This process is the child of a fork: the files are its parent's.
    pub(crate) fn leave_files(&self) {
        if let Some(disk) = &self.disk {
            disk.detach();
        }
    }

    /// Waits until the event of this `seq` is as safe as `level`, however long that takes.
    pub(crate) fn wait_for(&self, seq: u64, level: Level) -> Result<()> {
        self.wait_safe(seq.saturating_add(1), level, None)
    }

    /// The body of the sync thread.
    pub(crate) fn run_sync(&self, stop: &StopToken) {
        let Some(disk) = &self.disk else { return };
        let news = Arc::clone(&disk.news);
        stop.on_stop(move || news.tell());
        disk.has_worker.store(true, Ordering::Release);
        SYNCS.set(true);
        while !stop.is_stopped() && disk.check_writable().is_ok() {
            let moment = disk.news.moment();
            self.make_logs_ready(disk);
            self.serve_waiters(self.sync_is_due(disk));
            let failed = disk.sync.failure().is_some();
            let wait = if failed {
                AFTER_FAILURE
            } else if self.has_unsynced(disk) || disk.sync.has_waiters() {
                disk.options.sync_interval
            } else {
                IDLE
            };
            if failed || !self.wants_round(disk) {
                disk.news.wait(moment, Deadline::after(wait));
            }
        }
        disk.has_worker.store(false, Ordering::Release);
    }

    /// The body of the seal thread.
    pub(crate) fn run_seal(&self, stop: &StopToken) {
        let Some(disk) = &self.disk else { return };
        let news = Arc::clone(&disk.seal_news);
        stop.on_stop(move || news.tell());
        // What came back from logs is sealed first, so that ends without a close do not leave ever more logs.
        let mut all = disk.report.logs > 0;
        while !stop.is_stopped() && disk.check_writable().is_ok() {
            let moment = disk.seal_news.moment();
            let waiting = std::mem::take(&mut *lock(&disk.room));
            let done = self.seal_files(all || !waiting.is_empty()).and_then(|_| self.tidy());
            for then in waiting {
                call(then, done.clone());
            }
            all &= done.is_err();
            match &done {
                Ok(()) => disk.note_success(),
                Err(error) => disk.note_failure(error.clone()),
            }
            disk.seal_news.wait(moment, Deadline::after(if done.is_err() { AFTER_FAILURE } else { IDLE }));
        }
    }

    /// Lets memory go of what is sealed, where it is short, and removes files beyond the bounds.
    pub(crate) fn tidy(&self) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        self.demote(disk);
        let cleaned = self.clean_files(disk);
        disk.remove_buried();
        cleaned
    }

    /// Logs for those who may not wait for one to be made. A disk that has no room shows at the next write.
    pub(super) fn make_logs_ready(&self, disk: &Disk) {
        if disk.check_writable().is_ok() {
            let spares = if disk.mode.maps() { self.shards.len().min(2) } else { 1 };
            // A log begins at or below everything that may go to it: what was stored already may, until it is durable.
            if let Err(error) = disk.logs.make_ready(spares, disk.sync.durable()) {
                disk.note_failure(error);
            }
        }
    }

    fn has_unsynced(&self, disk: &Disk) -> bool {
        let kept = matches!(disk.mode, Durability::CrashSafe);
        !kept && self.frontier.stable() > disk.sync.durable()
    }

    /// Whether a round is due although nobody waits for it.
    fn sync_is_due(&self, disk: &Disk) -> bool {
        if !self.has_unsynced(disk) {
            let mapped = &disk.mapped;
            let lacks = mapped.unlogged_from() != u64::MAX || mapped.is_doubtful(disk.sync.durable());
            return disk.mode.maps() && lacks;
        }
        let (last, _) = disk.sync.last_sync();
        let age = self.clock.now_ns().saturating_sub(last as i64);
        let interval = i64::try_from(disk.options.sync_interval.as_nanos()).unwrap_or(i64::MAX);
        age >= interval || disk.mapped.unsynced() >= disk.options.sync_bytes
    }

    /// Makes everything durable and sealed, and gives the files back: nothing is left for the next opening to
    /// recover. Nobody may append any more. What could not be done, in words; `unfinished` names it.
    pub fn close_files(&self) -> Vec<String> {
        let Some(disk) = &self.disk else { return Vec::new() };
        if disk.check_writable().is_err() {
            return Vec::new();
        }
        let mut unfinished = Vec::new();
        if let Err(error) = self.sync_now() {
            unfinished.push(format!("events-sync: {}", error.message()));
        }
        if let Err(error) = self.seal_files(true).and_then(|_| self.tidy()) {
            unfinished.push(format!("events-seal: {}", error.message()));
        }
        disk.close(self);
        self.dismiss_waiters();
        unfinished
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::model::NewEvent;
    use super::super::{DiskOptions, tests};
    use super::*;
    use crate::events::EventStoreOptions;
    use crate::storage::SimStorage;

    fn open(storage: &SimStorage, durability: Durability) -> EventStore {
        let files = DiskOptions { durability, ..DiskOptions::default() };
        tests::open(storage, files, EventStoreOptions::default())
    }

    #[test]
    fn what_is_stored_before_its_log_is_made_ready_is_read_from_it() {
        for durability in [Durability::CrashSafe, Durability::Interval, Durability::Group, Durability::Strict]
        {
            let storage = SimStorage::new(7);
            let store = open(&storage, durability);
            let event = NewEvent { event_type: "tick".into(), data: b"1", ..NewEvent::default() };
            store.append_with(&event, Some(Level::Accepted)).unwrap();
            store.append_with(&event, Some(Level::Accepted)).unwrap();
            store.make_logs_ready(store.disk.as_ref().unwrap());
            store.append_with(&event, Some(Level::Durable)).unwrap();
            let left = storage.fork();
            left.kill();
            let again = open(&left, durability);
            let stats = again.disk_stats().unwrap();
            assert_eq!((again.stats().events, stats.recovery.gaps), (3, Vec::new()), "{durability:?}");
        }
    }

    #[test]
    fn without_threads_a_wait_for_what_is_not_stored_yet_keeps_its_deadline() {
        let store = open(&SimStorage::new(7), Durability::Group);
        let event = NewEvent { event_type: "tick".into(), ..NewEvent::default() };
        let receipt = store.append_with(&event, Some(Level::Accepted)).unwrap();
        store.wait_durable(receipt.seq, Level::Durable, Duration::from_secs(30)).unwrap();
        let error =
            store.wait_durable(receipt.seq + 1, Level::Durable, Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.code(), crate::error::Code::Timeout);
        assert_eq!(store.disk_stats().unwrap().syncs, 1);
    }
}
