//! A tail's place in the store: what it has come to, and how it goes on.
//!
//! # Invariant
//! Every `seq` from where the tail began up to `position` is exactly one of: in an event that was put into a batch,
//! in one that the filter did not accept, or in a gap that was put into a batch. `position` only grows.
//!
//! It holds because sequence numbers are dense and all below the frontier are published: the reader asks the store
//! for all events of a range below the frontier, in order; what does not come is not there any more, which is a gap.
//! Each event is looked at once, so that one which is removed meanwhile is either seen or missing, never both.

use std::sync::Arc;

use super::super::query::{Order, Query};
use super::super::segment::Shared;
use super::super::store::EventStore;
use super::TailCounts;
use super::item::{Batch, Gap, GapReason, TailItem};
use super::matcher::Matcher;
use super::registry::Totals;
use crate::error::Result;

/// The most events and gaps that are read in one go, and the bytes at which it ends early. An event may be larger.
const BATCH_ITEMS: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// The most events that are looked at in one go, and the bytes of data at which it ends early.
const SCAN: u64 = 4_096;
const SCAN_BYTES: usize = 256 << 10;

pub(crate) struct Reader {
    /// The next `seq` to look at.
    position: u64,
    /// How far behind the frontier it may be.
    capacity: u64,
    matcher: Matcher,
    batch: Arc<Batch>,
    /// How much of the batch was told.
    told: usize,
    counts: TailCounts,
    totals: Arc<Totals>,
}

impl Reader {
    pub(super) fn new(
        position: u64,
        capacity: u64,
        matcher: Matcher,
        shared: &Arc<Shared>,
        totals: Arc<Totals>,
    ) -> Self {
        let batch = Arc::new(Batch::new(shared));
        Self { position, capacity, matcher, batch, told: 0, counts: TailCounts::default(), totals }
    }

    /// The first `seq` that was not looked at.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn counts(&self) -> TailCounts {
        self.counts
    }

    /// How many items are read and not told.
    pub(crate) fn unread(&self) -> u64 {
        (self.batch.len() - self.told) as u64
    }

    /// The next item of the batch.
    pub(crate) fn next(&mut self) -> Option<TailItem> {
        let item = self.batch.item(self.told)?;
        self.told += 1;
        if matches!(item, TailItem::Event(_)) {
            self.counts.delivered += 1;
            self.totals.add(TailCounts { delivered: 1, ..TailCounts::default() });
        }
        Some(item)
    }

    /// Goes on from `position` and puts what it finds into a new batch; the old one must have been told. `false` when
    /// there was nothing to look at. When a file cannot be read, `position` stays before what is in it.
    pub(crate) fn read(&mut self, store: &EventStore) -> Result<bool> {
        let to = store.frontier.settled();
        if self.position >= to {
            return Ok(false);
        }
        if Arc::get_mut(&mut self.batch).is_none() {
            // Somebody still holds an event of it.
            self.batch = Arc::new(Batch::new(&store.shared));
        }
        let Some(batch) = Arc::get_mut(&mut self.batch) else { return Ok(true) };
        batch.clear(BATCH_BYTES);
        self.told = 0;
        let mut found = TailCounts::default();
        let mut filling = Filling { batch, position: &mut self.position, counts: &mut found };
        // Large pieces first: what the store has dropped at its end, and what the tail is not to read any more.
        filling.pass_over(store.first_seq().min(to), GapReason::Removed);
        filling.pass_over(to.saturating_sub(self.capacity), GapReason::Lagged);
        let scanned =
            if *filling.position < to { filling.scan(store, &mut self.matcher, to) } else { Ok(()) };
        found.uncomparable = self.matcher.uncomparable() - self.counts.uncomparable;
        self.counts.filtered += found.filtered;
        self.counts.missed_removed += found.missed_removed;
        self.counts.missed_lagged += found.missed_lagged;
        self.counts.uncomparable += found.uncomparable;
        self.totals.add(found);
        // What was found before a file could not be read is told first; then it is tried again.
        if self.batch.len() > 0 { Ok(true) } else { scanned.map(|()| true) }
    }
}

/// A batch that is being filled.
struct Filling<'a> {
    batch: &'a mut Batch,
    position: &'a mut u64,
    counts: &'a mut TailCounts,
}

impl Filling<'_> {
    /// Looks at the events from the position up to below `to`, as many as make a batch.
    fn scan(&mut self, store: &EventStore, matcher: &mut Matcher, to: u64) -> Result<()> {
        let last = (to - 1).min(self.position.saturating_add(SCAN - 1));
        let range = Query { seq_range: Some((*self.position, last)), order: Order::Seq, ..Query::default() };
        let mut found = store.query(&range)?;
        matcher.resolve(&store.shared.names);
        let mut looked = 0;
        while self.batch.len() < BATCH_ITEMS && self.batch.bytes() < BATCH_BYTES && looked < SCAN_BYTES {
            let Some(event) = found.try_next()? else {
                self.pass_over(last + 1, GapReason::Removed);
                break;
            };
            self.pass_over(event.seq(), GapReason::Removed);
            *self.position = event.seq() + 1;
            looked += event.data().len();
            if matcher.accepts(event.record) {
                self.batch.push(event.record);
            } else {
                self.counts.filtered += 1;
            }
        }
        Ok(())
    }

    /// Moves on to `to`, with a gap for what lies before it.
    fn pass_over(&mut self, to: u64, reason: GapReason) {
        if to <= *self.position {
            return;
        }
        let gap = Gap { first_seq: *self.position, last_seq: to - 1, reason };
        match reason {
            GapReason::Removed => self.counts.missed_removed += gap.count(),
            GapReason::Lagged => self.counts.missed_lagged += gap.count(),
        }
        self.batch.push_gap(gap);
        *self.position = to;
    }
}
