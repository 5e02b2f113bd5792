//! Tails: what hearing of events costs those who store them, and how fast they are told.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use elixirscope_foundation::events::{EventStore, Order, Query, Tail, TailItem, TailOptions};
use elixirscope_foundation::runtime::clock::SystemClock;
use elixirscope_foundation::runtime::queue::Pop;
use elixirscope_foundation::runtime::supervisor::Supervisor;

use crate::harness::{Effort, Measured, Role, Target, Work};
use crate::steady::{KEPT, full_store};
use crate::workload::{Made, Workload};

/// The least events that are stored in one go.
const RUN: u64 = 100_000;

/// Measures them.
pub fn run(effort: &Effort) -> Vec<Measured> {
    let made = Workload::of(KEPT).events();
    let mut rows = appends(&made, effort);
    rows.extend(telling(&made, effort));
    rows
}

fn appends(made: &[Made], effort: &Effort) -> Vec<Measured> {
    let supervisor = Supervisor::new(Arc::new(SystemClock));
    let [alone, taken, called] = [(); 3].map(|()| Arc::new(full_store(made)));
    let next = AtomicUsize::new(0);
    // In runs, so that the one ring at a run's begin, after which the tail looks by itself, is not all there is.
    let append = |store: &EventStore, n: u64| {
        let run = n.max(RUN);
        let start = Instant::now();
        for _ in 0..run {
            let one = &made[next.fetch_add(1, Ordering::Relaxed) % made.len()];
            black_box(store.append(&one.event()).expect("an append"));
        }
        start.elapsed().mul_f64(n as f64 / run as f64)
    };
    let tail = taken.tail(TailOptions::default()).expect("a tail");
    let look = Box::new(|item: &TailItem| {
        black_box(item);
    });
    let callback = called.tail_callback(&supervisor, TailOptions::default(), look).expect("a tail");
    let rows = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !matches!(tail.next_timeout(Duration::from_mins(1)).expect("no file is read"), Pop::Closed)
            {
            }
        });
        let rows = Work::new("full store: append one, and who hears of it", Target::default())
            .timed(Role::Floor, "EventStore::append without a tail", |n| append(&alone, n))
            .timed(Role::Ours, "with a tail that a thread takes from", |n| append(&taken, n))
            .timed(Role::Ours, "with a tail with a callback", |n| append(&called, n))
            .measure(effort);
        tail.end();
        rows
    });
    callback.cancel();
    supervisor.shutdown(Duration::from_secs(5));
    rows
}

fn telling(made: &[Made], effort: &Effort) -> Vec<Measured> {
    let supervisor = Supervisor::new(Arc::new(SystemClock));
    let store = Arc::new(full_store(made));
    let from_oldest = || TailOptions { from_seq: Some(store.stats().oldest_seq), ..TailOptions::default() };
    let of_nothing = || {
        let filter = Query { correlation_id: Some(b"none".to_vec()), ..Query::default() };
        TailOptions { filter, ..from_oldest() }
    };
    let mut tail: Option<Tail> = None;
    Work::new("an event of a full store, told in order", Target::default())
        .of(Role::Floor, "EventStore::query by seq, Cursor::next", |n| {
            let mut left = n;
            while left > 0 {
                let all = Query { order: Order::Seq, limit: Some(left), ..Query::default() };
                let mut cursor = store.query(&all).expect("a query");
                while let Some(event) = cursor.next() {
                    black_box(event.data());
                    left -= 1;
                }
            }
        })
        .of(Role::Ours, "Tail::try_next", |n| {
            for _ in 0..n {
                let mut item = tail.as_ref().and_then(|tail| tail.try_next().expect("no file is read"));
                if item.is_none() {
                    item = tail
                        .insert(store.tail(from_oldest()).expect("a tail"))
                        .try_next()
                        .expect("no file is read");
                }
                black_box(item.expect("a full store has events"));
            }
        })
        .timed(Role::Ours, "a callback on esf-events-tail", |n| {
            let (told, all_told) = sync_channel(1);
            // All that there are: one alone is the time that it takes to start.
            let wanted = KEPT as usize;
            let seen = AtomicUsize::new(0);
            let count = Box::new(move |item: &TailItem| {
                black_box(item);
                if seen.fetch_add(1, Ordering::Relaxed) + 1 == wanted {
                    let _ = told.send(());
                }
            });
            let start = Instant::now();
            let tail = store.tail_callback(&supervisor, from_oldest(), count).expect("a tail");
            all_told.recv().expect("all are told");
            let took = start.elapsed();
            tail.cancel();
            // As if all `n` had been told.
            took.mul_f64(n as f64 / wanted as f64)
        })
        .timed(Role::Ours, "looked at by a filter that accepts none", |n| {
            let start = Instant::now();
            let tail = store.tail(of_nothing()).expect("a tail");
            assert!(tail.try_next().expect("no file is read").is_none());
            start.elapsed().mul_f64(n as f64 / KEPT as f64)
        })
        .measure(effort)
}
