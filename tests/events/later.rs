//! Appending for hosts that prefer not to wait.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    AsyncStats, Encoding, EventStore, EventStoreOptions, NewEvent, Order, Overflow, Query,
};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use elixirscope_foundation::runtime::supervisor::WorkerState;

const LONG: Duration = Duration::from_secs(30);
const WORKER: &str = "events-append";

fn open(event_store: &str) -> Foundation {
    Foundation::open(&Options::from_json(&format!(r#"{{"event_store": {event_store}}}"#)).unwrap()).unwrap()
}

fn tick(id: u64) -> NewEvent<'static> {
    NewEvent { event_type: "tick".into(), event_id: Some(id), data: b"{}", ..NewEvent::default() }
}

fn ids(store: &EventStore) -> Vec<u64> {
    let query = Query { order: Order::Seq, types: vec!["tick".to_owned()], ..Query::default() };
    let mut found = store.query(&query).unwrap();
    std::iter::from_fn(|| found.next().map(|event| event.event_id())).collect()
}

/// What is known of every event that was handed in.
fn fates(later: &AsyncStats) -> u64 {
    later.waiting
        + later.stored
        + later.refused_full
        + later.refused_invalid
        + later.refused_closed
        + later.failed_duplicate
        + later.failed_full
        + later.failed_other
        + later.dropped_newest
        + later.dropped_at_close
}

#[test]
fn events_are_stored_as_if_they_had_been_appended_when_they_were_handed_in() {
    let app = open("{}");
    let store = app.events();
    assert!(app.supervisor().status().is_empty(), "nobody asked for a thread");
    let before = app.clock().now_ns();
    let full = NewEvent {
        event_type: "order_paid".into(),
        timestamp: Some(-5),
        wall_time: Some(7),
        node: "n@h",
        pid: "<0.1.0>",
        correlation_id: Some(b"\xff"),
        parent_id: Some(3),
        encoding: Encoding::Raw,
        data: b"\x00\xff",
        ..NewEvent::default()
    };
    let first = store.append_async(&full).unwrap();
    let bare = NewEvent { event_type: store.event_type("bare").unwrap().into(), ..NewEvent::default() };
    let second = store.append_async(&bare).unwrap();
    store.flush_async(LONG).unwrap();
    let after = app.clock().now_ns();
    assert!(app.supervisor().wait_state(WORKER, WorkerState::Running, LONG));

    let found = store.get(first).unwrap();
    let event = found.view();
    assert_eq!((event.event_type(), event.timestamp(), event.wall_time()), ("order_paid", -5, 7));
    assert_eq!((event.node(), event.pid(), event.parent_id()), ("n@h", "<0.1.0>", Some(3)));
    assert_eq!((event.correlation_id(), event.data()), (Some(&b"\xff"[..]), &b"\x00\xff"[..]));
    assert_eq!(event.encoding(), Encoding::Raw);
    let bare = store.get(second).unwrap();
    assert!((before..=after).contains(&bare.view().timestamp()));
    assert_eq!((bare.view().correlation_id(), bare.view().encoding()), (None, Encoding::Json));
    assert!(bare.view().seq() > event.seq());
    assert!(app.close(LONG).unfinished.is_empty());
}

#[test]
fn what_waits_is_bounded_and_every_event_has_a_fate() {
    let app = open(
        r#"{"max_events": 1, "overflow_strategy": "block", "block_timeout_ms": 3600000, "async_queue_events": 3}"#,
    );
    let store = app.events();
    // The worker waits for room with the second one, so that three more fill the queue.
    for id in 1..=2 {
        store.append_async(&tick(id)).unwrap();
    }
    while store.stats().later.stored < 1 || !app.supervisor().wait_state(WORKER, WorkerState::Running, LONG) {
        std::thread::yield_now();
    }
    let mut taken = 2;
    let error = loop {
        match store.append_async(&tick(taken + 1)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.context()["limit"].as_u64()), (Code::StoreFull, Some(3)));
    assert_eq!(taken, 4, "one is stored and three wait, one of them with the worker");
    assert_eq!(store.flush_async(Duration::from_millis(1)).unwrap_err().code(), Code::Timeout);
    let later = store.stats().later;
    assert_eq!((later.offered, later.waiting, later.refused_full, later.max_events), (5, 3, 1, 3));
    assert_eq!(fates(&later), later.offered);
    // Room is made again and again until all are stored.
    while store.stats().later.waiting > 0 {
        store.prune_before(i64::MAX).unwrap();
    }
    store.flush_async(LONG).unwrap();
    let stats = store.stats();
    assert_eq!((stats.later.stored, stats.stored, stats.later.waiting_bytes), (4, 4, 0));
    assert_eq!((fates(&stats.later), app.close(LONG).unstored_events), (5, 0));
}

#[test]
fn what_is_wrong_is_said_at_once_and_what_turns_out_later_is_counted() {
    for (strategy, full, dropped) in [("error", 1, 0), ("drop_newest", 0, 1), ("drop_oldest", 0, 0)] {
        let app = open(&format!(r#"{{"max_events": 2, "overflow_strategy": "{strategy}"}}"#));
        let store = app.events();
        let other = open("{}").events().event_type("tick").unwrap();
        for wrong in [
            NewEvent { event_type: "".into(), ..tick(1) },
            NewEvent { event_type: other.into(), ..tick(1) },
            NewEvent { event_id: Some(0), ..tick(1) },
            NewEvent { data: b"\xff", ..tick(1) },
        ] {
            let error = store.append_async(&wrong).unwrap_err();
            assert_eq!(error.code(), store.append(&wrong).unwrap_err().code());
        }
        for id in [1, 1, 2, 3] {
            store.append_async(&tick(id)).unwrap();
        }
        store.flush_async(LONG).unwrap();
        let later = store.stats().later;
        assert_eq!((later.refused_invalid, later.failed_duplicate), (4, 1), "{strategy}");
        assert_eq!((later.failed_full, later.dropped_newest), (full, dropped), "{strategy}");
        assert_eq!((later.offered, later.stored), (8, 3 - full - dropped), "{strategy}");
        assert_eq!(fates(&later), later.offered, "{strategy}");
        let text = app.prometheus();
        assert!(text.contains(&format!(
            "esf_events_async_lost_total{{reason=\"not_stored\"}} {}",
            5 + full + dropped
        )));
    }
}

#[test]
fn events_of_many_threads_are_each_stored_once_and_in_the_order_of_their_thread() {
    let app = open(r#"{"max_events": 1000000, "async_queue_events": 256}"#);
    let store = app.events();
    let (threads, each) = (4_u64, 5_000_u64);
    let refused: u64 = std::thread::scope(|scope| {
        let run = |thread| {
            move || (0..each).filter(|n| store.append_async(&tick(1 + thread * each + n)).is_err()).count()
        };
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        all.into_iter().map(|thread| thread.join().unwrap() as u64).sum()
    });
    store.flush_async(LONG).unwrap();
    let stats = store.stats();
    assert_eq!((stats.later.offered, stats.later.refused_full), (threads * each, refused));
    assert_eq!((stats.later.stored, stats.stored), (threads * each - refused, threads * each - refused));
    let stored = ids(store);
    for thread in 0..threads {
        let of_thread: Vec<u64> = stored.iter().copied().filter(|id| (id - 1) / each == thread).collect();
        assert!(of_thread.is_sorted_by(|a, b| a < b), "thread {thread}");
    }
}

#[test]
fn closing_stores_what_waits() {
    let app = open(r#"{"max_events": 1000000}"#);
    let store = Arc::clone(app.events());
    for id in 1..=5_000 {
        store.append_async(&tick(id)).unwrap();
    }
    let report = app.close(LONG);
    assert_eq!((report.unstored_events, report.unfinished.len()), (0, 0));
    assert_eq!(ids(&store), (1..=5_000).collect::<Vec<_>>());
    assert_eq!(store.append_async(&tick(9_999)).unwrap_err().code(), Code::Closing);
    assert_eq!(store.stats().later.refused_closed, 1);
}

#[test]
fn closing_says_what_it_could_not_store_by_its_deadline() {
    let app = open(r#"{"max_events": 1, "overflow_strategy": "block", "block_timeout_ms": 3600000}"#);
    let store = Arc::clone(app.events());
    for id in 1..=10 {
        store.append_async(&tick(id)).unwrap();
    }
    while store.stats().later.stored < 1 {
        std::thread::yield_now();
    }
    let report = app.close(Duration::from_millis(20));
    assert_eq!((report.unstored_events, report.unfinished), (9, vec![WORKER.to_owned()]));
    // The one that the worker holds finds room; the others are dropped.
    store.prune_before(i64::MAX).unwrap();
    store.flush_async(LONG).unwrap();
    let later = store.stats().later;
    assert_eq!((later.offered, later.stored, later.dropped_at_close, later.waiting), (10, 2, 8, 0));
}

#[test]
fn without_a_worker_the_callers_store_themselves() {
    // A store by itself, and an instance whose threads rest for a fork.
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000)), 0);
    let alone = EventStore::open(EventStoreOptions::default(), clock, Arc::default()).unwrap();
    for id in 1..=200 {
        alone.append_async(&tick(id)).unwrap();
    }
    assert_eq!(ids(&alone).len(), 200);

    let app = open("{}");
    let store = app.events();
    store.append_async(&tick(1)).unwrap();
    store.flush_async(LONG).unwrap();
    assert!(app.supervisor().quiesce(LONG).is_empty());
    for id in 2..=200 {
        store.append_async(&tick(id)).unwrap();
    }
    store.flush_async(LONG).unwrap();
    assert_eq!(ids(store).len(), 200);
    app.supervisor().resume();
    store.append_async(&tick(201)).unwrap();
    store.flush_async(LONG).unwrap();
    assert_eq!(ids(store), (1..=201).collect::<Vec<_>>());
    assert!(app.close(LONG).unfinished.is_empty());
}

#[test]
fn limits_that_cannot_work_are_refused() {
    for (options, named) in [
        (r#"{"async_queue_bytes": 65536}"#, "max_data_bytes"),
        (r#"{"async_queue_events": 99999999}"#, "async_queue_events"),
    ] {
        let options = Options::from_json(&format!(r#"{{"event_store": {options}}}"#));
        let error = options.and_then(|options| Foundation::open(&options).map(|_| ())).unwrap_err();
        assert!(error.code() == Code::InvalidInput && error.message().contains(named), "{error}");
    }
    // The largest event has room in the smallest queue.
    let app = open(r#"{"max_data_bytes": 60000, "async_queue_bytes": 65536}"#);
    let data = vec![b' '; 60_000];
    let names = "x".repeat(255);
    let largest = NewEvent {
        data: &data,
        node: &names,
        pid: &names,
        correlation_id: Some(names.as_bytes()),
        ..tick(1)
    };
    app.events().append_async(&largest).unwrap();
    app.events().flush_async(LONG).unwrap();
    assert_eq!(app.events().get(1).unwrap().view().data().len(), 60_000);
}

#[test]
fn an_event_sent_again_to_be_stored_later_is_known_whatever_its_time_of_sending() {
    let foundation = open(r#"{"on_duplicate": "return"}"#);
    let store = foundation.events();
    let event = tick(7);
    let first = store.append(&event).unwrap();
    store.append_async(&event).unwrap();
    store.append_async(&tick(8)).unwrap();
    store.append_async(&tick(8)).unwrap();
    store.flush_async(Duration::from_secs(5)).unwrap();
    let stats = store.stats();
    assert_eq!((stats.later.stored, stats.later.failed_duplicate, stats.repeated), (3, 0, 2), "{stats:?}");
    assert_eq!(store.get(7).unwrap().view().seq(), first.seq);
    // What it states must be the same all the same.
    let other = NewEvent { timestamp: Some(1), ..event };
    store.append_async(&other).unwrap();
    store.flush_async(Duration::from_secs(5)).unwrap();
    assert_eq!(store.stats().later.failed_duplicate, 1);
}

#[test]
fn who_stores_for_a_missing_worker_waits_for_room_no_longer_than_it_may() {
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000)), 0);
    let options = EventStoreOptions {
        max_events: Some(1),
        overflow: Overflow::Block,
        block_timeout: LONG,
        ..EventStoreOptions::default()
    };
    let store = EventStore::open(options, clock, Arc::default()).unwrap();
    for id in 1..=2 {
        store.append_async(&tick(id)).unwrap();
    }
    assert_eq!(store.flush_async(Duration::from_millis(50)).unwrap_err().code(), Code::Timeout);
    assert_eq!((ids(&store), store.stats().later.waiting), (vec![1], 1), "it waits on");
    assert_eq!(store.prune_before(i64::MAX).unwrap(), 1);
    store.flush_async(LONG).unwrap();
    assert_eq!(ids(&store), [2]);
    assert_eq!(fates(&store.stats().later), 2);
}
