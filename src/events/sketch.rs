//! Quantiles of numbers in bounded memory: exact of a few, and of many within 0.8 %.
//!
//! Beyond [`EXACT`] numbers only counts are kept, in buckets that each span 1/64 of an octave, so that there are at
//! most some 262,000 of them, and a few hundred for numbers that people measure.

use std::collections::BTreeMap;

/// Numbers that are kept as they are.
const EXACT: usize = 8_192;
/// Bits of a float's mantissa that do not tell buckets apart: 52 less the six that do.
const DROPPED_BITS: u32 = 46;

/// Numbers, summed up. It takes no not-a-number.
#[derive(Default)]
pub(crate) struct Sketch {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    exact: Vec<f64>,
    buckets: BTreeMap<i64, u64>,
}

/// Which bucket: the order of buckets is that of the numbers in them.
fn bucket(value: f64) -> i64 {
    let magnitude = (value.abs().to_bits() >> DROPPED_BITS) as i64;
    if value < 0.0 { !magnitude } else { magnitude }
}

/// The middle of a bucket.
fn middle(bucket: i64) -> f64 {
    let magnitude = if bucket < 0 { !bucket } else { bucket } as u64;
    if magnitude == 0 {
        // Zero, and what is so small that it stands for nothing else.
        return 0.0;
    }
    let edge = |bucket: u64| f64::from_bits(bucket << DROPPED_BITS);
    let (low, high) = (edge(magnitude), edge(magnitude + 1));
    let value = if high.is_finite() { low + (high - low) / 2.0 } else { low };
    if bucket < 0 { -value } else { value }
}

impl Sketch {
    pub(crate) fn add(&mut self, value: f64) {
        (self.min, self.max) =
            if self.count == 0 { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        self.count += 1;
        self.sum += value;
        if self.exact.len() < EXACT && self.buckets.is_empty() {
            self.exact.push(value);
            return;
        }
        for value in self.exact.drain(..).chain([value]) {
            *self.buckets.entry(bucket(value)).or_default() += 1;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// The mean; `None` also if the sum is beyond all floats.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64).filter(|mean| mean.is_finite())
    }

    /// The smallest number that at least this share of all is not above.
    pub(crate) fn quantile(&mut self, share: f64) -> Option<f64> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        // The ends are known exactly.
        if self.count > 0 && (rank == 1 || rank == self.count) {
            return Some(if rank == 1 { self.min } else { self.max });
        }
        if self.buckets.is_empty() {
            self.exact.sort_unstable_by(f64::total_cmp);
            return self.exact.get(rank as usize - 1).copied();
        }
        let mut passed = 0;
        let reached = |(_, count): &(&i64, &u64)| {
            passed += **count;
            passed >= rank
        };
        let (found, _) = self.buckets.iter().find(reached)?;
        Some(middle(*found).clamp(self.min, self.max))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::property::tried(40))]

        #[test]
        fn quantiles_are_exact_of_few_and_close_of_many(
            few in prop::collection::vec(-1e12_f64..1e12, 1..200), repeat in prop::sample::select(&[1_usize, 100][..]),
            share in 0.0_f64..=1.0,
        ) {
            let mut sketch = Sketch::default();
            let mut all = few.repeat(repeat);
            for value in &all {
                sketch.add(*value);
            }
            all.sort_unstable_by(f64::total_cmp);
            let rank = ((share * all.len() as f64).ceil() as usize).clamp(1, all.len());
            let (expected, found) = (all[rank - 1], sketch.quantile(share).unwrap());
            let allowed = if all.len() <= EXACT { 0.0 } else { expected.abs() * 0.008 };
            prop_assert!((found - expected).abs() <= allowed, "{found} for {expected}");
            prop_assert_eq!((sketch.min(), sketch.max()), (all.first().copied(), all.last().copied()));
        }
    }

    #[test]
    fn of_nothing_there_is_nothing_and_extremes_are_held() {
        let mut sketch = Sketch::default();
        assert_eq!((sketch.quantile(0.5), sketch.mean(), sketch.min()), (None, None, None));
        for _ in 0..EXACT {
            sketch.add(f64::MAX);
            sketch.add(-0.0);
        }
        assert_eq!((sketch.quantile(1.0), sketch.quantile(0.0)), (Some(f64::MAX), Some(-0.0)));
        assert_eq!(sketch.mean(), None);
        assert!(sketch.buckets.len() <= 2);
    }
}
