//! Sealed segments: whole, damaged and made up.

use proptest::prelude::*;

use super::*;

const PATH: &str = "/seg";

fn identity() -> Identity {
    Identity { kind: FileKind::Segment, store: STORE, number: 12 }
}

fn filters() -> Vec<Filter> {
    vec![
        Filter {
            kind: 1,
            seed: 99,
            words: (0..40_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect(),
        },
        Filter { kind: 2, seed: 7, words: Vec::new() },
    ]
}

fn write(events: &[Event], options: SegmentOptions) -> (SimStorage, Footer) {
    let storage = SimStorage::new(1);
    let first = events.first().map_or(1, |event| event.seq);
    let footer = write_atomically_with(&storage, Path::new(PATH), |writer| {
        let mut encoder = SegmentEncoder::new(writer, identity(), first, options)?;
        for event in events {
            let record = event.record();
            encoder.push(&record, record[AT_FLAGS], name)?;
        }
        encoder.finish(&filters())
    });
    (storage, footer.unwrap())
}

fn open(storage: &SimStorage) -> Result<SegmentFile> {
    SegmentFile::open(storage, Path::new(PATH), identity(), Limits::default())
}

fn block_events(block: &Block) -> Vec<Event> {
    block.records().map(|record| Event::read(&record, |number| block.name(number))).collect()
}

/// All events of the blocks that can be read, and how many blocks cannot.
fn read(segment: &SegmentFile) -> (Vec<Event>, usize) {
    let (mut events, mut damaged, mut scratch) = (Vec::new(), 0, Scratch::default());
    for index in 0..segment.blocks().len() {
        match segment.read_block_with(index, &mut scratch) {
            Ok(block) => events.extend(block_events(&block)),
            Err(error) => {
                assert_eq!(error.code(), Code::DataCorruption);
                damaged += 1;
            }
        }
    }
    (events, damaged)
}

fn bytes_of(storage: &SimStorage) -> Vec<u8> {
    read_all(storage, Path::new(PATH), 1 << 30).unwrap()
}

#[test]
fn a_segment_reads_back_in_every_codec() {
    let events: Vec<Event> = (1..=2_000).map(|n| Event::plain(n * 2)).collect();
    for codec in [Codec::None, Codec::Zstd, Codec::Gzip] {
        let (storage, footer) = write(&events, SegmentOptions { codec, ..SegmentOptions::default() });
        let segment = open(&storage).unwrap();
        assert_eq!(segment.damage(), None);
        assert_eq!(*segment.footer(), footer);
        assert_eq!(read(&segment), (events.clone(), 0));
        assert_eq!((footer.first_seq, footer.last_seq, footer.events), (2, 4_000, 2_000));
        assert_eq!((footer.min_id, footer.max_id), (1_002, 5_000));
        assert_eq!((footer.min_time, footer.max_time), (events[0].timestamp, events[1_999].timestamp));
        let types: Vec<_> = footer.types.iter().map(|counted| (&*counted.name, counted.events)).collect();
        assert_eq!(types, [("order_paid", 2_000)]);
        for (index, filter) in filters().iter().enumerate() {
            assert_eq!(segment.read_filter(index).unwrap(), *filter);
        }
        assert_eq!(segment.read_filter(2).unwrap_err().code(), Code::InvalidInput);
        assert_eq!(
            segment.read_block_with(9_999, &mut Scratch::default()).unwrap_err().code(),
            Code::InvalidInput
        );
        let most = footer.blocks.iter().map(|block| block.length as usize).max().unwrap();
        assert!(most <= BLOCK_BYTES + frame::DATA_HEAD + 8, "a block has {most} bytes");
        assert!(footer.blocks.len() >= 3);
        if codec != Codec::None {
            assert!(bytes_of(&storage).len() < 2_000 * 40);
        }
    }
}

#[test]
fn records_come_back_byte_for_byte() {
    let events: Vec<Event> = (1..=50).map(Event::plain).collect();
    let (storage, _) = write(&events, SegmentOptions::default());
    let block = open(&storage).unwrap().read_block_with(0, &mut Scratch::default()).unwrap();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(block.record_bytes(index), Some(&event.record()[..]));
    }
    assert_eq!((block.len(), block.record_bytes(50)), (50, None));
    assert_eq!(block.name(0), Some(""));
    assert_eq!(block.name(17), None);
}

#[test]
fn a_record_larger_than_a_block_has_one_of_its_own() {
    let mut events: Vec<Event> = (1..=3).map(Event::plain).collect();
    events[1].data = (0..3 << 20).map(|n: u32| ((n * 7) >> 3) as u8).collect();
    let (storage, footer) = write(&events, SegmentOptions::default());
    assert_eq!(footer.blocks.len(), 3);
    assert_eq!(read(&open(&storage).unwrap()), (events, 0));
}

#[test]
fn events_out_of_order_are_refused() {
    let storage = SimStorage::new(1);
    let error = write_atomically_with(&storage, Path::new(PATH), |writer| {
        let mut encoder = SegmentEncoder::new(writer, identity(), 1, SegmentOptions::default())?;
        encoder.push(&Event::plain(2).record(), 0, name)?;
        encoder.push(&Event::plain(2).record(), 0, name)
    })
    .unwrap_err();
    assert_eq!(error.code(), Code::InvalidInput);
}

#[test]
fn an_empty_segment_opens() {
    let (storage, _) = write(&[], SegmentOptions::default());
    let segment = open(&storage).unwrap();
    assert_eq!((segment.footer().events, segment.blocks().len(), segment.damage()), (0, 0, None));
}

#[test]
fn another_file_under_the_name_is_refused() {
    let (storage, _) = write(&[Event::plain(1)], SegmentOptions::default());
    let other = Identity { number: 13, ..identity() };
    let error = SegmentFile::open(&storage, Path::new(PATH), other, Limits::default()).unwrap_err();
    assert_eq!(error.code(), Code::DataCorruption);
}

/// A small segment of several blocks.
fn small() -> (Vec<Event>, Vec<u8>, Footer) {
    let events: Vec<Event> = (1..=24).map(Event::plain).collect();
    let (storage, footer) = write(&events, SegmentOptions { block_bytes: 1024, ..SegmentOptions::default() });
    assert!(footer.blocks.len() >= 3);
    (events, bytes_of(&storage), footer)
}

/// What can be read of these bytes was written, and only blocks touched by the change are missing.
fn rest_is_there(
    bytes: &[u8],
    events: &[Event],
    footer: &Footer,
    touched: impl Fn(u64, u64) -> bool,
    context: &str,
) {
    let storage = disk_with(PATH, bytes);
    let segment = open(&storage).unwrap();
    let (read, _) = read(&segment);
    let mut expected = Vec::new();
    let mut lost = Vec::new();
    for block in &footer.blocks {
        let of_block = events.iter().filter(|event| (block.first_seq..=block.last_seq).contains(&event.seq));
        let target = if touched(block.offset, block.offset + u64::from(block.length)) {
            &mut lost
        } else {
            &mut expected
        };
        target.extend(of_block.cloned());
    }
    // A touched block may still be readable (its padding is checked too, so it is not).
    let (kept, other): (Vec<_>, Vec<_>) = read.into_iter().partition(|event| expected.contains(event));
    assert_eq!(kept, expected, "{context}");
    assert!(other.iter().all(|event| lost.contains(event)), "{context}: what is answered was written");
    for index in 0..segment.footer().filters.len() {
        if let Ok(filter) = segment.read_filter(index) {
            assert!(filters().contains(&filter), "{context}");
        }
    }
}

#[test]
fn every_bit_flip_costs_its_block_at_most() {
    let (events, clean, footer) = small();
    for bit in 0..clean.len() * 8 {
        let mut bytes = clean.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let at = bit as u64 / 8;
        rest_is_there(&bytes, &events, &footer, |from, to| (from..to).contains(&at), &format!("bit {bit}"));
    }
}

#[test]
fn cut_at_every_byte_the_blocks_before_are_there() {
    let (events, clean, footer) = small();
    for length in 0..clean.len() {
        let cut = |_, to| to > length as u64;
        rest_is_there(&clean[..length], &events, &footer, cut, &format!("{length} bytes"));
    }
}

#[test]
fn damage_to_the_footer_and_a_block_leaves_the_others() {
    let (events, clean, footer) = small();
    let mut bytes = clean.clone();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    let hit = footer.blocks[1];
    bytes[hit.offset as usize + 2] ^= 0x40;
    let storage = disk_with(PATH, &bytes);
    let segment = open(&storage).unwrap();
    let damage = segment.damage().unwrap();
    assert_eq!(damage.stretches[0], (hit.offset, hit.offset + u64::from(hit.length)));
    assert_eq!(segment.blocks().len(), footer.blocks.len() - 1);
    let (read, damaged) = read(&segment);
    assert_eq!((read.len(), damaged), (events.len() - hit.events as usize, 0));
    assert_eq!((segment.footer().min_id, segment.footer().max_id), (footer.min_id, footer.max_id));
    assert_eq!((segment.footer().min_time, segment.footer().filters.len()), (footer.min_time, 2));
    assert!(segment.footer().types.is_empty());
}

#[test]
fn blocks_of_another_place_or_file_do_not_check() {
    let (events, clean, footer) = small();
    let (a, b) = (footer.blocks[0], footer.blocks[2]);
    let mut bytes = clean.clone();
    let length = a.length.min(b.length) as usize;
    bytes.copy_within(a.offset as usize..a.offset as usize + length, b.offset as usize);
    let hit = |from: u64, to: u64| from < b.offset + length as u64 && b.offset < to;
    rest_is_there(&bytes, &events, &footer, hit, "a block over another");
}

#[test]
fn a_block_that_states_more_than_the_limit_is_not_believed() {
    let (storage, _) = write(&[Event::plain(1)], SegmentOptions::default());
    let limits = Limits { raw_bytes: 100, ..Limits::default() };
    let segment = SegmentFile::open(&storage, Path::new(PATH), identity(), limits).unwrap();
    assert_eq!(segment.read_block_with(0, &mut Scratch::default()).unwrap_err().code(), Code::DataCorruption);
}

#[test]
fn a_bomb_does_not_get_more_memory_than_it_states() {
    let bomb = zstd::bulk::compress(&vec![0; 50 << 20], 1).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut encoder, &vec![0; 50 << 20]).unwrap();
    let gzip = encoder.finish().unwrap();
    for (codec, stored) in [(Codec::Zstd, bomb), (Codec::Gzip, gzip)] {
        let mut raw = Vec::new();
        assert!(!codec::Decompressor::default().decompress(codec, &stored, 1_000, &mut raw));
        assert!(raw.capacity() <= 4_096, "{}", raw.capacity());
    }
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(events in log::events(100), codec in 0..3_u8, block_bytes in 0..70_000_usize) {
        let codec = Codec::from_number(codec).unwrap();
        let (storage, footer) = write(&events, SegmentOptions { codec, level: 1, block_bytes });
        let segment = open(&storage).unwrap();
        prop_assert_eq!(segment.footer(), &footer);
        prop_assert_eq!(read(&segment), (events, 0));
    }

    #[test]
    fn any_bytes_can_be_opened(mut bytes in prop::collection::vec(any::<u8>(), 0..3_000), at in 0..3_000_usize, with_frames: bool) {
        if with_frames {
            let (_, clean, _) = small();
            let at = at.min(bytes.len());
            bytes.splice(at..at, clean);
        }
        let storage = disk_with(PATH, &bytes);
        if let Ok(segment) = open(&storage) {
            read(&segment);
        }
    }

    #[test]
    fn any_raw_block_can_be_decoded(raw in prop::collection::vec(any::<u8>(), 0..2_000), events in 0..40_usize, names in 0..2_u32) {
        let mut raw = raw;
        if let Some(count) = raw.first_chunk_mut::<4>() {
            *count = names.to_le_bytes();
        }
        if let Some(block) = Block::decode(&raw, events) {
            prop_assert_eq!(block.len(), events);
        }
    }

    #[test]
    fn any_bytes_can_be_decompressed(stored in prop::collection::vec(any::<u8>(), 0..500), length in 0..5_000_usize, codec in 0..3_u8) {
        let codec = Codec::from_number(codec).unwrap();
        let mut raw = Vec::new();
        if codec::Decompressor::default().decompress(codec, &stored, length, &mut raw) {
            prop_assert_eq!(raw.len(), length);
        }
    }
}
