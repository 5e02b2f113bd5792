//! Telemetry: counters, gauges and histograms, cheap enough to leave on everywhere.
//!
//! An instrument is resolved once, by name and labels, and then recorded through in a few nanoseconds,
//! without a lock and without contention between threads: counters add in a cell of the calling CPU,
//! histograms do so once contention was measured. What is read is the sum over the CPUs. Everything is
//! bounded: past the limit of a metric its new label combinations share one overflow series and are counted.
//!
//! [`Telemetry::prometheus`] renders what operators scrape, [`Telemetry::snapshot`] the same as JSON.
//!
//! ```
//! use elixirscope_foundation::telemetry::{Telemetry, TelemetryOptions};
//!
//! let telemetry = Telemetry::new(TelemetryOptions::default());
//! let hits = telemetry.counter("http.requests", &[("method", "GET"), ("code", "200")])?;
//! hits.add(1);
//! telemetry.histogram("http.seconds", &[])?.record(0.042);
//!
//! let mut text = String::new();
//! telemetry.prometheus(&mut text);
//! assert!(text.contains("http_requests_total{code=\"200\",method=\"GET\"} 1\n"));
//! assert!(text.contains("http_seconds_count 1\n"));
//! # Ok::<(), elixirscope_foundation::error::Error>(())
//! ```

mod counter;
mod distribution;
mod gauge;
mod histogram;
mod index;
mod names;
mod prometheus;
mod registry;
mod slab;
mod stripe;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use counter::Counter;
pub use distribution::Distribution;
pub use gauge::Gauge;
pub use histogram::Histogram;

use crate::error::Result;
use index::Index;
use registry::{Instrument, Kind, Registry, Series, kind_clash};

/// How much an instance may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Series of all metrics together. Past it new metrics are refused, and new label combinations of
    /// existing ones go to their overflow series (at most one a metric, not counted here).
    pub max_series: usize,
    /// Series of one metric. Past it new label combinations go to its overflow series.
    pub max_series_per_metric: usize,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self { max_series: 10_000, max_series_per_metric: 2_000 }
    }
}

/// What an instance holds, and what it had to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TelemetryStats {
    /// Metrics, whatever their labels.
    pub metrics: u64,
    /// Series, without the overflow series.
    pub series: u64,
    /// Metrics that have an overflow series.
    pub overflow_series: u64,
    /// The limit of all series.
    pub max_series: u64,
    /// The limit of each metric.
    pub max_series_per_metric: u64,
    /// How often a label combination past the limit was resolved, or recorded by name.
    pub overflowed: u64,
    /// How often a new metric was refused because all series were in use.
    pub refused_series: u64,
    /// Values that gauges and histograms refused.
    pub refused_samples: u64,
    /// Bytes of all cells, kept text and tables.
    pub memory_bytes: u64,
    /// Cells of one counter.
    pub stripes: u64,
    /// What picks the cell: `rseq` (the CPU) or `thread`.
    pub stripe_source: &'static str,
}

/// The metrics of one instance.
///
/// It is shared between threads. Resolving and rendering take one lock; recording, through a handle or by
/// the name of a series that exists, takes none.
#[derive(Debug)]
pub struct Telemetry {
    index: Index,
    registry: Mutex<Registry>,
}

impl Telemetry {
    /// Telemetry without any metric.
    pub fn new(options: TelemetryOptions) -> Self {
        Self { index: Index::new(), registry: Mutex::new(Registry::new(options)) }
    }

    /// The counter of this name and these labels, made if it is not there.
    ///
    /// Labels may come in any order; one with an empty value counts as absent. Errors: `invalid_input` for
    /// a malformed name or label, and for a name that Prometheus could not tell from another metric's;
    /// `type_mismatch` when the metric is of another kind; `too_many_series` for a new metric when all
    /// series are in use.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<Counter> {
        match self.resolve(Kind::Counter, name, labels)? {
            Instrument::Counter(counter) => Ok(counter),
            other => Err(kind_clash(name, other.kind(), Kind::Counter)),
        }
    }

    /// The gauge of this name and these labels, made if it is not there; errors as for [`Self::counter`].
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<Gauge> {
        match self.resolve(Kind::Gauge, name, labels)? {
            Instrument::Gauge(gauge) => Ok(gauge),
            other => Err(kind_clash(name, other.kind(), Kind::Gauge)),
        }
    }

    /// The histogram of this name and these labels, made if it is not there; errors as for
    /// [`Self::counter`]. A label named `le` is `invalid_input`.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Result<Histogram> {
        match self.resolve(Kind::Histogram, name, labels)? {
            Instrument::Histogram(histogram) => Ok(histogram),
            other => Err(kind_clash(name, other.kind(), Kind::Histogram)),
        }
    }

    /// Adds to a counter by its name: one lookup dearer than through a handle. Errors as for
    /// [`Self::counter`].
    pub fn add(&self, name: &str, labels: &[(&str, &str)], n: u64) -> Result<()> {
        match self.find(name, labels) {
            Some(Series { instrument: Instrument::Counter(counter), .. }) => counter.add(n),
            _ => self.counter(name, labels)?.add(n),
        }
        Ok(())
    }

    /// Sets a gauge by its name, as [`Gauge::set`] does; errors as for [`Self::counter`].
    pub fn set(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<bool> {
        match self.find(name, labels) {
            Some(Series { instrument: Instrument::Gauge(gauge), .. }) => Ok(gauge.set(value)),
            _ => Ok(self.gauge(name, labels)?.set(value)),
        }
    }

    /// Records into a histogram by its name, as [`Histogram::record`] does; errors as for
    /// [`Self::histogram`].
    pub fn record(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<bool> {
        match self.find(name, labels) {
            Some(Series { instrument: Instrument::Histogram(histogram), .. }) => Ok(histogram.record(value)),
            _ => Ok(self.histogram(name, labels)?.record(value)),
        }
    }

    /// Says what a metric measures, before or after it is first used. The text may be 1 KiB long.
    pub fn describe(&self, name: &str, help: &str) -> Result<()> {
        self.registry().describe(name, help)
    }

    /// Appends the Prometheus text (format 0.0.4) of all metrics, sorted by name.
    pub fn prometheus(&self, out: &mut String) {
        self.registry().render(out);
    }

    /// All metrics as JSON: by name an object of `kind`, `help` and `series`; each series has `labels` and
    /// `value`, a histogram's `count`, `sum`, `min`, `max`, `mean`, `p50`, `p90`, `p95` and `p99` instead
    /// (null while it is empty).
    pub fn snapshot(&self) -> serde_json::Value {
        self.registry().snapshot()
    }

    /// What is held and what was dropped.
    pub fn stats(&self) -> TelemetryStats {
        self.registry().stats(&self.index)
    }

    #[inline]
    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Series> {
        self.index.find(self.index.hash(name, labels.iter().copied()), name, labels)
    }

    fn resolve(&self, kind: Kind, name: &str, labels: &[(&str, &str)]) -> Result<Instrument> {
        match self.find(name, labels) {
            Some(series) if series.instrument.kind() == kind => Ok(series.instrument.clone()),
            _ => self.registry().resolve(&self.index, kind, name, labels),
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // A holder that panicked left every table whole: at worst a series is missing from one of them.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
