//! Gauges: numbers that are set, or moved up and down.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::pool::Pool;

/// A number that goes up and down: queue length, temperature, connections open now. For what only grows
/// take a [`Counter`](super::Counter).
///
/// One cell holds the number, so that the last `set` wins; threads that hit the same gauge all the time
/// contend for it. Clones are the same gauge. It starts at 0.
#[derive(Debug, Clone)]
pub struct Gauge {
    owner: Arc<Owner>,
}

/// A gauge's memory: type-stable, so that raw words may point straight at it.
#[derive(Debug)]
#[repr(align(64))]
struct Cell {
    bits: AtomicU64,
    refused: AtomicU64,
}

static CELLS: Pool<Cell> = Pool::new(|| Cell { bits: AtomicU64::new(0), refused: AtomicU64::new(0) });

#[derive(Debug)]
struct Owner(&'static Cell);

impl Drop for Owner {
    fn drop(&mut self) {
        CELLS.give(self.0);
    }
}

impl Gauge {
    pub(super) fn new() -> Self {
        let cell = CELLS.take();
        cell.bits.store(0, Ordering::Relaxed);
        cell.refused.store(0, Ordering::Relaxed);
        Self { owner: Arc::new(Owner(cell)) }
    }

    /// Sets the number. NaN and the infinities are refused and counted: then the answer is `false`.
    #[inline]
    pub fn set(&self, value: f64) -> bool {
        self.cell().set(value)
    }

    /// Adds to the number (subtracts, when `delta` is negative). Refused and counted, answering `false`,
    /// when `delta` or the sum is not finite.
    #[inline]
    pub fn add(&self, delta: f64) -> bool {
        self.cell().add(delta)
    }

    /// The number now.
    pub fn value(&self) -> f64 {
        self.cell().value()
    }

    /// How many calls were refused.
    pub fn refused(&self) -> u64 {
        self.cell().refused.load(Ordering::Relaxed)
    }

    /// The gauge as a word for a handle table: see [`Gauge::set_raw`].
    pub fn raw(&self) -> u64 {
        std::ptr::from_ref(self.cell()).expose_provenance() as u64
    }

    /// Sets the gauge of this word, as [`Gauge::set`] does.
    ///
    /// # Safety
    /// The word came from [`Gauge::raw`] in this process. The gauge may be gone since: then the number goes
    /// to memory that rests or is another gauge by now, and nothing worse happens.
    #[inline]
    pub unsafe fn set_raw(raw: u64, value: f64) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { Cell::from_raw(raw) }.set(value)
    }

    /// Adds to the gauge of this word, as [`Gauge::add`] does.
    ///
    /// # Safety
    /// As for [`Gauge::set_raw`].
    #[inline]
    pub unsafe fn add_raw(raw: u64, delta: f64) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { Cell::from_raw(raw) }.add(delta)
    }

    /// What the gauge of this word holds.
    ///
    /// # Safety
    /// As for [`Gauge::set_raw`].
    pub unsafe fn value_raw(raw: u64) -> f64 {
        // SAFETY: passed on to the caller.
        unsafe { Cell::from_raw(raw) }.value()
    }

    /// Bytes of one gauge's memory.
    pub(super) fn bytes() -> usize {
        size_of::<Cell>()
    }

    #[inline]
    fn cell(&self) -> &'static Cell {
        self.owner.0
    }
}

impl Cell {
    /// # Safety
    /// The word came from [`Gauge::raw`] in this process.
    #[inline]
    unsafe fn from_raw(raw: u64) -> &'static Self {
        // SAFETY: by the caller the word is the address of a cell of `CELLS`, which is never null, never
        // unmapped and never becomes another type.
        unsafe {
            NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut::<Self>(raw as usize)).as_ref()
        }
    }

    #[inline]
    fn set(&self, value: f64) -> bool {
        if !value.is_finite() {
            return self.refuse();
        }
        self.bits.store(value.to_bits(), Ordering::Relaxed);
        true
    }

    #[inline]
    fn add(&self, delta: f64) -> bool {
        let sum = |bits| Some(f64::from_bits(bits) + delta).filter(|sum| sum.is_finite()).map(f64::to_bits);
        self.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok() || self.refuse()
    }

    fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }

    #[cold]
    fn refuse(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_of_many_threads_are_all_there() {
        let gauge = Gauge::new();
        let raw = gauge.raw();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        assert!(gauge.add(3.0));
                        // SAFETY: the word is this gauge's.
                        assert!(unsafe { Gauge::add_raw(raw, -1.0) });
                    }
                });
            }
        });
        assert_eq!(gauge.value().to_bits(), 40_000.0_f64.to_bits());
    }

    #[test]
    fn what_is_not_finite_is_refused_and_counted() {
        let gauge = Gauge::new();
        assert!(gauge.set(f64::MAX));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!gauge.set(value));
            assert!(!gauge.add(value));
        }
        assert!(!gauge.add(f64::MAX), "the sum overflows");
        assert_eq!(gauge.value().to_bits(), f64::MAX.to_bits());
        assert_eq!(gauge.refused(), 7);
        // SAFETY: the word is this gauge's.
        unsafe {
            assert!(Gauge::set_raw(gauge.raw(), -2.5));
            assert_eq!(Gauge::value_raw(gauge.raw()).to_bits(), (-2.5_f64).to_bits());
        }
    }
}
