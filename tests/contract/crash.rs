//! What a stop leaves on a simulated disk: never less than was synced, and everything else that may happen.

use std::collections::BTreeSet;
use std::path::Path;

use elixirscope_foundation::error::{Code, Result};
use elixirscope_foundation::storage::{
    File, SimStorage, Snapshot, Storage, is_temporary, read_all, write_atomically,
};
use proptest::prelude::*;

use crate::storage::kind;

fn bytes(disk: &SimStorage, path: &Path) -> Option<Vec<u8>> {
    disk.exists(path).unwrap().then(|| read_all(disk, path, 1 << 20).unwrap())
}

fn text(disk: &SimStorage, path: &Path) -> Option<String> {
    bytes(disk, path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// An empty file whose name is durable.
fn durable_file(disk: &SimStorage, path: &Path) -> Box<dyn File> {
    let file = disk.create_new(path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
    file
}

#[test]
fn a_crash_at_any_operation_of_an_atomic_write_leaves_the_old_or_the_new() {
    let (path, root) = (Path::new("/data/state"), Path::new("/"));
    let disk = SimStorage::new(1);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(root).unwrap();
    write_atomically(&disk, path, b"the old content").unwrap();
    disk.record();
    write_atomically(&disk, path, b"the new content, which is longer").unwrap();
    let moments = disk.recording();
    assert_eq!(moments.len(), 1 + 5, "create, write, sync, rename and sync_dir are five operations");
    let (mut old_seen, mut new_seen) = (0, 0);
    for moment in &moments {
        let acknowledged = moment.operations() == disk.operations();
        let drawn = (0..100).map(|seed| moment.crashed(seed));
        let killed = (0..10).map(|seed| moment.killed(seed));
        let enumerated = (0..moment.outcomes()).map(|number| moment.outcome(number));
        for after in drawn.chain(killed).chain(enumerated) {
            match text(&after, path).as_deref() {
                Some("the old content") if !acknowledged => old_seen += 1,
                Some("the new content, which is longer") => new_seen += 1,
                other => panic!("after operation {}: {other:?}", moment.operations()),
            }
            for name in after.list(Path::new("/data")).unwrap() {
                assert!(name == "state" || is_temporary(&name), "{name}");
            }
            // The disk is usable again.
            write_atomically(&after, path, b"after").unwrap();
        }
    }
    assert!(old_seen > 50 && new_seen > 50, "both outcomes happen: {old_seen}, {new_seen}");
}

#[test]
fn without_sync_a_crash_loses_tears_reorders_and_garbles() {
    let path = Path::new("/file");
    let disk = SimStorage::new(3);
    let mut file = durable_file(&disk, path);
    file.write_all(b"kept").unwrap();
    file.sync().unwrap();
    for letter in *b"abcdefgh" {
        file.write_all(&[letter; 500]).unwrap();
    }
    let moment = disk.snapshot();
    let [mut shorter, mut whole, mut zeros, mut garbage, mut late, mut torn] = [0; 6];
    for seed in 0..1_000 {
        let content = bytes(&moment.crashed(seed), path).unwrap();
        assert!(content.starts_with(b"kept"), "seed {seed}: what was synced survives");
        let rest = &content[4..];
        let written = |byte: &u8| byte.is_ascii_lowercase();
        shorter += u32::from(rest.len() < 4_000);
        whole += u32::from(rest.len() == 4_000 && rest.iter().all(written));
        zeros += u32::from(rest.contains(&0));
        garbage += u32::from(rest.iter().any(|byte| *byte != 0 && !written(byte)));
        late += u32::from(rest.contains(&b'h') && !rest.contains(&b'a'));
        // A write that is there in part, at the border of a sector.
        torn += u32::from(rest.len() > 600 && rest[507] == b'b' && rest[508] == 0);
        assert!(
            rest.len().is_multiple_of(500),
            "seed {seed}: a length that the file never had: {}",
            rest.len()
        );
    }
    let seen = [shorter, whole, zeros, garbage, late, torn];
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
    drop(file);
}

/// What a file may hold after a crash, byte by byte, reckoned the slow way.
struct Model {
    /// The content after each change since the last sync, that at the sync first.
    versions: Vec<Vec<u8>>,
    /// Which bytes were touched since then; those may be anything.
    touched: Vec<bool>,
}

impl Model {
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>), touched: std::ops::Range<usize>) {
        let mut next = self.versions.last().cloned().unwrap_or_default();
        change(&mut next);
        self.versions.push(next);
        self.touched.resize(self.touched.len().max(touched.end), false);
        self.touched[touched].fill(true);
    }

    fn allows(&self, found: &[u8]) -> bool {
        let synced = &self.versions[0];
        let untouched = |at: &usize| !self.touched.get(*at).unwrap_or(&false);
        self.versions.iter().any(|version| version.len() == found.len())
            && (0..found.len()).filter(untouched).all(|at| found[at] == synced.get(at).copied().unwrap_or(0))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    WriteAt(usize, Vec<u8>),
    Mapped(usize, Vec<u8>),
    SetLen(usize),
    Allocate(usize),
    Sync,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0_usize..5_000;
    let some = || prop::collection::vec(1_u8..255, 1..1_500);
    let step = prop_oneof![
        3 => some().prop_map(Step::Append),
        3 => (at(), some()).prop_map(|(at, bytes)| Step::WriteAt(at, bytes)),
        2 => (at(), some()).prop_map(|(at, bytes)| Step::Mapped(at, bytes)),
        1 => at().prop_map(Step::SetLen),
        1 => at().prop_map(Step::Allocate),
        2 => Just(Step::Sync),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..15)
}

proptest! {
    #[test]
    fn what_is_synced_survives_and_a_length_is_one_of_those_it_had(steps in steps(), seed in any::<u64>()) {
        let path = Path::new("/file");
        let disk = SimStorage::new(seed);
        let mut file = durable_file(&disk, path);
        let mut model = Model { versions: vec![Vec::new()], touched: Vec::new() };
        for step in steps {
            let len = file.len().unwrap() as usize;
            match step {
                Step::Append(bytes) => {
                    file.write_all(&bytes).unwrap();
                    model.change(|content| content.extend(&bytes), len..len + bytes.len());
                }
                Step::WriteAt(at, bytes) => {
                    let end = at + bytes.len();
                    file.write_at(at as u64, &bytes).unwrap();
                    model.change(
                        |content| {
                            content.resize(content.len().max(end), 0);
                            content[at..end].copy_from_slice(&bytes);
                        },
                        at..end,
                    );
                }
                Step::Mapped(at, bytes) if at + bytes.len() <= len => {
                    file.map(len as u64).unwrap().write(at as u64, &bytes).unwrap();
                    model.change(|content| content[at..at + bytes.len()].copy_from_slice(&bytes), at..at + bytes.len());
                }
                Step::Mapped(..) => {}
                Step::SetLen(to) => {
                    file.set_len(to as u64).unwrap();
                    model.change(|content| content.resize(to, 0), to.min(len)..len);
                }
                Step::Allocate(to) => {
                    file.allocate(to as u64).unwrap();
                    model.change(|content| content.resize(len.max(to), 0), 0..0);
                }
                Step::Sync => {
                    file.sync().unwrap();
                    model = Model { versions: vec![model.versions.pop().unwrap()], touched: Vec::new() };
                }
                Step::Kill => {
                    let before = bytes(&disk, path).unwrap();
                    disk.kill();
                    prop_assert_eq!(bytes(&disk, path).unwrap(), before);
                    prop_assert!(file.len().is_err());
                    file = disk.open_write(path).unwrap();
                }
            }
            prop_assert_eq!(&bytes(&disk, path).unwrap(), model.versions.last().unwrap());
        }
        let moment = disk.snapshot();
        let numbers = moment.outcomes();
        for seed in 0..10 {
            for after in [moment.crashed(seed), moment.outcome(seed.wrapping_mul(7_919) % numbers)] {
                let found = bytes(&after, path).unwrap();
                prop_assert!(model.allows(&found), "seed {}: {} bytes", seed, found.len());
            }
        }
    }
}

#[test]
fn a_kill_loses_no_write_but_may_cut_the_last() {
    let path = Path::new("/file");
    let disk = SimStorage::new(5);
    let mut file = durable_file(&disk, path);
    file.write_all(b"never synced ").unwrap();
    file.write_all(b"last").unwrap();
    let moment = disk.snapshot();
    let cuts: BTreeSet<_> = (0..200).filter_map(|seed| text(&moment.killed(seed), path)).collect();
    let expected = ["", "l", "la", "las", "last"].map(|last| format!("never synced {last}"));
    assert_eq!(cuts, expected.into());

    // A copy into memory goes on in no particular order.
    file.allocate(64).unwrap();
    file.map(64).unwrap().write(24, &[b'x'; 32]).unwrap();
    let moment = disk.snapshot();
    let cuts: BTreeSet<_> = (0..400).filter_map(|seed| bytes(&moment.killed(seed), path)).collect();
    assert!(cuts.iter().all(|content| content.len() == 64 && content.starts_with(b"never synced last")));
    assert!(cuts.iter().any(|content| content[24] == 0 && content[55] == b'x'), "the end alone");
    assert!(cuts.iter().any(|content| content[24] == b'x' && content[55] == 0), "the front alone");
    assert!(cuts.iter().any(|content| content[24..56].iter().all(|byte| *byte == b'x')), "all");

    // What was killed is not thereby durable.
    let lost = (0..50).filter(|seed| {
        let killed = moment.killed(*seed);
        killed.crash();
        bytes(&killed, path).is_none_or(|content| content.len() < 17)
    });
    assert!(lost.count() > 5);
}

#[test]
fn names_become_durable_directory_by_directory() {
    let disk = SimStorage::new(1);
    let path = |name: &str| Path::new("/").join(name);
    for directory in ["a", "b"] {
        disk.create_dir_all(&path(directory)).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    for name in ["a/1", "b/1", "a/2", "b/2"] {
        disk.create_new(&path(name)).unwrap();
    }
    let states = |moment: &Snapshot| {
        let state = |disk: SimStorage| ["a", "b"].map(|name| disk.list(&path(name)).unwrap().join(""));
        let drawn: BTreeSet<_> = (0..500).map(|seed| state(moment.crashed(seed))).collect();
        let enumerated: BTreeSet<_> = (0..moment.outcomes()).map(|n| state(moment.outcome(n))).collect();
        assert_eq!(drawn, enumerated);
        drawn
    };
    let fronts = ["", "1", "12"];
    let every = fronts.iter().flat_map(|a| fronts.map(|b| [(*a).to_owned(), b.to_owned()]));
    assert_eq!(states(&disk.snapshot()), every.collect());
    disk.sync_dir(&path("a")).unwrap();
    assert_eq!(states(&disk.snapshot()), fronts.map(|b| ["12".to_owned(), b.to_owned()]).into());

    // A move between directories happens in both or in neither, and not before what it follows.
    disk.rename(&path("b/1"), &path("a/3")).unwrap();
    let (moved, moment) = (["123".to_owned(), "2".to_owned()], disk.snapshot());
    let stays = fronts.map(|b| ["12".to_owned(), b.to_owned()]);
    assert_eq!(states(&moment), stays.clone().into_iter().chain([moved.clone()]).collect());
    let later = disk.fork();
    later.create_new(&path("a/4")).unwrap();
    let with_later = [moved.clone(), ["1234".to_owned(), "2".to_owned()]];
    assert_eq!(states(&later.snapshot()), stays.into_iter().chain(with_later).collect());
    disk.sync_dir(&path("a")).unwrap();
    assert_eq!(states(&disk.snapshot()), [moved].into());
}

/// Two sectors in each of two files whose names are durable: every choice of the four can be enumerated.
#[test]
fn a_small_enumeration_is_complete() {
    let disk = SimStorage::new(1);
    let mut files = ["/x", "/y"].map(|name| durable_file(&disk, Path::new(name)));
    for file in &mut files {
        file.write_all(&[b'o'; 1_024]).unwrap();
        file.sync().unwrap();
        file.write_at(0, &[b'n'; 1_024]).unwrap();
    }
    let moment = disk.snapshot();
    let kept = |disk: SimStorage| {
        let [x, y] = ["/x", "/y"].map(|name| bytes(&disk, Path::new(name)).unwrap());
        [x[0], x[512], y[0], y[512]].map(|byte| byte == b'n')
    };
    let enumerated: BTreeSet<_> = (0..moment.outcomes()).map(|number| kept(moment.outcome(number))).collect();
    assert_eq!(enumerated.len(), 16, "of four sectors, two kept or two lost are all choices");
    let drawn: BTreeSet<_> = (0..2_000).map(|seed| kept(moment.crashed(seed))).collect();
    assert_eq!(drawn.len(), 16);
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let run = |seed| {
        let disk = SimStorage::new(seed);
        for n in 0..20 {
            disk.create_new(Path::new(&format!("f{n}"))).unwrap().write_all(&[b'a'; 100]).unwrap();
        }
        let moment = disk.snapshot();
        assert_eq!(moment.crashed(seed).fingerprint(), moment.crashed(seed).fingerprint());
        assert_eq!(moment.disk().fingerprint(), disk.fingerprint());
        disk.crash();
        disk.fingerprint()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn copies_of_a_disk_have_nothing_in_common() {
    let (disk, path) = (SimStorage::new(1), Path::new("file"));
    disk.create_new(path).unwrap().write_all(b"both").unwrap();
    let lock = disk.lock(Path::new("LOCK"), "first").unwrap();
    let copy = disk.fork();
    copy.open_write(path).unwrap().write_at(0, b"copy").unwrap();
    disk.open_write(path).unwrap().write_all(b"!").unwrap();
    assert_eq!((text(&disk, path).unwrap(), text(&copy, path).unwrap()), ("both!".into(), "copy".into()));
    drop(copy.lock(Path::new("LOCK"), "second").unwrap());
    assert_eq!(disk.lock(Path::new("LOCK"), "third").unwrap_err().code(), Code::Locked);
    drop(lock);
    assert!(disk.recording().is_empty(), "nothing was to be recorded");
}

#[test]
fn power_off_refuses_everything_and_a_crash_frees_locks() {
    let disk = SimStorage::new(3);
    let (path, root) = (Path::new("LOCK"), Path::new("/"));
    let held = disk.lock(path, "first").unwrap();
    let other_process = disk.clone();
    assert_eq!(other_process.lock(path, "second").unwrap_err().code(), Code::Locked);
    let file = disk.open_read(path).unwrap();
    let directory = disk.hold_dir(root).unwrap();
    disk.lose_power_at(disk.operations());
    assert_eq!(kind(&disk.sync_dir(root).unwrap_err()), "power_lost");
    let refusals = [
        disk.create_new(Path::new("a")).unwrap_err(),
        disk.open_read(path).unwrap_err(),
        disk.list(root).unwrap_err(),
        disk.exists(path).unwrap_err(),
        disk.size(path).unwrap_err(),
        disk.available_bytes(path).unwrap_err(),
        disk.hold_dir(root).unwrap_err(),
        directory.check().unwrap_err(),
        file.len().unwrap_err(),
        file.map(1).unwrap_err(),
        file.read_at(0, &mut [0]).unwrap_err(),
    ];
    assert!(refusals.iter().all(|error| kind(error) == "power_lost"));
    disk.crash();
    assert!(file.len().is_err() && directory.check().is_err(), "what was open is of no use");
    let second = disk.lock(path, "second").unwrap();
    drop(held);
    assert_eq!(
        disk.lock(path, "third").unwrap_err().context()["holder"],
        "second",
        "an old lock frees nothing"
    );
    drop(second);
}

/// A little journal with a manifest, and the mistakes that such a thing can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NoDirectorySync,
    AcknowledgedBeforeSync,
    ManifestBeforeData,
}

/// Writes three records, each to a file of its own that the manifest then counts; answers after how many
/// operations each was acknowledged.
fn journal(disk: &SimStorage, mistake: Mistake) -> Result<Vec<u64>> {
    let (directory, mut acknowledged) = (Path::new("/data"), Vec::new());
    for number in 0..3 {
        let mut file = disk.create_new(&directory.join(format!("{number}")))?;
        if mistake == Mistake::AcknowledgedBeforeSync {
            acknowledged.push(disk.operations());
        }
        let manifest = format!("{}", number + 1);
        if mistake == Mistake::ManifestBeforeData {
            write_atomically(disk, &directory.join("manifest"), manifest.as_bytes())?;
        }
        file.write_all(&[b'0' + number; 600])?;
        file.sync()?;
        if mistake != Mistake::ManifestBeforeData {
            if mistake == Mistake::NoDirectorySync {
                let mut file = match disk.open_write(&directory.join("manifest")) {
                    Ok(file) => file,
                    Err(_) => disk.create_new(&directory.join("manifest"))?,
                };
                file.write_at(0, manifest.as_bytes())?;
                file.sync()?;
            } else {
                write_atomically(disk, &directory.join("manifest"), manifest.as_bytes())?;
            }
        }
        if mistake != Mistake::AcknowledgedBeforeSync {
            acknowledged.push(disk.operations());
        }
    }
    Ok(acknowledged)
}

/// Whether what was acknowledged by now, and all that the manifest counts, is there.
fn holds(disk: &SimStorage, acknowledged: usize) -> bool {
    let directory = Path::new("/data");
    let counted = text(disk, &directory.join("manifest")).map_or(0, |text| text.parse().unwrap_or(0));
    counted >= acknowledged
        && (0..counted).all(|number| {
            let content = bytes(disk, &directory.join(format!("{number}")));
            content.is_some_and(|content| content == [b'0' + number as u8; 600])
        })
}

#[test]
fn the_machine_catches_mistakes() {
    let broken = |mistake| {
        let disk = SimStorage::new(1);
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.record();
        let acknowledged = journal(&disk, mistake).unwrap();
        let mut broken = 0;
        for moment in disk.recording() {
            let promised = acknowledged.iter().filter(|at| **at <= moment.operations()).count();
            let drawn = (0..200).map(|seed| moment.crashed(seed));
            let all = drawn.chain((0..moment.outcomes()).map(|number| moment.outcome(number)));
            broken += all.filter(|after| !holds(after, promised)).count();
        }
        broken
    };
    assert_eq!(broken(Mistake::None), 0);
    for mistake in [Mistake::NoDirectorySync, Mistake::AcknowledgedBeforeSync, Mistake::ManifestBeforeData] {
        assert!(broken(mistake) > 10, "{mistake:?} is not caught");
    }
}
