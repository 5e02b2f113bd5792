//! How a question becomes runs over segments, and which index finds the events.
//!
//! Segments that cannot hold results are passed over by what is known about them: the range of their positions,
//! times and ids, the filters, which say of 64 segments at once which may hold a value, and whether an index has
//! anything of it. In the others, positions and times are found by halving (`pending`). What is left is
//! looked at from end to end, or through the one index that is expected to show the fewest events; how many that are
//! is known from the index itself, of a few segments if there are many. Everything else that the query asks for is
//! checked event by event.

use serde::Serialize;

use super::condition;
use super::cursor::{Cursor, Filter, Watch};
use super::disk::PendingFile;
use super::filter::Kind;
use super::hits::{Hits, ask_for};
use super::memory::prefetch;
use super::pending::{Pending, Ranges};
use super::query::{Order, Query};
use super::segment::{Held, Index, Segment, Shared};
use super::shard::{Bounds, Entry, Shard};
use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::sync::Taken;

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
    /// What an index has of these keys, in segments that have the index.
    Index { index: Index, keys: Vec<u64> },
}

/// Steps along an index before the rest is extrapolated.
const PROBE: usize = 32;
/// Segments that are looked at for an estimate.
const SAMPLE: usize = 16;
/// More values than this of one index are not looked up one by one.
const MAX_KEYS: usize = 16;
/// What an event found through an index costs, in events looked at in a row.
const INDEX_COST: u64 = 2;
/// Room for so many segments at first: those of a correlation are few.
const FEW: usize = 32;
/// So many events are fetched into the caches all at once before they are looked at one by one.
const FETCHED: u64 = 64;

/// How a query would be answered; [`super::EventStore::explain`] makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The index that finds the events: `correlation`, `parent`, `id`, `pid`, `type`, `node`, `seq`, `time`, or
    /// `none`.
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
    shared: &'a Shared,
    /// Whether the plan is to say why.
    explains: bool,
    types: Vec<u32>,
    node: Option<u32>,
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
    pub(crate) ranges: Ranges,
    /// The index to use where nothing is known of how many events it shows, and its name.
    pub(crate) elsewhere: Option<(&'static str, Access)>,
    /// What filters can be asked for.
    pub(crate) filters: Vec<(Kind, Vec<u64>)>,
    deadline: Option<Deadline>,
}

impl Planned {
    pub(crate) fn into_cursor(self, query: &Query) -> Cursor {
        let limit = query.limit.unwrap_or(u64::MAX);
        Cursor::new(self.filter, Watch::new(self.deadline), self.pending, query.offset, limit)
            .with_files(self.files)
    }
}

/// An index that could find the events of a query.
struct Lookup {
    name: &'static str,
    index: Index,
    /// As [`Segment::hits`] takes them.
    keys: Vec<u64>,
    /// The filters that know of these keys, which are so called there.
    filter: Option<(Kind, Vec<u64>)>,
}

impl Lookup {
    fn hashed(name: &'static str, index: Index, kind: Kind, hash: u64) -> Self {
        Self { name, index, keys: vec![hash], filter: Some((kind, vec![hash])) }
    }

    fn access(&self) -> (&'static str, Access) {
        (self.name, Access::Index { index: self.index, keys: self.keys.clone() })
    }

    /// Whether a segment certainly has nothing of these keys.
    fn is_missing(&self, segment: &Segment) -> bool {
        self.keys.iter().all(|key| segment.hits(self.index, *key).is_some_and(|hits| hits.is_empty()))
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
    pub(crate) fn new(query: &'a Query, shared: &'a Shared, unread: bool) -> Result<Self> {
        let names = &shared.names;
        let deadline = query.timeout.map(Deadline::after);
        condition::check_count(query.conditions.len())?;
        let find = |name: &str| if unread { names.intern(name).ok() } else { names.find(name) };
        let types: Vec<u32> =
            query.types.iter().filter_map(|name| find(name)).filter(|id| *id != 0).collect();
        let node = query.node.as_deref().map(find);
        let nothing = (types.is_empty() && !query.types.is_empty()) || node == Some(None);
        let (node, explains) = (node.flatten(), false);
        Ok(Self { query, shared, explains, types, node, nothing, deadline })
    }

    /// The same, with a plan that says why.
    pub(crate) fn explaining(self) -> Self {
        Self { explains: true, ..self }
    }

    /// The indexes that could find the events.
    fn lookups(&self) -> Vec<Lookup> {
        let (query, hash) = (self.query, self.shared.hash);
        let mut found = Vec::with_capacity(2);
        if query.without_indexes {
            return found;
        }
        if let Some(id) = &query.correlation_id {
            found.push(Lookup::hashed("correlation", Index::Correlation, Kind::Correlation, hash.bytes(id)));
        }
        if let Some(parent) = query.parent_id.filter(|id| *id != 0) {
            let (keys, filter) = (vec![parent], Some((Kind::Parent, vec![hash.id(parent)])));
            found.push(Lookup { name: "parent", index: Index::Parent, keys, filter });
        }
        if let Some((first, last)) = query.id_range.filter(|(first, last)| first <= last)
            && last - first < MAX_KEYS as u64
        {
            let hashes = (first..=last).map(|id| hash.id(id)).collect();
            let (keys, filter) = ((first..=last).collect(), Some((Kind::EventId, hashes)));
            found.push(Lookup { name: "id", index: Index::EventId, keys, filter });
        }
        if let Some(pid) = &query.pid {
            let mut lookup = Lookup::hashed("pid", Index::Pid, Kind::Pid, hash.bytes(pid.as_bytes()));
            if pid.is_empty() {
                // To be without a process is no key of the filters in files.
                lookup.filter = None;
            }
            found.push(lookup);
        }
        if (1..=MAX_KEYS).contains(&self.types.len()) {
            let keys = self.types.iter().map(|id| u64::from(*id)).collect();
            found.push(Lookup { name: "type", index: Index::Type, keys, filter: None });
        }
        if let Some(node) = self.node {
            let keys = vec![u64::from(node)];
            found.push(Lookup { name: "node", index: Index::Node, keys, filter: None });
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
        let lookups = self.lookups();
        let mut tally = Tally::default();
        let nothing = self.nothing || from >= to || times.0 > times.1 || ids.0 > ids.1;
        let ranges =
            Ranges { seqs: (from, to), times, ids, order: query.order, only: self.asks_for_ranges_only() };
        let lists: Vec<_> = shards.iter().filter(|_| !nothing).map(Shard::segments).collect();
        let candidates = self.candidates(&lists, &lookups, &ranges, &mut tally);
        let mut pending = Vec::with_capacity(candidates.len());
        for (entry, bounds) in candidates {
            let segment = Held::clone(&entry.segment);
            tally.events += u64::from(bounds.count);
            if query.without_indexes {
                pending.push(Pending::whole(segment, bounds.count));
                continue;
            }
            let range = bounds.in_seqs(&segment, ranges.seqs);
            tally.in_seqs += range.len() as u64;
            let one = Pending::narrowed(self.edge(&bounds), segment, &bounds, range, &ranges);
            tally.in_times += one.left();
            if one.left() > 0 {
                pending.push(one);
            }
        }
        let elsewhere = lookups.first().map(Lookup::access);
        let filters = lookups.iter().filter_map(|lookup| lookup.filter.clone()).collect();
        let (access, mut plan) = self.choose(lookups, &pending, &tally);
        plan.events = window.next - window.low;
        if let Access::Index { index, keys } = &access
            && plan.candidates <= FETCHED
        {
            fetch(&pending, *index, keys);
        }
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
        (
            Planned { filter, pending, files, window, ranges, elsewhere, filters, deadline: self.deadline },
            plan,
        )
    }

    /// The segments that may hold results, with what is known of each; the others are counted as passed over.
    fn candidates<'l>(
        &self,
        lists: &'l [Taken<Vec<Entry>>],
        lookups: &[Lookup],
        ranges: &Ranges,
        tally: &mut Tally,
    ) -> Vec<(&'l Entry, Bounds)> {
        let ((from, to), times, ids) = (ranges.seqs, ranges.times, ranges.ids);
        let mut masks = Vec::new();
        for (kind, hashes) in lookups.iter().filter_map(|lookup| lookup.filter.as_ref()) {
            self.shared.filters.narrow(*kind, hashes, &mut masks);
        }
        let mut found = Vec::with_capacity(FEW);
        let everything = self.query.without_indexes;
        for entry in lists.iter().flat_map(|list| list.iter()) {
            // The cheapest look first: most segments have nothing of a correlation, which the filters tell.
            let may = everything
                || match &entry.marks {
                    Some(known) => {
                        known.column.is_none_or(|column| column.is_in(&masks))
                            && known.may_have_type(&self.types)
                            && self.node.is_none_or(|node| known.may_have_node(node))
                    }
                    None => !lookups.iter().any(|lookup| lookup.is_missing(&entry.segment)),
                };
            let bounds = if may { entry.bounds() } else { None };
            let within = bounds.filter(|bounds| {
                let (first, last) = bounds.seqs;
                everything
                    || (last >= from
                        && first < to
                        && bounds.times.1 >= times.0
                        && bounds.times.0 <= times.1
                        && bounds.ids.1 >= ids.0
                        && bounds.ids.0 <= ids.1)
            });
            match within {
                Some(bounds) => found.push((entry, bounds)),
                None => tally.passed_over += 1,
            }
        }
        // Now those that are left, by their indexes: first all are asked for, then all are read.
        let hashed = || lookups.iter().filter(|lookup| lookup.filter.is_some());
        if hashed().next().is_none() {
            return found;
        }
        for (entry, _) in &found {
            let Some(compact) = entry.segment.compact() else { continue };
            for lookup in hashed() {
                lookup
                    .keys
                    .iter()
                    .filter_map(|key| compact.start_address(lookup.index, *key, self.shared.hash))
                    .for_each(prefetch);
            }
        }
        found.retain(|(entry, _)| {
            let missing = entry.marks.is_some() && hashed().any(|lookup| lookup.is_missing(&entry.segment));
            tally.passed_over += u64::from(missing);
            !missing
        });
        found
    }

    fn asks_for_ranges_only(&self) -> bool {
        let query = self.query;
        self.types.is_empty()
            && self.node.is_none()
            && query.correlation_id.is_none()
            && query.parent_id.is_none()
            && query.pid.is_none()
            && query.conditions.is_empty()
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
    fn choose(&self, lookups: Vec<Lookup>, pending: &[Pending], tally: &Tally) -> (Access, Plan) {
        let query = self.query;
        let left: u64 = pending.iter().map(Pending::left).sum();
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
            if self.explains {
                "the query asks for no index to be used".clone_into(&mut plan.reason);
            }
            return (Access::Scan, plan);
        }
        let (range, whole) = ranges(query, tally);
        let mut best: Option<(u64, usize)> = None;
        for (at, lookup) in lookups.iter().enumerate() {
            let events = estimate(pending, lookup, left);
            plan.estimates.push(Estimate { index: lookup.name, events });
            if best.is_none_or(|(fewest, _)| events < fewest) {
                best = Some((events, at));
            }
        }
        if query.seq_range.is_some() || query.time_range.is_some() {
            plan.estimates.push(Estimate { index: range, events: left });
        }
        let scan = self.scan_cost(left, best.map_or(left, |(events, _)| events));
        let chosen = best.filter(|(events, at)| {
            let keys = lookups.get(*at).map_or(0, |lookup| lookup.keys.len());
            let cost = self.index_cost(*events, keys, pending.len() as u64);
            cost.saturating_mul(INDEX_COST) <= scan
        });
        let chosen = chosen.and_then(|(events, at)| Some((events, lookups.into_iter().nth(at)?)));
        if let Some((events, Lookup { name, index, keys, .. })) = chosen {
            (plan.index, plan.candidates) = (name, events);
            if self.explains {
                plan.reason =
                    format!("it shows about {events} of the {left} events that the ranges leave, the fewest");
            }
            return (Access::Index { index, keys }, plan);
        }
        plan.index = range;
        if !self.explains {
            return (Access::Scan, plan);
        }
        plan.reason = match best {
            _ if left == 0 => "no segment can hold an event that is asked for".to_owned(),
            Some((events, _)) => format!(
                "the ranges leave {left} of {whole} events, and finding about {events} of them through an index \
                 would take longer"
            ),
            None if range == "none" => "nothing that is asked for has an index".to_owned(),
            None => format!("the ranges leave {left} of {whole} events"),
        };
        (Access::Scan, plan)
    }

    /// The number of results after which a run in order can stop; `None` if all must be looked at first.
    fn enough(&self) -> Option<u64> {
        let query = self.query;
        let sorted = query.order != Order::Id && query.conditions.is_empty();
        query.limit.filter(|_| sorted).map(|limit| limit.saturating_add(query.offset))
    }

    /// How many events a scan looks at before it has enough, if `matching` of those in the range are wanted.
    fn scan_cost(&self, left: u64, matching: u64) -> u64 {
        let Some(enough) = self.enough() else { return left };
        let needed = u128::from(enough) * u128::from(left) / u128::from(matching.max(1));
        left.min(u64::try_from(needed).unwrap_or(u64::MAX))
    }

    /// How many events an index shows before there are enough. What several keys show is gathered for a whole segment
    /// before the first of it is known.
    fn index_cost(&self, matching: u64, keys: usize, segments: u64) -> u64 {
        let Some(enough) = self.enough() else { return matching };
        let gathered = if keys == 1 { 0 } else { matching / segments.max(1) };
        matching.min(enough.saturating_add(gathered))
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

/// About how many of the `left` events in the pending ranges an index shows. A few segments stand for the others.
fn estimate(pending: &[Pending], lookup: &Lookup, left: u64) -> u64 {
    let step = pending.len().div_ceil(SAMPLE).max(1);
    let sample = || pending.iter().step_by(step);
    for one in sample() {
        lookup.keys.iter().filter_map(|key| one.segment.hits(lookup.index, *key)).for_each(|hits| {
            hits.prefetch(&one.segment);
        });
    }
    let in_segment = |one: &Pending| -> u64 {
        lookup.keys.iter().map(|key| shown(one, one.segment.hits(lookup.index, *key))).sum()
    };
    let (shown, events) =
        sample().fold((0, 0), |(shown, events), one| (shown + in_segment(one), events + one.left()));
    if step == 1 || events == 0 {
        return shown;
    }
    u64::try_from(u128::from(shown) * u128::from(left) / u128::from(events)).unwrap_or(u64::MAX)
}

/// About how many events of a key lie in the range of a segment; all of them where there is no index.
fn shown(one: &Pending, hits: Option<Hits>) -> u64 {
    let Some(hits) = hits else { return one.left() };
    let range = &one.range;
    let mut hits = hits.within(&one.segment, range);
    match hits.size() {
        Some(size) if size as usize > PROBE => return u64::from(size),
        _ => {}
    }
    let (mut seen, mut lowest) = (0_u64, range.end);
    for _ in 0..PROBE {
        let Some(at) = hits.newest(&one.segment) else { return seen };
        if at < range.start {
            return seen;
        }
        seen += u64::from(at < range.end);
        lowest = at;
    }
    if hits.is_empty() {
        return seen;
    }
    // The rest is taken to be as dense as what was passed, which may lie behind the range.
    let passed = u64::from(one.segment.committed().max(range.end).saturating_sub(lowest)).max(1);
    PROBE as u64 * range.len() as u64 / passed
}

/// Has what an index leads to read into the caches, for all segments at once: one after the other each step would
/// wait for memory.
fn fetch(pending: &[Pending], index: Index, keys: &[u64]) {
    let mut found: Vec<(&Segment, u32)> = Vec::with_capacity(FETCHED as usize);
    for one in pending {
        let segment = &*one.segment;
        for hits in keys.iter().filter_map(|key| segment.hits(index, *key)) {
            let room = FETCHED as usize - found.len();
            found.extend(hits.newest_first(segment).take(room).map(|at| (segment, at)));
        }
    }
    found.iter().filter_map(|(segment, at)| segment.offset_address(*at)).for_each(prefetch);
    for (segment, at) in found {
        ask_for(segment, at);
    }
}
