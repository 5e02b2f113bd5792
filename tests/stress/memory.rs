//! A store in memory that drops, refuses or waits, under everything at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use elixirscope_foundation::events::{
    Aggregate, Cleanup, EventRef, EventStore, EventStoreOptions, NewEvent, Order, Overflow, Query,
    TailOptions,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};

use crate::numbered::{self, Numbered, TYPES, correlation_of, lane};
use crate::tails::{come_and_go, follow};
use crate::{LONG, Told, World, append_later, effort, spawn, until_there_is_room};

/// Most events that the store holds.
const HELD: u64 = 500;
/// How many of the newest steps of the three writers are never pruned: fewer events than the store holds, or nobody
/// would make room for a writer that waits.
const KEPT: u64 = 100;

fn small() -> EventStoreOptions {
    EventStoreOptions {
        max_events: Some(HELD),
        block_timeout: LONG,
        shards: Some(2),
        max_data_bytes: 1 << 10,
        async_queue_events: 40,
        segment_events: Some(16),
        segment_bytes: Some(4 << 10),
        ..EventStoreOptions::default()
    }
}

fn append_one_by_one(world: &World, store: &EventStore, events: u64) -> Told {
    let mut told = Vec::new();
    for number in lane(0, events) {
        let event = Numbered::new(number);
        world.note(&event);
        let receipt = until_there_is_room(|| store.append(&event.event()));
        assert_eq!(receipt.event_id, number);
        told.push((receipt.seq, number));
        if number.is_multiple_of(4) {
            world.assert_found(store, receipt.seq, number);
        } else if let Ok(event) = store.get(number) {
            assert_eq!(numbered::check(&event.view()), number);
        } else {
            world.assert_gone(store, receipt.seq, number);
        }
    }
    told
}

fn append_batches(world: &World, store: &EventStore, events: u64) -> Told {
    let mut told = Vec::new();
    let numbers: Vec<u64> = lane(1, events).collect();
    for numbers in numbers.chunks(7) {
        let numbered: Vec<_> = numbers.iter().map(|number| Numbered::new(*number)).collect();
        for event in &numbered {
            world.note(event);
        }
        let batch: Vec<NewEvent<'_>> = numbered.iter().map(Numbered::event).collect();
        let receipts = until_there_is_room(|| store.append_batch(&batch));
        assert!(receipts.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "a batch is in a row");
        told.extend(receipts.iter().zip(numbers).map(|(receipt, number)| (receipt.seq, *number)));
        let (seq, number) = told[told.len() - 1];
        world.assert_found(store, seq, number);
    }
    told
}

/// What a query finds is in its order, whole, and what was asked for.
fn query(store: &EventStore, query: &Query, asked: impl Fn(u64) -> bool) {
    let mut cursor = store.query(query).unwrap();
    let mut last = None;
    while let Some(event) = cursor.next() {
        let number = numbered::check(&event);
        assert!(asked(number), "{number:#x} was not asked for: {query:?}");
        let key = match query.order {
            Order::Timestamp => (event.timestamp() as u64, event.seq()),
            Order::Seq => (event.seq(), 0),
            Order::Id => (event.event_id(), event.seq()),
        };
        let in_order = |last| if query.descending { key < last } else { key > last };
        assert!(last.is_none_or(in_order), "{key:?} after {last:?}: {query:?}");
        last = Some(key);
    }
}

fn ask(world: &World, store: &EventStore, shift: u64) {
    let all = Query::default();
    world.repeat(|round| {
        let n = round / 4 + shift;
        let order = [Order::Timestamp, Order::Seq, Order::Id][(n % 3) as usize];
        let all = Query { order, descending: n.is_multiple_of(2), ..all.clone() };
        match (round + shift) % 8 {
            0 => query(store, &all, |_| true),
            1 => {
                let id = correlation_of(n).to_vec();
                query(store, &Query { correlation_id: Some(id), ..all }, |x| x % 11 == n % 11);
            }
            2 => {
                let types = vec![TYPES[1].to_owned(), TYPES[3].to_owned()];
                query(store, &Query { types, ..all }, |number| number % 2 == 1);
            }
            3 => {
                let (node, pid) = (Some(format!("n{}@host", n % 3)), Some(format!("<0.{}.0>", n % 29)));
                query(store, &Query { node, pid, ..all }, |x| x % 3 == n % 3 && x % 29 == n % 29);
            }
            4 => {
                let number = lane(0, 1).start + world.progress.load(Ordering::SeqCst).saturating_sub(20);
                query(store, &Query { parent_id: Some(number), ..all.clone() }, |x| x == number);
                query(store, &Query { id_range: Some((number, number + 5)), ..all }, |_| true);
            }
            5 => {
                let from = numbered::time_of(world.progress.load(Ordering::SeqCst).saturating_sub(40));
                let range = Query { time_range: Some((from, i64::MAX)), ..all };
                query(store, &range, |number| numbered::time_of(number) >= from);
                store.explain(&range).unwrap();
            }
            6 => {
                let aggregate = Aggregate { by_type: true, top_correlations: 3, ..Aggregate::default() };
                let summary = store.aggregate(&all, &aggregate).unwrap();
                assert_eq!(summary.by_type.iter().map(|kind| kind.count).sum::<u64>(), summary.count);
                store.correlation_exceeds(&correlation_of(n), 3);
            }
            _ => {
                let by_type = Query { types: vec![TYPES[0].to_owned()], ..all.clone() };
                let count = store.query(&by_type).unwrap().count().unwrap();
                assert!(count <= most(store), "{count}");
                store.write_jsonl(&Query { limit: Some(30), ..all }, &mut Vec::new()).unwrap();
            }
        }
    });
}

/// Keeps cursors and single events while the store goes on, and looks at them again much later.
fn hold(world: &World, store: &EventStore) {
    let mut held: Vec<(u64, EventRef)> = Vec::new();
    world.repeat(|round| {
        let order = if round.is_multiple_of(2) { Order::Seq } else { Order::Timestamp };
        let mut cursor = store.query(&Query { order, ..Query::default() }).unwrap();
        for _ in 0..50 {
            let Some(event) = cursor.next_ref() else { break };
            held.push((numbered::check(&event.view()), event));
        }
        if let Some(newest) = store.query(&Query::newest(1)).unwrap().next_ref() {
            held.push((numbered::check(&newest.view()), newest));
        }
        std::thread::yield_now();
        while let Some(event) = cursor.next() {
            numbered::check(&event);
        }
        if held.len() > 200 {
            for (number, event) in held.drain(..150) {
                assert_eq!(numbered::check(&event.view()), number, "it changed while it was held");
            }
        }
    });
    assert!(held.iter().all(|(number, event)| numbered::check(&event.view()) == *number));
}

fn most(store: &EventStore) -> u64 {
    store.stats().max_events.unwrap_or(u64::MAX)
}

fn forget(world: &World, store: &EventStore) {
    world.repeat(|_| {
        world.prune(store, KEPT);
        store.clean_up();
        let stats = store.stats();
        assert!(stats.events <= most(store), "{stats:?}");
        let gone = stats.dropped_oldest + stats.pruned + stats.expired + stats.evicted + stats.lost;
        assert_eq!(stats.stored, stats.events + gone, "{stats:?}");
    });
}

fn under_everything(options: EventStoreOptions) {
    let events = 3_000 * effort();
    let clock = AnchoredClock::new(Arc::new(SystemClock), 0);
    let store = Arc::new(EventStore::open(options, clock, Arc::default()).unwrap());
    let (store, world) = (&store, &World::default());
    if options.cleanup == Cleanup::Lru {
        // What nobody reads goes first, wherever it stands.
        world.pruned_before.store(i64::MAX, Ordering::SeqCst);
    }
    let tail = &store.tail(TailOptions { from_seq: Some(1), ..TailOptions::default() }).unwrap();
    let (told, heard, sealed) = std::thread::scope(|scope| {
        let writers = vec![
            spawn(scope, "one by one", || append_one_by_one(world, store, events)),
            spawn(scope, "batches", || append_batches(world, store, events)),
            spawn(scope, "later", || append_later(world, store, events)),
        ];
        spawn(scope, "ask", || ask(world, store, 0));
        spawn(scope, "ask too", || ask(world, store, 5));
        spawn(scope, "hold", || hold(world, store));
        spawn(scope, "forget", || forget(world, store));
        spawn(scope, "come and go", || come_and_go(world, store));
        let heard = spawn(scope, "follow", || follow(world, tail));
        let sealed = spawn(scope, "seal", || {
            let mut sealed = 0;
            world.repeat(|_| sealed += store.seal_pending());
            sealed
        });
        (world.finish(writers), heard.join().unwrap(), sealed.join().unwrap())
    });
    let stats = store.stats();
    let later = stats.later;
    assert_eq!((stats.stored, later.stored + later.failed_full), (2 * events + later.stored, events));
    assert_eq!(stats.offered, stats.stored + stats.refused);
    let bounded_memory = stats.max_memory_bytes.is_some();
    assert!(bounded_memory || (stats.refused, later.failed_full) == (0, 0), "{stats:?}");
    assert!(sealed > 0 && stats.pinned_bytes == 0, "{sealed} {stats:?}");
    // What is there now, by seq.
    let mut there = HashMap::new();
    let mut cursor = store.query(&Query { order: Order::Seq, ..Query::default() }).unwrap();
    while let Some(event) = cursor.next() {
        assert_eq!(there.insert(event.seq(), numbered::check(&event)), None);
    }
    assert_eq!(there.len() as u64, stats.events);
    let told: HashMap<u64, u64> = told.into_iter().collect();
    assert_eq!(told.len() as u64, 2 * events, "every seq was given once");
    for (seq, number) in &told {
        assert!(heard.events.get(seq).is_none_or(|heard| heard == number));
        match there.get(seq) {
            Some(found) => assert_eq!(found, number),
            None => world.assert_gone(store, *seq, *number),
        }
    }
    // The tail told each event or said that it missed it.
    assert_eq!(heard.events.len() as u64 + heard.missed, stats.stored);
    let end = tail.stats();
    assert_eq!((end.position, end.behind, end.unread), (stats.next_seq, 0, 0));
}

#[test]
fn a_store_that_drops_the_oldest() {
    under_everything(small());
}

#[test]
fn a_store_whose_writers_wait_for_room() {
    under_everything(EventStoreOptions { overflow: Overflow::Block, ..small() });
}

#[test]
fn a_store_that_is_short_of_memory() {
    for cleanup in [Cleanup::Oldest, Cleanup::Lru] {
        under_everything(EventStoreOptions {
            cleanup,
            max_events: None,
            max_memory_bytes: Some(1 << 20),
            ..small()
        });
    }
}
