//! Segments that were sealed: the same answers by other indexes, filters that pass over segments, bounded bytes.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::events::{EventStore, EventStoreOptions, NewEvent, Order, Query};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::{AnchoredClock, Clock, SimClock, SystemClock};

const SEGMENT: u32 = 128;
/// What an index may take for each event that a segment has room for: chains 26 bytes, sealed 28 and 4 of filters.
const INDEX_BYTES: u64 = 32;

fn open(options: EventStoreOptions) -> EventStore {
    let options = EventStoreOptions { segment_events: Some(SEGMENT), shards: Some(1), ..options };
    EventStore::open(options, AnchoredClock::new(Arc::new(SimClock::new(0)), 0), Arc::default()).unwrap()
}

/// Scatters small numbers over all ids.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 6 | 1
}

/// Event `n`: a correlation of ten that lie far apart, one of 300 pids, one node in a hundred another one.
fn append(store: &EventStore, n: u64, id: Option<u64>) {
    let (correlation, pid) = (format!("c{}", n % 300), format!("<0.{}.0>", n % 300));
    let event = NewEvent {
        event_type: if n.is_multiple_of(100) { "rare" } else { "common" }.into(),
        event_id: id,
        timestamp: Some(n as i64 * 10),
        correlation_id: Some(correlation.as_bytes()),
        pid: &pid,
        node: if n % 100 == 7 { "two@host" } else { "one@host" },
        parent_id: Some(n / 3 + 1),
        data: b"{}",
        ..NewEvent::default()
    };
    store.append(&event).unwrap();
}

fn filled(options: EventStoreOptions, events: u64) -> EventStore {
    let store = open(options);
    (0..events).for_each(|n| append(&store, n, None));
    store
}

fn seqs(store: &EventStore, query: &Query) -> Vec<u64> {
    let mut cursor = store.query(query).unwrap();
    let mut seqs = Vec::new();
    while let Some(event) = cursor.try_next().unwrap() {
        seqs.push(event.seq());
    }
    seqs
}

fn questions() -> Vec<(&'static str, Query)> {
    let all = Query::default();
    vec![
        ("correlation", Query { correlation_id: Some(b"c7".to_vec()), ..all.clone() }),
        ("parent", Query { parent_id: Some(500), ..all.clone() }),
        ("id", Query { id_range: Some((1_000, 1_003)), ..all.clone() }),
        ("pid", Query { pid: Some("<0.11.0>".into()), ..all.clone() }),
        // Only the segment that is not sealed is left, unless a filter errs, which the store's seed decides.
        ("none or pid", Query { pid: Some("nobody".into()), ..all.clone() }),
        ("type", Query { types: vec!["rare".into()], ..all.clone() }),
        ("node", Query { node: Some("two@host".into()), ..all.clone() }),
        ("none", Query { node: Some("one@host".into()), ..all.clone() }),
        ("time", Query { time_range: Some((5_000, 5_100)), ..all.clone() }),
        ("pid", Query { pid: Some("<0.7.0>".into()), types: vec!["rare".into(), "common".into()], ..all }),
    ]
}

#[test]
fn each_index_of_a_sealed_store_is_used_and_answers_what_the_chains_answered() {
    let (chained, sealed) =
        (filled(EventStoreOptions::default(), 3_000), filled(EventStoreOptions::default(), 3_000));
    assert_eq!(sealed.seal_pending(), 3_000 / u64::from(SEGMENT));
    assert_eq!(sealed.seal_pending(), 0, "each segment is sealed once");
    for (index, query) in questions() {
        let used = sealed.explain(&query).unwrap().index;
        assert!(index.split(" or ").any(|index| index == used), "{used} instead of {index}: {query:?}");
        for order in [Order::Timestamp, Order::Seq, Order::Id] {
            for (descending, limit) in [(false, None), (true, None), (false, Some(3)), (true, Some(3))] {
                let query = Query { order, descending, limit, ..query.clone() };
                let every = Query { without_indexes: true, ..query.clone() };
                let expected = seqs(&chained, &every);
                assert_eq!(seqs(&chained, &query), expected, "{query:?} by chains");
                assert_eq!(seqs(&sealed, &query), expected, "{query:?} sealed");
                assert_eq!(
                    sealed.query(&query).unwrap().count().unwrap(),
                    expected.len() as u64,
                    "{query:?}"
                );
            }
        }
    }
    assert!((1..=3_000).all(|id| sealed.get(id).unwrap().view().event_id() == id));
    assert!(sealed.get(3_001).is_err());
    assert!(sealed.correlation_exceeds(b"c7", 9) && !sealed.correlation_exceeds(b"c7", 30));
}

/// Whether a filter takes one value for another is chance, whose seed is the store's: so many values are asked for.
#[test]
fn filters_pass_over_segments_that_do_not_hold_the_value() {
    let store = filled(EventStoreOptions::default(), 20_000);
    store.seal_pending();
    let segments = store.stats().segments;
    let looked_at = |query: &dyn Fn(u64) -> Query| -> u64 {
        let plans = (0..200).map(|n| store.explain(&query(n)).unwrap());
        plans
            .inspect(|plan| assert!(plan.candidates <= plan.segments * 20, "{plan:?}"))
            .map(|plan| plan.segments)
            .sum()
    };
    let parents = looked_at(&|n| Query { parent_id: Some(100 + 30 * n), ..Query::default() });
    assert!((200..200 * segments / 20).contains(&parents), "{parents} of 200 times {segments}");
    let none = |n| Some(format!("none{n}").into_bytes());
    let nothing = looked_at(&|n| Query { correlation_id: none(n), ..Query::default() });
    assert!(nothing < 200 * segments / 10, "{nothing} of 200 times {segments}");
}

#[test]
fn ids_that_are_scattered_over_all_segments_are_found_and_refused_a_second_time() {
    let store = open(EventStoreOptions::default());
    (0..5_000).for_each(|n| append(&store, n, Some(scattered(n))));
    store.seal_pending();
    for n in 0..5_000 {
        assert_eq!(store.get(scattered(n)).unwrap().view().timestamp(), n as i64 * 10);
    }
    assert!((5_000..6_000).all(|n| store.get(scattered(n)).is_err()));
    let twice = NewEvent { event_type: "t".into(), event_id: Some(scattered(77)), ..NewEvent::default() };
    assert!(store.append(&twice).is_err());
    // Of some 40 segments each id is in one, and now and then a filter takes another one for it.
    let plan = |n| {
        let id_range = Some((scattered(n), scattered(n)));
        store.explain(&Query { id_range, ..Query::default() }).unwrap()
    };
    let plans: Vec<_> = (0..1_000).map(|n| plan(n * 5)).collect();
    assert!(plans.iter().all(|plan| plan.index == "id" && plan.segments >= 1));
    let segments: u64 = plans.iter().map(|plan| plan.segments).sum();
    assert!(segments < 4_000, "{segments} for 1,000 ids");
}

#[test]
fn a_cursor_that_began_before_its_segments_were_sealed_goes_on() {
    for descending in [false, true] {
        let store =
            filled(EventStoreOptions { max_events: Some(1_000), ..EventStoreOptions::default() }, 1_000);
        let query = Query { types: vec!["common".into()], descending, ..Query::default() };
        let expected = seqs(&store, &query);
        let mut cursor = store.query(&query).unwrap();
        let mut found: Vec<u64> = (0..100).map(|_| cursor.next().unwrap().seq()).collect();
        store.seal_pending();
        found.extend((0..100).map(|_| cursor.next().unwrap().seq()));
        // All of it is dropped, and memory is used again, but for what the cursor holds.
        (1_000..5_000).for_each(|n| append(&store, n, None));
        store.seal_pending();
        while let Some(event) = cursor.next() {
            found.push(event.seq());
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn indexes_are_bounded_before_and_after_sealing() {
    let store = filled(EventStoreOptions { max_events: None, ..EventStoreOptions::default() }, 64 * 128 + 1);
    let slots = store.stats().segments * u64::from(SEGMENT);
    let chained = store.stats();
    assert!(chained.index_bytes <= INDEX_BYTES * slots + 1_024 * chained.segments, "{chained:?}");
    store.seal_pending();
    let sealed = store.stats();
    // Types and nodes have buckets of their own, whatever the size of a segment.
    assert!(sealed.index_bytes <= INDEX_BYTES * slots + 2 * 2 * 257 * sealed.segments, "{sealed:?}");
    assert_eq!((sealed.memory_bytes, sealed.pinned_bytes), (chained.memory_bytes, 0));
}

#[test]
fn a_memory_bound_holds_while_segments_are_sealed() {
    let limit = 512 << 10;
    let store = open(EventStoreOptions {
        max_events: None,
        max_memory_bytes: Some(limit),
        max_data_bytes: 1_000,
        ..EventStoreOptions::default()
    });
    let mut sealed = 0;
    for n in 0..20_000 {
        append(&store, n, None);
        if n.is_multiple_of(300) {
            sealed += store.seal_pending();
            let stats = store.stats();
            let used = stats.memory_bytes + stats.index_bytes + stats.pooled_bytes + stats.pinned_bytes;
            assert!(used <= limit, "{stats:?}");
        }
    }
    let last = Query { correlation_id: Some(b"c99".to_vec()), ..Query::default() };
    assert_eq!(seqs(&store, &last), seqs(&store, &Query { without_indexes: true, ..last.clone() }));
    assert!(sealed > 100, "{sealed} of 156 segments were sealed");
}

#[test]
fn an_instance_seals_by_itself_once_a_segment_is_full_and_not_before() {
    let mut options = Options::default();
    options.event_store.max_events = Some(2_000);
    options.event_store.shards = Some(1);
    let instance = Foundation::open(&options).unwrap();
    append(instance.events(), 0, None);
    assert!(instance.supervisor().status().is_empty(), "no thread before one is needed");
    (1..600).for_each(|n| append(instance.events(), n, None));
    let workers = instance.supervisor().status();
    assert_eq!(workers.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>(), ["events-seal"]);
    // A pid is looked up once there is an index that knows it.
    let query = Query { pid: Some("<0.5.0>".into()), ..Query::default() };
    let late = SystemClock.boot_ns() + 60_000_000_000;
    while instance.events().explain(&query).unwrap().index != "pid" {
        assert!(SystemClock.boot_ns() < late, "nothing was sealed");
        std::thread::yield_now();
    }
    assert_eq!(seqs(instance.events(), &query), [6, 306]);
    assert!(instance.close(Duration::from_mins(1)).unfinished.is_empty());
}

/// Hosts may supply any timestamp: a segment that is full has a list of its events in the order of time.
#[test]
fn times_that_came_in_no_order_are_found_by_halving_once_a_segment_is_sealed() {
    let store = open(EventStoreOptions::default());
    let events = 64 * u64::from(SEGMENT);
    for n in 0..events {
        // Each segment has every time between its first and its last, in no order.
        let (segment, at) = (n / u64::from(SEGMENT), n % u64::from(SEGMENT));
        let time = (segment * 100 + at * 37 % u64::from(SEGMENT)) as i64;
        store
            .append(&NewEvent { event_type: "t".into(), timestamp: Some(time), ..NewEvent::default() })
            .unwrap();
    }
    let range = Query { time_range: Some((110, 129)), ..Query::default() };
    // Two segments reach into the range, and both must be looked at from end to end.
    assert_eq!(store.explain(&range).unwrap().candidates, 2 * u64::from(SEGMENT));
    assert_eq!(store.seal_pending(), 63);
    let plan = store.explain(&range).unwrap();
    let found = seqs(&store, &range);
    assert_eq!((plan.index, plan.candidates, plan.segments), ("time", found.len() as u64, 2));
    assert_eq!(found.len(), 18 + 20);
    for (first, last) in [(110, 129), (95, 105), (0, 10_000), (6_000, 6_500), (-5, 0), (6_427, 9_999)] {
        for (order, descending) in
            [(Order::Timestamp, false), (Order::Timestamp, true), (Order::Seq, false), (Order::Seq, true)]
        {
            for (offset, limit) in [(0, None), (0, Some(3)), (4, Some(3))] {
                let time_range = Some((first, last));
                let query = Query { time_range, order, descending, offset, limit, ..Query::default() };
                let expected = seqs(&store, &Query { without_indexes: true, ..query.clone() });
                assert_eq!(seqs(&store, &query), expected, "{query:?}");
                assert_eq!(store.query(&query).unwrap().count().unwrap(), expected.len() as u64, "{query:?}");
            }
        }
    }
    let pruned = store.prune_before(120).unwrap();
    assert_eq!(seqs(&store, &Query::default()).len() as u64, events - pruned);
    assert_eq!(seqs(&store, &range).len(), 8 + 10);
    assert_eq!(store.query(&range).unwrap().count().unwrap(), 8 + 10);
}
