//! Reading configuration by key handle and by path, alone, on two threads, and under a writer.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use serde_json::Value;

use crate::harness::{Effort, Measured, Role, Target, Work};

const PATH: &str = "ai.planning.sampling_rate";

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let foundation = Foundation::open(&Options::default()).expect("an instance opens");
    let config = foundation.config();
    let key = config.key(PATH).expect("the schema has the key");
    let bare = AtomicU64::new(1.0_f64.to_bits());
    let naive: Arc<RwLock<HashMap<String, Value>>> = Arc::default();
    naive.write().expect("no writer panicked").insert(PATH.to_owned(), Value::from(1.0));

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
        Work::new("scalar by key handle, 1 thread", Target::from("≤ 4 × floor").floors(4.0))
            .of(Role::Floor, "bare atomic load", load)
            .of(Role::Ours, "Key::get_f64", by_key)
            .measure(effort),
    );
    rows.extend(
        Work::new(
            "scalar by key handle, 2 threads",
            Target::from("≤ 4 × floor, flat in threads").floors(4.0),
        )
        .threads(Role::Floor, "bare atomic load", 2, |_, n| load(n))
        .threads(Role::Ours, "Key::get_f64", 2, |_, n| by_key(n))
        .measure(effort),
    );
    rows.extend(
        Work::new("scalar by path, 1 thread", Target::at_most("≤ 40 ns", 40.0))
            .of(Role::Floor, "bare atomic load", load)
            .of(Role::Naive, "RwLock<HashMap<String, Value>>", by_map)
            .of(Role::Ours, "Config::get_f64", by_path)
            .measure(effort),
    );
    rows.extend(
        Work::new("scalar by path, 2 threads", Target::at_most("≤ 40 ns, flat in threads", 40.0))
            .threads(Role::Floor, "bare atomic load", 2, |_, n| load(n))
            .threads(Role::Naive, "RwLock<HashMap<String, Value>>", 2, |_, n| by_map(n))
            .threads(Role::Ours, "Config::get_f64", 2, |_, n| by_path(n))
            .measure(effort),
    );

    // A writer at about 1,000 updates a second, which every measured subject runs beside.
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
        rows.extend(
            Work::new(
                "scalar by key handle, writer at 1,000/s",
                Target::from("≤ 4 × floor, flat under the writer").floors(4.0),
            )
            .of(Role::Floor, "bare atomic load", load)
            .of(Role::Ours, "Key::get_f64", by_key)
            .measure(effort),
        );
        stop.store(true, Ordering::Relaxed);
        writer.thread().unpark();
    });

    let mut low = false;
    rows.extend(
        Work::new("update: validate, event, count, publish", Target::at_most("≤ 5 µs", 5_000.0))
            .of(Role::Ours, "Config::update", |n| {
                for _ in 0..n {
                    low = !low;
                    let rate = if low { 0.5 } else { 1.0 };
                    config.update(PATH, Value::from(rate)).expect("an update of the sampling rate");
                }
            })
            .measure(effort),
    );
    foundation.close(Duration::from_secs(5));
    rows
}
