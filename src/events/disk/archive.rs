//! Sealed segments: events that are in files, and in memory only while they are read.
//!
//! The list of segments is replaced as a whole, under the disk's state; readers take it without a lock. A segment
//! that is needed is read whole into a segment of memory, where every index and cursor works as on fresh events, and
//! stays there until memory is short. What was pruned is marked there when it is read, and counted here.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::super::compact::Compact;
use super::super::file::{Limits, Scratch, SegmentFile};
use super::super::filter::{Bits, Column, Filters, Kind, Sides};
use super::super::names::Names;
use super::super::record::{Draft, Record};
use super::super::recycle::Budget;
use super::super::retention::{Dead, is_dead};
use super::super::segment::{Held, Index, Segment, Shape, Shared, Writer};
use super::manifest::{SegmentRow, identity};
use super::{Disk, quarantine};
use crate::error::{Code, Error, Result};
use crate::runtime::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock, try_lock};

/// A segment that is in a file.
pub(crate) struct Sealed {
    pub(crate) row: SegmentRow,
    /// Events in it that were not removed.
    live: AtomicU64,
    loaded: Mutex<Option<Held>>,
    /// When it was read last, as reads are counted.
    read: AtomicU64,
    /// What is known to be damaged was noted.
    noted: AtomicU64,
    /// Damaged events that memory has still, so that they are not lost to the books yet.
    owed: AtomicU64,
    /// Where its filters stand, once they were read; `None` if it has none.
    column: OnceLock<Option<Column>>,
    filters: Arc<Filters>,
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if let Some(column) = self.known_column() {
            self.filters.release(column);
        }
    }
}

/// All sealed segments, oldest first.
pub(crate) struct Archive {
    list: ArcSwap<Vec<Arc<Sealed>>>,
    /// No event below it is there, apart from what the bound on events hides.
    low: AtomicU64,
    reads: AtomicU64,
    loads: AtomicU64,
    /// Segments that no manifest names any more and that queries may still be about to read.
    buried: Mutex<Vec<Arc<Sealed>>>,
}

impl Sealed {
    pub(crate) fn new(row: SegmentRow, filters: &Arc<Filters>) -> Self {
        Self {
            live: AtomicU64::new(row.live),
            row,
            loaded: Mutex::new(None),
            read: AtomicU64::new(0),
            noted: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            column: OnceLock::new(),
            filters: Arc::clone(filters),
        }
    }

    /// Where its filters stand, if they were read.
    pub(crate) fn known_column(&self) -> Option<Column> {
        self.column.get().copied().flatten()
    }

    /// Events in it that were not removed.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    /// Its row as it is now.
    pub(crate) fn current_row(&self) -> SegmentRow {
        SegmentRow { live: self.live() + self.owed(), ..self.row.clone() }
    }

    /// So many events of it were removed; the row for the manifest says so too.
    pub(crate) fn remove(&self, events: u64) {
        self.live.fetch_sub(events.min(self.live()), Ordering::AcqRel);
    }

    /// Bytes that it takes in memory, or 0. A segment that is being loaded counts as 0.
    pub(crate) fn memory(&self) -> u64 {
        let loaded = try_lock(&self.loaded);
        loaded.and_then(|slot| slot.as_ref().map(|one| (one.bytes().0 + one.bytes().1) as u64)).unwrap_or(0)
    }

    /// Damaged events that memory has still.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.load(Ordering::Acquire)
    }

    /// So many of them were removed. The caller holds the disk's state.
    pub(crate) fn forgive(&self, events: u64) {
        self.owed.fetch_sub(events.min(self.owed()), Ordering::AcqRel);
    }

    /// Damaged events that have not been entered into the books; they are left to the caller to enter.
    pub(crate) fn take_owed(&self) -> u64 {
        self.owed.swap(0, Ordering::AcqRel)
    }

    /// The segment if it is in memory; nobody reads it from its file or lets go of it meanwhile.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Option<Held>> {
        lock(&self.loaded)
    }

    fn unload(&self) -> bool {
        try_lock(&self.loaded).is_some_and(|mut slot| slot.take().is_some())
    }

    /// How many of its events have a `seq` below `seq`.
    pub(crate) fn live_below(&self, disk: &Disk, seq: u64) -> Result<u64> {
        let row = &self.row;
        if seq <= row.first_seq {
            return Ok(0);
        }
        if seq > row.last_seq {
            return Ok(self.live());
        }
        if self.live() == row.last_seq - row.first_seq + 1 {
            return Ok(seq - row.first_seq);
        }
        let segment = disk.load(self)?;
        let until = segment.below_seq(segment.committed(), seq);
        Ok((0..until).filter(|index| !is_dead(&segment, *index)).count() as u64)
    }
}

impl Archive {
    pub(crate) fn new(rows: Vec<SegmentRow>, low: u64, filters: &Arc<Filters>) -> Self {
        let list: Vec<_> = rows.into_iter().map(|row| Arc::new(Sealed::new(row, filters))).collect();
        Self {
            list: ArcSwap::from_pointee(list),
            low: AtomicU64::new(low),
            reads: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            buried: Mutex::new(Vec::new()),
        }
    }

    /// These are not in the list any more, nor in the manifest. Their files go once no query has them in its list:
    /// [`Disk::remove_buried`]. There are as many as open queries keep.
    pub(crate) fn bury(&self, segments: impl IntoIterator<Item = Arc<Sealed>>) {
        let mut buried = lock(&self.buried);
        for sealed in segments {
            sealed.unload();
            buried.push(sealed);
        }
    }

    /// The segments, oldest first.
    pub(crate) fn segments(&self) -> Guard<Arc<Vec<Arc<Sealed>>>> {
        self.list.load()
    }

    /// Replaces the list. The caller holds the disk's state.
    pub(crate) fn replace(&self, list: Vec<Arc<Sealed>>) {
        self.list.store(Arc::new(list));
    }

    /// No event below it is there, but for what the bound on events hides.
    pub(crate) fn low(&self) -> u64 {
        self.low.load(Ordering::Acquire)
    }

    /// Raises the mark. The caller holds the disk's state.
    pub(crate) fn raise(&self, low: u64) {
        self.low.fetch_max(low, Ordering::AcqRel);
    }

    /// Bytes of memory that sealed segments take, and how often one was read from its file.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (self.segments().iter().map(|sealed| sealed.memory()).sum(), self.loads.load(Ordering::Relaxed))
    }

    /// Lets go of the segment in memory that was read longest ago; whether there was one.
    pub(crate) fn unload_one(&self) -> bool {
        let segments = self.segments();
        let mut loaded: Vec<_> = segments.iter().filter(|sealed| sealed.memory() > 0).collect();
        // Once each: they go on being read, and keys that change while they are compared make the sort panic.
        loaded.sort_by_cached_key(|sealed| sealed.read.load(Ordering::Relaxed));
        loaded.into_iter().any(|sealed| sealed.unload())
    }
}

impl Disk {
    /// Removes the files of segments that are gone and that nobody can read from any more.
    pub(crate) fn remove_buried(&self) {
        if self.check_writable().is_err() {
            return;
        }
        let mut unread = Vec::new();
        lock(&self.archive.buried).retain(|sealed| {
            // Nobody can come to know of it any more, so one that is ours alone stays so.
            let ours = Arc::strong_count(sealed) == 1;
            if ours {
                unread.push(Arc::clone(sealed));
            }
            !ours
        });
        for sealed in unread {
            // No manifest names it: if it stays, the next opening removes it.
            let _ = self.storage.remove(&self.directory.join(sealed.row.file_name()));
        }
    }

    /// The segment in memory; read from its file if it is not there.
    ///
    /// Errors: `io_error` when the file cannot be read, `no_memory` when there is no room for it. What is damaged
    /// is left out and noted as a gap.
    pub(crate) fn load(&self, sealed: &Sealed) -> Result<Held> {
        let archive = &self.archive;
        sealed.read.store(archive.reads.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let mut slot = lock(&sealed.loaded);
        if let Some(segment) = &*slot {
            return Ok(Held::clone(segment));
        }
        let segment = self.read_segment(&sealed.row)?;
        archive.loads.fetch_add(1, Ordering::Relaxed);
        let missing = sealed.row.events.saturating_sub(u64::from(segment.committed()));
        if missing > 0 && sealed.noted.swap(1, Ordering::AcqRel) == 0 {
            self.note_damage(sealed, &segment);
        }
        self.mark_pruned(&segment);
        if missing > 0 {
            let live = (0..segment.committed()).filter(|index| !is_dead(&segment, *index)).count() as u64;
            let lost = sealed.live().saturating_sub(live);
            sealed.remove(lost);
            sealed.owed.fetch_add(lost, Ordering::AcqRel);
            if sealed.row.last_seq < self.hot() {
                self.damaged.fetch_add(sealed.take_owed(), Ordering::AcqRel);
            }
        }
        *slot = Some(Held::clone(&segment));
        Ok(segment)
    }

    /// Where the filters of a segment stand: read from its file on first use. One that cannot be read may hold
    /// anything.
    pub(crate) fn column(&self, sealed: &Sealed) -> Option<Column> {
        *sealed.column.get_or_init(|| {
            let path = self.directory.join(sealed.row.file_name());
            let identity = identity(self.store, sealed.row.file);
            let file = SegmentFile::open(&*self.storage, &path, identity, Limits::default()).ok()?;
            let mut sides = Sides::default();
            for number in 0..file.footer().filters.len() {
                let Ok(filter) = file.read_filter(number) else { continue };
                let bits = Bits::from_words(filter.words.into_boxed_slice());
                if let Some((side, bits)) = sides.get_mut(filter.kind as usize).zip(bits)
                    && filter.seed == self.shared.hash.seed()
                    && bits.rows() == self.filters.bits().rows()
                {
                    *side = Some(bits);
                }
            }
            if sides.iter().all(Option::is_none) {
                return None;
            }
            self.filters.claim(&sides).map(|(column, _)| column)
        })
    }

    fn read_segment(&self, row: &SegmentRow) -> Result<Held> {
        let path = self.directory.join(row.file_name());
        let file =
            SegmentFile::open(&*self.storage, &path, identity(self.store, row.file), Limits::default())?;
        let mut writer = self.room_for(row.record_bytes as usize, row.events)?;
        let shared = &self.shared;
        let mut scratch = Scratch::default();
        let keep = |from, to| {
            if self.check_writable().is_ok() {
                quarantine::keep(&*self.storage, &self.directory, &path, from, to);
            }
        };
        // Without its footer the file was read from end to end, and these stretches are no blocks any more.
        for (from, to) in file.damage().into_iter().flat_map(|damage| &damage.stretches) {
            keep(*from, *to);
        }
        for (number, entry) in file.blocks().iter().enumerate() {
            let block = match file.read_block_with(number, &mut scratch) {
                Ok(block) => block,
                // A damaged block costs its events and nothing else; how many those are is known from the row.
                Err(error) if error.code() == Code::DataCorruption => {
                    keep(entry.offset, entry.offset + u64::from(entry.length));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for record in block.records() {
                restage(shared, &mut writer, record, |number| block.name(number))?;
            }
        }
        writer.publish();
        let segment = Held::clone(writer.segment());
        // Without room for them the chains stay, which find the same but by node and pid.
        if let Some((compact, _)) = Compact::build_within(&segment, shared, None) {
            segment.seal(compact);
        }
        Ok(segment)
    }

    /// Memory for a segment from a file: under the store's bound while other segments from files can make room.
    fn room_for(&self, bytes: usize, events: u64) -> Result<Writer> {
        let events = u32::try_from(events.max(1)).unwrap_or(1 << 24).next_power_of_two();
        let usual = self.shape;
        let shape = if events <= usual.events && bytes <= usual.bytes {
            usual
        } else {
            Shape { events, bytes: bytes.next_multiple_of(8) }
        };
        loop {
            match Segment::create_within(Budget::Usual, &self.shared, shape, 0) {
                Err(error) if error.code() == Code::StoreFull => {
                    if !self.archive.unload_one() {
                        break;
                    }
                }
                other => return other,
            }
        }
        // All memory is in use by what is not sealed or by readers: a reader that must be answered goes beyond.
        Segment::create_within(Budget::Reserved, &self.shared, shape, 0).map_err(|error| {
            let message = format!("no memory to read a sealed segment into: {}", error.message());
            Error::new(Code::NoMemory, message).with("cause", error.to_json())
        })
    }

    /// Marks what was pruned in a segment that was just read.
    pub(super) fn mark_pruned(&self, segment: &Segment) {
        let prunes = self.prunes.load();
        let (min, _) = segment.time_bounds();
        if prunes.iter().all(|prune| prune.before_time <= min) {
            return;
        }
        let count = segment.committed();
        for (index, time) in (0..count).zip(segment.times(count)) {
            let Some(record) = segment.record(index) else { continue };
            if prunes.iter().any(|prune| prune.covers(*time, record.seq())) {
                segment.dead.get_or_init(|| Dead::new(segment.shape().events)).mark(index);
            }
        }
    }

    /// Whether an id from `least` to `most` may be in a file.
    pub(crate) fn may_hold(&self, least: u64, most: u64) -> bool {
        let holds = |row: &SegmentRow| row.min_id <= most && row.max_id >= least && !self.is_hot(row);
        self.archive.segments().iter().any(|sealed| holds(&sealed.row))
    }

    /// Whether memory has all of a sealed segment's events as well.
    pub(crate) fn is_hot(&self, row: &SegmentRow) -> bool {
        row.first_seq >= self.hot()
    }

    /// The newest event of this id in a file that is there.
    pub(crate) fn find(&self, id: u64, low: u64) -> Result<Option<(Held, u32)>> {
        for sealed in self.archive.segments().iter().rev() {
            let row = &sealed.row;
            if id < row.min_id || id > row.max_id || row.last_seq < low || sealed.live() == 0 {
                continue;
            }
            // The caller has looked in memory before.
            let unlikely = |column| !self.filters.may_hold(column, Kind::EventId, self.shared.hash.id(id));
            if self.is_hot(row) || self.column(sealed).is_some_and(unlikely) {
                continue;
            }
            let segment = self.load(sealed)?;
            let Some(mut hits) = segment.hits(Index::EventId, id) else { continue };
            while let Some(index) = hits.newest(&segment) {
                let found = segment.record(index).filter(|record| record.event_id() == id);
                if found.is_some_and(|record| record.seq() >= low && !is_dead(&segment, index)) {
                    return Ok(Some((segment, index)));
                }
            }
        }
        Ok(None)
    }
}

/// Copies a record that came from a file behind the others of a segment, with this store's names.
pub(crate) fn restage<'n>(
    shared: &Shared,
    writer: &mut Writer,
    record: Record<'_>,
    name: impl Fn(u32) -> Option<&'n str>,
) -> Result<()> {
    let intern = |names: &Names, number| names.intern(name(number).unwrap_or_default());
    let draft = Draft {
        timestamp: record.timestamp(),
        wall_time: record.wall_time(),
        parent_id: record.parent_id(),
        type_id: intern(&shared.names, record.type_id())?,
        node_id: intern(&shared.names, record.node_id())?,
        flags: record.flags(),
        encoding: record.encoding(),
        correlation: record.correlation(),
        pid: record.pid(),
        data: record.data(),
    };
    let hash = draft.correlation.map_or(0, |id| shared.hash.bytes(id));
    let staged = writer.stage(&draft, hash);
    let index = staged.ok_or_else(|| {
        Error::new(Code::InternalError, "a segment from a file has more events than its row says")
    })?;
    writer.finish(index, record.seq(), record.event_id(), record.config_version());
    Ok(())
}
