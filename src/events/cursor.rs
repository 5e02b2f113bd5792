//! A cursor: results one by one, out of pinned segments, in order, with bounded memory.
//!
//! Each segment that may hold results is a *run*, sorted by the order asked for; the runs are merged. A run is
//! opened only when the merge reaches the smallest key that it can have, and holds at most one list of indexes of
//! its segment. Whether an event was pruned is looked up when the merge reaches it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use super::condition::{Condition, Verdict};
use super::disk::PendingFile;
use super::hits::Hits;
use super::model::{EventRef, EventView};
use super::pending::{Pending, listed};
use super::plan::Access;
use super::query::Order;
use super::record::Record;
use super::retention::is_dead;
use super::segment::{Held, Segment};
use crate::error::{Code, Error, Result};
use crate::runtime::deadline::Deadline;

/// The conditions and the order of a query.
pub(crate) struct Filter {
    pub(crate) types: Vec<u32>,
    pub(crate) correlation: Option<Vec<u8>>,
    /// From the first to below the second.
    pub(crate) seqs: (u64, u64),
    pub(crate) times: (i64, i64),
    pub(crate) ids: (u64, u64),
    pub(crate) parent: Option<u64>,
    pub(crate) node: Option<u32>,
    pub(crate) pid: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) order: Order,
    pub(crate) descending: bool,
    /// Where the events are looked for.
    pub(crate) access: Access,
    /// Whether the order in which events lie may be relied on.
    pub(crate) indexed: bool,
}

/// What is counted while a query runs, and when it must end.
pub(crate) struct Watch {
    deadline: Option<Deadline>,
    /// Work done since the deadline was looked at last, in bytes.
    work: usize,
    expired: bool,
    /// Conditions that could not be compared with what stands in the data.
    uncomparable: u64,
}

/// How much work is done between two looks at the deadline: some 100 µs.
const WORK_PER_LOOK: usize = 64 << 10;
/// What looking at an event counts as.
const WORK_PER_EVENT: usize = 128;

impl Watch {
    pub(crate) fn new(deadline: Option<Deadline>) -> Self {
        // The first event looks at the deadline.
        Self { deadline, work: WORK_PER_LOOK, expired: false, uncomparable: 0 }
    }

    /// How many conditions could not be compared so far.
    pub(crate) fn uncomparable(&self) -> u64 {
        self.uncomparable
    }

    /// Whether time is up, after so much more work.
    fn expired(&mut self, work: usize) -> bool {
        let Some(deadline) = self.deadline else { return false };
        self.work += work;
        if self.work >= WORK_PER_LOOK && !self.expired {
            self.work = 0;
            self.expired = deadline.left().is_none();
        }
        self.expired
    }
}

/// What the merge compares: smaller comes first. Descending keys are complemented, which reverses their order.
type Key = (i64, u64);

impl Filter {
    fn accepts(&self, segment: &Segment, index: u32, record: Record<'_>, watch: &mut Watch) -> bool {
        self.fields_match(record) && !is_dead(segment, index) && self.conditions_hold(record, watch)
    }

    /// Whether an event that is there is one that is asked for.
    pub(crate) fn wants(&self, record: Record<'_>, watch: &mut Watch) -> bool {
        self.fields_match(record) && self.conditions_hold(record, watch)
    }

    fn fields_match(&self, record: Record<'_>) -> bool {
        let time = record.timestamp();
        (self.types.is_empty() || self.types.contains(&record.type_id()))
            && time >= self.times.0
            && time <= self.times.1
            && self.correlation.as_deref().is_none_or(|wanted| record.correlation() == Some(wanted))
            && (self.seqs.0..self.seqs.1).contains(&record.seq())
            && (self.ids.0..=self.ids.1).contains(&record.event_id())
            && self.parent.is_none_or(|wanted| record.parent_id() == wanted)
            && self.node.is_none_or(|wanted| record.node_id() == wanted)
            && self.pid.as_deref().is_none_or(|wanted| record.pid() == wanted.as_bytes())
    }

    fn conditions_hold(&self, record: Record<'_>, watch: &mut Watch) -> bool {
        self.conditions.iter().all(|condition| {
            let data = record.data();
            let verdict = condition.judge(record.encoding(), data);
            watch.uncomparable += u64::from(verdict == Verdict::Uncomparable);
            verdict == Verdict::Holds && !watch.expired(data.len())
        })
    }

    fn key(&self, record: Record<'_>) -> Key {
        // Positions and ids stay far below 2^63.
        let first = match self.order {
            Order::Timestamp => record.timestamp(),
            Order::Seq => record.seq() as i64,
            Order::Id => record.event_id() as i64,
        };
        let seq = record.seq();
        if self.descending { (!first, !seq) } else { (first, seq) }
    }

    /// Whether the first `n` events of a segment lie in the order of the results.
    fn sorted(&self, segment: &Segment, n: u32) -> bool {
        match self.order {
            Order::Timestamp => self.indexed && segment.in_time_order(n),
            Order::Seq => true,
            Order::Id => false,
        }
    }
}

/// Which indexes of a segment are still to be looked at, in the order of the results.
enum Todo {
    /// All in a range, forward or backward as the query goes.
    Range(Range<u32>),
    /// Those at these places of the segment's order by time, likewise.
    ByTime(Range<u32>),
    /// These, forward.
    List(std::vec::IntoIter<u32>),
    /// What an index has of one key within the range, from the end that the query begins with.
    Hits { hits: Hits, range: Range<u32> },
}

/// A segment that the merge has reached.
struct Run {
    segment: Held,
    todo: Todo,
    at: u32,
}

impl Run {
    fn open(pending: Pending, filter: &Filter, watch: &mut Watch) -> Self {
        let Pending { segment, range, by_time, .. } = pending;
        segment.note_read();
        let sorted = filter.sorted(&segment, range.end);
        let hits = match &filter.access {
            Access::Scan => None,
            // A segment that is not sealed may not have the index.
            Access::Index { index, keys } => {
                keys.iter().map(|key| Some(segment.hits(*index, *key)?.within(&segment, &range))).collect()
            }
        };
        let todo = match (hits, by_time) {
            (Some(hits), _) => Self::through(&segment, hits, range, sorted, filter, watch),
            (None, Some(places)) if filter.order == Order::Timestamp => Todo::ByTime(places),
            (None, Some(places)) => {
                let mut found: Vec<u32> = listed(&segment, places).collect();
                found.sort_unstable_by(|a, b| b.cmp(a));
                Todo::List(collect(&segment, &range, sorted, filter, watch, found.into_iter()))
            }
            (None, None) if sorted => Todo::Range(range),
            (None, None) => Todo::List(collect(&segment, &range, sorted, filter, watch, range.clone().rev())),
        };
        Self { segment, todo, at: 0 }
    }

    /// What to look at where an index leads.
    fn through(
        segment: &Segment,
        mut hits: Vec<Hits>,
        range: Range<u32>,
        sorted: bool,
        filter: &Filter,
        watch: &mut Watch,
    ) -> Todo {
        if hits.len() == 1
            && let Some(hits) = hits.pop()
        {
            if sorted && (filter.descending || hits.size().is_some()) {
                return Todo::Hits { hits, range };
            }
            let found = hits.newest_first(segment);
            return Todo::List(collect(segment, &range, sorted, filter, watch, found));
        }
        let all = hits.into_iter().flat_map(|hits| hits.newest_first(segment));
        let mut found: Vec<u32> = all.filter(|index| range.contains(index)).collect();
        // Two values may share a chain.
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        Todo::List(collect(segment, &range, sorted, filter, watch, found.into_iter()))
    }

    /// Goes to the next event of the run; its key, or `None` at the end.
    fn advance(&mut self, filter: &Filter, watch: &mut Watch) -> Option<Key> {
        let segment = &*self.segment;
        loop {
            let index = match &mut self.todo {
                Todo::Range(range) if filter.descending => range.next_back()?,
                Todo::Range(range) => range.next()?,
                Todo::ByTime(places) => {
                    let place = if filter.descending { places.next_back()? } else { places.next()? };
                    segment.compact()?.by_time()?.at(place)?
                }
                Todo::List(list) => list.next()?,
                Todo::Hits { hits, range } if filter.descending => {
                    hits.fetch_ahead(segment, true);
                    let mut newest = std::iter::from_fn(|| hits.newest(segment));
                    newest.find(|index| *index < range.end).filter(|index| *index >= range.start)?
                }
                Todo::Hits { hits, range } => {
                    hits.fetch_ahead(segment, false);
                    let mut oldest = std::iter::from_fn(|| hits.oldest(segment));
                    oldest.find(|index| *index >= range.start).filter(|index| *index < range.end)?
                }
            };
            let Some(record) = segment.record(index) else { continue };
            if watch.expired(WORK_PER_EVENT) {
                return None;
            }
            // What a list holds has been looked at, but may have been removed since.
            let accepted = match self.todo {
                Todo::List(_) => !is_dead(segment, index),
                _ => filter.accepts(segment, index, record, watch),
            };
            if accepted {
                self.at = index;
                return Some(filter.key(record));
            }
        }
    }
}

/// The indexes among `found` (newest first) that the filter accepts, in the order of the results.
fn collect(
    segment: &Segment,
    range: &Range<u32>,
    sorted: bool,
    filter: &Filter,
    watch: &mut Watch,
    found: impl Iterator<Item = u32>,
) -> std::vec::IntoIter<u32> {
    let mut list: Vec<u32> = found
        .skip_while(|index| *index >= range.end)
        .take_while(|index| *index >= range.start)
        .filter(|index| {
            let record = segment.record(*index);
            !watch.expired(WORK_PER_EVENT)
                && record.is_some_and(|record| filter.accepts(segment, *index, record, watch))
        })
        .collect();
    if !sorted {
        let key = |index: &u32| segment.record(*index).map(|record| filter.key(record));
        list.sort_by_cached_key(key);
    } else if !filter.descending {
        list.reverse();
    }
    list.into_iter()
}

/// Results of a query, one by one. It sees the store as it was when the query was asked, except for events that
/// are pruned meanwhile; it holds the segments that it reads from in memory until it is dropped.
///
/// A query with a timeout is read with [`Cursor::try_next`], which tells an end from a lack of time.
pub struct Cursor {
    filter: Filter,
    watch: Watch,
    /// Not reached yet, the next one last.
    pending: Vec<Pending>,
    /// The same, of sealed segments.
    files: Vec<PendingFile>,
    /// A sealed segment could not be read.
    failed: Option<Error>,
    /// Reached; `None` once through, which lets go of the segment.
    runs: Vec<Option<Run>>,
    /// The runs at hand by the key of the event that each stands at.
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    offset: u64,
    left: u64,
    /// The run that the event given last is in: it has yet to go on.
    given: bool,
    /// Runs that are through; what was given of them may still be looked at.
    through: Vec<usize>,
    /// The events of a batch, each as its run and its index there.
    batch: Vec<(usize, u32)>,
}

/// The most events that a batch of a cursor has.
pub const MAX_CURSOR_BATCH: usize = 65_536;

impl Cursor {
    pub(crate) fn new(
        filter: Filter,
        watch: Watch,
        mut pending: Vec<Pending>,
        offset: u64,
        limit: u64,
    ) -> Self {
        pending.sort_by_key(|pending| Reverse(pending.edge));
        let (runs, heap) = (Vec::new(), BinaryHeap::new());
        let (through, batch) = (Vec::new(), Vec::new());
        let (files, failed, left, given) = (Vec::new(), None, limit, false);
        Self { filter, watch, pending, files, failed, runs, heap, offset, left, given, through, batch }
    }

    /// Also looks through these, the next one last.
    pub(crate) fn with_files(mut self, files: Vec<PendingFile>) -> Self {
        self.files = files;
        self
    }

    /// The next event, or `None` at the end and when time is up. What it answers can be used until the next call.
    #[allow(
        clippy::should_implement_trait,
        reason = "the result borrows the cursor, which an iterator cannot"
    )]
    pub fn next(&mut self) -> Option<EventView<'_>> {
        self.try_next().ok().flatten()
    }

    /// The next event, `None` at the end, or `timeout` when the query's time is up. What it answers can be used
    /// until the next call.
    pub fn try_next(&mut self) -> Result<Option<EventView<'_>>> {
        let found = self.advance()?;
        Ok(found.and_then(|(segment, index)| {
            Some(EventView { record: segment.record(index)?, names: segment.names() })
        }))
    }

    /// The next event as a value of its own, which may outlive the cursor; otherwise as [`Cursor::next`].
    pub fn next_ref(&mut self) -> Option<EventRef> {
        self.try_next_ref().ok().flatten()
    }

    /// The next event as a value of its own, which may outlive the cursor; otherwise as [`Cursor::try_next`].
    pub fn try_next_ref(&mut self) -> Result<Option<EventRef>> {
        let found = self.advance()?;
        Ok(found.and_then(|(segment, index)| EventRef::new(Held::clone(segment), index)))
    }

    /// The next events, at most `most` of them and at most [`MAX_CURSOR_BATCH`]; none at the end. Errors are those
    /// of [`Cursor::try_next`]. What is answered can be used until the next call.
    pub fn next_batch(&mut self, most: usize) -> Result<impl Iterator<Item = EventView<'_>>> {
        self.batch.clear();
        self.let_go();
        for _ in 0..most.min(MAX_CURSOR_BATCH) {
            let Some(run) = self.find() else { break };
            let Some(at) = self.runs.get(run).and_then(Option::as_ref).map(|run| run.at) else { break };
            self.batch.push((run, at));
        }
        if self.batch.is_empty() {
            self.let_go();
        }
        self.check()?;
        let runs = &self.runs;
        // A run stays until it is let go, so that none of the batch is left out here.
        Ok(self.batch.iter().filter_map(|(run, at)| {
            let segment = &runs.get(*run)?.as_ref()?.segment;
            Some(EventView { record: segment.record(*at)?, names: segment.names() })
        }))
    }

    /// How many events are left; `timeout` when the query's time is up. Where only ranges are asked for, stretches that
    /// lie wholly inside are counted as such, those of segments in files without reading them; otherwise this goes
    /// through all events.
    pub fn count(mut self) -> Result<u64> {
        self.count_rest()
    }

    pub(crate) fn count_rest(&mut self) -> Result<u64> {
        // Also what takes no time at all is not answered when there is none.
        if self.watch.expired(WORK_PER_EVENT) {
            self.check()?;
        }
        let mut sure = 0;
        self.pending.retain(|one| {
            if one.exact {
                sure += one.alive();
            }
            !one.exact
        });
        let mut files = Vec::new();
        for file in std::mem::take(&mut self.files) {
            match file.count()? {
                Some(count) => sure += count,
                None => files.push(file),
            }
            if self.watch.expired(WORK_PER_LOOK) {
                self.check()?;
            }
        }
        self.files = files;
        let (offset, left) = (self.offset, self.left);
        // Of the others no more than these can count.
        (self.offset, self.left) = (0, offset.saturating_add(left).saturating_sub(sure));
        let mut found = sure;
        while self.advance()?.is_some() {
            found += 1;
        }
        Ok(found.saturating_sub(offset).min(left))
    }

    /// How often a condition failed so far because the data has a value there that cannot be compared with the
    /// wanted one, or cannot be read.
    pub fn uncomparable(&self) -> u64 {
        self.watch.uncomparable
    }

    fn advance(&mut self) -> Result<Option<(&Held, u32)>> {
        let run = self.find();
        self.let_go();
        self.check()?;
        let run = run.and_then(|run| self.runs.get(run)?.as_ref());
        Ok(run.map(|run| (&run.segment, run.at)))
    }

    /// The run that stands at the next event of the answer.
    fn find(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        while self.offset > 0 {
            self.step()?;
            self.offset -= 1;
        }
        self.left -= 1;
        self.step()
    }

    /// Fails if the answer cannot be whole.
    fn check(&self) -> Result<()> {
        if self.watch.expired {
            return Err(Error::new(Code::Timeout, "the query's time was up before it was answered"));
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Lets go of the segments of runs that are through.
    fn let_go(&mut self) {
        for run in self.through.drain(..) {
            if let Some(slot) = self.runs.get_mut(run) {
                *slot = None;
            }
        }
    }

    /// Goes to the next event in order; the run that stands at it.
    fn step(&mut self) -> Option<usize> {
        if self.given {
            self.given = false;
            if let Some(mut top) = self.heap.peek_mut() {
                let Reverse((key, run)) = &mut *top;
                let at = self.runs.get_mut(*run).and_then(Option::as_mut);
                if let Some(next) = at.and_then(|run| run.advance(&self.filter, &mut self.watch)) {
                    *key = next;
                } else {
                    self.through.push(*run);
                    PeekMut::pop(top);
                }
            }
        }
        // A run that has not been opened may come before, or right at, the best key at hand.
        while let Some(edge) = self.next_edge() {
            if self.heap.peek().is_some_and(|Reverse((key, _))| key.0 < edge) {
                break;
            }
            let Some(next) = self.next_pending() else { break };
            let mut run = Run::open(next, &self.filter, &mut self.watch);
            if let Some(key) = run.advance(&self.filter, &mut self.watch) {
                self.heap.push(Reverse((key, self.runs.len())));
                self.runs.push(Some(run));
            }
        }
        if self.failed.is_some() {
            return None;
        }
        let Reverse((_, run)) = self.heap.peek()?;
        self.given = true;
        Some(*run)
    }

    /// The smallest edge of what is not reached.
    fn next_edge(&self) -> Option<i64> {
        let memory = self.pending.last().map(|pending| pending.edge);
        let file = self.files.last().map(|file| file.edge).filter(|_| self.failed.is_none());
        memory.into_iter().chain(file).min()
    }

    /// What is reached next, read from its file if need be; `None` if that failed.
    fn next_pending(&mut self) -> Option<Pending> {
        let edge = self.next_edge();
        if self.pending.last().is_some_and(|pending| Some(pending.edge) == edge) {
            return self.pending.pop();
        }
        match self.files.pop()?.open() {
            Ok(pending) => Some(pending),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("left", &self.left).finish_non_exhaustive()
    }
}
