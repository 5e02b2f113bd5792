//! How a question becomes runs over segments, and which index finds the events.
//!
//! Segments that cannot hold results are passed over by what is known about them: the range of their positions,
//! times and ids, and whether an index has anything of the wanted value. In the others, positions and (where they
//! are in order) times are found by halving. What is left is looked at from end to end, or through the chains of one
//! index: the one that is expected to show the fewest events. A chain's length is known after a few steps along it,
//! exactly if it is short. Everything else that the query asks for is checked event by event.

use std::sync::Arc;

use serde::Serialize;

use super::condition;
use super::cursor::{Cursor, Filter, Pending, Watch};
use super::disk::PendingFile;
use super::names::Names;
use super::query::{Order, Query};
use super::segment::{Index, Segment, id_hash};
use super::shard::{Bounds, Shard};
use crate::error::Result;
use crate::runtime::deadline::Deadline;

/// What a query sees: events with `low <= seq < next` that are published.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) low: u64,
    pub(crate) next: u64,
}

/// Where a query's events are looked for.
#[derive(Clone)]
pub(crate) enum Access {
    /// Everywhere in the ranges of the pending segments.
    Scan,
    /// Along the chains of these hashes.
    Chains { index: Index, hashes: Vec<u64> },
}

/// Steps along a chain before its length is extrapolated.
const PROBE: usize = 32;
/// More values than this of one index are not looked up one by one.
const MAX_HASHES: usize = 16;
/// What an event found through a chain costs, in events looked at in a row.
const CHAIN_COST: u64 = 2;

/// How a query would be answered; [`super::EventStore::explain`] makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The index that finds the events: `correlation`, `parent`, `id`, `type`, `seq`, `time`, or `none`.
    pub index: &'static str,
    /// Why this one.
    pub reason: String,
    /// Events in the store.
    pub events: u64,
    /// Events that will be looked at, as far as is known before; at most this many if the index is `seq`, `time` or
    /// `none`.
    pub candidates: u64,
    /// Segments that will be read.
    pub segments: u64,
    /// Segments that cannot hold results.
    pub segments_passed_over: u64,
    /// Each index that could have been used, with the events that it was expected to show.
    pub estimates: Vec<Estimate>,
}

/// What an index was expected to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The index.
    pub index: &'static str,
    /// How many events.
    pub events: u64,
}

/// A query, with the names in it resolved.
pub(crate) struct Asked<'a> {
    query: &'a Query,
    types: Vec<u32>,
    node: Option<u32>,
    hash: u64,
    /// A name in it is not known, so that nothing can be found.
    nothing: bool,
    deadline: Option<Deadline>,
}

/// What a plan comes to: a cursor that is yet to be opened.
pub(crate) struct Planned {
    pub(crate) filter: Filter,
    pub(crate) pending: Vec<Pending>,
    /// Sealed segments, the next one last.
    pub(crate) files: Vec<PendingFile>,
    pub(crate) window: Window,
    /// The index to use where nothing is known of how many events it shows.
    pub(crate) chains: Option<Access>,
    deadline: Option<Deadline>,
}

impl Planned {
    pub(crate) fn into_cursor(self, query: &Query) -> Cursor {
        let limit = query.limit.unwrap_or(u64::MAX);
        Cursor::new(self.filter, Watch::new(self.deadline), self.pending, query.offset, limit)
            .with_files(self.files)
    }
}

/// What was learned while segments were looked through.
#[derive(Default)]
struct Tally {
    /// Events in the store, those left after the range of positions, and those left after the range of times.
    events: u64,
    in_seqs: u64,
    in_times: u64,
    passed_over: u64,
}

impl<'a> Asked<'a> {
    /// Resolves the names of a query. `unread` says that there may be names in files that were not read yet: then a
    /// name that is not known is made known.
    pub(crate) fn new(query: &'a Query, names: &Names, unread: bool) -> Result<Self> {
        let deadline = query.timeout.map(Deadline::after);
        condition::check_count(query.conditions.len())?;
        let find = |name: &str| if unread { names.intern(name).ok() } else { names.find(name) };
        let types: Vec<u32> =
            query.types.iter().filter_map(|name| find(name)).filter(|id| *id != 0).collect();
        let node = query.node.as_deref().map(find);
        let nothing = (types.is_empty() && !query.types.is_empty()) || node == Some(None);
        let hash = query.correlation_id.as_deref().map_or(0, |id| names.hash(id));
        Ok(Self { query, types, node: node.flatten(), hash, nothing, deadline })
    }

    /// The indexes that could find the events, with the hashes to look up.
    fn indexes(&self) -> Vec<(&'static str, Index, Vec<u64>)> {
        let query = self.query;
        let mut found = Vec::new();
        if query.without_indexes {
            return found;
        }
        if query.correlation_id.is_some() {
            found.push(("correlation", Index::Correlation, vec![self.hash]));
        }
        if let Some(parent) = query.parent_id.filter(|id| *id != 0) {
            found.push(("parent", Index::Parent, vec![id_hash(parent)]));
        }
        if let Some((first, last)) = query.id_range.filter(|(first, last)| first <= last)
            && last - first < MAX_HASHES as u64
        {
            found.push(("id", Index::EventId, (first..=last).map(id_hash).collect()));
        }
        if (1..=MAX_HASHES).contains(&self.types.len()) {
            found.push(("type", Index::Type, self.types.iter().map(|id| u64::from(*id)).collect()));
        }
        found
    }

    pub(crate) fn plan(&self, window: Window, shards: &[Shard]) -> (Planned, Plan) {
        let query = self.query;
        let (mut from, mut to) = (window.low, window.next);
        if let Some((first, last)) = query.seq_range {
            (from, to) = (from.max(first), to.min(last.saturating_add(1)));
        }
        let times = query.time_range.unwrap_or((i64::MIN, i64::MAX));
        let ids = query.id_range.unwrap_or((0, u64::MAX));
        let indexes = self.indexes();
        let mut tally = Tally::default();
        let mut pending = Vec::new();
        let nothing = self.nothing || from >= to || times.0 > times.1 || ids.0 > ids.1;
        for shard in shards.iter().filter(|_| !nothing) {
            for entry in shard.segments().iter() {
                let segment = &entry.segment;
                // The cheapest look first: most segments have nothing of a correlation.
                let missing = |(_, index, hashes): &(_, Index, Vec<u64>)| {
                    hashes.iter().all(|hash| segment.chain(*index, *hash).next().is_none())
                };
                if indexes.iter().any(missing) {
                    tally.passed_over += 1;
                    continue;
                }
                let Some(bounds) = entry.bounds() else { continue };
                if query.without_indexes {
                    tally.events += u64::from(bounds.count);
                    pending.push(Pending {
                        edge: i64::MIN,
                        segment: Arc::clone(segment),
                        low: 0,
                        high: bounds.count,
                    });
                    continue;
                }
                let (first, last) = bounds.seqs;
                if last < from
                    || first >= to
                    || bounds.times.1 < times.0
                    || bounds.times.0 > times.1
                    || bounds.ids.1 < ids.0
                    || bounds.ids.0 > ids.1
                {
                    tally.passed_over += 1;
                    continue;
                }
                let (low, high) = narrow(segment, &bounds, (from, to), times, &mut tally);
                if low < high {
                    let edge = self.edge(&bounds);
                    pending.push(Pending { edge, segment: Arc::clone(segment), low, high });
                }
            }
        }
        let chains = indexes
            .first()
            .map(|(_, index, hashes)| Access::Chains { index: *index, hashes: hashes.clone() });
        let (access, mut plan) = self.choose(indexes, &pending, &tally);
        plan.events = window.next - window.low;
        let filter = Filter {
            types: self.types.clone(),
            correlation: query.correlation_id.clone(),
            seqs: (from, to),
            times,
            ids,
            parent: query.parent_id,
            node: self.node,
            pid: query.pid.clone(),
            conditions: query.conditions.clone(),
            order: query.order,
            descending: query.descending,
            access,
            indexed: !query.without_indexes,
        };
        let files = Vec::new();
        (Planned { filter, pending, files, window, chains, deadline: self.deadline }, plan)
    }

    /// What no key of a segment's run has a first part below.
    fn edge(&self, bounds: &Bounds) -> i64 {
        // Positions and ids stay far below 2^63.
        let (first, last) = match self.query.order {
            Order::Timestamp => bounds.times,
            Order::Seq => (bounds.seqs.0 as i64, bounds.seqs.1 as i64),
            Order::Id => (bounds.ids.0 as i64, bounds.ids.1 as i64),
        };
        if self.query.descending { !last } else { first }
    }

    /// Chooses where to look: the fewest events win.
    fn choose(
        &self,
        indexes: Vec<(&'static str, Index, Vec<u64>)>,
        pending: &[Pending],
        tally: &Tally,
    ) -> (Access, Plan) {
        let query = self.query;
        let left: u64 = pending.iter().map(|one| u64::from(one.high - one.low)).sum();
        let mut plan = Plan {
            index: "none",
            reason: String::new(),
            events: 0,
            candidates: left,
            segments: pending.len() as u64,
            segments_passed_over: tally.passed_over,
            estimates: Vec::new(),
        };
        if query.without_indexes {
            "the query asks for no index to be used".clone_into(&mut plan.reason);
            return (Access::Scan, plan);
        }
        let (range, whole) = ranges(query, tally);
        let mut best: Option<(u64, usize)> = None;
        for (at, (name, index, hashes)) in indexes.iter().enumerate() {
            let events = hashes.iter().map(|hash| estimate(pending, *index, *hash)).sum();
            plan.estimates.push(Estimate { index: name, events });
            if best.is_none_or(|(fewest, _)| events < fewest) {
                best = Some((events, at));
            }
        }
        if query.seq_range.is_some() || query.time_range.is_some() {
            plan.estimates.push(Estimate { index: range, events: left });
        }
        let scan = self.scan_cost(left, best.map_or(left, |(events, _)| events));
        let chosen = best.filter(|(events, _)| events.saturating_mul(CHAIN_COST) <= scan);
        let chosen = chosen.and_then(|(events, at)| Some((events, indexes.into_iter().nth(at)?)));
        if let Some((events, (name, index, hashes))) = chosen {
            (plan.index, plan.candidates) = (name, events);
            plan.reason = format!(
                "its chains hold about {events} of the {left} events that the ranges leave, the fewest"
            );
            return (Access::Chains { index, hashes }, plan);
        }
        plan.index = range;
        plan.reason = match best {
            _ if left == 0 => "no segment can hold an event that is asked for".to_owned(),
            Some((events, _)) => format!(
                "the ranges leave {left} of {whole} events, and about {events} of them along the chains of an index \
                 would take longer"
            ),
            None if range == "none" => "nothing that is asked for has an index".to_owned(),
            None => format!("the ranges leave {left} of {whole} events"),
        };
        (Access::Scan, plan)
    }

    /// How many events a scan looks at before it has enough, if `matching` of those in the range are wanted.
    fn scan_cost(&self, left: u64, matching: u64) -> u64 {
        let query = self.query;
        let sorted = query.order != Order::Id && query.conditions.is_empty();
        let Some(limit) = query.limit.filter(|_| sorted) else { return left };
        let needed =
            u128::from(limit.saturating_add(query.offset)) * u128::from(left) / u128::from(matching.max(1));
        left.min(u64::try_from(needed).unwrap_or(u64::MAX))
    }
}

/// Which range narrows a scan most, and of how many events.
fn ranges(query: &Query, tally: &Tally) -> (&'static str, u64) {
    let cut = |before: u64, after: u64| (before - after) as f64 / before.max(1) as f64;
    let by_seq = cut(tally.events, tally.in_seqs);
    let by_time = cut(tally.in_seqs, tally.in_times);
    let name = match (query.seq_range, query.time_range) {
        (Some(_), Some(_)) if by_time > by_seq => "time",
        (Some(_), _) => "seq",
        (None, Some(_)) => "time",
        (None, None) => "none",
    };
    (name, tally.events)
}

/// The part of a segment whose positions and, as far as they are in order, times lie in these ranges.
fn narrow(
    segment: &Segment,
    bounds: &Bounds,
    (from, to): (u64, u64),
    times: (i64, i64),
    tally: &mut Tally,
) -> (u32, u32) {
    let (first, last) = bounds.seqs;
    let mut low = if first >= from { 0 } else { segment.below_seq(bounds.count, from) };
    let mut high = if last < to { bounds.count } else { segment.below_seq(bounds.count, to) };
    tally.events += u64::from(bounds.count);
    tally.in_seqs += u64::from(high.saturating_sub(low));
    let crosses = bounds.times.0 < times.0 || bounds.times.1 > times.1;
    if crosses && segment.in_time_order(high) {
        let column = segment.times(high);
        let column = column.get(low as usize..).unwrap_or_default();
        let before = column.partition_point(|time| *time < times.0) as u32;
        let until = column.partition_point(|time| *time <= times.1) as u32;
        (low, high) = (low + before, low + until);
    }
    tally.in_times += u64::from(high.saturating_sub(low));
    (low, high)
}

/// About how many events the chains of this hash show in the pending ranges.
fn estimate(pending: &[Pending], index: Index, hash: u64) -> u64 {
    let in_segment = |one: &Pending| {
        let mut chain = one.segment.chain(index, hash);
        let (mut seen, mut lowest) = (0_u64, one.high);
        for at in chain.by_ref().take(PROBE) {
            if at < one.low {
                return seen;
            }
            seen += u64::from(at < one.high);
            lowest = at;
        }
        if chain.position() == 0 {
            return seen;
        }
        // The rest is taken to be as dense as what was passed, which may lie behind the range.
        let passed = u64::from(one.segment.committed().max(one.high).saturating_sub(lowest)).max(1);
        PROBE as u64 * u64::from(one.high - one.low) / passed
    };
    pending.iter().map(in_segment).sum()
}
