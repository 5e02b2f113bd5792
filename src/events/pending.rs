//! A segment that is part of an answer, and which of its events are to be looked at.
//!
//! What is asked for in ranges (positions, times, ids) is found in a segment without a look at its events: positions
//! lie in order, times do or are listed in it once the segment is full.

use std::ops::Range;

use super::query::Order;
use super::retention::{alive, is_dead};
use super::segment::{Held, Segment};
use super::shard::Bounds;

/// What a query asks for in ranges.
#[derive(Clone, Copy)]
pub(crate) struct Ranges {
    /// From the first to below the second.
    pub(crate) seqs: (u64, u64),
    pub(crate) times: (i64, i64),
    pub(crate) ids: (u64, u64),
    pub(crate) order: Order,
    /// Whether nothing else is asked for.
    pub(crate) only: bool,
}

/// A segment that is part of the answer and has not been reached.
pub(crate) struct Pending {
    /// No key of the run has a first part below this.
    pub(crate) edge: i64,
    pub(crate) segment: Held,
    /// Events to look at.
    pub(crate) range: Range<u32>,
    /// Where there are no more of them: places in the segment's order by time, to be looked at instead.
    pub(crate) by_time: Option<Range<u32>>,
    /// Every event of these that is there is one that is asked for.
    pub(crate) exact: bool,
}

impl Pending {
    /// All events up to `count`, each of which must be looked at.
    pub(crate) fn whole(segment: Held, count: u32) -> Self {
        Self { edge: i64::MIN, segment, range: 0..count, by_time: None, exact: false }
    }

    /// The events of a range whose times, as far as they are in order or listed in it, are asked for. The range is
    /// that of the positions asked for.
    pub(crate) fn narrowed(
        edge: i64,
        segment: Held,
        bounds: &Bounds,
        mut range: Range<u32>,
        ranges: &Ranges,
    ) -> Self {
        let (first, last) = ranges.times;
        let crosses = bounds.times.0 < first || bounds.times.1 > last;
        let ordered = segment.in_time_order(range.end);
        if crosses && ordered {
            range = segment.between_times(range, ranges.times);
        }
        let listed = segment.compact().and_then(|compact| compact.by_time()).filter(|list| {
            // What was not published when the query was asked is not part of the answer.
            !ordered && list.len() == bounds.count && (crosses || ranges.order == Order::Timestamp)
        });
        let by_time = listed
            .map(|list| list.between(segment.times(bounds.count), ranges.times))
            .filter(|places| places.len() <= range.len());
        let in_times = !crosses || ordered || by_time.is_some();
        let in_seqs = by_time.is_none() || range == (0..bounds.count);
        let in_ids = ranges.ids.0 <= bounds.ids.0 && bounds.ids.1 <= ranges.ids.1;
        let exact = ranges.only && in_seqs && in_times && in_ids;
        Self { edge, segment, range, by_time, exact }
    }

    /// How many events are looked at without an index.
    pub(crate) fn left(&self) -> u64 {
        self.by_time.as_ref().unwrap_or(&self.range).len() as u64
    }

    /// How many of them were not removed one by one.
    pub(crate) fn alive(&self) -> u64 {
        let segment = &*self.segment;
        let in_range = || u64::from(alive(segment, self.range.start, self.range.end));
        let Some(places) = &self.by_time else { return in_range() };
        // A range that is exact by its times is the whole segment.
        if in_range() == self.range.len() as u64 {
            return places.len() as u64;
        }
        listed(segment, places.clone()).filter(|at| !is_dead(segment, *at)).count() as u64
    }
}

/// The events at these places of a segment's order by time.
pub(crate) fn listed(segment: &Segment, places: Range<u32>) -> impl DoubleEndedIterator<Item = u32> {
    let list = segment.compact().and_then(|compact| compact.by_time());
    places.filter_map(move |place| list?.at(place))
}
