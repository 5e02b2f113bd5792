//! `crash_safe` and `interval`: the appending thread copies its events into a log that is mapped into memory, under
//! its shard's lock and before they are published. No system call, and what was acknowledged survives the process.
//!
//! Each shard has a log of its own, so within a log `seq` grows. Nobody reads through the mapping.
//!
//! When there is no log to write to (the disk is full), events are in memory only: they are *unlogged*, their
//! receipts say `accepted`, and the next sync or sealing that succeeds writes them from memory.

use std::sync::Arc;

use super::super::durability::Durability;
use super::super::names::Names;
use super::super::record::{FLAG_FIRST, FLAG_LAST, Record};
use super::super::segment::Writer;
use super::super::store::EventStore;
use super::Disk;
use super::logs::{Handle, OpenLog};
use crate::error::Result;
use crate::runtime::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// Bytes that are gathered in a shard's buffer before they are copied: a large batch goes in pieces.
const PIECE: usize = 256 << 10;

/// A log that was closed and not synced.
struct Unsynced {
    handle: Handle,
    number: u64,
    last_seq: u64,
}

struct ShardLog {
    log: OpenLog,
    handle: Handle,
    buffer: Vec<u8>,
    /// Written to since the last commit frame.
    dirty: bool,
    /// The sync thread knows that it is half full.
    told: bool,
    /// The last append in it is not whole yet.
    unfinished: bool,
    /// The sync that its last commit frame stands before.
    commit: u64,
}

/// The mapped logs of a store, one for each shard that was written to.
pub(crate) struct Mapped {
    shards: Box<[Mutex<Option<ShardLog>>]>,
    /// Logs that were closed and are not synced yet.
    closed: Mutex<Vec<Unsynced>>,
    /// The first and the last event that are in no log, if there are such.
    range: Mutex<Option<(u64, u64)>>,
    /// The first event of that range, changed with it; `u64::MAX` for none.
    unlogged_from: AtomicU64,
    unlogged: AtomicU64,
    /// The last attempt to make a log failed: only one that is ready will do, until one is.
    refused: AtomicBool,
    /// Events below it may be in a log that could not be synced: they are durable once they are written elsewhere.
    doubtful_to: AtomicU64,
    /// How often an append had to make its log itself.
    stalls: AtomicU64,
    /// Bytes since the last sync began.
    unsynced: AtomicU64,
    /// Syncs that have returned.
    syncs: AtomicU64,
}

impl Mapped {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::new(None)).collect(),
            closed: Mutex::new(Vec::new()),
            range: Mutex::new(None),
            unlogged_from: AtomicU64::new(u64::MAX),
            unlogged: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            doubtful_to: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }

    /// The first event that is in no log.
    pub(crate) fn unlogged_from(&self) -> u64 {
        self.unlogged_from.load(Ordering::Acquire)
    }

    /// Events that went to memory only so far, and appends that waited for a log to be made.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.unlogged.load(Ordering::Relaxed), self.stalls.load(Ordering::Relaxed))
    }

    /// Whether an event may be in a log that could not be synced, and nowhere else.
    pub(crate) fn is_doubtful(&self, durable: u64) -> bool {
        durable < self.doubtful_to.load(Ordering::Relaxed)
    }

    /// Bytes since the last sync began.
    pub(crate) fn unsynced(&self) -> u64 {
        self.unsynced.load(Ordering::Relaxed)
    }

    /// Everything below `seq` is safe: what was unlogged there is so no more.
    pub(crate) fn caught_up(&self, seq: u64) {
        let mut range = lock(&self.range);
        *range = range.filter(|(_, last)| *last >= seq).map(|(first, last)| (first.max(seq), last));
        self.publish(*range);
    }

    /// Events that are about to be published and are in no log, or not with all of their append.
    pub(crate) fn note_unlogged(&self, first: u64, last: u64) {
        let mut range = lock(&self.range);
        self.unlogged.fetch_add(last - first + 1, Ordering::Relaxed);
        let (from, to) = range.unwrap_or((first, last));
        *range = Some((from.min(first), to.max(last)));
        self.publish(*range);
    }

    fn publish(&self, range: Option<(u64, u64)>) {
        self.unlogged_from.store(range.map_or(u64::MAX, |(first, _)| first), Ordering::Release);
    }

    /// Copies what a writer has staged and not published into the shard's log; whether it is there. The caller holds
    /// the shard's lock, has given the events their `seq`, and notes them as unlogged if any part of their append is
    /// not there.
    pub(crate) fn log(&self, disk: &Disk, names: &Names, shard: usize, writer: &Writer) -> bool {
        let first = writer.staged(writer.unpublished().start).map(|record| record.seq());
        let Some(first) = first else { return true };
        let Some(slot) = self.shards.get(shard) else { return false };
        self.copy(disk, names, &mut lock(slot), writer, first)
    }

    fn copy(
        &self,
        disk: &Disk,
        names: &Names,
        slot: &mut Option<ShardLog>,
        writer: &Writer,
        first: u64,
    ) -> bool {
        // An append is in one log, or opening takes neither part for whole.
        let begins = |record: Record<'_>| record.flags() & FLAG_FIRST != 0;
        let begins = writer.staged(writer.unpublished().start).is_some_and(begins);
        if begins && slot.as_ref().is_some_and(|shard| shard.log.full()) {
            self.retire(disk, slot);
        }
        if !begins && !slot.as_ref().is_some_and(|shard| shard.unfinished) {
            // The log with the beginning of the append was given up meanwhile.
            return false;
        }
        if slot.is_none() {
            *slot = self.open(disk, first);
        }
        let Some(shard) = slot.as_mut() else { return false };
        shard.buffer.clear();
        let mut position = shard.log.position();
        let began = position;
        let mut written = Ok(());
        for index in writer.unpublished() {
            let Some(bytes) = writer.staged_bytes(index) else { break };
            shard.log.push_bytes(bytes, names, &mut shard.buffer);
            shard.unfinished = Record::parse(bytes).is_some_and(|record| record.flags() & FLAG_LAST == 0);
            if shard.buffer.len() >= PIECE {
                written = written.and_then(|()| shard.log.write(position, &shard.buffer));
                position = shard.log.position();
                shard.buffer.clear();
            }
        }
        written = written.and_then(|()| shard.log.write(position, &shard.buffer));
        shard.dirty = true;
        if written.is_err() {
            // Half of it may be there; without its last event it counts for nothing.
            shard.log.give_up();
            self.retire(disk, slot);
            return false;
        }
        let length = shard.log.position() - began;
        let unsynced = self.unsynced.fetch_add(length, Ordering::Relaxed) + length;
        let interval = disk.mode == Durability::Interval;
        // Another log should be ready before this one is full; told once, when it is half full.
        let half = shard.log.nearly_full() && !shard.told;
        shard.told |= half;
        if half
            || (interval
                && unsynced >= disk.options.sync_bytes
                && unsynced - length < disk.options.sync_bytes)
        {
            disk.news.tell();
        }
        true
    }

    /// A log to go on with: a ready one, or, unless that was refused last time, one made now.
    fn open(&self, disk: &Disk, first: u64) -> Option<ShardLog> {
        // Its logs were closed while the caller was on its way.
        disk.check_writable().ok()?;
        let log = match disk.logs.open_ready() {
            Some(log) => log,
            None if self.refused.load(Ordering::Relaxed) => return None,
            None => {
                self.stalls.fetch_add(1, Ordering::Relaxed);
                let made = disk.logs.open(first);
                self.refused.store(made.is_err(), Ordering::Relaxed);
                made.ok()?
            }
        };
        self.refused.store(false, Ordering::Relaxed);
        let Ok(handle) = log.handle(&*disk.storage) else {
            disk.logs.close(log);
            return None;
        };
        Some(ShardLog {
            log,
            handle: Arc::new(Mutex::new(handle)),
            buffer: Vec::new(),
            dirty: false,
            told: false,
            unfinished: false,
            commit: 0,
        })
    }

    /// Closes a shard's log.
    fn retire(&self, disk: &Disk, slot: &mut Option<ShardLog>) {
        let Some(ShardLog { mut log, handle, dirty, commit, .. }) = slot.take() else { return };
        let synced_with = Arc::downgrade(&handle);
        // No end frame where that would say too much: that all of it is synced, and the sync has returned.
        if dirty {
            let (number, last_seq) = (log.number(), log.last_seq());
            lock(&self.closed).push(Unsynced { handle, number, last_seq });
        } else {
            if commit <= self.syncs.load(Ordering::Acquire) {
                log.finish();
            }
            drop(handle);
        }
        disk.logs.close_synced_with(log, synced_with);
    }

    /// Lets go of closed logs whose events are all sealed: that those are durable needs no sync.
    pub(crate) fn sealed(&self, sealed: u64) {
        lock(&self.closed).retain(|log| log.last_seq >= sealed);
    }

    /// Writes commit frames and syncs every log that was written to. One thread at a time does.
    fn sync(&self, disk: &Disk) -> Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        let this = self.syncs.load(Ordering::Relaxed) + 1;
        let (mut handles, mut outcome) = (Vec::new(), Ok(()));
        for slot in &self.shards {
            let mut slot = lock(slot);
            let Some(shard) = slot.as_mut().filter(|shard| shard.dirty) else { continue };
            // Never within an append: what is said to be synced counts, whole or not.
            if !shard.unfinished {
                shard.buffer.clear();
                let position = shard.log.position();
                shard.log.push_commit(&mut shard.buffer);
                if let Err(error) = shard.log.write(position, &shard.buffer) {
                    // Nothing may follow what is not whole.
                    shard.log.give_up();
                    self.retire(disk, &mut slot);
                    outcome = Err(error);
                    continue;
                }
                (shard.dirty, shard.commit) = (false, this);
            }
            handles.push((Arc::clone(&shard.handle), shard.log.number()));
        }
        // After the shards: a log that is closed while they are looked at is among these.
        handles.extend(lock(&self.closed).drain(..).map(|log| (log.handle, log.number)));
        for (handle, number) in handles {
            if let Err(error) = lock(&handle).sync() {
                self.suspect(disk, number);
                outcome = Err(error);
            }
        }
        // Those that could not be synced have been given up.
        self.syncs.store(this, Ordering::Release);
        outcome
    }

    /// A log could not be synced: it is never written to again.
    fn suspect(&self, disk: &Disk, number: u64) {
        for slot in &self.shards {
            let mut slot = lock(slot);
            if slot.as_ref().is_some_and(|shard| shard.log.number() == number) {
                if let Some(shard) = slot.as_mut() {
                    shard.log.give_up();
                    shard.dirty = false;
                }
                self.retire(disk, &mut slot);
            }
        }
        disk.logs.distrust(number);
    }

    /// Closes all logs, which are still to be synced.
    #[cfg(all(test, not(loom)))]
    pub(super) fn retire_all(&self, disk: &Disk) {
        self.shards.iter().for_each(|slot| self.retire(disk, &mut lock(slot)));
    }

    /// How many logs were closed and are held to be synced.
    #[cfg(all(test, not(loom)))]
    pub(super) fn closed_logs(&self) -> usize {
        lock(&self.closed).len()
    }

    /// Closes all logs. Nobody writes any more.
    pub(crate) fn finish(&self, disk: &Disk) {
        for slot in &self.shards {
            self.retire(disk, &mut lock(slot));
        }
        lock(&self.closed).clear();
    }
}

impl EventStore {
    /// One round of `crash_safe` or `interval`. What the mapped logs do not have, or may have lost, is written to a
    /// log from memory.
    pub(crate) fn sync_mapped(&self, disk: &Disk, to: u64) -> Result<u64> {
        let mapped = &disk.mapped;
        if mapped.sync(disk).is_err() {
            // Events are copied to a log until it is given up, which it is by now. That a later sync goes well says
            // nothing of them, nor does one of this round that does not come to all of them.
            mapped.doubtful_to.fetch_max(self.frontier.next(), Ordering::Relaxed);
        }
        // What came back at opening is in no log of this process.
        let recovered = disk.sync.durable() < disk.recovered_to;
        if mapped.unlogged_from() >= to && !recovered && !mapped.is_doubtful(disk.sync.durable()) {
            return Ok(to);
        }
        let durable = self.write_log(disk, to)?;
        // A disk that takes this has room for a log, too.
        mapped.refused.store(false, Ordering::Relaxed);
        mapped.caught_up(durable);
        Ok(durable)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::super::model::NewEvent;
    use super::super::super::options::EventStoreOptions;
    use super::super::super::shard::of_this_thread;
    use super::super::super::store::draft;
    use super::super::tests::{disk, event, files, memory, open, seqs, store_some};
    use super::*;
    use crate::runtime::thread;
    use crate::storage::{Operation, SimStorage};

    #[test]
    fn a_sync_covers_logs_that_are_closed_while_it_looks_at_the_others() {
        let storage = SimStorage::new(1);
        let store = Arc::new(open(&storage, files(Durability::CrashSafe), memory(2)));
        let mapped = &disk(&store).mapped;
        let [first, second] = &*mapped.shards else { panic!("two shards") };
        while lock(second).is_none() {
            let store = Arc::clone(&store);
            // Threads are dealt out to the shards in turn.
            let append = move || {
                if of_this_thread(2) == 1 {
                    store_some(&store, 0..3);
                }
            };
            thread::spawn("test-append", append).unwrap().join().unwrap();
        }
        let held = lock(first);
        let (done, synced) = channel();
        let syncing = Arc::clone(&store);
        let round = thread::spawn("test-sync", move || done.send(syncing.sync_now()).unwrap()).unwrap();
        // It comes to the first shard meanwhile, and waits; if not, this is no less true.
        for _ in 0..10_000 {
            std::thread::yield_now();
        }
        mapped.retire(disk(&store), &mut lock(second));
        drop(held);
        synced.recv().unwrap().unwrap();
        round.join().unwrap();
        let left = storage.fork();
        left.crash();
        assert_eq!(seqs(&open(&left, files(Durability::CrashSafe), memory(2))), [1, 2, 3]);
    }

    /// A large batch goes to its log in pieces, and a sync comes between two of them: what it says to be synced is no
    /// part of the batch, of which a power failure may take the rest.
    #[test]
    fn a_sync_in_the_middle_of_a_batch_leaves_no_half_of_it() {
        let storage = SimStorage::new(1);
        let options = EventStoreOptions { segment_bytes: Some(64 << 10), ..memory(1) };
        let store = open(&storage, files(Durability::CrashSafe), options);
        store_some(&store, 0..1);
        let (disk, names) = (disk(&store), &store.shared.names);
        let data = [7; 2 << 10];
        let event = NewEvent { data: &data, ..event(1) };
        let interned = store.intern(&event).unwrap();
        let (snapshot, taken) = channel();
        {
            let mut active = store.shards[0].lock();
            let writer = active.as_mut().unwrap();
            let flight = store.frontier.begin(0, 2).unwrap();
            let mut copy = |seq, flags| {
                let index = writer.stage(&draft(&event, interned, store.now(&event), flags), 0).unwrap();
                writer.finish(index, seq, 1_000 + seq, 0);
                assert!(disk.mapped.log(disk, names, 0, writer));
                writer.publish();
            };
            copy(flight.first(), FLAG_FIRST);
            disk.mapped.sync(disk).unwrap();
            copy(flight.first() + 1, FLAG_LAST);
        }
        let watched = storage.clone();
        storage.watch(move |operation, _| {
            if operation == Operation::Sync {
                snapshot.send(watched.snapshot()).unwrap();
            }
        });
        disk.mapped.sync(disk).unwrap();
        let moment = taken.try_recv().unwrap();
        for seed in 0..100 {
            let store = open(&moment.crashed(seed), files(Durability::CrashSafe), memory(1));
            let there = seqs(&store);
            assert!(there == [1] || there == [1, 2, 3], "seed {seed}: {there:?}");
        }
    }

    #[test]
    fn what_is_unlogged_stays_so_until_all_below_is_safe() {
        let mapped = Mapped::new(1);
        mapped.note_unlogged(50, 60);
        mapped.caught_up(55);
        assert_eq!(mapped.unlogged_from(), 55);
        mapped.note_unlogged(100, 100);
        mapped.caught_up(70);
        assert!((70..=100).contains(&mapped.unlogged_from()));
        mapped.caught_up(101);
        assert_eq!(mapped.unlogged_from(), u64::MAX);
    }
}
