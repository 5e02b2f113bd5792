//! Damaged logs: what it costs, what it is called, and that nothing else comes out.

use super::*;
use crate::events::record;

/// Three blocks of committed appends of three events each, then one more append; not ended.
fn sample() -> (Log, Vec<Event>) {
    let mut log = Log::new(4);
    let mut all: Vec<Event> = Vec::new();
    while log.bytes.len() < 3 * BLOCK_BYTES {
        let first = 1 + all.len() as u64;
        let mut events: Vec<Event> = (first..first + 3).map(Event::plain).collect();
        events[1].data = vec![first as u8; 6_000];
        log.append(&events);
        all.extend(events);
        if all.len().is_multiple_of(6) {
            log.commit(all.len() as u64);
        }
    }
    (log, all)
}

/// Damage must have one of these kinds, and say truly what it lies between.
fn damages_are_honest(events: &[Event], damages: &[Damage], context: &str) {
    for damage in damages {
        let before = events.iter().rev().find(|event| Some(event.seq) <= damage.after_seq);
        assert_eq!(before.map(|event| event.seq), damage.after_seq, "{context}: {damage:?}");
        let behind = events.iter().find(|event| damage.after_seq.is_none_or(|seq| event.seq > seq));
        assert_eq!(behind.map(|event| event.seq), damage.before_seq, "{context}: {damage:?}");
    }
}

/// Every event of `all` that is missing lies in a gap that a piece of damage names.
fn gaps_are_named(all: &[Event], events: &[Event], damages: &[Damage], context: &str) {
    for missing in all.iter().filter(|event| !events.contains(event)) {
        let named = damages.iter().any(|damage| {
            damage.after_seq.is_none_or(|seq| seq < missing.seq)
                && damage.before_seq.is_none_or(|seq| missing.seq < seq)
        });
        assert!(named, "{context}: event {} is missing and no damage says so: {damages:?}", missing.seq);
    }
}

#[test]
fn every_bit_flip_costs_its_block_at_most_and_is_named() {
    let mut log = Log::new(4);
    let all: Vec<Event> = (1..=12).map(Event::plain).collect();
    for append in all.chunks(3) {
        log.append(append);
        log.commit(append[2].seq);
    }
    log.end();
    let clean = log.bytes;
    let mut names_end = 0;
    let mut at = 0;
    while let Some(head) = clean.get(at..at + 16) {
        at += u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        names_end = if head[15] == 0xf2 { at } else { names_end };
    }
    for bit in 0..clean.len() * 8 {
        let mut bytes = clean.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let context = format!("bit {bit}");
        let (events, damages, report) = scan(4, &bytes);
        assert!(events.iter().all(|event| all.contains(event)), "{context}: what is answered was written");
        gaps_are_named(&all, &events, &damages, &context);
        damages_are_honest(&events, &damages, &context);
        if bit < frame::HEADER_BYTES * 8 {
            assert!(report.header_damaged && events == all, "{context}: the header costs nothing else");
            assert_eq!((damages.len(), report.broken_chains), (0, 0), "{context}");
        }
        // Behind the names, nothing is lost but the append that it is in.
        let missing = all.iter().filter(|one| !events.contains(one)).count();
        assert!(bit / 8 < names_end || missing <= 3, "{context}: {missing} events");
    }
}

#[test]
fn a_flip_in_a_middle_block_is_rot_and_costs_that_block_only() {
    let (mut log, all) = sample();
    log.commit(all.len() as u64);
    log.end();
    let clean = log.bytes;
    let (from, to) = (BLOCK_BYTES, 2 * BLOCK_BYTES);
    for at in (from..to).step_by(509) {
        let mut bytes = clean.clone();
        bytes[at] ^= 0x10;
        let context = format!("byte {at}");
        let (events, damages, report) = scan(4, &bytes);
        gaps_are_named(&all, &events, &damages, &context);
        damages_are_honest(&events, &damages, &context);
        // With a name that the block defines, more than one stretch of it may be lost.
        assert!(!damages.is_empty(), "{context}");
        assert!(damages.iter().all(|damage| damage.kind == DamageKind::Rot), "{context}: {damages:?}");
        let (first, last) = (damages[0].from, damages[damages.len() - 1].to);
        assert!(last - first <= BLOCK_BYTES as u64 + 7_000, "{context}: {damages:?}");
        assert_eq!(
            (report.dropped, report.finished),
            (0, true),
            "{context}: what was durable is kept record by record"
        );
    }
}

#[test]
fn a_hole_behind_the_last_sync_drops_what_is_not_whole() {
    let mut log = Log::new(4);
    let all: Vec<Event> = (1..=1_000).map(Event::plain).collect();
    log.append(&all[..2]);
    log.commit(2);
    let (start, committed) = (log.bytes.len(), 2);
    for append in all[committed..].chunks(4) {
        log.append(append);
    }
    // A page behind the last sync never reached the disk, what follows did.
    let hole = start.next_multiple_of(4096)..start.next_multiple_of(4096) + 4096;
    let mut bytes = log.bytes.clone();
    bytes[hole.clone()].fill(0);
    assert!(bytes.len() > BLOCK_BYTES + 4096);
    let (events, damages, report) = scan(4, &bytes);
    assert_eq!(report.proven, 0, "the first sync is not known to have returned");
    gaps_are_named(&all, &events, &damages, "hole");
    damages_are_honest(&events, &damages, "hole");
    assert!(matches!(damages[..], [Damage { kind: DamageKind::Hole, .. }]), "{damages:?}");
    assert!(report.dropped > 0);
    // Whole appends only.
    for append in all[committed..].chunks(4) {
        let there = append.iter().filter(|event| events.contains(event)).count();
        assert!(there == 0 || there == append.len(), "{} of {}", there, append.len());
    }
}

#[test]
fn a_commit_frame_proves_what_the_one_before_it_had_committed() {
    let mut log = Log::new(4);
    log.append(&[Event::plain(1), Event::plain(2)]);
    log.commit(2);
    let first = log.bytes.len();
    log.append(&[Event::plain(3)]);
    log.commit(3);
    assert_eq!(scan(4, &log.bytes).2.proven, first as u64);
    // The group of the last commit frame may be torn by the crash that interrupted its sync, frame and all
    // the rest being there: it is not rot, and the append counts whole or not at all.
    let mut torn = Log::new(4);
    torn.append(&(1..=600).map(Event::plain).collect::<Vec<_>>());
    torn.append(&(601..=1_200).map(Event::plain).collect::<Vec<_>>());
    torn.commit(1_200);
    torn.bytes[5_000..5_512].fill(0);
    let (events, damages, _) = scan(4, &torn.bytes);
    assert_eq!(events.first().map(|event| event.seq), Some(601));
    assert!(matches!(
        damages[..],
        [Damage { kind: DamageKind::Hole, after_seq: None, before_seq: Some(601), .. }]
    ));
}

#[test]
fn blocks_swapped_repeated_or_zeroed_are_found_out() {
    let (mut log, all) = sample();
    log.commit(all.len() as u64);
    log.end();
    let clean = log.bytes;
    let block = |index: usize| index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES;
    for (what, change) in
        [("swapped", 0), ("second over first", 1), ("first over second", 2), ("zeroed", 3), ("ones", 4)]
    {
        let mut bytes = clean.clone();
        match change {
            0 => {
                let first = bytes[block(1)].to_vec();
                bytes.copy_within(block(2), BLOCK_BYTES);
                bytes[block(2)].copy_from_slice(&first);
            }
            1 => bytes.copy_within(block(2), BLOCK_BYTES),
            2 => bytes.copy_within(block(1), 2 * BLOCK_BYTES),
            3 => bytes[block(1)].fill(0),
            _ => bytes[block(1)].fill(0xff),
        }
        let (events, damages, report) = scan(4, &bytes);
        assert!(events.iter().all(|event| all.contains(event)), "{what}");
        gaps_are_named(&all, &events, &damages, what);
        damages_are_honest(&events, &damages, what);
        assert!(!damages.is_empty() && report.finished, "{what}");
        assert!(events.len() > all.len() / 4, "{what}: {} of {}", events.len(), all.len());
    }
}

#[test]
fn an_event_that_quotes_the_log_is_not_taken_for_it() {
    let mut log = Log::new(4);
    log.append(&[Event::plain(1), Event::plain(2)]);
    // Valid frames of this very log, at a multiple of 8, inside an event whose own frame gets damaged.
    let mut quoting = Event::plain(3);
    let mut quoted = Log::new(4);
    quoted.append(&(500..510).map(Event::plain).collect::<Vec<_>>());
    quoting.pid = vec![b'p'; 8];
    quoting.correlation = None;
    quoting.data = quoted.bytes;
    log.append(&[quoting]);
    log.append(&[Event::plain(4)]);
    for at in log.bytes.len() - 600..log.bytes.len() - 300 {
        let mut bytes = log.bytes.clone();
        bytes[at] ^= 1;
        let (events, _, _) = scan(4, &bytes);
        assert!(events.iter().all(|event| event.seq < 5), "byte {at}");
    }
}

#[test]
fn a_missing_frame_that_leaves_no_mark_breaks_the_chain() {
    let mut log = Log::new(4);
    log.append(&[Event::plain(1)]);
    log.append(&[Event::plain(3)]);
    let before = log.bytes.len();
    log.append(&[Event::plain(5)]);
    let after = log.bytes.len();
    // The same bytes at the same places, but one record is another valid one: a write that went astray.
    let mut other = Log::new(4);
    other.append(&[Event::plain(1)]);
    other.append(&[Event::plain(3)]);
    let mut astray = Event::plain(5);
    astray.seq = 4;
    other.append(&[astray]);
    assert_eq!(other.bytes.len(), after);
    log.commit(5);
    assert_eq!(scan(4, &log.bytes).2.broken_chains, 0);
    log.bytes[before..after].copy_from_slice(&other.bytes[before..after]);
    assert_eq!(scan(4, &log.bytes).2.broken_chains, 1);
}

/// Behind every marker, the head of an event that claims the rest of the file and does not check; at the end a
/// large event that does.
fn made_to_keep_busy() -> Vec<u8> {
    let length = 256 << 10;
    let salt = log_header(4).identity.salt();
    let mut bytes = Log::new(4).bytes;
    let marker = |bytes: &mut Vec<u8>| {
        let start = frame::begin(bytes, Kind::Marker);
        bytes.extend_from_slice(&(start as u64).to_le_bytes());
        bytes.extend_from_slice(&frame::MARKER_MAGIC);
        bytes.extend_from_slice(&4_u64.to_le_bytes());
        frame::finish(bytes, start, salt);
    };
    let mut large = Event::plain(1);
    large.data = vec![7; 32 << 10];
    while bytes.len() < length {
        marker(&mut bytes);
        let claimed = length - bytes.len().min(length) + (16 << 10);
        let mut head = Event::plain(1).record();
        head.truncate(record::HEADER);
        let parts = usize::from(head[record::AT_CORRELATION_LEN]) + usize::from(head[record::AT_PID_LEN]);
        let data = (claimed - record::HEADER - parts) as u32;
        bytes::put(&mut head, record::AT_DATA_LEN, data.to_le_bytes());
        bytes::put(&mut head, record::AT_LENGTH, (claimed as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
    }
    marker(&mut bytes);
    let start = frame::begin(&mut bytes, Kind::Name);
    bytes.extend_from_slice(&2_u32.to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0, b'e']);
    frame::finish(&mut bytes, start, salt);
    let start = frame::begin(&mut bytes, Kind::Name);
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0, b'e']);
    frame::finish(&mut bytes, start, salt);
    let start = bytes.len();
    let mut record = large.record();
    record[AT_FLAGS] |= FLAG_FIRST | FLAG_LAST;
    bytes.extend_from_slice(&record);
    frame::finish(&mut bytes, start, salt);
    bytes
}

#[test]
fn a_log_made_to_keep_a_reader_busy_does_not() {
    let bytes = made_to_keep_busy();
    // The large event checks, and would be found by a reader that went on whatever it costs.
    let whole = bytes.len() as u64;
    let (events, damages, report) = scan(4, &bytes);
    assert_eq!((events, report.events), (Vec::new(), 0));
    assert!(damages.iter().all(|damage| damage.to <= whole));
    // Without those in front it is.
    let storage = disk_with("/log", &bytes);
    storage.fill(Path::new("/log"), 80, 256 << 10, 0).unwrap();
    let (events, _, _) = scan(4, &read_all(&storage, Path::new("/log"), 1 << 20).unwrap());
    assert_eq!(events.len(), 1);
}
