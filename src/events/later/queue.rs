//! The bounded queue between callers who prefer not to wait and whoever stores for them.
//!
//! Callers copy events to the end of one piece of memory; whoever stores takes that piece as a whole, leaving an empty
//! one, and goes through it. So a caller holds the lock for a copy, and nothing is allocated once the two pieces have
//! grown to what the host needs.
//!
//! # Invariants
//! - `held` is what was accepted and is not finished, in either piece. Only callers add to it, under `arriving`'s lock
//!   and never beyond the limits; whoever stores takes off, event by event.
//! - Events are finished in the order in which they were accepted: `storing`'s lock is held by one who stores, who
//!   takes the next piece only when the last is done. So event `n` is finished when `finished >= n`.
//! - An event leaves its piece before it is stored, so that one whose storing panics is not tried again; it is counted
//!   as failed then.
//! - The books balance at rest: `offered = held + stored + refused + failed + dropped`.

use std::time::Duration;

use super::super::model::NewEvent;
use super::super::store::Now;
use super::piece::{Piece, Queued};
use super::stats::{AsyncStats, Books, Failure, Outcome, Refused};
use crate::error::{Code, Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::sync::{
    AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, lock, try_lock, wait_timeout,
};

/// Events that are finished between two looks at who waits for that.
const CHUNK: u64 = 64;

/// How long who waits for the end of a storing waits before looking whether anybody stores.
const LOOK: Duration = Duration::from_millis(10);

/// How long whoever has nothing to store sleeps at most before it looks around.
const LONG: Duration = Duration::from_hours(1);

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// How far a queue is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is left.
    Empty,
    /// Something is left.
    More,
    /// Somebody else stores.
    Taken,
}

pub(crate) struct Queue {
    limits: Limits,
    arriving: Mutex<Arriving>,
    /// Told when whoever stores is to wake up.
    arrived: Condvar,
    storing: Mutex<Piece>,
    held_events: AtomicU64,
    held_bytes: AtomicU64,
    finished: AtomicU64,
    gate: Mutex<()>,
    /// Told when events are finished.
    done: Condvar,
    /// Nothing more is stored: the rest is dropped.
    abandoned: AtomicBool,
    books: Books,
}

struct Arriving {
    piece: Piece,
    /// Events that came in.
    accepted: u64,
    sleeper: Sleeper,
    /// Whoever stores is to come, whatever there is.
    woken: bool,
    closed: bool,
}

/// What whoever stores is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeper {
    /// It will look before it sleeps.
    Awake,
    /// It waits a moment for more, so that a steady flow of events wakes nobody.
    Lingers,
    /// It sleeps until something comes.
    Sleeps,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            arriving: Mutex::new(Arriving {
                piece: Piece::default(),
                accepted: 0,
                sleeper: Sleeper::Awake,
                woken: false,
                closed: false,
            }),
            arrived: Condvar::new(),
            storing: Mutex::new(Piece::default()),
            held_events: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            gate: Mutex::new(()),
            done: Condvar::new(),
            abandoned: AtomicBool::new(false),
            books: Books::new(),
        }
    }

    /// Copies an event that was found to be right to the end; never waits for room. Refusals are counted.
    pub(crate) fn push(&self, event: &Queued<'_>) -> Result<()> {
        let bytes = event.size() as u64;
        let mut arriving = lock(&self.arriving);
        let events = self.held_events.load(Ordering::Acquire);
        let held = self.held_bytes.load(Ordering::Acquire);
        if arriving.closed {
            return Err(
                self.refuse(Refused::Closed, Error::new(Code::Closing, "the event store is being closed"))
            );
        }
        if events >= self.limits.events || held + bytes > self.limits.bytes {
            // Whoever lingers has enough to do.
            self.wake_if(&mut arriving, |sleeper| sleeper != Sleeper::Awake);
            drop(arriving);
            return Err(self.refuse(Refused::Full, self.full()));
        }
        if let Err(error) = arriving.piece.push(event) {
            drop(arriving);
            return Err(self.refuse(Refused::Invalid, error));
        }
        arriving.accepted += 1;
        self.books.offered(1);
        self.held_events.fetch_add(1, Ordering::AcqRel);
        self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        let half = (events + 1) * 2 >= self.limits.events || (held + bytes) * 2 >= self.limits.bytes;
        self.wake_if(&mut arriving, |sleeper| match sleeper {
            Sleeper::Sleeps => true,
            Sleeper::Lingers => half,
            Sleeper::Awake => false,
        });
        Ok(())
    }

    fn wake_if(&self, arriving: &mut MutexGuard<'_, Arriving>, wanted: impl FnOnce(Sleeper) -> bool) {
        if wanted(arriving.sleeper) {
            arriving.sleeper = Sleeper::Awake;
            self.arrived.notify_all();
        }
    }

    /// Counts an event that is not taken.
    pub(crate) fn refuse(&self, reason: Refused, error: Error) -> Error {
        self.books.refused(reason);
        error
    }

    fn full(&self) -> Error {
        let Limits { events, bytes } = self.limits;
        let message = format!(
            "{} events of {} bytes wait to be stored; the queue of asynchronous appends holds {events} events and {bytes} \
             bytes at most",
            self.held_events.load(Ordering::Relaxed),
            self.held_bytes.load(Ordering::Relaxed),
        );
        Error::new(Code::StoreFull, message).with("limit", events).with("limit_bytes", bytes)
    }

    /// How many events were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        lock(&self.arriving).accepted
    }

    /// How many of the accepted events are finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Stores what is there, oldest first, until that is all, `most` events are done or `stop` says so. Who leaves
    /// something has a worker that may have found nothing meanwhile look again.
    pub(crate) fn drain(
        &self,
        most: u64,
        stop: impl Fn() -> bool,
        store: impl FnMut(&NewEvent<'_>, Now) -> Outcome,
    ) -> Progress {
        let progress = self.store_some(most, stop, store);
        if progress != Progress::More {
            return progress;
        }
        // Who abandons the queue sets this before it looks whether somebody stores, and leaves the rest to them: one
        // of the two read-modify-writes is the first, so that either we see it here or they find nobody.
        if self.abandoned.fetch_or(false, Ordering::AcqRel) {
            return self.store_some(0, || true, |_, _| Outcome::Dropped);
        }
        self.wake();
        progress
    }

    /// Stores at most so many for want of a worker. Whoever finds somebody storing leaves them what it handed in, so
    /// who has stored everything looks once more when it is about to be found no more.
    pub(crate) fn help(&self, most: u64, mut store: impl FnMut(&NewEvent<'_>, Now) -> Outcome) {
        let mut done = 0;
        loop {
            let progress = self.drain(
                most - done,
                || false,
                |event, now| {
                    done += 1;
                    store(event, now)
                },
            );
            if progress != Progress::Empty || lock(&self.arriving).piece.is_done() {
                return;
            }
        }
    }

    fn store_some(
        &self,
        mut most: u64,
        stop: impl Fn() -> bool,
        mut store: impl FnMut(&NewEvent<'_>, Now) -> Outcome,
    ) -> Progress {
        let Some(mut storing) = try_lock(&self.storing) else { return Progress::Taken };
        let mut told = Told { queue: self, events: 0 };
        loop {
            if storing.is_done() {
                storing.clear();
                std::mem::swap(&mut *storing, &mut lock(&self.arriving).piece);
                if storing.is_done() {
                    return Progress::Empty;
                }
            }
            if self.abandoned.load(Ordering::Acquire) {
                while let Some((_, _, bytes)) = storing.next() {
                    told.finish(Outcome::Dropped, bytes);
                }
                continue;
            }
            if most == 0 || stop() {
                return Progress::More;
            }
            most -= 1;
            if let Some((event, now, bytes)) = storing.next() {
                let mut outcome =
                    Finishing { told: &mut told, outcome: Outcome::Failed(Failure::Other), bytes };
                outcome.outcome = store(&event, now);
            }
        }
    }

    /// Whoever stores waits here for something to do: for more to come while a moment passes, and if nothing is there
    /// then, for as long as nothing is.
    pub(crate) fn rest(&self, linger: Duration) {
        let mut arriving = lock(&self.arriving);
        let until = Deadline::after(linger);
        arriving.sleeper = Sleeper::Lingers;
        while let Some(left) = until.left().filter(|_| !arriving.woken && arriving.sleeper != Sleeper::Awake)
        {
            arriving = wait_timeout(&self.arrived, arriving, left);
        }
        arriving.sleeper = Sleeper::Sleeps;
        while arriving.piece.is_done() && !arriving.woken {
            arriving = wait_timeout(&self.arrived, arriving, LONG);
        }
        arriving.sleeper = Sleeper::Awake;
        arriving.woken = false;
    }

    /// Ends the rest of whoever stores.
    pub(crate) fn wake(&self) {
        lock(&self.arriving).woken = true;
        self.arrived.notify_all();
    }

    /// Waits until so many of the accepted events are finished; whether they are. `help` is called at intervals, and
    /// stores where nobody else does.
    pub(crate) fn wait_finished(&self, target: u64, until: Deadline, help: impl Fn()) -> bool {
        loop {
            if self.finished() >= target {
                return true;
            }
            help();
            let gate = lock(&self.gate);
            // Whoever stores takes this lock between finishing events and telling of it.
            if self.finished() >= target {
                return true;
            }
            let Some(left) = until.left() else { return false };
            drop(wait_timeout(&self.done, gate, left.min(LOOK)));
        }
    }

    /// Events were finished.
    fn tell(&self) {
        drop(lock(&self.gate));
        self.done.notify_all();
    }

    /// Takes no more events; how many were accepted.
    pub(crate) fn close(&self) -> u64 {
        let mut arriving = lock(&self.arriving);
        arriving.closed = true;
        arriving.accepted
    }

    /// Has what is not stored yet dropped; whether that is done. Where somebody stores just now, it is them who drop
    /// the rest.
    pub(crate) fn abandon(&self) -> bool {
        self.abandoned.swap(true, Ordering::AcqRel);
        self.wake();
        self.drain(0, || true, |_, _| Outcome::Dropped) == Progress::Empty
    }

    pub(crate) fn stats(&self) -> AsyncStats {
        self.books.read(
            self.limits,
            self.held_events.load(Ordering::Acquire),
            self.held_bytes.load(Ordering::Acquire),
        )
    }
}

/// Tells of finished events, some at a time, and of the last when it is dropped.
struct Told<'q> {
    queue: &'q Queue,
    events: u64,
}

impl Told<'_> {
    fn finish(&mut self, outcome: Outcome, bytes: usize) {
        self.queue.books.finished(outcome);
        self.queue.held_events.fetch_sub(1, Ordering::AcqRel);
        self.queue.held_bytes.fetch_sub(bytes as u64, Ordering::AcqRel);
        self.queue.finished.fetch_add(1, Ordering::AcqRel);
        self.events += 1;
        if self.events.is_multiple_of(CHUNK) {
            self.queue.tell();
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if self.events > 0 {
            self.queue.tell();
        }
    }
}

/// An event that is being stored: finished when this is dropped, also by a panic.
struct Finishing<'t, 'q> {
    told: &'t mut Told<'q>,
    outcome: Outcome,
    bytes: usize,
}

impl Drop for Finishing<'_, '_> {
    fn drop(&mut self) {
        self.told.finish(self.outcome, self.bytes);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::super::super::model::TypeId;
    use super::*;

    fn queue(events: u64) -> Queue {
        Queue::new(Limits { events, bytes: 1 << 20 })
    }

    fn push(queue: &Queue, id: u64) -> Result<()> {
        let event = NewEvent { data: b"{}", ..NewEvent::default() };
        let event_type = TypeId::from_raw(1);
        queue.push(&Queued { event_type, event_id: id, timestamp: 0, wall_time: 0, event: &event })
    }

    /// Bytes that one of them takes.
    fn size_of_one() -> u64 {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        queue.stats().waiting_bytes
    }

    fn balance(stats: &AsyncStats) -> u64 {
        stats.waiting
            + stats.stored
            + stats.refused_full
            + stats.refused_invalid
            + stats.refused_closed
            + stats.failed_duplicate
            + stats.failed_full
            + stats.failed_other
            + stats.dropped_newest
            + stats.dropped_at_close
    }

    #[test]
    fn an_event_whose_storing_panics_is_counted_and_not_tried_again() {
        let queue = queue(10);
        for id in 1..=3 {
            push(&queue, id).unwrap();
        }
        let mut seen = vec![];
        let mut store = |event: &NewEvent<'_>, _| {
            seen.push(event.event_id.unwrap());
            assert_ne!(event.event_id, Some(2), "this one panics");
            Outcome::Stored
        };
        let panic = catch_unwind(AssertUnwindSafe(|| queue.drain(u64::MAX, || false, &mut store)));
        assert!(panic.is_err());
        assert_eq!(queue.drain(u64::MAX, || false, &mut store), Progress::Empty);
        assert_eq!(seen, [1, 2, 3]);
        let stats = queue.stats();
        assert_eq!((stats.stored, stats.failed_other, stats.waiting, stats.waiting_bytes), (2, 1, 0, 0));
        assert_eq!((queue.finished(), balance(&stats)), (3, stats.offered));
    }

    #[test]
    fn what_waits_is_bounded_by_events_and_by_bytes_until_it_is_stored() {
        let queue = queue(2);
        push(&queue, 1).unwrap();
        push(&queue, 2).unwrap();
        let error = push(&queue, 3).unwrap_err();
        assert_eq!((error.code(), error.context()["limit"].as_u64()), (Code::StoreFull, Some(2)));
        assert_eq!(queue.drain(1, || false, |_, _| Outcome::Stored), Progress::More);
        push(&queue, 3).unwrap();
        assert!(push(&queue, 4).is_err());
        assert_eq!(queue.drain(9, || true, |_, _| Outcome::Stored), Progress::More, "it is asked to stop");
        assert_eq!(queue.drain(9, || false, |_, _| Outcome::Failed(Failure::Full)), Progress::Empty);
        let stats = queue.stats();
        assert_eq!((stats.offered, stats.refused_full, stats.stored, stats.failed_full), (5, 2, 1, 2));

        let queue = Queue::new(Limits { events: 100, bytes: 2 * size_of_one() });
        assert_eq!((1..10).filter(|id| push(&queue, *id).is_ok()).count(), 2, "bytes are a bound, too");
        assert_eq!(queue.stats().waiting_bytes, 2 * size_of_one());
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_what_is_abandoned_is_counted() {
        let queue = queue(10);
        push(&queue, 1).unwrap();
        push(&queue, 2).unwrap();
        assert_eq!(queue.close(), 2);
        assert_eq!(push(&queue, 3).unwrap_err().code(), Code::Closing);
        queue.drain(
            1,
            || false,
            |_, _| {
                assert!(!queue.abandon(), "who stores drops the rest");
                Outcome::Stored
            },
        );
        let stats = queue.stats();
        assert_eq!((stats.stored, stats.dropped_at_close, stats.refused_closed, stats.waiting), (1, 1, 1, 0));
        assert_eq!(balance(&stats), stats.offered);
    }

    #[test]
    fn what_is_abandoned_while_somebody_is_about_to_leave_it_is_dropped_and_counted() {
        // Told to stop, or done with as many as it was to store, right after it looked whether it is abandoned.
        let queue = queue(10);
        push(&queue, 1).unwrap();
        push(&queue, 2).unwrap();
        queue.close();
        let stop = || {
            assert!(!queue.abandon(), "it is left to who stores");
            true
        };
        queue.drain(9, stop, |_, _| Outcome::Stored);
        let stats = queue.stats();
        assert_eq!((stats.dropped_at_close, stats.waiting, stats.waiting_bytes), (2, 0, 0));
        assert_eq!((queue.finished(), balance(&stats)), (2, stats.offered));
    }

    #[test]
    fn a_worker_hears_of_what_another_took_and_left() {
        let queue = queue(10);
        std::thread::scope(|scope| {
            let (rests, resting) = mpsc::channel();
            let (ends, ended) = mpsc::channel();
            let worker = &queue;
            scope.spawn(move || {
                assert_eq!(worker.drain(9, || false, |_, _| Outcome::Stored), Progress::Empty);
                rests.send(()).unwrap();
                worker.rest(Duration::from_millis(200));
                ends.send(worker.drain(9, || false, |_, _| Outcome::Stored)).unwrap();
            });
            resting.recv().unwrap();
            // Somebody who saw no worker takes what comes, and its time is up.
            push(&queue, 1).unwrap();
            assert_eq!(queue.drain(9, || true, |_, _| Outcome::Stored), Progress::More);
            let heard = ended.recv_timeout(Duration::from_secs(3));
            queue.wake();
            assert_eq!(heard.ok(), Some(Progress::Empty), "it sleeps, with an event to store");
        });
        assert_eq!(queue.stats().stored, 1);
    }
}
