//! The manifest: exact, checked, and made anew from the files.

use proptest::prelude::*;
use serde_json::json;

use super::super::manifest::{GoneBooks, MissingRange, Prune, SegmentRow};
use super::*;

fn directory() -> &'static Path {
    Path::new("/store")
}

fn disk() -> SimStorage {
    let storage = SimStorage::new(1);
    storage.create_dir_all(directory()).unwrap();
    storage
}

/// One in which every field differs from that of a new store.
pub(super) fn filled() -> Manifest {
    let mut manifest = Manifest::new(STORE, u64::MAX);
    (manifest.next_file, manifest.next_log, manifest.log_floor) = (9, 8, 7);
    (manifest.sealed_seq, manifest.next_id, manifest.low_seq) = (1_001, 77, 3);
    (manifest.scattered, manifest.newest_time) = (true, -5);
    let first = Prune { before_time: 1_700_000_000_000_000_000, below_seq: 900 };
    manifest.prunes = vec![first, Prune { before_time: i64::MIN, below_seq: u64::MAX }];
    manifest.gaps = vec![MissingRange { first_seq: 5, last_seq: 6, reason: "crash".into() }];
    manifest.books = GoneBooks { pruned: 1, expired: 2, lost: 3 };
    let values = json!({"a.b": 1, "c": {"d": [true, null, "é"]}});
    manifest.config = Some(json!({"version": 6, "seq": 41, "reset": false, "values": values}));
    manifest.segments = vec![SegmentRow {
        file: 2,
        first_seq: 3,
        last_seq: 1_000,
        events: 990,
        live: 980,
        min_time: -1,
        max_time: 1,
        min_id: 2,
        max_id: 1 << 58,
        bytes: 4_096,
        record_bytes: 20_000,
    }];
    manifest
}

#[test]
fn a_manifest_reads_back() {
    let storage = disk();
    assert_eq!(Manifest::load(&storage, directory()).unwrap_err().code(), Code::DataNotFound);
    for manifest in [Manifest::new(STORE, 1), filled()] {
        manifest.store(&storage, directory()).unwrap();
        assert_eq!(Manifest::load(&storage, directory()).unwrap(), manifest);
    }
}

#[test]
fn fields_of_later_versions_are_written_back() {
    let mut body = serde_json::to_value(filled()).unwrap();
    body["later"] = json!({"a": [1, 2]});
    let parsed = Manifest::parse(&checked(&body), directory()).unwrap();
    let again = Manifest::parse(&parsed.to_bytes().unwrap(), directory()).unwrap();
    assert_eq!(again.unknown["later"], body["later"]);
    assert_eq!(serde_json::to_value(again).unwrap(), body);
}

/// The file with this object.
fn checked(body: &serde_json::Value) -> Vec<u8> {
    let text = format!("{body}\n");
    format!("{text}crc32c:{:08x}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}

#[test]
fn a_manifest_of_a_later_version_is_refused_even_if_its_fields_differ() {
    for change in [json!({"version": 2}), json!({"incompatible": 1}), json!({"version": 2, "next_file": "x"})]
    {
        let mut body = serde_json::to_value(filled()).unwrap();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = Manifest::parse(&checked(&body), directory()).unwrap_err();
        assert_eq!(error.code(), Code::IncompatibleFormat, "{change}");
    }
    for change in [json!({"format": "other"}), json!({"next_file": "x"}), json!({"store": "zz"})] {
        let mut body = serde_json::to_value(filled()).unwrap();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = Manifest::parse(&checked(&body), directory()).unwrap_err();
        assert_eq!(error.code(), Code::DataCorruption, "{change}");
    }
}

#[test]
fn every_bit_flip_and_every_truncation_is_an_error_and_never_another_manifest() {
    let clean = filled().to_bytes().unwrap();
    for bit in 0..clean.len() * 8 {
        let mut bytes = clean.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Manifest::parse(&bytes, directory()).unwrap_err();
        assert_eq!(error.code(), Code::DataCorruption, "bit {bit}");
    }
    for length in 0..clean.len() {
        let error = Manifest::parse(&clean[..length], directory()).unwrap_err();
        assert_eq!(error.code(), Code::DataCorruption, "{length} bytes");
    }
}

#[test]
fn names_of_files_are_exact() {
    for (name, parsed) in [
        ("log-00000000000000ff.esl", Some(FileName::Log { number: 255 })),
        (
            "seg-0000000000000010-ffffffffffffffff.esf",
            Some(FileName::Segment { first_seq: 16, number: u64::MAX }),
        ),
        ("log-00000000000000FF.esl", None),
        ("log-ff.esl", None),
        ("log-+0000000000000ff.esl", None),
        ("seg-0000000000000010.esf", None),
        ("log-00000000000000ff.esl.0.tmp", None),
        ("MANIFEST", None),
    ] {
        assert_eq!(FileName::parse(name), parsed, "{name}");
        if let Some(parsed) = parsed {
            assert_eq!(parsed.to_string(), name);
        }
    }
}

fn segment(storage: &SimStorage, number: u64, seqs: std::ops::RangeInclusive<u64>) {
    let name = FileName::Segment { first_seq: *seqs.start(), number }.to_string();
    let identity = Identity { kind: FileKind::Segment, store: STORE, number };
    write_atomically_with(storage, &directory().join(name), |writer| {
        let mut encoder = SegmentEncoder::new(writer, identity, *seqs.start(), SegmentOptions::default())?;
        for seq in seqs {
            encoder.push(&Event::plain(seq).record(), 0, super::name)?;
        }
        encoder.finish(&[Filter { kind: 1, seed: 4_711, words: vec![1] }])
    })
    .unwrap();
}

#[test]
fn a_lost_manifest_is_made_from_the_files() {
    let storage = disk();
    segment(&storage, 1, 11..=20);
    segment(&storage, 2, 21..=30);
    segment(&storage, 5, 41..=50);
    // A rewritten one whose predecessor was not removed yet.
    segment(&storage, 4, 41..=50);
    let mut log = Log::new(6);
    log.append(&[Event::plain(51)]);
    let mut file = storage.create_new(&directory().join(FileName::Log { number: 6 }.to_string())).unwrap();
    file.write_all(&log.bytes).unwrap();

    let manifest = Manifest::rebuild(&storage, directory()).unwrap();
    assert_eq!((manifest.store_id().unwrap(), manifest.hash_seed), (STORE, 4_711));
    assert_eq!((manifest.next_file, manifest.next_log, manifest.log_floor), (6, 7, 1));
    assert_eq!((manifest.sealed_seq, manifest.low_seq, manifest.next_id), (51, 11, 1_051));
    assert!(!manifest.scattered);
    let files: Vec<_> = manifest.segments.iter().map(|row| (row.file, row.first_seq, row.events)).collect();
    assert_eq!(files, [(1, 11, 10), (2, 21, 10), (5, 41, 10)]);
    assert_eq!(manifest.gaps, [MissingRange { first_seq: 31, last_seq: 40, reason: "damage".into() }]);
    manifest.store(&storage, directory()).unwrap();
    assert_eq!(Manifest::load(&storage, directory()).unwrap(), manifest);
}

#[test]
fn damage_to_a_file_costs_no_other_and_not_its_own_rest() {
    let storage = disk();
    segment(&storage, 1, 11..=20);
    segment(&storage, 2, 21..=30);
    segment(&storage, 3, 31..=40);
    for (number, first_seq, at) in [(1, 11, 45), (2, 21, 100)] {
        let path = directory().join(FileName::Segment { first_seq, number }.to_string());
        let mut bytes = read_all(&storage, &path, 1 << 20).unwrap();
        bytes[at] ^= 1;
        if number == 2 {
            let footer = bytes.len() - 50;
            bytes[footer] ^= 1;
        }
        storage.remove(&path).unwrap();
        storage.create_new(&path).unwrap().write_all(&bytes).unwrap();
    }
    let manifest = Manifest::rebuild(&storage, directory()).unwrap();
    let files: Vec<_> = manifest.segments.iter().map(|row| (row.file, row.first_seq, row.events)).collect();
    // The header of the first is damaged, which costs nothing; the second has neither block nor footer left.
    assert_eq!(files, [(1, 11, 10), (3, 31, 10)]);
    assert_eq!(manifest.gaps, [MissingRange { first_seq: 21, last_seq: 30, reason: "damage".into() }]);
}

#[test]
fn nothing_to_tell_the_store_from_is_an_error() {
    let storage = disk();
    let mut file = storage.create_new(&directory().join(FileName::Log { number: 6 }.to_string())).unwrap();
    file.write_all(&[7; 500]).unwrap();
    assert_eq!(Manifest::rebuild(&storage, directory()).unwrap_err().code(), Code::DataCorruption);
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Manifest::parse(&bytes, directory()).is_err());
    }

    #[test]
    fn any_object_with_a_checksum_is_a_manifest_or_an_error(key in "[a-z_]{1,12}", number: u64) {
        let mut body = serde_json::to_value(filled()).unwrap();
        body[&key] = json!(number);
        if let Ok(parsed) = Manifest::parse(&checked(&body), directory()) {
            prop_assert_eq!(serde_json::to_value(parsed).unwrap(), body);
        }
    }
}
