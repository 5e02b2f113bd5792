//! Logs that are whole, cut off, recycled or torn.

use proptest::prelude::*;

use super::*;

fn plain(seqs: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    seqs.map(Event::plain).collect()
}

/// A log of several blocks: appends of different sizes, commits between, not ended.
fn several_blocks() -> (Log, Vec<Event>) {
    let mut log = Log::new(7);
    let mut all = Vec::new();
    for turn in 0..40 {
        let first = 1 + all.len() as u64;
        let mut events = plain(first..=first + turn % 5);
        events[0].data = vec![turn as u8 + 1; 7_000];
        log.append(&events);
        all.extend(events);
        if turn % 4 == 3 {
            log.commit(all.last().unwrap().seq);
        }
    }
    (log, all)
}

#[test]
fn a_log_reads_back_with_its_names_in_every_block() {
    let (mut log, all) = several_blocks();
    assert!(log.bytes.len() > 4 * BLOCK_BYTES, "{}", log.bytes.len());
    log.end();
    let (events, damages, report) = scan(7, &log.bytes);
    assert_eq!(events, all);
    assert_eq!(damages, []);
    assert!(report.finished && !report.header_damaged);
    assert_eq!((report.end, report.last_seq), (log.bytes.len() as u64, all.last().unwrap().seq));
    assert_eq!((report.commits, report.broken_chains, report.dropped), (10, 0, 0));
}

#[test]
fn the_first_frame_behind_each_64_kib_is_a_marker() {
    let (log, _) = several_blocks();
    let salt = log_header(7).identity.salt();
    let (mut at, mut next) = (0, BLOCK_BYTES);
    while at < log.bytes.len() {
        let frame = frame::check_at(&log.bytes[at..], salt, at as u64).unwrap();
        assert_eq!(frame.kind == Kind::Marker, at >= next, "at {at}");
        if frame.kind == Kind::Marker {
            next = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
        }
        at += frame.bytes.len();
    }
    assert!(next > 4 * BLOCK_BYTES);
}

#[test]
fn a_record_larger_than_a_block_reads_back() {
    let mut log = Log::new(1);
    let mut events = plain(1..=3);
    events[1].data = (0..3 << 20).map(|n| n as u8).collect();
    log.append(&events);
    log.commit(3);
    let (read, damages, _) = scan(1, &log.bytes);
    assert_eq!(read, events);
    assert_eq!(damages, []);
}

#[test]
fn nothing_of_another_log_or_store_checks() {
    let (mut log, _) = several_blocks();
    log.end();
    let (events, damages, report) = scan(8, &log.bytes);
    assert_eq!((events.len(), damages.len(), report.end), (0, 1, 0));
    assert_eq!(damages[0].kind, DamageKind::TornTail);

    let mut other = log_header(7);
    other.identity.store[3] ^= 1;
    let storage = disk_with("/log", &log.bytes);
    let file = storage.open_read(Path::new("/log")).unwrap();
    let report = scan_log(&*file, &other, &mut |_| Ok(())).unwrap();
    assert_eq!(report.events, 0);
}

#[test]
fn a_recycled_file_shows_only_its_new_log() {
    let (mut old, _) = several_blocks();
    old.end();
    let mut new = Log::new(8);
    let events = plain(1..=40);
    new.append(&events);
    new.commit(40);
    let mut bytes = old.bytes.clone();
    bytes[..new.bytes.len()].copy_from_slice(&new.bytes);
    let (read, damages, report) = scan(8, &bytes);
    assert_eq!(read, events);
    assert_eq!(report.end, new.bytes.len() as u64);
    assert!(matches!(
        damages[..],
        [Damage { kind: DamageKind::TornTail, after_seq: Some(40), before_seq: None, .. }]
    ));
    new.end();
    bytes[..new.bytes.len()].copy_from_slice(&new.bytes);
    assert_eq!(scan(8, &bytes).1, [], "behind the end frame nothing is expected");
}

#[test]
fn zeros_behind_the_last_frame_were_never_written() {
    let mut log = Log::new(1);
    log.append(&plain(1..=5));
    log.commit(5);
    log.bytes.resize(log.bytes.len() + 200_000, 0);
    let (events, damages, report) = scan(1, &log.bytes);
    assert_eq!((events.len(), damages.len(), report.finished), (5, 0, false));
}

#[test]
fn an_append_that_is_not_whole_is_dropped_at_every_length() {
    let mut log = Log::new(3);
    let (mut ends, mut all) = (vec![(log.bytes.len(), 0)], Vec::new());
    for size in [1, 4, 2, 5] {
        let first = 1 + all.len() as u64;
        let events = plain(first..=first + size - 1);
        log.append(&events);
        all.extend(events);
        ends.push((log.bytes.len(), all.len()));
    }
    for length in 0..=log.bytes.len() {
        let whole = ends.iter().rev().find(|(end, _)| *end <= length).map_or(0, |(_, events)| *events);
        let (events, damages, report) = scan(3, &log.bytes[..length]);
        assert_eq!(events, all[..whole], "{length} bytes");
        let torn =
            damages.iter().all(|damage| damage.kind == DamageKind::TornTail && damage.before_seq.is_none());
        assert!(torn && damages.len() <= 1, "{length} bytes: {damages:?}");
        assert_eq!(report.last_seq, whole as u64);
    }
}

#[test]
fn cut_anywhere_in_a_later_block_the_rest_is_there() {
    let (log, all) = several_blocks();
    let mut fewer = 0;
    for length in (0..log.bytes.len()).step_by(3_001) {
        let (events, _, _) = scan(7, &log.bytes[..length]);
        assert_eq!(events, all[..events.len()]);
        assert!(events.len() >= fewer, "{length}");
        fewer = events.len();
    }
    assert!(fewer > 100);
}

#[test]
fn frames_of_unknown_kinds_are_skipped_or_refused() {
    for (tag, refused) in [(0x21_u64 << 56, false), (0x21 << 56 | 1 << 48, true)] {
        let mut log = Log::new(1);
        let salt = log_header(1).identity.salt();
        log.append(&plain(1..=2));
        let start = log.bytes.len();
        log.bytes.extend_from_slice(&[0; 8]);
        log.bytes.extend_from_slice(&tag.to_le_bytes());
        log.bytes.extend_from_slice(b"what a later version keeps");
        frame::finish(&mut log.bytes, start, salt);
        let behind = log.bytes.len();
        let mut rest = Vec::new();
        log.encoder.record(&Event::plain(3).record(), FLAG_FIRST | FLAG_LAST, name, &mut rest);
        log.bytes.extend_from_slice(&rest);
        assert!(behind < log.bytes.len());
        let storage = disk_with("/log", &log.bytes);
        let file = storage.open_read(Path::new("/log")).unwrap();
        let mut events = 0;
        let answer = scan_log(&*file, &log_header(1), &mut |item| {
            events += u64::from(matches!(item, LogItem::Record(..)));
            Ok(())
        });
        match answer {
            Ok(report) => assert_eq!((refused, events, report.events), (false, 3, 3)),
            Err(error) => assert_eq!((refused, error.code()), (true, Code::IncompatibleFormat)),
        }
    }
}

#[test]
fn headers_of_later_versions_and_with_unknown_flags_are_refused() {
    let header = log_header(5);
    for (at, value, known) in [(24, 2_u32, false), (28, 1, false), (28, 1 << 31, false), (32, 1, true)] {
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes::put(&mut bytes, at, value.to_le_bytes());
        frame::finish(&mut bytes, 0, header.identity.salt());
        match Header::parse(&bytes, FileKind::Log) {
            Ok(read) => {
                assert!(known);
                assert_eq!(read, Some(Header { compatible: 1, ..header }));
            }
            Err(error) => assert_eq!((known, error.code()), (false, Code::IncompatibleFormat)),
        }
        assert_eq!(Header::parse(&bytes, FileKind::Segment).unwrap(), None);
    }
}

#[test]
fn what_the_callback_answers_stops_the_scan() {
    let (log, _) = several_blocks();
    let storage = disk_with("/log", &log.bytes);
    let file = storage.open_read(Path::new("/log")).unwrap();
    let mut calls = 0;
    let error = scan_log(&*file, &log_header(7), &mut |_| {
        calls += 1;
        Err(Error::new(Code::StoreFull, "enough"))
    });
    assert_eq!((error.unwrap_err().code(), calls), (Code::StoreFull, 1));
}

/// So many bytes that differ from each other; quicker than drawing each.
fn bytes((start, length): (u8, usize)) -> Vec<u8> {
    (0..length).map(|at| start.wrapping_add(((at * at) >> 3) as u8)).collect()
}

prop_compose! {
    pub(super) fn events(most: usize)(
        parts in prop::collection::vec(
            (
                1..1_000_u64, any::<u64>(), any::<i64>(), any::<i64>(), any::<u64>(), any::<u64>(), 1..6_u32, 0..6_u32, 1..4_u32,
                (prop::option::of((any::<u8>(), 0..=255_usize)), 0..=255_usize),
                (any::<u8>(), 0..2_000_usize),
            ),
            0..most,
        )
    ) -> Vec<Event> {
        let mut seq = 0;
        parts
            .into_iter()
            .map(|(step, event_id, timestamp, wall_time, parent_id, config_version, event_type, node, encoding, (correlation, pid), data)| {
                seq += step;
                Event {
                    seq, event_id, timestamp, wall_time, parent_id, config_version, event_type, node,
                    encoding: Encoding::from_number(encoding).unwrap(),
                    correlation: correlation.map(bytes), pid: vec![b'p'; pid], data: bytes(data),
                }
            })
            .collect()
    }
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(all in events(100), sizes in prop::collection::vec(1..9_usize, 200), ended: bool) {
        let mut log = Log::new(9);
        let mut rest = &all[..];
        for (turn, size) in sizes.iter().enumerate() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*size).min(rest.len()));
            log.append(now);
            rest = later;
            if turn % 3 == 0 {
                log.commit(now[now.len() - 1].seq);
            }
        }
        if ended {
            log.end();
        }
        let (events, damages, report) = scan(9, &log.bytes);
        prop_assert_eq!(&events, &all);
        prop_assert_eq!(damages, vec![]);
        prop_assert_eq!((report.finished, report.broken_chains), (ended, 0));
    }

    #[test]
    fn any_bytes_can_be_scanned(mut bytes in prop::collection::vec(any::<u8>(), 0..4_000), at in 0..3_000_usize, with_header: bool) {
        if with_header {
            // Valid frames among the rest lead the scan deeper.
            let mut log = Log::new(2);
            log.append(&plain(1..=3));
            let at = at.min(bytes.len());
            bytes.splice(at..at, log.bytes.iter().copied());
            bytes.splice(0..0, Log::new(2).bytes);
        }
        let (_, damages, report) = scan(2, &bytes);
        prop_assert!(report.end <= bytes.len() as u64);
        for damage in damages {
            prop_assert!(damage.from < damage.to && damage.to <= bytes.len() as u64);
        }
    }
}
