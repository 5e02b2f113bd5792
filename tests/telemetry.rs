//! Telemetry through its public door: series, limits, and what is refused.

#[path = "support/property.rs"]
mod property;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::telemetry::{Telemetry, TelemetryOptions};
use proptest::prelude::*;

fn telemetry() -> Telemetry {
    Telemetry::new(TelemetryOptions::default())
}

fn text(telemetry: &Telemetry) -> String {
    let mut text = String::new();
    telemetry.prometheus(&mut text);
    text
}

#[test]
fn the_order_of_labels_and_labels_without_value_make_no_difference() {
    let telemetry = telemetry();
    telemetry.counter("hits", &[("a", "1"), ("b", "2")]).unwrap().add(1);
    telemetry.counter("hits", &[("b", "2"), ("a", "1")]).unwrap().add(10);
    telemetry.add("hits", &[("b", "2"), ("c", ""), ("a", "1")], 100).unwrap();
    assert_eq!(telemetry.counter("hits", &[("a", "1"), ("b", "2")]).unwrap().value(), 111);
    assert_eq!(telemetry.stats().series, 1);
    // Swapped values, one label more and one less are other series.
    for labels in [&[("a", "2"), ("b", "1")][..], &[("a", "1")], &[("a", "1"), ("b", "2"), ("c", "3")], &[]] {
        assert_eq!(telemetry.counter("hits", labels).unwrap().value(), 0, "{labels:?}");
    }
    assert_eq!(telemetry.stats().series, 5);
}

#[test]
fn threads_that_make_and_use_series_at_once_lose_nothing() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 2_000;
    let telemetry = telemetry();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let telemetry = &telemetry;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Every thread meets the same 500 series, in another order.
                    let n = ((round * 7 + thread * 131) % 500).to_string();
                    telemetry.add("shared", &[("n", &n)], 1).unwrap();
                    assert!(telemetry.record("sizes", &[("n", &n)], 2.0).unwrap());
                }
            });
        }
    });
    let total = |name| {
        (0..500)
            .map(|n: u64| {
                let n = n.to_string();
                let labels = [("n", n.as_str())];
                match name {
                    "shared" => telemetry.counter(name, &labels).unwrap().value(),
                    _ => telemetry.histogram(name, &labels).unwrap().distribution().count(),
                }
            })
            .sum::<u64>()
    };
    assert_eq!(total("shared"), THREADS * ROUNDS);
    assert_eq!(total("sizes"), THREADS * ROUNDS);
    assert_eq!(telemetry.stats().series, 1_000);
}

#[test]
fn past_the_limit_of_a_metric_labels_share_a_counted_overflow_series() {
    let telemetry = Telemetry::new(TelemetryOptions { max_series: 100, max_series_per_metric: 3 });
    for user in 0..10 {
        telemetry.counter("logins", &[("user", &user.to_string())]).unwrap().add(1);
    }
    telemetry.add("logins", &[("user", "11")], 5).unwrap();
    // Those that were there in time go on by themselves.
    telemetry.add("logins", &[("user", "2")], 1).unwrap();
    let text = text(&telemetry);
    assert!(text.contains("logins_total{user=\"2\"} 2\n"), "{text}");
    assert!(text.contains("logins_total{esf_overflow=\"true\"} 12\n"), "{text}");
    assert!(text.contains("esf_telemetry_overflowed_total 8\n"), "{text}");
    assert!(!text.contains("user=\"3\""), "{text}");
    let stats = telemetry.stats();
    assert_eq!((stats.series, stats.overflow_series, stats.overflowed), (3, 1, 8));
}

#[test]
fn past_the_limit_of_all_series_new_metrics_are_refused_and_old_ones_overflow() {
    let telemetry = Telemetry::new(TelemetryOptions { max_series: 2, max_series_per_metric: 10 });
    telemetry.gauge("a", &[]).unwrap();
    telemetry.histogram("b", &[]).unwrap();
    let error = telemetry.counter("c", &[]).unwrap_err();
    assert_eq!(error.code(), Code::TooManySeries);
    assert_eq!((&error.context()["name"], &error.context()["limit"]), (&"c".into(), &2.into()));
    assert!(telemetry.record("b", &[("x", "1")], 3.0).unwrap());
    assert!(text(&telemetry).contains("b_count{esf_overflow=\"true\"} 1\n"));
    let stats = telemetry.stats();
    assert_eq!((stats.refused_series, stats.overflowed, stats.metrics), (1, 1, 2));
}

#[test]
fn a_metric_has_one_kind() {
    let telemetry = telemetry();
    telemetry.counter("x", &[("a", "1")]).unwrap();
    for error in [
        telemetry.gauge("x", &[("a", "1")]).unwrap_err(),
        telemetry.gauge("x", &[("a", "2")]).unwrap_err(),
        telemetry.histogram("x", &[]).unwrap_err(),
        telemetry.set("x", &[("a", "1")], 1.0).unwrap_err(),
        telemetry.record("x", &[("a", "1")], 1.0).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::TypeMismatch);
        assert_eq!(error.context()["kind"], "counter");
    }
    assert_eq!(telemetry.stats().series, 1);
}

#[test]
fn names_that_prometheus_could_not_tell_apart_are_refused() {
    let telemetry = telemetry();
    telemetry.counter("http.requests", &[]).unwrap();
    telemetry.histogram("http.seconds", &[]).unwrap();
    for name in ["http_requests", "http.requests.total"] {
        let error = telemetry.counter(name, &[]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput, "{name}");
        assert_eq!(error.context()["collides_with"], "http.requests");
    }
    for name in ["http_seconds", "http.seconds.count", "http.seconds.sum", "http_seconds_bucket"] {
        assert_eq!(telemetry.gauge(name, &[]).unwrap_err().code(), Code::InvalidInput, "{name}");
    }
    assert_eq!(telemetry.gauge("esf.telemetry.series", &[]).unwrap_err().code(), Code::InvalidInput);
    // A counter's own name is free, since its lines end in _total.
    telemetry.gauge("http_requests", &[]).unwrap();
}

#[test]
fn bad_numbers_are_refused_and_counted_in_the_exposition() {
    let telemetry = telemetry();
    let histogram = telemetry.histogram("h", &[]).unwrap();
    let gauge = telemetry.gauge("g", &[]).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!histogram.record(bad) && !gauge.set(bad));
    }
    assert!(!telemetry.record("h", &[], -1.0).unwrap());
    assert!(telemetry.set("g", &[], -1.0).unwrap());
    assert_eq!(telemetry.stats().refused_samples, 7);
    let text = text(&telemetry);
    assert!(text.contains("esf_telemetry_refused_samples_total 7\n"), "{text}");
    assert!(text.contains("g -1\n") && text.contains("h_count 0\n"), "{text}");
}

#[test]
fn a_handle_outlives_its_instance_and_its_cell_is_not_shared_meanwhile() {
    let first = telemetry();
    let handle = first.counter("n", &[]).unwrap();
    handle.add(1);
    drop(first);
    let second = telemetry();
    for n in 0..1_000 {
        second.add("n", &[("n", &n.to_string())], 1).unwrap();
    }
    handle.add(1);
    assert_eq!(handle.value(), 2);
    for n in 0..1_000 {
        assert_eq!(second.counter("n", &[("n", &n.to_string())]).unwrap().value(), 1);
    }
}

#[test]
fn help_may_come_before_or_after_the_metric() {
    let telemetry = telemetry();
    telemetry.describe("early", "Said \\ before.\nTwo lines, \"quoted\".").unwrap();
    telemetry.counter("early", &[]).unwrap();
    telemetry.gauge("late", &[]).unwrap();
    telemetry.describe("late", "Said after.").unwrap();
    telemetry.gauge("never", &[]).unwrap();
    let text = text(&telemetry);
    let early = "# HELP early_total Said \\\\ before.\\nTwo lines, \"quoted\".\n# TYPE early_total counter\n";
    assert!(text.contains(early), "{text}");
    assert!(text.contains("# HELP late Said after.\n# TYPE late gauge\n"), "{text}");
    assert!(text.contains("# HELP never The gauge never.\n"), "{text}");
    assert_eq!(telemetry.describe("late", &"x".repeat(1_025)).unwrap_err().code(), Code::InvalidInput);
}

#[test]
fn the_snapshot_has_what_was_recorded() {
    let telemetry = telemetry();
    telemetry.add("c", &[("k", "v\n\"")], 3).unwrap();
    telemetry.set("g", &[], 0.5).unwrap();
    for value in 1..=100 {
        telemetry.record("h", &[], f64::from(value)).unwrap();
    }
    telemetry.histogram("empty", &[]).unwrap();
    let snapshot = telemetry.snapshot();
    assert_eq!(snapshot["c"]["kind"], "counter");
    assert_eq!(snapshot["c"]["series"][0]["labels"]["k"], "v\n\"");
    assert_eq!(snapshot["c"]["series"][0]["value"], 3);
    assert_eq!(snapshot["g"]["series"][0]["value"], 0.5);
    let h = &snapshot["h"]["series"][0];
    assert_eq!((&h["count"], &h["sum"]), (&100.into(), &5050.0.into()));
    assert_eq!((&h["min"], &h["max"]), (&1.0.into(), &100.0.into()));
    assert!((h["p99"].as_f64().unwrap() - 99.0).abs() <= 0.99);
    assert!(snapshot["empty"]["series"][0]["p50"].is_null());
}

#[test]
fn options_name_what_is_wrong() {
    let options: TelemetryOptions = serde_json::from_str("{\"max_series\": 5}").unwrap();
    assert_eq!(options, TelemetryOptions { max_series: 5, ..TelemetryOptions::default() });
    let error = serde_json::from_str::<TelemetryOptions>("{\"max_serie\": 5}").unwrap_err();
    assert!(error.to_string().contains("max_serie"));
}

proptest! {
    #![proptest_config(property::tried(64))]

    /// Against a plain map: any sequence of additions to any label sets, in any order of labels.
    #[test]
    fn counters_are_a_map_from_label_sets_to_sums(
        steps in proptest::collection::vec(
            (proptest::collection::btree_map("[a-c]", "[xy]?", 0..3), any::<bool>(), 0..100_u64),
            1..80,
        ),
    ) {
        let telemetry = telemetry();
        let mut model = std::collections::BTreeMap::new();
        for (labels, backwards, n) in &steps {
            let mut given: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            if *backwards {
                given.reverse();
            }
            telemetry.add("m", &given, *n).unwrap();
            let key: Vec<_> = labels.iter().filter(|(_, v)| !v.is_empty()).collect();
            *model.entry(key).or_insert(0) += n;
        }
        prop_assert_eq!(telemetry.stats().series, model.len() as u64);
        for (labels, sum) in model {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            prop_assert_eq!(telemetry.counter("m", &labels).unwrap().value(), sum);
        }
    }
}
