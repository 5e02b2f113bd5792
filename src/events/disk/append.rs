//! What appending is on a store with files: who waits for what, and how memory finds room.

use std::sync::Arc;

use super::super::durability::Level;
use super::super::frontier::FIRST_SEQ;
use super::super::model::{ACCEPTED, CRASH_SAFE, EventRef, Receipt};
use super::super::segment::Writer;
use super::super::store::{EventStore, Manner};
use super::Disk;
use super::sync::{MAX_WAITERS, WhenSafe};
use crate::error::{Code, Error, Result};
use crate::runtime::sync::lock;

/// What marks the error of an append that may not wait for the disk.
const BEHIND: &str = "disk_behind";

impl EventStore {
    /// The level at which appends are answered that ask for none.
    pub fn usual_level(&self) -> Level {
        self.disk.as_ref().map_or(Level::Accepted, |disk| disk.mode.level())
    }

    /// Waits until what was just stored is as safe as was asked for, and writes the level into the receipts.
    pub(in super::super) fn await_level(&self, receipts: &mut [Receipt], level: Option<Level>) -> Result<()> {
        // Without files nothing better is to be had than what the receipts say.
        let Some(disk) = &self.disk else { return Ok(()) };
        let Some(last) = receipts.iter().map(|receipt| receipt.seq).max().filter(|seq| *seq > 0) else {
            return Ok(());
        };
        let wanted = level.unwrap_or(disk.mode.level());
        // Without a log to copy to, a store that copies goes on in memory, and the receipt says so.
        let done = wanted == Level::CrashSafe && disk.mode.maps() && (level.is_none() || is_logged(receipts));
        let reached = if wanted > Level::Accepted && !done {
            match self.wait_safe(last + 1, wanted, None) {
                Ok(()) => wanted,
                Err(error) => {
                    let first = receipts.first().copied().unwrap_or_default();
                    return Err(error.with("event_id", first.event_id).with("seq", first.seq));
                }
            }
        } else {
            self.note_unsynced();
            Level::Accepted
        };
        for receipt in receipts.iter_mut().filter(|receipt| receipt.seq > 0) {
            receipt.level = receipt.level.max(reached.number());
        }
        Ok(())
    }

    /// Copies what is staged to the shard's mapped log, if the store has such; the level that this comes to.
    /// It is the append's once all of its parts have it; see [`EventStore::note_level`].
    pub(in super::super) fn copy_staged(&self, shard: usize, writer: &Writer) -> u32 {
        match self.disk.as_ref().filter(|disk| disk.mode.maps()) {
            Some(disk) if disk.mapped.log(disk, &self.shared.names, shard, writer) => CRASH_SAFE,
            _ => ACCEPTED,
        }
    }

    /// Notes an append of so many events of which not all were copied, before it is published.
    pub(in super::super) fn note_level(&self, level: u32, first: u64, events: usize) {
        if level < CRASH_SAFE
            && let Some(disk) = self.disk.as_ref().filter(|disk| disk.mode.maps())
            && let Some(more) = (events as u64).checked_sub(1)
        {
            disk.mapped.note_unlogged(first, first + more);
            disk.news.tell();
        }
    }

    /// Tells those who look after the files that a segment of memory is full.
    pub(in super::super) fn note_rotation(&self) {
        if let Some(disk) = &self.disk {
            disk.seal_news.tell();
        }
    }

    /// Fails where the store has files and this process may not write to them.
    pub(in super::super) fn check_writable(&self) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.check_writable())
    }

    /// Tells the sync thread of events that nobody waits for.
    pub(in super::super) fn note_unsynced(&self) {
        if let Some(disk) = self.disk.as_ref().filter(|disk| !disk.mode.maps()) {
            disk.news.tell();
        }
    }

    /// Lets memory go of events that are in files, sealing them first if need be; whether there is more room now.
    pub(in super::super) fn let_go(&self, manner: Manner) -> Result<bool> {
        let Some(disk) = &self.disk else { return Ok(false) };
        if manner == Manner::AtOnce {
            // Sealing may hold what this needs while it waits for the disk: then its thread will see to it.
            let freed = self.try_demote_one(disk);
            disk.seal_news.tell();
            return Ok(freed);
        }
        let before = disk.hot();
        if disk.archive.unload_one() || self.demote_one(disk) {
            return Ok(true);
        }
        // Producers are faster than the disk: they wait for it here.
        self.seal_files(true)?;
        // What another producer let go of may have been taken by a third: that is no want of room either.
        Ok(self.demote_one(disk) || disk.hot() > before)
    }

    /// The error of an append that may not wait, where memory is full of events that files do not have yet.
    pub(in super::super) fn behind(&self, manner: Manner, lack: &Error) -> Option<Error> {
        let waits = manner == Manner::AtOnce && self.disk.is_some();
        waits.then(|| {
            let message = format!("memory is full and the disk is behind: {}", lack.message());
            Error::new(Code::StoreFull, message).with(BEHIND, true)
        })
    }

    /// Whether an append failed only because it may not wait: [`EventStore::when_room`] tells when to try again.
    pub fn is_behind(error: &Error) -> bool {
        error.code() == Code::StoreFull && error.context().contains_key(BEHIND)
    }

    /// Calls `then` once when memory may have room again for events that files do not have yet, or with the reason why
    /// not; from the instance's seal thread, with no lock held.
    ///
    /// Errors: `resource_exhausted` with 65,536 such calls open; `operation_forbidden`, `forked` and `closing` where
    /// nothing can be stored. `then` is not called then.
    pub fn when_room(&self, then: WhenSafe) -> Result<()> {
        let Some(disk) = &self.disk else {
            then(Ok(()));
            return Ok(());
        };
        {
            let mut waiting = lock(&disk.room);
            // Under the lock: closing dismisses those who wait only after it is marked.
            disk.check_writable()?;
            if waiting.len() >= MAX_WAITERS {
                let message = format!("{MAX_WAITERS} waits for room are open, which is the limit");
                return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_WAITERS));
            }
            waiting.push(then);
        }
        disk.seal_news.tell();
        Ok(())
    }

    /// The `seq` of the newest event that has one; 0 before the first.
    pub fn newest_seq(&self) -> u64 {
        self.frontier.next() - FIRST_SEQ
    }

    /// The event of this id if memory has it; `None` where [`EventStore::get`] would read a file.
    ///
    /// Errors: `data_not_found`.
    pub fn get_in_memory(&self, id: u64) -> Result<Option<EventRef>> {
        let in_files = |disk: &Arc<Disk>| disk.may_hold(id, id);
        if self.in_memory(id).is_none() && self.disk.as_ref().is_some_and(in_files) {
            return Ok(None);
        }
        self.get(id).map(Some)
    }

    /// Whether queries may have to read files.
    pub(in super::super) fn reads_files(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.archive.segments().iter().any(|one| !disk.is_hot(&one.row)))
    }
}

/// Whether the appending thread itself has copied the events to a log.
fn is_logged(receipts: &[Receipt]) -> bool {
    receipts.iter().all(|receipt| receipt.level >= CRASH_SAFE || receipt.seq == 0)
}
