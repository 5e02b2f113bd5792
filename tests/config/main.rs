//! The configuration service as its users see it.

mod docs;
mod model;
#[path = "../support/property.rs"]
mod property;
mod subscriptions;
mod updates;
mod validation;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use elixirscope_foundation::config::Config;
use elixirscope_foundation::error::Result;
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use elixirscope_foundation::runtime::supervisor::Supervisor;
use serde_json::{Map, Value};

/// What a configuration stands on, at hand for the test.
struct World {
    clock: Arc<SimClock>,
    supervisor: Arc<Supervisor>,
    version: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(SimClock::new(1_000));
        let supervisor = Arc::new(Supervisor::new(clock.clone()));
        Self { clock, supervisor, version: Arc::default() }
    }

    fn open(&self, overrides: &Map<String, Value>) -> Result<Config> {
        let clock = AnchoredClock::new(self.clock.clone(), 0);
        Config::open(overrides, self.version.clone(), clock, self.supervisor.clone())
    }
}

fn open(overrides: &Value) -> Result<Config> {
    World::new().open(overrides.as_object().unwrap())
}

fn defaults() -> Config {
    World::new().open(&Map::new()).unwrap()
}
