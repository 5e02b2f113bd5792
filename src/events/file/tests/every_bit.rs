//! Every bit and every length of a store of 256 KiB, for `make test-long`:
//! `cargo test --release --lib events::file::tests::every_bit -- --ignored`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Bytes of each of the two files.
const HALF: usize = 128 * 1024;
const PATH: &str = "/file";

/// Splits the cases between the processors and says how many there were.
fn in_parallel(what: &str, cases: u64, one: impl Fn(&SimStorage, u64) + Sync, bytes: &[u8]) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let storage = disk_with(PATH, bytes);
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= cases {
                        break;
                    }
                    one(&storage, case);
                }
            });
        }
    });
    println!("{what}: {cases} cases");
}

/// Events that do not compress, so that many blocks fit.
fn noisy(seq: u64) -> Event {
    let mut event = Event::plain(seq);
    let word = |n: u64| (seq * 64 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    event.data = (0..60).flat_map(|n| word(n).wrapping_mul(word(n + 1)).to_le_bytes()).collect();
    event
}

/// A log of about half the store: appends of three, committed one by one, ended.
fn log() -> (Vec<u8>, u64) {
    let mut log = Log::new(4);
    let mut next = 1;
    while log.bytes.len() < HALF {
        log.append(&(next..next + 3).map(noisy).collect::<Vec<_>>());
        next += 3;
        log.commit(next - 1);
    }
    log.end();
    (log.bytes, next - 1)
}

/// What a scan answers: how many events, and the largest number of them that one stretch of damage took.
fn scan_checked(storage: &SimStorage, originals: &[Vec<u8>]) -> (u64, u64) {
    let file = storage.open_read(Path::new(PATH)).unwrap();
    let (mut events, mut lost, mut before) = (0, 0, 0);
    let mut bytes = Vec::new();
    scan_log(&*file, &log_header(4), &mut |item| {
        if let LogItem::Record(record, names) = item {
            bytes.clear();
            record.copy_to(&mut bytes);
            bytes::put(&mut bytes, frame::AT_CRC, [0; 4]);
            assert_eq!(bytes, originals[record.seq() as usize - 1], "what is answered was written");
            assert_eq!(names.name(record.type_id()), Some(name(record.type_id())));
            lost = lost.max(record.seq() - before - 1);
            before = record.seq();
            events += 1;
        }
        Ok(())
    })
    .unwrap();
    (events, lost.max(originals.len() as u64 - before))
}

fn originals(events: u64) -> Vec<Vec<u8>> {
    let with_flags = |seq: u64| {
        let mut record = noisy(seq).record();
        record[AT_FLAGS] |= if seq % 3 == 1 { FLAG_FIRST } else { 0 };
        record[AT_FLAGS] |= if seq.is_multiple_of(3) { FLAG_LAST } else { 0 };
        record
    };
    (1..=events).map(with_flags).collect()
}

#[test]
#[ignore = "a million cases; make test-long runs it"]
fn of_a_log() {
    let (bytes, events) = log();
    let originals = originals(events);
    // What one block holds, and an append more.
    let most = (BLOCK_BYTES / 480 + 6) as u64;
    in_parallel(
        "bit flips of a log",
        bytes.len() as u64 * 8,
        |storage, bit| {
            storage.flip_bit(Path::new(PATH), bit).unwrap();
            let (_, lost) = scan_checked(storage, &originals);
            assert!(lost <= most, "bit {bit} costs {lost} events");
            storage.flip_bit(Path::new(PATH), bit).unwrap();
        },
        &bytes,
    );
    in_parallel(
        "truncations of a log",
        bytes.len() as u64,
        |_, length| {
            let storage = disk_with(PATH, &bytes[..length as usize]);
            let (read, lost) = scan_checked(&storage, &originals);
            assert_eq!(read + lost, events, "{length} bytes: only the end is missing");
        },
        &bytes,
    );
}

fn identity() -> Identity {
    Identity { kind: FileKind::Segment, store: STORE, number: 12 }
}

fn segment() -> (Vec<u8>, Footer) {
    let storage = SimStorage::new(1);
    let path = Path::new(PATH);
    let mut footer = Footer::empty();
    write_atomically_with(&storage, path, |writer| {
        let options = SegmentOptions { block_bytes: 8 * 1024, ..SegmentOptions::default() };
        let mut encoder = SegmentEncoder::new(writer, identity(), 1, options)?;
        let events = (HALF / 540) as u64;
        for seq in 1..=events {
            let record = noisy(seq).record();
            encoder.push(&record, record[AT_FLAGS], name)?;
        }
        footer = encoder.finish(&[Filter { kind: 1, seed: 3, words: vec![7; 64] }])?;
        Ok(())
    })
    .unwrap();
    (read_all(&storage, path, 1 << 20).unwrap(), footer)
}

/// Events that can be read; each is one that was written.
fn read_checked(storage: &SimStorage, touched: impl Fn(u64, u64) -> bool, originals: &[Vec<u8>]) -> u64 {
    let segment = SegmentFile::open(storage, Path::new(PATH), identity(), Limits::default()).unwrap();
    let (mut events, mut scratch) = (0, Scratch::default());
    for (index, entry) in segment.blocks().iter().enumerate() {
        // The frames of the others have been checked by other cases, and by the scan if there is no footer.
        if !touched(entry.offset, entry.offset + u64::from(entry.length)) {
            events += u64::from(entry.events);
            continue;
        }
        let Ok(block) = segment.read_block_with(index, &mut scratch) else { continue };
        for at in 0..block.len() {
            let record = block.record_bytes(at).unwrap();
            assert_eq!(record, originals[bytes::u64_at(record, AT_SEQ) as usize - 1]);
            events += 1;
        }
    }
    events
}

#[test]
#[ignore = "a million cases; make test-long runs it"]
fn of_a_segment() {
    let (bytes, footer) = segment();
    let originals: Vec<Vec<u8>> = (1..=footer.events).map(|seq| noisy(seq).record()).collect();
    assert!(bytes.len() > HALF * 3 / 4 && footer.blocks.len() > 10, "{} bytes", bytes.len());
    let most = footer.blocks.iter().map(|block| u64::from(block.events)).max().unwrap();
    in_parallel(
        "bit flips of a segment",
        bytes.len() as u64 * 8,
        |storage, bit| {
            storage.flip_bit(Path::new(PATH), bit).unwrap();
            let read = read_checked(storage, |from, to| (from..to).contains(&(bit / 8)), &originals);
            assert!(footer.events - read <= most, "bit {bit} costs {} events", footer.events - read);
            storage.flip_bit(Path::new(PATH), bit).unwrap();
        },
        &bytes,
    );
    in_parallel(
        "truncations of a segment",
        bytes.len() as u64,
        |_, length| {
            let storage = disk_with(PATH, &bytes[..length as usize]);
            let whole = |entry: &&segment_write::BlockEntry| entry.offset + u64::from(entry.length) <= length;
            let expected: u64 = footer.blocks.iter().filter(whole).map(|entry| u64::from(entry.events)).sum();
            assert_eq!(read_checked(&storage, |_, _| true, &originals), expected, "{length} bytes");
        },
        &bytes,
    );
}
