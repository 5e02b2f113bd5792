//! Peers of the telemetry table, of which there are none without the feature `peers`.

#![expect(clippy::unused_self, reason = "the same calls as with peers")]

use crate::harness::Work;

/// None.
pub struct Peers;

impl Peers {
    /// None.
    pub fn new(_series: usize) -> Self {
        Self
    }

    /// Adds to a counter.
    pub fn counters<'a>(&'a self, work: Work<'a>, _threads: usize) -> Work<'a> {
        work
    }

    /// Records into a histogram.
    pub fn histograms<'a>(&'a self, work: Work<'a>, _threads: usize, _values: &'a [f64]) -> Work<'a> {
        work
    }

    /// Adds to a counter by its name and three labels.
    pub fn by_name<'a>(&'a self, work: Work<'a>, _threads: usize) -> Work<'a> {
        work
    }

    /// Renders a registry of many counters.
    pub fn rendering<'a>(&'a self, work: Work<'a>) -> Work<'a> {
        work
    }
}
