//! Two activities of the files at once, and what is left of them: one is stopped before an operation of the disk while
//! another one runs from beginning to end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::durability::{Durability, Level};
use super::super::model::NewEvent;
use super::super::store::EventStore;
use super::tests::{balanced, disk, event, files, memory, open, seqs, store_some};
use crate::storage::{Fault, Operation, SimStorage, Storage};

const EIO: i32 = 5;

/// Nothing takes this long.
const LONG: Duration = Duration::from_secs(5);

/// Has another thread do `work` with the store before the first operation of this kind on a file whose name has this
/// in it; whether that has happened.
fn beside(
    storage: &SimStorage,
    store: &Arc<EventStore>,
    (kind, name): (Operation, &'static str),
    work: impl Fn(&EventStore) + Send + Sync + 'static,
) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let (store, happened) = (Arc::downgrade(store), Arc::clone(&done));
    storage.watch(move |operation, path: &Path| {
        let concerns = operation == kind && path.to_string_lossy().contains(name);
        if concerns && !happened.swap(true, Ordering::SeqCst) {
            let store = store.upgrade().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| work(&store));
            });
        }
    });
    done
}

/// What is there again after a loss of power, with books that balance.
fn after_a_crash<S>(storage: &SimStorage, store: S, mode: Durability) -> EventStore {
    storage.crash();
    drop(store);
    let store = open(storage, files(mode), memory(1));
    balanced(&store);
    store
}

/// Forty events of 400 bytes, which fill a log.
fn a_log_full() -> Vec<NewEvent<'static>> {
    (0..40).map(|time| NewEvent { data: &[7; 400], ..event(time) }).collect()
}

/// Stores events of 4 KiB each: sixteen take two blocks, three fill a log.
fn store_large(store: &EventStore, times: std::ops::Range<i64>) {
    for time in times {
        let large = NewEvent { data: &[7; 4 << 10], ..event(time) };
        store.append_with(&large, Some(Level::Accepted)).unwrap();
    }
}

/// A small segment is written anew with what follows it, and all of it is pruned meanwhile: the segment before it is
/// not the one whose place is taken.
#[test]
fn a_small_segment_that_is_pruned_while_it_is_written_anew_takes_no_other_with_it() {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::Group), memory(1)));
    store_some(&store, 100..116);
    store_some(&store, 0..3);
    store.seal_files(true).unwrap();
    while store.demote_one(disk(&store)) {}
    assert_eq!(disk(&store).archive.segments().len(), 2);
    store_some(&store, 200..203);
    let done = beside(&storage, &store, (Operation::Create, "seg-"), |store| {
        assert_eq!(store.prune_before(50).unwrap(), 3);
    });
    store.seal_files(true).unwrap();
    assert!(done.load(Ordering::SeqCst));
    let left: Vec<u64> = (1..=16).chain(20..=22).collect();
    assert_eq!(seqs(&store), left);
    balanced(&store);
    let store = after_a_crash(&storage, store, Durability::Group);
    assert_eq!(seqs(&store), left);
}

/// What is copied to a log while that is being synced is not durable when the sync fails, nor with the next round.
#[test]
fn what_is_copied_to_a_log_whose_sync_fails_is_written_again_before_it_is_durable() {
    for mode in [Durability::CrashSafe, Durability::Interval] {
        for seed in 0..8 {
            let storage = SimStorage::new(seed);
            let store = Arc::new(open(&storage, files(mode), memory(1)));
            store_some(&store, 0..3);
            let done = beside(&storage, &store, (Operation::Sync, "log-"), |store| {
                store_some(store, 3..6);
            });
            storage.inject(Fault::new(Operation::Sync, EIO).on("log-").times(1));
            store.wait_for(3, Level::Durable).unwrap();
            assert!(done.load(Ordering::SeqCst));
            store.wait_for(6, Level::Durable).unwrap();
            let store = after_a_crash(&storage, store, mode);
            assert_eq!(seqs(&store), (1..=6).collect::<Vec<_>>(), "{mode:?}, seed {seed}");
        }
    }
}

/// The same where the disk does not take another log at once either.
#[test]
fn a_round_after_one_that_failed_in_every_file_does_not_take_its_log_for_synced() {
    for (seed, close) in (0..16).map(|number| (number / 2, number % 2 == 0)) {
        let storage = SimStorage::new(seed);
        let store = open(&storage, files(Durability::CrashSafe), memory(1));
        store_some(&store, 0..3);
        if close {
            disk(&store).mapped.retire_all(disk(&store));
        }
        storage.inject(Fault::new(Operation::Sync, EIO).on("log-"));
        store.wait_for(3, Level::Durable).unwrap_err();
        storage.clear_faults();
        store.wait_for(3, Level::Durable).unwrap();
        let store = after_a_crash(&storage, store, Durability::CrashSafe);
        assert_eq!(seqs(&store), [1, 2, 3], "seed {seed}, closed: {close}");
    }
}

/// A store is read beside the process that writes to it, which seals and uses the logs again while they are read.
#[test]
fn one_who_only_reads_finds_what_is_sealed_while_the_logs_are_read() {
    for when in [Operation::List, Operation::Look, Operation::Open, Operation::Read] {
        read_beside(when);
    }
}

fn read_beside(when: Operation) {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::Group), memory(1)));
    let stored = 5;
    for time in 0..stored {
        store.append(&event(time)).unwrap();
    }
    let done = beside(
        &storage,
        &store,
        (when, if when == Operation::List { "store" } else { "log-" }),
        move |store| {
            let append_until = |done: &dyn Fn() -> bool| {
                while !done() {
                    store.append(&event(stored)).unwrap();
                }
            };
            append_until(&|| disk(store).logs.made().0 > 1);
            store.seal_files(true).unwrap();
            append_until(&|| disk(store).logs.made().1 > 0);
        },
    );
    let options = super::DiskOptions { read_only: true, ..files(Durability::Group) };
    let reader = open(&storage, options, memory(1));
    assert!(done.load(Ordering::SeqCst));
    let there = seqs(&reader);
    assert!(there.len() as i64 >= stored, "{when:?}: {} of {stored}: {:?}", there.len(), reader.gaps());
    balanced(&reader);
}

/// What was found to be damaged before the store is closed is not found again by the next process.
#[test]
fn damage_is_counted_once_also_over_a_close() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::Group), memory(1));
    store_large(&store, 0..16);
    store.seal_files(true).unwrap();
    while store.demote_one(disk(&store)) {}
    damage_first_segment(&storage);
    let (left, lost) = (seqs(&store), store.stats().lost);
    assert!(lost > 0 && lost < 16, "{lost}");
    balanced(&store);
    assert!(store.close_files().is_empty());
    drop(store);
    let store = open(&storage, files(Durability::Group), memory(1));
    assert_eq!(store.stats().lost, lost);
    assert_eq!(seqs(&store), left);
    assert_eq!(store.stats().lost, lost);
    balanced(&store);
}

/// A query finds damage in a segment while all of it is pruned: its events are gone once, not twice.
#[test]
fn what_is_pruned_while_it_is_found_to_be_damaged_is_gone_once() {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::Group), memory(1)));
    store_some(&store, 0..16);
    store_some(&store, 100..116);
    store.seal_files(true).unwrap();
    while store.demote_one(disk(&store)) {}
    damage_first_segment(&storage);
    std::thread::scope(|scope| {
        let (start, started) = channel::<()>();
        let pruned = Arc::downgrade(&store);
        let store = &store;
        scope.spawn(move || {
            started.recv().unwrap();
            store.prune_before(50).unwrap();
        });
        let first = AtomicBool::new(true);
        storage.watch(move |operation, path: &Path| {
            let concerns = operation == Operation::Read && path.to_string_lossy().contains("seg-");
            if concerns && first.swap(false, Ordering::SeqCst) {
                start.send(()).unwrap();
                let store = pruned.upgrade().unwrap();
                // It waits for us once it says what is pruned, or before: that is right, too.
                for _ in 0..20_000 {
                    if !disk(&store).prunes.load().is_empty() {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        });
        seqs(store);
    });
    assert_eq!(seqs(&store), (17..=32).collect::<Vec<_>>());
    balanced(&store);
    let stats = store.stats();
    assert_eq!(stats.pruned + stats.lost, 16, "{stats:?}");
}

/// A round goes over to another log, which is made while a part of what is to be written is sealed: the log's header
/// does not say that it begins behind events that are written to it.
#[test]
fn a_log_made_after_a_part_of_a_round_was_sealed_is_read_from_where_the_round_began() {
    for mode in [Durability::Group, Durability::CrashSafe] {
        let storage = SimStorage::new(1);
        let store = Arc::new(open(&storage, files(mode), memory(1)));
        if mode.maps() {
            // No log to copy to, so that rounds write.
            storage.inject(Fault::new(Operation::Create, EIO).on("log-").times(1));
        }
        // A round's worth that fills a log.
        store_large(&store, 0..3);
        store.sync_now().unwrap();
        store_some(&store, 3..23);
        let done = beside(&storage, &store, (Operation::Write, "log-"), |store| {
            store.seal_files(false).unwrap();
            assert!(disk(store).sealed() < 20);
            disk(store).logs.make_ready(1, disk(store).sync.durable()).unwrap();
        });
        store.sync_now().unwrap();
        assert!(done.load(Ordering::SeqCst) || mode.maps());
        let store = after_a_crash(&storage, store, mode);
        assert_eq!(seqs(&store), (1..=23).collect::<Vec<_>>(), "{mode:?}");
    }
}

/// A mapped log is full and makes way for another one while its sync runs: it does not say of itself that all of it is
/// synced.
#[test]
fn a_log_that_is_left_while_it_is_synced_does_not_say_that_it_was() {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::CrashSafe), memory(1)));
    let batch = a_log_full();
    store.append_batch(&batch).unwrap();
    let (snapshot, taken) = channel();
    let watched = storage.clone();
    let done = beside(&storage, &store, (Operation::Sync, "log-"), move |store| {
        store_some(store, 40..41);
        snapshot.send(watched.snapshot()).unwrap();
    });
    store.sync_now().unwrap();
    assert!(done.load(Ordering::SeqCst));
    let moment = taken.try_recv().unwrap();
    for seed in 0..200 {
        let store = open(&moment.crashed(seed), files(Durability::CrashSafe), memory(1));
        let found = &disk(&store).report;
        assert_eq!(found.rot, 0, "seed {seed}: {found:?}");
        let there = seqs(&store);
        let of_batch = there.iter().filter(|seq| **seq <= 40).count();
        assert!(of_batch == 0 || of_batch == 40, "seed {seed}: {there:?}");
        balanced(&store);
    }
}

/// A log that is being synced is sealed and its file used for another log, and then the sync fails: what is copied to
/// that other log later, and synced, is read again.
#[test]
fn a_file_whose_sync_fails_when_it_is_another_log_already_is_not_written_on() {
    for seed in 0..16 {
        let storage = SimStorage::new(seed);
        let store = Arc::new(open(&storage, files(Durability::CrashSafe), memory(1)));
        let batch = a_log_full();
        store.append_batch(&batch).unwrap();
        // The first log is full and left.
        store_some(&store, 0..1);
        let first = "log-0000000000000001";
        let done = beside(&storage, &store, (Operation::Sync, first), |store| {
            store.seal_files(true).unwrap();
            let batch = a_log_full();
            store.append_batch(&batch).unwrap();
            store.append_batch(&batch[..5]).unwrap();
        });
        storage.inject(Fault::new(Operation::Sync, EIO).on(first).times(1));
        store.sync_now().unwrap();
        assert!(done.load(Ordering::SeqCst));
        store.sync_now().unwrap();
        store_some(&store, 0..3);
        store.sync_now().unwrap();
        let there = seqs(&store);
        let store = after_a_crash(&storage, store, Durability::CrashSafe);
        assert_eq!(seqs(&store), there, "seed {seed}");
    }
}

/// Logs that nobody asks to be synced are let go of with their events.
#[test]
fn logs_that_are_never_synced_are_not_held_open_when_they_are_sealed() {
    let storage = SimStorage::new(1);
    let store = open(&storage, files(Durability::CrashSafe), memory(1));
    let batch = a_log_full();
    for _ in 0..20 {
        store.append_batch(&batch).unwrap();
        store.seal_files(true).unwrap();
        store.tidy().unwrap();
    }
    let (made, recycled) = disk(&store).logs.made();
    assert!(made >= 20 && recycled + 4 >= made, "{made} {recycled}");
    assert!(disk(&store).mapped.closed_logs() <= 2, "{}", disk(&store).mapped.closed_logs());
}

/// A prune reads a segment that memory has as well, and finds it to be damaged: what it removes from memory is not lost
/// to the damage, too, when memory lets go of the rest.
#[test]
fn what_is_pruned_of_a_damaged_segment_that_memory_has_is_gone_once() {
    for second in [None, Some(5), Some(100)] {
        let storage = SimStorage::new(1);
        let store = open(&storage, files(Durability::Group), memory(1));
        store_large(&store, 0..16);
        store.seal_files(true).unwrap();
        damage_first_segment(&storage);
        assert_eq!(store.prune_before(3).unwrap(), 3);
        balanced(&store);
        if let Some(second) = second {
            assert_eq!(store.prune_before(second).unwrap(), second.min(16) as u64 - 3);
            balanced(&store);
        }
        while store.demote_one(disk(&store)) {}
        balanced(&store);
        let stats = store.stats();
        assert_eq!(stats.dropped_oldest, 0, "{stats:?}");
        assert!(store.close_files().is_empty());
        drop(store);
        let store = open(&storage, files(Durability::Group), memory(1));
        balanced(&store);
        assert_eq!(store.stats().lost, stats.lost);
    }
}

fn damage_first_segment(storage: &SimStorage) {
    let names = storage.list(Path::new("store")).unwrap();
    let segment = names.into_iter().filter(|name| name.starts_with("seg-")).min().unwrap();
    storage.flip_bit(&Path::new("store").join(segment), 8 * 170).unwrap();
}

/// A prune begins before the store is closed and comes to its manifest afterwards, when another process has the files.
#[test]
fn nothing_of_a_store_is_written_once_it_is_closed() {
    let storage = SimStorage::new(1);
    let store = Arc::new(open(&storage, files(Durability::Group), memory(1)));
    store_some(&store, 0..20);
    store.seal_files(true).unwrap();
    let (pruning, begun) = channel::<()>();
    let (closed, may_write) = channel::<()>();
    let (arrived, came) = channel::<()>();
    let (may_write, came) = (Mutex::new(may_write), Mutex::new(came));
    std::thread::scope(|scope| {
        let (other, refused) = (Arc::clone(&store), arrived.clone());
        let prune = scope.spawn(move || {
            begun.recv_timeout(LONG).unwrap();
            let _ = other.prune_before(5);
            let _ = refused.send(());
        });
        let (stage, id) = (AtomicUsize::new(0), prune.thread().id());
        storage.watch(move |operation, path: &Path| {
            let ours = std::thread::current().id() == id;
            let is_log = path.to_string_lossy().contains("log-");
            if operation == Operation::Remove && is_log && !ours && stage.fetch_add(1, Ordering::SeqCst) == 0
            {
                // The last thing that closing does with the files: the manifest is written.
                pruning.send(()).unwrap();
                // It waits to write its manifest, or was refused.
                came.lock().unwrap().recv_timeout(LONG).unwrap();
            }
            if operation == Operation::Create && ours && path.to_string_lossy().contains("MANIFEST") {
                let _ = arrived.send(());
                let _ = may_write.lock().unwrap().recv_timeout(LONG);
            }
        });
        store_some(&store, 20..21);
        assert!(store.close_files().is_empty());
        let next = open(&storage, files(Durability::Group), memory(1));
        store_some(&next, 100..140);
        next.seal_files(true).unwrap();
        let there = seqs(&next);
        let _ = closed.send(());
        prune.join().unwrap();
        drop(next);
        let next = open(&storage, files(Durability::Group), memory(1));
        assert_eq!(seqs(&next), there);
        balanced(&next);
    });
}

/// A log is being made, which takes as long as the disk does, while another thread seals all that is there: the
/// manifest must not say that the new log, to which the next events go, is not needed.
#[test]
fn a_log_that_is_being_made_while_others_seal_is_read_after_a_crash() {
    for ahead in [false, true] {
        let storage = SimStorage::new(1);
        let store = Arc::new(open(&storage, files(Durability::Group), memory(1)));
        store_some(&store, 0..3);
        let done = beside(&storage, &store, (Operation::Allocate, "log-"), |store| {
            assert_eq!(store.seal_files(true).unwrap(), 1);
        });
        if ahead {
            disk(&store).logs.make_ready(1, store.newest_seq() + 1).unwrap();
        }
        store_some(&store, 3..6);
        store.sync_now().unwrap();
        assert!(done.load(Ordering::SeqCst));
        let acknowledged = seqs(&store);
        let store = after_a_crash(&storage, store, Durability::Group);
        assert_eq!(seqs(&store), acknowledged, "ahead: {ahead}");
    }
}
