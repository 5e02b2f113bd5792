//! Sealing: a segment's worth of events leaves memory for a compressed file, and the log behind it is free.
//!
//! The file is written beside, synced and renamed; then the manifest names it; then readers find it, memory may let
//! go of what is in it, and logs are recycled. A crash between any two of these leaves a file that nobody names, which
//! the next opening removes, and the events in their logs.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::file::{SegmentEncoder, SegmentOptions};
use super::super::record::{FLAG_CONFIG, FLAG_LAST};
use super::super::retention::is_dead;
use super::super::store::EventStore;
use super::Disk;
use super::archive::Sealed;
use super::filling::{Filling, SEGMENT_BYTES, Stamps};
use super::gather::Places;
use super::manifest::{Manifest, SegmentRow, identity};
use super::recover::ConfigPast;
use crate::error::Result;
use crate::runtime::sync::{Ordering, lock, try_lock};
use crate::storage::write_atomically_with;

/// Where sealing stands.
pub(crate) struct Sealer {
    places: Places,
    /// The configuration as of there.
    config: ConfigPast,
    /// A segment whose manifest could not be written: that one may name it all the same, when only its last step
    /// failed. It can go once another manifest is there, and nothing is sealed before that.
    doubtful: Option<PathBuf>,
}

/// What went into a segment.
struct Filled {
    row: SegmentRow,
    /// Behind the last event that was passed, sealed or not.
    to: u64,
    /// Timestamp and `seq` of each event, to count what a prune meanwhile took.
    events: Stamps,
    config: ConfigPast,
}

/// What has become of a written segment.
enum Published {
    /// It is part of the store.
    Done,
    /// It is not: the small segment whose place it was to take was removed meanwhile.
    Gone,
}

impl Sealer {
    pub(crate) fn new(shards: usize, from: u64, config: ConfigPast) -> Self {
        Self { places: Places::new(shards, from), config, doubtful: None }
    }

    /// Replaces a manifest that may name a segment which the store does not know of.
    fn settle(&mut self, disk: &Disk) -> Result<()> {
        let Some(path) = self.doubtful.clone() else { return Ok(()) };
        disk.write_manifest(&lock(&disk.state))?;
        // One that stays is found again at the next opening, which removes it.
        let _ = disk.storage.remove(&path);
        self.doubtful = None;
        Ok(())
    }
}

impl EventStore {
    /// Seals what is full: as many segments as there are events for. With `all`, the rest as well. How many segments
    /// were written.
    ///
    /// Errors: `io_error` or `no_space`; nothing is lost by that, and the next call tries again.
    pub fn seal_files(&self, all: bool) -> Result<u64> {
        let Some(disk) = &self.disk else { return Ok(0) };
        disk.check_writable()?;
        let mut sealer = lock(&disk.sealing);
        // It may have been closed while we waited.
        disk.check_writable()?;
        sealer.settle(disk).inspect_err(|error| disk.note_failure(error.clone()))?;
        let mut written = 0;
        loop {
            let to = self.frontier.settled();
            let from = disk.sealed();
            if to <= from || (!all && !self.is_due(disk, from, to)) {
                disk.remove_buried();
                return Ok(written);
            }
            if let Err(error) = self.seal_one(disk, &mut sealer, to) {
                sealer.places = Places::new(self.shards.len(), disk.sealed());
                disk.note_failure(error.clone());
                return Err(error);
            }
            written += 1;
        }
    }

    /// Whether there is enough for a segment: by events, or by bytes.
    fn is_due(&self, disk: &Disk, from: u64, to: u64) -> bool {
        let events = to - from;
        // What was ever rotated out of a shard is a segment's worth of bytes.
        events >= disk.options.segment_events
            || self.shards.iter().any(|shard| {
                let segments = shard.segments();
                let full = segments.split_last().map_or(&[][..], |(_, full)| full);
                full.iter().any(|entry| entry.bounds().is_some_and(|bounds| bounds.seqs.0 >= from))
            })
    }

    fn seal_one(&self, disk: &Disk, sealer: &mut Sealer, to: u64) -> Result<()> {
        let (file, mut small) = {
            let state = lock(&disk.state);
            let segments = disk.archive.segments();
            // A small last segment is written anew with what follows it: closing often must not leave many files.
            let is_small = |row: &SegmentRow| {
                row.events < disk.options.segment_events / 2 && row.record_bytes < SEGMENT_BYTES / 2
            };
            let small = segments.last().filter(|last| is_small(&last.row));
            (state.next_file, small.cloned())
        };
        loop {
            let filled = self.write_segment(disk, sealer, to, file, small.as_deref());
            let failed = match filled {
                Ok(filled) => match self.publish(disk, sealer, filled, file, small.as_ref())? {
                    Published::Done => return Ok(()),
                    Published::Gone => None,
                },
                Err(error) => Some(error),
            };
            let first_seq = small.as_ref().map_or(disk.sealed(), |small| small.row.first_seq);
            // If it stays, the next opening removes it.
            let _ = disk.storage.remove(&disk.directory.join(SegmentRow::name(file, first_seq)));
            sealer.places = Places::new(self.shards.len(), disk.sealed());
            // A small segment that cannot be read, or not whole, stays as it is: what could not be read now may be
            // readable later, and new events do not wait for that.
            if small.take().is_none()
                && let Some(error) = failed
            {
                return Err(error);
            }
        }
    }

    fn write_segment(
        &self,
        disk: &Disk,
        sealer: &mut Sealer,
        to: u64,
        file: u64,
        small: Option<&Sealed>,
    ) -> Result<Filled> {
        let from = sealer.places.next();
        let first_seq = small.map_or(from, |small| small.row.first_seq);
        let path = disk.directory.join(SegmentRow::name(file, first_seq));
        let low = self.store_low(disk);
        let mut config = sealer.config.clone();
        let names = &self.shared.names;
        let (places, shards) = (&mut sealer.places, &self.shards);
        let options = SegmentOptions { codec: disk.options.compression.codec(), ..SegmentOptions::default() };
        disk.held.check()?;
        let (footer, events, record_bytes, bytes) = write_atomically_with(&*disk.storage, &path, |writer| {
            let encoder = SegmentEncoder::new(writer, identity(disk.store, file), first_seq, options)?;
            let mut filling = Filling::new(disk, encoder);
            if let Some(small) = small {
                filling.copy(disk, small, &disk.prunes.load(), low)?;
            }
            places.walk(shards, to, &mut |segment, index, record| {
                if record.flags() & FLAG_CONFIG != 0 {
                    config.apply(record);
                }
                // What is gone already need not be written; what is hidden by the bound on events goes with it.
                if !is_dead(segment, index) && record.seq() >= low {
                    let bytes = segment.bytes_of(index).unwrap_or_default();
                    filling.push(record, bytes, |number| names.name(number))?;
                }
                // Never within an append: a crash may take the rest of it, which is only in a log.
                Ok(filling.has_room() || record.flags() & FLAG_LAST == 0)
            })?;
            let (footer, events, record_bytes) = filling.finish()?;
            Ok((footer, events, record_bytes, writer.written()))
        })?;
        let to = places.next();
        let row = SegmentRow::new(file, (first_seq, to - 1), &footer, bytes, record_bytes);
        Ok(Filled { row, to, events, config })
    }

    /// Makes a written segment part of the store, in the place of `small` if that is the last one still: pruning and
    /// cleaning go on while it is written.
    fn publish(
        &self,
        disk: &Disk,
        sealer: &mut Sealer,
        filled: Filled,
        file: u64,
        small: Option<&Arc<Sealed>>,
    ) -> Result<Published> {
        let Filled { mut row, to, events, config } = filled;
        let mut state = lock(&disk.state);
        let mut list = disk.archive.segments().as_ref().clone();
        if let Some(small) = small
            && list.pop_if(|last| Arc::ptr_eq(last, small)).is_none()
        {
            return Ok(Published::Gone);
        }
        let prunes = disk.prunes.load();
        let gone = |(time, seq): &&(i64, u64)| prunes.iter().any(|prune| prune.covers(*time, *seq));
        row.live = row.events - events.iter().filter(gone).count() as u64;
        let empty = row.events == 0;
        if !empty {
            list.push(Arc::new(Sealed::new(row.clone(), &disk.filters)));
        }
        let before = state.clone();
        state.segments = list.iter().map(|sealed| sealed.current_row()).collect();
        state.next_file = file + 1;
        state.sealed_seq = to;
        state.config = config.to_row();
        self.note_state(disk, &mut state);
        if let Err(error) = disk.write_manifest(&state) {
            *state = before;
            // The file's name is not used again: what that manifest says of it must stay true.
            state.next_file = file + 1;
            sealer.doubtful = Some(disk.directory.join(row.file_name()));
            return Err(error);
        }
        sealer.config = config;
        disk.archive.replace(list);
        disk.sealed.store(to, Ordering::Release);
        self.retention.sealed(to);
        if let Some(small) = small.filter(|small| small.row.first_seq < disk.hot()) {
            // Its events had left memory, so those that follow in the same file leave it too: what is in memory never
            // begins within a segment.
            disk.hot.store(to, Ordering::Release);
            self.retention.demote(to, (small.live(), row.live), &self.shards, &self.frontier);
        }
        drop(state);
        disk.seals.fetch_add(1, Ordering::Relaxed);
        disk.sync.raise(to);
        disk.news.tell();
        disk.mapped.caught_up(to);
        disk.mapped.sealed(to);
        disk.logs.recycle(to);
        disk.archive.bury(small.cloned());
        if empty {
            // No manifest names it: if it stays, the next opening removes it.
            let _ = disk.storage.remove(&disk.directory.join(row.file_name()));
        }
        Ok(Published::Done)
    }

    /// What the manifest says beside segments: counters as they are now.
    pub(crate) fn note_state(&self, disk: &Disk, state: &mut Manifest) {
        self.account_damage();
        let books = self.retention.settle(&self.shards, &self.frontier);
        state.next_log = disk.logs.next_number();
        state.log_floor = disk.logs.floor(state.sealed_seq);
        (state.next_id, state.scattered) = self.ids.past();
        state.low_seq = disk.archive.low();
        state.prunes.clone_from(disk.prunes.load().as_ref());
        state.gaps = disk.gaps.load().iter().map(|gap| gap.to_row()).collect();
        state.books.pruned = books.pruned;
        state.books.expired = books.expired;
        state.books.lost = books.lost;
        state.newest_time = state.newest_time.max(self.clock.now_ns());
    }

    /// No event below it can be seen, in memory or in files.
    pub(crate) fn store_low(&self, disk: &Disk) -> u64 {
        let bound = self.retention.positions();
        disk.archive.low().max(self.frontier.next().saturating_sub(bound))
    }

    /// Lets memory go of sealed events until it has room to spare; whether it let go of any.
    pub(crate) fn demote(&self, disk: &Disk) -> bool {
        let pool = &self.shared.pool;
        let target = pool.limit() / 8 * 6;
        let used = || pool.allocated().saturating_sub(pool.bytes());
        let mut demoted = false;
        while used() > target {
            if !disk.archive.unload_one() && !self.demote_one(disk) {
                break;
            }
            demoted = true;
        }
        demoted
    }

    /// Lets memory go of the events of its oldest sealed segment; `false` if none is sealed.
    pub(crate) fn demote_one(&self, disk: &Disk) -> bool {
        let state = lock(&disk.state);
        self.demote_next(disk, &state)
    }

    /// The same for one who may not wait: `false` also while somebody else changes what is in files.
    pub(crate) fn try_demote_one(&self, disk: &Disk) -> bool {
        try_lock(&disk.state).is_some_and(|state| self.demote_next(disk, &state))
    }

    fn demote_next(&self, disk: &Disk, _state: &Manifest) -> bool {
        let hot = disk.hot();
        let segments = disk.archive.segments();
        let Some(next) = segments.iter().find(|sealed| sealed.row.last_seq >= hot) else {
            // Nothing that could be seen is between here and the sealed end.
            return false;
        };
        let mark = next.row.last_seq + 1;
        disk.hot.store(mark, Ordering::Release);
        // What is known to be damaged leaves with the rest and is entered into the books from there.
        let damaged = next.take_owed();
        self.retention.demote(mark, (0, next.live() + damaged), &self.shards, &self.frontier);
        disk.damaged.fetch_add(damaged, Ordering::AcqRel);
        true
    }
}
