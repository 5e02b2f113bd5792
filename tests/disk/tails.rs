//! Tails over what left memory: files are read like memory, and what cannot be read is said.

use std::path::PathBuf;
use std::sync::Arc;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Durability, EventStore, EventStoreOptions, Gap, GapReason, TailItem, TailOptions,
};
use elixirscope_foundation::storage::{Fault, Operation, SimStorage, Storage};

use super::{event, open_with, short_of_memory, small};

fn opened(disk: &SimStorage, options: EventStoreOptions) -> Arc<EventStore> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    Arc::new(open_with(&storage, &PathBuf::from("store"), small(Durability::CrashSafe), options))
}

fn append(store: &EventStore, count: u64) {
    for n in 0..count {
        store.append(&event(format!("{{\"n\":{n}}}").as_bytes())).unwrap();
    }
}

fn from_start() -> TailOptions {
    TailOptions { from_seq: Some(1), ..TailOptions::default() }
}

/// The positions of all events that the tail tells now, and the gaps.
fn told(store: &Arc<EventStore>) -> (Vec<u64>, Vec<Gap>) {
    let tail = store.tail(from_start()).unwrap();
    let (mut seqs, mut gaps) = (Vec::new(), Vec::new());
    while let Some(item) = tail.try_next().unwrap() {
        match item {
            TailItem::Event(event) => seqs.push(event.view().seq()),
            TailItem::Gap(gap) => gaps.push(gap),
        }
    }
    (seqs, gaps)
}

#[test]
fn what_left_memory_and_what_was_there_before_opening_is_told() {
    let disk = SimStorage::new(1);
    let store = opened(&disk, short_of_memory());
    append(&store, 3_000);
    assert!(store.disk_stats().unwrap().memory_from_seq > 1_000);
    let all: Vec<u64> = (1..=3_000).collect();
    assert_eq!(told(&store), (all.clone(), vec![]));
    assert!(store.close_files().is_empty());
    drop(store);
    let store = opened(&disk, short_of_memory());
    let live = store.tail(TailOptions::default()).unwrap();
    append(&store, 1);
    let Some(TailItem::Event(event)) = live.try_next().unwrap() else { panic!("it is told") };
    assert_eq!(event.view().seq(), 3_001);
    assert_eq!(told(&store), ((1..=3_001).collect(), vec![]));
}

#[test]
fn what_the_bound_on_events_hides_in_files_is_a_gap() {
    let disk = SimStorage::new(1);
    let store = opened(&disk, EventStoreOptions { max_events: Some(1_500), ..short_of_memory() });
    append(&store, 3_000);
    let hidden = Gap { first_seq: 1, last_seq: 1_500, reason: GapReason::Removed };
    assert_eq!(told(&store), ((1_501..=3_000).collect(), vec![hidden]));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_until_it_can() {
    let disk = SimStorage::new(1);
    let store = opened(&disk, short_of_memory());
    append(&store, 3_000);
    let tail = store.tail(from_start()).unwrap();
    disk.inject(Fault::new(Operation::Open, libc::EIO));
    assert_eq!(tail.try_next().unwrap_err().code(), Code::IoError);
    assert_eq!(tail.stats().position, 1);
    disk.clear_faults();
    let mut seqs = Vec::new();
    while let Some(TailItem::Event(event)) = tail.try_next().unwrap() {
        seqs.push(event.view().seq());
    }
    assert_eq!(seqs, (1..=3_000).collect::<Vec<_>>());
}
