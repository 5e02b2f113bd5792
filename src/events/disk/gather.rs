//! The events of all shards in the order of their `seq`, read from memory: what goes into a file is a copy of it.
//!
//! Within a shard `seq` grows, so this is a merge of as many sorted runs as there are shards. Places are kept from
//! one walk to the next, so that a walk starts where the last one ended.

use super::super::record::Record;
use super::super::segment::{Held, Segment};
use super::super::shard::Shard;
use crate::error::Result;

/// Where a walk stands in each shard.
pub(crate) struct Places {
    /// Every event below it has been passed.
    next: u64,
    at: Vec<Option<Place>>,
}

struct Place {
    segment: Held,
    /// The next event to look at.
    index: u32,
}

impl Places {
    /// The beginning of a walk at this `seq`.
    pub(crate) fn new(shards: usize, from: u64) -> Self {
        Self { next: from, at: (0..shards).map(|_| None).collect() }
    }

    /// Every event below this `seq` has been passed.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Calls `visit` with the events up to `to`, which must be published, in the order of their `seq`. `visit`
    /// answers whether to go on. Afterwards the walk stands behind the last event that was visited, or, when all
    /// were, at `to`.
    pub(crate) fn walk(
        &mut self,
        shards: &[Shard],
        to: u64,
        visit: &mut dyn FnMut(&Segment, u32, Record<'_>) -> Result<bool>,
    ) -> Result<()> {
        for (place, shard) in self.at.iter_mut().zip(shards) {
            find(place, shard, self.next);
        }
        while self.next < to {
            // The shard with the smallest `seq`, and how far it may go on before another one is due.
            let (mut first, mut until, mut who) = (to, to, None);
            for (number, place) in self.at.iter().enumerate() {
                let Some(seq) = place.as_ref().and_then(Place::seq) else { continue };
                if seq < first {
                    until = first;
                    (first, who) = (seq, Some(number));
                } else {
                    until = until.min(seq);
                }
            }
            let Some((number, shard)) = who.and_then(|number| Some((number, shards.get(number)?))) else {
                break;
            };
            let Some(slot) = self.at.get_mut(number) else { break };
            while let Some(place) = slot.as_mut() {
                let Some(record) = place.segment.record(place.index) else {
                    let Some(next) = after(shard, place, self.next) else { break };
                    *slot = Some(next);
                    continue;
                };
                if record.seq() >= until {
                    break;
                }
                let (seq, index) = (record.seq(), place.index);
                let more = visit(&place.segment, index, record)?;
                place.index += 1;
                self.next = seq + 1;
                if !more {
                    return Ok(());
                }
            }
        }
        self.next = self.next.max(to);
        Ok(())
    }
}

impl Place {
    fn seq(&self) -> Option<u64> {
        self.segment.record(self.index).map(|record| record.seq())
    }
}

/// Makes sure that a place stands at the first event at or behind `from`, if there is one yet.
fn find(place: &mut Option<Place>, shard: &Shard, from: u64) {
    if let Some(old) = place {
        if old.segment.record(old.index).is_none()
            && let Some(next) = after(shard, old, from)
        {
            *place = Some(next);
        }
        return;
    }
    *place = first(shard, from);
}

/// The first event of a shard at or behind `from`.
fn first(shard: &Shard, from: u64) -> Option<Place> {
    shard.segments().iter().find_map(|entry| {
        let bounds = entry.bounds().filter(|bounds| bounds.seqs.1 >= from)?;
        let index = entry.segment.below_seq(bounds.count, from);
        Some(Place { segment: Held::clone(&entry.segment), index })
    })
}

/// The place behind the end of a segment: the beginning of the next one that has events.
fn after(shard: &Shard, old: &Place, from: u64) -> Option<Place> {
    let segments = shard.segments();
    let at = segments.iter().position(|entry| Held::ptr_eq(&entry.segment, &old.segment));
    let Some(at) = at else { return first(shard, from) };
    let rest = segments.get(at + 1..).unwrap_or_default();
    let next = rest.iter().find(|entry| entry.segment.committed() > 0)?;
    // A batch that begins in one segment and ends in the next is published in that order: now that the next has
    // events, what the old one has is final.
    if old.segment.record(old.index).is_some() {
        return Some(Place { segment: Held::clone(&old.segment), index: old.index });
    }
    Some(Place { segment: Held::clone(&next.segment), index: 0 })
}
