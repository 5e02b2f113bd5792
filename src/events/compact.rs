//! The indexes of a segment that is full: for each key a stretch of one list of events, found through a hash.
//!
//! An index is two arrays: where each bucket's stretch starts, and the events of all buckets in a row, oldest first
//! within a bucket. An event there is its place in the segment with a part of its key's hash, so that an event of
//! another key in the same bucket is known without a look at its record. Segments of fewer than 65,536 events, which
//! are the usual ones, have arrays of half the width. Two cases need no arrays: one value in every event (most stores
//! have one node), and ids in a row.
//!
//! It is built once, by counting, and never changes. Per event it takes at most 6 bytes for each of correlation id,
//! parent, pid and id and 2 for each of type and node, and 2 more where the events did not come in the order of time,
//! in a segment of the usual width; twice that in a wide one.

use super::by_time::ByTime;
use super::filter::{Column, Filters, KINDS, Kind, Sides};
use super::hash::Hash;
use super::segment::{Index, Segment, Shared};

/// Buckets of types and nodes: most segments have few.
const NAME_BUCKETS: usize = 256;

/// An unsigned number of some width.
trait Narrow: Copy + Default {
    fn pack(value: u32) -> Self;
    fn get(self) -> u32;
}

impl Narrow for u16 {
    fn pack(value: u32) -> Self {
        value as Self
    }
    fn get(self) -> u32 {
        u32::from(self)
    }
}

impl Narrow for u32 {
    fn pack(value: u32) -> Self {
        value
    }
    fn get(self) -> u32 {
        self
    }
}

/// An event in a bucket.
trait Listed: Copy + Default {
    fn pack(at: u32, hash: u64) -> Self;
    /// The event's place, whatever its key.
    fn at(self) -> u32;
    /// The event's place, unless it certainly has another key.
    fn of(self, hash: u64) -> Option<u32>;
}

/// A place of 16 bits, or of 32, with as much of the hash: its upper part, which buckets do not use.
#[derive(Clone, Copy, Default)]
struct Tagged16(u32);
#[derive(Clone, Copy, Default)]
struct Tagged32(u64);
/// A place alone, for keys that are their own hash.
#[derive(Clone, Copy, Default)]
struct Plain<W>(W);

impl Listed for Tagged16 {
    fn pack(at: u32, hash: u64) -> Self {
        Self(at | ((hash >> 48) as u32) << 16)
    }
    fn at(self) -> u32 {
        self.0 & 0xffff
    }
    fn of(self, hash: u64) -> Option<u32> {
        (u64::from(self.0 >> 16) == hash >> 48).then_some(self.at())
    }
}

impl Listed for Tagged32 {
    fn pack(at: u32, hash: u64) -> Self {
        Self(u64::from(at) | hash >> 32 << 32)
    }
    fn at(self) -> u32 {
        self.0 as u32
    }
    fn of(self, hash: u64) -> Option<u32> {
        (self.0 >> 32 == hash >> 32).then_some(self.at())
    }
}

impl<W: Narrow> Listed for Plain<W> {
    fn pack(at: u32, _hash: u64) -> Self {
        Self(W::pack(at))
    }
    fn at(self) -> u32 {
        self.0.get()
    }
    fn of(self, _hash: u64) -> Option<u32> {
        Some(self.at())
    }
}

/// Where each bucket's stretch starts, with one end more, and the events of all buckets.
struct Table<S, E> {
    starts: Box<[S]>,
    events: Box<[E]>,
}

impl<S: Narrow, E: Listed> Table<S, E> {
    /// Counts, adds up, and puts each event where its bucket has come to. `buckets` is a power of two.
    fn build(keys: &[(u64, u32)], buckets: usize) -> Self {
        let mut starts = vec![S::default(); buckets + 1];
        let bucket = |hash: u64| hash as usize & (buckets - 1);
        for (hash, _) in keys {
            if let Some(count) = starts.get_mut(bucket(*hash)) {
                *count = S::pack(count.get() + 1);
            }
        }
        // From here on each bucket holds the end of its stretch, and goes down to the start as it is filled.
        let mut end = 0;
        for start in &mut starts {
            end += start.get();
            *start = S::pack(end);
        }
        let mut events = vec![E::default(); keys.len()];
        for (hash, at) in keys.iter().rev() {
            let Some(start) = starts.get_mut(bucket(*hash)) else { continue };
            let place = start.get().saturating_sub(1);
            *start = S::pack(place);
            if let Some(event) = events.get_mut(place as usize) {
                *event = E::pack(*at, *hash);
            }
        }
        Self { starts: starts.into_boxed_slice(), events: events.into_boxed_slice() }
    }

    fn stretch(&self, hash: u64) -> (u32, u32) {
        let bucket = hash as usize & self.starts.len().wrapping_sub(2);
        match self.starts.get(bucket..bucket + 2) {
            Some([from, to]) => (from.get(), to.get()),
            _ => (0, 0),
        }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.events)
    }

    /// The addresses that a lookup reads first: where the bucket's stretch starts.
    fn start_address(&self, hash: u64) -> *const u8 {
        self.starts.as_ptr().wrapping_add(hash as usize & self.starts.len().wrapping_sub(2)).cast()
    }
}

/// One index.
enum Postings {
    /// No event has a key.
    Empty,
    /// All of so many events have this key.
    All {
        key: u64,
        events: u32,
    },
    /// So many events have ids in a row.
    Row {
        first: u64,
        events: u32,
    },
    Tagged(Table<u16, Tagged16>),
    TaggedWide(Table<u32, Tagged32>),
    Plain(Table<u16, Plain<u16>>),
    PlainWide(Table<u32, Plain<u32>>),
}

impl Postings {
    /// An index of hashes.
    fn hashed(keys: &[(u64, u32)], wide: bool) -> Self {
        let buckets = keys.len().next_power_of_two().max(2) / 2;
        match (keys.is_empty(), wide) {
            (true, _) => Self::Empty,
            (false, false) => Self::Tagged(Table::build(keys, buckets)),
            (false, true) => Self::TaggedWide(Table::build(keys, buckets)),
        }
    }

    /// An index of small numbers.
    fn named(keys: &[(u64, u32)], wide: bool) -> Self {
        let Some((first, _)) = keys.first() else { return Self::Empty };
        if keys.iter().all(|(key, _)| key == first) {
            return Self::All { key: *first, events: keys.len() as u32 };
        }
        let buckets = keys.len().next_power_of_two().min(NAME_BUCKETS);
        if wide {
            Self::PlainWide(Table::build(keys, buckets))
        } else {
            Self::Plain(Table::build(keys, buckets))
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Empty | Self::All { .. } | Self::Row { .. } => 0,
            Self::Tagged(table) => table.bytes(),
            Self::TaggedWide(table) => table.bytes(),
            Self::Plain(table) => table.bytes(),
            Self::PlainWide(table) => table.bytes(),
        }
    }
}

/// What is known of a sealed segment without touching its memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// Types that occur, by number modulo 64, one bit each.
    types: u64,
    /// Nodes likewise.
    nodes: u64,
    /// Where its filters stand.
    pub(crate) column: Option<Column>,
}

impl Marks {
    /// Whether there may be an event of one of these types.
    pub(crate) fn may_have_type(self, types: &[u32]) -> bool {
        types.is_empty() || types.iter().any(|id| self.types & bit(*id) != 0)
    }

    /// Whether there may be an event of this node.
    pub(crate) fn may_have_node(self, node: u32) -> bool {
        self.nodes & bit(node) != 0
    }
}

fn bit(name: u32) -> u64 {
    1 << (name % 64)
}

/// All indexes of a full segment.
pub(crate) struct Compact {
    correlation: Postings,
    parent: Postings,
    pid: Postings,
    id: Postings,
    kind: Postings,
    node: Postings,
    /// Where the events did not come in the order of time.
    by_time: Option<ByTime>,
    pub(crate) marks: Marks,
}

impl Compact {
    /// The same as [`Compact::build`] under the store's bound on memory; `None` if there is no room.
    pub(crate) fn build_within(
        segment: &Segment,
        shared: &Shared,
        filters: Option<&Filters>,
    ) -> Option<(Self, Sides)> {
        let most = Self::most_bytes(segment.committed()) as u64;
        if !shared.pool.reserve(most) {
            return None;
        }
        let built = Self::build(segment, shared.hash, filters);
        shared.pool.count_out(most - built.0.bytes() as u64);
        Some(built)
    }

    /// Reads the segment, which gets no more events, from end to end. The filters come with the indexes, if they are
    /// wanted; whoever claims a column for them notes it in the marks.
    pub(crate) fn build(segment: &Segment, hash: Hash, filters: Option<&Filters>) -> (Self, Sides) {
        let events = segment.committed();
        let wide = events > u32::from(u16::MAX);
        let list = || Vec::with_capacity(events as usize);
        let (mut correlations, mut parents, mut pids, mut ids) = (list(), Vec::new(), list(), list());
        let (mut kinds, mut nodes) = (list(), list());
        let mut marks = Marks { types: 0, nodes: 0, column: None };
        let (mut first, mut row) = (0, true);
        for at in 0..events {
            let Some(record) = segment.record(at) else { break };
            if let Some(correlation) = record.correlation() {
                correlations.push((hash.bytes(correlation), at));
            }
            if record.parent_id() != 0 {
                parents.push((hash.id(record.parent_id()), at));
            }
            pids.push((hash.bytes(record.pid()), at));
            let id = record.event_id();
            if at == 0 {
                first = id;
            }
            row &= id == first + u64::from(at);
            ids.push((id, at));
            kinds.push((u64::from(record.type_id()), at));
            nodes.push((u64::from(record.node_id()), at));
            marks.types |= bit(record.type_id());
            marks.nodes |= bit(record.node_id());
        }
        // Ranges of ids that lie apart need no filter to tell segments from each other.
        let ordered = ids.is_sorted_by(|(a, _), (b, _)| a < b);
        for (id, _) in &mut ids {
            *id = hash.id(*id);
        }
        let filter = |keys: &[(u64, u32)]| {
            let mut bits = filters?.bits();
            for (hash, _) in keys {
                bits.insert(*hash);
            }
            Some(bits)
        };
        let mut sides: Sides = [const { None }; KINDS];
        let keys = [
            (Kind::Correlation, Some(&correlations)),
            (Kind::Parent, Some(&parents)),
            (Kind::Pid, Some(&pids)),
            (Kind::EventId, Some(&ids).filter(|_| !ordered)),
        ];
        for (kind, keys) in keys {
            if let (Some(side), Some(keys)) = (sides.get_mut(kind as usize), keys) {
                *side = filter(keys);
            }
        }
        let id = if row { Postings::Row { first, events } } else { Postings::hashed(&ids, wide) };
        let compact = Self {
            correlation: Postings::hashed(&correlations, wide),
            parent: Postings::hashed(&parents, wide),
            pid: Postings::hashed(&pids, wide),
            id,
            kind: Postings::named(&kinds, wide),
            node: Postings::named(&nodes, wide),
            by_time: (!segment.in_time_order(events)).then(|| ByTime::build(segment.times(events))),
            marks,
        };
        (compact, sides)
    }

    /// The events in the order of time, where they did not come in it.
    pub(crate) fn by_time(&self) -> Option<&ByTime> {
        self.by_time.as_ref()
    }

    fn postings(&self, index: Index) -> &Postings {
        match index {
            Index::Correlation => &self.correlation,
            Index::EventId => &self.id,
            Index::Type => &self.kind,
            Index::Parent => &self.parent,
            Index::Node => &self.node,
            Index::Pid => &self.pid,
        }
    }

    /// The stretch of an index in which the events of this key lie, possibly among others. `key` is the hash, for
    /// types and nodes the number, for ids and parents the id.
    pub(crate) fn stretch(&self, index: Index, key: u64, hash: Hash) -> (u32, u32) {
        match self.postings(index) {
            Postings::Empty => (0, 0),
            Postings::All { key: only, events } => (0, if *only == key { *events } else { 0 }),
            Postings::Row { first, events } => match key.checked_sub(*first) {
                Some(at) if at < u64::from(*events) => (at as u32, at as u32 + 1),
                _ => (0, 0),
            },
            Postings::Tagged(table) => table.stretch(bucket_key(index, key, hash)),
            Postings::TaggedWide(table) => table.stretch(bucket_key(index, key, hash)),
            Postings::Plain(table) => table.stretch(key),
            Postings::PlainWide(table) => table.stretch(key),
        }
    }

    /// The event at a place of the index; `None` if its key is another one.
    pub(crate) fn at(&self, index: Index, key: u64, place: u32, hash: Hash) -> Option<u32> {
        let at = place as usize;
        match self.postings(index) {
            Postings::Empty => None,
            Postings::All { .. } | Postings::Row { .. } => Some(place),
            Postings::Tagged(table) => table.events.get(at)?.of(bucket_key(index, key, hash)),
            Postings::TaggedWide(table) => table.events.get(at)?.of(bucket_key(index, key, hash)),
            Postings::Plain(table) => table.events.get(at)?.of(key),
            Postings::PlainWide(table) => table.events.get(at)?.of(key),
        }
    }

    /// The event at a place of the index, whatever its key: they grow along the stretch of a key.
    pub(crate) fn any_at(&self, index: Index, place: u32) -> Option<u32> {
        let at = place as usize;
        match self.postings(index) {
            Postings::Empty => None,
            Postings::All { .. } | Postings::Row { .. } => Some(place),
            Postings::Tagged(table) => table.events.get(at).map(|event| event.at()),
            Postings::TaggedWide(table) => table.events.get(at).map(|event| event.at()),
            Postings::Plain(table) => table.events.get(at).map(|event| event.at()),
            Postings::PlainWide(table) => table.events.get(at).map(|event| event.at()),
        }
    }

    /// The most bytes that the indexes of a segment of so many events take.
    pub(crate) fn most_bytes(events: u32) -> usize {
        let (events, narrow) = (events as usize, u16::try_from(events).is_ok());
        let (start, tagged) = if narrow { (2, 4) } else { (4, 8) };
        let hashed = events * tagged + (events.next_power_of_two().max(2) / 2 + 1) * start;
        let named = (events + NAME_BUCKETS + 1) * start;
        KINDS * hashed + 2 * named + ByTime::most_bytes(events as u32)
    }

    /// Where a lookup of this key reads first, for a prefetch.
    pub(crate) fn start_address(&self, index: Index, key: u64, hash: Hash) -> Option<*const u8> {
        let key = bucket_key(index, key, hash);
        match self.postings(index) {
            Postings::Empty | Postings::All { .. } | Postings::Row { .. } => None,
            Postings::Tagged(table) => Some(table.start_address(key)),
            Postings::TaggedWide(table) => Some(table.start_address(key)),
            Postings::Plain(table) => Some(table.start_address(key)),
            Postings::PlainWide(table) => Some(table.start_address(key)),
        }
    }

    /// Where the events at a place of the index are read, for a prefetch.
    pub(crate) fn event_address(&self, index: Index, place: u32) -> Option<*const u8> {
        let at = place as usize;
        match self.postings(index) {
            Postings::Empty | Postings::All { .. } | Postings::Row { .. } => None,
            Postings::Tagged(table) => Some(table.events.as_ptr().wrapping_add(at).cast()),
            Postings::TaggedWide(table) => Some(table.events.as_ptr().wrapping_add(at).cast()),
            Postings::Plain(table) => Some(table.events.as_ptr().wrapping_add(at).cast()),
            Postings::PlainWide(table) => Some(table.events.as_ptr().wrapping_add(at).cast()),
        }
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        [&self.correlation, &self.parent, &self.pid, &self.id, &self.kind, &self.node]
            .into_iter()
            .map(Postings::bytes)
            .chain(self.by_time.iter().map(ByTime::bytes))
            .sum()
    }
}

/// What buckets are told by: ids are keys of their own and hashed only where there are buckets.
fn bucket_key(index: Index, key: u64, hash: Hash) -> u64 {
    if index.is_of_ids() { hash.id(key) } else { key }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn keys(count: u32, distinct: u64) -> Vec<(u64, u32)> {
        let hash = Hash::seeded(3);
        (0..count).map(|at| (hash.id(u64::from(at) * 7 % distinct), at)).collect()
    }

    fn check<S: Narrow, E: Listed>(keys: &[(u64, u32)], buckets: usize) {
        let table: Table<S, E> = Table::build(keys, buckets);
        for distinct in keys.iter().map(|(hash, _)| *hash).take(200) {
            let (from, to) = table.stretch(distinct);
            let events = &table.events[from as usize..to as usize];
            let found: Vec<u32> = events.iter().filter_map(|event| event.of(distinct)).collect();
            assert!(found.is_sorted(), "oldest first");
            let expected: Vec<u32> =
                keys.iter().filter(|(hash, _)| *hash == distinct).map(|(_, at)| *at).collect();
            assert!(expected.iter().all(|at| found.contains(at)), "an event is missing");
        }
    }

    #[test]
    fn every_event_is_found_under_its_key_in_every_width() {
        for (count, distinct) in [(1, 1), (2, 9), (1_000, 3), (1_000, 5_000), (65_535, 40_000)] {
            let keys = keys(count, distinct);
            check::<u16, Tagged16>(&keys, keys.len().next_power_of_two().max(2) / 2);
            check::<u32, Tagged32>(&keys, 64);
        }
        let named: Vec<(u64, u32)> = (0..5_000).map(|at| (u64::from(at % 300), at)).collect();
        check::<u16, Plain<u16>>(&named, NAME_BUCKETS);
        check::<u32, Plain<u32>>(&named, NAME_BUCKETS);
        assert!(matches!(Postings::hashed(&[], false), Postings::Empty));
        assert!(matches!(Postings::named(&[(4, 0), (4, 1)], false), Postings::All { key: 4, events: 2 }));
    }

    #[test]
    fn an_event_of_another_key_in_the_bucket_is_told_by_its_tag() {
        let keys = keys(1_000, 1_000);
        let table: Table<u16, Tagged16> = Table::build(&keys, 1);
        let found = table.events.iter().filter_map(|event| event.of(keys[500].0)).count();
        assert!((1..5).contains(&found), "{found} of 1,000 in one bucket");
    }
}
