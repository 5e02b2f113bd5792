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
use super::super::record::{FLAG_FIRST, Record};
use super::super::segment::Writer;
use super::super::store::EventStore;
use super::Disk;
use super::logs::OpenLog;
use crate::error::Result;
use crate::runtime::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::storage::File;

/// Bytes that are gathered in a shard's buffer before they are copied: a large batch goes in pieces.
const PIECE: usize = 256 << 10;

/// A handle to sync a log with while its shard writes.
type Handle = Arc<Mutex<Box<dyn File>>>;

struct ShardLog {
    log: OpenLog,
    handle: Handle,
    buffer: Vec<u8>,
    /// Written to since the last commit frame.
    dirty: bool,
    /// The sync thread knows that it is half full.
    told: bool,
}

/// The mapped logs of a store, one for each shard that was written to.
pub(crate) struct Mapped {
    shards: Box<[Mutex<Option<ShardLog>>]>,
    /// Logs that were closed and are not synced yet.
    closed: Mutex<Vec<(Handle, u64)>>,
    /// The first and the last event since the last complete sync that is in no log; `u64::MAX` and 0 for none.
    unlogged_from: AtomicU64,
    unlogged_to: AtomicU64,
    unlogged: AtomicU64,
    /// The last attempt to make a log failed: only one that is ready will do, until one is.
    refused: AtomicBool,
    /// How often an append had to make its log itself.
    stalls: AtomicU64,
    /// Bytes since the last sync began.
    unsynced: AtomicU64,
}

impl Mapped {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::new(None)).collect(),
            closed: Mutex::new(Vec::new()),
            unlogged_from: AtomicU64::new(u64::MAX),
            unlogged_to: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            stalls: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
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

    /// Bytes since the last sync began.
    pub(crate) fn unsynced(&self) -> u64 {
        self.unsynced.load(Ordering::Relaxed)
    }

    /// Everything below `seq` is safe: what was unlogged there is so no more.
    pub(crate) fn caught_up(&self, seq: u64) {
        if self.unlogged_to.load(Ordering::Acquire) < seq {
            self.unlogged_from.store(u64::MAX, Ordering::Release);
        }
    }

    fn note_unlogged(&self, first: u64, last: u64) {
        self.unlogged.fetch_add(last - first + 1, Ordering::Relaxed);
        self.unlogged_to.fetch_max(last, Ordering::AcqRel);
        self.unlogged_from.fetch_min(first, Ordering::AcqRel);
    }

    /// Copies what a writer has staged and not published into the shard's log; whether it is there. The caller holds
    /// the shard's lock and has given the events their `seq`.
    pub(crate) fn log(&self, disk: &Disk, names: &Names, shard: usize, writer: &Writer) -> bool {
        let unpublished = writer.unpublished();
        let seq_of = |index| writer.staged(index).map(|record| record.seq());
        let Some((first, last)) =
            seq_of(unpublished.start).zip(unpublished.end.checked_sub(1).and_then(seq_of))
        else {
            return true;
        };
        let Some(slot) = self.shards.get(shard) else { return false };
        let mut slot = lock(slot);
        let done = self.copy(disk, names, &mut slot, writer, first);
        if !done {
            self.note_unlogged(first, last);
            disk.news.tell();
        }
        done
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
        })
    }

    /// Closes a shard's log.
    fn retire(&self, disk: &Disk, slot: &mut Option<ShardLog>) {
        let Some(mut shard) = slot.take() else { return };
        if shard.dirty {
            // No end frame: that would say that all of it is synced.
            lock(&self.closed).push((Arc::clone(&shard.handle), shard.log.number()));
        } else {
            shard.log.finish();
        }
        disk.logs.close(shard.log);
    }

    /// Writes commit frames and syncs every log that was written to.
    fn sync(&self, disk: &Disk) -> Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        let mut handles = std::mem::take(&mut *lock(&self.closed));
        for slot in &self.shards {
            let mut slot = lock(slot);
            let Some(shard) = slot.as_mut().filter(|shard| shard.dirty) else { continue };
            shard.buffer.clear();
            let position = shard.log.position();
            shard.log.push_commit(&mut shard.buffer);
            shard.dirty = false;
            if shard.log.write(position, &shard.buffer).is_err() {
                shard.log.give_up();
            }
            handles.push((Arc::clone(&shard.handle), shard.log.number()));
        }
        let mut outcome = Ok(());
        for (handle, number) in handles {
            if let Err(error) = lock(&handle).sync() {
                self.suspect(disk, number);
                outcome = Err(error);
            }
        }
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
        let synced = disk.mapped.sync(disk);
        if synced.is_ok() && disk.mapped.unlogged_from() >= to {
            return Ok(to);
        }
        let durable = self.write_log(disk, to)?;
        // A disk that takes this has room for a log, too.
        disk.mapped.refused.store(false, Ordering::Relaxed);
        disk.mapped.caught_up(durable);
        Ok(durable)
    }
}
