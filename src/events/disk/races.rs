//! Two activities of the files at once, and what is left of them: one is stopped before an operation of the disk while
//! another one runs from beginning to end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::durability::Durability;
use super::super::store::EventStore;
use super::tests::{balanced, disk, files, memory, open, seqs, store_some};
use crate::storage::{Operation, SimStorage};

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
    storage.crash();
    drop(store);
    let store = open(&storage, files(Durability::Group), memory(1));
    assert_eq!(seqs(&store), left);
    balanced(&store);
}
