//! The stores that are compared: ours and its peers, behind one trait, each doing the same work: an event is found by
//! id, correlation, type and time, in the order of time, and a batch is there as a whole or not at all.

#[cfg(feature = "peers")]
mod duckdb;
#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "peers")]
mod kv;
#[cfg(feature = "peers")]
mod lmdb;
mod naive;
mod ours;
#[cfg(feature = "peers")]
mod redb;
#[cfg(feature = "peers")]
mod rocksdb;
#[cfg(feature = "peers")]
mod sqlite;

use std::path::Path;

pub use naive::Naive;
pub use ours::Ours;

use crate::harness::Role;
use crate::workload::{Answer, Made};

/// A store of events. Calls come from any thread; a store that wants one writer at a time sees to it.
///
/// A failing call is a failed benchmark: it panics and says why.
pub trait Store: Sync {
    /// Stores one event.
    fn append(&self, event: &Made);

    /// Stores all of them, or none.
    fn append_batch(&self, events: &[Made]);

    /// The bytes of memory that the store says it takes for events and indexes, if it says so.
    fn own_bytes(&self) -> Option<u64> {
        None
    }

    /// The id of the event of this turn, which was stored in a batch.
    fn id_of(&self, turn: u64) -> u64 {
        turn + 1
    }

    /// The event of this id.
    fn by_id(&self, id: u64, answer: &mut Answer);

    /// The events of a correlation, oldest first.
    fn by_correlation(&self, id: &str, answer: &mut Answer);

    /// The newest events of a type, newest first.
    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer);

    /// How many events there are from the first to the last time, both included.
    fn count(&self, first: i64, last: i64) -> u64;

    /// The events from the first to the last time, oldest first.
    fn between(&self, first: i64, last: i64, answer: &mut Answer);

    /// The first events of a type from the first to the last time, oldest first.
    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer);
}

/// How safe an event is when its append has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a loss of power: one `fdatasync` or more before the append returns.
    Group,
    /// It survives the end of the process by SIGKILL, and no loss of power.
    CrashSafe,
}

impl Durability {
    /// The mode's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::CrashSafe => "crash_safe",
        }
    }
}

/// A store, or why it is not to be had.
pub type Opened = Result<Box<dyn Store>, String>;

/// A store as one of any kind, and what went wrong in words.
fn boxed<S: Store + 'static>(opened: Result<S, impl std::fmt::Display>) -> Opened {
    opened.map(|store| Box::new(store) as Box<dyn Store>).map_err(|error| error.to_string())
}

/// Makes or opens a store in a directory; the error says why it is not to be had.
pub type Open = fn(&Path, Durability) -> Opened;

/// A kind of store.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What it is called in the tables.
    pub name: &'static str,
    /// What it is to the others.
    pub role: Role,
    /// Makes an empty one in memory, if it has such a form.
    pub in_memory: Option<fn() -> Opened>,
    /// Makes or opens one on disk, if it has such a form.
    pub on_disk: Option<Open>,
}

/// Ours.
const OURS: Kind = Kind {
    name: "EventStore",
    role: Role::Ours,
    in_memory: Some(|| Ok(Box::new(Ours::in_memory()))),
    on_disk: Some(|path, durability| boxed(Ours::on_disk(path, durability))),
};

/// What a straightforward program has.
const NAIVE: Kind = Kind {
    name: "Mutex<Vec + HashMaps>",
    role: Role::Naive,
    in_memory: Some(|| Ok(Box::<Naive>::default())),
    on_disk: None,
};

/// All of them, ours first.
#[cfg(feature = "peers")]
pub fn kinds() -> Vec<Kind> {
    vec![OURS, NAIVE, sqlite::KIND, duckdb::KIND, lmdb::KIND, rocksdb::KIND, fjall::KIND, redb::KIND]
}

/// All of them, ours first.
#[cfg(not(feature = "peers"))]
pub fn kinds() -> Vec<Kind> {
    vec![OURS, NAIVE]
}
