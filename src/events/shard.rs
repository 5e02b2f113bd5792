//! A shard: the list of segments that one group of threads appends to, and the lock that they share.
//!
//! Readers take the list without a lock; it is replaced as a whole, under the shard's lock, when a
//! segment is added or retired. Within a shard sequence numbers grow from segment to segment.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::compact::Marks;
use super::filter::Kind;
use super::segment::{Held, Index, Segment, Shared, Writer};
use crate::runtime::sync::{Mutex, MutexGuard, Taken, Whole, lock, try_lock};

/// What is known about a segment that gets no more events, so that searches need not touch its memory.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) count: u32,
    pub(crate) seqs: (u64, u64),
    pub(crate) times: (i64, i64),
    pub(crate) ids: (u64, u64),
}

impl Bounds {
    /// Reads them off a segment; `None` while it is empty. What is published later is not covered.
    pub(crate) fn read(segment: &Segment) -> Option<Self> {
        let count = segment.committed();
        let first = segment.record(0)?.seq();
        let last = segment.record(count.checked_sub(1)?)?.seq();
        Some(Self { count, seqs: (first, last), times: segment.time_bounds(), ids: segment.id_bounds() })
    }
}

impl Bounds {
    /// The part of the segment whose positions lie from the first to below the second.
    pub(crate) fn in_seqs(&self, segment: &Segment, (from, to): (u64, u64)) -> Range<u32> {
        let (first, last) = self.seqs;
        let low = if first >= from { 0 } else { segment.below_seq(self.count, from) };
        let high = if last < to { self.count } else { segment.below_seq(self.count, to) };
        low..high.max(low)
    }
}

/// One segment in a shard's list.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) segment: Held,
    /// Once it gets no more events.
    sealed: Option<Bounds>,
    /// Once it has its compact indexes.
    pub(crate) marks: Option<Marks>,
}

impl Entry {
    pub(crate) fn new(segment: Held) -> Self {
        Self { segment, sealed: None, marks: None }
    }

    /// Where the segment's values lie, as far as published now.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.sealed.or_else(|| Bounds::read(&self.segment))
    }

    /// Whether an id in this range may be of one of its events.
    pub(crate) fn may_hold(&self, least: u64, most: u64) -> bool {
        let (min, max) = self.sealed.map_or_else(|| self.segment.id_bounds(), |bounds| bounds.ids);
        least <= max && min <= most
    }

    /// The newest event of this id that `present` accepts.
    pub(crate) fn find(
        &self,
        id: u64,
        shared: &Shared,
        present: impl Fn(&Segment, u32, u64) -> bool,
    ) -> Option<u32> {
        if !self.may_hold(id, id) {
            return None;
        }
        let column = self.marks.and_then(|marks| marks.column);
        let unlikely = |column| !shared.filters.may_hold(column, Kind::EventId, shared.hash.id(id));
        if column.is_some_and(unlikely) {
            return None;
        }
        let segment = &*self.segment;
        segment.hits(Index::EventId, id)?.newest_first(segment).find(|index| {
            let found = segment.record(*index).filter(|record| record.event_id() == id);
            found.is_some_and(|record| present(segment, *index, record.seq()))
        })
    }
}

pub(crate) struct Shard {
    list: Whole<Vec<Entry>>,
    writer: Mutex<Option<Writer>>,
}

impl Shard {
    pub(crate) fn new() -> Self {
        Self { list: Whole::new(Vec::new()), writer: Mutex::new(None) }
    }

    /// The shard's lock, and the writer of its active segment once there is one.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        lock(&self.writer)
    }

    /// The segments, oldest first; the last is the active one.
    pub(crate) fn segments(&self) -> Taken<Vec<Entry>> {
        self.list.load()
    }

    /// Adds segments behind the active one. The caller holds the lock.
    pub(crate) fn extend(&self, fresh: &[Writer]) {
        let old = self.list.load();
        let mut list = Vec::with_capacity(old.len() + fresh.len());
        list.extend(old.iter().cloned());
        // The last one may still have events staged in it; those before it are final.
        if let Some((_, finals)) = list.split_last_mut() {
            for entry in finals.iter_mut().filter(|entry| entry.sealed.is_none()) {
                entry.sealed = Bounds::read(&entry.segment);
            }
        }
        list.extend(fresh.iter().map(|writer| Entry::new(Held::clone(writer.segment()))));
        self.list.store(list);
    }

    /// The segments that get no more events and are not sealed yet, oldest first.
    pub(crate) fn unsealed(&self) -> Vec<Held> {
        // With the lock no append is half-way: all but the last are final.
        let list = {
            let _writer = self.lock();
            self.segments()
        };
        let finals = list.split_last().map_or(&[][..], |(_, finals)| finals);
        let unsealed = finals.iter().filter(|entry| entry.marks.is_none() && entry.segment.committed() > 0);
        unsealed.map(|entry| Held::clone(&entry.segment)).collect()
    }

    /// Notes what is known of a segment that has been sealed, unless it is no longer listed.
    pub(crate) fn note_sealed(&self, segment: &Held, marks: Marks) {
        let _writer = self.lock();
        let old = self.list.load();
        let Some(at) = old.iter().position(|entry| Held::ptr_eq(&entry.segment, segment)) else { return };
        let mut list = Vec::clone(&old);
        if let Some(entry) = list.get_mut(at) {
            entry.sealed = Bounds::read(segment);
            entry.marks = Some(marks);
        }
        self.list.store(list);
    }

    /// Takes the segments that `gone` names off the list, never the active one, and returns them.
    pub(crate) fn retire(&self, gone: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let _writer = self.lock();
        let old = self.list.load();
        let Some((active, finals)) = old.split_last() else { return Vec::new() };
        let (gone, mut kept): (Vec<_>, Vec<_>) = finals.iter().cloned().partition(gone);
        if !gone.is_empty() {
            kept.push(active.clone());
            self.list.store(kept);
        }
        gone
    }

    /// The newest event of this id that `present` accepts, with its segment.
    pub(crate) fn find(
        &self,
        id: u64,
        shared: &Shared,
        present: impl Fn(&Segment, u32, u64) -> bool,
    ) -> Option<(Held, u32)> {
        let segments = self.segments();
        segments.iter().rev().find_map(|entry| {
            entry.find(id, shared, &present).map(|index| (Held::clone(&entry.segment), index))
        })
    }
}

/// How often a thread waits for another one in its shard before it looks for a shard of its own.
const PATIENCE: u32 = 64;

/// A shard with its number and its lock.
type Owned<'a> = (usize, &'a Shard, MutexGuard<'a, Option<Writer>>);

/// The shard that the calling thread appends to. A thread that keeps meeting others there moves to one where nobody
/// is.
pub(crate) fn own_shard(shards: &[Shard]) -> Option<Owned<'_>> {
    let number = of_this_thread(shards.len());
    let own = shards.get(number)?;
    if let Some(writer) = try_lock(&own.writer) {
        return Some((number, own, writer));
    }
    let met = MET.get() + 1;
    MET.set(met % PATIENCE);
    if met >= PATIENCE {
        for (number, shard) in shards.iter().enumerate() {
            if let Some(writer) = try_lock(&shard.writer) {
                THREAD.set(number);
                return Some((number, shard, writer));
            }
        }
    }
    Some((number, own, own.lock()))
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // No destructor: a thread of the host may end at any time without us.
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
    /// How often it met others in its shard, since it looked for another one.
    static MET: Cell<u32> = const { Cell::new(0) };
}

/// The number of the shard that the calling thread appends to: threads are dealt out in turn.
pub(crate) fn of_this_thread(shards: usize) -> usize {
    #[cfg(feature = "crash-tests")]
    if let Some(shard) = crate::planted::shard() {
        return shard % shards.max(1);
    }
    let number = THREAD.get();
    let number = if number == usize::MAX {
        let next = THREADS.fetch_add(1, Ordering::Relaxed);
        THREAD.set(next);
        next
    } else {
        number
    };
    number % shards.max(1)
}
