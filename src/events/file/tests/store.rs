//! Whole stores: the fixture of each version, and what the second reader (tests/format/reader.py) makes of them.

#![allow(
    clippy::disallowed_methods,
    reason = "the second reader needs real files, which tests make and remove"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::super::manifest::{Prune, SegmentRow};
use super::*;
use crate::events::base64;
use crate::events::record::{FLAG_CONFIG, FLAG_TRUNCATED, Record};
use crate::storage::RealStorage;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format").join(path)
}

/// An event in the words of the second reader.
pub(super) fn in_words<'n>(record: &Record<'_>, text: impl Fn(u32) -> Option<&'n str>) -> Value {
    let flags = record.flags();
    json!({
        "seq": record.seq(),
        "event_id": record.event_id(),
        "event_type": text(record.type_id()),
        "timestamp": record.timestamp(),
        "wall_time": record.wall_time(),
        "node": text(record.node_id()),
        "pid": base64::encode(record.pid()),
        "correlation_id": record.correlation().map(base64::encode),
        "parent_id": record.parent_id(),
        "config_version": record.config_version(),
        "truncated": flags & FLAG_TRUNCATED != 0,
        "config_change": flags & FLAG_CONFIG != 0,
        "encoding": record.encoding().name(),
        "data": base64::encode(record.data()),
    })
}

/// What the files of a directory hold, by the manifest.
fn read_store(storage: &dyn Storage, directory: &Path) -> Vec<Value> {
    let manifest = Manifest::load(storage, directory).unwrap();
    let store = manifest.store_id().unwrap();
    let mut events = Vec::new();
    for entry in &manifest.segments {
        let name = entry.file_name();
        let identity = Identity { kind: FileKind::Segment, store, number: entry.file };
        let segment = SegmentFile::open(storage, &directory.join(name), identity, Limits::default()).unwrap();
        assert_eq!((segment.damage(), segment.footer().events), (None, entry.events));
        for index in 0..segment.blocks().len() {
            let block = segment.read_block_with(index, &mut Scratch::default()).unwrap();
            events.extend(block.records().map(|record| in_words(&record, |number| block.name(number))));
        }
    }
    for name in storage.list(directory).unwrap() {
        let Some(FileName::Log { number }) = FileName::parse(&name) else { continue };
        if number < manifest.log_floor {
            continue;
        }
        let file = storage.open_read(&directory.join(&name)).unwrap();
        let header = Header::new(Identity { kind: FileKind::Log, store, number }, 0);
        scan_log(&*file, &header, &mut |item| {
            if let LogItem::Record(record, names) = item
                && record.seq() >= manifest.sealed_seq
            {
                events.push(in_words(&record, |number| names.name(number)));
            }
            Ok(())
        })
        .unwrap();
    }
    let pruned = |event: &Value| {
        let (seq, time) = (event["seq"].as_u64().unwrap(), event["timestamp"].as_i64().unwrap());
        seq < manifest.low_seq
            || manifest.prunes.iter().any(|prune| time < prune.before_time && seq < prune.below_seq)
    };
    events.retain(|event| !pruned(event));
    events.sort_by_key(|event| event["seq"].as_u64());
    events.dedup_by_key(|event| event["seq"].as_u64());
    events
}

/// What the second reader prints of a directory, and what it complains of.
pub(super) fn second_reader(directory: &Path) -> (Vec<Value>, String) {
    let output =
        Command::new("python3").arg(tree("reader.py")).arg(directory).output().expect("python3 runs");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), complaints.is_empty(), "{complaints}");
    (lines(&output.stdout), complaints)
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A directory that is removed in the end.
pub(super) struct Temporary(pub(super) PathBuf);

impl Temporary {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-format-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Puts a store of these events into a directory: some sealed in every codec, the rest in a log that was finished
/// and one that was not, with stale bytes behind it.
fn write_store(storage: &dyn Storage, directory: &Path, events: &[Event]) -> Manifest {
    let mut manifest = super::manifest::filled();
    (manifest.gaps, manifest.prunes, manifest.segments) = (Vec::new(), Vec::new(), Vec::new());
    (manifest.log_floor, manifest.low_seq, manifest.sealed_seq) = (7, 1, 1);
    let (sealed, logged) = events.split_at(events.len() / 2);
    let codecs = [Codec::Zstd, Codec::Gzip, Codec::None];
    for (index, part) in sealed.chunks(sealed.len().div_ceil(3).max(1)).enumerate() {
        let (number, first_seq) = (index as u64 + 1, part[0].seq);
        let options = SegmentOptions { codec: codecs[index], level: 1, block_bytes: 2_048 };
        let path = directory.join(FileName::Segment { first_seq, number }.to_string());
        let identity = Identity { kind: FileKind::Segment, store: STORE, number };
        let footer = write_atomically_with(storage, &path, |writer| {
            let mut encoder = SegmentEncoder::new(writer, identity, first_seq, options)?;
            for event in part {
                encoder.push(&event.record(), flags_of(event), name)?;
            }
            let filters = [Filter { kind: 1, seed: u64::MAX, words: vec![1, 2, 3] }];
            encoder.finish(if index == 1 { &[] } else { &filters })
        })
        .unwrap();
        manifest.sealed_seq = footer.last_seq + 1;
        let bytes = storage.size(&path).unwrap();
        let seqs = (first_seq, footer.last_seq);
        manifest.segments.push(SegmentRow::new(number, seqs, &footer, bytes, 0));
    }
    // A leftover, which is not to be read.
    let mut leftover = Log::new(6);
    leftover.append(&[Event::plain(1 << 40)]);
    put_log(storage, directory, 6, &leftover.bytes);
    let (finished, open) = logged.split_at(logged.len() / 2);
    let mut log = Log::new(7);
    // What is sealed already may still be in a log.
    sealed.last().into_iter().for_each(|event| log.append(std::slice::from_ref(event)));
    for append in finished.chunks(3) {
        append_with_flags(&mut log, append);
    }
    log.commit(finished.last().map_or(0, |event| event.seq));
    log.end();
    put_log(storage, directory, 7, &log.bytes);
    let mut log = Log::new(8);
    for append in open.chunks(4) {
        append_with_flags(&mut log, append);
        log.commit(append[append.len() - 1].seq);
    }
    let last = events.last().map_or(1, |event| event.seq);
    let end = log.bytes.len();
    log.append(&(last + 1..last + 20).map(Event::plain).collect::<Vec<_>>());
    log.bytes.truncate(end + (log.bytes.len() - end) / 2);
    let mut stale = Log::new(5);
    stale.append(&(1..100).map(Event::plain).collect::<Vec<_>>());
    log.bytes.extend_from_slice(&stale.bytes[frame::HEADER_BYTES..]);
    put_log(storage, directory, 8, &log.bytes);
    manifest.store(storage, directory).unwrap();
    manifest
}

fn flags_of(event: &Event) -> u8 {
    let config = if event.seq.is_multiple_of(11) { FLAG_CONFIG } else { 0 };
    let truncated = if event.seq.is_multiple_of(13) { FLAG_TRUNCATED } else { 0 };
    event.record()[AT_FLAGS] | config | truncated
}

fn append_with_flags(log: &mut Log, events: &[Event]) {
    for (index, event) in events.iter().enumerate() {
        let first = if index == 0 { FLAG_FIRST } else { 0 };
        let last = if index + 1 == events.len() { FLAG_LAST } else { 0 };
        log.encoder.record(&event.record(), flags_of(event) | first | last, name, &mut log.bytes);
    }
}

fn put_log(storage: &dyn Storage, directory: &Path, number: u64, bytes: &[u8]) {
    let path = directory.join(FileName::Log { number }.to_string());
    write_atomically_with(storage, &path, |writer| writer.put(bytes)).unwrap();
}

#[test]
fn the_fixture_of_version_1_is_read_by_both_readers_for_ever() {
    let directory = tree("fixtures/v1/store");
    let expected = lines(&read_all(&RealStorage, &tree("fixtures/v1/events.jsonl"), 1 << 20).unwrap());
    assert_eq!(expected.len(), 94);
    assert_eq!(read_store(&RealStorage, &directory), expected);
    let (second, complaints) = second_reader(&directory);
    assert_eq!(second, expected);
    assert!(complaints.lines().all(|line| line.starts_with("log-0000000000000008.esl: ")), "{complaints}");
}

/// The fixture's events: everything that the format can hold, in little.
fn fixture_events() -> Vec<Event> {
    let mut events: Vec<Event> = (1..=120).map(|n| Event::plain(n + n / 7)).collect();
    events[3].correlation = Some(Vec::new());
    events[4].correlation = Some(vec![0xff; 255]);
    events[5].data = vec![0, 255, 10, 13];
    events[6].data = Vec::new();
    events[7].pid = "größe".into();
    (events[8].timestamp, events[8].wall_time) = (i64::MIN, i64::MAX);
    (events[9].event_id, events[9].parent_id) = ((1 << 59) - 1, u64::MAX);
    events[10].data = vec![b'x'; 5_000];
    events[100].data = vec![b'y'; 66_000];
    events[110].node = 0;
    events
}

#[test]
#[ignore = "writes the fixture of the version that the code is of, once"]
fn write_the_fixture() {
    let place =
        PathBuf::from(std::env::var("ESF_FIXTURE").expect("ESF_FIXTURE names a directory that is not there"));
    let directory = place.join("store");
    std::fs::create_dir_all(&directory).unwrap();
    let mut manifest = write_store(&RealStorage, &directory, &fixture_events());
    manifest.low_seq = 4;
    manifest.prunes = vec![Prune { before_time: 1_700_000_000_000_040_000, below_seq: 30 }];
    manifest.store(&RealStorage, &directory).unwrap();
    let events: Vec<String> = read_store(&RealStorage, &directory).iter().map(Value::to_string).collect();
    std::fs::write(place.join("events.jsonl"), events.join("\n") + "\n").unwrap();
}

#[test]
fn the_second_reader_agrees_on_any_store() {
    let mut runner = TestRunner::deterministic();
    for turn in 0..6 {
        let events = log::events(60).new_tree(&mut runner).unwrap().current();
        let directory = Temporary::new(&format!("any-{turn}"));
        write_store(&RealStorage, &directory.0, &events);
        let expected = read_store(&RealStorage, &directory.0);
        assert_eq!(expected.len(), events.len());
        let (second, complaints) = second_reader(&directory.0);
        assert_eq!(second, expected);
        assert!(
            complaints.lines().all(|line| line.starts_with("log-0000000000000008.esl: ")),
            "{complaints}"
        );
    }
}

#[test]
fn the_second_reader_agrees_on_damaged_files() {
    let events: Vec<Event> = (1..=60).map(Event::plain).collect();
    let directory = Temporary::new("damaged");
    write_store(&RealStorage, &directory.0, &events);
    let whole: BTreeSet<String> =
        read_store(&RealStorage, &directory.0).iter().map(Value::to_string).collect();
    let log = directory.0.join(FileName::Log { number: 7 }.to_string());
    let clean = read_all(&RealStorage, &log, 1 << 20).unwrap();
    for at in [60, 300, clean.len() / 2, clean.len() - 30] {
        let mut bytes = clean.clone();
        bytes[at] ^= 1;
        std::fs::write(&log, bytes).unwrap();
        let ours = read_store(&RealStorage, &directory.0);
        let (second, _) = second_reader(&directory.0);
        assert_eq!(second, ours, "byte {at}");
        assert!(ours.iter().all(|event| whole.contains(&event.to_string())));
        assert_eq!(ours.len() < whole.len(), at > 72 && at < clean.len() - 56, "byte {at}: {}", ours.len());
    }
    std::fs::write(&log, clean).unwrap();
    // A block of a segment: the second reader finds the others without the directory.
    let segment = directory.0.join(FileName::Segment { first_seq: 1, number: 1 }.to_string());
    let mut bytes = read_all(&RealStorage, &segment, 1 << 20).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (second, complaints) = second_reader(&directory.0);
    assert!(!second.is_empty() && second.len() < whole.len());
    assert!(second.iter().all(|event| whole.contains(&event.to_string())));
    assert!(complaints.contains("do not check"), "{complaints}");
}
