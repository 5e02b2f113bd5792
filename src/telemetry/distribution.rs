//! The arithmetic of histograms: which bucket a value belongs to, and what the buckets say about all values.
//!
//! Buckets are log-linear: each octave, the values above 2^k up to and including 2^(k+1), is cut into 64 of
//! equal width. The index falls out of the bits of the floating-point number, less one so that the upper
//! bound belongs to its bucket, which makes the counts at powers of two exact. A bucket is answered with its
//! middle, at most 1/128 (0.78 %) from anything in it. Everything here is pure.

/// Buckets of one octave.
pub(super) const BUCKETS: usize = 64;

/// Octaves that have buckets: values above 2^-64 up to and including 2^64.
pub(super) const OCTAVES: usize = 128;

/// The biased exponent of 2^-64, where the octaves begin.
const FIRST_EXPONENT: u64 = 1023 - 64;

const MANTISSA_BITS: u32 = 52;
const BUCKET_BITS: u32 = BUCKETS.trailing_zeros();

/// Where the value of these bits is counted: its octave (none when it is [`OCTAVES`] or more: then the value
/// is outside the buckets) and its bucket there. For bits of finite, non-negative values.
#[inline]
pub(super) fn locate(bits: u64) -> (usize, usize) {
    // Zero wraps to an exponent that is in no octave.
    let below = bits.wrapping_sub(1);
    let octave = (below >> MANTISSA_BITS).wrapping_sub(FIRST_EXPONENT);
    let bucket = (below >> (MANTISSA_BITS - BUCKET_BITS)) & (BUCKETS as u64 - 1);
    (octave as usize, bucket as usize)
}

/// The greatest value of an octave: 2^-63 for the first.
pub(super) fn octave_bound(octave: usize) -> f64 {
    f64::from_bits((octave as u64 + 1 + FIRST_EXPONENT) << MANTISSA_BITS)
}

/// The greatest value that is counted below all octaves: 2^-64.
pub(super) const LOW_BOUND: f64 = f64::from_bits(FIRST_EXPONENT << MANTISSA_BITS);

/// The middle of a bucket.
fn middle(octave: usize, bucket: usize) -> f64 {
    let index = (octave as u64 + FIRST_EXPONENT) << BUCKET_BITS | bucket as u64;
    let lower = f64::from_bits(index << (MANTISSA_BITS - BUCKET_BITS));
    let upper = f64::from_bits((index + 1) << (MANTISSA_BITS - BUCKET_BITS));
    f64::midpoint(lower, upper)
}

/// What a histogram held at one moment: count, sum, extremes and buckets of its values.
///
/// Distributions of several histograms (of other threads, instances or nodes) merge into one, whose
/// quantiles are as exact as those of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// Values of 0 up to and including 2^-64.
    low: u64,
    /// Values above 2^64.
    high: u64,
    /// Octaves that were used, in rising order.
    octaves: Vec<(usize, [u64; BUCKETS])>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: f64::INFINITY, max: 0.0, low: 0, high: 0, octaves: Vec::new() }
    }
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values: infinite when it is beyond what a double holds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The least value, exactly.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest value, exactly.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// The mean of all values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The value of rank `ceil(q * count)` among the sorted values, at most 1 % off; 0 answers the least and
    /// 1 the greatest value, exactly. None when there is no value or `q` is not between 0 and 1.
    ///
    /// Values of at most 2^-64 are all answered as the least, values above 2^64 as the greatest value.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == 1 || rank <= self.low {
            return Some(self.min);
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = self.low;
        for (octave, buckets) in &self.octaves {
            for (bucket, count) in buckets.iter().enumerate() {
                seen += count;
                if rank <= seen {
                    return Some(middle(*octave, bucket).clamp(self.min, self.max));
                }
            }
        }
        Some(self.max)
    }

    /// How many values are at most each power of two, exactly: from the first that holds any to the first
    /// that holds all but those above 2^64. What Prometheus calls cumulative buckets, without `+Inf`.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut seen = self.low;
        let mut result = Vec::new();
        if self.low > 0 {
            result.push((LOW_BOUND, seen));
        }
        let mut expected = self.octaves.first().map_or(0, |first| first.0);
        for (octave, buckets) in &self.octaves {
            // Octaves without values in between get their bound too: a scraper wants few changes of bounds.
            result.extend((expected..*octave).map(|between| (octave_bound(between), seen)));
            seen += buckets.iter().sum::<u64>();
            result.push((octave_bound(*octave), seen));
            expected = octave + 1;
        }
        result
    }

    /// Adds all values of another distribution to this one.
    pub fn merge(&mut self, other: &Self) {
        self.add_outside(other.low, other.high);
        self.add_extremes(other.sum, other.min, other.max);
        for (octave, buckets) in &other.octaves {
            self.add_octave(*octave, buckets);
        }
    }

    pub(super) fn add_outside(&mut self, low: u64, high: u64) {
        self.low = self.low.saturating_add(low);
        self.high = self.high.saturating_add(high);
        self.count = self.count.saturating_add(low).saturating_add(high);
    }

    pub(super) fn add_extremes(&mut self, sum: f64, min: f64, max: f64) {
        self.sum += sum;
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }

    pub(super) fn add_octave(&mut self, octave: usize, buckets: &[u64; BUCKETS]) {
        let added: u64 = buckets.iter().sum();
        if added == 0 {
            return;
        }
        self.count = self.count.saturating_add(added);
        let at = self.octaves.partition_point(|(known, _)| *known < octave);
        match self.octaves.get_mut(at) {
            Some((known, mine)) if *known == octave => {
                for (mine, more) in mine.iter_mut().zip(buckets) {
                    *mine = mine.saturating_add(*more);
                }
            }
            _ => self.octaves.insert(at, (octave, *buckets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_the_last_of_their_octave() {
        for octave in 0..OCTAVES {
            let bound = octave_bound(octave);
            assert_eq!(bound.to_bits(), 2_f64.powi(octave as i32 - 63).to_bits());
            assert_eq!(locate(bound.to_bits()), (octave, BUCKETS - 1));
            assert_eq!(locate(bound.to_bits() + 1), (octave + 1, 0));
        }
        assert_eq!(locate(LOW_BOUND.to_bits() + 1), (0, 0));
        for outside in [0.0, f64::MIN_POSITIVE, LOW_BOUND, 2_f64.powi(64).next_up(), f64::MAX] {
            assert!(locate(outside.to_bits()).0 >= OCTAVES, "{outside:e}");
        }
    }

    #[test]
    fn the_middle_lies_in_its_bucket_and_near_all_of_it() {
        for (octave, bucket) in [(0, 0), (0, 63), (63, 0), (64, 31), (127, 63)] {
            let middle = middle(octave, bucket);
            assert_eq!(locate(middle.to_bits()), (octave, bucket));
            let width = octave_bound(octave) / 2.0 / BUCKETS as f64;
            assert!(width / 2.0 / (middle - width / 2.0) <= 1.0 / 128.0);
        }
    }

    #[test]
    fn an_empty_distribution_has_no_quantiles() {
        let empty = Distribution::default();
        assert_eq!((empty.quantile(0.5), empty.min(), empty.max(), empty.mean()), (None, None, None, None));
        assert!(empty.cumulative().is_empty());
    }
}
