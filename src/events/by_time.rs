//! The events of a full segment in the order of time, where they were not appended in that order.
//!
//! Hosts may supply any timestamp, so a segment that is being filled only knows its smallest and largest. Once it is
//! full its events are sorted, once and for good: ranges of time are found by halving again, and results by time need
//! no sorting. A segment whose events came in order, as most do, has no list. Ties keep the order of `seq`.

use std::ops::Range;

/// Places of events, sorted by their timestamps; half as wide where a segment has fewer than 65,536 of them.
pub(crate) enum ByTime {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl ByTime {
    /// Sorts the events of a segment that gets no more of them.
    pub(super) fn build(times: &[i64]) -> Self {
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_by_key(|at| times.get(*at as usize));
        if u16::try_from(times.len()).is_ok() {
            Self::Narrow(order.into_iter().map(|at| at as u16).collect())
        } else {
            Self::Wide(order.into_boxed_slice())
        }
    }

    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Narrow(order) => order.len() as u32,
            Self::Wide(order) => order.len() as u32,
        }
    }

    /// The event at a place of the order.
    pub(crate) fn at(&self, place: u32) -> Option<u32> {
        match self {
            Self::Narrow(order) => order.get(place as usize).map(|at| u32::from(*at)),
            Self::Wide(order) => order.get(place as usize).copied(),
        }
    }

    /// The places of the events from the first to the last time, both included. `times` are those of the segment.
    pub(crate) fn between(&self, times: &[i64], (first, last): (i64, i64)) -> Range<u32> {
        let count = |before: &dyn Fn(i64) -> bool| {
            let (mut low, mut high) = (0, self.len());
            while low < high {
                let middle = low + (high - low) / 2;
                let time = self.at(middle).and_then(|at| times.get(at as usize));
                if time.is_some_and(|time| before(*time)) { low = middle + 1 } else { high = middle }
            }
            low
        };
        let from = count(&|time| time < first);
        from..count(&|time| time <= last).max(from)
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Narrow(order) => size_of_val(&**order),
            Self::Wide(order) => size_of_val(&**order),
        }
    }

    /// The most bytes that the order of so many events takes.
    pub(crate) fn most_bytes(events: u32) -> usize {
        events as usize * if u16::try_from(events).is_ok() { 2 } else { 4 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_of_times_is_a_stretch_of_the_order(
            times in prop::collection::vec(-20_i64..20, 0..200),
            wide in any::<bool>(),
            first in -25_i64..25,
            length in -3_i64..30,
        ) {
            let mut order = ByTime::build(&times);
            if wide && let ByTime::Narrow(places) = &order {
                order = ByTime::Wide(places.iter().map(|at| u32::from(*at)).collect());
            }
            let last = first + length;
            let found: Vec<u32> = order.between(&times, (first, last)).filter_map(|place| order.at(place)).collect();
            let mut expected: Vec<u32> = (0..).zip(&times).filter(|(_, time)| (first..=last).contains(*time))
                .map(|(at, _)| at).collect();
            expected.sort_by_key(|at| (times[*at as usize], *at));
            prop_assert_eq!(found, expected);
            let bytes = ByTime::most_bytes(times.len() as u32) * if wide { 2 } else { 1 };
            prop_assert_eq!(order.bytes(), bytes);
        }
    }
}
