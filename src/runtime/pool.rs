//! Type-stable memory: values that live at one address, as one type, for as long as the process does.
//!
//! Hot handles (c-abi.md, rule 6) point straight at cells, without a reference count. That is sound
//! because a cell is never unmapped and never becomes another type: [`Pool`] leaks each value once and
//! hands it out again and again. A call that lost the race against a free touches a cell that is still
//! there; and since a given cell waits behind at least [`QUARANTINE`] others before it is handed out
//! again, that late touch lands in a cell at rest, not in a newer owner's.
//!
//! This is not an allocator for whatever comes: its memory never shrinks, so what bounds its users
//! (series, keys) bounds it, and [`Pool::stats`] says how much there is. A pool belongs in a `static`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How many other values must rest before one that was given back is handed out again.
pub const QUARANTINE: usize = 256;

/// A pool of values of one type, each leaked once and reused in the order they came back.
///
/// Values are shared, so their type has atomics inside; whoever takes one sets it to its first state.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use elixirscope_foundation::runtime::pool::Pool;
///
/// static CELLS: Pool<AtomicU64> = Pool::new(AtomicU64::default);
/// let cell: &'static AtomicU64 = CELLS.take();
/// cell.store(7, Ordering::Relaxed);
/// CELLS.give(cell); // other owners come first; until then the cell still reads 7
/// assert_eq!(cell.load(Ordering::Relaxed), 7);
/// ```
#[derive(Debug)]
pub struct Pool<T: 'static> {
    make: fn() -> T,
    resting: Mutex<Resting<T>>,
}

#[derive(Debug)]
struct Resting<T: 'static> {
    queue: VecDeque<&'static T>,
    made: u64,
}

/// How much memory a [`Pool`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PoolStats {
    /// Values made since the process started; none is ever unmade.
    pub made: u64,
    /// Values that were given back and rest.
    pub resting: u64,
    /// What all values made take, in bytes.
    pub bytes: u64,
}

impl<T: Sync + 'static> Pool<T> {
    /// An empty pool; `make` makes a value when none has rested long enough.
    pub const fn new(make: fn() -> T) -> Self {
        Self { make, resting: Mutex::new(Resting { queue: VecDeque::new(), made: 0 }) }
    }

    /// A value that nobody else owns: the one that has rested longest if [`QUARANTINE`] others rest
    /// behind it, else a new one. It is in the state its last owner left it in.
    pub fn take(&self) -> &'static T {
        {
            let mut resting = self.lock();
            if resting.queue.len() > QUARANTINE
                && let Some(value) = resting.queue.pop_front()
            {
                return value;
            }
            resting.made += 1;
        }
        Box::leak(Box::new((self.make)()))
    }

    /// Gives a value back. The caller must own it and must not use it as its owner any more; calls that
    /// are still running on it are harmless.
    pub fn give(&self, value: &'static T) {
        self.lock().queue.push_back(value);
    }

    /// How much there is.
    pub fn stats(&self) -> PoolStats {
        let resting = self.lock();
        PoolStats {
            made: resting.made,
            resting: resting.queue.len() as u64,
            bytes: resting.made * size_of::<T>() as u64,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Resting<T>> {
        // Every step under the lock leaves the queue whole, so a holder's panic changes nothing.
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_value_rests_behind_256_others_and_then_comes_back_first() {
        static POOL: Pool<AtomicU64> = Pool::new(AtomicU64::default);
        let first = POOL.take();
        first.store(11, Ordering::Relaxed);
        POOL.give(first);
        let others: Vec<_> = (0..QUARANTINE).map(|_| POOL.take()).collect();
        assert!(others.iter().all(|other| !std::ptr::eq(*other, first)), "reused without quarantine");
        for (i, other) in others.iter().enumerate() {
            assert_eq!(POOL.stats().resting, 1 + i as u64);
            POOL.give(other);
        }
        let again = POOL.take();
        assert!(std::ptr::eq(again, first), "the longest rested comes back first");
        assert_eq!(again.load(Ordering::Relaxed), 11);
        let made = 1 + QUARANTINE as u64;
        assert_eq!(POOL.stats(), PoolStats { made, resting: made - 1, bytes: made * 8 });
    }

    #[test]
    fn churn_does_not_grow_the_pool() {
        static POOL: Pool<AtomicU64> = Pool::new(AtomicU64::default);
        for _ in 0..10 * QUARANTINE {
            POOL.give(POOL.take());
        }
        assert_eq!(POOL.stats().made, QUARANTINE as u64 + 1);
    }
}
