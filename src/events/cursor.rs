//! A cursor: results one by one, out of pinned segments, in order, with bounded memory.
//!
//! Each segment that may hold results is a *run*, sorted by the order asked for; the runs are merged. A run is
//! opened only when the merge reaches the smallest key that it can have, and holds at most one list of indexes of
//! its segment. Whether an event was pruned is looked up when the merge reaches it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

use super::model::{EventRef, EventView};
use super::query::Order;
use super::record::Record;
use super::retention::is_dead;
use super::segment::{Index, Segment};

/// The conditions and the order of a query.
pub(crate) struct Filter {
    pub(crate) types: Vec<u32>,
    pub(crate) correlation: Option<Vec<u8>>,
    pub(crate) hash: u64,
    pub(crate) times: (i64, i64),
    pub(crate) order: Order,
    pub(crate) descending: bool,
}

/// What the merge compares: smaller comes first. Descending keys are complemented, which reverses their order.
type Key = (i64, u64);

impl Filter {
    fn accepts(&self, segment: &Segment, index: u32, record: Record<'_>) -> bool {
        let time = record.timestamp();
        (self.types.is_empty() || self.types.contains(&record.type_id()))
            && time >= self.times.0
            && time <= self.times.1
            && self.correlation.as_deref().is_none_or(|wanted| record.correlation() == Some(wanted))
            && !is_dead(segment, index)
    }

    fn key(&self, record: Record<'_>) -> Key {
        let (time, seq) = (record.timestamp(), record.seq());
        // Positions stay far below 2^63.
        let first = if self.order == Order::Seq { seq as i64 } else { time };
        if self.descending { (!first, !seq) } else { (first, seq) }
    }

    fn bounded_in_time(&self) -> bool {
        self.times != (i64::MIN, i64::MAX)
    }
}

/// A segment that is part of the answer and has not been reached.
pub(crate) struct Pending {
    /// No key of the run has a first part below this.
    pub(crate) edge: i64,
    pub(crate) segment: Arc<Segment>,
    /// Indexes to look at: `low..high`.
    pub(crate) low: u32,
    pub(crate) high: u32,
}

/// Which indexes of a segment are still to be looked at, in the order of the results.
enum Todo {
    /// All in a range, forward or backward as the query goes.
    Range(Range<u32>),
    /// These, forward.
    List(std::vec::IntoIter<u32>),
    /// What the type index chains at this position, newest first, within the range.
    Types { at: u32, range: Range<u32> },
}

/// A segment that the merge has reached.
struct Run {
    segment: Arc<Segment>,
    todo: Todo,
    at: u32,
}

impl Run {
    fn open(pending: Pending, filter: &Filter) -> Self {
        let Pending { segment, low, high, .. } = pending;
        segment.note_read();
        let sorted = filter.order == Order::Seq || segment.in_time_order(high);
        let range = if filter.bounded_in_time() && segment.in_time_order(high) {
            narrow(&segment, low..high, filter.times)
        } else {
            low..high
        };
        let todo = if filter.correlation.is_some() {
            Todo::List(collect(
                &segment,
                &range,
                sorted,
                filter,
                segment.chain(Index::Correlation, filter.hash),
            ))
        } else if let ([kind], true, true, false) =
            (filter.types.as_slice(), filter.descending, sorted, filter.bounded_in_time())
        {
            Todo::Types { at: segment.chain(Index::Type, u64::from(*kind)).position(), range }
        } else if sorted {
            Todo::Range(range)
        } else {
            let all = range.clone().rev();
            Todo::List(collect(&segment, &range, sorted, filter, all))
        };
        Self { segment, todo, at: 0 }
    }

    /// Goes to the next event of the run; its key, or `None` at the end.
    fn advance(&mut self, filter: &Filter) -> Option<Key> {
        let segment = &*self.segment;
        loop {
            let index = match &mut self.todo {
                Todo::Range(range) if filter.descending => range.next_back()?,
                Todo::Range(range) => range.next()?,
                Todo::List(list) => list.next()?,
                Todo::Types { at, range } => {
                    let mut chain = segment.resume(Index::Type, *at);
                    let index =
                        chain.find(|index| *index < range.end).filter(|index| *index >= range.start)?;
                    *at = chain.position();
                    index
                }
            };
            let Some(record) = segment.record(index) else { continue };
            if filter.accepts(segment, index, record) {
                self.at = index;
                return Some(filter.key(record));
            }
        }
    }
}

/// The part of a range, sorted by time, that lies within these times.
fn narrow(segment: &Segment, range: Range<u32>, (from, to): (i64, i64)) -> Range<u32> {
    let times = segment.times(range.end);
    let times = times.get(range.start as usize..).unwrap_or_default();
    let first = range.start + times.partition_point(|time| *time < from) as u32;
    let last = range.start + times.partition_point(|time| *time <= to) as u32;
    first..last
}

/// The indexes among `found` (newest first) that the filter accepts, in the order of the results.
fn collect(
    segment: &Segment,
    range: &Range<u32>,
    sorted: bool,
    filter: &Filter,
    found: impl Iterator<Item = u32>,
) -> std::vec::IntoIter<u32> {
    let mut list: Vec<u32> = found
        .skip_while(|index| *index >= range.end)
        .take_while(|index| *index >= range.start)
        .filter(|index| segment.record(*index).is_some_and(|record| filter.accepts(segment, *index, record)))
        .collect();
    if !sorted {
        let times = segment.times(range.end);
        let key = |index: &u32| (times.get(*index as usize).copied().unwrap_or_default(), *index);
        list.sort_unstable_by_key(|index| Reverse(key(index)));
    }
    if !filter.descending {
        list.reverse();
    }
    list.into_iter()
}

/// Results of a query, one by one. It sees the store as it was when the query was asked, except for events that
/// are pruned meanwhile; it holds the segments that it reads from in memory until it is dropped.
pub struct Cursor {
    filter: Filter,
    /// Not reached yet, the next one last.
    pending: Vec<Pending>,
    /// Reached; `None` once through, which lets go of the segment.
    runs: Vec<Option<Run>>,
    /// The runs at hand by the key of the event that each stands at.
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    offset: u64,
    left: u64,
    /// The run that the event given last is in: it has yet to go on.
    given: bool,
}

impl Cursor {
    pub(crate) fn new(filter: Filter, mut pending: Vec<Pending>, offset: u64, limit: u64) -> Self {
        pending.sort_by_key(|pending| Reverse(pending.edge));
        Self { filter, pending, runs: Vec::new(), heap: BinaryHeap::new(), offset, left: limit, given: false }
    }

    /// The next event, or `None` at the end. What it answers can be used until the next call.
    #[allow(
        clippy::should_implement_trait,
        reason = "the result borrows the cursor, which an iterator cannot"
    )]
    pub fn next(&mut self) -> Option<EventView<'_>> {
        let (segment, index) = self.advance()?;
        Some(EventView { record: segment.record(index)?, names: segment.names() })
    }

    /// The next event as a value of its own, which may outlive the cursor.
    pub fn next_ref(&mut self) -> Option<EventRef> {
        let (segment, index) = self.advance()?;
        EventRef::new(Arc::clone(segment), index)
    }

    /// How many events are left, which goes through all of them.
    pub fn count(mut self) -> u64 {
        let mut count = 0;
        while self.advance().is_some() {
            count += 1;
        }
        count
    }

    fn advance(&mut self) -> Option<(&Arc<Segment>, u32)> {
        if self.left == 0 {
            return None;
        }
        while self.offset > 0 {
            self.step()?;
            self.offset -= 1;
        }
        self.left -= 1;
        let run = self.step()?;
        self.runs.get(run)?.as_ref().map(|run| (&run.segment, run.at))
    }

    /// Goes to the next event in order; the run that stands at it.
    fn step(&mut self) -> Option<usize> {
        if self.given {
            self.given = false;
            if let Some(mut top) = self.heap.peek_mut() {
                let Reverse((key, run)) = &mut *top;
                let slot = self.runs.get_mut(*run);
                if let Some(next) = slot.and_then(|slot| advance_or_drop(slot, &self.filter)) {
                    *key = next;
                } else {
                    PeekMut::pop(top);
                }
            }
        }
        // A run that has not been opened may come before, or right at, the best key at hand.
        while let Some(next) = self.pending.last() {
            if self.heap.peek().is_some_and(|Reverse((key, _))| key.0 < next.edge) {
                break;
            }
            let Some(next) = self.pending.pop() else { break };
            let mut run = Run::open(next, &self.filter);
            if let Some(key) = run.advance(&self.filter) {
                self.heap.push(Reverse((key, self.runs.len())));
                self.runs.push(Some(run));
            }
        }
        let Reverse((_, run)) = self.heap.peek()?;
        self.given = true;
        Some(*run)
    }
}

/// Moves a run on and lets go of it when it is through.
fn advance_or_drop(slot: &mut Option<Run>, filter: &Filter) -> Option<Key> {
    let next = slot.as_mut().and_then(|run| run.advance(filter));
    if next.is_none() {
        *slot = None;
    }
    next
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("left", &self.left).finish_non_exhaustive()
    }
}
