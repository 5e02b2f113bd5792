//! The events of one key in one segment, as a place in its index that can be kept from call to call.
//!
//! While a segment is being filled, its events are chained in small tables; once it is full, `Compact` takes their
//! place. A walk that began along a chain goes on along it: it keeps the chains in memory, and only when the last
//! such walk has ended are they used for another segment.

use std::ops::Range;

use super::chains::Chained;
use super::memory::prefetch;
use super::segment::{Index, Segment};
use crate::runtime::sync::Arc;

/// How many steps before it is read a record is asked for, and its place twice as many.
const AHEAD: u32 = 4;
/// How many steps along a chain are gone before they are wanted: each leads to memory that is far away.
const CHAIN_AHEAD: usize = 8;
/// How many lines of a record are asked for: its head, its texts and the data of most.
const RECORD_LINES: usize = 4;

/// What is still to be walked of the events of one key.
pub(crate) struct Hits {
    index: Index,
    key: u64,
    way: Way,
}

enum Way {
    /// Along a chain, newest first: the events at hand, then those from this position on.
    Chain(Arc<Chained>, Ahead, u32),
    /// Between these places of the compact index, from either end.
    Stretch(u32, u32),
}

/// Events that a walk along a chain will come to next; they have been asked for.
#[derive(Default)]
struct Ahead {
    events: [u32; CHAIN_AHEAD],
    first: usize,
    count: usize,
}

impl Ahead {
    fn push(&mut self, event: u32) {
        if let Some(slot) = self.events.get_mut((self.first + self.count) % CHAIN_AHEAD) {
            *slot = event;
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<u32> {
        let event = *self.events.get(self.first).filter(|_| self.count > 0)?;
        (self.first, self.count) = ((self.first + 1) % CHAIN_AHEAD, self.count - 1);
        Some(event)
    }
}

impl Hits {
    pub(super) fn chain(index: Index, key: u64, chained: Arc<Chained>, at: u32) -> Self {
        Self { index, key, way: Way::Chain(chained, Ahead::default(), at) }
    }

    pub(super) fn stretch(index: Index, key: u64, (from, to): (u32, u32)) -> Self {
        Self { index, key, way: Way::Stretch(from, to) }
    }

    /// Whether it can be walked from the oldest on, and its size is known.
    pub(crate) fn size(&self) -> Option<u32> {
        match self.way {
            Way::Chain(..) => None,
            Way::Stretch(from, to) => Some(to - from),
        }
    }

    /// Whether there is nothing left for certain.
    pub(crate) fn is_empty(&self) -> bool {
        match self.way {
            Way::Chain(_, ref ahead, at) => at == 0 && ahead.count == 0,
            Way::Stretch(from, to) => from >= to,
        }
    }

    /// Leaves out, where that is quick, events outside this range; those walked may still lie outside.
    pub(crate) fn within(mut self, segment: &Segment, range: &Range<u32>) -> Self {
        if let Way::Stretch(from, to) = &mut self.way
            && let Some(compact) = segment.compact()
        {
            let below = |bound: u32, (mut low, mut high): (u32, u32)| {
                while low < high {
                    let middle = low + (high - low) / 2;
                    let less = compact.any_at(self.index, middle).is_some_and(|event| event < bound);
                    if less { low = middle + 1 } else { high = middle }
                }
                low
            };
            if range.start > 0 {
                *from = below(range.start, (*from, *to));
            }
            if range.end < segment.committed() {
                *to = below(range.end, (*from, *to));
            }
        }
        self
    }

    /// Where the next events are read, for a prefetch.
    pub(crate) fn prefetch(&self, segment: &Segment) {
        if let (Way::Stretch(from, to), Some(compact)) = (&self.way, segment.compact())
            && from < to
            && let Some(address) = compact.event_address(self.index, *from)
        {
            prefetch(address);
        }
    }

    /// Asks for what a walk will read a few steps from here.
    pub(crate) fn fetch_ahead(&mut self, segment: &Segment, from_newest: bool) {
        let (from, to) = match &mut self.way {
            Way::Stretch(from, to) => (*from, *to),
            Way::Chain(chained, ahead, at) => {
                while ahead.count < CHAIN_AHEAD
                    && let Some(event) = chained.step(self.index, at)
                {
                    ahead.push(event);
                    ask_for(segment, event);
                }
                return;
            }
        };
        let Some(compact) = segment.compact() else { return };
        let event = |steps: u32| {
            let place = if from_newest { to.checked_sub(steps)? } else { from + steps - 1 };
            (from..to).contains(&place).then(|| compact.any_at(self.index, place))?
        };
        if let Some(address) = event(2 * AHEAD).and_then(|event| segment.offset_address(event)) {
            prefetch(address);
        }
        if let Some(event) = event(AHEAD) {
            ask_for(segment, event);
        }
    }

    /// The newest event that is left. Chains lead to events that are not published yet, too.
    pub(crate) fn newest(&mut self, segment: &Segment) -> Option<u32> {
        match &mut self.way {
            Way::Chain(chained, ahead, at) => ahead.pop().or_else(|| chained.step(self.index, at)),
            Way::Stretch(from, to) => {
                while from < to {
                    *to -= 1;
                    if let Some(event) = segment.listed(self.index, self.key, *to) {
                        return Some(event);
                    }
                }
                None
            }
        }
    }

    /// The oldest event that is left; `None` along a chain, which leads the other way.
    pub(crate) fn oldest(&mut self, segment: &Segment) -> Option<u32> {
        let Way::Stretch(from, to) = &mut self.way else { return None };
        while from < to {
            *from += 1;
            if let Some(event) = segment.listed(self.index, self.key, *from - 1) {
                return Some(event);
            }
        }
        None
    }

    /// All that is left, newest first.
    pub(crate) fn newest_first(mut self, segment: &Segment) -> impl Iterator<Item = u32> {
        std::iter::from_fn(move || self.newest(segment))
    }
}

/// Asks for a record, of which not only the head is read soon.
pub(super) fn ask_for(segment: &Segment, event: u32) {
    if let Some(address) = segment.record_address(event) {
        (0..RECORD_LINES).for_each(|line| prefetch(address.wrapping_add(64 * line)));
    }
}
