//! A segment: a fixed piece of memory that events are appended to, with its indexes beside it.
//!
//! Nothing in a segment moves and nothing is rehashed. One [`Writer`] fills it, any number of readers look at
//! what has been published. When it is full it is only read, and when nobody holds it its memory is recycled.
//!
//! # Invariants
//! - There is exactly one `Writer` of a segment: `Segment::create` makes it, it cannot be cloned, and its methods
//!   take `&mut self`. Only it stores to `committed` and writes through the raw pointers.
//! - `committed` only grows. Bytes of records, `offsets` and `timestamps` at indexes below it never change again.
//! - The writer touches record bytes and columns at indexes `>= committed` only, and publishes them with one
//!   release store of `committed`. Readers load it with acquire and make references only to what lies below, so
//!   that no reference to unpublished bytes ever exists.
//! - `offsets[i]` is a multiple of 8 and a whole record of `length` bytes lies there inside the arena.
//! - `compact` is set, once and for good, before `chained` is emptied: whoever finds no chains finds the compact
//!   indexes. It is set only when the segment gets no more events.

use std::ops::Range;
use std::sync::Arc;

use super::chains::Chained;
use super::compact::Compact;
use super::filter::Filters;
use super::hash::Hash;
use super::hits::Hits;
use super::names::Names;
use super::record::{AT_CONFIG_VERSION, AT_EVENT_ID, AT_SEQ, Draft, HEADER, Record};
use super::recycle::{Budget, Buffers, Pool};
use super::retention::Dead;
use crate::error::Result;
use crate::runtime::sync::{self, AtomicU32, AtomicU64, OnceLock, Ordering, Switch};

/// How large segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Events, a power of two.
    pub(crate) events: u32,
    /// Bytes of records, a multiple of 8.
    pub(crate) bytes: usize,
}

impl Shape {
    /// Whether a segment of this shape with so many events and bytes taken has room for a record.
    pub(crate) fn fits(self, taken: (u32, usize), length: usize) -> bool {
        taken.0 < self.events && taken.1 + length <= self.bytes
    }
}

/// What all segments of a store share.
pub(crate) struct Shared {
    pub(crate) names: Names,
    pub(crate) pool: Pool,
    pub(crate) hash: Hash,
    pub(crate) filters: Filters,
}

impl Shared {
    pub(crate) fn new(names: Names, pool: Pool, hash: Hash, usual: Shape) -> Self {
        Self { names, pool, hash, filters: Filters::new(usual.events) }
    }
}

/// Which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    Correlation,
    EventId,
    Type,
    Parent,
    /// Only once the segment is full.
    Node,
    /// Only once the segment is full.
    Pid,
}

impl Index {
    /// Whether its keys are ids, which it hashes itself.
    pub(crate) fn is_of_ids(self) -> bool {
        matches!(self, Self::EventId | Self::Parent)
    }
}

/// A segment as its writer and readers hold it: who lets go of it last gives its memory back.
pub(crate) type Held = sync::Arc<Segment>;

/// A segment, as readers see it.
pub(crate) struct Segment {
    committed: AtomicU32,
    /// The first index whose timestamp is below an earlier one; `u32::MAX` while there is none.
    disorder: AtomicU32,
    min_time: AtomicU64,
    max_time: AtomicU64,
    min_id: AtomicU64,
    max_id: AtomicU64,
    shape: Shape,
    /// Present until `drop` gives it back.
    buffers: Option<Buffers>,
    /// The indexes until it is sealed.
    chained: Switch<Chained>,
    /// The indexes from then on.
    compact: OnceLock<Compact>,
    /// Which events retention has removed one by one; made on first need.
    pub(crate) dead: OnceLock<Dead>,
    /// When it was read last, as the pool counts reads; 0 where that does not matter.
    last_read: AtomicU64,
    shared: Arc<Shared>,
}

// SAFETY: the raw pointers in `buffers` are written by the single writer at unpublished indexes and read by
// others at published ones, ordered by `committed` (see the invariants); all the rest is atomic.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

/// The order in which a segment's smallest and largest values are kept: signed times as unsigned words.
fn ordered(time: i64) -> u64 {
    (time as u64) ^ (1 << 63)
}

fn unordered(word: u64) -> i64 {
    (word ^ (1 << 63)) as i64
}

impl Segment {
    /// A new segment and its only writer; larger than the usual shape when a record would not fit.
    #[cfg(test)]
    pub(crate) fn create(shared: &Arc<Shared>, usual: Shape, record: usize) -> Result<Writer> {
        Self::create_within(Budget::Usual, shared, usual, record)
    }

    /// A new segment and its only writer; larger than the usual shape when a record would not fit. `store_full`
    /// when there is no memory left under the store's bound.
    pub(crate) fn create_within(
        budget: Budget,
        shared: &Arc<Shared>,
        usual: Shape,
        record: usize,
    ) -> Result<Writer> {
        let shape = Shape { bytes: usual.bytes.max(record), ..usual };
        let (buffers, tables) = shared.pool.take(shape, budget)?;
        let chained = sync::Arc::new(Chained::new(tables, Arc::clone(shared)));
        let segment = Held::new(Self {
            committed: AtomicU32::new(0),
            disorder: AtomicU32::new(u32::MAX),
            min_time: AtomicU64::new(u64::MAX),
            max_time: AtomicU64::new(0),
            min_id: AtomicU64::new(u64::MAX),
            max_id: AtomicU64::new(0),
            shape,
            buffers: Some(buffers),
            chained: Switch::new(sync::Arc::clone(&chained)),
            compact: OnceLock::new(),
            dead: OnceLock::new(),
            last_read: AtomicU64::new(shared.pool.read_now()),
            shared: Arc::clone(shared),
        });
        Ok(Writer { segment, chained, staged: 0, used: 0, last_time: i64::MIN })
    }

    /// Notes that somebody reads it.
    pub(crate) fn note_read(&self) {
        let now = self.shared.pool.read_now();
        if now > 0 {
            self.last_read.store(now, Ordering::Relaxed);
        }
    }

    /// When it was read last, or made.
    pub(crate) fn last_read(&self) -> u64 {
        self.last_read.load(Ordering::Relaxed)
    }

    /// How many events can be read.
    pub(crate) fn committed(&self) -> u32 {
        self.committed.load(Ordering::Acquire)
    }

    /// The record at a published index.
    pub(crate) fn record(&self, index: u32) -> Option<Record<'_>> {
        let buffers = self.buffers.as_ref()?;
        if index >= self.committed() {
            return None;
        }
        buffers.shadow.read(index);
        // SAFETY: `index` is below `committed`, loaded with acquire: the offset and the record's bytes are written
        // and never change.
        Record::parse(unsafe { buffers.bytes_at(index) })
    }

    /// The bytes of the record at a published index.
    pub(crate) fn bytes_of(&self, index: u32) -> Option<&[u8]> {
        if index >= self.committed() {
            return None;
        }
        let buffers = self.buffers.as_ref()?;
        buffers.shadow.read(index);
        // SAFETY: as in `record`: published, so written and never changed again.
        Some(unsafe { buffers.bytes_at(index) })
    }

    /// The timestamps of the first `n` events (as many as are published).
    pub(crate) fn times(&self, n: u32) -> &[i64] {
        let n = n.min(self.committed());
        let Some(buffers) = &self.buffers else { return &[] };
        buffers.shadow.read_below(n);
        // SAFETY: the column has room for every index of the segment, and below `committed`, loaded with acquire,
        // it is written and never changes; the writer only writes behind the end of this slice.
        unsafe { std::slice::from_raw_parts(buffers.times.as_ptr(), n as usize) }
    }

    /// Whether the first `n` events are in order of their timestamps.
    pub(crate) fn in_time_order(&self, n: u32) -> bool {
        self.disorder.load(Ordering::Relaxed) >= n
    }

    /// Of the events of a range, which are in the order of time, those from the first to the last time.
    pub(crate) fn between_times(&self, range: Range<u32>, (first, last): (i64, i64)) -> Range<u32> {
        let times = self.times(range.end).get(range.start as usize..).unwrap_or_default();
        let before = times.partition_point(|time| *time < first) as u32;
        let until = times.partition_point(|time| *time <= last) as u32;
        range.start + before..range.start + until.max(before)
    }

    /// The smallest and largest timestamp; of nothing, smallest above largest.
    pub(crate) fn time_bounds(&self) -> (i64, i64) {
        let (min, max) = (self.min_time.load(Ordering::Relaxed), self.max_time.load(Ordering::Relaxed));
        (unordered(min), unordered(max))
    }

    /// The smallest and largest event id; of nothing, smallest above largest.
    pub(crate) fn id_bounds(&self) -> (u64, u64) {
        (self.min_id.load(Ordering::Relaxed), self.max_id.load(Ordering::Relaxed))
    }

    /// The events of this key, and perhaps some others, published or not. `None` if the segment has no such index
    /// yet: each event must be looked at. The key of a type or node is its number, that of an id or parent the id,
    /// that of a correlation id or pid its hash.
    pub(crate) fn hits(&self, index: Index, key: u64) -> Option<Hits> {
        if let Some(stretch) = self.stretch(index, key) {
            return Some(Hits::stretch(index, key, stretch));
        }
        if matches!(index, Index::Node | Index::Pid) {
            return None;
        }
        let Some(chained) = self.chained.load() else {
            // It has been sealed since we looked.
            return self.stretch(index, key).map(|stretch| Hits::stretch(index, key, stretch));
        };
        let at = chained.begin(index, if index.is_of_ids() { self.shared.hash.quick(key) } else { key });
        Some(Hits::chain(index, key, chained, at))
    }

    fn stretch(&self, index: Index, key: u64) -> Option<(u32, u32)> {
        self.compact.get().map(|compact| compact.stretch(index, key, self.shared.hash))
    }

    /// The event at a place of a compact index, unless it has another key.
    pub(super) fn listed(&self, index: Index, key: u64, place: u32) -> Option<u32> {
        self.compact.get()?.at(index, key, place, self.shared.hash)
    }

    /// The compact indexes, once it has been sealed.
    pub(crate) fn compact(&self) -> Option<&Compact> {
        self.compact.get()
    }

    /// Replaces the chains by indexes that were built from the segment, which gets no more events.
    pub(crate) fn seal(&self, compact: Compact) {
        if self.compact.set(compact).is_ok() {
            self.chained.clear();
        }
    }

    /// Where the offset of an event is read, for a prefetch.
    pub(crate) fn offset_address(&self, index: u32) -> Option<*const u8> {
        let buffers = self.buffers.as_ref()?;
        Some(buffers.offsets.as_ptr().wrapping_add(index as usize).cast())
    }

    /// Where a published record begins.
    pub(crate) fn record_address(&self, index: u32) -> Option<*const u8> {
        let buffers = self.buffers.as_ref()?;
        if index >= self.committed() {
            return None;
        }
        buffers.shadow.read(index);
        // SAFETY: `index` is below `committed`, loaded with acquire: its offset is written and never changes.
        let offset = unsafe { *buffers.offsets.as_ptr().add(index as usize) };
        Some(buffers.arena.as_ptr().cast::<u8>().wrapping_add(offset as usize))
    }

    /// How many of the first `n` events have a sequence number below `seq`.
    pub(crate) fn below_seq(&self, n: u32, seq: u64) -> u32 {
        let seq_at = |index: u32| self.record(index).map_or(u64::MAX, |record| record.seq());
        // Mostly all or none of them: look at the ends first.
        let n = n.min(self.committed());
        if n == 0 || seq_at(0) >= seq {
            return 0;
        }
        if seq_at(n - 1) < seq {
            return n;
        }
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = low + (high - low) / 2;
            if seq_at(middle) < seq { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The store's names.
    pub(crate) fn names(&self) -> &Names {
        &self.shared.names
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes allocated for records and columns, and for indexes.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let indexes = match self.compact.get() {
            Some(compact) => compact.bytes(),
            None => self.chained.load().map_or(0, |chained| chained.bytes()),
        };
        (self.buffers.as_ref().map_or(0, Buffers::bytes), indexes)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(compact) = self.compact.take() {
            if let Some(column) = compact.marks.column {
                self.shared.filters.release(column);
            }
            self.shared.pool.count_out(compact.bytes() as u64);
        }
        if let Some(buffers) = self.buffers.take() {
            self.shared.pool.give(self.shape, buffers);
        }
    }
}

/// The one who appends to a segment.
pub(crate) struct Writer {
    segment: Held,
    chained: sync::Arc<Chained>,
    /// Events written, published or not.
    staged: u32,
    /// Bytes of the arena that are taken.
    used: usize,
    last_time: i64,
}

impl Writer {
    pub(crate) fn segment(&self) -> &Held {
        &self.segment
    }

    /// Where the segment stands: events and bytes taken.
    pub(crate) fn taken(&self) -> (u32, usize) {
        (self.staged, self.used)
    }

    /// The indexes that are written and not published.
    pub(crate) fn unpublished(&self) -> Range<u32> {
        self.segment.committed.load(Ordering::Relaxed)..self.staged
    }

    /// Whether something was written and never published: a panic in mid-append. Such a segment is left behind.
    pub(crate) fn has_orphans(&self) -> bool {
        !self.unpublished().is_empty()
    }

    /// Copies an event behind the published ones and links it into the correlation and type indexes. Its index,
    /// or `None` when there is no room.
    pub(crate) fn stage(&mut self, draft: &Draft<'_>, correlation_hash: u64) -> Option<u32> {
        let segment = &*self.segment;
        let buffers = segment.buffers.as_ref()?;
        let length = draft.length();
        let index = self.staged;
        if !segment.shape.fits((index, self.used), length) {
            return None;
        }
        buffers.shadow.write(index);
        let correlation = draft.correlation.unwrap_or_default();
        // SAFETY: `index` is below the segment's capacity, so it lies inside the columns; `used + length` is inside
        // the arena and `length` covers header and parts (`Draft::length`). Everything is at or above `committed`,
        // where only this writer reads or writes, and the sources are not inside the arena's unpublished part.
        unsafe {
            *buffers.offsets.as_ptr().add(index as usize) = self.used as u32;
            *buffers.times.as_ptr().add(index as usize) = draft.timestamp;
            let start = buffers.arena.as_ptr().cast::<u8>().add(self.used);
            // The last word first: what the parts leave of it stays zero.
            start.add(length - 8).cast::<[u8; 8]>().write([0; 8]);
            start.cast::<[u8; HEADER]>().write(draft.header());
            let mut at = start.add(HEADER);
            for part in [correlation, draft.pid, draft.data] {
                std::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
                at = at.add(part.len());
            }
        }
        self.staged += 1;
        self.used += length;
        if draft.timestamp < self.last_time {
            let first = segment.disorder.load(Ordering::Relaxed).min(index);
            segment.disorder.store(first, Ordering::Relaxed);
        }
        self.last_time = self.last_time.max(draft.timestamp);
        lower(&segment.min_time, ordered(draft.timestamp));
        raise(&segment.max_time, ordered(draft.timestamp));
        if draft.correlation.is_some() {
            self.chained.link(Index::Correlation, correlation_hash, index);
        }
        self.chained.link(Index::Type, u64::from(draft.type_id), index);
        if draft.parent_id != 0 {
            self.chained.link(Index::Parent, segment.shared.hash.quick(draft.parent_id), index);
        }
        Some(index)
    }

    /// The bytes of an event that is staged and not published.
    pub(crate) fn staged_bytes(&self, index: u32) -> Option<&[u8]> {
        let buffers = self.segment.buffers.as_ref().filter(|_| self.unpublished().contains(&index))?;
        // SAFETY: `index` was staged, so offset and record are written inside the arena; only this writer writes
        // there, and it is borrowed for as long as the slice lives.
        Some(unsafe { buffers.bytes_at(index) })
    }

    /// An event that is staged and not published.
    pub(crate) fn staged(&self, index: u32) -> Option<Record<'_>> {
        self.staged_bytes(index).and_then(Record::parse)
    }

    /// Fills in what is known last, and links the event into the id index.
    pub(crate) fn finish(&mut self, index: u32, seq: u64, event_id: u64, config_version: u64) {
        let segment = &*self.segment;
        let committed = segment.committed.load(Ordering::Relaxed);
        let Some(buffers) = segment.buffers.as_ref().filter(|_| index >= committed && index < self.staged)
        else {
            return;
        };
        buffers.shadow.write(index);
        // SAFETY: `index` was staged and is not published: offset and header are written, inside the arena, and
        // only this writer touches them.
        unsafe {
            let offset = *buffers.offsets.as_ptr().add(index as usize);
            let start = buffers.arena.as_ptr().cast::<u8>().add(offset as usize);
            start.add(AT_SEQ).cast::<[u8; 8]>().write(seq.to_le_bytes());
            start.add(AT_EVENT_ID).cast::<[u8; 8]>().write(event_id.to_le_bytes());
            start.add(AT_CONFIG_VERSION).cast::<[u8; 8]>().write(config_version.to_le_bytes());
        }
        lower(&segment.min_id, event_id);
        raise(&segment.max_id, event_id);
        self.chained.link(Index::EventId, segment.shared.hash.quick(event_id), index);
    }

    /// Makes everything staged and finished visible.
    pub(crate) fn publish(&mut self) {
        self.segment.committed.store(self.staged, Ordering::Release);
    }
}

/// Lowers a bound that only the writer stores to.
fn lower(bound: &AtomicU64, value: u64) {
    if value < bound.load(Ordering::Relaxed) {
        bound.store(value, Ordering::Relaxed);
    }
}

/// Raises a bound that only the writer stores to.
fn raise(bound: &AtomicU64, value: u64) {
    if value > bound.load(Ordering::Relaxed) {
        bound.store(value, Ordering::Relaxed);
    }
}

impl Buffers {
    /// The bytes of the record at this index.
    ///
    /// # Safety
    /// Offset and record of this index are written, and nobody writes to them while the slice lives.
    unsafe fn bytes_at(&self, index: u32) -> &[u8] {
        // SAFETY: as the caller promises; the offset lies inside the arena, and so does the whole record, whose
        // length is its first word (see the invariants above).
        unsafe {
            let offset = *self.offsets.as_ptr().add(index as usize);
            let start = self.arena.as_ptr().cast::<u8>().add(offset as usize);
            let length = u32::from_le_bytes(*start.cast::<[u8; 4]>());
            std::slice::from_raw_parts(start, length as usize)
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::model::Encoding;
    use super::*;

    const SHAPE: Shape = Shape { events: 4, bytes: 1024 };

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Names::new().unwrap(), Pool::new(SHAPE), Hash::seeded(1), SHAPE))
    }

    fn draft(data: &[u8]) -> Draft<'_> {
        Draft {
            timestamp: -2,
            wall_time: 3,
            parent_id: 0,
            type_id: 5,
            node_id: 6,
            flags: 0,
            encoding: Encoding::Raw,
            correlation: Some(b"corr"),
            pid: b"pid",
            data,
        }
    }

    /// The bytes of the example in docs/file-format.md.
    fn documented() -> Vec<u8> {
        let page = include_str!("../../docs/file-format.md");
        let block = page.split("```").find(|block| block.trim_start().starts_with("58 00")).unwrap();
        let byte = |word: &str| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()).flatten();
        block.lines().flat_map(|line| line.split_whitespace().map_while(byte).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn memory_holds_the_bytes_that_the_page_shows_even_in_used_memory() {
        let shared = shared();
        for round in 0..2 {
            let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
            let index = writer.stage(&draft(b"data!"), 1).unwrap();
            assert!(writer.segment().record(index).is_none(), "it is not published");
            writer.finish(index, 1, 2, 1);
            writer.publish();
            let record = writer.segment().record(index).unwrap();
            assert_eq!(record.to_vec(), documented(), "round {round}");
            // Leaves bytes everywhere for the next round, which gets this memory.
            while writer.stage(&draft(&[0xff; 200]), 1).is_some() {}
            drop(writer);
            assert!(shared.pool.bytes() > 0);
        }
    }

    #[test]
    fn a_segment_is_full_by_events_or_by_bytes() {
        let shared = shared();
        let mut writer = Segment::create(&shared, SHAPE, 0).unwrap();
        let staged = (0..10).map_while(|_| writer.stage(&draft(b""), 1)).count();
        assert_eq!(staged, 4);
        assert!(writer.has_orphans());
        let mut writer = Segment::create(&shared, SHAPE, 5_000).unwrap();
        assert!(writer.stage(&draft(&[1; 4_900]), 1).is_some());
        assert!(writer.stage(&draft(&[1; 100]), 1).is_none());
    }

    #[test]
    fn disorder_in_time_is_noticed_where_it_begins() {
        let mut writer = Segment::create(&shared(), SHAPE, 0).unwrap();
        for time in [5, 5, 4, 9] {
            writer.stage(&Draft { timestamp: time, ..draft(b"") }, 1).unwrap();
        }
        writer.publish();
        let segment = writer.segment();
        assert!(segment.in_time_order(2) && !segment.in_time_order(3) && !segment.in_time_order(4));
        assert_eq!(segment.time_bounds(), (4, 9));
        assert_eq!(segment.times(9), [5, 5, 4, 9]);
    }
}
