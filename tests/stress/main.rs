//! Everything at once: threads that append in every way, read in every way, seal, prune and tail, on stores so small
//! that segments fill, are sealed and recycled all the time.
//!
//! Nothing here waits by sleeping, and everything ends by itself: writers have so many events to store, all others go
//! on until the last writer is done. `ESF_STRESS` multiplies what writers do; `make test-tsan` runs this under
//! ThreadSanitizer.

mod files;
mod instance;
mod memory;
mod numbered;
mod tails;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use elixirscope_foundation::error::{Code, Result};
use elixirscope_foundation::events::{EventStore, Query};

use numbered::{Numbered, lane, step_of};

/// Longer than anything takes that does not hang.
const LONG: Duration = Duration::from_mins(5);

/// How many times as much as usual is done.
fn effort() -> u64 {
    std::env::var("ESF_STRESS").map_or(1, |times| times.parse().expect("ESF_STRESS is a number"))
}

/// What a writer was told: the `seq` and the number of each of its events.
type Told = Vec<(u64, u64)>;

/// What the threads of one test share.
#[derive(Default)]
struct World {
    /// The writers have ended.
    done: AtomicBool,
    /// The largest step that a writer has come to.
    progress: AtomicU64,
    /// Events with timestamps below it may have been pruned.
    pruned_before: AtomicI64,
}

impl World {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// A writer is about to store this event.
    fn note(&self, event: &Numbered) {
        self.progress.fetch_max(step_of(event.number), Ordering::SeqCst);
    }

    /// Does something again and again until the writers are done, and once more after that. How often.
    fn repeat(&self, mut work: impl FnMut(u64)) -> u64 {
        let mut rounds = 0;
        loop {
            let last = self.is_done();
            work(rounds);
            rounds += 1;
            if last {
                return rounds;
            }
            std::thread::yield_now();
        }
    }

    /// Joins the writers, whatever became of them, and only then lets the others end.
    fn finish(&self, writers: Vec<ScopedJoinHandle<'_, Told>>) -> Told {
        let ends: Vec<_> = writers.into_iter().map(ScopedJoinHandle::join).collect();
        self.done.store(true, Ordering::SeqCst);
        ends.into_iter().flat_map(|told| told.expect("a writer failed")).collect()
    }

    /// Prunes all but the newest steps.
    fn prune(&self, store: &EventStore, steps: u64) {
        let to = self.progress.load(Ordering::SeqCst).saturating_sub(steps);
        let time = numbered::time_of(to);
        self.pruned_before.fetch_max(time, Ordering::SeqCst);
        store.prune_before(time).unwrap();
    }

    /// An event that was stored is found, or it has been dropped since.
    fn assert_found(&self, store: &EventStore, seq: u64, number: u64) {
        let query = Query { seq_range: Some((seq, seq)), ..Query::default() };
        // There may be no memory just now for the segment of a file that it is in.
        let found = until_there_is_room(|| store.query(&query).unwrap().try_next_ref());
        if let Some(event) = found {
            assert_eq!((event.view().seq(), numbered::check(&event.view())), (seq, number));
        } else {
            self.assert_gone(store, seq, number);
        }
    }

    /// An event that is not found was pruned or dropped.
    fn assert_gone(&self, store: &EventStore, seq: u64, number: u64) {
        let pruned = numbered::time_of(number) < self.pruned_before.load(Ordering::SeqCst);
        assert!(
            pruned || store.stats().oldest_seq > seq,
            "event {number:#x} of seq {seq} was stored and is not there"
        );
    }
}

/// Memory that is full of what readers hold is free again when they let go, and what a disk has not taken yet when it
/// has.
fn until_there_is_room<T>(append: impl Fn() -> Result<T>) -> T {
    loop {
        match append() {
            Ok(stored) => return stored,
            Err(error) => {
                let full =
                    matches!(error.code(), Code::StoreFull | Code::ServiceUnavailable | Code::NoMemory);
                assert!(full, "{error}");
            }
        }
        std::thread::yield_now();
    }
}

/// Nobody is told where an event that is stored later comes to stand.
fn append_later(world: &World, store: &EventStore, events: u64) -> Told {
    for number in lane(2, events) {
        let event = Numbered::new(number);
        world.note(&event);
        while let Err(error) = store.append_async(&event.event()) {
            assert_eq!(error.code(), Code::StoreFull);
            store.flush_async(LONG).unwrap();
        }
    }
    store.flush_async(LONG).unwrap();
    Vec::new()
}

/// Starts a thread of a scope with a name, which reports tell.
#[allow(clippy::disallowed_methods, reason = "threads of the test, not of the library")]
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, body).unwrap()
}
