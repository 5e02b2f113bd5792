//! A store of the smallest kind, to test the tests: done right it keeps every promise, and each mistake that
//! it can be told to make is caught.
//!
//! Records of 24 bytes (seq, tag, checksum) go to a log, each synced before it is acknowledged; each opening
//! begins another log, which the manifest then counts.

use std::path::{Path, PathBuf};

use elixirscope_foundation::error::Error;
use elixirscope_foundation::storage::{File, SimStorage, Storage, read_all, write_atomically};

use crate::careless::{Careless, Forgets};
use crate::machine::{Loss, Plan, Subject, explore};
use crate::promises::{Append, Found, Moment, Safe, Span, Story};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NoDirectorySync,
    EarlyAcknowledgement,
    NoChecksum,
    AppendToUnclean,
    ManifestBeforeData,
}

struct Toy<'a> {
    disk: &'a SimStorage,
    log: Box<dyn File>,
    next_seq: u64,
    found: Vec<(u64, u64)>,
}

fn directory() -> &'static Path {
    Path::new("/toy")
}

fn log(number: u64) -> PathBuf {
    directory().join(format!("log-{number}"))
}

fn checksum(seq: u64, tag: u64) -> u64 {
    (seq ^ tag.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x55
}

impl<'a> Toy<'a> {
    fn open(disk: &'a SimStorage, mistake: Mistake) -> Result<Self, Error> {
        let forgets = match mistake {
            Mistake::NoDirectorySync => Forgets::Directories,
            Mistake::EarlyAcknowledgement => Forgets::Files("log-"),
            _ => Forgets::Nothing,
        };
        let storage = Careless { disk: disk.clone(), forgets };
        if !disk.exists(directory())? {
            disk.create_dir_all(directory())?;
            storage.sync_dir(Path::new("/"))?;
        }
        let manifest = directory().join("manifest");
        let counted = match read_all(disk, &manifest, 20) {
            Ok(text) => String::from_utf8_lossy(&text).parse().expect("the manifest is a number"),
            Err(_) => 0,
        };
        let mut found = Vec::new();
        for number in 0..counted {
            // A process that was killed left what it wrote unsynced; nothing may be built on that.
            disk.open_write(&log(number))?.sync()?;
            let bytes = read_all(disk, &log(number), 1 << 20)?;
            for record in bytes.chunks_exact(24) {
                let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
                let (seq, tag, sum) = (word(0), word(8), word(16));
                let right = mistake == Mistake::NoChecksum || sum == checksum(seq, tag);
                if seq == 0 || !right {
                    break;
                }
                found.push((seq, tag));
            }
        }
        let next_seq = found.last().map_or(1, |(seq, _)| seq.saturating_add(1));
        if mistake == Mistake::AppendToUnclean && counted > 0 {
            let log = storage.open_write(&log(counted - 1))?;
            return Ok(Self { disk, log, next_seq, found });
        }
        let count = || write_atomically(&storage, &manifest, (counted + 1).to_string().as_bytes());
        if mistake == Mistake::ManifestBeforeData {
            count()?;
        }
        // One that no manifest counts was left by an opening that did not come to its end.
        if disk.exists(&log(counted))? {
            disk.remove(&log(counted))?;
        }
        let log = storage.create_new(&log(counted))?;
        storage.sync_dir(directory())?;
        if mistake != Mistake::ManifestBeforeData {
            count()?;
        }
        Ok(Self { disk, log, next_seq, found })
    }

    fn append(&mut self, tag: u64, story: &mut Story) -> Result<(), Error> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let words = [seq, tag, checksum(seq, tag)].map(u64::to_le_bytes);
        let (span, stored) = Span::of(self.disk, || {
            self.log.write_all(words.as_flattened())?;
            self.log.sync()
        });
        stored?;
        story.appends.push(Append::new(span, vec![(seq, tag)], Safe::Power));
        Ok(())
    }
}

impl Subject for Mistake {
    type Story = Story;

    fn run(&self, seed: u64, disk: &SimStorage) -> Story {
        let mut story = Story::new(seed);
        for opening in 0..3 {
            let mut toy = Toy::open(disk, *self).unwrap();
            for number in 0..(seed + opening) % 5 {
                toy.append(seed * 100 + opening * 10 + number, &mut story).unwrap();
            }
        }
        story
    }

    fn recover(
        &self,
        story: &Story,
        operations: u64,
        loss: Loss,
        disk: &SimStorage,
    ) -> Result<Story, String> {
        let moment = Moment::stopped(operations, loss);
        let mut toy = Toy::open(disk, *self).map_err(|error| format!("P5: {error}"))?;
        let opened = disk.operations();
        let found = Found { events: toy.found.clone(), ..Found::default() };
        story.check(moment, loss, &found)?;
        let mut story = story.after(moment, loss, &found, opened);
        for number in 0..2 {
            toy.append(1_000_000 + number, &mut story).map_err(|error| error.to_string())?;
        }
        let reopened = Toy::open(disk, *self).map_err(|error| format!("P5: {error}"))?;
        let found = Found { events: reopened.found.clone(), ..Found::default() };
        story.check(Moment::running(disk.operations()), loss, &found)?;
        Ok(story)
    }
}

#[test]
fn a_toy_keeps_its_promises() {
    explore(&Mistake::None, Plan { states: 500, ..Plan::share(0) }).expect_kept("the toy");
}

#[test]
fn a_toy_with_a_mistake_is_caught() {
    for mistake in [
        Mistake::NoDirectorySync,
        Mistake::EarlyAcknowledgement,
        Mistake::NoChecksum,
        Mistake::AppendToUnclean,
        Mistake::ManifestBeforeData,
    ] {
        let report = explore(&mistake, Plan { until_failure: true, states: 20_000, ..Plan::share(100) });
        let (place, broken) = report.failures.first().unwrap_or_else(|| panic!("{mistake:?} is not caught"));
        eprintln!("{mistake:?}: caught after {} states at {place}: {broken}", report.checked);
    }
}
