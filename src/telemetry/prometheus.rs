//! The Prometheus text format 0.0.4: what `promtool check metrics` reads.
//!
//! Names and labels of a series never change, so each line is kept up to its number; rendering copies the
//! kept text and writes the numbers. Histograms show cumulative counts at powers of two, which are exact.

use std::fmt::Write;

use super::gauge::Gauge;
use super::histogram::Histogram;
use super::names;
use super::registry::{Instrument, Kind, Metric, Series};
use super::slab::Slot;

/// What telemetry shows about itself: name, kind and help of each family.
pub(super) const OWN_FAMILIES: [(&str, Kind, &str); 4] = [
    ("esf_telemetry_series", Kind::Gauge, "Series that this instance holds."),
    (
        "esf_telemetry_overflowed_total",
        Kind::Counter,
        "Uses of labels past the limit, sent to overflow series.",
    ),
    ("esf_telemetry_refused_series_total", Kind::Counter, "New metrics refused at the limit of series."),
    (
        "esf_telemetry_refused_samples_total",
        Kind::Counter,
        "Values refused because they were not finite, or negative for a histogram.",
    ),
];

/// The lines of one metric, as far as they do not change.
#[derive(Debug)]
pub(super) enum Lines {
    /// For each series its text up to the number, all in one piece, and where each ends.
    Counter { text: String, ends: Vec<(usize, Slot)> },
    /// As for counters.
    Gauge { text: String, ends: Vec<(usize, Gauge)> },
    /// For each series the text of its three sorts of lines.
    Histogram(Vec<HistogramLines>),
}

#[derive(Debug)]
pub(super) struct HistogramLines {
    /// Up to the bound.
    bucket: Box<str>,
    sum: Box<str>,
    count: Box<str>,
    histogram: Histogram,
}

impl Lines {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter { text: String::new(), ends: Vec::new() },
            Kind::Gauge => Self::Gauge { text: String::new(), ends: Vec::new() },
            Kind::Histogram => Self::Histogram(Vec::new()),
        }
    }

    /// Formats what does not change of a series. One of another kind is left out; the registry has none.
    pub(super) fn push(&mut self, family: &str, series: &Series) {
        let labels = labels(series);
        match (self, &series.instrument) {
            (Self::Counter { text, ends }, Instrument::Counter(counter)) => {
                push_start(text, family, &labels);
                ends.push((text.len(), counter.slot()));
            }
            (Self::Gauge { text, ends }, Instrument::Gauge(gauge)) => {
                push_start(text, family, &labels);
                ends.push((text.len(), gauge.clone()));
            }
            (Self::Histogram(all), Instrument::Histogram(histogram)) => {
                let comma = if labels.is_empty() { "" } else { "," };
                let start = |suffix: &str| {
                    let mut text = String::new();
                    push_start(&mut text, &format!("{family}{suffix}"), &labels);
                    text.into_boxed_str()
                };
                all.push(HistogramLines {
                    bucket: format!("{family}_bucket{{{labels}{comma}le=\"").into_boxed_str(),
                    sum: start("_sum"),
                    count: start("_count"),
                    histogram: histogram.clone(),
                });
            }
            _ => {}
        }
    }

    /// Bytes of the kept text.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Counter { text, ends } => text.capacity() + ends.capacity() * size_of::<(usize, Slot)>(),
            Self::Gauge { text, ends } => text.capacity() + ends.capacity() * size_of::<(usize, Gauge)>(),
            Self::Histogram(all) => {
                let text: usize =
                    all.iter().map(|lines| lines.bucket.len() + lines.sum.len() + lines.count.len()).sum();
                text + all.capacity() * size_of::<HistogramLines>()
            }
        }
    }

    /// Values that the instruments refused.
    pub(super) fn refused(&self) -> u64 {
        match self {
            Self::Counter { .. } => 0,
            Self::Gauge { ends, .. } => ends.iter().map(|(_, gauge)| gauge.refused()).sum(),
            Self::Histogram(all) => all.iter().map(|lines| lines.histogram.refused()).sum(),
        }
    }

    fn render(&self, out: &mut String) {
        match self {
            Self::Counter { text, ends } => {
                out.reserve(text.len() + ends.len() * 12);
                let mut start = 0;
                for (end, slot) in ends {
                    out.push_str(text.get(start..*end).unwrap_or_default());
                    start = *end;
                    push_u64(out, slot.sum());
                    out.push('\n');
                }
            }
            Self::Gauge { text, ends } => {
                let mut start = 0;
                for (end, gauge) in ends {
                    out.push_str(text.get(start..*end).unwrap_or_default());
                    start = *end;
                    push_f64(out, gauge.value());
                    out.push('\n');
                }
            }
            Self::Histogram(all) => all.iter().for_each(|lines| lines.render(out)),
        }
    }
}

impl HistogramLines {
    fn render(&self, out: &mut String) {
        let all = self.histogram.distribution();
        for (bound, count) in all.cumulative() {
            out.push_str(&self.bucket);
            push_f64(out, bound);
            out.push_str("\"} ");
            push_u64(out, count);
            out.push('\n');
        }
        out.push_str(&self.bucket);
        out.push_str("+Inf\"} ");
        push_u64(out, all.count());
        out.push('\n');
        out.push_str(&self.sum);
        push_f64(out, all.sum());
        out.push('\n');
        out.push_str(&self.count);
        push_u64(out, all.count());
        out.push('\n');
    }
}

impl Metric {
    /// Writes the family with all its series.
    pub(super) fn render(&self, out: &mut String) {
        push_header(out, &self.family, &self.help, self.kind);
        self.lines.render(out);
    }
}

/// Writes what telemetry says about itself: a number for each of [`OWN_FAMILIES`].
pub(super) fn render_own(out: &mut String, numbers: [u64; OWN_FAMILIES.len()]) {
    for ((family, kind, help), number) in OWN_FAMILIES.into_iter().zip(numbers) {
        push_header(out, family, help, kind);
        push_start(out, family, "");
        push_u64(out, number);
        out.push('\n');
    }
}

fn push_header(out: &mut String, family: &str, help: &str, kind: Kind) {
    out.push_str("# HELP ");
    out.push_str(family);
    out.push(' ');
    push_escaped(out, help, false);
    out.push_str("\n# TYPE ");
    out.push_str(family);
    out.push(' ');
    out.push_str(kind.name());
    out.push('\n');
}

/// A line up to its number.
fn push_start(out: &mut String, name: &str, labels: &str) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
    out.push(' ');
}

/// The labels as they stand between the braces.
fn labels(series: &Series) -> String {
    let mut text = String::new();
    for (name, value) in &series.labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&names::exposed(name));
        text.push_str("=\"");
        push_escaped(&mut text, value, true);
        text.push('"');
    }
    text
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// Decimal digits, without the machinery of `fmt`: most of what rendering does.
fn push_u64(out: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    let text = digits.get(digits.len() - used..).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

/// A number so that reading it gives the same number again.
fn push_f64(out: &mut String, number: f64) {
    let size = number.abs();
    // Writing to a string cannot fail.
    let _ = if number.is_infinite() {
        out.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else if size == 0.0 || (1e-6..1e16).contains(&size) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_they_were() {
        for number in [0, 7, 10, 99, 12_345_678_901, u64::MAX] {
            let mut out = String::new();
            push_u64(&mut out, number);
            assert_eq!(out, number.to_string());
        }
        for number in [0.0, 0.1, -2.5, 1e-7, 5e-324, 1.0 / 3.0, 1e15, 2_f64.powi(64), f64::MAX] {
            let mut out = String::new();
            push_f64(&mut out, number);
            assert_eq!(out.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{out}");
            assert!(out.len() < 25, "{out}");
        }
        let mut out = String::new();
        push_f64(&mut out, f64::INFINITY);
        assert_eq!(out, "+Inf");
    }
}
