//! Who hears of changes: queues, callbacks, cancelling.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elixirscope_foundation::config::{Change, ChangeKind, Config, Subscription};
use elixirscope_foundation::error::Code;
use elixirscope_foundation::runtime::queue::Pop;
use elixirscope_foundation::runtime::supervisor::WorkerState;
use serde_json::{Map, Value, json};

use crate::{World, defaults};

const LONG: Duration = Duration::from_secs(30);

fn brief(change: &Change) -> (&'static str, Value, u64) {
    (change.path, change.new.clone(), change.version)
}

fn unread(subscription: &Subscription) -> Vec<(&'static str, Value, u64)> {
    std::iter::from_fn(|| subscription.try_next()).map(|change| brief(&change)).collect()
}

/// A callback that sends on what it is told.
fn forward(config: &Config, prefix: &str) -> (Subscription, Receiver<Change>) {
    let (sender, receiver): (Sender<Change>, _) = channel();
    let callback = Box::new(move |change: &Change| sender.send(change.clone()).unwrap());
    (config.subscribe_callback(prefix, 64, callback).unwrap(), receiver)
}

#[test]
fn each_subscriber_is_told_what_lies_under_its_prefix() {
    let config = defaults();
    let prefixes = ["", "ai", "ai.planning", "ai.planning.sampling_rate", "dev", "interface.max_results"];
    let all = prefixes.map(|prefix| config.subscribe(prefix, 8).unwrap());
    config.update("ai.planning.sampling_rate", json!(0.5)).unwrap();
    let told: Vec<_> = all.iter().map(|subscription| unread(subscription).len()).collect();
    assert_eq!(told, [1, 1, 1, 1, 0, 0]);
    // Told also when the value is the same, and not when the update is refused.
    config.update("ai.planning.sampling_rate", json!(0.5)).unwrap();
    config.update("ai.planning.sampling_rate", json!(5)).unwrap_err();
    assert_eq!(unread(&all[0]), [("ai.planning.sampling_rate", json!(0.5), 3)]);
    assert_eq!(all[2].prefix(), "ai.planning");
    assert_eq!(config.stats().subscribers_count, 6);
    drop(all);
    assert_eq!(config.stats().subscribers_count, 0);
}

#[test]
fn a_change_says_what_when_and_from_what() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    let subscription = config.subscribe("", 8).unwrap();
    world.clock.advance(500);
    config.update("interface.max_results", json!(5)).unwrap();
    let change = subscription.try_next().unwrap();
    assert_eq!((change.old, change.new), (json!(1000), json!(5)));
    assert_eq!((change.version, change.timestamp_ns, change.kind), (2, 1_500, ChangeKind::Updated));
}

#[test]
fn unread_changes_of_a_path_become_one_and_are_counted() {
    let config = defaults();
    let subscription = config.subscribe("", 8).unwrap();
    for n in 1..=5 {
        config.update("interface.max_results", json!(n)).unwrap();
    }
    config.update("dev.debug_mode", json!(true)).unwrap();
    let expected = [("interface.max_results", json!(5), 6), ("dev.debug_mode", json!(true), 7)];
    assert_eq!(unread(&subscription), expected);
    let stats = subscription.stats();
    assert_eq!((stats.pushed, stats.popped, stats.coalesced, stats.dropped), (6, 2, 4, 0));
    assert_eq!((config.stats().coalesced, config.stats().dropped), (4, 0));
    drop(subscription);
    assert_eq!(config.stats().coalesced, 4, "the count outlives the subscription");
}

#[test]
fn a_full_queue_loses_the_oldest_and_counts_it() {
    let config = defaults();
    let subscription = config.subscribe("", 2).unwrap();
    for path in ["interface.max_results", "interface.query_timeout", "capture.processing.batch_size"] {
        config.update(path, json!(7)).unwrap();
    }
    let paths: Vec<_> = unread(&subscription).into_iter().map(|change| change.0).collect();
    assert_eq!(paths, ["interface.query_timeout", "capture.processing.batch_size"]);
    assert_eq!(config.stats().dropped, 1);
}

#[test]
fn changes_on_two_sides_of_a_reset_stay_apart() {
    let config = defaults();
    let (all, ai) = (config.subscribe("", 8).unwrap(), config.subscribe("ai.planning", 8).unwrap());
    config.update("interface.max_results", json!(1)).unwrap();
    config.reset().unwrap();
    config.update("interface.max_results", json!(2)).unwrap();
    config.update("interface.max_results", json!(3)).unwrap();
    let told = unread(&all);
    let versions: Vec<_> = told.iter().map(|change| (change.0, change.2)).collect();
    assert_eq!(versions, [("interface.max_results", 2), ("", 3), ("interface.max_results", 5)]);
    assert_eq!(told[1].1, defaults().get("").unwrap());
    let reset = ai.try_next().unwrap();
    assert_eq!((reset.path, reset.kind), ("ai.planning", ChangeKind::Reset));
    assert_eq!(reset.new, defaults().get("ai.planning").unwrap());
    assert!(ai.try_next().is_none());
}

#[test]
fn subscriptions_are_bounded() {
    let config = defaults();
    for capacity in [0, 65_537, usize::MAX] {
        let error = config.subscribe("", capacity).unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput);
    }
    let all: Vec<_> = (0..1024).map(|_| config.subscribe("", 1).unwrap()).collect();
    let error = config.subscribe("", 1).unwrap_err();
    assert_eq!((error.code(), &error.context()["limit"]), (Code::ResourceExhausted, &json!(1024)));
    all[0].cancel();
    config.subscribe("", 1).unwrap();
}

#[test]
fn the_end_wakes_who_waits() {
    let config = defaults();
    let (first, second) = (config.subscribe("", 1).unwrap(), config.subscribe("", 1).unwrap());
    std::thread::scope(|scope| {
        let waiters = [&first, &second].map(|subscription| scope.spawn(|| subscription.next_timeout(LONG)));
        first.cancel();
        drop(config);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Pop::Closed);
        }
    });
}

#[test]
fn callbacks_run_on_the_one_worker_in_order() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    let _queue = config.subscribe("", 1).unwrap();
    assert!(world.supervisor.status().is_empty(), "no thread before one is needed");
    let (_first, all) = forward(&config, "");
    let (_second, dev) = forward(&config, "dev");
    let (named, name) = channel();
    let callback = move |_: &Change| named.send(std::thread::current().name().map(str::to_owned)).unwrap();
    let _third = config.subscribe_callback("", 4, Box::new(callback)).unwrap();
    config.update("interface.max_results", json!(5)).unwrap();
    assert_eq!(brief(&all.recv_timeout(LONG).unwrap()), ("interface.max_results", json!(5), 2));
    config.update("dev.debug_mode", json!(true)).unwrap();
    assert_eq!(brief(&all.recv_timeout(LONG).unwrap()), ("dev.debug_mode", json!(true), 3));
    assert_eq!(brief(&dev.recv_timeout(LONG).unwrap()), ("dev.debug_mode", json!(true), 3));
    assert!(name.recv_timeout(LONG).unwrap().unwrap().starts_with("esf-config"));
    assert_eq!(world.supervisor.status().len(), 1);
    drop(config);
    assert!(world.supervisor.wait_state("config-notify", WorkerState::Stopped, LONG));
}

#[test]
fn a_callback_may_call_back() {
    let config = Arc::new(defaults());
    let (sender, receiver) = channel();
    let weak = Arc::downgrade(&config);
    let callback = move |change: &Change| {
        let config = weak.upgrade().unwrap();
        if change.path == "interface.max_results" {
            config.update("dev.debug_mode", json!(true)).unwrap();
            drop(config.subscribe("", 1).unwrap());
            config.stats();
        }
        drop(config);
        sender.send(change.path).unwrap();
    };
    let _subscription = config.subscribe_callback("", 4, Box::new(callback)).unwrap();
    config.update("interface.max_results", json!(5)).unwrap();
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), "interface.max_results");
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), "dev.debug_mode");
}

/// A callback that says when it has begun and waits to be let go.
fn gated(
    config: &Config,
    log: &Arc<AtomicU64>,
    dropped: &Arc<AtomicBool>,
) -> (Subscription, Receiver<()>, Sender<()>) {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ((announce, begun), (go, gate)) = (channel(), channel::<()>());
    let (log, owned) = (log.clone(), OnDrop(dropped.clone()));
    let callback = move |_: &Change| {
        let _owned = &owned;
        announce.send(()).unwrap();
        gate.recv_timeout(LONG).unwrap();
        log.fetch_add(1, Ordering::SeqCst);
    };
    (config.subscribe_callback("", 4, Box::new(callback)).unwrap(), begun, go)
}

#[test]
fn after_cancel_returned_no_callback_runs() {
    let config = defaults();
    let (finished, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (subscription, begun, go) = gated(&config, &finished, &dropped);
    let (_other, others) = forward(&config, "");
    config.update("interface.max_results", json!(5)).unwrap();
    begun.recv_timeout(LONG).unwrap();
    // One is running, another waits in the queue: cancelling waits for the one and forbids the other.
    config.update("interface.query_timeout", json!(5)).unwrap();
    std::thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            subscription.cancel();
            (finished.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst))
        });
        // From here on the second change finds its subscription gone, whatever the cancelling thread does.
        while config.stats().subscribers_count > 1 {
            std::thread::yield_now();
        }
        assert!(!cancelled.is_finished());
        go.send(()).unwrap();
        assert_eq!(cancelled.join().unwrap(), (1, true), "it ran to its end, and what it owned is dropped");
    });
    config.update("dev.debug_mode", json!(true)).unwrap();
    for _ in 0..3 {
        others.recv_timeout(LONG).unwrap();
    }
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    subscription.cancel();
}

#[test]
fn a_callback_may_cancel_itself() {
    let config = defaults();
    let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
    let (slot, (sender, receiver)) = (own.clone(), channel());
    let callback = move |_: &Change| {
        let subscription = slot.lock().unwrap().take().unwrap();
        subscription.cancel();
        drop(subscription);
        sender.send(()).unwrap();
    };
    {
        let mut place = own.lock().unwrap();
        *place = Some(config.subscribe_callback("", 4, Box::new(callback)).unwrap());
    }
    config.update("dev.debug_mode", json!(true)).unwrap();
    receiver.recv_timeout(LONG).unwrap();
    config.update("dev.debug_mode", json!(false)).unwrap();
    // The sender is dropped with the callback, and nothing more was sent.
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    assert_eq!(config.stats().subscribers_count, 0);
}

#[test]
fn a_panicking_callback_is_counted_and_harms_nobody() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    let (sender, receiver) = channel();
    let callback = move |change: &Change| {
        sender.send(change.version).unwrap();
        panic!("a callback's own fault");
    };
    let _bad = config.subscribe_callback("", 4, Box::new(callback)).unwrap();
    let (_good, good) = forward(&config, "");
    for version in 2..=8 {
        config.update("interface.max_results", json!(version)).unwrap();
        assert_eq!(receiver.recv_timeout(LONG).unwrap(), version);
        assert_eq!(good.recv_timeout(LONG).unwrap().version, version);
    }
    assert!(config.stats().callback_panics >= 6);
    assert_eq!(world.supervisor.status()[0].restarts, 0);
}

#[test]
fn a_worker_that_was_paused_delivers_what_it_missed() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    let (_subscription, receiver) = forward(&config, "");
    assert!(world.supervisor.quiesce(LONG).is_empty());
    config.update("interface.max_results", json!(5)).unwrap();
    config.update("interface.max_results", json!(6)).unwrap();
    world.supervisor.resume();
    assert_eq!(brief(&receiver.recv_timeout(LONG).unwrap()), ("interface.max_results", json!(6), 3));
}

#[test]
fn without_a_worker_reads_and_updates_go_on() {
    let world = World::new();
    let config = world.open(&Map::new()).unwrap();
    world.supervisor.shutdown(LONG);
    assert!(config.subscribe_callback("", 4, Box::new(|_| ())).is_err());
    assert_eq!(config.stats().subscribers_count, 0);
    config.update("interface.max_results", json!(5)).unwrap();
    assert_eq!(config.get_i64("interface.max_results").unwrap(), 5);
}
