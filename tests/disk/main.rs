//! The store with files: what was acknowledged is there again.

#![allow(
    clippy::disallowed_methods,
    clippy::float_cmp,
    reason = "tests clean up; values come back as they were"
)]

mod basics;
mod faults;
mod finding;
mod instance;
mod tails;

use std::path::Path;
use std::sync::Arc;

use elixirscope_foundation::events::{
    DiskOptions, Durability, Encoding, EventStore, EventStoreOptions, NewEvent, Query, Recovered,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use elixirscope_foundation::storage::Storage;

/// Small files, so that a few events make many.
fn small(durability: Durability) -> DiskOptions {
    DiskOptions { durability, log_bytes: 8 << 10, segment_events: 16, ..DiskOptions::default() }
}

/// Of some thousand events most have left memory.
fn short_of_memory() -> EventStoreOptions {
    EventStoreOptions {
        max_memory_bytes: Some(256 << 10),
        max_data_bytes: 4 << 10,
        shards: Some(1),
        segment_events: Some(16),
        segment_bytes: Some(4 << 10),
        ..EventStoreOptions::default()
    }
}

fn open(storage: &Arc<dyn Storage>, directory: &Path, disk: DiskOptions) -> EventStore {
    open_with(storage, directory, disk, EventStoreOptions::default())
}

fn open_with(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    disk: DiskOptions,
    options: EventStoreOptions,
) -> EventStore {
    let read = Recovered::read(Arc::clone(storage), directory, disk, "test", &mut |_| ()).unwrap();
    let clock = AnchoredClock::new(Arc::new(SimClock::new(1_000_000)), read.newest_time().saturating_add(1));
    EventStore::open_recovered(options, clock, Arc::default(), read).unwrap()
}

fn event(data: &[u8]) -> NewEvent<'_> {
    let encoding = Encoding::Raw;
    NewEvent { event_type: "tick".into(), correlation_id: Some(b"c"), encoding, data, ..NewEvent::default() }
}

/// `seq` and data of everything that a query finds.
fn found(store: &EventStore, query: &Query) -> Vec<(u64, Vec<u8>)> {
    let mut cursor = store.query(query).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.try_next().unwrap() {
        found.push((event.seq(), event.data().to_vec()));
    }
    found
}

fn all(store: &EventStore) -> Vec<(u64, Vec<u8>)> {
    found(store, &Query { order: elixirscope_foundation::events::Order::Seq, ..Query::default() })
}
