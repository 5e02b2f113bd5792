//! A whole instance with its own threads: what it stores, its configuration with those who hear of changes, and its
//! telemetry, all in use at once, and closed while it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elixirscope_foundation::config::{Change, Subscription};
use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{EventStore, Level, Query, TailItem, TailOptions};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;
use elixirscope_foundation::runtime::queue::Pop;
use serde_json::json;

use crate::files::Scratch;
use crate::numbered::{self, Numbered, TYPES, lane};
use crate::tails::Heard;
use crate::{LONG, Told, World, append_later, effort, spawn, until_there_is_room};

const RESULTS: &str = "interface.max_results";
const RATE: &str = "ai.planning.sampling_rate";

fn ours() -> Query {
    Query { types: TYPES.map(str::to_owned).to_vec(), ..Query::default() }
}

fn append(world: &World, store: &Arc<EventStore>, events: u64) -> Told {
    let mut told = Vec::new();
    let safe = Arc::new(AtomicU64::new(0));
    for number in lane(0, events) {
        let event = Numbered::new(number);
        world.note(&event);
        let receipt = until_there_is_room(|| store.append_at_once(&event.event()));
        told.push((receipt.seq, number));
        world.assert_found(store, receipt.seq, number);
        if store.has_files() {
            let count = Arc::clone(&safe);
            let then = Box::new(move |end: elixirscope_foundation::error::Result<()>| {
                end.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            });
            store.when_durable(receipt.seq, Level::Durable, then).unwrap();
        }
    }
    if store.has_files() {
        store.wait_durable(told[told.len() - 1].0, Level::Durable, LONG).unwrap();
        while safe.load(Ordering::SeqCst) < events {
            std::thread::yield_now();
        }
    }
    told
}

fn configure(app: &Foundation, updates: u64) -> Told {
    for n in 1..=updates {
        until_there_is_room(|| app.config().update(RESULTS, json!(n)));
        until_there_is_room(|| app.config().update(RATE, json!(1.0 / n as f64)));
        if n.is_multiple_of(50) {
            until_there_is_room(|| app.config().reset());
        }
    }
    Vec::new()
}

fn read_configuration(world: &World, app: &Foundation) {
    let (results, rate) = (app.config().key(RESULTS).unwrap(), app.config().key(RATE).unwrap());
    let mut last = 0;
    world.repeat(|_| {
        assert!(results.get_i64().unwrap() > 0);
        let rate = rate.get_f64().unwrap();
        assert!(rate > 0.0 && rate <= 1.0, "{rate}");
        let snapshot = app.config().snapshot();
        assert!(snapshot.version() >= last, "the configuration went back");
        last = snapshot.version();
        assert!(snapshot.get(RESULTS).unwrap().as_i64().unwrap() > 0);
    });
}

/// The changes of each path that a subscription tells come in order; one that was not read yet gives way to a newer.
/// Others come and go meanwhile.
fn hear(world: &World, app: &Foundation, subscription: &Subscription) {
    let mut last = HashMap::new();
    world.repeat(|_| {
        let passing = app.config().subscribe("ai", 4).unwrap();
        assert_eq!(passing.stats().dropped, 0);
        drop(passing);
        while let Pop::Item(change) = subscription.next_timeout(Duration::from_millis(1)) {
            let before = last.insert(change.path, change.version).unwrap_or(0);
            assert!(change.version > before, "{change:?} after {before}");
        }
    });
}

fn measure(app: &Foundation, thread: u64, rounds: u64) -> Told {
    let telemetry = app.telemetry();
    let kept = telemetry.counter("kept", &[]).unwrap();
    for round in 0..rounds {
        let n = ((round * 7 + thread * 131) % 50).to_string();
        telemetry.add("shared", &[("n", &n)], 1).unwrap();
        assert!(telemetry.record("sizes", &[("n", &n)], round as f64).unwrap());
        assert!(telemetry.set("level", &[("n", &n)], round as f64).unwrap());
        kept.add(1);
    }
    Vec::new()
}

fn under_everything(event_store: &serde_json::Value) {
    let events = 1_000 * effort();
    let options = Options::from_json(&json!({"event_store": event_store}).to_string()).unwrap();
    let app = &Foundation::open(&options).unwrap();
    let (store, world) = (app.events(), &World::default());
    let heard = Arc::new(Mutex::new(Heard::default()));
    let ear = Arc::clone(&heard);
    let callback =
        move |item: &TailItem| ear.lock().unwrap().take(item, |event| event.parent_id().unwrap_or(0));
    let tail = &app.tail_callback(TailOptions::default(), Box::new(callback)).unwrap();
    let subscription = &app.config().subscribe("", 16).unwrap();
    let changes = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&changes);
    let count = Box::new(move |_: &Change| _ = counts.fetch_add(1, Ordering::SeqCst));
    let counted = app.config().subscribe_callback("interface", 16, count).unwrap();
    app.telemetry().counter("kept", &[]).unwrap();
    let told = std::thread::scope(|scope| {
        let writers = vec![
            spawn(scope, "append", || append(world, store, events)),
            spawn(scope, "later", || append_later(world, store, events)),
            spawn(scope, "configure", || configure(app, events / 10)),
            spawn(scope, "measure", || measure(app, 0, events)),
            spawn(scope, "measure too", || measure(app, 1, events)),
        ];
        spawn(scope, "configuration", || read_configuration(world, app));
        spawn(scope, "hear", || hear(world, app, subscription));
        spawn(scope, "look", || {
            world.repeat(|_| {
                let mut found = store.query(&ours()).unwrap();
                loop {
                    match found.try_next() {
                        Ok(Some(event)) => _ = numbered::check(&event),
                        Ok(None) => break,
                        // For a segment that is in a file only.
                        Err(error) => break assert_eq!(error.code(), Code::NoMemory),
                    }
                }
                assert_eq!(app.status().status, "running");
                let heard = tail.stats();
                assert!(heard.counts.delivered + heard.unread < heard.position, "{heard:?}");
                assert!(app.prometheus().contains("kept"));
            })
        });
        world.finish(writers)
    });
    // The worker tells what is left.
    while tail.stats().behind > 0 || tail.stats().unread > 0 {
        std::thread::yield_now();
    }
    tail.cancel();
    let heard = Arc::into_inner(heard).expect("the callback is gone").into_inner().unwrap();
    let stats = store.stats();
    assert_eq!(stats.offered, stats.stored + stats.refused);
    assert_eq!(stats.later.stored + stats.later.failed_full, events, "{stats:?}");
    assert!(store.has_files() || stats.refused == 0, "{stats:?}");
    assert_eq!(heard.events.len() as u64 + heard.missed, stats.stored);
    counted.cancel();
    assert!(changes.load(Ordering::SeqCst) > 0);
    let total =
        |series: fn(&str, &Foundation) -> u64| (0..50).map(|n| series(&n.to_string(), app)).sum::<u64>();
    let shared = total(|n, app| app.telemetry().counter("shared", &[("n", n)]).unwrap().value());
    let sizes =
        total(|n, app| app.telemetry().histogram("sizes", &[("n", n)]).unwrap().distribution().count());
    assert_eq!((shared, sizes), (2 * events, 2 * events));
    assert_eq!(app.telemetry().counter("kept", &[]).unwrap().value(), 2 * events);
    for (seq, number) in told {
        assert!(heard.events.get(&seq).is_none_or(|heard| *heard == number));
        world.assert_found(store, seq, number);
    }
}

#[test]
fn in_memory() {
    under_everything(&json!({"max_events": 3_000, "shards": 2, "async_queue_events": 100}));
}

#[test]
fn with_files_and_little_memory() {
    for durability in ["group", "crash_safe"] {
        let scratch = Scratch::new(&format!("instance-{durability}"));
        under_everything(&json!({
            "data_dir": scratch.0, "durability": durability, "max_memory_mb": 2, "max_data_bytes": 4096,
            "shards": 2, "async_queue_events": 100, "sync_interval_ms": 5, "prune_interval_ms": 10
        }));
    }
}

#[test]
fn closed_while_everybody_appends() {
    for _ in 0..5 * effort() {
        let app = Foundation::open(&Options::default()).unwrap();
        let store = &Arc::clone(app.events());
        let (begun, world) = (&AtomicU64::new(0), &World::default());
        let (later, stored, report) = std::thread::scope(|scope| {
            let later = spawn(scope, "later", || {
                let mut taken = HashMap::new();
                for number in lane(2, u64::from(u32::MAX)) {
                    match store.append_async(&Numbered::new(number).event()) {
                        Ok(id) => assert_eq!(taken.insert(id, number), None),
                        Err(error) if error.code() == Code::StoreFull => std::thread::yield_now(),
                        Err(error) => {
                            assert_eq!(error.code(), Code::Closing);
                            return taken;
                        }
                    }
                    begun.fetch_add(1, Ordering::SeqCst);
                }
                unreachable!("it is closed long before")
            });
            let stored = spawn(scope, "append", || {
                let mut told = Vec::new();
                for number in lane(0, u64::from(u32::MAX)) {
                    let receipt = store.append(&Numbered::new(number).event()).unwrap();
                    told.push((receipt.seq, number));
                    if world.is_done() {
                        return told;
                    }
                }
                unreachable!("it is closed long before")
            });
            while begun.load(Ordering::SeqCst) < 200 {
                std::thread::yield_now();
            }
            let report = app.close(LONG);
            world.done.store(true, Ordering::SeqCst);
            (later.join().unwrap(), stored.join().unwrap(), report)
        });
        assert!(report.unfinished.is_empty() && report.unstored_events == 0, "{report:?}");
        for (seq, number) in stored.into_iter().rev().take(500) {
            world.assert_found(store, seq, number);
        }
        let oldest = store.stats().oldest_seq;
        for (id, number) in later {
            assert!(oldest > 1 || numbered::check(&store.get(id).unwrap().view()) == number);
        }
    }
}
