//! What metrics and labels may be called, and what Prometheus calls them. All of it is pure.
//!
//! A name is letters, digits, underscores and dots, not beginning with a digit; dots become underscores for
//! Prometheus. A label without a value is no label, as in Prometheus.

use super::registry::Kind;
use crate::error::{Code, Error, Result};

/// Bytes of a metric's or a label's name.
const MAX_NAME: usize = 200;
/// Labels of one series.
const MAX_LABELS: usize = 16;
/// Bytes of a label's value.
const MAX_VALUE: usize = 1024;
/// Bytes of a help text.
const MAX_HELP: usize = 1024;

/// The one label of series that take what is past the limit.
pub(super) const OVERFLOW_LABEL: &str = "esf_overflow";

/// Labels of a series: sorted by name, names distinct, no empty value.
pub(super) type Labels = Box<[(Box<str>, Box<str>)]>;

pub(super) fn check_name(name: &str) -> Result<()> {
    check_identifier("metric name", "name", name)
}

pub(super) fn check_help(name: &str, help: &str) -> Result<()> {
    if help.len() <= MAX_HELP {
        return Ok(());
    }
    Err(too_long(format!("the help text of {name} is {} bytes long; allowed are {MAX_HELP}", help.len()))
        .with("name", name)
        .with("limit", MAX_HELP))
}

/// The labels of a series of this kind, checked and sorted.
pub(super) fn check_labels(kind: Kind, labels: &[(&str, &str)]) -> Result<Labels> {
    if labels.len() > MAX_LABELS {
        let message = format!("{} labels are given; a series may have {MAX_LABELS}", labels.len());
        return Err(Error::new(Code::InvalidInput, message).with("limit", MAX_LABELS));
    }
    let mut checked: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        check_identifier("label name", "label", name)?;
        let reserved = name.starts_with("__")
            || exposed(name) == OVERFLOW_LABEL
            || (kind == Kind::Histogram && *name == "le");
        if reserved {
            let message = format!("the label name {name} is reserved: choose another");
            return Err(Error::new(Code::InvalidInput, message).with("label", *name));
        }
        if value.len() > MAX_VALUE {
            let message =
                format!("the value of label {name} is {} bytes long; allowed are {MAX_VALUE}", value.len());
            return Err(too_long(message).with("label", *name).with("limit", MAX_VALUE));
        }
        if checked.iter().any(|(known, _)| exposed(known) == exposed(name)) {
            let message = format!("the label name {name} is given twice (dots count as underscores)");
            return Err(Error::new(Code::InvalidInput, message).with("label", *name));
        }
        checked.push(((*name).into(), (*value).into()));
    }
    checked.retain(|(_, value)| !value.is_empty());
    checked.sort();
    Ok(checked.into_boxed_slice())
}

fn check_identifier(what: &str, key: &str, name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("is {} bytes long; allowed are {MAX_NAME}", name.len())
    } else if name.starts_with(|first: char| first.is_ascii_digit()) {
        "begins with a digit".to_owned()
    } else if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))) {
        format!("has {bad:?} in it; allowed are letters, digits, underscores and dots")
    } else {
        return Ok(());
    };
    // A name of any length may come in; an error should stay readable.
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(Error::new(Code::InvalidInput, format!("the {what} \"{shown}\" {problem}")).with(key, shown))
}

fn too_long(message: String) -> Error {
    Error::new(Code::InvalidInput, message)
}

/// A name as Prometheus writes it.
pub(super) fn exposed(name: &str) -> String {
    name.replace('.', "_")
}

/// The name of the metric in the exposition: counters end in `_total`.
pub(super) fn family(kind: Kind, name: &str) -> String {
    let mut family = exposed(name);
    if kind == Kind::Counter && !family.ends_with("_total") {
        family.push_str("_total");
    }
    family
}

/// All names that a family has lines of; no two metrics may share one.
pub(super) fn line_names(kind: Kind, family: &str) -> Vec<String> {
    let mut names = vec![family.to_owned()];
    if kind == Kind::Histogram {
        names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{family}{suffix}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_the_error_says_what_is_wrong() {
        for good in ["a", "_a", "http.requests", "A9_", &"x".repeat(200)] {
            check_name(good).unwrap();
        }
        for (bad, word) in [
            ("", "empty"),
            ("9a", "digit"),
            ("a-b", "'-'"),
            ("a b", "' '"),
            ("größe", "'ö'"),
            ("a:b", "':'"),
            ("a\n", "'\\n'"),
            (&"x".repeat(201), "201 bytes"),
        ] {
            let error = check_name(bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidInput);
            assert!(error.message().contains(word), "{error}");
        }
    }

    #[test]
    fn labels_are_checked_and_sorted() {
        let labels = check_labels(Kind::Counter, &[("b", "2"), ("gone", ""), ("a", "1")]).unwrap();
        assert_eq!(*labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        let long = "v".repeat(1025);
        let names: Vec<String> = (0..17).map(|n| format!("l{n}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        for (bad, word) in [
            (&[("a", "1"), ("a", "2")][..], "twice"),
            (&[("a.b", "1"), ("a_b", "2")], "twice"),
            (&[("__name__", "x")], "reserved"),
            (&[("esf.overflow", "true")], "reserved"),
            (&[("a", long.as_str())], "1025 bytes"),
            (&[("a-b", "1")], "'-'"),
            (&many, "17 labels"),
        ] {
            let error = check_labels(Kind::Counter, bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidInput);
            assert!(error.message().contains(word), "{error}");
        }
        check_labels(Kind::Gauge, &[("le", "1")]).unwrap();
        check_labels(Kind::Histogram, &[("le", "1")]).unwrap_err();
    }

    #[test]
    fn counters_end_in_total_once() {
        assert_eq!(family(Kind::Counter, "http.requests"), "http_requests_total");
        assert_eq!(family(Kind::Counter, "http.requests.total"), "http_requests_total");
        assert_eq!(family(Kind::Gauge, "queue.length"), "queue_length");
    }
}
