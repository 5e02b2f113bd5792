//! Bounds on age and memory, on a clock that the tests move.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Cleaned, Cleanup, EventStats, EventStore, EventStoreOptions, NewEvent, Overflow, Query,
};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;
const MEMORY: u64 = 128 << 10;

fn open(options: EventStoreOptions) -> (EventStore, Arc<SimClock>) {
    let clock = Arc::new(SimClock::new(1_000 * SECOND));
    let store = EventStore::open(options, AnchoredClock::new(clock.clone(), 0), Arc::default()).unwrap();
    (store, clock)
}

/// Segments of a few KiB, of which the bound allows about thirty.
fn bounded(overflow: Overflow, cleanup: Cleanup) -> EventStore {
    let options = EventStoreOptions {
        max_events: None,
        max_memory_bytes: Some(MEMORY),
        max_data_bytes: 8 << 10,
        shards: Some(1),
        segment_events: Some(8),
        segment_bytes: Some(4 << 10),
        block_timeout: Duration::ZERO,
        overflow,
        cleanup,
        ..EventStoreOptions::default()
    };
    open(options).0
}

fn event(data: &[u8]) -> NewEvent<'_> {
    NewEvent { event_type: "tick".into(), data, ..NewEvent::default() }
}

fn seqs(store: &EventStore) -> Vec<u64> {
    let mut cursor = store.query(&Query::default()).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.next() {
        found.push(event.seq());
    }
    found
}

/// The books balance, and memory is within its bound.
fn check(store: &EventStore) -> EventStats {
    let stats = store.stats();
    let gone = stats.dropped_oldest + stats.pruned + stats.expired + stats.evicted;
    assert_eq!(stats.stored, stats.events + gone, "{stats:?}");
    assert_eq!(stats.offered, stats.stored + stats.refused + stats.dropped_newest + stats.repeated);
    let used = stats.memory_bytes + stats.index_bytes + stats.pooled_bytes + stats.pinned_bytes;
    assert!(used <= stats.max_memory_bytes.unwrap_or(u64::MAX), "{stats:?}");
    stats
}

#[test]
fn events_expire_to_the_nanosecond() {
    let options = EventStoreOptions {
        max_age: Some(Duration::from_mins(1)),
        segment_events: Some(4),
        ..EventStoreOptions::default()
    };
    let (store, clock) = open(options);
    assert!(store.needs_cleaning());
    for _ in 0..10 {
        store.append(&event(b"")).unwrap();
        clock.advance(SECOND);
    }
    assert_eq!(store.clean_up(), Cleaned { expired: 0, evicted: 0 });
    // The first is 60 s old now, which is not older.
    clock.advance(50 * SECOND);
    assert_eq!(store.clean_up().expired, 0);
    clock.advance(1);
    assert_eq!(store.clean_up().expired, 1);
    clock.advance(5 * SECOND);
    assert_eq!(store.clean_up().expired, 5);
    assert_eq!(seqs(&store), [7, 8, 9, 10]);
    let stats = check(&store);
    assert_eq!((stats.expired, stats.pruned, stats.events, stats.max_age_ms), (6, 0, 4, Some(60_000)));
}

#[test]
fn memory_is_bounded_and_the_oldest_go_first() {
    let store = bounded(Overflow::DropOldest, Cleanup::Oldest);
    for _ in 0..1_000 {
        store.append(&event(&[b' '; 200])).unwrap();
    }
    let stats = check(&store);
    assert!(stats.evicted > 500 && stats.events > 50, "{stats:?}");
    assert_eq!((stats.stored, stats.dropped_oldest, stats.refused), (1_000, 0, 0));
    assert_eq!(seqs(&store), (1_001 - stats.events..=1_000).collect::<Vec<_>>());
    // A clean-up leaves an eighth of the memory to the next appends, to the segment of 8 events.
    let cleaned = store.clean_up();
    assert!(cleaned.evicted > 0 && cleaned.evicted <= stats.events / 8 + 8, "{cleaned:?}");
    assert_eq!(store.clean_up().evicted, 0);
    check(&store);
}

#[test]
fn what_can_never_fit_removes_nothing() {
    let store = bounded(Overflow::DropOldest, Cleanup::Oldest);
    for _ in 0..50 {
        store.append(&event(b"")).unwrap();
    }
    let large = [b' '; 7 << 10];
    let error = store.append_batch(&[event(&large); 20]).unwrap_err();
    assert_eq!(error.code(), Code::StoreFull, "{error}");
    assert_eq!(store.stats().events, 50);
    store.append_batch(&[event(&large); 10]).unwrap();
    check(&store);
}

#[test]
fn a_store_that_drops_nothing_is_full_when_its_memory_is() {
    for overflow in [Overflow::Error, Overflow::Block, Overflow::DropNewest] {
        let store = bounded(overflow, Cleanup::Oldest);
        let full = loop {
            match store.append(&event(&[b' '; 200])) {
                Ok(receipt) if receipt.seq > 0 => {}
                other => break other,
            }
        };
        let stats = check(&store);
        assert!(stats.events > 50 && stats.evicted == 0, "{stats:?}");
        match full {
            Ok(_) => assert_eq!((overflow, stats.dropped_newest), (Overflow::DropNewest, 1)),
            Err(error) => assert_eq!((error.code(), stats.refused_full), (Code::StoreFull, 1)),
        }
        assert!(store.prune_before(i64::MAX).unwrap() > 0);
        assert!(store.append(&event(&[b' '; 200])).unwrap().seq > 0);
    }
}

#[test]
fn pinned_segments_count_until_they_are_let_go() {
    let store = bounded(Overflow::DropOldest, Cleanup::Oldest);
    for _ in 0..40 {
        store.append(&event(b"")).unwrap();
    }
    let mut cursor = store.query(&Query::default()).unwrap();
    assert!(cursor.next().is_some());
    for _ in 0..1_000 {
        store.append(&event(&[b' '; 200])).unwrap();
        check(&store);
    }
    let pinned = store.stats().pinned_bytes;
    assert!(pinned > 0);
    let mut left = 0;
    while cursor.next().is_some() {
        left += 1;
    }
    assert_eq!(left, 39, "a cursor shows what it found");
    drop(cursor);
    assert_eq!(check(&store).pinned_bytes, 0);
}

#[test]
fn the_segment_that_nobody_reads_goes_first() {
    let store = bounded(Overflow::Error, Cleanup::Lru);
    while store.append(&event(&[b' '; 200])).is_ok() {}
    let before = seqs(&store);
    // The oldest segment is in use, the next one is not.
    store.append(&event(&[b' '; 200])).unwrap_err();
    for id in 9..=*before.last().unwrap() {
        store.get(id).unwrap();
    }
    for id in 1..=8 {
        store.get(id).unwrap();
    }
    let cleaned = store.clean_up();
    assert!(cleaned.evicted >= 8 && cleaned.evicted.is_multiple_of(8), "{cleaned:?}");
    let gone = 9..9 + cleaned.evicted;
    let left: Vec<u64> = before.into_iter().filter(|seq| !gone.contains(seq)).collect();
    assert_eq!(seqs(&store), left);
    assert_eq!(check(&store).evicted, cleaned.evicted);
    store.append(&event(&[b' '; 200])).unwrap();
}

#[test]
fn a_bound_that_no_event_fits_under_is_refused() {
    let options = EventStoreOptions { max_memory_bytes: Some(3_999_999), ..EventStoreOptions::default() };
    let clock = AnchoredClock::new(Arc::new(SimClock::new(0)), 0);
    let error = EventStore::open(options, clock, Arc::default()).unwrap_err();
    assert_eq!(error.context()["option"], "max_memory_bytes");
}

#[test]
fn an_instance_cleans_up_by_itself_only_where_there_is_a_bound() {
    let workers = |options: &str| {
        let foundation = Foundation::open(&Options::from_json(options).unwrap()).unwrap();
        foundation.status().workers.into_iter().map(|worker| worker.name).collect::<Vec<_>>()
    };
    assert!(workers("{}").is_empty());
    assert!(workers(r#"{"config": {"storage": {"hot": {"max_age_seconds": 3600}}}}"#).is_empty());
    for options in [
        r#"{"config": {"storage": {"hot": {"max_age_seconds": 60}}}}"#,
        r#"{"event_store": {"max_age_seconds": 3600}}"#,
        r#"{"event_store": {"max_memory_mb": 64}}"#,
    ] {
        assert_eq!(workers(options), ["events-prune"], "{options}");
    }

    let options = r#"{"event_store": {"max_age_seconds": 60, "prune_interval_ms": 1}}"#;
    let clock = Arc::new(SimClock::new(SECOND));
    let foundation = Foundation::open_with(&Options::from_json(options).unwrap(), clock.clone()).unwrap();
    foundation.events().append(&event(b"")).unwrap();
    clock.advance(61 * SECOND);
    // Ends with the test's time limit if the worker does nothing.
    while foundation.events().stats().expired == 0 {
        std::thread::yield_now();
    }
    assert!(foundation.prometheus().contains("\nesf_events_removed_total{reason=\"max_age\"} 1\n"));
    assert!(foundation.close(Duration::from_secs(20)).unfinished.is_empty());
}

#[test]
fn threads_that_fill_memory_keep_it_bounded() {
    let options = EventStoreOptions {
        max_events: None,
        max_memory_bytes: Some(2 * MEMORY),
        max_data_bytes: 4 << 10,
        shards: Some(2),
        segment_events: Some(8),
        segment_bytes: Some(4 << 10),
        ..EventStoreOptions::default()
    };
    let (store, _clock) = open(options);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    store.append(&event(&[b' '; 200])).unwrap();
                }
            });
        }
        for _ in 0..100 {
            let seqs = seqs(&store);
            assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
            store.clean_up();
        }
    });
    let stats = check(&store);
    assert_eq!((stats.stored, stats.refused), (4_000, 0));
    assert_eq!(seqs(&store).len() as u64, stats.events);
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Batch(usize, usize),
    Prune(i64),
    Tick(i64),
    Read(u64),
    CleanUp,
    Pin,
    Unpin,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..3_000).prop_map(Step::Append),
        2 => (0_usize..20, 0_usize..1_500).prop_map(|(count, size)| Step::Batch(count, size)),
        1 => (0_i64..100).prop_map(Step::Prune),
        2 => (0_i64..10).prop_map(Step::Tick),
        2 => (1_u64..100).prop_map(Step::Read),
        1 => Just(Step::CleanUp),
        1 => Just(Step::Pin),
        1 => Just(Step::Unpin),
    ]
}

proptest! {
    #![proptest_config(crate::property::tried(200))]

    #[test]
    fn the_books_balance_whatever_happens(
        overflow in prop_oneof![
            Just(Overflow::DropOldest),
            Just(Overflow::DropNewest),
            Just(Overflow::Error),
            Just(Overflow::Block),
        ],
        cleanup in prop_oneof![Just(Cleanup::Oldest), Just(Cleanup::Lru)],
        max_events in prop::option::of(1_u64..60),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let (store, clock) = open(EventStoreOptions {
            max_events,
            max_age: Some(Duration::from_secs(40)),
            max_memory_bytes: Some(MEMORY / 2),
            max_data_bytes: 4 << 10,
            shards: Some(1),
            segment_events: Some(8),
            segment_bytes: Some(4 << 10),
            block_timeout: Duration::ZERO,
            overflow,
            cleanup,
            ..EventStoreOptions::default()
        });
        let (mut offered, mut pins) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Append(size) => {
                    offered += 1;
                    let _ = store.append(&event(&vec![b' '; size]));
                }
                Step::Batch(count, size) => {
                    offered += count as u64;
                    let data = vec![b' '; size];
                    let _ = store.append_batch(&vec![event(&data); count]);
                }
                Step::Prune(second) => {
                    store.prune_before((1_000 + second) * SECOND).unwrap();
                }
                Step::Tick(seconds) => clock.advance(seconds * SECOND),
                Step::Read(id) => drop(store.get(id)),
                Step::CleanUp => drop(store.clean_up()),
                Step::Pin => pins.push(store.query(&Query::default()).unwrap()),
                Step::Unpin => drop(pins.pop()),
            }
            let stats = check(&store);
            assert_eq!(stats.offered, offered);
            assert!(max_events.is_none_or(|max| stats.events <= max));
            assert_eq!(seqs(&store).len() as u64, stats.events, "{stats:?}");
        }
    }
}
