//! What the store writes, as the second reader (tests/format/reader.py) finds it.

#![allow(
    clippy::disallowed_methods,
    reason = "the second reader needs real files, which tests make and remove"
)]

use std::sync::Arc;

use super::store::{Temporary, in_words, second_reader};
use super::*;
use crate::events::{
    Compression, DiskOptions, Durability, EventStore, EventStoreOptions, NewEvent, Order, Query, Recovered,
};
use crate::runtime::clock::{AnchoredClock, SimClock};
use crate::storage::RealStorage;

/// Events that a prune removes: not a whole segment.
const PRUNED: u64 = 28;

fn open(directory: &Path, disk: DiskOptions) -> EventStore {
    let read = Recovered::read(Arc::new(RealStorage), directory, disk, "test", &mut |_| ()).unwrap();
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000_000)), read.newest_time().saturating_add(1));
    EventStore::open_recovered(EventStoreOptions::default(), clock, Arc::default(), read).unwrap()
}

fn everything(store: &EventStore) -> Vec<serde_json::Value> {
    let mut cursor = store.query(&Query { order: Order::Seq, ..Query::default() }).unwrap();
    let mut events = Vec::new();
    while let Some(event) = cursor.try_next().unwrap() {
        events.push(in_words(&event.record, |number| Some(event.names.name(number))));
    }
    events
}

/// Some single events and a batch, different in every field.
fn append(store: &EventStore, round: u64) {
    let plain: Vec<Event> = (round * 30 + 1..=round * 30 + 30).map(Event::plain).collect();
    let pids: Vec<String> = plain.iter().map(|event| String::from_utf8(event.pid.clone()).unwrap()).collect();
    let events: Vec<NewEvent<'_>> = plain
        .iter()
        .zip(&pids)
        .map(|(event, pid)| NewEvent {
            event_type: name(event.event_type).into(),
            timestamp: Some(event.timestamp),
            node: name(event.node),
            pid,
            correlation_id: event.correlation.as_deref(),
            parent_id: Some(event.parent_id).filter(|id| *id != 0),
            encoding: Encoding::Raw,
            data: &event.data,
            ..NewEvent::default()
        })
        .collect();
    let (singly, batch) = events.split_at(17);
    for event in singly {
        store.append(event).unwrap();
    }
    store.append_batch(batch).unwrap();
}

#[test]
fn the_second_reader_finds_what_a_store_has_written() {
    let modes = [
        (Durability::CrashSafe, Compression::Zstd),
        (Durability::Interval, Compression::Gzip),
        (Durability::Group, Compression::None),
        (Durability::Strict, Compression::Zstd),
    ];
    for (durability, compression) in modes {
        let directory = Temporary::new(&format!("written-{durability:?}"));
        let disk = DiskOptions {
            durability,
            compression,
            log_bytes: 8 << 10,
            segment_events: 32,
            ..DiskOptions::default()
        };
        for round in 0..3 {
            let context = format!("{durability:?}, round {round}");
            let store = open(&directory.0, disk);
            append(&store, round);
            // Nobody has closed it: logs are as a crash would leave them.
            let expected = everything(&store);
            assert_eq!(
                expected.len() as u64,
                (round + 1) * 30 - if round > 1 { PRUNED } else { 0 },
                "{context}"
            );
            assert_eq!(second_reader(&directory.0).0, expected, "{context}, open");
            store.seal_files(round == 0).unwrap();
            if round == 1 {
                assert_eq!(store.prune_before(Event::plain(PRUNED + 1).timestamp).unwrap(), PRUNED);
                assert_eq!(second_reader(&directory.0).0, everything(&store), "{context}, sealed and pruned");
            }
            let expected = everything(&store);
            assert_eq!(store.close_files(), Vec::<String>::new());
            let (second, complaints) = second_reader(&directory.0);
            assert_eq!((second, complaints.as_str()), (expected, ""), "{context}, closed");
        }
    }
}
