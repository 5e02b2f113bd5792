//! Which metrics there are, with which series: names checked, kinds kept apart, numbers bounded.
//!
//! Everything in here runs under one lock, which no recording through a handle takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::counter::Counter;
use super::gauge::Gauge;
use super::histogram::Histogram;
use super::index::Index;
use super::names::{self, Labels};
use super::prometheus::{self, Lines};
use super::slab::Slot;
use super::{TelemetryOptions, TelemetryStats, stripe};
use crate::error::{Code, Error, Result};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a series records into.
#[derive(Debug, Clone)]
pub(super) enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Instrument {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::new()),
            Kind::Gauge => Self::Gauge(Gauge::new()),
            Kind::Histogram => Self::Histogram(Histogram::new()),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
    }

    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Counter(_) => Slot::bytes() as u64,
            Self::Gauge(_) => Gauge::bytes() as u64,
            Self::Histogram(histogram) => histogram.memory_bytes(),
        }
    }

    /// The entry of the JSON snapshot, without the labels.
    fn to_json(&self) -> Value {
        match self {
            Self::Counter(counter) => json!({"value": counter.value()}),
            Self::Gauge(gauge) => json!({"value": gauge.value()}),
            Self::Histogram(histogram) => {
                let all = histogram.distribution();
                json!({
                    "count": all.count(),
                    "sum": all.sum(),
                    "min": all.min(),
                    "max": all.max(),
                    "mean": all.mean(),
                    "p50": all.quantile(0.5),
                    "p90": all.quantile(0.9),
                    "p95": all.quantile(0.95),
                    "p99": all.quantile(0.99),
                })
            }
        }
    }
}

/// One instrument with the name and labels that it is found by.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) hash: u64,
    pub(super) name: Arc<str>,
    pub(super) labels: Labels,
    pub(super) instrument: Instrument,
}

impl Series {
    /// Whether it has this name and these labels, in any order; labels without a value are none.
    #[inline]
    pub(super) fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        // Our names are distinct: if each of ours is among as many of theirs, they are the same.
        *self.name == *name
            && labels.iter().filter(|(_, value)| !value.is_empty()).count() == self.labels.len()
            && self.labels.iter().all(|(name, value)| labels.contains(&(&**name, &**value)))
    }
}

/// The error for a metric that is used as another kind.
pub(super) fn kind_clash(name: &str, is: Kind, asked: Kind) -> Error {
    let message = format!("{name} is a {} and cannot be used as a {}", is.name(), asked.name());
    Error::new(Code::TypeMismatch, message)
        .with("name", name)
        .with("kind", is.name())
        .with("expected", asked.name())
}

#[derive(Debug)]
pub(super) struct Metric {
    pub(super) kind: Kind,
    /// The name in the exposition.
    pub(super) family: String,
    pub(super) help: String,
    pub(super) series: Vec<Arc<Series>>,
    /// Takes what is past the limits; not counted among `series`.
    pub(super) overflow: Option<Arc<Series>>,
    /// The exposition, formatted as far as it does not change.
    pub(super) lines: Lines,
}

#[derive(Debug)]
pub(super) struct Registry {
    options: TelemetryOptions,
    metrics: BTreeMap<Arc<str>, Metric>,
    /// Names of lines in the exposition, and the metric that has them.
    taken: HashMap<String, Arc<str>>,
    /// Help texts of metrics that do not exist yet.
    helps: HashMap<String, String>,
    series: usize,
    overflowed: u64,
    refused_series: u64,
}

impl Registry {
    pub(super) fn new(options: TelemetryOptions) -> Self {
        let own = prometheus::OWN_FAMILIES.iter();
        Self {
            options,
            metrics: BTreeMap::new(),
            taken: own.map(|(family, ..)| ((*family).to_owned(), Arc::from("telemetry itself"))).collect(),
            helps: HashMap::new(),
            series: 0,
            overflowed: 0,
            refused_series: 0,
        }
    }

    /// The instrument of this name and these labels: the one that is there, a new one, or the overflow one.
    pub(super) fn resolve(
        &mut self,
        index: &Index,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Instrument> {
        names::check_name(name)?;
        let checked = names::check_labels(kind, labels)?;
        let hash = index.hash(name, checked.iter().map(|(name, value)| (&**name, &**value)));
        if let Some(series) = index.find(hash, name, labels) {
            // Another thread made it since the caller looked.
            return match series.instrument.kind() {
                is if is == kind => Ok(series.instrument.clone()),
                is => Err(kind_clash(name, is, kind)),
            };
        }
        let name = self.make_metric(kind, name)?;
        let Some(metric) = self.metrics.get_mut(&name) else {
            return Err(Error::new(Code::InternalError, "a metric that was just made is gone"));
        };
        let full = self.series >= self.options.max_series
            || metric.series.len() >= self.options.max_series_per_metric;
        if full {
            self.overflowed += 1;
            let series = metric.overflow.get_or_insert_with(|| {
                let labels: Labels = Box::new([(names::OVERFLOW_LABEL.into(), "true".into())]);
                let series = Series { hash: 0, name, labels, instrument: Instrument::new(kind) };
                metric.lines.push(&metric.family, &series);
                Arc::new(series)
            });
            return Ok(series.instrument.clone());
        }
        let series = Arc::new(Series { hash, name, labels: checked, instrument: Instrument::new(kind) });
        metric.lines.push(&metric.family, &series);
        metric.series.push(series.clone());
        self.series += 1;
        index.insert(series.clone());
        Ok(series.instrument.clone())
    }

    /// Sees to it that there is a metric of this name and kind; answers the name to keep.
    fn make_metric(&mut self, kind: Kind, name: &str) -> Result<Arc<str>> {
        if let Some((own, metric)) = self.metrics.get_key_value(name) {
            return if metric.kind == kind {
                Ok(own.clone())
            } else {
                Err(kind_clash(name, metric.kind, kind))
            };
        }
        let family = names::family(kind, name);
        let lines = names::line_names(kind, &family);
        if let Some((line, other)) = lines.iter().find_map(|line| self.taken.get_key_value(line)) {
            let message = format!(
                "{name} would be exposed with lines named {line}, as {other} is: choose another name"
            );
            return Err(Error::new(Code::InvalidInput, message)
                .with("name", name)
                .with("collides_with", &**other)
                .with("exposed", &**line));
        }
        if self.series >= self.options.max_series {
            self.refused_series += 1;
            let limit = self.options.max_series;
            let message = format!("no series for {name}: all {limit} (telemetry.max_series) are in use");
            return Err(Error::new(Code::TooManySeries, message).with("name", name).with("limit", limit));
        }
        let own: Arc<str> = name.into();
        self.taken.extend(lines.into_iter().map(|line| (line, own.clone())));
        // A scraper's linter asks for a help text, so there is always one.
        let help = self.helps.remove(name).unwrap_or_else(|| format!("The {} {name}.", kind.name()));
        let metric =
            Metric { kind, family, help, series: Vec::new(), overflow: None, lines: Lines::new(kind) };
        self.metrics.insert(own.clone(), metric);
        Ok(own)
    }

    pub(super) fn describe(&mut self, name: &str, help: &str) -> Result<()> {
        names::check_name(name)?;
        names::check_help(name, help)?;
        if let Some(metric) = self.metrics.get_mut(name) {
            help.clone_into(&mut metric.help);
            return Ok(());
        }
        let limit = self.options.max_series;
        if self.helps.len() >= limit && !self.helps.contains_key(name) {
            let message = format!("{limit} help texts wait for their metrics already; {name} finds no place");
            return Err(Error::new(Code::ResourceExhausted, message).with("name", name).with("limit", limit));
        }
        self.helps.insert(name.to_owned(), help.to_owned());
        Ok(())
    }

    /// Appends the whole exposition.
    pub(super) fn render(&self, out: &mut String) {
        self.metrics.values().for_each(|metric| metric.render(out));
        let own = [self.series as u64, self.overflowed, self.refused_series, self.refused_samples()];
        prometheus::render_own(out, own);
    }

    fn refused_samples(&self) -> u64 {
        self.metrics.values().map(|metric| metric.lines.refused()).sum()
    }

    pub(super) fn snapshot(&self) -> Value {
        let entry = |series: &Arc<Series>| {
            let labels: Map<String, Value> =
                series.labels.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
            let mut entry = series.instrument.to_json();
            if let Value::Object(entry) = &mut entry {
                entry.insert("labels".to_owned(), Value::Object(labels));
            }
            entry
        };
        let metric = |(name, metric): (&Arc<str>, &Metric)| {
            let series: Vec<Value> = metric.series.iter().chain(&metric.overflow).map(entry).collect();
            (name.to_string(), json!({"kind": metric.kind.name(), "help": metric.help, "series": series}))
        };
        Value::Object(self.metrics.iter().map(metric).collect())
    }

    pub(super) fn stats(&self, index: &Index) -> TelemetryStats {
        let all = || self.metrics.values().flat_map(|metric| metric.series.iter().chain(&metric.overflow));
        let text: usize = self.metrics.values().map(|metric| metric.lines.memory_bytes()).sum();
        let cells: u64 = all().map(|series| series.instrument.memory_bytes()).sum();
        TelemetryStats {
            metrics: self.metrics.len() as u64,
            series: self.series as u64,
            overflow_series: self.metrics.values().filter(|metric| metric.overflow.is_some()).count() as u64,
            max_series: self.options.max_series as u64,
            max_series_per_metric: self.options.max_series_per_metric as u64,
            overflowed: self.overflowed,
            refused_series: self.refused_series,
            refused_samples: self.refused_samples(),
            memory_bytes: cells + (text + index.memory_bytes()) as u64,
            stripes: stripe::count() as u64,
            stripe_source: stripe::source(),
        }
    }
}
