//! The tree of causes that an event belongs to, by `parent_id`.
//!
//! From the event up to the one that nothing caused, then down to everything that one led to. A parent that is not
//! there (any more) ends the way up and is reported; so does a cycle, which is never followed for ever. Nothing
//! here recurses, and the size of the answer is bounded.

use std::collections::HashSet;

use super::model::EventRef;
use super::query::{Order, Query};
use super::store::EventStore;
use crate::error::{Code, Error, Result};

/// The most events that a trace may be asked for.
pub const MAX_TRACE: usize = 100_000;

/// An event of a trace.
#[derive(Debug, Clone)]
pub struct Traced {
    /// How many events lie between it and the root, plus one; the root has 0.
    pub depth: u32,
    /// The event.
    pub event: EventRef,
}

/// The tree that an event belongs to.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The events, each before those that it caused, which follow it in the order of their time. The first is the
    /// root.
    pub events: Vec<Traced>,
    /// The parent that the root names and that is not in the store.
    pub missing_parent: Option<u64>,
    /// Events whose parent is caused by them: the way back to each was not followed.
    pub cycles: Vec<u64>,
    /// Whether there are more events than were asked for.
    pub truncated: bool,
}

impl EventStore {
    /// The whole tree of causes that this event belongs to, at most `limit` events of it (from 1 to [`MAX_TRACE`]).
    ///
    /// Errors: `data_not_found` if there is no event of this id, `invalid_input` for another limit.
    pub fn trace(&self, event_id: u64, limit: usize) -> Result<Trace> {
        if !(1..=MAX_TRACE).contains(&limit) {
            let message = format!("the limit of a trace is {limit}; it must be 1 to {MAX_TRACE}");
            return Err(Error::new(Code::InvalidInput, message).with("limit", limit));
        }
        let mut trace =
            Trace { events: Vec::new(), missing_parent: None, cycles: Vec::new(), truncated: false };
        let root = self.climb(self.get(event_id)?, &mut trace)?;
        let mut shown = HashSet::from([root.view().event_id()]);
        // What is yet to be shown, the next one last. It holds no more than may be shown.
        let mut open = vec![Traced { depth: 0, event: root }];
        while let Some(next) = open.pop() {
            let (id, depth) = (next.event.view().event_id(), next.depth + 1);
            trace.events.push(next);
            // One more than there is room for tells that there are more.
            let space = limit - trace.events.len().min(limit);
            let mut cursor = self.query(&Query {
                parent_id: Some(id),
                order: Order::Timestamp,
                limit: Some(space as u64 + 1 + shown.len() as u64),
                ..Query::default()
            })?;
            let first = open.len();
            while let Some(event) = cursor.try_next_ref()? {
                let child = event.view().event_id();
                if !shown.insert(child) {
                    // The root of a cycle was reported on the way up.
                    if !trace.cycles.contains(&child) {
                        trace.cycles.push(child);
                    }
                } else if open.len() < space {
                    open.push(Traced { depth, event });
                } else {
                    trace.truncated = true;
                    break;
                }
            }
            if let Some(children) = open.get_mut(first..) {
                children.reverse();
            }
        }
        Ok(trace)
    }

    /// The event that everything came from, as far as the store knows.
    fn climb(&self, from: EventRef, trace: &mut Trace) -> Result<EventRef> {
        let mut passed = HashSet::from([from.view().event_id()]);
        let mut at = from;
        while let Some(parent) = at.view().parent_id() {
            if !passed.insert(parent) {
                // The one that was stored first of those on the way is as good a beginning as any; take the one at
                // which the way closes.
                trace.cycles.push(parent);
                return self.get(parent).or(Ok(at));
            }
            match self.get(parent) {
                Ok(event) => at = event,
                Err(error) if error.code() == Code::DataNotFound => {
                    trace.missing_parent = Some(parent);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::store;
    use super::super::{EventStoreOptions, NewEvent};
    use super::*;

    fn tree(links: &[(u64, u64)]) -> EventStore {
        let store = store(EventStoreOptions { segment_events: Some(64), ..EventStoreOptions::default() });
        for (id, parent) in links {
            let parent_id = Some(*parent).filter(|id| *id != 0);
            let event =
                NewEvent { event_type: "t".into(), event_id: Some(*id), parent_id, ..NewEvent::default() };
            store.append(&event).unwrap();
        }
        store
    }

    fn shape(trace: &Trace) -> Vec<(u64, u32)> {
        trace.events.iter().map(|one| (one.event.view().event_id(), one.depth)).collect()
    }

    #[test]
    fn a_tree_is_shown_whole_from_any_of_its_events() {
        let store = tree(&[(10, 0), (20, 10), (30, 20), (21, 10), (31, 20), (40, 31), (99, 0)]);
        for id in [10, 20, 30, 21, 31, 40] {
            let trace = store.trace(id, 100).unwrap();
            assert_eq!(shape(&trace), [(10, 0), (20, 1), (30, 2), (31, 2), (40, 3), (21, 1)], "from {id}");
            assert_eq!((trace.missing_parent, trace.cycles.len(), trace.truncated), (None, 0, false));
        }
        assert_eq!(shape(&store.trace(99, 1).unwrap()), [(99, 0)]);
        assert_eq!(store.trace(98, 1).unwrap_err().code(), Code::DataNotFound);
        assert_eq!(store.trace(99, 0).unwrap_err().code(), Code::InvalidInput);
        assert_eq!(store.trace(99, MAX_TRACE + 1).unwrap_err().code(), Code::InvalidInput);
    }

    #[test]
    fn missing_parents_and_cycles_are_reported_and_not_followed() {
        let store = tree(&[(2, 1), (3, 2), (5, 7), (6, 5), (7, 6), (8, 6), (9, 9)]);
        let trace = store.trace(3, 100).unwrap();
        assert_eq!((shape(&trace), trace.missing_parent), (vec![(2, 0), (3, 1)], Some(1)));
        for id in [5, 6, 7, 8] {
            let trace = store.trace(id, 100).unwrap();
            let mut ids: Vec<u64> = shape(&trace).iter().map(|one| one.0).collect();
            ids.sort_unstable();
            assert_eq!(ids, [5, 6, 7, 8], "from {id}");
            assert_eq!((trace.cycles.len(), trace.truncated), (1, false), "from {id}");
        }
        let trace = store.trace(9, 100).unwrap();
        assert_eq!((shape(&trace), trace.cycles), (vec![(9, 0)], vec![9]));
    }

    #[test]
    fn a_trace_is_bounded_and_a_long_chain_needs_no_stack() {
        let links: Vec<(u64, u64)> = (1..=2_000).map(|id| (id, id - 1)).collect();
        let store = tree(&links);
        let trace = store.trace(2_000, MAX_TRACE).unwrap();
        assert_eq!((trace.events.len(), trace.truncated), (2_000, false));
        assert!(trace.events.iter().enumerate().all(|(at, one)| one.depth == at as u32));
        let trace = store.trace(2_000, 10).unwrap();
        assert_eq!((trace.events.len(), trace.truncated), (10, true));
        let wide: Vec<(u64, u64)> = (1..=50).map(|id| (id, u64::from(id > 1))).collect();
        let trace = tree(&wide).trace(1, 20).unwrap();
        assert_eq!((trace.events.len(), trace.truncated), (20, true));
        let trace = tree(&wide).trace(1, 50).unwrap();
        assert_eq!((trace.events.len(), trace.truncated), (50, false));
    }
}
