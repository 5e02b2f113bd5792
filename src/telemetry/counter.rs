//! Counters: numbers that only grow.

use std::sync::Arc;

use super::slab::Slot;

/// A count that only grows: requests served, bytes sent, errors seen. For what goes up and down take a
/// [`Gauge`](super::Gauge).
///
/// Adding costs one atomic addition in a cell of the calling CPU and never waits for another thread. Clones
/// count into the same series. The sum wraps at 2^64.
#[derive(Debug, Clone)]
pub struct Counter {
    slot: Slot,
    /// Gives the slot back when the series and the last clone are gone.
    _owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner(Slot);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Counter {
    pub(super) fn new() -> Self {
        let slot = Slot::take();
        Self { slot, _owner: Arc::new(Owner(slot)) }
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.slot.add(n);
    }

    /// What was added so far, by all threads.
    pub fn value(&self) -> u64 {
        self.slot.sum()
    }

    /// The counter as a word for a handle table: see [`Counter::add_raw`].
    pub fn raw(&self) -> u64 {
        self.slot.to_raw()
    }

    /// Adds to the counter of this word, without any check.
    ///
    /// # Safety
    /// The word came from [`Counter::raw`] in this process. The counter may be gone since: then the addition
    /// goes to memory that rests or counts something else by now, and nothing worse happens.
    #[inline]
    pub unsafe fn add_raw(raw: u64, n: u64) {
        // SAFETY: passed on to the caller.
        unsafe { Slot::from_raw(raw) }.add(n);
    }

    /// What the counter of this word holds.
    ///
    /// # Safety
    /// As for [`Counter::add_raw`].
    pub unsafe fn value_raw(raw: u64) -> u64 {
        // SAFETY: passed on to the caller.
        unsafe { Slot::from_raw(raw) }.sum()
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_of_many_threads_are_all_there() {
        let counter = Counter::new();
        let raw = counter.raw();
        std::thread::scope(|scope| {
            for thread in 1..=8_u64 {
                let counter = counter.clone();
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        counter.add(thread);
                        // SAFETY: the word is this counter's.
                        unsafe { Counter::add_raw(raw, 1) };
                    }
                });
            }
        });
        assert_eq!(counter.value(), 10_000 * (36 + 8));
        // SAFETY: the word is this counter's.
        assert_eq!(unsafe { Counter::value_raw(raw) }, counter.value());
    }

    #[test]
    fn the_sum_wraps() {
        let counter = Counter::new();
        counter.add(u64::MAX);
        counter.add(3);
        assert_eq!(counter.value(), 2);
    }
}
