//! Peers of the configuration table. None of them checks a value against a schema or says who changed it.

use std::hint::black_box;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use dashmap::DashMap;
use figment::Figment;
use figment::providers::Serialized;
use serde_json::Value;

use crate::harness::{Role, Work};

/// A configuration as a struct behind a pointer.
struct Settings {
    rate: f64,
}

/// The same configuration in each of them.
pub struct Peers {
    path: &'static str,
    swapped: ArcSwap<Settings>,
    map: DashMap<String, Value>,
    config: config::Config,
    figment: Figment,
}

impl Peers {
    /// Holds the tree, which has a number at the path.
    pub fn new(path: &'static str, tree: &Value) -> Self {
        let rate = path.split('.').fold(tree, |node, key| &node[key]).as_f64().expect("a number at the path");
        let map = DashMap::new();
        map.insert(path.to_owned(), Value::from(rate));
        let source = config::File::from_str(&tree.to_string(), config::FileFormat::Json);
        Self {
            path,
            swapped: ArcSwap::from_pointee(Settings { rate }),
            map,
            config: config::Config::builder().add_source(source).build().expect("a configuration"),
            figment: Figment::from(Serialized::defaults(tree)),
        }
    }

    /// Reads a value at a place that is known.
    pub fn by_handle<'a>(&'a self, work: Work<'a>, threads: usize) -> Work<'a> {
        work.threads(Role::Peer, "ArcSwap::load", threads, |_, n| {
            (0..n).for_each(|_| {
                black_box(black_box(&self.swapped).load().rate);
            });
        })
        .threads(Role::Peer, "arc_swap::Cache", threads, |_, n| {
            let mut cache = Cache::new(&self.swapped);
            (0..n).for_each(|_| {
                let settings: &Arc<Settings> = black_box(&mut cache).load();
                black_box(settings.rate);
            });
        })
    }

    /// Reads a value by its path.
    pub fn by_path<'a>(&'a self, work: Work<'a>, threads: usize) -> Work<'a> {
        work.threads(Role::Peer, "DashMap<String, Value>", threads, |_, n| {
            (0..n).for_each(|_| {
                black_box(self.map.get(black_box(self.path)).and_then(|value| value.as_f64()));
            });
        })
        .threads(Role::Peer, "config-rs", threads, |_, n| {
            (0..n).for_each(|_| {
                black_box(self.config.get_float(black_box(self.path)).expect("a float"));
            });
        })
        .threads(Role::Peer, "figment", threads, |_, n| {
            (0..n).for_each(|_| {
                black_box(self.figment.extract_inner::<f64>(black_box(self.path)).expect("a float"));
            });
        })
    }
}
