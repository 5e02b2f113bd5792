//! The stable frontier: where queries and tails stop, so that nothing appears behind a reader.
//!
//! Sequence numbers are taken from one counter by all shards. Between taking one and publishing the event, a
//! shard is *in flight*; the frontier is the smallest number that may be in flight, else the next one. Writers
//! never wait here. A reader that has read the counter waits until the frontier has passed it: nanoseconds, or
//! a time slice when a writer was preempted.
//!
//! The bound that a shard announces is the end of what it took last, which costs no look at the counter that other
//! shards are changing. However low that is: what a reader has once seen to be stable stays so, and is remembered.
//!
//! Why it is right: a shard announces a lower bound *before* it takes its number. The counter is only ever
//! changed by read-modify-write with release, so a reader that loads `s` with acquire sees the announcement
//! of every number below `s`, or something that the same shard stored later: "idle" or the announcement of its
//! next append, both stored with release after the event was published.

use crossbeam_utils::CachePadded;

use crate::runtime::sync::{AtomicU64, Ordering};

/// The first sequence number of a store; 0 is none.
pub(crate) const FIRST_SEQ: u64 = 1;

const IDLE: u64 = u64::MAX;

/// The counter of sequence numbers and what each shard has in flight.
pub(crate) struct Frontier {
    next: CachePadded<AtomicU64>,
    slots: Box<[CachePadded<Slot>]>,
    /// What readers have seen to be stable: it never goes back.
    seen: CachePadded<AtomicU64>,
}

struct Slot {
    /// No number below it is in flight; `IDLE` if none is.
    inflight: AtomicU64,
    /// The end of what the shard took last; used under its lock only.
    past: AtomicU64,
}

/// Sequence numbers taken and not yet published; dropping it says that they are.
pub(crate) struct InFlight<'a> {
    slot: &'a AtomicU64,
    first: u64,
}

impl Frontier {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            next: CachePadded::new(AtomicU64::new(FIRST_SEQ)),
            slots: (0..shards)
                .map(|_| {
                    let (inflight, past) = (AtomicU64::new(IDLE), AtomicU64::new(FIRST_SEQ));
                    CachePadded::new(Slot { inflight, past })
                })
                .collect(),
            seen: CachePadded::new(AtomicU64::new(FIRST_SEQ)),
        }
    }

    /// Goes on behind the numbers of a store that was there before. Nobody else has it yet.
    pub(crate) fn resume(&self, next: u64) {
        self.next.store(next, Ordering::Release);
        self.seen.store(next, Ordering::Release);
    }

    /// Takes `n` numbers for this shard, whose lock the caller holds; `None` for a shard that is not there.
    pub(crate) fn begin(&self, shard: usize, n: u64) -> Option<InFlight<'_>> {
        let slot = self.slots.get(shard)?;
        // Lower than the number we are about to get, which is safe.
        slot.inflight.store(slot.past.load(Ordering::Relaxed), Ordering::Release);
        let first = self.next.fetch_add(n, Ordering::AcqRel);
        slot.past.store(first + n, Ordering::Relaxed);
        Some(InFlight { slot: &slot.inflight, first })
    }

    /// The number that the next event gets.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The same, by a read-modify-write: whoever takes a number after this look sees what the caller did before it.
    pub(crate) fn taken(&self) -> u64 {
        self.next.fetch_add(0, Ordering::AcqRel)
    }

    /// The smallest number that may be unpublished: all below it can be read.
    pub(crate) fn stable(&self) -> u64 {
        let next = self.next();
        let lowest = self.slots.iter().map(|slot| slot.inflight.load(Ordering::Acquire)).fold(next, u64::min);
        // Acquire and release: whoever takes the mark from here sees the events that the one who set it saw.
        let seen = self.seen.load(Ordering::Acquire);
        if lowest > seen {
            self.seen.fetch_max(lowest, Ordering::AcqRel);
        }
        lowest.max(seen)
    }

    /// Waits until every number below `seq` is published.
    pub(crate) fn wait(&self, seq: u64) {
        let mut spins = 0_u32;
        while self.stable() < seq {
            spins += 1;
            pause(spins);
        }
    }

    /// The next number, once everything below it is published: where a query stops.
    pub(crate) fn settled(&self) -> u64 {
        let next = self.next();
        self.wait(next);
        next
    }
}

impl InFlight<'_> {
    /// The first of the numbers taken.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.slot.store(IDLE, Ordering::Release);
    }
}

#[cfg(not(loom))]
fn pause(spins: u32) {
    // A writer is in flight for well under a microsecond unless it was preempted; then let it run.
    if spins < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(loom)]
fn pause(_spins: u32) {
    loom::thread::yield_now();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_frontier_is_the_oldest_in_flight_else_the_next() {
        let frontier = Frontier::new(2);
        assert_eq!((frontier.next(), frontier.stable()), (1, 1));
        let a = frontier.begin(0, 3).unwrap();
        assert_eq!((a.first(), frontier.next(), frontier.stable()), (1, 4, 1));
        drop(a);
        assert_eq!(frontier.stable(), 4);
        // A shard that takes its first number announces the very first, which others have seen to be stable.
        let b = frontier.begin(1, 1).unwrap();
        let a = frontier.begin(0, 1).unwrap();
        assert_eq!((b.first(), a.first(), frontier.next(), frontier.stable()), (4, 5, 6, 4));
        drop(a);
        assert_eq!(frontier.stable(), 4);
        drop(b);
        assert_eq!((frontier.stable(), frontier.settled()), (6, 6));
        assert!(frontier.begin(2, 1).is_none());
    }
}
