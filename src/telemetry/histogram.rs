//! Histograms: how values are distributed, to 1 %, in memory that grows only where values fall.
//!
//! A [`Cell`] starts as one [`Stripe`] without buckets; the first value of an octave brings its [`Page`] of
//! 64 buckets. Only when threads were measured to fail at the sum's compare-and-swap does the cell split
//! into several stripes, one a CPU, that are merged when read. The arithmetic is in
//! [`distribution`](super::distribution).
//!
//! Invariants that the `unsafe` code below rests on:
//! - Cells, stripes and pages come from pools: they are never unmapped and never become another type.
//! - A pointer in `Cell::stripes` or `Stripe::pages` is null or came from a `&'static` of such a pool.
//! - A retired cell gives its stripes and pages back. A stale handle that still records may count into memory
//!   of another histogram, once, and no worse.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::distribution::{BUCKETS, Distribution, LOW_BOUND, OCTAVES, locate};
use super::stripe;
use crate::runtime::pool::Pool;

/// A histogram never has more stripes: it bounds its memory (66 KB a stripe if all octaves are used).
const MAX_STRIPES: usize = 16;

/// So many failed compare-and-swaps, and a histogram splits.
const CONTENDED: u64 = 64;

/// Bits of finite, non-negative values are less than those of infinity; NaN and what has a sign is above.
const INFINITY_BITS: u64 = f64::INFINITY.to_bits();

/// Nothing is less than this, by bits.
const NO_MIN: u64 = u64::MAX;

/// How the values of something are distributed: latencies, sizes, batch lengths. Values are finite and not
/// negative, of any unit.
///
/// Quantiles are at most 1 % off (values above 2^-64 up to 2^64), count, minimum and maximum exact, the sum
/// exact but for rounding. There are no buckets to configure. Clones are the same histogram. Recording
/// takes no lock and allocates only for the first value of an octave.
#[derive(Debug, Clone)]
pub struct Histogram {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner(&'static Cell);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.retire();
        CELLS.give(self.0);
    }
}

/// The buckets of one octave.
#[derive(Debug)]
#[repr(align(64))]
struct Page([AtomicU64; BUCKETS]);

/// What one CPU, or all of them as long as they do not contend, records into.
#[derive(Debug)]
#[repr(C, align(128))]
struct Stripe {
    // The first line is written all the time …
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
    _rest_of_the_line: [u64; 3],
    // … the others only when an octave is met first.
    pages: [AtomicPtr<Page>; OCTAVES],
}

/// A histogram's memory.
#[derive(Debug)]
#[repr(C, align(128))]
struct Cell {
    /// Number of stripes in use, less one.
    mask: AtomicUsize,
    /// Compare-and-swaps that failed while there was one stripe.
    failures: AtomicU64,
    refused: AtomicU64,
    /// Stripes after the split, made when first used; the first entry stays null, it is `first`.
    stripes: [AtomicPtr<Stripe>; MAX_STRIPES],
    first: Stripe,
}

static PAGES: Pool<Page> = Pool::new(|| Page([const { AtomicU64::new(0) }; BUCKETS]));
static STRIPES: Pool<Stripe> = Pool::new(Stripe::new);
static CELLS: Pool<Cell> = Pool::new(|| Cell {
    mask: AtomicUsize::new(0),
    failures: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    stripes: [const { AtomicPtr::new(ptr::null_mut()) }; MAX_STRIPES],
    first: Stripe::new(),
});

impl Histogram {
    pub(super) fn new() -> Self {
        // So that the mask of the stripes is known before a split.
        stripe::count();
        let cell = CELLS.take();
        // Once more: a stale handle may have recorded while the cell was at rest.
        cell.retire();
        Self { owner: Arc::new(Owner(cell)) }
    }

    /// Records a value. NaN, infinite and negative ones are refused and counted: then the answer is `false`.
    #[inline]
    pub fn record(&self, value: f64) -> bool {
        self.owner.0.record(value)
    }

    /// All that was recorded so far. Values recorded meanwhile may be in it or not.
    pub fn distribution(&self) -> Distribution {
        self.owner.0.distribution()
    }

    /// How many calls were refused.
    pub fn refused(&self) -> u64 {
        self.owner.0.refused.load(Ordering::Relaxed)
    }

    /// Bytes that it takes now.
    pub fn memory_bytes(&self) -> u64 {
        let cell = self.owner.0;
        let own = |stripe: &Stripe| stripe.pages().count() * size_of::<Page>();
        let more: usize = cell.more_stripes().map(|stripe| size_of::<Stripe>() + own(stripe)).sum();
        (size_of::<Cell>() + own(&cell.first) + more) as u64
    }

    /// The histogram as a word for a handle table: see [`Histogram::record_raw`].
    pub fn raw(&self) -> u64 {
        ptr::from_ref(self.owner.0).expose_provenance() as u64
    }

    /// Records into the histogram of this word, as [`Histogram::record`] does.
    ///
    /// # Safety
    /// The word came from [`Histogram::raw`] in this process. The histogram may be gone since: then the
    /// value goes to memory that rests or is another histogram by now, and nothing worse happens.
    #[inline]
    pub unsafe fn record_raw(raw: u64, value: f64) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { Cell::from_raw(raw) }.record(value)
    }

    /// All that the histogram of this word recorded so far.
    ///
    /// # Safety
    /// As for [`Histogram::record_raw`].
    pub unsafe fn distribution_raw(raw: u64) -> Distribution {
        // SAFETY: passed on to the caller.
        unsafe { Cell::from_raw(raw) }.distribution()
    }
}

impl Cell {
    /// # Safety
    /// The word came from [`Histogram::raw`] in this process.
    #[inline]
    unsafe fn from_raw(raw: u64) -> &'static Self {
        // SAFETY: by the caller the word is the address of a cell of `CELLS`, which is never null, never
        // unmapped and never becomes another type (first invariant).
        unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut::<Self>(raw as usize)).as_ref() }
    }

    #[inline]
    fn record(&self, value: f64) -> bool {
        let bits = value.to_bits();
        if bits >= INFINITY_BITS {
            return self.record_odd(value);
        }
        let mask = self.mask.load(Ordering::Relaxed);
        if mask == 0 {
            let failures = self.first.record(value, bits);
            if failures > 0 {
                self.contended(failures);
            }
        } else {
            self.stripe(stripe::index() & mask).record(value, bits);
        }
        true
    }

    /// Minus zero is zero; the rest is refused.
    #[cold]
    fn record_odd(&self, value: f64) -> bool {
        if value == 0.0 {
            return self.record(0.0);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    #[cold]
    fn contended(&self, failures: u64) {
        if self.failures.fetch_add(failures, Ordering::Relaxed) + failures >= CONTENDED {
            self.mask.store(stripe::count().min(MAX_STRIPES) - 1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn stripe(&self, index: usize) -> &Stripe {
        match self.stripes.get(index) {
            Some(place) if index > 0 => {
                made(place).unwrap_or_else(|| install(place, &STRIPES, Stripe::clear))
            }
            _ => &self.first,
        }
    }

    fn more_stripes(&self) -> impl Iterator<Item = &'static Stripe> {
        self.stripes.iter().filter_map(made)
    }

    fn distribution(&self) -> Distribution {
        let mut result = Distribution::default();
        self.first.add_to(&mut result);
        self.more_stripes().for_each(|stripe| stripe.add_to(&mut result));
        result
    }

    /// Back to the first state; stripes and pages go back to their pools.
    fn retire(&self) {
        self.mask.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
        for stripe in self.stripes.iter().filter_map(removed) {
            stripe.clear();
            STRIPES.give(stripe);
        }
        self.first.clear();
    }
}

impl Stripe {
    const fn new() -> Self {
        Self {
            sum: AtomicU64::new(0),
            min: AtomicU64::new(NO_MIN),
            max: AtomicU64::new(0),
            low: AtomicU64::new(0),
            high: AtomicU64::new(0),
            _rest_of_the_line: [0; 3],
            pages: [const { AtomicPtr::new(ptr::null_mut()) }; OCTAVES],
        }
    }

    /// Counts a finite, non-negative value; answers how often the sum's compare-and-swap failed.
    #[inline]
    fn record(&self, value: f64, bits: u64) -> u64 {
        // The order of the bits is the order of the values, since none is negative.
        if bits < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(bits, Ordering::Relaxed);
        }
        if bits > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(bits, Ordering::Relaxed);
        }
        let mut failures = 0;
        let mut sum = self.sum.load(Ordering::Relaxed);
        while let Err(now) = self.sum.compare_exchange_weak(
            sum,
            (f64::from_bits(sum) + value).to_bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            sum = now;
            failures += 1;
        }
        // Last, and Release: who sees the value counted sees its part in the sum and the extremes too.
        self.bucket(bits).fetch_add(1, Ordering::Release);
        failures
    }

    #[inline]
    fn bucket(&self, bits: u64) -> &AtomicU64 {
        let (octave, bucket) = locate(bits);
        let Some(place) = self.pages.get(octave) else {
            return if bits <= LOW_BOUND.to_bits() { &self.low } else { &self.high };
        };
        let page = made(place).unwrap_or_else(|| install(place, &PAGES, Page::clear));
        // `bucket` is less than the length: the compiler sees it and leaves the check out.
        page.0.get(bucket).unwrap_or(&self.high)
    }

    fn pages(&self) -> impl Iterator<Item = (usize, &'static Page)> {
        let page = |(octave, place)| made(place).map(|page| (octave, page));
        self.pages.iter().enumerate().filter_map(page)
    }

    fn add_to(&self, distribution: &mut Distribution) {
        distribution.add_outside(self.low.load(Ordering::Acquire), self.high.load(Ordering::Acquire));
        for (octave, page) in self.pages() {
            distribution.add_octave(octave, &page.0.each_ref().map(|count| count.load(Ordering::Acquire)));
        }
        // After the buckets: see `record`.
        let min = match self.min.load(Ordering::Relaxed) {
            NO_MIN => f64::INFINITY,
            bits => f64::from_bits(bits),
        };
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        distribution.add_extremes(sum, min, f64::from_bits(self.max.load(Ordering::Relaxed)));
    }

    fn clear(&self) {
        for page in self.pages.iter().filter_map(removed) {
            PAGES.give(page);
        }
        for number in [&self.sum, &self.max, &self.low, &self.high] {
            number.store(0, Ordering::Relaxed);
        }
        self.min.store(NO_MIN, Ordering::Relaxed);
    }
}

impl Page {
    fn clear(&self) {
        self.0.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

/// What the place points to, if anything.
#[inline]
fn made<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    // SAFETY: null, or a pointer from a `&'static T` of a pool (second invariant), read with Acquire, so
    // that what was stored before it was put there is seen.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}

/// Takes out what the place points to, if anything.
fn removed<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    // SAFETY: as in `made`.
    unsafe { place.swap(ptr::null_mut(), Ordering::AcqRel).as_ref() }
}

/// Puts a cleared value of the pool in an empty place, unless another thread was quicker.
#[cold]
fn install<T: Sync>(place: &AtomicPtr<T>, pool: &Pool<T>, clear: fn(&T)) -> &'static T {
    let new = pool.take();
    clear(new);
    let pointer = ptr::from_ref(new).cast_mut();
    if place.compare_exchange(ptr::null_mut(), pointer, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        return new;
    }
    pool.give(new);
    // It was not null a moment ago; if it is again, the histogram was retired, and what we made takes what a
    // stale handle still records.
    made(place).unwrap_or(new)
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
