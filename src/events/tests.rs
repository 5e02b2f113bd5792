//! The store as a whole, single-threaded: what each call promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ids::NEAR;
use super::segment::Segment;
use super::store::{Now, draft};
use super::*;
use crate::error::Code;
use crate::runtime::clock::{AnchoredClock, SimClock};

pub(super) fn store(options: EventStoreOptions) -> EventStore {
    let clock = Arc::new(SimClock::new(1_000));
    EventStore::open(options, AnchoredClock::new(clock, 0), Arc::default()).unwrap()
}

fn tiny() -> EventStoreOptions {
    EventStoreOptions { segment_events: Some(4), segment_bytes: Some(1024), ..EventStoreOptions::default() }
}

fn event(kind: &str) -> NewEvent<'_> {
    NewEvent { event_type: kind.into(), ..NewEvent::default() }
}

fn seqs(store: &EventStore, query: &Query) -> Vec<u64> {
    let mut cursor = store.query(query).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.next() {
        found.push(event.seq());
    }
    found
}

#[test]
fn an_event_comes_back_as_it_went_in() {
    let store = store(EventStoreOptions::default());
    let kind = store.event_type("order_paid").unwrap();
    let new = NewEvent {
        event_type: kind.into(),
        event_id: Some(77),
        timestamp: Some(-3),
        wall_time: Some(5),
        node: "a@b",
        pid: "<0.1.0>",
        correlation_id: Some(b""),
        parent_id: Some(9),
        encoding: Encoding::Raw,
        data: b"\x00\xff",
    };
    let receipt = store.append(&new).unwrap();
    assert_eq!(receipt, Receipt { level: ACCEPTED, event_id: 77, seq: 1 });
    let found = store.get(77).unwrap();
    let view = found.view();
    assert_eq!((view.seq(), view.event_id(), view.event_type()), (1, 77, "order_paid"));
    assert_eq!((view.timestamp(), view.wall_time(), view.node(), view.pid()), (-3, 5, "a@b", "<0.1.0>"));
    assert_eq!((view.correlation_id(), view.parent_id()), (Some(&b""[..]), Some(9)));
    assert_eq!((view.encoding(), view.data(), view.truncated()), (Encoding::Raw, &b"\x00\xff"[..], false));
    assert_eq!(store.get(78).unwrap_err().code(), Code::DataNotFound);

    let receipt = store.append(&event("plain")).unwrap();
    assert_eq!((receipt.seq, receipt.event_id), (2, 78));
    let found = store.get(78).unwrap();
    let view = found.view();
    assert_eq!((view.correlation_id(), view.parent_id(), view.node(), view.pid()), (None, None, "", ""));
    assert_eq!((view.timestamp(), view.wall_time(), view.data()), (1_000, 1_000, &b""[..]));
}

#[test]
fn a_batch_is_stored_as_a_whole_or_refused_as_a_whole() {
    let store = store(tiny());
    let good = event("a");
    let bad = event("");
    let refused = store.append_batch(&[good, good, bad]).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidEventType);
    assert_eq!(refused.context()["index"], 2);
    assert!(refused.message().starts_with("event 2 of the batch: event_type is empty"), "{refused}");
    assert_eq!((store.stats().stored, store.stats().refused), (0, 3));

    // Larger than a segment, and one event larger than the usual segment.
    let large = vec![b'1'; 5_000];
    let mut events = vec![good; 11];
    events[6].data = &large;
    let receipts = store.append_batch(&events).unwrap();
    assert_eq!(receipts.iter().map(|r| r.seq).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    assert_eq!(seqs(&store, &Query::default()), (1..=11).collect::<Vec<_>>());
    assert_eq!(store.get(receipts[6].event_id).unwrap().view().data(), large);
    assert!(store.append_batch(&[]).unwrap().is_empty());

    let same = NewEvent { event_id: Some(500), ..good };
    let refused = store.append_batch(&[same, good, same]).unwrap_err();
    assert_eq!((refused.code(), &refused.context()["index"]), (Code::DuplicateEventId, &2.into()));
    let receipts = store.append_batch(&[good, same, good]).unwrap();
    assert_eq!(receipts.iter().map(|r| r.event_id).collect::<Vec<_>>(), [501, 500, 502]);
    let refused = store.append_batch(&[good, same]).unwrap_err();
    assert_eq!((refused.code(), &refused.context()["index"]), (Code::DuplicateEventId, &1.into()));
    assert_eq!(store.append(&same).unwrap_err().code(), Code::DuplicateEventId);
}

#[test]
fn ids_far_above_the_counter_do_not_use_it_up() {
    let store = store(tiny());
    let far = NewEvent { event_id: Some(ID_LIMIT - 1), ..event("far") };
    store.append(&far).unwrap();
    assert_eq!(store.append(&event("a")).unwrap().event_id, 1);
    assert_eq!(store.append(&NewEvent { event_id: Some(2), ..event("b") }).unwrap().event_id, 2);
    assert_eq!(store.append_batch(&[event("c"), far]).unwrap_err().code(), Code::DuplicateEventId);
    // The refused batch drew an id for its first event; what was brought is passed over.
    let receipts = store.append_batch(&[event("c"), event("d")]).unwrap();
    assert!(receipts[0].event_id > 2 && receipts[1].event_id > receipts[0].event_id);
    assert!(store.generate_id() > receipts[1].event_id);
}

#[test]
fn when_the_ids_are_used_up_those_that_are_brought_still_come_in() {
    let store = store(tiny());
    store.ids.draw(ID_LIMIT - NEAR);
    store.ids.draw(1);
    let brought = NewEvent { event_id: Some(7), ..event("a") };
    assert_eq!(store.append(&event("a")).unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(store.append_batch(&[event("a"), brought]).unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(store.append(&brought).unwrap().event_id, 7);
    assert_eq!(store.append_batch(&[brought]).unwrap_err().code(), Code::DuplicateEventId);
    assert!(store.append_batch(&[NewEvent { event_id: Some(ID_LIMIT - 1), ..brought }]).is_ok());
}

#[test]
fn a_type_of_another_store_is_refused() {
    let (one, two) = (store(tiny()), store(tiny()));
    let kind = one.event_type("a").unwrap();
    two.event_type("b").unwrap();
    assert_eq!(TypeId::from_raw(kind.to_raw()), kind);
    let refused = two.append(&NewEvent { event_type: kind.into(), ..NewEvent::default() }).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidEventType);
    let made_up = TypeId::from_raw(kind.to_raw() + 1);
    assert!(one.append(&NewEvent { event_type: made_up.into(), ..NewEvent::default() }).is_err());
    assert_eq!(two.stats().refused, 1);
}

#[test]
fn the_oldest_make_room_and_segments_are_recycled() {
    let store = store(EventStoreOptions { max_events: Some(10), shards: Some(1), ..tiny() });
    for _ in 0..100 {
        store.append(&event("a")).unwrap();
    }
    assert_eq!(seqs(&store, &Query::default()), (91..=100).collect::<Vec<_>>());
    let stats = store.stats();
    assert_eq!((stats.events, stats.stored, stats.dropped_oldest), (10, 100, 90));
    assert!(stats.segments <= 5, "{stats:?}");
    assert!(store.get(90).is_err());
    assert_eq!(store.get(91).unwrap().view().seq(), 91);
    // An id that is no longer there may come again.
    store.append(&NewEvent { event_id: Some(5), ..event("again") }).unwrap();
    assert_eq!(store.get(5).unwrap().view().event_type(), "again");
}

#[test]
fn a_cursor_keeps_what_it_shows() {
    let store = store(EventStoreOptions { max_events: Some(10), shards: Some(1), ..tiny() });
    for _ in 0..10 {
        store.append(&event("a")).unwrap();
    }
    let mut cursor = store.query(&Query::default()).unwrap();
    for _ in 0..50 {
        store.append(&event("b")).unwrap();
    }
    for seq in 1..=10 {
        assert_eq!(cursor.next().map(|e| (e.seq(), e.event_type().to_owned())), Some((seq, "a".to_owned())));
    }
    assert!(cursor.next().is_none());
    assert!(cursor.next().is_none());
}

#[test]
fn options_that_make_no_sense_are_named() {
    let clock = AnchoredClock::new(Arc::new(SimClock::new(0)), 0);
    let cases = [
        (EventStoreOptions { max_events: Some(0), ..tiny() }, "max_events"),
        (EventStoreOptions { shards: Some(65), ..tiny() }, "shards"),
        (EventStoreOptions { shards: Some(0), ..tiny() }, "shards"),
        (EventStoreOptions { max_data_bytes: 0, ..tiny() }, "max_data_bytes"),
        (EventStoreOptions { segment_events: Some(0), ..tiny() }, "segment_events"),
        (EventStoreOptions { segment_bytes: Some(10), ..tiny() }, "segment_bytes"),
    ];
    for (options, name) in cases {
        let error = EventStore::open(options, clock.clone(), Arc::default()).unwrap_err();
        assert!(error.message().contains(name), "{error}");
        assert_eq!(error.context()["option"], name);
    }
}

#[test]
fn a_brought_id_waits_for_the_event_that_may_have_drawn_it() {
    let store = store(EventStoreOptions { shards: Some(2), ..tiny() });
    // By hand, an append that has its `seq` and its id and is not published yet.
    let shard = &store.shards[1];
    let mut writer = Segment::create(&store.shared, store.shape, 0).unwrap();
    shard.extend(std::slice::from_ref(&writer));
    let new = event("slow");
    let now = Now { time: 0, wall: 0 };
    let index = writer.stage(&draft(&new, store.intern(&new).unwrap(), now, 0), 0).unwrap();
    let flight = store.frontier.begin(1, 1).unwrap();
    let id = store.ids.draw(1);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let same = scope.spawn(|| {
            let result = store.append(&NewEvent { event_id: Some(id), ..event("quick") });
            finished.store(true, Ordering::SeqCst);
            result
        });
        // Gives the other thread every chance to go ahead where it must not.
        for _ in 0..2_000 {
            if finished.load(Ordering::SeqCst) {
                break;
            }
            std::thread::yield_now();
        }
        writer.finish(index, flight.first(), id, 1);
        writer.publish();
        drop(flight);
        assert_eq!(same.join().unwrap().unwrap_err().code(), Code::DuplicateEventId);
    });
    assert_eq!(store.get(id).unwrap().view().event_type(), "slow");
}
