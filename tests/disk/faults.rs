//! Disks that fail and files that rot: what is acknowledged stays, what is missing is named, the books balance.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Durability, EventStore, Level, MissingReason, NewEvent, Query, Recovered,
};
use elixirscope_foundation::storage::{Fault, Operation, SimStorage, Storage};

use super::{all, event, open, small};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn simulated() -> (SimStorage, Arc<dyn Storage>, PathBuf) {
    let simulated = SimStorage::new(3);
    (simulated.clone(), Arc::new(simulated), PathBuf::from("store"))
}

fn append(store: &EventStore, range: std::ops::Range<u64>) {
    for n in range {
        store.append(&event(&n.to_le_bytes())).unwrap();
    }
}

/// What is there and what is not make up everything that was ever stored.
fn balanced(store: &EventStore) {
    let stats = store.stats();
    let gone = stats.dropped_oldest + stats.pruned + stats.expired + stats.evicted + stats.lost;
    assert_eq!(stats.stored, stats.events + gone, "{stats:?}");
    assert_eq!(all(store).len() as u64, store.stats().events, "{stats:?}");
}

fn named(storage: &dyn Storage, directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let names = storage.list(directory).unwrap();
    names.into_iter().filter(|name| name.starts_with(prefix)).map(|name| directory.join(name)).collect()
}

#[test]
fn rot_in_a_sealed_segment_costs_a_block_and_is_named() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..64);
    assert!(store.close_files().is_empty());
    drop(store);
    let segments = named(&*storage, &directory, "seg-");
    assert_eq!(segments.len(), 4);
    // The block is the only one of its file: everything of that segment is gone, nothing of another.
    disk.flip_bit(segments.get(1).unwrap(), 8 * 170).unwrap();
    let store = open(&storage, &directory, small(Durability::Group));
    let seqs: Vec<u64> = all(&store).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (1..=16).chain(33..=64).collect::<Vec<u64>>());
    balanced(&store);
    let stats = store.stats();
    assert_eq!((stats.events, stats.lost), (48, 16));
    let gaps = store.gaps();
    let gap = gaps.first().unwrap();
    assert_eq!((gap.first_seq, gap.last_seq, gap.reason), (17, 32, MissingReason::Damage));
    assert!(!named(&*storage, &directory.join("quarantine"), "seg-").is_empty());
    // It is known from then on.
    append(&store, 64..65);
    assert!(store.close_files().is_empty());
    drop(store);
    let store = open(&storage, &directory, small(Durability::Group));
    assert_eq!(store.gaps(), gaps);
    assert_eq!(store.stats().lost, 16);
    balanced(&store);
}

#[test]
fn a_segment_that_is_gone_is_named_at_once() {
    let (_, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..64);
    assert!(store.close_files().is_empty());
    drop(store);
    storage.remove(named(&*storage, &directory, "seg-").first().unwrap()).unwrap();
    let store = open(&storage, &directory, small(Durability::Group));
    let report = store.disk_stats().unwrap().recovery;
    assert_eq!((report.missing_files, report.gaps.len(), store.stats().lost), (1, 1, 16));
    balanced(&store);
}

#[test]
fn rot_in_a_log_that_was_synced_is_told_from_a_torn_end() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..10);
    let log = named(&*storage, &directory, "log-").into_iter().next().unwrap();
    let fork = disk.fork();
    fork.kill();
    // The first event begins behind the header and two names.
    fork.flip_bit(&log, 8 * 200).unwrap();
    let left: Arc<dyn Storage> = Arc::new(fork);
    let store = open(&left, &directory, small(Durability::Group));
    let report = store.disk_stats().unwrap().recovery;
    assert!(report.rot > 0 && !report.gaps.is_empty(), "{report:?}");
    assert_eq!(report.gaps.first().unwrap().reason, MissingReason::Damage);
    balanced(&store);
    assert!(!named(&*left, &directory.join("quarantine"), "log-").is_empty());
}

#[test]
fn a_sync_that_fails_is_made_good_in_another_file_before_anybody_is_told() {
    for mode in [Durability::Group, Durability::Strict] {
        let (disk, storage, directory) = simulated();
        let store = open(&storage, &directory, small(mode));
        append(&store, 0..5);
        disk.inject(Fault::new(Operation::Sync, EIO).on("log-").times(1));
        // The log is given up, and a new one takes what was not durable.
        let receipt = store.append(&event(b"6")).unwrap();
        assert_eq!(receipt.level, Level::Durable.number());
        let stats = store.disk_stats().unwrap();
        assert_eq!((stats.sync_failures, store.disk_trouble().is_none()), (1, true));
        append(&store, 6..9);
        let before = all(&store);
        for seed in 0..20 {
            let left = disk.snapshot().crashed(seed);
            let left: Arc<dyn Storage> = Arc::new(left);
            assert_eq!(all(&open(&left, &directory, small(mode))), before, "{mode:?}, seed {seed}");
        }
    }
}

#[test]
fn while_the_disk_is_full_events_stay_in_memory_and_are_safe_when_there_is_room() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..5);
    disk.inject(Fault::new(Operation::Write, ENOSPC));
    disk.inject(Fault::new(Operation::Allocate, ENOSPC));
    let error = store.append(&event(b"6")).unwrap_err();
    assert_eq!((error.code(), &error.context()["seq"]), (Code::NoSpace, &6.into()));
    assert!(store.disk_trouble().is_some());
    // It is there, and says what it is.
    assert_eq!(all(&store).len(), 6);
    assert_eq!((store.watermark(Level::Accepted), store.watermark(Level::Durable)), (7, 6));
    let error = store.wait_durable(6, Level::Durable, Duration::from_millis(1)).unwrap_err();
    assert!([Code::NoSpace, Code::Timeout].contains(&error.code()), "{error}");
    disk.clear_faults();
    let receipt = store.append(&event(b"7")).unwrap();
    assert_eq!((receipt.level, store.watermark(Level::Durable)), (Level::Durable.number(), 8));
    assert!(store.disk_trouble().is_none());
    let left: Arc<dyn Storage> = Arc::new(disk.snapshot().crashed(1));
    assert_eq!(all(&open(&left, &directory, small(Durability::Group))).len(), 7);
}

#[test]
fn a_mapped_log_that_cannot_be_had_is_told_by_the_receipt() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::CrashSafe));
    append(&store, 0..5);
    disk.inject(Fault::new(Operation::Allocate, ENOSPC));
    let mut levels = Vec::new();
    for n in 5_u64..200 {
        levels.push(store.append(&event(&n.to_le_bytes())).unwrap().level);
    }
    let first = levels.iter().position(|level| *level == Level::Accepted.number()).unwrap() as u64 + 6;
    assert_eq!(store.watermark(Level::CrashSafe), first);
    assert_eq!(all(&store).len(), 200);
    disk.clear_faults();
    store.wait_durable(200, Level::Durable, Duration::from_mins(1)).unwrap();
    assert_eq!(store.watermark(Level::CrashSafe), 201);
    let receipt = store.append(&event(b"200")).unwrap();
    assert_eq!(receipt.level, Level::CrashSafe.number());
    // The process dies in the middle of the next append.
    store.append(&event(b"201")).unwrap();
    let fork = disk.fork();
    fork.kill();
    let left: Arc<dyn Storage> = Arc::new(fork);
    let again = open(&left, &directory, small(Durability::CrashSafe));
    assert_eq!(all(&again).into_iter().take_while(|(seq, _)| *seq <= 201).count(), 201);
}

#[test]
fn a_damaged_manifest_is_made_up_from_the_other_files_and_never_replaced_by_an_empty_store() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..40);
    store.seal_files(false).unwrap();
    append(&store, 40..45);
    let fork = disk.fork();
    fork.kill();
    fork.flip_bit(&directory.join("MANIFEST"), 100).unwrap();
    let left: Arc<dyn Storage> = Arc::new(fork);
    let store = open(&left, &directory, small(Durability::Group));
    assert!(store.disk_stats().unwrap().recovery.rebuilt);
    assert_eq!(all(&store).len(), 45);
    // With nothing to make it up from it is an error.
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    drop(store);
    disk.flip_bit(&directory.join("MANIFEST"), 100).unwrap();
    let read = Recovered::read(storage, &directory, small(Durability::Group), "test", &mut |_| ());
    assert_eq!(read.unwrap_err().code(), Code::DataCorruption);
}

#[test]
fn a_directory_with_other_files_is_not_made_a_store() {
    let (_, storage, directory) = simulated();
    storage.create_dir_all(&directory).unwrap();
    storage.create_new(&directory.join("letters.txt")).unwrap();
    let read = Recovered::read(storage, &directory, small(Durability::Group), "test", &mut |_| ());
    let error = read.unwrap_err();
    assert_eq!(error.code(), Code::OperationForbidden);
    assert!(error.message().contains("letters.txt"), "{error}");
}

#[test]
fn a_batch_is_whole_or_not_there() {
    for mode in [Durability::CrashSafe, Durability::Group] {
        let (disk, storage, directory) = simulated();
        let store = open(&storage, &directory, small(mode));
        let data: Vec<Vec<u8>> = (0..30_u64).map(|n| n.to_le_bytes().to_vec()).collect();
        let events: Vec<NewEvent<'_>> = data.iter().map(|data| event(data)).collect();
        store.append_batch(&events[..7]).unwrap();
        disk.record();
        store.append_batch(&events).unwrap();
        for snapshot in disk.recording() {
            for seed in 0..30 {
                for left in [snapshot.killed(seed), snapshot.crashed(seed)] {
                    let left: Arc<dyn Storage> = Arc::new(left);
                    let there = all(&open(&left, &directory, small(mode))).len();
                    let lost = mode == Durability::CrashSafe && there == 0;
                    assert!(there == 7 || there == 37 || lost, "{mode:?}, seed {seed}: {there}");
                }
            }
        }
    }
}

#[test]
fn a_query_over_a_file_that_cannot_be_read_says_so() {
    let (disk, storage, directory) = simulated();
    let store = open(&storage, &directory, small(Durability::Group));
    append(&store, 0..32);
    assert!(store.close_files().is_empty());
    drop(store);
    let store = open(&storage, &directory, small(Durability::Group));
    disk.inject(Fault::new(Operation::Open, EIO).on("seg-"));
    let mut cursor = store.query(&Query::default()).unwrap();
    assert_eq!(cursor.try_next().unwrap_err().code(), Code::IoError);
    disk.clear_faults();
    assert_eq!(all(&store).len(), 32);
}
