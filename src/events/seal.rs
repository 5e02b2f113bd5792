//! What happens behind the appends: a segment that is full gets its compact indexes and filters, the memory of its
//! chains goes back, and memory for the next segments is prepared.
//!
//! Nobody waits for it. Until a segment is sealed its chains find its events; where nobody calls
//! [`EventStore::seal_pending`], or the worker that does has failed, a store goes on with chains, which take some 25
//! bytes an event and do not find events by node or pid. Under a memory bound a segment is sealed when there is
//! room for its new indexes beside its chains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::compact::Compact;
use super::overflow::Signal;
use super::segment::Held;
use super::shard::Shard;
use super::store::EventStore;
use crate::runtime::deadline::Deadline;
use crate::runtime::supervisor::StopToken;
use crate::runtime::sync::{Mutex, lock};

/// How long the worker waits for news at most: it loses nothing by looking again.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// Starts the worker; whether it was started.
type Starter = Box<dyn Fn() -> bool + Send + Sync>;

/// Who seals, and how they hear of it.
pub(super) struct Sealing {
    /// Tells that a segment is full.
    full: Arc<Signal>,
    /// Held while sealing: one at a time is enough.
    busy: Mutex<()>,
    starter: Mutex<Option<Starter>>,
    /// Whether the worker is yet to be started.
    waiting: AtomicBool,
}

impl Sealing {
    pub(super) fn new() -> Self {
        Self {
            full: Arc::new(Signal::new()),
            busy: Mutex::new(()),
            starter: Mutex::new(None),
            waiting: AtomicBool::new(false),
        }
    }

    /// A segment is full. The first time starts the worker.
    pub(super) fn tell(&self) {
        self.full.tell();
        if self.waiting.load(Ordering::Acquire) {
            self.start();
        }
    }

    #[cold]
    fn start(&self) {
        let mut starter = lock(&self.starter);
        // A starter that could not is asked again when the next segment is full.
        if starter.as_ref().is_some_and(|start| start()) {
            *starter = None;
            self.waiting.store(false, Ordering::Release);
        }
    }
}

impl EventStore {
    /// Seals the segments that are full: builds their compact indexes and gives the memory of their chains back;
    /// how many it sealed. Any thread may call it at any time, beside appends and queries, which do not wait for
    /// it. An instance has a worker that does.
    pub fn seal_pending(&self) -> u64 {
        let _busy = lock(&self.sealing.busy);
        let mut sealed = 0;
        for shard in &self.shards {
            let unsealed = shard.unsealed();
            sealed += unsealed.iter().take_while(|segment| self.seal(shard, segment)).count() as u64;
        }
        sealed
    }

    /// Whether there was room for it.
    fn seal(&self, shard: &Shard, segment: &Held) -> bool {
        let (pool, filters) = (&self.shared.pool, &self.shared.filters);
        let Some((mut compact, sides)) = Compact::build_within(segment, &self.shared, Some(filters)) else {
            return false;
        };
        // Without a column the segment is looked at in every search, which finds the same.
        let most = filters.most_bytes() as u64;
        if pool.reserve(most) {
            let claimed = filters.claim(&sides);
            pool.count_out(most - claimed.map_or(0, |(_, allocated)| allocated));
            compact.marks.column = claimed.map(|(column, _)| column);
        }
        let marks = compact.marks;
        segment.seal(compact);
        shard.note_sealed(segment, marks);
        true
    }

    /// Has this called, once, when a segment is full for the first time; `false` asks for another call later.
    pub(crate) fn on_first_full(&self, start: impl Fn() -> bool + Send + Sync + 'static) {
        *lock(&self.sealing.starter) = Some(Box::new(start));
        self.sealing.waiting.store(true, Ordering::Release);
    }

    /// The worker: seals what is full and prepares memory, until it is told to stop.
    pub(crate) fn keep_sealing(&self, stop: &StopToken) {
        let full = Arc::clone(&self.sealing.full);
        stop.on_stop(move || full.tell());
        loop {
            let moment = self.sealing.full.moment();
            if stop.is_stopped() {
                return;
            }
            self.prepare_memory();
            self.seal_pending();
            self.sealing.full.wait(moment, Deadline::after(LOOK_AGAIN));
        }
    }

    /// Has memory for the next segment at hand, so that no append waits for the kernel to provide it.
    pub(crate) fn prepare_memory(&self) {
        self.shared.pool.prepare();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::query::Query;
    use super::super::record::{FLAG_FIRST, FLAG_LAST};
    use super::super::segment::Segment;
    use super::super::store::{Now, draft};
    use super::super::tests::store;
    use super::super::{EventStoreOptions, NewEvent};
    use super::*;

    /// What a panic leaves behind in the middle of a batch that goes over several segments.
    fn break_off(store: &EventStore, event: &NewEvent<'_>) {
        let interned = store.intern(event).unwrap();
        let shard = &store.shards[0];
        let mut active = shard.lock();
        let fresh: Vec<_> = (0..2).map(|_| Segment::create(&store.shared, store.shape, 0).unwrap()).collect();
        shard.extend(&fresh);
        let now = Now { time: 0, wall: 0 };
        for mut writer in active.take().into_iter().chain(fresh).take(2) {
            while writer.stage(&draft(event, interned, now, FLAG_FIRST | FLAG_LAST), 0).is_some() {}
        }
    }

    fn found(store: &EventStore) -> Vec<u64> {
        let query = Query { time_range: Some((0, 100)), ..Query::default() };
        let mut found = store.query(&query).unwrap();
        let seqs: Vec<u64> = std::iter::from_fn(|| found.next().map(|event| event.seq())).collect();
        assert_eq!(store.query(&query).unwrap().count().unwrap(), seqs.len() as u64);
        assert_eq!(store.stats().events, seqs.len() as u64);
        seqs
    }

    #[test]
    fn what_a_panic_leaves_half_way_is_neither_shown_nor_counted_nor_sealed() {
        for (at_first, orphan_time) in [(0, 5), (2, -7), (2, 1_000), (3, 5)] {
            let store = store(EventStoreOptions {
                shards: Some(1),
                segment_events: Some(4),
                ..EventStoreOptions::default()
            });
            let event =
                |time| NewEvent { event_type: "t".into(), timestamp: Some(time), ..NewEvent::default() };
            for time in (1..=at_first).rev() {
                store.append(&event(time)).unwrap();
            }
            break_off(&store, &event(orphan_time));
            for time in 10..=15 {
                store.append(&event(time)).unwrap();
            }
            let expected: Vec<u64> = (1..=at_first as u64)
                .rev()
                .chain(at_first as u64 + 1..)
                .take(at_first as usize + 6)
                .collect();
            assert_eq!(found(&store), expected);
            assert_eq!(
                store.seal_pending(),
                u64::from(at_first > 0) + 1,
                "those that have events and are full"
            );
            assert_eq!(store.seal_pending(), 0);
            assert_eq!(found(&store), expected);
            assert_eq!(store.prune_before(2).unwrap(), u64::from(at_first > 0));
            assert_eq!(
                found(&store),
                expected
                    .iter()
                    .copied()
                    .filter(|seq| *seq != at_first as u64 || at_first == 0)
                    .collect::<Vec<_>>()
            );
            assert_eq!(
                store.prune_before(i64::MAX).unwrap(),
                expected.len() as u64 - u64::from(at_first > 0)
            );
            assert_eq!(found(&store), [0; 0]);
            assert_eq!(store.stats().segments, 1, "the active one");
        }
    }
}
