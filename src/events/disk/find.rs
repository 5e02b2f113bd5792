//! Queries over sealed segments: which of them may hold results, and reading one when the merge reaches it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::pending::{Pending, Ranges};
use super::super::plan::{Access, Plan, Planned, Window};
use super::super::query::{Order, Query};
use super::super::shard::Bounds;
use super::{Disk, Sealed};
use crate::error::Result;

/// A sealed segment that is part of the answer and has not been reached.
pub(crate) struct PendingFile {
    /// No key of its run has a first part below this.
    pub(crate) edge: i64,
    sealed: Arc<Sealed>,
    disk: Arc<Disk>,
    ranges: Ranges,
    /// Whether only events in these ranges need be looked at.
    indexed: bool,
}

impl PendingFile {
    /// Reads the segment; what is to be looked at of it.
    pub(crate) fn open(&self) -> Result<Pending> {
        let segment = self.disk.load(&self.sealed)?;
        let Some(bounds) = Bounds::read(&segment) else { return Ok(Pending::whole(segment, 0)) };
        let range = bounds.in_seqs(&segment, self.ranges.seqs);
        if self.indexed {
            return Ok(Pending::narrowed(self.edge, segment, &bounds, range, &self.ranges));
        }
        Ok(Pending { edge: self.edge, range, ..Pending::whole(segment, bounds.count) })
    }

    /// How many of its events are part of the answer, if that is known without reading it or by halving; `None` if
    /// they must be looked at.
    pub(crate) fn count(&self) -> Result<Option<u64>> {
        let ranges = &self.ranges;
        if !ranges.only || !self.indexed {
            return Ok(None);
        }
        let row = &self.sealed.row;
        let within = |(least, most): (i64, i64), (first, last)| first <= least && most <= last;
        let in_seqs = ranges.seqs.0 <= row.first_seq && row.last_seq < ranges.seqs.1;
        let in_ids = ranges.ids.0 <= row.min_id && row.max_id <= ranges.ids.1;
        if in_seqs && in_ids && within((row.min_time, row.max_time), ranges.times) {
            return Ok(Some(self.sealed.live()));
        }
        let pending = self.open()?;
        Ok(pending.exact.then(|| pending.alive()))
    }
}

impl Planned {
    /// Adds the sealed segments that may hold results below memory's mark. `low` is where the store begins.
    pub(crate) fn with_files(mut self, disk: &Arc<Disk>, query: &Query, low: u64, plan: &mut Plan) -> Self {
        let Window { low: memory, .. } = self.window;
        let (first, last) = query.seq_range.unwrap_or((0, u64::MAX));
        let (from, to) = (low.max(first), memory.min(last.saturating_add(1)));
        if from >= to {
            return self;
        }
        if query.without_indexes {
            // The rest of the filter takes what memory has below its mark for part of the answer.
            for pending in &mut self.pending {
                pending.range.start = pending.segment.below_seq(pending.range.end, memory);
            }
        }
        let ranges = Ranges { seqs: (from, to), ..self.ranges };
        let (times, ids, indexed) = (ranges.times, ranges.ids, !query.without_indexes);
        // One list for both: the column of a segment that is listed later may have been filled after the filters were
        // looked at, or have been another's then.
        let segments = disk.archive.segments();
        let masks = self.masks(disk, &segments, (from, to));
        for sealed in segments.iter() {
            let row = &sealed.row;
            if row.first_seq >= to || row.last_seq < from || sealed.live() == 0 {
                continue;
            }
            let beside =
                row.max_time < times.0 || row.min_time > times.1 || row.max_id < ids.0 || row.min_id > ids.1;
            let missing = sealed.known_column().is_some_and(|column| !column.is_in(&masks));
            if indexed && (beside || missing) {
                plan.segments_passed_over += 1;
                continue;
            }
            let bounds = match query.order {
                Order::Timestamp => (row.min_time, row.max_time),
                Order::Seq => (row.first_seq as i64, row.last_seq as i64),
                Order::Id => (row.min_id as i64, row.max_id as i64),
            };
            let edge = if query.descending { !bounds.1 } else { bounds.0 };
            plan.segments += 1;
            plan.candidates += sealed.live();
            let (sealed, disk) = (Arc::clone(sealed), Arc::clone(disk));
            self.files.push(PendingFile { edge, sealed, disk, ranges, indexed });
        }
        self.files.sort_by_key(|file| Reverse(file.edge));
        self.filter.seqs.0 = self.filter.seqs.0.min(from);
        self.filter.seqs.1 = self.filter.seqs.1.max(to);
        if let (Access::Scan, false, Some((name, access))) =
            (&self.filter.access, self.files.is_empty(), self.elsewhere.take())
        {
            // What is not in memory is not estimated: an index cannot be worse there by much, a scan can.
            self.filter.access = access;
            plan.index = name;
            if !plan.reason.is_empty() {
                "most selective as a rule; nothing is known of the segments in files"
                    .clone_into(&mut plan.reason);
            }
        }
        self
    }

    /// What the filters of the segments in files say, read where they were not yet.
    fn masks(&self, disk: &Disk, segments: &[Arc<Sealed>], (from, to): (u64, u64)) -> Vec<u64> {
        let mut masks = Vec::new();
        if self.filters.is_empty() {
            return masks;
        }
        for sealed in segments {
            if sealed.row.first_seq < to && sealed.row.last_seq >= from {
                disk.column(sealed);
            }
        }
        for (kind, hashes) in &self.filters {
            disk.filters.narrow(*kind, hashes, &mut masks);
        }
        masks
    }
}

impl Disk {
    /// About how many events are in files from `low` to below `to`.
    pub(crate) fn sealed_events(&self, low: u64, to: u64) -> u64 {
        let segments = self.archive.segments();
        segments
            .iter()
            .filter(|one| one.row.last_seq >= low && one.row.last_seq < to)
            .map(|one| one.live())
            .sum()
    }
}
