//! The ends of ranges, the smallest and the largest of everything.

use std::sync::Arc;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    EventStore, EventStoreOptions, NewEvent, Order, Overflow, Query, TailItem, TailOptions,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};

const ORDERS: [Order; 3] = [Order::Timestamp, Order::Seq, Order::Id];

fn open(options: EventStoreOptions) -> Arc<EventStore> {
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000)), 0);
    Arc::new(EventStore::open(options, clock, Arc::default()).unwrap())
}

fn one_shard(max_events: Option<u64>, segment_events: u32) -> EventStoreOptions {
    EventStoreOptions {
        shards: Some(1),
        max_events,
        segment_events: Some(segment_events),
        ..EventStoreOptions::default()
    }
}

fn at(time: i64) -> NewEvent<'static> {
    NewEvent { event_type: "t".into(), timestamp: Some(time), ..NewEvent::default() }
}

fn seqs(store: &EventStore, query: &Query) -> Vec<u64> {
    let mut found = store.query(query).unwrap();
    let seqs: Vec<u64> = std::iter::from_fn(|| found.next().map(|event| event.seq())).collect();
    assert_eq!(store.query(query).unwrap().count().unwrap(), seqs.len() as u64, "{query:?}");
    let all = store.query(&Query { without_indexes: true, ..query.clone() }).unwrap();
    assert_eq!(all.count().unwrap(), seqs.len() as u64, "{query:?}");
    seqs
}

#[test]
fn ranges_go_to_the_ends_of_their_numbers_before_and_after_sealing() {
    let times = [i64::MAX, i64::MIN, 0, i64::MIN, i64::MAX, -1, 0, i64::MAX];
    for segment_events in [1, 2, 4] {
        let store = open(one_shard(None, segment_events));
        assert_eq!(seqs(&store, &Query::default()), [0; 0], "nothing is there");
        assert_eq!(store.prune_before(i64::MAX).unwrap(), 0);
        for time in times {
            store.append(&at(time)).unwrap();
        }
        for _ in 0..2 {
            let by_time = |from, to| Query { time_range: Some((from, to)), ..Query::default() };
            assert_eq!(seqs(&store, &by_time(i64::MIN, i64::MAX)), [2, 4, 6, 3, 7, 1, 5, 8]);
            assert_eq!(seqs(&store, &by_time(i64::MIN, i64::MIN)), [2, 4]);
            assert_eq!(seqs(&store, &by_time(i64::MAX, i64::MAX)), [1, 5, 8]);
            assert_eq!(seqs(&store, &by_time(i64::MAX, i64::MIN)), [0; 0]);
            let newest = Query { descending: true, ..by_time(i64::MIN, 0) };
            assert_eq!(seqs(&store, &newest), [7, 3, 6, 4, 2]);
            for order in ORDERS {
                let query = Query { order, ..Query::default() };
                let count = |query: Query| seqs(&store, &query).len();
                assert_eq!(count(Query { seq_range: Some((0, u64::MAX)), ..query.clone() }), 8);
                assert_eq!(count(Query { seq_range: Some((u64::MAX, u64::MAX)), ..query.clone() }), 0);
                assert_eq!(count(Query { id_range: Some((0, u64::MAX)), ..query.clone() }), 8);
                assert_eq!(count(Query { id_range: Some((u64::MAX, u64::MAX)), ..query.clone() }), 0);
                assert_eq!(count(Query { id_range: Some((u64::MAX, 0)), ..query.clone() }), 0);
                assert_eq!(count(Query { limit: Some(0), ..query.clone() }), 0);
                assert_eq!(count(Query { limit: Some(0), offset: u64::MAX, ..query.clone() }), 0);
                assert_eq!(count(Query { limit: Some(u64::MAX), offset: 7, ..query.clone() }), 1);
                assert_eq!(count(Query { limit: Some(u64::MAX), offset: u64::MAX, ..query.clone() }), 0);
                assert_eq!(count(Query { offset: 8, ..query }), 0);
            }
            store.seal_pending();
        }
        assert_eq!(store.prune_before(i64::MIN).unwrap(), 0);
        assert_eq!(store.prune_before(i64::MAX).unwrap(), 5);
        assert_eq!(seqs(&store, &Query::default()), [1, 5, 8], "nothing is older than the end of time");
        let stats = store.stats();
        assert_eq!((stats.events, stats.stored, stats.pruned), (3, 8, 5));
    }
}

#[test]
fn a_store_of_one_event_holds_the_newest() {
    for segment_events in [1, 4] {
        let store = open(one_shard(Some(1), segment_events));
        let tail = store.tail(TailOptions::default()).unwrap();
        for seq in 1..=9 {
            store.append(&at(0)).unwrap();
            assert_eq!(seqs(&store, &Query::default()), [seq]);
        }
        let Some(TailItem::Gap(gap)) = tail.try_next().unwrap() else { panic!("the others are missing") };
        assert_eq!((gap.first_seq, gap.last_seq), (1, 8));
        let Some(TailItem::Event(event)) = tail.try_next().unwrap() else { panic!("the last is there") };
        assert_eq!(event.view().seq(), 9);
        // Of a batch that is larger than the store the newest are left.
        store.append_batch(&[at(1), at(2), at(3)]).unwrap();
        assert_eq!(seqs(&store, &Query::default()), [12]);
        let stats = store.stats();
        assert_eq!((stats.events, stats.stored, stats.dropped_oldest), (1, 12, 11));
    }
    for overflow in [Overflow::Error, Overflow::Block] {
        let store = open(EventStoreOptions { overflow, ..one_shard(Some(1), 1) });
        let error = store.append_batch(&[at(1), at(2)]).unwrap_err();
        assert_eq!(error.code(), Code::StoreFull, "it can never be stored, so nobody waits");
        store.append_batch(&[]).unwrap();
        store.append(&at(1)).unwrap();
        let stats = store.stats();
        assert_eq!((stats.events, stats.refused_full, stats.offered), (1, 2, 3));
    }
}

#[test]
fn segments_at_the_limit_of_narrow_indexes_find_the_same_as_wide_ones() {
    // The last segment is not sealed: one more event fills a new one.
    for events in [65_535_u32, 65_536] {
        let small = NewEvent { pid: "p", node: "n", ..at(0) };
        let options = if events == 65_536 {
            one_shard(None, events)
        } else {
            // Full by bytes, one event before it would be by number.
            let length = 80;
            EventStoreOptions { segment_bytes: Some(events as usize * length), ..one_shard(None, 65_536) }
        };
        let store = open(options);
        for n in 0..=i64::from(events) {
            // Equal times in pairs, in no order.
            let time = (n / 2 * 40_503) % 65_536;
            let parent_id = Some(n as u64).filter(|n| *n > 0);
            store.append(&NewEvent { timestamp: Some(time), parent_id, ..small }).unwrap();
        }
        let questions = [
            Query { time_range: Some((0, 9)), ..Query::default() },
            Query { time_range: Some((65_500, 70_000)), descending: true, ..Query::default() },
            Query { limit: Some(5), ..Query::default() },
            Query { limit: Some(5), descending: true, ..Query::default() },
            Query { parent_id: Some(u64::from(events) - 1), ..Query::default() },
            Query { parent_id: Some(0), ..Query::default() },
            Query { id_range: Some((65_530, 65_540)), ..Query::default() },
            Query {
                pid: Some("p".into()),
                order: Order::Seq,
                descending: true,
                limit: Some(3),
                ..Query::default()
            },
            Query { node: Some("n".into()), offset: u64::from(events) - 2, ..Query::default() },
        ];
        let before: Vec<_> = questions.iter().map(|query| seqs(&store, query)).collect();
        assert_eq!(store.seal_pending(), 1, "{events}");
        let after: Vec<_> = questions.iter().map(|query| seqs(&store, query)).collect();
        assert_eq!(before, after, "{events}");
        assert!(before.iter().all(|found| !found.is_empty()), "{events}: {before:?}");
    }
}

#[test]
fn an_event_larger_than_a_segment_has_one_of_its_own_and_is_found() {
    let store = open(EventStoreOptions { segment_bytes: Some(1_024), ..one_shard(None, 4) });
    let data = format!("\"{}\"", "x".repeat(100_000));
    let large = NewEvent { data: data.as_bytes(), ..at(5) };
    store.append_batch(&[at(9), large, at(1), large, large]).unwrap();
    for _ in 0..2 {
        assert_eq!(seqs(&store, &Query::default()), [3, 2, 4, 5, 1]);
        assert_eq!(seqs(&store, &Query { time_range: Some((5, 5)), ..Query::default() }), [2, 4, 5]);
        store.seal_pending();
    }
    assert_eq!(store.get(4).unwrap().view().data(), data.as_bytes());
}

#[test]
fn a_trace_of_a_cycle_stays_within_its_limit() {
    let store = open(one_shard(None, 4));
    for (id, parent) in [(1, 3), (2, 1), (3, 2), (4, 2), (5, 2), (6, 6), (7, 6)] {
        let event = NewEvent { event_id: Some(id), parent_id: Some(parent), ..at(id as i64) };
        store.append(&event).unwrap();
    }
    for id in 1..=5 {
        for limit in 1..=6 {
            let trace = store.trace(id, limit).unwrap();
            let mut shown: Vec<u64> = trace.events.iter().map(|one| one.event.view().event_id()).collect();
            shown.sort_unstable();
            shown.dedup();
            assert_eq!(shown.len(), limit.min(5), "from {id}, at most {limit}");
            assert_eq!(trace.truncated, limit < 5, "from {id}, at most {limit}");
        }
    }
    let trace = store.trace(7, 1).unwrap();
    assert_eq!((trace.events.len(), trace.truncated, trace.cycles), (1, true, vec![6]));
}

/// What a cursor counts is what another shows that was asked at the same moment, whatever happened to the store since
/// and however far they were read.
#[test]
fn a_count_is_of_what_would_be_shown_whatever_happened_since_it_was_asked() {
    let changes: [fn(&EventStore); 5] = [
        |_| {},
        |store| assert!(store.seal_pending() < 9),
        |store| drop(store.prune_before(40)),
        |store| drop(store.prune_before(i64::MAX)),
        |store| (0..20).for_each(|time| drop(store.append(&at(time)))),
    ];
    for (first, then) in (0..25).map(|n| (n / 5, n % 5)) {
        for read in [0, 1, 7] {
            let store = open(one_shard(Some(50), 8));
            for n in 0..60 {
                store.append(&at(n * 37 % 61)).unwrap();
            }
            changes[first](&store);
            for order in ORDERS {
                for (time_range, descending) in
                    [(None, false), (None, true), (Some((10, 45)), false), (Some((10, 45)), true)]
                {
                    for (offset, limit) in [(0, None), (3, None), (0, Some(9)), (5, Some(9))] {
                        let query =
                            Query { time_range, order, descending, offset, limit, ..Query::default() };
                        let mut cursors = [(); 2].map(|()| store.query(&query).unwrap());
                        for cursor in &mut cursors {
                            (0..read).for_each(|_| _ = cursor.next().map(|event| event.seq()));
                        }
                        changes[then](&store);
                        let [counted, mut walked] = cursors;
                        let count = counted.count().unwrap();
                        let shown = std::iter::from_fn(|| walked.next().map(|_| ())).count() as u64;
                        assert_eq!(count, shown, "{first} {then} {read} {query:?}");
                    }
                }
            }
        }
    }
}
