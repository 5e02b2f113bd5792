//! What a full store does, and events that are sent again.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    ACCEPTED, DROPPED, EventStore, EventStoreOptions, NewEvent, OnDuplicate, Overflow, Query, Receipt,
};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use serde_json::json;

fn open(options: EventStoreOptions) -> EventStore {
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000)), 0);
    EventStore::open(options, clock, Arc::default()).unwrap()
}

fn full(overflow: Overflow, block_timeout: Duration) -> EventStore {
    let store = open(EventStoreOptions {
        max_events: Some(3),
        overflow,
        block_timeout,
        ..EventStoreOptions::default()
    });
    for time in 0..3 {
        store.append(&at(time)).unwrap();
    }
    store
}

fn at(time: i64) -> NewEvent<'static> {
    NewEvent { event_type: "tick".into(), timestamp: Some(time), ..NewEvent::default() }
}

#[test]
fn a_store_that_refuses_says_how_full_it_is_and_goes_on_when_there_is_room() {
    let store = full(Overflow::Error, Duration::ZERO);
    let error = store.append(&at(3)).unwrap_err();
    assert_eq!((error.code(), &error.context()["limit"]), (Code::StoreFull, &json!(3)));
    assert_eq!(store.append_batch(&[at(3), at(4)]).unwrap_err().code(), Code::StoreFull);
    assert!(store.append_batch(&[]).is_ok());
    assert_eq!(store.prune_before(2).unwrap(), 2);
    assert_eq!(store.append_batch(&[at(3), at(4)]).unwrap().len(), 2);
    assert!(store.append(&at(5)).is_err());
    let stats = store.stats();
    assert_eq!((stats.events, stats.stored, stats.refused, stats.refused_full), (3, 5, 4, 4));
    assert_eq!(stats.offered, 9);
}

#[test]
fn an_event_that_is_dropped_for_being_new_gets_a_receipt_that_says_so() {
    let store = full(Overflow::DropNewest, Duration::ZERO);
    let receipt = store.append(&at(3)).unwrap();
    assert_eq!((receipt.level, receipt.seq), (DROPPED, 0));
    assert_eq!(store.get(receipt.event_id).unwrap_err().code(), Code::DataNotFound);
    let named = NewEvent { event_id: Some(77), ..at(3) };
    assert_eq!(store.append(&named).unwrap(), Receipt { level: DROPPED, event_id: 77, seq: 0 });
    let invalid = store.append(&NewEvent { parent_id: Some(0), ..at(3) }).unwrap_err();
    assert_eq!(invalid.code(), Code::InvalidInput, "what is wrong is refused, not dropped");
    let stats = store.stats();
    assert_eq!((stats.events, stats.dropped_newest, stats.refused, stats.offered), (3, 2, 1, 6));
}

#[test]
fn an_append_that_waits_goes_on_as_soon_as_there_is_room() {
    let store = full(Overflow::Block, Duration::from_mins(5));
    assert_eq!(store.append_at_once(&at(3)).unwrap_err().code(), Code::StoreFull);
    assert_eq!(store.append_batch_at_once(&[at(3)]).unwrap_err().code(), Code::StoreFull);
    let hopeless = store.append_batch(&[at(3); 4]).unwrap_err();
    assert_eq!(hopeless.code(), Code::StoreFull, "four never fit where three do");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| store.append(&at(3)).unwrap());
        // It is stored only once this has made room, whichever of the two comes first.
        while store.prune_before(1).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(waits.join().unwrap().level, ACCEPTED);
    });
    assert_eq!(store.stats().events, 3);
}

#[test]
fn an_append_waits_no_longer_than_it_may() {
    let store = full(Overflow::Block, Duration::from_millis(2));
    let error = store.append(&at(3)).unwrap_err();
    assert_eq!(error.code(), Code::StoreFull);
    assert!(error.message().contains("2 ms"), "{error}");
    assert_eq!(store.stats().refused_full, 1);
}

#[test]
fn threads_that_wait_all_get_their_turn() {
    let store = open(EventStoreOptions {
        max_events: Some(8),
        overflow: Overflow::Block,
        block_timeout: Duration::from_mins(5),
        segment_events: Some(4),
        ..EventStoreOptions::default()
    });
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..100 {
                        store.append(&at(0)).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert!(store.stats().events <= 8);
            store.prune_before(1).unwrap();
        }
    });
    store.prune_before(1).unwrap();
    let stats = store.stats();
    assert_eq!((stats.stored, stats.pruned, stats.events, stats.refused), (400, 400, 0, 0));
}

#[test]
fn changes_of_configuration_are_stored_in_a_full_store() {
    for strategy in ["drop_oldest", "drop_newest", "error", "block"] {
        let options = format!(r#"{{"event_store": {{"max_events": 2, "overflow_strategy": "{strategy}"}}}}"#);
        let foundation = Foundation::open(&Options::from_json(&options).unwrap()).unwrap();
        for time in 0..2 {
            foundation.events().append(&at(time)).unwrap();
        }
        let path = "ai.planning.sampling_rate";
        for step in 0..1_100_u32 {
            foundation.config().update(path, json!(f64::from(step % 2))).unwrap();
        }
        foundation.config().reset().unwrap();
        let newest = Query { descending: true, limit: Some(1), ..Query::default() };
        let mut found = foundation.events().query(&newest).unwrap();
        assert_eq!(found.next().unwrap().event_type(), "config_reset");
        let stats = foundation.events().stats();
        let most = if strategy == "drop_oldest" { 2 } else { 2 + 1_024 };
        assert_eq!((stats.stored, stats.events), (1_103, most), "{strategy}");
        assert_eq!(stats.dropped_oldest, 1_103 - most);
        let metrics = foundation.prometheus();
        assert!(metrics.contains("\nesf_events_offered_total 1103\n"), "{metrics}");
    }
}

#[test]
fn an_event_sent_again_gets_the_receipt_of_the_first_time() {
    let store = open(EventStoreOptions {
        on_duplicate: OnDuplicate::Return,
        overflow: Overflow::Error,
        max_events: Some(2),
        ..EventStoreOptions::default()
    });
    let event = NewEvent { event_id: Some(9), data: b"{}", correlation_id: Some(b"c"), ..at(5) };
    let first = store.append(&event).unwrap();
    assert_eq!(store.append(&event).unwrap(), first);
    let kind = store.event_type("tick").unwrap();
    assert_eq!(store.append(&NewEvent { event_type: kind.into(), timestamp: None, ..event }).unwrap(), first);
    let cases = [
        ("data", NewEvent { data: b"{ }", ..event }),
        ("event_type", NewEvent { event_type: "tock".into(), ..event }),
        ("timestamp", NewEvent { timestamp: Some(6), ..event }),
        ("correlation_id", NewEvent { correlation_id: None, ..event }),
        ("parent_id", NewEvent { parent_id: Some(1), ..event }),
        ("node", NewEvent { node: "n", ..event }),
        ("pid", NewEvent { pid: "p", ..event }),
    ];
    for (field, other) in cases {
        let error = store.append(&other).unwrap_err();
        assert_eq!((error.code(), &error.context()["field"]), (Code::DuplicateEventId, &json!(field)));
    }

    let new = NewEvent { event_id: Some(10), ..at(6) };
    let receipts = store.append_batch(&[event, new]).unwrap();
    assert_eq!((receipts[0], receipts[1].seq), (first, 2));
    // The store is full now: what is stored already needs no room.
    assert_eq!(store.append_batch(&[new, event]).unwrap(), [receipts[1], first]);
    assert_eq!(store.append(&event).unwrap(), first);
    assert_eq!(store.append_batch(&[event, at(7)]).unwrap_err().code(), Code::StoreFull);
    let twins = store.append_batch(&[at(7), event, event]).unwrap_err();
    assert_eq!((twins.code(), &twins.context()["index"]), (Code::DuplicateEventId, &json!(2)));
    let other = store.append_batch(&[new, NewEvent { data: b"1", ..event }]).unwrap_err();
    assert_eq!(other.context()["index"], 1);
    assert_eq!((store.stats().events, store.stats().repeated), (2, 6));
}

#[test]
fn threads_that_send_the_same_event_get_one_receipt() {
    let store = open(EventStoreOptions { on_duplicate: OnDuplicate::Return, ..EventStoreOptions::default() });
    let send = |id| {
        let event = NewEvent { event_id: Some(id), ..at(0) };
        let batch = [NewEvent { event_id: Some(id + 1_000), ..at(0) }, event];
        (store.append(&event).unwrap(), store.append_batch(&batch).unwrap())
    };
    let answers: Vec<Vec<_>> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(|| (1..200).map(send).collect())).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(store.stats().stored, 398);
}
