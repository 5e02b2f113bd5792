//! Histograms against exact answers.

use proptest::prelude::*;

use super::*;

fn filled(values: &[f64]) -> Histogram {
    let histogram = Histogram::new();
    assert!(values.iter().all(|value| histogram.record(*value)));
    histogram
}

/// Values of all sizes that the buckets cover, many of them close together or equal.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let any_octave =
        (-64..64_i32, 1.0..=2.0_f64).prop_map(|(k, m)| (m * 2_f64.powi(k)).next_up().min(2_f64.powi(64)));
    let one = prop_oneof![
        any_octave,
        (1.0..1_000.0_f64),
        (-63..=64_i32).prop_map(|k| 2_f64.powi(k)),
        Just(1_000_000.0),
    ];
    proptest::collection::vec(one, 1..400)
}

proptest! {
    #![proptest_config(crate::property::tried(256))]

    #[test]
    fn quantiles_are_within_one_percent(mut values in values(), q in 0.0..=1.0_f64) {
        let distribution = filled(&values).distribution();
        values.sort_by(f64::total_cmp);
        for q in [q, 0.0, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let answer = distribution.quantile(q).unwrap();
            prop_assert!((answer - exact).abs() <= 0.01 * exact, "q {q}: {answer:e}, exactly {exact:e}");
        }
        prop_assert_eq!(distribution.quantile(0.0), Some(values[0]));
        prop_assert_eq!(distribution.quantile(1.0), values.last().copied());
        prop_assert_eq!(distribution.min(), Some(values[0]));
        prop_assert_eq!(distribution.max(), values.last().copied());
        let sum: f64 = values.iter().sum();
        prop_assert!((distribution.sum() - sum).abs() <= 1e-12 * sum);
    }

    #[test]
    fn counts_at_powers_of_two_are_exact(mut values in values(), zeros in 0..3_usize, giants in 0..3_usize) {
        values.extend(std::iter::repeat_n(0.0, zeros));
        values.extend(std::iter::repeat_n(1e300, giants));
        let distribution = filled(&values).distribution();
        prop_assert_eq!(distribution.count(), values.len() as u64);
        let cumulative = distribution.cumulative();
        for (bound, count) in &cumulative {
            let exact = values.iter().filter(|value| *value <= bound).count();
            prop_assert_eq!(*count, exact as u64, "le {:e}", bound);
        }
        prop_assert_eq!(cumulative.last().unwrap().1, (values.len() - giants) as u64);
        prop_assert!(cumulative.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn merging_is_recording_into_one(left in values(), right in values()) {
        let mut merged = filled(&left).distribution();
        merged.merge(&filled(&right).distribution());
        let both = filled(&[left, right].concat()).distribution();
        prop_assert_eq!(merged.cumulative(), both.cumulative());
        prop_assert_eq!((merged.count(), merged.min(), merged.max()), (both.count(), both.min(), both.max()));
        prop_assert_eq!(merged.quantile(0.9), both.quantile(0.9));
    }
}

#[test]
fn what_is_not_a_finite_non_negative_number_is_refused_and_counted() {
    let histogram = filled(&[1.0]);
    for value in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE] {
        assert!(!histogram.record(value), "{value}");
    }
    assert_eq!(histogram.refused(), 6);
    assert!(histogram.record(-0.0), "minus zero is zero");
    let distribution = histogram.distribution();
    assert_eq!((distribution.count(), distribution.min()), (2, Some(0.0)));
    assert_eq!(distribution.quantile(0.5), Some(0.0));
    assert_eq!(distribution.quantile(f64::NAN), None);
    assert_eq!(distribution.quantile(1.1), None);
}

#[test]
fn threads_lose_nothing_and_a_split_shows_in_nothing_but_memory() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let histogram = Histogram::new();
    let raw = histogram.raw();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let histogram = &histogram;
            scope.spawn(move || {
                for n in 0..EACH / 2 {
                    if n == EACH / 4 && thread == 0 {
                        // What measured contention does, at a moment that does not depend on the machine.
                        histogram.owner.0.contended(CONTENDED);
                    }
                    assert!(histogram.record(1.0));
                    // SAFETY: the word is this histogram's.
                    assert!(unsafe { Histogram::record_raw(raw, 3.0) });
                }
            });
        }
    });
    let distribution = histogram.distribution();
    assert_eq!(distribution.count(), THREADS * EACH);
    assert_eq!(distribution.sum().to_bits(), ((THREADS * EACH * 2) as f64).to_bits());
    assert_eq!(
        distribution.cumulative(),
        [(1.0, THREADS * EACH / 2), (2.0, THREADS * EACH / 2), (4.0, THREADS * EACH)]
    );
    assert_eq!(histogram.owner.0.mask.load(Ordering::Relaxed), stripe::count().min(MAX_STRIPES) - 1);
    // SAFETY: the word is this histogram's.
    assert_eq!(unsafe { Histogram::distribution_raw(raw) }, distribution);
}

#[test]
fn memory_grows_by_the_octave() {
    let histogram = Histogram::new();
    let empty = histogram.memory_bytes();
    assert_eq!(empty, size_of::<Cell>() as u64);
    for value in [0.0, 1e300, 1.5, 1.6, 2.0] {
        assert!(histogram.record(value));
    }
    assert_eq!(histogram.memory_bytes(), empty + size_of::<Page>() as u64);
    assert!(histogram.record(2.1));
    assert_eq!(histogram.memory_bytes(), empty + 2 * size_of::<Page>() as u64);
}

#[test]
fn a_histogram_in_recycled_memory_is_empty() {
    for round in 0..600 {
        let histogram = Histogram::new();
        assert_eq!(histogram.distribution(), Distribution::default(), "round {round}");
        assert_eq!(histogram.refused(), 0);
        histogram.owner.0.contended(CONTENDED);
        assert!(histogram.record(7.0) && histogram.record(1e-3) && histogram.record(0.0));
        assert!(!histogram.record(-1.0));
        let raw = histogram.raw();
        drop(histogram);
        // SAFETY: the word was a histogram's. A stale handle like this must leave no trace in the next owner.
        assert!(unsafe { Histogram::record_raw(raw, 5.0) });
    }
}
