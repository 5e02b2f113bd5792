//! Tails with a callback: order, turns, acknowledgements, and how they end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    EventStore, NewEvent, Query, Tail, TailCallback, TailItem, TailOptions,
};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;

use crate::tails::{LONG, check};

fn instance() -> Foundation {
    Foundation::open(&Options::default()).unwrap()
}

fn append(store: &EventStore, event_type: &str) -> u64 {
    store.append(&NewEvent { event_type: event_type.into(), ..NewEvent::default() }).unwrap().seq
}

fn of_type(event_type: &str) -> TailOptions {
    let filter = Query { types: vec![event_type.into()], ..Query::default() };
    TailOptions { filter, ..TailOptions::default() }
}

/// A callback that sends on what it is told.
fn forward(app: &Foundation, options: TailOptions) -> (Tail, Receiver<TailItem>) {
    let (sender, receiver): (Sender<TailItem>, _) = channel();
    let callback = Box::new(move |item: &TailItem| sender.send(item.clone()).unwrap());
    (app.tail_callback(options, callback).unwrap(), receiver)
}

fn next_seq(receiver: &Receiver<TailItem>) -> u64 {
    match receiver.recv_timeout(LONG).unwrap() {
        TailItem::Event(event) => event.view().seq(),
        gap @ TailItem::Gap(_) => panic!("{gap:?}"),
    }
}

#[test]
fn callbacks_run_on_the_one_worker_in_order() {
    let app = instance();
    let _to_take = app.events().tail(TailOptions::default()).unwrap();
    assert!(app.supervisor().status().is_empty(), "no thread before one is needed");
    let before = append(app.events(), "a");
    let (_all, all) = forward(&app, TailOptions { from_seq: Some(before), ..TailOptions::default() });
    let (_some, some) = forward(&app, of_type("b"));
    let (named, name) = channel();
    let callback = move |_: &TailItem| {
        let _ = named.send(std::thread::current().name().map(str::to_owned));
    };
    let _named = app.tail_callback(TailOptions::default(), Box::new(callback)).unwrap();
    for _ in 0..500 {
        append(app.events(), "a");
        append(app.events(), "b");
    }
    assert_eq!(
        (0..1_001).map(|_| next_seq(&all)).collect::<Vec<_>>(),
        (before..before + 1_001).collect::<Vec<_>>()
    );
    assert_eq!(
        (0..500).map(|_| next_seq(&some)).collect::<Vec<_>>(),
        (before + 2..before + 1_002).step_by(2).collect::<Vec<_>>()
    );
    assert_eq!(name.recv_timeout(LONG).unwrap().unwrap(), "esf-events-tail");
    assert_eq!(app.supervisor().status().len(), 1);
    assert!(app.close(LONG).unfinished.is_empty());
}

#[test]
fn a_callback_may_call_back() {
    let app = Arc::new(instance());
    let (sender, receiver) = channel();
    let weak = Arc::downgrade(&app);
    let callback = move |item: &TailItem| {
        let TailItem::Event(event) = item else { return };
        if event.view().event_type() == "cause" {
            let app = weak.upgrade().unwrap();
            append(app.events(), "effect");
            drop(app.events().tail(TailOptions::default()).unwrap());
            app.status();
        }
        sender.send(event.view().event_type().to_owned()).unwrap();
    };
    let _tail = app.tail_callback(TailOptions::default(), Box::new(callback)).unwrap();
    append(app.events(), "cause");
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), "cause");
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), "effect");
}

/// A callback that says when it has begun and waits to be let go; what it owns says when it is dropped.
fn gated(log: &Arc<AtomicU64>, dropped: &Arc<AtomicBool>) -> (TailCallback, Receiver<()>, Sender<()>) {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ((announce, begun), (go, gate)) = (channel(), channel::<()>());
    let (log, owned) = (log.clone(), OnDrop(dropped.clone()));
    let callback = move |_: &TailItem| {
        let _owned = &owned;
        announce.send(()).unwrap();
        gate.recv_timeout(LONG).unwrap();
        log.fetch_add(1, Ordering::SeqCst);
    };
    (Box::new(callback), begun, go)
}

#[test]
fn after_cancel_returned_no_callback_runs() {
    let app = instance();
    let (finished, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (callback, begun, go) = gated(&finished, &dropped);
    let tail = app.tail_callback(TailOptions::default(), callback).unwrap();
    append(app.events(), "a");
    begun.recv_timeout(LONG).unwrap();
    append(app.events(), "a");
    std::thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            tail.cancel();
            (finished.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst))
        });
        while app.events().stats().tails.tails > 0 {
            std::thread::yield_now();
        }
        assert!(!cancelled.is_finished());
        go.send(()).unwrap();
        assert_eq!(cancelled.join().unwrap(), (1, true), "it ran to its end, and what it owned is dropped");
    });
    let (_other, others) = forward(&app, TailOptions { from_seq: Some(1), ..TailOptions::default() });
    assert_eq!((next_seq(&others), next_seq(&others)), (1, 2));
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    tail.cancel();
}

#[test]
fn a_callback_may_cancel_itself() {
    let app = instance();
    let own: Arc<Mutex<Option<Tail>>> = Arc::default();
    let (slot, (sender, receiver)) = (own.clone(), channel());
    let callback = move |_: &TailItem| {
        let tail = slot.lock().unwrap().take().unwrap();
        tail.cancel();
        drop(tail);
        sender.send(()).unwrap();
    };
    {
        let mut place = own.lock().unwrap();
        *place = Some(app.tail_callback(TailOptions::default(), Box::new(callback)).unwrap());
    }
    append(app.events(), "a");
    receiver.recv_timeout(LONG).unwrap();
    append(app.events(), "a");
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    assert_eq!(app.events().stats().tails.tails, 0);
}

#[test]
fn a_panicking_callback_is_counted_and_harms_nobody() {
    let app = instance();
    let (sender, receiver) = channel();
    let callback = move |_: &TailItem| {
        sender.send(()).unwrap();
        panic!("a callback's own fault");
    };
    let bad = app.tail_callback(TailOptions::default(), Box::new(callback)).unwrap();
    let (_good, good) = forward(&app, TailOptions::default());
    for seq in 1..=8 {
        append(app.events(), "a");
        assert_eq!(next_seq(&good), seq);
        receiver.recv_timeout(LONG).unwrap();
    }
    bad.cancel();
    assert!(app.events().stats().tails.callback_panics >= 7);
    assert_eq!(app.supervisor().status()[0].restarts, 0);
}

#[test]
fn a_window_bounds_what_is_not_acknowledged() {
    let app = instance();
    let (tail, items) = forward(&app, TailOptions { window: Some(3), ..TailOptions::default() });
    let (_other, others) = forward(&app, TailOptions::default());
    for _ in 0..10 {
        append(app.events(), "a");
    }
    // When the other has heard all, the worker has been round.
    (0..10).for_each(|_| drop(others.recv_timeout(LONG).unwrap()));
    append(app.events(), "a");
    others.recv_timeout(LONG).unwrap();
    assert_eq!((0..3).map(|_| next_seq(&items)).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(items.try_recv().is_err());
    assert_eq!(tail.stats().unacknowledged, 3);
    tail.acknowledge(2);
    assert_eq!((next_seq(&items), next_seq(&items)), (4, 5));
    tail.acknowledge(100);
    assert_eq!((0..3).map(|_| next_seq(&items)).collect::<Vec<_>>(), [6, 7, 8]);
    tail.acknowledge(1);
    assert_eq!(next_seq(&items), 9);
    assert_eq!(tail.stats().unacknowledged, 3);
}

#[test]
fn a_tail_that_waits_for_acknowledgements_costs_no_memory_and_misses_nothing_in_silence() {
    let app =
        Foundation::open(&Options::from_json(r#"{"event_store": {"max_events": 1000}}"#).unwrap()).unwrap();
    let (tail, items) = forward(&app, TailOptions { window: Some(1), ..TailOptions::default() });
    let events = vec![NewEvent { event_type: "a".into(), ..NewEvent::default() }; 500];
    for _ in 0..40 {
        app.events().append_batch(&events).unwrap();
    }
    let end = app.events().stats().next_seq;
    let mut told = Vec::new();
    while tail.stats().position < end || tail.stats().unread > 0 {
        told.push(items.recv_timeout(LONG).unwrap());
        tail.acknowledge(1);
    }
    told.extend(std::iter::from_fn(|| items.recv_timeout(Duration::from_millis(50)).ok()));
    let (heard, missed) = check(&told, 1, end, |_| true);
    assert_eq!(heard + missed, 20_000);
    assert!(missed >= 18_000, "{missed}");
}

#[test]
fn a_worker_that_was_paused_tells_what_it_missed() {
    let app = instance();
    let (_tail, items) = forward(&app, TailOptions::default());
    assert!(app.supervisor().quiesce(LONG).is_empty());
    append(app.events(), "a");
    append(app.events(), "a");
    app.supervisor().resume();
    assert_eq!((next_seq(&items), next_seq(&items)), (1, 2));
}

#[test]
fn the_end_of_the_instance_ends_its_tails() {
    let app = instance();
    let (finished, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (callback, begun, go) = gated(&finished, &dropped);
    let tail = app.tail_callback(TailOptions::default(), callback).unwrap();
    let taken = app.events().tail(TailOptions::default()).unwrap();
    append(app.events(), "a");
    begun.recv_timeout(LONG).unwrap();
    // The callback holds the worker: its end is not waited for longer than the deadline says.
    assert_eq!(app.close(Duration::ZERO).unfinished, ["events-tail"]);
    assert!(taken.try_next().unwrap().is_none());
    go.send(()).unwrap();
    tail.cancel();
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}

#[test]
fn without_a_worker_the_store_goes_on() {
    let app = instance();
    app.supervisor().shutdown(LONG);
    let refused = app.tail_callback(TailOptions::default(), Box::new(|_| ()));
    assert_eq!(refused.unwrap_err().code(), Code::Closing);
    assert_eq!(app.events().stats().tails.tails, 0);
    append(app.events(), "a");
    assert!(app.supervisor().status().is_empty());
}
