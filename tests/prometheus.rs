//! The Prometheus text as Prometheus' own tool reads it. `promtool` must be installed (Debian package
//! `prometheus`): these tests fail without it.

use std::io::Write;
use std::process::{Command, Stdio};

use elixirscope_foundation::telemetry::{Telemetry, TelemetryOptions};

/// What `promtool check metrics` has to say about the text: empty when it likes it.
fn promtool(text: &str) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs (Debian package prometheus)");
    // Dropped after writing: the tool reads to the end.
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { said } else { format!("failed with {}: {said}", output.status) }
}

fn render(telemetry: &Telemetry) -> String {
    let mut text = String::new();
    telemetry.prometheus(&mut text);
    text
}

#[test]
fn promtool_accepts_an_empty_instance() {
    let text = render(&Telemetry::new(TelemetryOptions::default()));
    assert_eq!(promtool(&text), "", "{text}");
}

#[test]
fn promtool_accepts_every_kind_with_awkward_labels_numbers_and_overflow() {
    let telemetry = Telemetry::new(TelemetryOptions { max_series_per_metric: 8, ..Default::default() });
    telemetry.describe("http.requests", "Requests \\ answered,\nby \"code\".").unwrap();
    for value in ["quote\"", "back\\slash", "new\nline", "größe ✓ 🦀", "\\n", "tab\t", "a,b={}", "\u{1}\r"]
    {
        telemetry.counter("http.requests", &[("path", value), ("http.method", "GET")]).unwrap().add(1);
    }
    telemetry.add("http.requests", &[("path", "one too many")], u64::MAX).unwrap();
    for (n, value) in [-0.5, 1e300, 5e-324, 0.0, 123_456_789.0].into_iter().enumerate() {
        telemetry.set("queue.length", &[("n", &n.to_string())], value).unwrap();
    }
    for value in [0.0, 1e-30, 0.001, 0.0015, 1.0, 2.0, 1e6, 1e40] {
        telemetry.record("http.seconds", &[("path", "a\"b\\c\nd")], value).unwrap();
        telemetry.record("plain.seconds", &[], value).unwrap();
    }
    telemetry.record("huge.bytes", &[], f64::MAX).unwrap();
    telemetry.record("huge.bytes", &[], f64::MAX).unwrap();
    telemetry.histogram("empty.seconds", &[]).unwrap();

    let text = render(&telemetry);
    assert_eq!(promtool(&text), "", "{text}");
    for line in [
        "# HELP http_requests_total Requests \\\\ answered,\\nby \"code\".",
        "# TYPE http_requests_total counter",
        "http_requests_total{http_method=\"GET\",path=\"quote\\\"\"} 1",
        "http_requests_total{http_method=\"GET\",path=\"back\\\\slash\"} 1",
        "http_requests_total{http_method=\"GET\",path=\"new\\nline\"} 1",
        "http_requests_total{http_method=\"GET\",path=\"\\\\n\"} 1",
        "http_requests_total{http_method=\"GET\",path=\"größe ✓ 🦀\"} 1",
        "http_requests_total{esf_overflow=\"true\"} 18446744073709551615",
        "plain_seconds_bucket{le=\"1\"} 5",
        "plain_seconds_bucket{le=\"2\"} 6",
        "plain_seconds_bucket{le=\"1048576\"} 7",
        "plain_seconds_bucket{le=\"+Inf\"} 8",
        "plain_seconds_count 8",
        "http_seconds_bucket{path=\"a\\\"b\\\\c\\nd\",le=\"1\"} 5",
        "http_seconds_count{path=\"a\\\"b\\\\c\\nd\"} 8",
        "huge_bytes_sum +Inf",
        "empty_seconds_bucket{le=\"+Inf\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn promtool_is_really_asked() {
    assert!(promtool("http_requests{path=\"a\"b\"} 1\n").starts_with("failed"));
    assert!(promtool("# TYPE x counter\nx 1\n").starts_with("failed"), "the linter runs too");
}
