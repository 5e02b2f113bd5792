//! Errors, full disks, slowness and decay of a simulated disk.

use std::path::Path;
use std::sync::{Arc, Mutex};

use elixirscope_foundation::error::{Code, Result};
use elixirscope_foundation::runtime::clock::{Clock, SimClock};
use elixirscope_foundation::storage::{Fault, Operation, SimStorage, Storage, read_all};

use crate::storage::kind;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// Does one operation of this kind, of which there is one by construction.
fn perform(disk: &SimStorage, operation: Operation) -> Result<()> {
    let (root, path) = (Path::new("/"), Path::new("/file"));
    let file = || disk.open_write(path);
    match operation {
        Operation::Create => disk.create_new(Path::new("/new")).map(|_| ()),
        Operation::Open => disk.open_read(path).map(|_| ()),
        Operation::Read => file()?.read_at(0, &mut [0; 4]).map(|_| ()),
        Operation::Write => file()?.write_all(b"more"),
        Operation::Allocate => file()?.allocate(9_000),
        Operation::SetLen => file()?.set_len(2),
        Operation::Map => file()?.map(4).map(|_| ()),
        Operation::MappedWrite => file()?.map(4)?.write(0, b"x"),
        Operation::Sync => file()?.sync(),
        Operation::Rename => disk.rename(path, Path::new("/other")),
        Operation::Remove => disk.remove(path),
        Operation::RemoveDir => disk.remove_dir(Path::new("/dir")),
        Operation::CreateDir => disk.create_dir_all(Path::new("/more")),
        Operation::SyncDir => disk.sync_dir(root),
        Operation::List => disk.list(root).map(|_| ()),
        Operation::Look => disk.size(path).map(|_| ()),
        Operation::Lock => disk.lock(Path::new("/LOCK"), "me").map(drop),
    }
}

fn disk() -> SimStorage {
    let disk = SimStorage::new(1);
    disk.create_dir_all(Path::new("/dir")).unwrap();
    disk.create_new(Path::new("/file")).unwrap().write_all(b"content").unwrap();
    disk
}

#[test]
fn every_operation_can_fail_with_every_error_and_does_nothing_else() {
    for (errno, code, name) in [
        (EIO, Code::IoError, "other"),
        (ENOSPC, Code::NoSpace, "no_space"),
        (EMFILE, Code::ResourceExhausted, "too_many_files"),
        (EROFS, Code::IoError, "read_only"),
    ] {
        for operation in Operation::ALL {
            let disk = disk();
            disk.inject(Fault::new(operation, errno).times(1));
            let before = disk.fingerprint();
            let answer = perform(&disk, operation);
            if operation == Operation::MappedWrite {
                answer.unwrap();
                continue;
            }
            let error = answer.unwrap_err();
            assert_eq!((error.code(), kind(&error)), (code, name), "{operation:?}: {error}");
            if operation != Operation::Write {
                assert_eq!(disk.fingerprint(), before, "{operation:?} did something");
            }
            perform(&disk, operation).unwrap_or_else(|error| panic!("{operation:?} once only: {error}"));
        }
    }
}

#[test]
fn faults_strike_where_and_when_they_are_told() {
    let disk = disk();
    disk.inject(Fault::new(Operation::Write, ENOSPC).on("file").after(2).times(2));
    let mut other = disk.create_new(Path::new("/other")).unwrap();
    let mut file = disk.open_write(Path::new("/file")).unwrap();
    let mut writes = || {
        other.write_all(b"x").unwrap();
        file.write_all(b"more").is_ok()
    };
    assert_eq!([(); 6].map(|()| writes()), [true, true, false, false, true, true]);
    disk.inject(Fault::any(EIO).after(1));
    disk.list(Path::new("/")).unwrap();
    assert!(disk.list(Path::new("/")).is_err() && disk.sync_dir(Path::new("/")).is_err());
    disk.clear_faults();
    disk.list(Path::new("/")).unwrap();
}

#[test]
fn a_failed_write_leaves_a_front_part() {
    let mut lengths: Vec<u64> = (0..200)
        .map(|seed| {
            let disk = SimStorage::new(seed);
            let mut file = disk.create_new(Path::new("/file")).unwrap();
            disk.inject(Fault::new(Operation::Write, EIO));
            file.write_all(b"12345678").unwrap_err();
            file.len().unwrap()
        })
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths, (0..=8).collect::<Vec<u64>>());
}

#[test]
fn after_a_failed_sync_a_later_one_succeeds_and_proves_nothing() {
    let path = Path::new("/file");
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimStorage::new(seed);
        let mut file = disk.create_new(path).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all(b"first ").unwrap();
        disk.inject(Fault::new(Operation::Sync, EIO).times(1));
        file.sync().unwrap_err();
        file.write_all(b"second").unwrap();
        file.sync().unwrap();
        assert_eq!(read_all(&disk, path, 100).unwrap(), b"first second", "the cache still has it");
        disk.crash();
        let found = read_all(&disk, path, 100).unwrap();
        assert_eq!(&found[6..], b"second", "what was written later is synced");
        lost += u32::from(&found[..6] != b"first ");
    }
    assert!(lost > 20, "{lost} times of 100 the first write was lost");

    // What was cut off does not come back with the next growth.
    let disk = SimStorage::new(1);
    let mut file = disk.create_new(path).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_all(b"abcdef").unwrap();
    file.sync().unwrap();
    disk.inject(Fault::new(Operation::Sync, EIO).times(1));
    file.sync().unwrap_err();
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    file.sync().unwrap();
    disk.crash();
    assert_eq!(read_all(&disk, path, 100).unwrap(), b"ab\0\0");
}

#[test]
fn a_disk_fills_up_and_has_room_again() {
    let disk = SimStorage::new(1);
    disk.set_capacity(10_000);
    let path = |name: &str| Path::new("/").join(name);
    let mut file = disk.create_new(&path("a")).unwrap();
    file.allocate(6_000).unwrap();
    assert_eq!(disk.available_bytes(&path("a")).unwrap(), 4_000);
    let mut other = disk.create_new(&path("b")).unwrap();
    assert_eq!(other.allocate(4_001).unwrap_err().code(), Code::NoSpace);
    assert_eq!(other.len().unwrap(), 0, "as long as before");
    let error = other.write_all(&[1; 5_000]).unwrap_err();
    assert_eq!((error.code(), other.len().unwrap()), (Code::NoSpace, 4_000), "what fits is written");
    file.write_at(5_000, &[2; 1_000]).unwrap();
    disk.remove(&path("b")).unwrap();
    file.write_all(&[3; 4_000]).unwrap();
}

#[test]
fn slowness_is_whatever_the_watcher_makes_of_an_operation() {
    let disk = disk();
    let clock = Arc::new(SimClock::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (slow, notes) = (clock.clone(), seen.clone());
    disk.watch(move |operation, path| {
        if operation == Operation::Sync {
            slow.advance(5_000_000);
        }
        notes.lock().unwrap().push((operation, path.to_owned()));
    });
    perform(&disk, Operation::Sync).unwrap();
    assert_eq!(clock.boot_ns(), 5_000_000);
    let file = Path::new("/file").to_owned();
    assert_eq!(*seen.lock().unwrap(), [(Operation::Open, file.clone()), (Operation::Sync, file)]);
}

#[test]
fn decay_changes_what_is_on_the_disk() {
    let (disk, path) = (SimStorage::new(1), Path::new("/file"));
    let mut file = disk.create_new(path).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_all(b"abcdefgh").unwrap();
    file.sync().unwrap();
    let found = || {
        let copy = disk.fork();
        copy.crash();
        let bytes = read_all(&disk, path, 100).unwrap();
        assert_eq!(read_all(&copy, path, 100).unwrap(), bytes, "the disk decays, not the cache");
        String::from_utf8(bytes).unwrap()
    };
    disk.flip_bit(path, 8 + 5).unwrap();
    assert_eq!(found(), "aBcdefgh");
    disk.flip_bit(path, 64).unwrap();
    disk.swap_blocks(path, 0, 3, 2).unwrap();
    assert_eq!(found(), "ghcdefaB");
    disk.copy_block(path, 0, 1, 4).unwrap();
    assert_eq!(found(), "ghcdghcd");
    disk.copy_block(path, 0, 2, 3).unwrap();
    assert_eq!(found(), "ghcdghgh");
    disk.fill(path, 1, 3, b'.').unwrap();
    disk.fill(path, 7, 99, b'!').unwrap();
    assert_eq!(found(), "g..dghg!");
    disk.cut(path, 3).unwrap();
    disk.cut(path, 5).unwrap();
    assert_eq!(found(), "g..");
    assert_eq!(disk.flip_bit(Path::new("/none"), 0).unwrap_err().code(), Code::DataNotFound);
}
