//! What an instance reports about itself in its own telemetry: the books of its services, brought up to
//! date whenever the metrics are read, so that keeping them costs the hot paths nothing.

use std::sync::{Mutex, PoisonError};

use crate::config::ConfigStats;
use crate::error::Result;
use crate::events::EventStats;
use crate::telemetry::{Counter, Gauge, Telemetry};

/// The instruments of an instance's own metrics.
#[derive(Debug)]
pub(crate) struct OwnMetrics {
    /// What the counters were last brought up to, in the order of [`counts`].
    told: Mutex<[u64; COUNTERS.len()]>,
    counters: Vec<Counter>,
    gauges: Vec<Gauge>,
}

/// Name, labels and help.
type Described = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const ASYNC_LOST: &str = "Events of asynchronous appends that were not stored, by reason.";

const COUNTERS: [Described; 18] = [
    ("esf.events.stored", &[], "Events stored since the instance was opened."),
    ("esf.events.offered", &[], "Events handed to the store."),
    ("esf.events.refused", &[], "Events refused: invalid, duplicate, beyond a limit or no room for them."),
    ("esf.events.dropped", &[("reason", "newest")], "Events dropped instead of stored, by reason."),
    ("esf.events.repeated", &[], "Events that were stored already and answered like the first time."),
    ("esf.events.async.stored", &[], "Events of asynchronous appends that were stored."),
    ("esf.events.async.lost", &[("reason", "queue_full")], ASYNC_LOST),
    ("esf.events.async.lost", &[("reason", "not_stored")], ASYNC_LOST),
    ("esf.events.async.lost", &[("reason", "closed")], ASYNC_LOST),
    ("esf.events.removed", &[("reason", "max_events")], "Events removed, by reason."),
    ("esf.events.removed", &[("reason", "prune_before")], "Events removed, by reason."),
    ("esf.events.removed", &[("reason", "max_age")], "Events removed, by reason."),
    ("esf.events.removed", &[("reason", "max_memory")], "Events removed, by reason."),
    ("esf.events.tail.delivered", &[], "Events told to tails."),
    ("esf.events.tail.missed", &[("reason", "removed")], "Events that tails could not tell, by reason."),
    ("esf.events.tail.missed", &[("reason", "lagged")], "Events that tails could not tell, by reason."),
    ("esf.config.notifications.coalesced", &[], "Changes replaced by a newer one before they were read."),
    ("esf.config.notifications.dropped", &[], "Changes dropped because a subscriber's queue was full."),
];

fn counts(config: &ConfigStats, events: &EventStats) -> [u64; COUNTERS.len()] {
    let later = &events.later;
    [
        events.stored,
        events.offered,
        events.refused,
        events.dropped_newest,
        events.repeated,
        later.stored,
        later.refused_full,
        later.refused_invalid
            + later.failed_duplicate
            + later.failed_full
            + later.failed_other
            + later.dropped_newest,
        later.refused_closed + later.dropped_at_close,
        events.dropped_oldest,
        events.pruned,
        events.expired,
        events.evicted,
        events.tails.counts.delivered,
        events.tails.counts.missed_removed,
        events.tails.counts.missed_lagged,
        config.coalesced,
        config.dropped,
    ]
}

const GAUGES: [(&str, &str); 9] = [
    ("esf.config.version", "The configuration version in force."),
    ("esf.config.subscribers", "Subscriptions to configuration changes."),
    ("esf.events.tails", "Tails of the event store."),
    ("esf.events.async.waiting", "Events that wait to be stored by asynchronous appends."),
    ("esf.events.present", "Events in the store."),
    ("esf.events.segments", "Segments in memory."),
    ("esf.events.memory.bytes", "Memory for events, indexes apart."),
    ("esf.events.pinned.bytes", "Memory of dropped events that readers still hold."),
    ("esf.events.index.bytes", "Memory for indexes of events."),
];

fn readings(config: &ConfigStats, events: &EventStats) -> [f64; GAUGES.len()] {
    [
        config.version as f64,
        config.subscribers_count as f64,
        events.tails.tails as f64,
        events.later.waiting as f64,
        events.events as f64,
        events.segments as f64,
        events.memory_bytes as f64,
        events.pinned_bytes as f64,
        events.index_bytes as f64,
    ]
}

impl OwnMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self> {
        let counters = COUNTERS.iter().map(|(name, labels, help)| {
            telemetry.describe(name, help)?;
            telemetry.counter(name, labels)
        });
        let gauges = GAUGES.iter().map(|(name, help)| {
            telemetry.describe(name, help)?;
            telemetry.gauge(name, &[])
        });
        Ok(Self {
            told: Mutex::new([0; COUNTERS.len()]),
            counters: counters.collect::<Result<_>>()?,
            gauges: gauges.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn bring_up_to_date(&self, config: &ConfigStats, events: &EventStats) {
        // A holder that panicked has told at most too little, which the next reading makes up for.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for ((counter, told), now) in self.counters.iter().zip(told.iter_mut()).zip(counts(config, events)) {
            // Two readers may have fetched their readings in the other order.
            counter.add(now.saturating_sub(*told));
            *told = now.max(*told);
        }
        for (gauge, now) in self.gauges.iter().zip(readings(config, events)) {
            gauge.set(now);
        }
    }
}
