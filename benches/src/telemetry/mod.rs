//! Counters and histograms through handles and by name, on one and on two threads, and rendering many of them.

#[cfg_attr(feature = "peers", path = "peers.rs")]
#[cfg_attr(not(feature = "peers"), path = "no_peers.rs")]
mod peers;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use elixirscope_foundation::telemetry::{Telemetry, TelemetryOptions};

use self::peers::Peers;
use crate::harness::{Effort, Measured, Numbers, Role, Target, Work};

/// A cell that no other shares its cache lines with.
#[repr(align(128))]
#[derive(Default)]
pub struct Padded(pub AtomicU64);

impl Padded {
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// Counters that are rendered.
const SERIES: usize = 10_000;

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let telemetry = Telemetry::new(TelemetryOptions::default());
    let labels = [("method", "GET"), ("route", "/users/:id"), ("status", "200")];
    let counter = telemetry.counter("bench.requests", &labels).expect("a counter");
    let histogram = telemetry.histogram("bench.latency", &labels).expect("a histogram");
    let peers = Peers::new(SERIES);
    let cells: [Padded; 4] = Default::default();
    let shared = Padded::default();

    // Latencies from 1 µs to about 1 s, most of them small.
    let mut numbers = Numbers::new(7);
    let values: Vec<f64> =
        (0..1024).map(|_| 1e-6 * 2_f64.powf(numbers.below(2_000) as f64 / 100.0)).collect();
    let value = |n: u64| values[n as usize % values.len()];

    let mut rows = Vec::new();
    rows.extend(
        peers
            .counters(
                Work::new("counter add, 1 thread", Target::at_most("≤ 8 ns", 8.0))
                    .of(Role::Floor, "load and store, owner only", |n| {
                        for _ in 0..n {
                            let cell = black_box(&cells[0].0);
                            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        }
                    })
                    .of(Role::Floor, "atomic add", |n| (0..n).for_each(|_| black_box(&cells[0]).add(1)))
                    .of(Role::Ours, "Counter::add", |n| (0..n).for_each(|_| black_box(&counter).add(1))),
                1,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .counters(
                Work::new("counter add, 2 threads", Target::at_most("≤ 8 ns: no growth with threads", 8.0))
                    .threads(Role::Floor, "atomic add, a cell for each", 2, |thread, n| {
                        (0..n).for_each(|_| black_box(&cells[thread]).add(1));
                    })
                    .threads(Role::Naive, "atomic add, one cell", 2, |_, n| {
                        (0..n).for_each(|_| black_box(&shared).add(1));
                    })
                    .threads(Role::Ours, "Counter::add", 2, |_, n| {
                        (0..n).for_each(|_| black_box(&counter).add(1));
                    }),
                2,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .histograms(
                Work::new("histogram record, 1 thread", Target::at_most("≤ 14 ns, error ≤ 1 %", 14.0))
                    .of(Role::Floor, "two atomic adds (bucket, sum)", |n| {
                        for turn in 0..n {
                            black_box(&cells[0]).add(1);
                            black_box(&cells[1]).add(value(turn).to_bits());
                        }
                    })
                    .of(Role::Ours, "Histogram::record", |n| {
                        for turn in 0..n {
                            black_box(&histogram).record(value(turn));
                        }
                    }),
                1,
                &values,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .histograms(
                Work::new("histogram record, 2 threads", Target::at_most("≤ 16 ns", 16.0))
                    .threads(Role::Floor, "two atomic adds, cells for each", 2, |thread, n| {
                        for turn in 0..n {
                            black_box(&cells[thread]).add(1);
                            black_box(&cells[thread + 2]).add(value(turn).to_bits());
                        }
                    })
                    .threads(Role::Ours, "Histogram::record", 2, |_, n| {
                        for turn in 0..n {
                            black_box(&histogram).record(value(turn));
                        }
                    }),
                2,
                &values,
            )
            .measure(effort),
    );
    for (threads, words, limit) in [(1, "≤ 55 ns", 55.0), (2, "≤ 70 ns", 70.0)] {
        let work = Work::new(
            &format!("counter add, 3 labels by name, {threads} thread(s)"),
            Target::at_most(words, limit),
        )
        .threads(Role::Ours, "Telemetry::add", threads, |_, n| {
            for _ in 0..n {
                telemetry.add("bench.requests", black_box(&labels), 1).expect("a counter");
            }
        });
        rows.extend(peers.by_name(work, threads).measure(effort));
    }
    rows.extend(rendering(&peers, effort));
    rows
}

fn rendering(peers: &Peers, effort: &Effort) -> Vec<Measured> {
    let options = TelemetryOptions { max_series: 2 * SERIES, max_series_per_metric: 2 * SERIES };
    let telemetry = Telemetry::new(options);
    for index in 0..SERIES {
        telemetry.add("bench.series", &[("index", &index.to_string())], 1).expect("a counter");
    }
    let mut lines = String::new();
    telemetry.prometheus(&mut lines);
    let work = Work::new("render 10,000 counters", Target::at_most("≤ 1 ms", 1e6))
        .of(Role::Floor, "copy of the text", |n| {
            for _ in 0..n {
                black_box(black_box(&lines).clone());
            }
        })
        .of(Role::Ours, "Telemetry::prometheus", |n| {
            for _ in 0..n {
                let mut text = String::new();
                telemetry.prometheus(&mut text);
                black_box(text);
            }
        });
    peers.rendering(work).measure(effort)
}
