//! Reading configuration by key handle and by path, alone, on two threads, and under a writer.

#[cfg_attr(feature = "peers", path = "peers.rs")]
#[cfg_attr(not(feature = "peers"), path = "no_peers.rs")]
mod peers;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use elixirscope_foundation::config::Config;
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use serde_json::Value;

use self::peers::Peers;
use crate::harness::{Effort, Measured, Role, Target, Work};

const PATH: &str = "ai.planning.sampling_rate";

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let foundation = Foundation::open(&Options::default()).expect("an instance opens");
    let config = foundation.config();
    let key = config.key(PATH).expect("the schema has the key");
    let bare = AtomicU64::new(1.0_f64.to_bits());
    let naive: RwLock<HashMap<String, Value>> = RwLock::default();
    naive.write().expect("no writer panicked").insert(PATH.to_owned(), Value::from(1.0));

    let peers = Peers::new(PATH, &serde_json::json!({ "ai": { "planning": { "sampling_rate": 1.0 } } }));

    let load = |n: u64| {
        (0..n).for_each(|_| {
            black_box(f64::from_bits(black_box(&bare).load(Ordering::Acquire)));
        });
    };
    let by_key = |n: u64| {
        (0..n).for_each(|_| {
            black_box(black_box(&key).get_f64().expect("a float"));
        });
    };
    let by_path = |n: u64| {
        (0..n).for_each(|_| {
            black_box(config.get_f64(black_box(PATH)).expect("a float"));
        });
    };
    let by_map = |n: u64| {
        (0..n).for_each(|_| {
            let map = naive.read().expect("no writer panicked");
            black_box(map.get(black_box(PATH)).and_then(Value::as_f64));
        });
    };

    let mut rows = Vec::new();
    rows.extend(
        peers
            .by_handle(
                Work::new("scalar by key handle, 1 thread", Target::from("≤ 4 × floor").floors(4.0))
                    .of(Role::Floor, "bare atomic load", load)
                    .of(Role::Ours, "Key::get_f64", by_key),
                1,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .by_handle(
                Work::new(
                    "scalar by key handle, 2 threads",
                    Target::from("≤ 4 × floor, flat in threads").floors(4.0),
                )
                .threads(Role::Floor, "bare atomic load", 2, |_, n| load(n))
                .threads(Role::Ours, "Key::get_f64", 2, |_, n| by_key(n)),
                2,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .by_path(
                Work::new("scalar by path, 1 thread", Target::at_most("≤ 40 ns", 40.0))
                    .of(Role::Floor, "bare atomic load", load)
                    .of(Role::Naive, "RwLock<HashMap<String, Value>>", by_map)
                    .of(Role::Ours, "Config::get_f64", by_path),
                1,
            )
            .measure(effort),
    );
    rows.extend(
        peers
            .by_path(
                Work::new(
                    "scalar by path, 2 threads",
                    Target::at_most("≤ 40 ns, flat in threads, ≥ 2 × DashMap", 40.0).times("DashMap", 2.0),
                )
                .threads(Role::Floor, "bare atomic load", 2, |_, n| load(n))
                .threads(Role::Naive, "RwLock<HashMap<String, Value>>", 2, |_, n| by_map(n))
                .threads(Role::Ours, "Config::get_f64", 2, |_, n| by_path(n)),
                2,
            )
            .measure(effort),
    );

    rows.extend(beside_a_writer(config, load, by_key, effort));
    rows.extend(updates(config, effort));
    foundation.close(Duration::from_secs(5));
    rows
}

/// With a writer at about 1,000 updates a second, which every measured subject runs beside.
fn beside_a_writer(
    config: &Config,
    floor: impl FnMut(u64),
    ours: impl FnMut(u64),
    effort: &Effort,
) -> Vec<Measured> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut low = false;
            while !stop.load(Ordering::Relaxed) {
                let rate = if low { 0.5 } else { 1.0 };
                config.update(PATH, Value::from(rate)).expect("an update of the sampling rate");
                low = !low;
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        let rows = Work::new(
            "scalar by key handle, writer at 1,000/s",
            Target::from("≤ 4 × floor, flat under the writer").floors(4.0),
        )
        .of(Role::Floor, "bare atomic load", floor)
        .of(Role::Ours, "Key::get_f64", ours)
        .measure(effort);
        stop.store(true, Ordering::Relaxed);
        writer.thread().unpark();
        rows
    })
}

fn updates(config: &Config, effort: &Effort) -> Vec<Measured> {
    let mut low = false;
    Work::new("update: validate, event, count, publish", Target::at_most("≤ 5 µs", 5_000.0))
        .of(Role::Ours, "Config::update", |n| {
            for _ in 0..n {
                low = !low;
                let rate = if low { 0.5 } else { 1.0 };
                config.update(PATH, Value::from(rate)).expect("an update of the sampling rate");
            }
        })
        .measure(effort)
}
