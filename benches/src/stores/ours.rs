//! Ours.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use elixirscope_foundation::events::{EventStore, EventView, NewEvent, Query, Receipt};
use elixirscope_foundation::foundation::Foundation;
use elixirscope_foundation::options::Options;

use super::{Durability, Store};
use crate::workload::{Answer, Found, Made, type_name};

/// What a store with files may use of memory: as much as the system's cache gives the peers.
const MEMORY_MB: u64 = 2_048;

/// Our store.
pub struct Ours {
    /// There until this is dropped.
    instance: Option<Box<Foundation>>,
    /// The first turn of each batch with its id. An instance stores events of its own in between.
    ids: Mutex<Vec<(u64, u64)>>,
}

impl Ours {
    /// An instance with an empty store in memory: its worker seals full segments behind the appends.
    pub fn in_memory() -> Self {
        let options =
            Options::from_json(r#"{"event_store": {"max_events": 1099511627776}}"#).expect("options");
        let foundation = Foundation::open(&options).expect("an instance opens");
        Self { instance: Some(Box::new(foundation)), ids: Mutex::default() }
    }

    /// An instance with files; what the directory holds is there again.
    pub fn on_disk(path: &Path, durability: Durability) -> Result<Self, String> {
        let options = serde_json::json!({
            "event_store": {
                "max_events": 1_u64 << 40,
                "data_dir": path,
                "durability": durability.name(),
                "max_memory_mb": MEMORY_MB,
            }
        });
        let options = Options::from_json(&options.to_string()).map_err(|error| error.to_string())?;
        let foundation = Foundation::open(&options).map_err(|error| error.to_string())?;
        Ok(Self { instance: Some(Box::new(foundation)), ids: Mutex::default() })
    }

    /// The store itself.
    pub fn store(&self) -> &EventStore {
        self.instance.as_ref().expect("it is there until it is dropped").events()
    }

    fn find(&self, query: &Query, answer: &mut Answer) {
        let mut cursor = self.store().query(query).expect("a query");
        while let Some(event) = cursor.next() {
            show(event, answer);
        }
    }
}

impl Drop for Ours {
    /// A store that cannot end its work in time has lost it: the benchmark fails.
    fn drop(&mut self) {
        if let Some(foundation) = self.instance.take() {
            let report = foundation.close(Duration::from_mins(1));
            assert!(report.unfinished.is_empty(), "closing left {:?}", report.unfinished);
        }
    }
}

fn new_event(made: &Made) -> NewEvent<'_> {
    NewEvent { timestamp: Some(made.timestamp), wall_time: Some(made.timestamp), ..made.event() }
}

fn show(event: EventView<'_>, answer: &mut Answer) {
    answer.add(Found {
        timestamp: event.timestamp(),
        event_type: event.event_type().as_bytes(),
        node: event.node().as_bytes(),
        pid: event.pid().as_bytes(),
        correlation_id: event.correlation_id().unwrap_or_default(),
        data: event.data(),
    });
}

impl Store for Ours {
    fn own_bytes(&self) -> Option<u64> {
        let stats = self.store().stats();
        Some(stats.memory_bytes + stats.index_bytes)
    }

    fn append(&self, event: &Made) {
        self.store().append(&new_event(event)).expect("an append");
    }

    fn append_batch(&self, events: &[Made]) {
        let new: Vec<NewEvent<'_>> = events.iter().map(new_event).collect();
        let mut receipts = vec![Receipt::default(); new.len()];
        self.store().append_batch_into(&new, &mut receipts).expect("a batch");
        if let (Some(first), Some(receipt)) = (events.first(), receipts.first()) {
            self.ids.lock().expect("no holder panicked").push((first.turn, receipt.event_id));
        }
    }

    fn id_of(&self, turn: u64) -> u64 {
        let ids = self.ids.lock().expect("no holder panicked");
        let batch = ids.partition_point(|(first, _)| *first <= turn);
        let (first, id) = ids[batch.checked_sub(1).expect("the turn was stored in a batch")];
        id + (turn - first)
    }

    fn by_id(&self, id: u64, answer: &mut Answer) {
        if let Ok(event) = self.store().get(id) {
            show(event.view(), answer);
        }
    }

    fn by_correlation(&self, id: &str, answer: &mut Answer) {
        self.find(&Query { correlation_id: Some(id.as_bytes().to_vec()), ..Query::default() }, answer);
    }

    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer) {
        let query = Query {
            types: vec![type_name(type_number).to_owned()],
            descending: true,
            limit: Some(limit as u64),
            ..Query::default()
        };
        self.find(&query, answer);
    }

    fn count(&self, first: i64, last: i64) -> u64 {
        let query = Query { time_range: Some((first, last)), ..Query::default() };
        self.store().query(&query).and_then(elixirscope_foundation::events::Cursor::count).expect("a count")
    }

    fn between(&self, first: i64, last: i64, answer: &mut Answer) {
        self.find(&Query { time_range: Some((first, last)), ..Query::default() }, answer);
    }

    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer) {
        let query = Query {
            types: vec![type_name(type_number).to_owned()],
            time_range: Some((first, last)),
            limit: Some(limit as u64),
            ..Query::default()
        };
        self.find(&query, answer);
    }
}
