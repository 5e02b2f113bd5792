//! Appending, closing, opening again: in every mode, on the simulated and on the real disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    DiskOptions, Durability, EventStoreOptions, Level, NewEvent, Query, Recovered,
};
use elixirscope_foundation::storage::{RealStorage, SimStorage, Storage};

use super::{all, event, found, open, open_with, short_of_memory, small};

const MODES: [Durability; 4] =
    [Durability::CrashSafe, Durability::Interval, Durability::Group, Durability::Strict];

fn simulated() -> (Arc<dyn Storage>, PathBuf) {
    (Arc::new(SimStorage::new(1)), PathBuf::from("store"))
}

/// A directory of its own below the target directory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn numbered(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

#[test]
fn what_was_stored_is_there_after_closing_and_opening() {
    let scratch = Scratch::new("basics");
    for mode in MODES {
        let real: Arc<dyn Storage> = Arc::new(RealStorage);
        for (storage, directory) in [simulated(), (real, scratch.0.join(format!("{mode:?}")))] {
            let mut expected = Vec::new();
            for round in 0..3 {
                let store = open(&storage, &directory, small(mode));
                assert_eq!(all(&store), expected, "{mode:?}, round {round}");
                for n in 0..20 {
                    let data = numbered(n);
                    let receipt = store.append(&event(&data)).unwrap();
                    assert_eq!(receipt.level, mode.level().number(), "{mode:?}");
                    expected.push((receipt.seq, data));
                }
                let batch: Vec<Vec<u8>> = (100..110).map(numbered).collect();
                let events: Vec<NewEvent<'_>> = batch.iter().map(|data| event(data)).collect();
                let receipts = store.append_batch(&events).unwrap();
                expected.extend(receipts.iter().map(|receipt| receipt.seq).zip(batch));
                assert_eq!(all(&store), expected, "{mode:?}, round {round}");
                assert!(store.close_files().is_empty());
                assert_eq!(store.append(&event(b"1")).unwrap_err().code(), Code::Closing);
            }
            let store = open(&storage, &directory, small(mode));
            let report = store.disk_stats().unwrap().recovery;
            assert!(report.clean && report.existed && report.gaps.is_empty(), "{report:?}");
            assert_eq!(report.logs, 0);
            assert_eq!(all(&store), expected);
            for query in [
                Query { correlation_id: Some(b"c".to_vec()), ..Query::default() },
                Query { types: vec!["tick".into()], descending: true, limit: Some(5), ..Query::default() },
                Query { seq_range: Some((10, 50)), ..Query::default() },
                Query { offset: 7, ..Query::default() },
            ] {
                let with = found(&store, &query);
                assert!(!with.is_empty());
                assert_eq!(
                    with,
                    found(&store, &Query { without_indexes: true, ..query.clone() }),
                    "{query:?}"
                );
            }
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_when_the_process_dies() {
    for mode in MODES {
        let (storage, directory) = simulated();
        let mut expected = Vec::new();
        for round in 0..4 {
            let store = open(&storage, &directory, small(mode));
            assert_eq!(all(&store), expected, "{mode:?}, round {round}");
            for n in 0..33 {
                let data = numbered(n);
                let receipt = store.append(&event(&data)).unwrap();
                expected.push((receipt.seq, data));
                if n == 20 {
                    store.seal_files(false).unwrap();
                }
            }
            // Nobody closes it.
        }
        let store = open(&storage, &directory, small(mode));
        let stats = store.stats();
        assert_eq!((stats.events, stats.stored, stats.lost), (132, 132, 0));
        assert_eq!(all(&store), expected, "{mode:?}");
    }
}

#[test]
fn events_that_left_memory_are_found() {
    let (storage, directory) = simulated();
    let store = open_with(&storage, &directory, small(Durability::CrashSafe), short_of_memory());
    let mut expected = Vec::new();
    for n in 0..3_000 {
        let data = numbered(n);
        let receipt = store.append(&event(&data)).unwrap();
        expected.push((receipt.seq, data));
    }
    let disk = store.disk_stats().unwrap();
    assert!(disk.memory_from_seq > 1_000 && disk.segments > 60, "{disk:?}");
    assert_eq!(all(&store), expected);
    let stats = store.stats();
    assert_eq!((stats.events, stats.stored, stats.evicted, stats.dropped_oldest), (3_000, 3_000, 0, 0));
    let first = expected.first().unwrap().0;
    assert_eq!(store.get(first).unwrap().view().seq(), first);
    assert!(store.disk_stats().unwrap().loads > 0);
}

#[test]
fn pruning_holds_in_memory_in_files_and_after_opening() {
    for mode in [Durability::CrashSafe, Durability::Group] {
        let (storage, directory) = simulated();
        let store = open(&storage, &directory, small(mode));
        for n in 0..100_i64 {
            let data = numbered(n as u64);
            // Every other one is older than the rest.
            let timestamp = Some(if n % 2 == 0 { n } else { 1_000 + n });
            store.append(&NewEvent { timestamp, ..event(&data) }).unwrap();
        }
        store.seal_files(false).unwrap();
        assert_eq!(store.prune_before(51).unwrap(), 26);
        let odd = |(seq, _): &(u64, Vec<u8>)| (seq - 1) % 2 == 1 || seq - 1 > 50;
        let check = |store: &elixirscope_foundation::events::EventStore| {
            let there = all(store);
            assert_eq!(there.len(), 74);
            assert!(there.iter().all(odd));
            let stats = store.stats();
            assert_eq!((stats.events, stats.pruned, stats.stored, stats.dropped_oldest), (74, 26, 100, 0));
        };
        check(&store);
        drop(store);
        let store = open(&storage, &directory, small(mode));
        check(&store);
        assert!(store.close_files().is_empty());
        check(&open(&storage, &directory, small(mode)));
    }
}

#[test]
fn the_bound_on_events_holds_in_files_too() {
    let (storage, directory) = simulated();
    let options = EventStoreOptions { max_events: Some(50), ..EventStoreOptions::default() };
    let store = open_with(&storage, &directory, small(Durability::Group), options);
    for n in 0..200 {
        store.append(&event(&numbered(n))).unwrap();
    }
    let newest: Vec<u64> = (151..=200).collect();
    let seqs = |store: &_| all(store).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
    assert_eq!(seqs(&store), newest);
    assert!(store.close_files().is_empty());
    drop(store);
    let store = open_with(&storage, &directory, small(Durability::Group), options);
    assert_eq!(seqs(&store), newest);
    let stats = store.stats();
    assert_eq!((stats.events, stats.stored, stats.dropped_oldest), (50, 200, 150));
}

#[test]
fn one_writes_and_others_read() {
    let (storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::CrashSafe));
    store.append(&event(b"1")).unwrap();
    let again = Recovered::read(
        Arc::clone(&storage),
        &directory,
        small(Durability::CrashSafe),
        "another",
        &mut |_| (),
    );
    let error = again.unwrap_err();
    assert_eq!((error.code(), &error.context()["holder"]), (Code::Locked, &"test".into()));
    let reader = open(&storage, &directory, DiskOptions { read_only: true, ..small(Durability::CrashSafe) });
    assert_eq!(all(&reader), [(1, b"1".to_vec())]);
    assert_eq!(reader.append(&event(b"2")).unwrap_err().code(), Code::OperationForbidden);
    assert_eq!(store.append(&event(b"2")).unwrap().seq, 2);
}

#[test]
fn levels_and_watermarks_tell_what_is_safe() {
    let (storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::CrashSafe));
    let receipt = store.append(&event(b"1")).unwrap();
    assert_eq!(receipt.level, Level::CrashSafe.number());
    assert_eq!((store.watermark(Level::CrashSafe), store.watermark(Level::Durable)), (2, 1));
    store.wait_durable(receipt.seq, Level::Durable, Duration::from_secs(5)).unwrap();
    assert_eq!(store.watermark(Level::Durable), 2);
    let receipt = store.append_with(&event(b"2"), Some(Level::Durable)).unwrap();
    assert_eq!((receipt.level, store.watermark(Level::Durable)), (Level::Durable.number(), 3));

    let (storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    let receipt = store.append_with(&event(b"1"), Some(Level::Accepted)).unwrap();
    assert_eq!((receipt.level, store.watermark(Level::Durable)), (Level::Accepted.number(), 1));
    let (sender, receiver) = std::sync::mpsc::channel();
    store.when_durable(1, Level::Durable, Box::new(move |outcome| sender.send(outcome).unwrap())).unwrap();
    assert!(receiver.try_recv().is_err());
    store.append(&event(b"2")).unwrap();
    assert!(store.close_files().is_empty());
    assert!(receiver.recv().unwrap().is_ok());

    let volatile = elixirscope_foundation::events::EventStore::open(
        EventStoreOptions::default(),
        elixirscope_foundation::runtime::clock::AnchoredClock::new(
            Arc::new(elixirscope_foundation::runtime::clock::SystemClock),
            0,
        ),
        Arc::default(),
    )
    .unwrap();
    let receipt = volatile.append_with(&event(b"1"), Some(Level::Durable)).unwrap();
    assert_eq!(receipt.level, Level::Accepted.number());
    let error = volatile.wait_durable(1, Level::Durable, Duration::ZERO).unwrap_err();
    assert_eq!(error.code(), Code::OperationForbidden);
}
