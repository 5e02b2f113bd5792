//! Two writers and readers at once: no torn event, no gap, nothing missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use elixirscope_foundation::events::{EventStore, EventStoreOptions, NewEvent, Order, Query};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};

fn open(options: EventStoreOptions) -> EventStore {
    EventStore::open(options, AnchoredClock::new(Arc::new(SystemClock), 0), Arc::default()).unwrap()
}

/// Data that tells a torn copy: one byte repeated, which id, correlation and length follow from.
fn data_of(id: u64) -> Vec<u8> {
    vec![b'a' + (id % 26) as u8; (id % 300) as usize]
}

/// Reads everything a query finds and checks each event in itself; the `seq`s.
fn read(store: &EventStore, query: &Query) -> Vec<u64> {
    let mut cursor = store.query(query).unwrap();
    let mut seqs = Vec::new();
    while let Some(event) = cursor.next() {
        let id = event.event_id();
        assert_eq!(event.data(), data_of(id), "event {id} is torn");
        assert_eq!(event.correlation_id(), Some(&(id % 7).to_le_bytes()[..]));
        assert_eq!(event.parent_id(), Some(id));
        seqs.push(event.seq());
    }
    seqs
}

fn write(store: &EventStore, ids: std::ops::Range<u64>, newest: &AtomicU64) {
    for start in ids.step_by(5) {
        // A batch of four and a single one.
        let ids: Vec<u64> = (start..start + 5).collect();
        let data: Vec<_> = ids.iter().map(|id| data_of(*id)).collect();
        let correlations: Vec<_> = ids.iter().map(|id| (id % 7).to_le_bytes()).collect();
        let events: Vec<_> = (0..5)
            .map(|i| NewEvent {
                event_type: if i % 2 == 0 { "even" } else { "odd" }.into(),
                event_id: Some(ids[i]),
                parent_id: Some(ids[i]),
                correlation_id: Some(&correlations[i]),
                data: &data[i],
                ..NewEvent::default()
            })
            .collect();
        let receipts = store.append_batch(&events[..4]).unwrap();
        assert!(receipts.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "a batch is in a row");
        let last = store.append(&events[4]).unwrap();
        newest.fetch_max(last.seq, Ordering::SeqCst);
        // Who has stored an event finds it, whatever the other writer is doing.
        let mine = Query { seq_range: Some((last.seq, last.seq)), ..Query::default() };
        assert_eq!(read(store, &mine), [last.seq]);
        assert_eq!(store.get(last.event_id).unwrap().view().seq(), last.seq);
    }
}

#[test]
fn readers_see_whole_events_without_gaps_up_to_what_was_stored() {
    const EACH: u64 = 6_000;
    let store = open(EventStoreOptions {
        max_events: None,
        shards: Some(2),
        segment_events: Some(64),
        segment_bytes: Some(16 << 10),
        ..EventStoreOptions::default()
    });
    let (newest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let rounds = std::thread::scope(|scope| {
        let writers = [1, 1_000_001].map(|first| {
            scope.spawn({
                let (store, newest) = (&store, &newest);
                move || write(store, first..first + EACH, newest)
            })
        });
        let readers = [Order::Seq, Order::Timestamp].map(|order| {
            let (store, newest, done) = (&store, &newest, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::SeqCst) {
                    let known = newest.load(Ordering::SeqCst);
                    // A window at the end: what is below is no longer changing.
                    let from = known.saturating_sub(2_000).max(1);
                    let query = Query { order, seq_range: Some((from, u64::MAX)), ..Query::default() };
                    let mut seqs = read(store, &query);
                    seqs.sort_unstable();
                    assert!(
                        seqs.last().copied().unwrap_or(0) >= known,
                        "event {known} was stored and not found"
                    );
                    let dense: Vec<u64> = (from..from + seqs.len() as u64).collect();
                    assert_eq!(seqs, dense, "there is a gap");
                    rounds += 1;
                }
                rounds
            })
        });
        let written = writers.map(ScopedJoinHandle::join);
        done.store(true, Ordering::SeqCst);
        assert!(written.iter().all(Result::is_ok));
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    assert_eq!(read(&store, &Query::default()).len() as u64, 2 * EACH);
    let stats = store.stats();
    assert_eq!((stats.events, stats.next_seq, stats.frontier), (2 * EACH, 2 * EACH + 1, 2 * EACH + 1));
}

#[test]
fn a_full_store_recycles_under_readers() {
    const EACH: u64 = 20_000;
    let store = open(EventStoreOptions {
        max_events: Some(1_000),
        shards: Some(2),
        segment_events: Some(64),
        segment_bytes: Some(16 << 10),
        ..EventStoreOptions::default()
    });
    let (newest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers = [1, 1_000_001].map(|first| {
            let (store, newest) = (&store, &newest);
            scope.spawn(move || write_full(store, first..first + EACH, newest))
        });
        let reader = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                for (order, descending) in [(Order::Timestamp, true), (Order::Seq, false)] {
                    let seqs = read(&store, &Query { order, descending, ..Query::default() });
                    assert!(seqs.len() <= 1_000);
                    read(
                        &store,
                        &Query { correlation_id: Some(3_u64.to_le_bytes().to_vec()), ..Query::default() },
                    );
                }
                store.prune_before(i64::MIN).unwrap();
                assert!(store.stats().events <= 1_000);
            }
        });
        let written = writers.map(ScopedJoinHandle::join);
        done.store(true, Ordering::SeqCst);
        assert!(written.iter().all(Result::is_ok));
        reader.join().unwrap();
    });
    let stats = store.stats();
    assert_eq!((stats.events, stats.stored), (1_000, 2 * EACH));
    assert_eq!(stats.dropped_oldest, 2 * EACH - 1_000);
    // 16 segments of 64 events hold the store; a few more are active or partly below the mark.
    assert!(stats.segments <= 24, "{stats:?}");
}

fn write_full(store: &EventStore, ids: std::ops::Range<u64>, newest: &AtomicU64) {
    for id in ids {
        let (data, correlation) = (data_of(id), (id % 7).to_le_bytes());
        let event = NewEvent {
            event_type: "one".into(),
            event_id: Some(id),
            parent_id: Some(id),
            correlation_id: Some(&correlation),
            data: &data,
            ..NewEvent::default()
        };
        newest.fetch_max(store.append(&event).unwrap().seq, Ordering::SeqCst);
    }
}

#[test]
fn of_appends_of_one_id_exactly_one_is_taken() {
    let store = open(EventStoreOptions { shards: Some(2), ..EventStoreOptions::default() });
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for id in 1..=3_000 {
                    let event =
                        NewEvent { event_type: "t".into(), event_id: Some(id), ..NewEvent::default() };
                    taken.fetch_add(u64::from(store.append(&event).is_ok()), Ordering::SeqCst);
                }
            });
            // And some that draw theirs meanwhile, which must not meet those either.
            scope.spawn(|| {
                for _ in 0..3_000 {
                    let event = NewEvent { event_type: "t".into(), ..NewEvent::default() };
                    store.append(&event).unwrap();
                }
            });
        }
    });
    let mut cursor = store.query(&Query::default()).unwrap();
    let mut ids = Vec::new();
    while let Some(event) = cursor.next() {
        ids.push(event.event_id());
    }
    assert_eq!(ids.len() as u64, 6_000 + taken.load(Ordering::SeqCst));
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "an id is there twice");
    assert!((1..=3_000).all(|id| ids.binary_search(&id).is_ok()));
}

#[test]
fn a_query_of_a_full_store_finds_a_full_store() {
    const HELD: u64 = 8;
    let store = open(EventStoreOptions {
        max_events: Some(HELD),
        shards: Some(2),
        segment_events: Some(4),
        segment_bytes: Some(1024),
        ..EventStoreOptions::default()
    });
    let event = NewEvent { event_type: "t".into(), ..NewEvent::default() };
    store.append_batch(&[event; HELD as usize]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                store.append(&event).unwrap();
            }
        });
        let read = scope.spawn(|| {
            for _ in 0..20_000 {
                let mut cursor = store.query(&Query { order: Order::Seq, ..Query::default() }).unwrap();
                let mut seqs = Vec::new();
                while let Some(event) = cursor.next() {
                    seqs.push(event.seq());
                }
                // What was dropped while the query was being set up must not leave it short.
                let first = seqs.first().copied().unwrap_or(0);
                assert_eq!(seqs, (first..first + HELD).collect::<Vec<_>>());
            }
        });
        let read = read.join();
        done.store(true, Ordering::SeqCst);
        assert!(read.is_ok());
    });
}
