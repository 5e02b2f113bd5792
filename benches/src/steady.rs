//! Our store beside its floors when it is full: appending one at a time, in batches and from two threads, and finding
//! the events of one correlation. What is dropped makes room, and memory is recycled.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use elixirscope_foundation::events::{EventStore, EventStoreOptions, Query, Receipt};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SystemClock};

use crate::harness::{Effort, Measured, Numbers, Role, Target, Work, latencies};
use crate::workload::{CHAIN, FIXED, Made, Workload, correlation};

/// Events that the store keeps, and that the run has.
pub const KEPT: u64 = 500_000;
const BATCH: usize = 100;

/// Recycled memory that records are copied into, round and round: the floor of an append.
struct Ring {
    memory: Vec<u8>,
    at: usize,
}

impl Ring {
    fn new() -> Self {
        // Touched, so that no page is fresh; as large as the store it stands beside.
        Self { memory: vec![1; KEPT as usize * 300], at: 0 }
    }

    fn copy(&mut self, made: &Made) {
        let length = made.bytes();
        if self.at + length > self.memory.len() {
            self.at = 0;
        }
        let record = &mut self.memory[self.at..self.at + length];
        let (head, rest) = record.split_at_mut(FIXED);
        head.fill(made.pid.len() as u8);
        let (correlation, rest) = rest.split_at_mut(made.correlation_id.len());
        correlation.copy_from_slice(made.correlation_id.as_bytes());
        let (pid, rest) = rest.split_at_mut(made.pid.len());
        pid.copy_from_slice(made.pid.as_bytes());
        rest[..made.data.len()].copy_from_slice(made.data.as_bytes());
        self.at += length;
        black_box(&mut self.memory);
    }
}

/// A store that has dropped events already, and recycled their memory.
pub fn full_store(made: &[Made]) -> EventStore {
    let options = EventStoreOptions { max_events: Some(KEPT), ..EventStoreOptions::default() };
    let store =
        EventStore::open(options, AnchoredClock::new(Arc::new(SystemClock), 0), Arc::new(AtomicU64::new(1)))
            .expect("a store opens");
    // Twice over, so that segments have been dropped and their memory recycled.
    for _ in 0..2 {
        for one in made {
            store.append(&one.event()).expect("an append");
        }
    }
    // As the worker of an instance does.
    store.seal_pending();
    store
}

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let made = Workload::of(KEPT).events();
    let mut rows = appends(&made, effort);
    rows.extend(queries(&made, effort));
    rows
}

fn appends(made: &[Made], effort: &Effort) -> Vec<Measured> {
    let store = full_store(made);
    let ring = RefCell::new(Ring::new());
    let own_rings = [Mutex::new(Ring::new()), Mutex::new(Ring::new())];
    let next = AtomicUsize::new(0);
    let one = || &made[next.fetch_add(1, Ordering::Relaxed) % made.len()];
    let copy = |n: u64| {
        let mut ring = ring.borrow_mut();
        (0..n).for_each(|_| ring.copy(one()));
    };

    let mut rows = Vec::new();
    rows.extend(
        Work::new(
            "full store: append one at a time, 1 thread",
            Target::at_most("≥ 1.5 M/s (≤ 667 ns)", 667.0),
        )
        .of(Role::Floor, "copy of the same bytes, recycled memory", copy)
        .of(Role::Ours, "EventStore::append", |n| {
            for _ in 0..n {
                black_box(store.append(&one().event()).expect("an append"));
            }
        })
        .measure(effort),
    );
    rows.extend(
        Work::new(
            "full store: append in batches of 100 (one event)",
            Target::at_most("≥ 2 M/s (≤ 500 ns)", 500.0),
        )
        .of(Role::Floor, "copy of the same bytes, recycled memory", copy)
        .of(Role::Ours, "EventStore::append_batch_into", |n| {
            let mut receipts = [Receipt::default(); BATCH];
            let mut events = Vec::with_capacity(BATCH);
            let mut left = n as usize;
            while left > 0 {
                events.clear();
                events.extend((0..BATCH.min(left)).map(|_| one().event()));
                store.append_batch_into(&events, &mut receipts[..events.len()]).expect("a batch");
                left -= events.len();
            }
        })
        .measure(effort),
    );
    rows.extend(
        Work::new(
            "full store: append one at a time, 2 threads",
            Target::at_most("≥ 1.5 × one thread together (≤ 890 ns)", 890.0),
        )
        .threads(Role::Floor, "copy of the same bytes, memory of its own", 2, |thread, n| {
            let mut ring = own_rings[thread].lock().expect("no copy panicked");
            let start = thread * made.len() / 2;
            (0..n as usize).for_each(|turn| ring.copy(&made[(start + turn) % made.len()]));
        })
        .threads(Role::Ours, "EventStore::append", 2, |thread, n| {
            let start = thread * made.len() / 2;
            for turn in 0..n as usize {
                let event = made[(start + turn) % made.len()].event();
                black_box(store.append(&event).expect("an append"));
            }
        })
        .measure(effort),
    );
    let percentiles = [
        ("p50", 0.5, Target::default()),
        ("p99", 0.99, Target::at_most("≤ 2 µs", 2_000.0)),
        ("p99.9", 0.999, Target::default()),
        ("max", 1.0, Target::at_most("≤ 1 ms", 1_000_000.0)),
    ];
    rows.extend(latencies(
        "full store: append one, latency",
        &percentiles,
        if effort.quick { 1_000 } else { 100_000 },
        effort,
        vec![
            (Role::Floor, "copy of the same bytes, timed", Box::new(|| ring.borrow_mut().copy(one()))),
            (
                Role::Ours,
                "EventStore::append",
                Box::new(|| {
                    store.append(&one().event()).expect("an append");
                }),
            ),
        ],
    ));
    rows
}

fn queries(made: &[Made], effort: &Effort) -> Vec<Measured> {
    let store = full_store(made);
    // Where the records of the floor lie: in order of appending, as in the store.
    let mut places = Vec::with_capacity(made.len());
    let mut memory = Vec::with_capacity(made.len() * 300);
    for one in made {
        places.push((memory.len(), one.bytes()));
        memory.resize(memory.len() + one.bytes(), one.pid.len() as u8);
    }
    let chains = KEPT / CHAIN;
    let mut numbers = Numbers::new(3);
    let mut other = Numbers::new(3);
    Work::new("full store: events of one correlation (10)", Target::at_most("≤ 6 µs", 6_000.0))
        .of(Role::Floor, "read of 10 records at known places", |n| {
            for _ in 0..n {
                let chain = numbers.below(chains);
                let mut sum = 0_u64;
                for link in 0..CHAIN {
                    let (start, length) = places[(chain + link * chains) as usize];
                    sum += checksum(&memory[start..start + length]);
                }
                black_box(sum);
            }
        })
        .of(Role::Ours, "EventStore::query, Cursor::next", |n| {
            for _ in 0..n {
                let id = correlation(other.below(chains));
                let query = Query { correlation_id: Some(id.as_bytes().to_vec()), ..Query::default() };
                let mut cursor = store.query(&query).expect("a query");
                let (mut found, mut sum) = (0, 0_u64);
                while let Some(event) = cursor.next() {
                    sum += checksum(event.data());
                    found += 1;
                }
                assert_eq!(found, CHAIN, "{id}");
                black_box(sum);
            }
        })
        .measure(effort)
}

/// Touches every byte, eight at a time.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks_exact(8).fold(0, |sum, eight| sum ^ eight.try_into().map_or(0, u64::from_le_bytes))
}
