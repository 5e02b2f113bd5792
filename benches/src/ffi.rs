//! The hot calls as a C program has them: through the shared library that `make build` makes, opened with
//! `dlopen`. The floor of a call is an exported function that does nothing.

use std::ffi::{c_char, c_void};
use std::hint::black_box;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{Effort, Measured, Numbers, Role, Target, Work};
use crate::library::Library;
use crate::steady::{KEPT, full_store};
use crate::telemetry::Padded;
use crate::workload::{Made, NODE, Workload};

/// `esf_str`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Str {
    ptr: *const c_char,
    len: usize,
}

impl Str {
    fn of(text: &str) -> Self {
        Self { ptr: text.as_ptr().cast(), len: text.len() }
    }
}

type Status = i32;
type Handle = *mut c_void;

/// The functions that are measured, with the types of the header.
struct Functions {
    abi_version: extern "C" fn() -> u32,
    open: extern "C" fn(Str, *mut Handle, *mut Handle) -> Status,
    close: extern "C" fn(Handle, i64, *mut Handle) -> Status,
    key_resolve: extern "C" fn(Handle, Str, *mut Handle, *mut Handle) -> Status,
    get_f64: extern "C" fn(Handle, *mut f64) -> Status,
    counter_new: extern "C" fn(Handle, Str, *const c_void, usize, *mut Handle, *mut Handle) -> Status,
    counter_add: extern "C" fn(Handle, u64) -> Status,
    histogram_new: extern "C" fn(Handle, Str, *const c_void, usize, *mut Handle, *mut Handle) -> Status,
    histogram_record: extern "C" fn(Handle, f64) -> Status,
    event_append: extern "C" fn(Handle, *const Event, *mut c_void, *mut Handle) -> Status,
}

/// `esf_event`.
#[repr(C)]
struct Event {
    size: u32,
    encoding: u32,
    id: u64,
    parent_id: u64,
    timestamp: i64,
    wall_time: i64,
    type_handle: *const c_void,
    kind: Str,
    node: Str,
    pid: Str,
    correlation_id: Str,
    data: Str,
}

impl Functions {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/lib/libelixirscope_foundation.so");
        let library = Library::open(&path).unwrap_or_else(|error| panic!("run `make build` first: {error}"));
        Self {
            abi_version: library.symbol(c"esf_abi_version"),
            open: library.symbol(c"esf_foundation_open"),
            close: library.symbol(c"esf_foundation_close"),
            key_resolve: library.symbol(c"esf_config_key_resolve"),
            get_f64: library.symbol(c"esf_config_get_f64"),
            counter_new: library.symbol(c"esf_counter_new"),
            counter_add: library.symbol(c"esf_counter_add"),
            histogram_new: library.symbol(c"esf_histogram_new"),
            histogram_record: library.symbol(c"esf_histogram_record"),
            event_append: library.symbol(c"esf_event_append"),
        }
    }
}

/// Fails on any status but OK.
fn ok(status: Status) {
    assert_eq!(status, 0, "a call answered {status}");
}

fn event(made: &Made) -> Event {
    Event {
        size: size_of::<Event>() as u32,
        encoding: 1,
        id: 0,
        parent_id: 0,
        timestamp: i64::MIN,
        wall_time: i64::MIN,
        type_handle: null(),
        kind: Str::of(made.event_type()),
        node: Str::of(NODE),
        pid: Str::of(&made.pid),
        correlation_id: Str::of(&made.correlation_id),
        data: Str::of(&made.data),
    }
}

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let library = Functions::open();
    let mut foundation = null_mut();
    ok((library.open)(Str::of(r#"{"event_store":{"max_events":500000}}"#), &raw mut foundation, null_mut()));
    let mut key = null_mut();
    let path = Str::of("ai.planning.sampling_rate");
    ok((library.key_resolve)(foundation, path, &raw mut key, null_mut()));
    let (mut counter, mut histogram) = (null_mut(), null_mut());
    ok((library.counter_new)(foundation, Str::of("bench.requests"), null(), 0, &raw mut counter, null_mut()));
    ok((library.histogram_new)(
        foundation,
        Str::of("bench.latency"),
        null(),
        0,
        &raw mut histogram,
        null_mut(),
    ));
    // Numbers, so that threads can share them: a handle is one.
    let (key, counter, histogram) = (key as usize, counter as usize, histogram as usize);

    let empty = |n: u64| {
        (0..n).for_each(|_| {
            black_box((library.abi_version)());
        });
    };
    let own_cells: [Padded; 2] = Default::default();
    let cells: [AtomicU64; 2] = Default::default();
    let empty_and_adds = |n: u64, adds: usize| {
        for _ in 0..n {
            black_box((library.abi_version)());
            for cell in &cells[..adds] {
                cell.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let get = |n: u64| {
        let mut value = 0.0;
        for _ in 0..n {
            ok((library.get_f64)(black_box(key) as Handle, &raw mut value));
            black_box(value);
        }
    };
    let add = |n: u64| (0..n).for_each(|_| ok((library.counter_add)(black_box(counter) as Handle, 1)));
    let mut numbers = Numbers::new(7);
    let values: Vec<f64> =
        (0..1024).map(|_| 1e-6 * 2_f64.powf(numbers.below(2_000) as f64 / 100.0)).collect();
    let record = |n: u64| {
        for turn in 0..n {
            let value = values[turn as usize % values.len()];
            ok((library.histogram_record)(black_box(histogram) as Handle, value));
        }
    };

    let mut rows = Vec::new();
    rows.extend(
        Work::new("C: scalar by key handle, 1 thread", Target::from("≤ 2 × an empty call").floors(2.0))
            .of(Role::Floor, "esf_abi_version (empty call)", empty)
            .of(Role::Ours, "esf_config_get_f64", get)
            .measure(effort),
    );
    rows.extend(
        Work::new(
            "C: scalar by key handle, 2 threads",
            Target::from("≤ 2 × an empty call, flat").floors(2.0),
        )
        .threads(Role::Floor, "esf_abi_version (empty call)", 2, |_, n| empty(n))
        .threads(Role::Ours, "esf_config_get_f64", 2, |_, n| get(n))
        .measure(effort),
    );
    rows.extend(
        Work::new("C: counter add, 1 thread", Target::at_most("≤ 12 ns", 12.0))
            .of(Role::Floor, "empty call and an atomic add", |n| empty_and_adds(n, 1))
            .of(Role::Ours, "esf_counter_add", add)
            .measure(effort),
    );
    rows.extend(
        Work::new("C: counter add, 2 threads", Target::at_most("≤ 12 ns: no growth with threads", 12.0))
            .threads(Role::Floor, "empty call and an atomic add, own cells", 2, |thread, n| {
                for _ in 0..n {
                    black_box((library.abi_version)());
                    own_cells[thread].0.fetch_add(1, Ordering::Relaxed);
                }
            })
            .threads(Role::Ours, "esf_counter_add", 2, |_, n| add(n))
            .measure(effort),
    );
    rows.extend(
        Work::new("C: histogram record, 1 thread", "")
            .of(Role::Floor, "empty call and two atomic adds", |n| empty_and_adds(n, 2))
            .of(Role::Ours, "esf_histogram_record", record)
            .measure(effort),
    );
    rows.extend(appends(&library, foundation, effort));
    ok((library.close)(foundation, 5_000, null_mut()));
    rows
}

/// Appending to a full store, beside the same from Rust.
fn appends(library: &Functions, foundation: Handle, effort: &Effort) -> Vec<Measured> {
    let made = Workload::of(KEPT).events();
    let store = full_store(&made);
    let (mut next, mut next_from_rust) = (0, 0);
    // Full, as the store from Rust is.
    for one in made.iter().chain(&made) {
        let event = event(one);
        ok((library.event_append)(foundation, &raw const event, null_mut(), null_mut()));
    }
    let append = |n: u64| {
        for _ in 0..n {
            next = (next + 1) % made.len();
            let event = event(&made[next]);
            ok((library.event_append)(foundation, &raw const event, null_mut(), null_mut()));
        }
    };
    Work::new("C: append one at a time, 1 thread", "")
        .of(Role::Floor, "the same from Rust, EventStore::append", |n| {
            for _ in 0..n {
                next_from_rust = (next_from_rust + 1) % made.len();
                store.append(&made[next_from_rust].event()).expect("an append");
            }
        })
        .of(Role::Ours, "esf_event_append", append)
        .measure(effort)
}
