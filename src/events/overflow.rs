//! What an append does that finds the store full.
//!
//! Dropping the oldest event needs nothing here: the mark of `retention` follows the counter of sequence numbers.
//! The other strategies never remove an event, so an append *claims* room before it takes its numbers, and what
//! removes events gives the room back. Nobody waits inside: an append that finds no room comes out of all locks
//! first, and only then its strategy decides.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};
use crate::runtime::deadline::Deadline;
use crate::runtime::sync::{
    AtomicU32, AtomicU64, Condvar, Mutex, Ordering, load_in_order, lock, wait_timeout,
};

/// What an append does that finds the store full. Changes of configuration are stored all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest events make room.
    #[default]
    DropOldest,
    /// The new event, or the whole new batch, is dropped and counted; its receipt says
    /// [`DROPPED`](super::DROPPED).
    DropNewest,
    /// It fails with `store_full`.
    Error,
    /// It waits until there is room, and fails with `store_full` when that takes too long.
    Block,
}

/// How many events beyond `max_events` a store that drops nothing has room for: changes of configuration.
pub(crate) const RESERVED: u64 = 1_024;

/// How often an append that waits for memory looks again.
const MEMORY_LOOK: Duration = Duration::from_millis(10);

/// Tells those who wait that something was freed. A wait is for any news since a moment that was noted before
/// looking, so none is missed.
pub(crate) struct Signal {
    news: AtomicU64,
    waiting: AtomicU32,
    gate: Mutex<()>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self {
            news: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            gate: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// The moment: to be noted before looking whether there is room.
    pub(crate) fn moment(&self) -> u64 {
        self.news.load(Ordering::SeqCst)
    }

    /// Something was freed.
    pub(crate) fn tell(&self) {
        self.news.fetch_add(1, Ordering::SeqCst);
        // One who waits has counted itself in before it looks at the news for the last time.
        if load_in_order(&self.waiting) > 0 {
            let _gate = lock(&self.gate);
            self.changed.notify_all();
        }
    }

    /// Waits for news since that moment; whether there were any before the deadline.
    pub(crate) fn wait(&self, moment: u64, deadline: Deadline) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut gate = lock(&self.gate);
        let news = loop {
            if self.moment() != moment {
                break true;
            }
            let Some(left) = deadline.left() else { break false };
            gate = wait_timeout(&self.changed, gate, left);
        };
        drop(gate);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        news
    }
}

/// The room of a store that drops nothing by itself.
pub(crate) struct Room {
    strategy: Overflow,
    timeout: Duration,
    max_events: u64,
    /// Events that are there or about to be.
    taken: AtomicU64,
    /// Tells of memory.
    freed: Arc<Signal>,
    /// Tells of room. Not of the same news: those who lack memory claim room and give it back with every look, and
    /// would keep each other awake.
    made: Signal,
}

/// Room for events that are about to be stored; given back unless they were.
pub(crate) struct Claim<'a> {
    room: &'a Room,
    events: u64,
}

impl Claim<'_> {
    /// The events are stored: the room is theirs until they are removed.
    pub(crate) fn keep(mut self) {
        self.events = 0;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Whoever looked meanwhile found this room taken.
        self.room.release(self.events);
    }
}

impl Room {
    pub(crate) fn new(
        strategy: Overflow,
        timeout: Duration,
        max_events: Option<u64>,
        freed: Arc<Signal>,
    ) -> Self {
        Self {
            strategy,
            timeout,
            max_events: max_events.unwrap_or(u64::MAX),
            taken: AtomicU64::new(0),
            freed,
            made: Signal::new(),
        }
    }

    pub(crate) fn strategy(&self) -> Overflow {
        self.strategy
    }

    /// Whether room must be claimed: when nothing makes room by itself and there is a bound.
    pub(crate) fn claimed(&self) -> bool {
        self.strategy != Overflow::DropOldest && self.max_events != u64::MAX
    }

    /// How many events the store holds at the very most.
    pub(crate) fn ceiling(&self) -> u64 {
        if self.claimed() { self.max_events.saturating_add(RESERVED) } else { self.max_events }
    }

    /// Room for so many events, if there is any; `reserved` also finds room beyond the bound.
    pub(crate) fn claim(&self, events: u64, reserved: bool) -> Option<Claim<'_>> {
        if !self.claimed() {
            return Some(Claim { room: self, events: 0 });
        }
        if reserved {
            self.taken.fetch_add(events, Ordering::SeqCst);
            return Some(Claim { room: self, events });
        }
        let fits =
            |taken: u64| taken.checked_add(events).filter(|taken| events == 0 || *taken <= self.max_events);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(Claim { room: self, events })
    }

    /// So many events are there already: the store was opened again.
    pub(crate) fn take(&self, events: u64) {
        if self.claimed() {
            self.taken.fetch_add(events, Ordering::SeqCst);
        }
    }

    /// Whether more events are there than the bound allows to those that come without a reservation.
    pub(crate) fn beyond_ceiling(&self) -> bool {
        self.claimed() && self.taken.load(Ordering::SeqCst) > self.ceiling()
    }

    /// So many events were removed, or not stored after all.
    pub(crate) fn release(&self, events: u64) {
        if events > 0 && self.claimed() {
            self.taken.fetch_sub(events, Ordering::SeqCst);
            self.made.tell();
        }
    }

    /// The moment: to be noted before looking whether there is room.
    pub(crate) fn moment(&self) -> u64 {
        self.made.moment()
    }

    /// Waits for room; whether it is worth another look.
    pub(crate) fn wait(&self, moment: u64, until: Deadline, lack: &Refusal) -> bool {
        if matches!(lack, Refusal::OutOfMemory(_)) {
            // An attempt that runs out of memory half-way gives back what it had, which is news of its own making:
            // news is waited for from here on, and not for long, since some may have come before.
            self.freed.wait(self.freed.moment(), until.min(Deadline::after(MEMORY_LOOK)));
            return until.left().is_some();
        }
        self.made.wait(moment, until) && until.left().is_some()
    }

    /// Until when an append that starts now may wait.
    pub(crate) fn patience(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// How long an append may wait.
    pub(crate) fn waits_at_most(&self) -> Duration {
        if self.strategy == Overflow::Block { self.timeout } else { Duration::ZERO }
    }

    /// Whether one event would find room now.
    pub(crate) fn is_there(&self) -> bool {
        !self.claimed() || self.taken.load(Ordering::SeqCst) < self.max_events
    }

    /// Whether room for so many events can never be had.
    pub(crate) fn hopeless(&self, events: u64) -> bool {
        self.claimed() && events > self.max_events
    }

    /// The error of an append that found no room.
    pub(crate) fn full(&self, events: u64) -> Error {
        let max = self.max_events;
        let message = match self.strategy {
            Overflow::Block if !self.hopeless(events) => format!(
                "the event store holds its {max} events, and no room for {events} more was made within {} ms",
                self.timeout.as_millis()
            ),
            _ => format!("the event store holds {max} events at most and has no room for {events} more"),
        };
        Error::new(Code::StoreFull, message).with("limit", max).with("count", events)
    }
}

/// Why an append did not store.
pub(crate) enum Refusal {
    /// There is no room for so many events.
    Full,
    /// There is no memory under the bound; the error says it.
    OutOfMemory(Error),
    /// As before, and there never can be.
    TooLarge(Error),
    /// Something is wrong with it.
    Wrong(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if error.code() != Code::StoreFull {
            return Self::Wrong(error);
        }
        // The pool's words: how much was asked for, and how much there may be.
        let bytes = |name: &str| error.context().get(name).and_then(serde_json::Value::as_u64);
        if bytes("size") > bytes("limit") { Self::TooLarge(error) } else { Self::OutOfMemory(error) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::store;
    use super::super::{EventStoreOptions, NewEvent};
    use super::*;

    fn room(strategy: Overflow) -> Room {
        Room::new(strategy, Duration::from_millis(1), Some(3), Arc::new(Signal::new()))
    }

    #[test]
    fn room_is_claimed_kept_and_given_back() {
        let room = room(Overflow::Error);
        room.claim(2, false).unwrap().keep();
        assert!(room.claim(2, false).is_none());
        drop(room.claim(1, false).unwrap());
        let held = room.claim(1, false).unwrap();
        assert!(room.claim(1, false).is_none());
        assert!(room.claim(0, false).is_some(), "nothing always fits");
        room.claim(5, true).unwrap().keep();
        assert!(room.claim(0, false).is_some() && room.claim(1, false).is_none());
        drop(held);
        room.release(5);
        assert!(room.claim(1, false).is_some());
        assert!(room.hopeless(4) && !room.hopeless(3));
    }

    #[test]
    fn who_drops_the_oldest_claims_nothing() {
        let room = room(Overflow::DropOldest);
        room.claim(100, false).unwrap().keep();
        assert!(room.claim(1, false).is_some() && !room.hopeless(100) && !room.beyond_ceiling());
        assert_eq!(room.ceiling(), 3);
    }

    #[test]
    fn a_wait_ends_with_news_or_with_the_deadline() {
        let signal = Signal::new();
        let moment = signal.moment();
        assert!(!signal.wait(moment, Deadline::after(Duration::from_millis(1))));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| signal.wait(moment, Deadline::after(Duration::from_mins(1))));
            signal.tell();
            assert!(waits.join().unwrap());
        });
        assert!(signal.wait(moment, Deadline::after(Duration::ZERO)), "the news is older than the wait");
    }

    #[test]
    fn room_that_was_claimed_in_vain_wakes_who_waits_for_it() {
        let store = store(EventStoreOptions {
            max_events: Some(3),
            overflow: Overflow::Block,
            block_timeout: Duration::from_secs(5),
            ..EventStoreOptions::default()
        });
        let event = NewEvent { event_type: "t".into(), ..NewEvent::default() };
        // As a batch does that turns out to need more memory than there is.
        let claim = store.retention.room.claim(3, false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| store.append(&event).is_ok());
            while store.retention.room.made.waiting.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            drop(claim);
            assert!(waits.join().unwrap(), "it slept beside an empty store");
        });
    }
}
