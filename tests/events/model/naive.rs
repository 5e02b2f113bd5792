//! The same as the store, done naively with a `Vec`.

use std::collections::{BTreeMap, BTreeSet};

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{Condition, DROPPED, OnDuplicate, Order, Overflow, Query, Receipt};

use super::strategies::{CORRELATIONS, NODES, PIDS, Spec, TYPES, size_above};

/// What the model keeps of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub seq: u64,
    pub id: u64,
    pub kind: usize,
    pub time: i64,
    pub version: u64,
    pub correlation: Option<usize>,
    pub parent: Option<u64>,
    pub node: usize,
    pub pid: usize,
    pub data: Vec<u8>,
}

#[derive(Default)]
pub struct Model {
    pub present: Vec<Kept>,
    pub stored: u64,
    pub dropped: u64,
    pub pruned: u64,
    pub refused: u64,
    /// Of these, for want of room.
    pub full: u64,
    pub newest: u64,
    pub repeated: u64,
    pub offered: u64,
    pub max: usize,
    pub bounds: Bounds,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    pub overflow: Overflow,
    pub on_duplicate: OnDuplicate,
}

impl Model {
    pub fn has(&self, id: u64) -> bool {
        self.present.iter().any(|event| event.id == id)
    }

    /// The stored event that answers this one, where such events are answered.
    pub fn answer(&self, spec: &Spec) -> Option<&Kept> {
        let stored = self.present.iter().find(|event| Some(event.id) == spec.id)?;
        let same = stored.kind == spec.kind
            && spec.time.is_none_or(|time| time == stored.time)
            && stored.correlation == spec.correlation
            && (stored.parent, stored.node, stored.pid) == (spec.parent, spec.node, spec.pid)
            && stored.data == data(spec);
        (same && self.bounds.on_duplicate == OnDuplicate::Return).then_some(stored)
    }

    /// Whether the store, which drops nothing by itself, has no room for so many more.
    pub fn lacks_room(&self, events: usize) -> bool {
        self.bounds.overflow != Overflow::DropOldest && events > 0 && self.present.len() + events > self.max
    }

    /// Counts events for which there was no room; they are answered like this.
    pub fn lose(&mut self, events: usize, answer: Result<&[Receipt], Code>) {
        if self.bounds.overflow == Overflow::DropNewest {
            assert!(answer.unwrap().iter().all(|receipt| receipt.level == DROPPED && receipt.seq == 0));
            self.newest += events as u64;
        } else {
            assert_eq!(answer.unwrap_err(), Code::StoreFull);
            self.refused += events as u64;
            self.full += events as u64;
        }
    }

    pub fn accept(&mut self, specs: &[Spec], receipts: &[Receipt], now: i64, version: u64) {
        for (spec, receipt) in specs.iter().zip(receipts) {
            self.stored += 1;
            assert_eq!(receipt.seq, self.stored, "sequence numbers are dense");
            assert_eq!(receipt.level, 1);
            match spec.id {
                Some(id) => assert_eq!(receipt.event_id, id),
                None => assert!(!self.has(receipt.event_id), "id {} drawn twice", receipt.event_id),
            }
            self.present.push(Kept {
                seq: receipt.seq,
                id: receipt.event_id,
                kind: spec.kind,
                time: spec.time.unwrap_or(now),
                version,
                correlation: spec.correlation,
                parent: spec.parent,
                node: spec.node,
                pid: spec.pid,
                data: data(spec),
            });
        }
        while self.bounds.overflow == Overflow::DropOldest && self.present.len() > self.max {
            self.present.remove(0);
            self.dropped += 1;
        }
    }

    pub fn prune(&mut self, time: i64) -> u64 {
        let before = self.present.len();
        self.present.retain(|event| event.time >= time);
        let removed = (before - self.present.len()) as u64;
        self.pruned += removed;
        removed
    }

    pub fn find(&self, query: &Query) -> Vec<Kept> {
        let mut found: Vec<Kept> = self.present.clone();
        found.retain(|event| {
            let kind = TYPES[event.kind];
            (query.types.is_empty() || query.types.iter().any(|wanted| wanted == kind))
                && query.correlation_id.as_deref().is_none_or(|wanted| {
                    event.correlation.map(|correlation| CORRELATIONS[correlation]) == Some(wanted)
                })
                && query.seq_range.is_none_or(|(from, to)| event.seq >= from && event.seq <= to)
                && query.time_range.is_none_or(|(from, to)| event.time >= from && event.time <= to)
                && query.id_range.is_none_or(|(from, to)| event.id >= from && event.id <= to)
                && query.parent_id.is_none_or(|wanted| event.parent.unwrap_or(0) == wanted)
                && query.node.as_deref().is_none_or(|wanted| NODES[event.node] == wanted)
                && query.pid.as_deref().is_none_or(|wanted| PIDS[event.pid] == wanted)
                && satisfies(&query.conditions, event)
        });
        match query.order {
            Order::Timestamp => found.sort_by_key(|event| (event.time, event.seq)),
            Order::Seq => found.sort_by_key(|event| event.seq),
            Order::Id => found.sort_by_key(|event| event.id),
        }
        if query.descending {
            found.reverse();
        }
        let limit = query.limit.unwrap_or(u64::MAX).min(usize::MAX as u64) as usize;
        found.into_iter().skip(query.offset as usize).take(limit).collect()
    }
}

/// `{"size":…,"kind":"…","pad":"…"}`, or nothing that can be read for the smallest sizes.
pub fn data(spec: &Spec) -> Vec<u8> {
    if spec.size < 4 {
        return vec![b'x'; spec.size];
    }
    let pad: String = (0..spec.size).map(|i| char::from(b'0' + ((i + spec.kind) % 10) as u8)).collect();
    format!(r#"{{"size":{},"kind":"{}","pad":"{pad}"}}"#, spec.size, TYPES[spec.kind]).into_bytes()
}

/// The number at `size` of the data.
fn size(event: &Kept) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(&event.data).ok()?["size"].as_u64()
}

/// What the model makes of the conditions.
fn satisfies(conditions: &[Condition], event: &Kept) -> bool {
    let size = size(event);
    conditions.is_empty()
        || (0..60)
            .any(|above| conditions[0] == size_above(above) && size.is_some_and(|size| size > above as u64))
}

/// What is counted of the events found.
impl Model {
    /// Types, the most frequent first.
    pub fn by_type(found: &[Kept]) -> Vec<(&'static str, u64)> {
        let count = |kind: usize| found.iter().filter(|event| event.kind == kind).count() as u64;
        let mut counts: Vec<_> = (0..TYPES.len()).map(|kind| (TYPES[kind], count(kind))).collect();
        counts.retain(|(_, count)| *count > 0);
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        counts
    }

    /// Spans of time, the earliest first.
    pub fn buckets(found: &[Kept], ns: i64) -> Vec<(i64, u64)> {
        let mut counts = BTreeMap::new();
        for event in found {
            *counts.entry(event.time.saturating_sub(event.time.rem_euclid(ns))).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// The correlations with the most events.
    pub fn top(found: &[Kept], most: usize) -> Vec<(Vec<u8>, u64)> {
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for correlation in found.iter().filter_map(|event| event.correlation) {
            *counts.entry(CORRELATIONS[correlation]).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(id, count)| (id.to_vec(), count)).collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts.truncate(most);
        counts
    }

    /// The numbers at `size`, sorted.
    pub fn sizes(found: &[Kept]) -> Vec<u64> {
        let mut sizes: Vec<u64> = found.iter().filter_map(size).collect();
        sizes.sort_unstable();
        sizes
    }
}

/// Who caused whom.
impl Model {
    fn event(&self, id: u64) -> Option<&Kept> {
        self.present.iter().find(|event| event.id == id)
    }

    /// The event that everything which led to this one came from; whether the way closes there.
    pub fn root(&self, id: u64) -> Option<(&Kept, bool)> {
        let mut passed = vec![self.event(id)?];
        loop {
            let parent = passed.last()?.parent;
            match parent.and_then(|parent| self.event(parent)) {
                None => return passed.pop().map(|root| (root, false)),
                Some(parent) if passed.contains(&parent) => return Some((parent, true)),
                Some(parent) => passed.push(parent),
            }
        }
    }

    /// The ids of everything that an event led to, and its own.
    pub fn tree(&self, root: u64) -> BTreeSet<u64> {
        let mut tree = BTreeSet::from([root]);
        loop {
            let caused = |event: &&Kept| event.parent.is_some_and(|parent| tree.contains(&parent));
            let more: Vec<u64> = self.present.iter().filter(caused).map(|event| event.id).collect();
            let before = tree.len();
            tree.extend(more);
            if tree.len() == before {
                return tree;
            }
        }
    }
}
