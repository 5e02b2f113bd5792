//! What only shows when something happens in between: the steps of the files' background work, taken one by one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::super::durability::{Durability, Level};
use super::super::model::{Encoding, NewEvent};
use super::super::options::EventStoreOptions;
use super::super::query::{Order, Query};
use super::super::store::EventStore;
use super::{Disk, DiskOptions, Recovered};
use crate::error::Code;
use crate::runtime::clock::{AnchoredClock, SimClock};
use crate::storage::{Fault, Operation, SimStorage, Storage};

const EIO: i32 = 5;

pub(super) fn files(durability: Durability) -> DiskOptions {
    DiskOptions { durability, log_bytes: 8 << 10, segment_events: 16, ..DiskOptions::default() }
}

pub(super) fn memory(shards: usize) -> EventStoreOptions {
    EventStoreOptions {
        shards: Some(shards),
        segment_events: Some(8),
        segment_bytes: Some(4 << 10),
        max_data_bytes: 4 << 10,
        max_memory_bytes: Some(256 << 10),
        ..EventStoreOptions::default()
    }
}

pub(super) fn open(storage: &SimStorage, disk: DiskOptions, options: EventStoreOptions) -> EventStore {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let read = Recovered::read(storage, Path::new("store"), disk, "test", &mut |_| ()).unwrap();
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000_000)), read.newest_time().saturating_add(1));
    EventStore::open_recovered(options, clock, Arc::default(), read).unwrap()
}

pub(super) fn disk(store: &EventStore) -> &Arc<Disk> {
    store.disk.as_ref().unwrap()
}

pub(super) fn event(time: i64) -> NewEvent<'static> {
    let (timestamp, encoding) = (Some(time), Encoding::Raw);
    NewEvent { event_type: "tick".into(), timestamp, encoding, data: b"data", ..NewEvent::default() }
}

pub(super) fn store_some(store: &EventStore, times: std::ops::Range<i64>) {
    for time in times {
        store.append_with(&event(time), Some(Level::Accepted)).unwrap();
    }
}

fn in_order() -> Query {
    Query { order: Order::Seq, ..Query::default() }
}

pub(super) fn seqs(store: &EventStore) -> Vec<u64> {
    let mut cursor = store.query(&in_order()).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.try_next().unwrap() {
        found.push(event.seq());
    }
    found
}

/// What is there and what is gone make up everything that was ever stored, and the queries agree.
pub(super) fn balanced(store: &EventStore) {
    let there = seqs(store);
    assert!(there.is_sorted_by(|a, b| a < b), "twice or out of order: {there:?}");
    let stats = store.stats();
    assert_eq!(there.len() as u64, stats.events, "{stats:?}");
    let gone = stats.dropped_oldest + stats.pruned + stats.expired + stats.evicted + stats.lost;
    assert_eq!(stats.stored, stats.events + gone, "{stats:?}");
}

fn segment_files(storage: &SimStorage) -> Vec<PathBuf> {
    let names = storage.list(Path::new("store")).unwrap();
    names.iter().filter(|name| name.starts_with("seg-")).map(|name| Path::new("store").join(name)).collect()
}

#[test]
fn a_log_made_ahead_takes_events_that_were_stored_before_it_was_made() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_some(&store, 0..5);
    // The sync thread makes a log ready while these wait for a round.
    store.make_logs_ready(disk(&store));
    store.append(&event(5)).unwrap();
    assert_eq!(store.watermark(Level::Durable), 7);
    let left = storage.fork();
    left.crash();
    assert_eq!(seqs(&open(&left, files(Durability::Group), memory(1))), (1..=6).collect::<Vec<_>>());
}

#[test]
fn a_small_segment_that_cannot_be_read_keeps_its_events_and_nobody_waits_for_it() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_some(&store, 0..5);
    assert!(store.close_files().is_empty());
    drop(store);
    let store = open(&storage, files(Durability::Group), memory(1));
    let small = segment_files(&storage).pop().unwrap();
    store_some(&store, 5..12);
    storage.inject(Fault::new(Operation::Read, EIO).on(small.file_name().unwrap().to_str().unwrap()));
    store.seal_files(true).unwrap();
    storage.clear_faults();
    assert_eq!(seqs(&store), (1..=12).collect::<Vec<_>>());
    balanced(&store);

    // What is damaged is named by whoever reads it, and does not go in silence with the next sealing.
    let last = segment_files(&storage).pop().unwrap();
    storage.flip_bit(&last, 8 * 170).unwrap();
    while store.demote_one(disk(&store)) {}
    store_some(&store, 12..15);
    store.seal_files(true).unwrap();
    assert_eq!(seqs(&store).len(), 8);
    balanced(&store);
    assert_eq!((store.stats().lost, store.gaps().len()), (7, 1));
}

#[test]
fn a_query_goes_on_while_its_files_are_replaced_and_removed() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_some(&store, 0..20);
    store.seal_files(true).unwrap();
    while store.demote_one(disk(&store)) {}
    let old = segment_files(&storage);
    let mut cursor = store.query(&in_order()).unwrap();
    assert_eq!(cursor.try_next().unwrap().unwrap().seq(), 1);
    // The last segment is small and becomes part of another; then all of them go.
    store_some(&store, 20..30);
    store.seal_files(true).unwrap();
    assert!(segment_files(&storage).iter().any(|file| !old.contains(file)));
    assert_eq!(store.prune_before(10).unwrap(), 10);
    assert_eq!(seqs(&store), (11..=30).collect::<Vec<_>>());
    assert_eq!(store.prune_before(100).unwrap(), 20);
    // What the query had in view when it began may be gone by now, and is no error.
    while cursor.try_next().unwrap().is_some() {}
    drop(cursor);
    store.tidy().unwrap();
    assert_eq!(segment_files(&storage), Vec::<PathBuf>::new());
    balanced(&store);
}

#[test]
fn a_prune_that_fails_has_changed_nothing() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_some(&store, 0..40);
    store.seal_files(false).unwrap();
    while store.demote_one(disk(&store)) {}
    while disk(&store).archive.unload_one() {}
    storage.inject(Fault::new(Operation::Read, EIO).on("seg-"));
    store.prune_before(20).unwrap_err();
    storage.clear_faults();
    assert_eq!(seqs(&store).len(), 40);
    balanced(&store);
    assert_eq!(store.prune_before(20).unwrap(), 20);
    balanced(&store);
    assert_eq!(store.stats().pruned, 20);
}

#[test]
fn a_gap_is_counted_once_however_often_it_is_found() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    for time in 0..10 {
        store.append(&event(time)).unwrap();
    }
    let left = storage.fork();
    left.kill();
    let log = left.list(Path::new("store")).unwrap().into_iter().find(|name| name.starts_with("log-"));
    left.flip_bit(&Path::new("store").join(log.unwrap()), 8 * 200).unwrap();
    let store = open(&left, files(Durability::Group), memory(1));
    let lost = store.stats().lost;
    assert!(lost > 0);
    // This writes a manifest, and the log is needed still.
    assert_eq!(store.prune_before(10).unwrap(), store.stats().pruned);
    let again = left.fork();
    again.kill();
    let store = open(&again, files(Durability::Group), memory(1));
    assert_eq!(store.stats().lost, lost);
    balanced(&store);
}

#[test]
fn one_who_panics_when_told_keeps_nobody_from_being_told() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_some(&store, 0..1);
    let (told, heard) = channel();
    store.when_durable(1, Level::Durable, Box::new(|_| panic!("the host's"))).unwrap();
    store.when_durable(1, Level::Durable, Box::new(move |safe| told.send(safe.is_ok()).unwrap())).unwrap();
    store.serve_waiters(true);
    assert!(heard.recv().unwrap());
}

/// Numbers that look random and are the same each time.
fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Any order of storing, pruning, sealing, letting go, cleaning and opening again, against a list.
#[test]
fn the_books_and_the_answers_agree_in_any_order_of_work() {
    for seed in 1..=60_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let storage = SimStorage::new(seed);
        let mode = [Durability::CrashSafe, Durability::Group][seed as usize % 2];
        let bound = [None, Some(40_u64), Some(7)][seed as usize % 3];
        let options = EventStoreOptions { max_events: bound, ..memory(1) };
        let mut store = open(&storage, files(mode), options);
        let mut model: Vec<(u64, i64)> = Vec::new();
        let mut next = 1;
        for step in 0..150 {
            let what = draw(&mut random) % 16;
            match what {
                0..=5 => {
                    let time = (draw(&mut random) % 1_000) as i64;
                    assert_eq!(store.append(&event(time)).unwrap().seq, next);
                    model.push((next, time));
                    next += 1;
                }
                6..=7 => {
                    let events: Vec<_> = (0..draw(&mut random) % 30).map(|n| event(n as i64 * 30)).collect();
                    for receipt in store.append_batch(&events).unwrap() {
                        model.push((receipt.seq, (receipt.seq - next) as i64 * 30));
                    }
                    next += events.len() as u64;
                }
                8 => assert!(store.seal_files(true).is_ok()),
                9 => assert!(store.seal_files(false).is_ok()),
                10..=11 => _ = store.demote_one(disk(&store)),
                12 => _ = disk(&store).archive.unload_one(),
                13 => store.tidy().unwrap(),
                14 => {
                    let before = (draw(&mut random) % 400) as i64;
                    let low = bound.map_or(0, |most| next.saturating_sub(most));
                    model.retain(|(seq, _)| *seq >= low);
                    let kept = model.iter().filter(|(_, time)| *time >= before).count();
                    let removed = store.prune_before(before).unwrap();
                    assert_eq!(removed, (model.len() - kept) as u64, "seed {seed}, step {step}");
                    model.retain(|(_, time)| *time >= before);
                }
                _ => {
                    if draw(&mut random).is_multiple_of(2) {
                        assert!(store.close_files().is_empty());
                    }
                    drop(store);
                    store = open(&storage, files(mode), options);
                }
            }
            let low = bound.map_or(0, |most| next.saturating_sub(most));
            let expected: Vec<u64> = model.iter().map(|(seq, _)| *seq).filter(|seq| *seq >= low).collect();
            assert_eq!(seqs(&store), expected, "seed {seed}, step {step}: after {what}");
            balanced(&store);
        }
    }
}

#[test]
fn a_store_that_refuses_events_never_hides_one() {
    let storage = SimStorage::new(1);
    let options = EventStoreOptions {
        max_events: Some(8),
        overflow: super::super::overflow::Overflow::Error,
        ..memory(1)
    };
    let store = open(&storage, files(Durability::CrashSafe), options);
    store_some(&store, 1_000..1_001);
    for _ in 0..1_200 {
        store_some(&store, 0..1);
        assert_eq!(store.prune_before(10).unwrap(), 1);
    }
    store.seal_files(true).unwrap();
    while store.demote_one(disk(&store)) {}
    assert_eq!(seqs(&store), [1]);
    balanced(&store);
}

/// Batches of each thread, of one to three events in turn.
const EVENTS: u64 = 501;

/// Counts a thread out, however it ends.
struct Ends<'a>(&'a AtomicUsize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Everything at once, with memory for little of it: a query shows each event once, and everything that was there
/// before it began.
#[test]
fn queries_beside_everything_else_show_each_event_once() {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::CrashSafe), memory(2)));
    let (next, writing) = (AtomicU64::new(0), AtomicUsize::new(2));
    let works: [&(dyn Fn() + Sync); 3] =
        [&|| assert!(store.seal_files(true).is_ok()), &|| store.tidy().unwrap(), &|| {
            store.demote_one(disk(&store));
            disk(&store).archive.unload_one();
            store.stats();
        }];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _ends = Ends(&writing);
                for n in 0..EVENTS {
                    let batch: Vec<_> = (0..=n % 3).map(|n| event(n as i64)).collect();
                    let last = loop {
                        match store.append_batch(&batch) {
                            Ok(receipts) => break receipts.last().unwrap().seq,
                            // The query may hold all the memory that there is.
                            Err(error) => assert_eq!(error.code(), Code::StoreFull, "{error}"),
                        }
                    };
                    next.fetch_max(last, Ordering::SeqCst);
                }
            });
        }
        let writing = &writing;
        for work in works {
            scope.spawn(move || {
                while writing.load(Ordering::SeqCst) > 0 {
                    work();
                    std::thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while writing.load(Ordering::SeqCst) > 0 {
                let stored = next.load(Ordering::SeqCst);
                let there = seqs(&store);
                assert!(there.len() as u64 >= stored, "{} of {stored}", there.len());
                let expected: Vec<u64> = (1..=there.len() as u64).collect();
                assert!(there == expected, "not each once");
            }
        });
    });
    assert_eq!(seqs(&store).len() as u64, 2 * EVENTS * 2);
    balanced(&store);
    assert!(store.close_files().is_empty());
    drop(store);
    balanced(&open(&storage, files(Durability::CrashSafe), memory(2)));
}
