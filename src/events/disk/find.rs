//! Queries over sealed segments: which of them may hold results, and reading one when the merge reaches it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::cursor::Pending;
use super::super::plan::{Access, Plan, Planned, Window};
use super::super::query::{Order, Query};
use super::{Disk, Sealed};
use crate::error::Result;

/// A sealed segment that is part of the answer and has not been reached.
pub(crate) struct PendingFile {
    /// No key of its run has a first part below this.
    pub(crate) edge: i64,
    sealed: Arc<Sealed>,
    disk: Arc<Disk>,
    /// From the first `seq` to below the second.
    seqs: (u64, u64),
    /// The times asked for, where these may be found by halving.
    times: Option<(i64, i64)>,
}

impl PendingFile {
    /// Reads the segment; what is to be looked at of it.
    pub(crate) fn open(self) -> Result<Pending> {
        let segment = self.disk.load(&self.sealed)?;
        let count = segment.committed();
        let (mut low, mut high) =
            (segment.below_seq(count, self.seqs.0), segment.below_seq(count, self.seqs.1));
        if segment.in_time_order(high)
            && let Some(times) = self.times
        {
            (low, high) = segment.between_times((low, high), times);
        }
        Ok(Pending { edge: self.edge, segment, low, high, exact: false })
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
                pending.low = pending.segment.below_seq(pending.high, memory);
            }
        }
        let searched = query.time_range.filter(|_| !query.without_indexes);
        let times = query.time_range.unwrap_or((i64::MIN, i64::MAX));
        let ids = query.id_range.unwrap_or((0, u64::MAX));
        let masks = self.masks(disk, (from, to));
        for sealed in disk.archive.segments().iter() {
            let row = &sealed.row;
            if row.first_seq >= to || row.last_seq < from || sealed.live() == 0 {
                continue;
            }
            let beside =
                row.max_time < times.0 || row.min_time > times.1 || row.max_id < ids.0 || row.min_id > ids.1;
            let missing = sealed.known_column().is_some_and(|column| !column.is_in(&masks));
            if !query.without_indexes && (beside || missing) {
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
            self.files.push(PendingFile { edge, sealed, disk, seqs: (from, to), times: searched });
        }
        self.files.sort_by_key(|file| Reverse(file.edge));
        self.filter.seqs.0 = self.filter.seqs.0.min(from);
        self.filter.seqs.1 = self.filter.seqs.1.max(to);
        if let (Access::Scan, false, Some(index)) =
            (&self.filter.access, self.files.is_empty(), self.elsewhere.take())
        {
            // What is not in memory is not estimated: an index cannot be worse there by much, a scan can.
            self.filter.access = index;
        }
        self
    }

    /// What the filters of the segments in files say, read where they were not yet.
    fn masks(&self, disk: &Disk, (from, to): (u64, u64)) -> Vec<u64> {
        let mut masks = Vec::new();
        if self.filters.is_empty() {
            return masks;
        }
        for sealed in disk.archive.segments().iter() {
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
