//! How small and how quick: `cargo test --release --lib events::file::tests::speed -- --ignored --nocapture`.

use std::fmt::Write;

use super::store::Temporary;
use super::*;
use crate::storage::RealStorage;

const EVENTS: u64 = 200_000;

/// Events like those of the benchmarks: about 270 bytes, twenty types, ten to a correlation, JSON of 170 bytes.
fn made() -> Vec<Vec<u8>> {
    let mut state = 42_u64;
    let mut below = |limit: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    };
    let mut time = 1_700_000_000_000_000_000;
    (0..EVENTS)
        .map(|turn| {
            time += 300 + below(200) as i64;
            let mut data = String::new();
            let (amount, customer) = (below(100_000_000), below(1 << 60));
            let items = [below(1_000), below(1_000), below(1_000)];
            write!(
                data,
                "{{\"order\":{turn:012},\"amount\":{amount:08},\"currency\":\"EUR\",\"customer\":\"{customer:016x}\",\
                 \"state\":\"paid\",\"items\":[{},{},{}],\"note\":\"{:040x}\"}}",
                items[0], items[1], items[2], below(1 << 60)
            )
            .unwrap();
            Event {
                seq: turn + 1,
                event_id: turn + 1,
                timestamp: time,
                wall_time: time + below(60) as i64,
                parent_id: 0,
                config_version: 1,
                event_type: 1 + below(20) as u32,
                node: 21,
                encoding: Encoding::Json,
                correlation: Some(format!("request-{:08}", turn % 50_000).into_bytes()),
                pid: format!("<0.{}.0>", below(5_000)).into_bytes(),
                data: data.into_bytes(),
            }
            .record()
        })
        .collect()
}

fn names(number: u32) -> &'static str {
    const NAMES: [&str; 22] = [
        "",
        "type_00",
        "type_01",
        "type_02",
        "type_03",
        "type_04",
        "type_05",
        "type_06",
        "type_07",
        "type_08",
        "type_09",
        "type_10",
        "type_11",
        "type_12",
        "type_13",
        "type_14",
        "type_15",
        "type_16",
        "type_17",
        "type_18",
        "type_19",
        "bench@host",
    ];
    NAMES[number as usize]
}

/// Time that this thread has had on a processor, so that others on the machine do not count.
fn own_time() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the time to the place that it is given, which is one.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn rate(bytes: usize, work: impl FnOnce()) -> String {
    let start = own_time();
    work();
    let took = (own_time() - start) as f64;
    format!("{:6.0} MB/s, {:5.0} ns an event", bytes as f64 * 1e3 / took, took / EVENTS as f64)
}

#[test]
#[ignore = "measures; run it by hand in release"]
fn how_small_and_how_quick() {
    let directory = Temporary::new("speed");
    let records = made();
    let bytes: usize = records.iter().map(Vec::len).sum();
    println!("{} bytes an event in memory", bytes as u64 / EVENTS);
    for _ in 0..2 {
        let mut log = LogEncoder::new(STORE, 1, 1);
        // Touched, so that no page is fresh.
        let mut out = vec![0; bytes + (8 << 20)];
        out.clear();
        let encode = rate(bytes, || {
            log.header(&mut out);
            for record in &records {
                log.record(record, FLAG_FIRST | FLAG_LAST, names, &mut out);
            }
        });
        let log_path = directory.0.join("log");
        write_atomically_with(&RealStorage, &log_path, |writer| writer.put(&out)).unwrap();
        let file = RealStorage.open_read(&log_path).unwrap();
        let mut events = 0;
        let scan = rate(bytes, || {
            let header = log_header(1);
            events = scan_log(&*file, &header, &mut |_| Ok(())).unwrap().events;
        });
        assert_eq!(events, EVENTS);
        println!(
            "log: {:5.1} bytes an event; encode {encode}; scan {scan}",
            out.len() as f64 / EVENTS as f64
        );
        let checksums = rate(bytes, || {
            let sum = records.iter().fold(0, |sum, record| crc32c::crc32c_append(sum, record));
            assert_ne!(sum, 0);
        });
        println!("checksums alone: {checksums}");
        let mut columns = columns::Columns::default();
        let mut raw = Vec::new();
        let take_apart = rate(bytes, || {
            for record in &records {
                if columns.raw_length() + record.len() > BLOCK_BYTES {
                    columns.encode(&mut raw);
                    columns.clear();
                }
                columns.push(record, record[AT_FLAGS], names);
            }
        });
        println!("columns alone: {take_apart}");
        let mut compressor = codec::Compressor::new(Codec::Zstd, 1).unwrap();
        let compress = rate(bytes, || {
            for _ in 0..bytes / BLOCK_BYTES {
                assert_eq!(compressor.compress(&raw).unwrap().0, Codec::Zstd);
            }
        });
        println!("zstd 1 alone: {compress}");
        for (codec, level) in
            [(Codec::None, 0), (Codec::Zstd, 1), (Codec::Zstd, 2), (Codec::Zstd, 3), (Codec::Gzip, 1)]
        {
            let path = directory.0.join("segment");
            let identity = Identity { kind: FileKind::Segment, store: STORE, number: 1 };
            let encode = rate(bytes, || {
                write_atomically_with(&RealStorage, &path, |writer| {
                    let options = SegmentOptions { codec, level, ..SegmentOptions::default() };
                    let mut encoder = SegmentEncoder::new(writer, identity, 1, options)?;
                    for record in &records {
                        encoder.push(record, record[AT_FLAGS], names)?;
                    }
                    encoder.finish(&[])
                })
                .unwrap();
            });
            let segment = SegmentFile::open(&RealStorage, &path, identity, Limits::default()).unwrap();
            let mut scratch = Scratch::default();
            let mut events = 0;
            let decode = rate(bytes, || {
                for index in 0..segment.blocks().len() {
                    events += segment.read_block_with(index, &mut scratch).unwrap().len() as u64;
                }
            });
            assert_eq!(events, EVENTS);
            let size = segment.file_bytes().unwrap() as f64 / EVENTS as f64;
            println!("{codec:?} {level}: {size:5.1} bytes an event; encode {encode}; decode {decode}");
        }
    }
}
