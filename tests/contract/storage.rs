//! What every storage does.

use std::path::{Path, PathBuf};

use elixirscope_foundation::error::{Code, Error, Result};
use elixirscope_foundation::storage::{
    RealStorage, SimStorage, Storage, read_all, write_atomically, write_atomically_with,
};

/// A directory of its own on the machine's disk, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-contract-{name}-{}", std::process::id()));
        RealStorage.create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    #[allow(clippy::disallowed_methods, reason = "the seam removes no directories; a test may")]
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test on the real disk and on a simulated one.
fn on_both(name: &str, test: impl Fn(&dyn Storage, &Path)) {
    let scratch = Scratch::new(name);
    test(&RealStorage, &scratch.0);
    let simulated = SimStorage::new(1);
    simulated.create_dir_all(Path::new("/data")).unwrap();
    test(&simulated, Path::new("/data"));
}

pub(crate) fn kind(error: &Error) -> &str {
    error.context()["kind"].as_str().unwrap()
}

fn read(storage: &dyn Storage, path: &Path) -> Result<String> {
    read_all(storage, path, 1 << 20).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn files_are_written_at_the_end_and_read_anywhere() {
    on_both("files", |storage, directory| {
        let path = directory.join("log");
        let mut file = storage.create_new(&path).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all(b"hello ").unwrap();
        file.write_all(b"world").unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 11);
        let mut buffer = [0; 5];
        assert_eq!(file.read_at(6, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer, b"world");
        assert_eq!(file.read_at(9, &mut buffer).unwrap(), 2, "less only at the end");
        assert_eq!(file.read_at(11, &mut buffer).unwrap(), 0);
        assert_eq!(file.read_at(1 << 40, &mut buffer).unwrap(), 0);
        drop(file);
        storage.open_write(&path).unwrap().write_all(b"!").unwrap();
        assert_eq!(read(storage, &path).unwrap(), "hello world!");
        let mut reader = storage.open_read(&path).unwrap();
        assert!(reader.write_all(b"?").is_err(), "opened for reading");
        let error = read_all(storage, &path, 11).unwrap_err();
        assert_eq!((error.code(), &error.context()["limit"]), (Code::DataTooLarge, &11.into()));
    });
}

#[test]
fn files_are_written_in_place_allocated_and_cut() {
    on_both("places", |storage, directory| {
        let path = directory.join("log");
        let mut file = storage.create_new(&path).unwrap();
        file.allocate(600_000).unwrap();
        assert_eq!((file.len().unwrap(), storage.size(&path).unwrap()), (600_000, 600_000));
        file.allocate(100).unwrap();
        assert_eq!(file.len().unwrap(), 600_000, "allocating less cuts nothing");
        let bytes = read_all(storage, &path, 1 << 20).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "what is allocated reads as zeros");
        file.write_at(10, b"inside").unwrap();
        file.write_at(599_998, b"over the end").unwrap();
        file.write_all(b"; end").unwrap();
        file.sync().unwrap();
        file.allocate(700_000).unwrap();
        let bytes = read_all(storage, &path, 1 << 20).unwrap();
        assert_eq!(&bytes[8..18], b"\0\0inside\0\0");
        assert_eq!(&bytes[599_997..600_016], b"\0over the end; end\0");
        file.set_len(12).unwrap();
        file.set_len(14).unwrap();
        file.write_at(20, b"far").unwrap();
        assert_eq!(read(storage, &path).unwrap(), "\0\0\0\0\0\0\0\0\0\0in\0\0\0\0\0\0\0\0far");
        file.set_len(0).unwrap();
        assert!(file.is_empty().unwrap());
        let mut reader = storage.open_read(&path).unwrap();
        for refused in [reader.write_at(0, b"x"), reader.set_len(5), reader.allocate(5)] {
            assert_eq!(refused.unwrap_err().code(), Code::IoError, "opened for reading");
        }
        assert!(storage.available_bytes(&path).unwrap() > 1 << 20);
        assert!(storage.available_bytes(directory).unwrap() > 1 << 20);
    });
}

#[test]
fn a_mapping_writes_into_the_file() {
    on_both("mapping", |storage, directory| {
        let path = directory.join("log");
        let mut file = storage.create_new(&path).unwrap();
        let refused = file.map(100).unwrap_err();
        assert_eq!((refused.code(), kind(&refused)), (Code::OperationForbidden, "mapping_refused"));
        file.allocate(100_000).unwrap();
        let mut mapping = file.map(90_000).unwrap();
        mapping.prefault(5_000, 70_000);
        mapping.prefault(80_000, u64::MAX);
        mapping.prefault(7, 7);
        mapping.write(0, b"first").unwrap();
        mapping.write(4_094, b"across").unwrap();
        mapping.write(89_996, b"last").unwrap();
        for (offset, bytes) in [(89_997, &b"last"[..]), (90_001, b""), (u64::MAX, b"x")] {
            let refused = mapping.write(offset, bytes).unwrap_err();
            assert_eq!((refused.code(), kind(&refused)), (Code::IoError, "beyond_mapping"));
        }
        mapping.write(90_000, b"").unwrap();
        file.write_at(4_096, b"R").unwrap();
        file.sync().unwrap();
        drop(file);
        mapping.write(200, b"the handle is closed").unwrap();
        drop(mapping);
        let bytes = read_all(storage, &path, 1 << 20).unwrap();
        assert_eq!(&bytes[..6], b"first\0");
        assert_eq!(&bytes[200..220], b"the handle is closed");
        assert_eq!(&bytes[4_093..4_101], b"\0acRoss\0");
        assert_eq!(&bytes[89_995..90_001], b"\0last\0");
        assert!(storage.open_read(&path).unwrap().map(10).is_err(), "opened for reading");
    });
}

#[test]
fn a_directory_that_is_moved_away_is_noticed() {
    on_both("held", |storage, directory| {
        let path = directory.join("store");
        storage.create_dir_all(&path).unwrap();
        let held = storage.hold_dir(&path).unwrap();
        held.check().unwrap();
        storage.rename(&path, &directory.join("aside")).unwrap();
        assert_eq!(kind(&held.check().unwrap_err()), "not_found");
        storage.create_dir_all(&path).unwrap();
        assert_eq!(kind(&held.check().unwrap_err()), "moved");
        storage.remove_dir(&path).unwrap();
        storage.create_new(&path).unwrap();
        assert_eq!(kind(&held.check().unwrap_err()), "moved", "a file in its place");
        assert_eq!(kind(&storage.hold_dir(&path).unwrap_err()), "not_a_directory");
        storage.remove(&path).unwrap();
        storage.rename(&directory.join("aside"), &path).unwrap();
        held.check().unwrap();
        storage.remove_dir(&path).unwrap();
        storage.create_dir_all(&path).unwrap();
        assert_eq!(kind(&held.check().unwrap_err()), "moved", "a new one of the same name");
    });
}

#[test]
fn names_are_made_changed_listed_and_removed() {
    on_both("names", |storage, directory| {
        let path = |name: &str| directory.join(name);
        storage.create_dir_all(&path("deep/er")).unwrap();
        storage.create_dir_all(&path("deep/er")).unwrap();
        for name in ["b", "a", "deep/c"] {
            storage.create_new(&path(name)).unwrap().write_all(name.as_bytes()).unwrap();
        }
        assert_eq!(storage.list(directory).unwrap(), ["a", "b", "deep"]);
        assert_eq!(storage.list(&path("deep")).unwrap(), ["c", "er"]);
        storage.rename(&path("a"), &path("b")).unwrap();
        storage.rename(&path("deep/c"), &path("deep/er/c")).unwrap();
        assert_eq!(read(storage, &path("b")).unwrap(), "a", "the old b is replaced");
        assert_eq!(storage.list(&path("deep/er")).unwrap(), ["c"]);
        assert!(storage.exists(&path("b")).unwrap() && !storage.exists(&path("a")).unwrap());
        let open = storage.open_read(&path("b")).unwrap();
        storage.remove(&path("b")).unwrap();
        assert_eq!(open.len().unwrap(), 1, "who has it open can go on");
        assert_eq!(storage.list(directory).unwrap(), ["deep"]);
        storage.sync_dir(directory).unwrap();
    });
}

#[test]
fn errors_are_the_same_everywhere_and_name_the_path() {
    on_both("errors", |storage, directory| {
        let path = |name: &str| directory.join(name);
        storage.create_new(&path("file")).unwrap();
        storage.create_dir_all(&path("dir")).unwrap();
        let missing = path("missing");
        for (what, error) in [
            ("open_read", storage.open_read(&missing).unwrap_err()),
            ("open_write", storage.open_write(&missing).unwrap_err()),
            ("create_new", storage.create_new(&missing.join("x")).unwrap_err()),
            ("rename", storage.rename(&missing, &path("other")).unwrap_err()),
            ("remove", storage.remove(&missing).unwrap_err()),
            ("remove_dir", storage.remove_dir(&missing).unwrap_err()),
            ("size", storage.size(&missing).unwrap_err()),
            ("available_bytes", storage.available_bytes(&missing).unwrap_err()),
            ("hold_dir", storage.hold_dir(&missing).unwrap_err()),
            ("list", storage.list(&missing).unwrap_err()),
            ("sync_dir", storage.sync_dir(&missing).unwrap_err()),
            ("lock", storage.lock(&missing.join("x"), "me").unwrap_err()),
        ] {
            assert_eq!((error.code(), kind(&error)), (Code::DataNotFound, "not_found"), "{what}: {error}");
            assert!(error.message().contains("missing"), "{error}");
        }
        assert_eq!(kind(&storage.create_new(&path("file")).unwrap_err()), "already_exists");
        assert_eq!(kind(&storage.create_dir_all(&path("file")).unwrap_err()), "already_exists");
        assert_eq!(kind(&storage.open_read(&path("dir")).unwrap_err()), "is_a_directory");
        assert_eq!(kind(&storage.open_write(&path("dir")).unwrap_err()), "is_a_directory");
        assert_eq!(kind(&storage.remove(&path("dir")).unwrap_err()), "is_a_directory");
        assert_eq!(kind(&storage.list(&path("file")).unwrap_err()), "not_a_directory");
        assert_eq!(kind(&storage.size(&path("dir")).unwrap_err()), "is_a_directory");
        assert_eq!(kind(&storage.rename(&path("file"), &path("dir")).unwrap_err()), "is_a_directory");
        assert_eq!(kind(&storage.rename(&path("dir"), &path("file")).unwrap_err()), "not_a_directory");
        assert_eq!(kind(&storage.remove_dir(&path("file")).unwrap_err()), "not_a_directory");
        assert_eq!(kind(&storage.hold_dir(&path("file")).unwrap_err()), "not_a_directory");
        assert_eq!(kind(&storage.open_read(&path("file/below")).unwrap_err()), "not_a_directory");
        storage.create_dir_all(&path("full/dir")).unwrap();
        assert_eq!(kind(&storage.remove_dir(&path("full")).unwrap_err()), "not_empty");
        assert_eq!(kind(&storage.rename(&path("dir"), &path("full")).unwrap_err()), "not_empty");
        storage.rename(&path("full"), &path("full/dir/er")).unwrap_err();
        storage.rename(&path("full"), &path("dir")).unwrap();
        storage.rename(&path("dir"), &path("dir")).unwrap();
        assert_eq!(storage.list(&path("dir")).unwrap(), ["dir"]);
    });
}

#[test]
fn a_lock_keeps_others_out_and_says_who_holds_it() {
    on_both("lock", |storage, directory| {
        let path = directory.join("LOCK");
        let held = storage.lock(&path, "orders").unwrap();
        let error = storage.lock(&path, "second").unwrap_err();
        assert_eq!(error.code(), Code::Locked);
        let holder = error.context()["holder"].as_str().unwrap();
        assert!(holder.starts_with("orders"), "{holder}");
        drop(held);
        let again = storage.lock(&path, "a much longer name than the first").unwrap();
        drop(again);
        let _third = storage.lock(&path, "short").unwrap();
        let error = storage.lock(&path, "fourth").unwrap_err();
        assert!(error.context()["holder"].as_str().unwrap().starts_with("short"));
        assert!(!error.message().contains("longer"), "{error}");
    });
}

#[test]
fn atomic_writing_replaces_or_changes_nothing() {
    on_both("atomic", |storage, directory| {
        let path = directory.join("config.json");
        write_atomically(storage, &path, b"old").unwrap();
        write_atomically(storage, &path, b"new").unwrap();
        assert_eq!(read(storage, &path).unwrap(), "new");
        let refused: Result<()> = write_atomically_with(storage, &path, |writer| {
            writer.put(&vec![b'x'; 100_000])?;
            Err(Error::new(Code::SerializationFailed, "half-way"))
        });
        assert_eq!(refused.unwrap_err().code(), Code::SerializationFailed);
        assert_eq!(read(storage, &path).unwrap(), "new");
        assert_eq!(storage.list(directory).unwrap(), ["config.json"], "no temporary file is left");

        // Small and large pieces, in order, and what `fill` answers.
        let lines = write_atomically_with(storage, &path, |writer| {
            for n in 0..10_000 {
                writer.put(format!("{n}\n").as_bytes())?;
            }
            writer.put(&vec![b'.'; 70_000])?;
            assert_eq!(writer.written(), 48_890 + 70_000);
            Ok(10_000)
        });
        assert_eq!(lines.unwrap(), 10_000);
        let text = read(storage, &path).unwrap();
        let (numbers, dots) = text.split_at(48_890);
        assert!(numbers.lines().eq((0..10_000).map(|n| n.to_string())));
        assert!(dots.len() == 70_000 && dots.bytes().all(|byte| byte == b'.'));

        // A temporary file that a crash left behind is in nobody's way.
        storage.create_new(&directory.join("config.json.0.tmp")).unwrap();
        write_atomically(storage, &path, b"newest").unwrap();
        assert_eq!(read(storage, &path).unwrap(), "newest");
        assert_eq!(write_atomically(storage, Path::new("/"), b"").unwrap_err().code(), Code::InvalidInput);
    });
}
