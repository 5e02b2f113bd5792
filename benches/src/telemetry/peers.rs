//! Peers of the telemetry table. Their histograms have the buckets that they come with, eleven or fewer, where ours has
//! a relative error of one percent: they do less for a record.

use std::hint::black_box;

use metrics::Label;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use prometheus::{Encoder as _, IntCounterVec, Opts, TextEncoder};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::harness::{Role, Work};

const NAME: &str = "bench_requests";
const LABELS: [(&str, &str); 3] = [("method", "GET"), ("route", "/users/:id"), ("status", "200")];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

/// The peers' instruments.
pub struct Peers {
    prometheus: prometheus::IntCounter,
    prometheus_by_name: IntCounterVec,
    prometheus_histogram: prometheus::Histogram,
    prometheus_registry: prometheus::Registry,
    client: Counter,
    client_by_name: Family<Labels, Counter>,
    client_histogram: Histogram,
    client_registry: Registry,
    metrics: metrics::Counter,
    metrics_histogram: metrics::Histogram,
    metrics_handle: PrometheusHandle,
}

impl Peers {
    /// Instruments, and registries of so many counters.
    pub fn new(series: usize) -> Self {
        let names = LABELS.map(|label| label.0);
        let values = LABELS.map(|label| label.1);
        let prometheus_by_name = IntCounterVec::new(Opts::new(NAME, "help"), &names).expect("a counter");
        let options = prometheus::HistogramOpts::new("bench_latency", "help");

        let many = IntCounterVec::new(Opts::new("bench_series", "help"), &["index"]).expect("a counter");
        let prometheus_registry = prometheus::Registry::new();
        prometheus_registry.register(Box::new(many.clone())).expect("a registry takes it");

        let client_many: Family<Vec<(String, String)>, Counter> = Family::default();
        let mut client_registry = Registry::default();
        client_registry.register("bench_series", "help", client_many.clone());

        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics_handle = recorder.handle();
        let (metrics, metrics_histogram) = metrics::with_local_recorder(&recorder, || {
            for index in 0..series {
                let index = index.to_string();
                many.with_label_values(&[&index]).inc_by(1);
                client_many.get_or_create(&vec![("index".to_owned(), index.clone())]).inc_by(1);
                metrics::counter!("bench_series", "index" => index).increment(1);
            }
            (metrics::counter!("bench_alone"), metrics::histogram!("bench_latency"))
        });
        // Counters by name look for the recorder of the process.
        metrics::set_global_recorder(recorder)
            .unwrap_or_else(|_| panic!("the process has a recorder already"));

        Self {
            prometheus: prometheus_by_name.with_label_values(&values),
            prometheus_by_name,
            prometheus_histogram: prometheus::Histogram::with_opts(options).expect("a histogram"),
            prometheus_registry,
            client: Counter::default(),
            client_by_name: Family::default(),
            client_histogram: Histogram::new(exponential_buckets(1e-6, 4.0, 10)),
            client_registry,
            metrics,
            metrics_histogram,
            metrics_handle,
        }
    }

    /// Adds to a counter.
    pub fn counters<'a>(&'a self, work: Work<'a>, threads: usize) -> Work<'a> {
        work.threads(Role::Peer, "prometheus", threads, |_, n| {
            (0..n).for_each(|_| black_box(&self.prometheus).inc_by(1));
        })
        .threads(Role::Peer, "prometheus-client", threads, |_, n| {
            (0..n).for_each(|_| {
                black_box(&self.client).inc_by(1);
            });
        })
        .threads(Role::Peer, "metrics", threads, |_, n| {
            (0..n).for_each(|_| black_box(&self.metrics).increment(1));
        })
    }

    /// Records into a histogram.
    pub fn histograms<'a>(&'a self, work: Work<'a>, threads: usize, values: &'a [f64]) -> Work<'a> {
        let value = |turn: u64| values[turn as usize % values.len()];
        work.threads(Role::Peer, "prometheus", threads, move |_, n| {
            (0..n).for_each(|turn| black_box(&self.prometheus_histogram).observe(value(turn)));
        })
        .threads(Role::Peer, "prometheus-client", threads, move |_, n| {
            (0..n).for_each(|turn| black_box(&self.client_histogram).observe(value(turn)));
        })
        .threads(Role::Peer, "metrics", threads, move |_, n| {
            // It keeps every value until somebody asks for them: what is due then is part of recording.
            (0..n).for_each(|turn| black_box(&self.metrics_histogram).record(value(turn)));
            self.metrics_handle.run_upkeep();
        })
    }

    /// Adds to a counter by its name and three labels.
    pub fn by_name<'a>(&'a self, work: Work<'a>, threads: usize) -> Work<'a> {
        work.threads(Role::Peer, "prometheus", threads, |_, n| {
            for _ in 0..n {
                let values = black_box(LABELS).map(|label| label.1);
                self.prometheus_by_name.with_label_values(&values).inc_by(1);
            }
        })
        .threads(Role::Peer, "prometheus-client", threads, |_, n| {
            for _ in 0..n {
                let [method, route, status] = black_box(LABELS).map(|label| label.1);
                self.client_by_name.get_or_create(&Labels { method, route, status }).inc_by(1);
            }
        })
        .threads(Role::Peer, "metrics", threads, |_, n| {
            for _ in 0..n {
                let labels: Vec<Label> = black_box(LABELS).iter().map(Label::from).collect();
                metrics::counter!(NAME, labels).increment(1);
            }
        })
    }

    /// Renders a registry of many counters.
    pub fn rendering<'a>(&'a self, work: Work<'a>) -> Work<'a> {
        work.of(Role::Peer, "prometheus", |n| {
            for _ in 0..n {
                let mut text = Vec::new();
                TextEncoder::new().encode(&self.prometheus_registry.gather(), &mut text).expect("text");
                black_box(text);
            }
        })
        .of(Role::Peer, "prometheus-client", |n| {
            for _ in 0..n {
                let mut text = String::new();
                prometheus_client::encoding::text::encode(&mut text, &self.client_registry).expect("text");
                black_box(text);
            }
        })
        .of(Role::Peer, "metrics", |n| {
            for _ in 0..n {
                black_box(self.metrics_handle.render());
            }
        })
    }
}
