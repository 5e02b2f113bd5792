//! What a tail tells: events, copied in batches, and markers for those that it cannot tell.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::super::model::EventView;
use super::super::record::Record;
use super::super::segment::Shared;

/// Why events are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The store no longer had them when the tail came to them: `max_events`, pruned, too old, for want of memory,
    /// or lost with a damaged part of a file.
    Removed,
    /// The tail was further behind than its capacity.
    Lagged,
}

/// Events that a tail does not tell, whether they match its filter or not: all from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Gap {
    /// The position of the first.
    pub first_seq: u64,
    /// The position of the last.
    pub last_seq: u64,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// How many events they are.
    pub fn count(&self) -> u64 {
        self.last_seq - self.first_seq + 1
    }
}

/// One thing that a tail tells.
#[derive(Debug, Clone)]
pub enum TailItem {
    /// An event that matches.
    Event(TailEvent),
    /// Events that are missing here.
    Gap(Gap),
}

/// An event as a value of its own: a copy, which keeps nothing of the store's memory.
#[derive(Clone)]
pub struct TailEvent {
    batch: Arc<Batch>,
    range: Range<usize>,
}

impl TailEvent {
    /// The event.
    pub fn view(&self) -> EventView<'_> {
        let record = self.batch.bytes.get(self.range.clone()).and_then(Record::parse);
        // The range is that of a whole record: the empty one is never taken.
        EventView { record: record.unwrap_or(Record::EMPTY), names: &self.batch.shared.names }
    }
}

impl std::fmt::Debug for TailEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

/// What was read in one go and is yet to be told.
pub(crate) struct Batch {
    shared: Arc<Shared>,
    bytes: Vec<u8>,
    items: Vec<Slot>,
}

enum Slot {
    Event(Range<usize>),
    Gap(Gap),
}

impl Batch {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), bytes: Vec::new(), items: Vec::new() }
    }

    /// Empties it; memory beyond what a batch usually takes is given back.
    pub(crate) fn clear(&mut self, usual: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * usual);
        self.items.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, record: Record<'_>) {
        let start = self.bytes.len();
        record.copy_to(&mut self.bytes);
        self.items.push(Slot::Event(start..self.bytes.len()));
    }

    /// Notes a gap, as one with a gap right before it of the same reason.
    pub(crate) fn push_gap(&mut self, gap: Gap) {
        match self.items.last_mut() {
            Some(Slot::Gap(last)) if last.reason == gap.reason && last.last_seq + 1 == gap.first_seq => {
                last.last_seq = gap.last_seq;
            }
            _ => self.items.push(Slot::Gap(gap)),
        }
    }

    pub(crate) fn item(self: &Arc<Self>, at: usize) -> Option<TailItem> {
        Some(match self.items.get(at)? {
            Slot::Event(range) => {
                TailItem::Event(TailEvent { batch: Arc::clone(self), range: range.clone() })
            }
            Slot::Gap(gap) => TailItem::Gap(*gap),
        })
    }
}
