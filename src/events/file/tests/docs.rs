//! docs/file-format.md says what the code does: files are taken apart by its tables.

use super::*;
use crate::events::names;
use crate::events::options::MAX_DATA_BYTES;
use crate::events::record::{self, FLAG_CONFIG, FLAG_CORRELATION, FLAG_TRUNCATED};

const PAGE: &str = include_str!("../../../../docs/file-format.md");

/// The cells of the rows of the first table behind this text.
fn rows(behind: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = PAGE.split_once(behind).unwrap_or_else(|| panic!("the page has {behind:?}"));
    let lines =
        rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = lines.skip(2).map(|line| line.trim_matches('|').split(" |").map(str::trim).collect());
    cells
        .map(|cells: Vec<&str>| cells.into_iter().map(|cell| cell.trim_start_matches('|').trim()).collect())
        .collect()
}

/// Where the tables behind these texts say that a field is, and its size.
fn place(behind: &str, field: &str) -> (usize, usize) {
    let name = format!("`{field}`");
    let row = rows(behind).into_iter().find(|row| row[2] == name || row[2] == field);
    let row = row.unwrap_or_else(|| panic!("the table behind {behind:?} has {field}"));
    (row[0].parse().unwrap(), row[1].parse().unwrap())
}

/// The number that a frame has where the table says.
fn number(frame: &[u8], behind: &str, field: &str) -> u64 {
    let (at, size) = place(behind, field);
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&frame[at..at + size]);
    u64::from_le_bytes(bytes)
}

/// The frames of a file.
fn frames(bytes: &[u8], identity: Identity) -> Vec<frame::Frame<'_>> {
    let (mut at, mut frames) = (0, Vec::new());
    while at < bytes.len() {
        let frame = frame::check_at(&bytes[at..], identity.salt(), at as u64).expect("a frame that checks");
        at += frame.bytes.len();
        frames.push(frame);
    }
    frames
}

fn of_kind<'a>(frames: &[frame::Frame<'a>], kind: Kind) -> Vec<&'a [u8]> {
    frames.iter().filter(|frame| frame.kind == kind).map(|frame| frame.bytes).collect()
}

#[test]
fn the_event_record_is_where_the_page_says() {
    for (field, at, size) in [
        ("length", record::AT_LENGTH, 4),
        ("crc", frame::AT_CRC, 4),
        ("seq", record::AT_SEQ, 8),
        ("event_id", record::AT_EVENT_ID, 8),
        ("timestamp", record::AT_TIMESTAMP, 8),
        ("wall_time", record::AT_WALL_TIME, 8),
        ("parent_id", record::AT_PARENT_ID, 8),
        ("config_version", record::AT_CONFIG_VERSION, 8),
        ("type", record::AT_TYPE, 4),
        ("node", record::AT_NODE, 4),
        ("flags", record::AT_FLAGS, 1),
        ("encoding", record::AT_ENCODING, 1),
        ("correlation_len", record::AT_CORRELATION_LEN, 1),
        ("pid_len", record::AT_PID_LEN, 1),
        ("data_len", record::AT_DATA_LEN, 4),
    ] {
        assert_eq!(place("## Event record", field), (at, size), "{field}");
    }
    let bits: Vec<u8> =
        rows("| … | 0–7 | padding | zeros |\n").iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(bits, [FLAG_CORRELATION, FLAG_TRUNCATED, FLAG_FIRST, FLAG_LAST, FLAG_CONFIG]);
    assert!(PAGE.contains("| `data_len` | at most 2^30 |") && MAX_DATA_BYTES == 1 << 30);
    assert!(PAGE.contains("1 to 65,536; types") && names::LIMIT == 65_536);
    assert!(PAGE.contains("## Event record (72 bytes") && record::HEADER == 72);
}

#[test]
fn the_example_is_the_record_that_the_code_makes() {
    let event = Event {
        seq: 1,
        event_id: 2,
        timestamp: -2,
        wall_time: 3,
        parent_id: 0,
        config_version: 1,
        event_type: 5,
        node: 6,
        encoding: Encoding::Raw,
        correlation: Some(b"corr".to_vec()),
        pid: b"pid".to_vec(),
        data: b"data!".to_vec(),
    };
    let (_, rest) = PAGE.split_once("```\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    // The remarks start behind the 50th column.
    let hex = example
        .lines()
        .flat_map(|line| line[..50].split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    assert_eq!(hex.collect::<Vec<u8>>(), event.record());
}

#[test]
fn the_kinds_are_those_of_the_page() {
    let table = rows("earlier log left in a recycled file");
    let listed: Vec<(u8, usize)> = table
        .iter()
        .map(|row| (u8::from_str_radix(row[0].trim_matches('`'), 16).unwrap(), row[3].parse().unwrap()))
        .collect();
    let least = [
        record::HEADER,
        frame::HEADER_BYTES,
        frame::NAME_HEAD,
        frame::MARKER_BYTES,
        frame::COMMIT_BYTES,
        frame::COMMIT_BYTES,
        frame::DATA_HEAD,
        frame::FILTER_HEAD,
        frame::FOOTER_HEAD + 8,
    ];
    let kinds = std::iter::once(0).chain(frame::KINDS.iter().map(|(number, _)| *number));
    assert_eq!(listed, kinds.zip(least).collect::<Vec<_>>());
}

#[test]
fn a_log_can_be_taken_apart_by_the_page() {
    let mut log = Log::new(77);
    let mut events: Vec<Event> = (5..=8).map(Event::plain).collect();
    events[3].data = vec![1; 70_000];
    log.append(&events);
    log.commit(8);
    log.append(&[Event::plain(9)]);
    let commit_at = log.bytes.len() as u64;
    log.commit(9);
    log.end();
    let frames = frames(&log.bytes, log_header(77).identity);

    let header = "**File header**";
    let first = frames[0].bytes;
    assert_eq!(frames[0].kind, Kind::Header);
    assert_eq!(first[place(header, "magic").0..][..8], frame::LOG_MAGIC);
    assert_eq!(first[place(header, "store").0..][..16], STORE);
    let numbers = ["version", "incompatible", "compatible", "number", "first_seq"];
    assert_eq!(numbers.map(|field| number(first, header, field)), [1, 0, 0, 77, 1]);

    let name = of_kind(&frames, Kind::Name)[0];
    assert_eq!(number(name, "**Name record**", "number"), 2);
    assert_eq!(number(name, "**Name record**", "name_len"), 10);
    assert_eq!(name[24..34], *b"order_sent");

    let marker = of_kind(&frames, Kind::Marker)[0];
    assert_eq!(number(marker, "**Resync marker**", "number"), 77);
    assert_eq!(marker[place("**Resync marker**", "magic").0..][..8], frame::MARKER_MAGIC);
    let hex: Vec<String> = frame::MARKER_MAGIC.iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(PAGE.contains(&hex.join(" ")));

    let commit = "**Commit frame**";
    let commits = of_kind(&frames, Kind::Commit);
    assert_eq!(number(commits[1], commit, "offset"), commit_at);
    assert_eq!(number(commits[1], commit, "last_seq"), 9);
    assert_eq!(number(commits[1], commit, "events"), 5);
    assert_eq!(number(commits[0], commit, "synced"), 0);
    assert_eq!(number(commits[1], commit, "synced"), number(commits[0], commit, "offset") + 56);
    let mut chain = 0;
    for frame in &frames {
        match frame.kind {
            Kind::Commit | Kind::End => assert_eq!(number(frame.bytes, commit, "chain"), u64::from(chain)),
            _ => chain = crc32c::crc32c_append(chain, &frame.bytes[4..8]),
        }
    }
    let end = of_kind(&frames, Kind::End)[0];
    assert_eq!(number(end, commit, "synced"), commit_at + 56);
}

#[test]
fn the_salt_is_made_as_the_page_says() {
    let mut identity = vec![1];
    identity.extend_from_slice(&STORE);
    identity.extend_from_slice(&77_u64.to_le_bytes());
    assert_eq!(log_header(77).identity.salt(), Salt(crc32c::crc32c(&identity)));
    assert_eq!((FileKind::Log as u8, FileKind::Segment as u8), (1, 2));
    // "As in iSCSI": RFC 3720, B.4.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
}

#[test]
fn a_segment_can_be_taken_apart_by_the_page() {
    let storage = SimStorage::new(1);
    let identity = Identity { kind: FileKind::Segment, store: STORE, number: 3 };
    let path = Path::new("/seg");
    let written = write_atomically_with(&storage, path, |writer| {
        let mut encoder = SegmentEncoder::new(writer, identity, 1, SegmentOptions::default())?;
        for seq in 1..=400 {
            encoder.push(&Event::plain(seq).record(), 0, name)?;
        }
        encoder.finish(&[Filter { kind: 6, seed: 5, words: vec![4, 3] }])
    })
    .unwrap();
    let bytes = read_all(&storage, path, 1 << 20).unwrap();
    let frames = frames(&bytes, identity);
    let data = "**Data block**";
    let block = of_kind(&frames, Kind::Data)[0];
    let entry = written.blocks[0];
    assert_eq!(number(block, data, "offset"), entry.offset);
    assert_eq!(number(block, data, "first_seq"), entry.first_seq);
    assert_eq!(number(block, data, "last_seq"), entry.last_seq);
    assert_eq!(number(block, data, "events"), u64::from(entry.events));
    assert_eq!(number(block, data, "codec"), 1);
    assert_eq!(number(block, data, "min_time") as i64, entry.min_time);
    assert_eq!(number(block, data, "max_time") as i64, entry.max_time);
    assert_eq!(number(block, data, "min_id"), 1_001);
    assert_eq!(number(block, data, "max_id"), 1_000 + entry.last_seq);
    let stored = number(block, data, "stored_len") as usize;
    let raw = zstd::bulk::decompress(&block[88..88 + stored], 1 << 20).unwrap();
    assert_eq!(raw.len() as u64, number(block, data, "raw_len"));

    let filter = of_kind(&frames, Kind::Filter)[0];
    let fields = ["kind", "words", "seed"].map(|field| number(filter, "**Filter block**", field));
    assert_eq!(fields, [6, 2, 5]);
    assert_eq!(filter[40..], [4_u64.to_le_bytes(), 3_u64.to_le_bytes()].concat());

    let page = "**Footer** (";
    let footer = of_kind(&frames, Kind::Footer)[0];
    let fields =
        ["first_seq", "last_seq", "min_id", "max_id", "events"].map(|field| number(footer, page, field));
    assert_eq!(fields, [1, 400, 1_001, 1_400, 400]);
    let counts = ["blocks", "filters", "types"].map(|field| number(footer, page, field) as usize);
    assert_eq!(counts, [written.blocks.len(), 1, 2]);
    let names: usize = written.types.iter().map(|counted| 5 + counted.name.len()).sum();
    let length = (96 + 48 * counts[0] + 16 + names + 8).next_multiple_of(8);
    assert_eq!(
        (footer.len(), footer[length - 8..].to_vec()),
        (length, (length as u64).to_le_bytes().to_vec())
    );
}

#[test]
fn the_manifest_has_the_fields_of_the_page() {
    let fields: std::collections::BTreeSet<String> = rows("never is a new store made in its place.")
        .iter()
        .flat_map(|row| row[0].split(", ").map(|name| name.trim_matches('`').to_owned()))
        .collect();
    let manifest = serde_json::to_value(super::manifest::filled()).unwrap();
    let written = manifest.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, written);
    for field in manifest["segments"][0].as_object().unwrap().keys() {
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
}
