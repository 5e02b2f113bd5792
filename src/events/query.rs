//! What can be asked for. How it is found is the business of `plan` and `cursor`.

use std::time::Duration;

use super::condition::Condition;

/// What results are ordered by. Ties in time are broken by `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// By timestamp, then by `seq`.
    #[default]
    Timestamp,
    /// By position in the store.
    Seq,
    /// By event id.
    Id,
}

/// What events to find. All conditions must hold; the default finds everything, oldest first.
///
/// ```
/// use elixirscope_foundation::events::{Order, Query};
/// let newest = Query { types: vec!["order_paid".into()], descending: true, limit: Some(100), ..Query::default() };
/// assert_eq!(newest.order, Order::Timestamp);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Event types, any of which will do; empty means every type.
    pub types: Vec<String>,
    /// Only events of this correlation id.
    pub correlation_id: Option<Vec<u8>>,
    /// Only events from the first to the last `seq`, both included.
    pub seq_range: Option<(u64, u64)>,
    /// Only events from the first to the last timestamp, both included.
    pub time_range: Option<(i64, i64)>,
    /// Only events with the first to the last id, both included.
    pub id_range: Option<(u64, u64)>,
    /// Only events that this one caused; 0 is those without a parent.
    pub parent_id: Option<u64>,
    /// Only events of this node; empty is those without one.
    pub node: Option<String>,
    /// Only events of this process or thread; empty is those without one.
    pub pid: Option<String>,
    /// What must hold of the data, all of it; at most [`super::MAX_CONDITIONS`].
    pub conditions: Vec<Condition>,
    /// What results are ordered by.
    pub order: Order,
    /// Largest first: the exact reverse of the ascending order.
    pub descending: bool,
    /// How many of the results to pass over.
    pub offset: u64,
    /// How many results to give at most; `None` is all, 0 is none.
    pub limit: Option<u64>,
    /// How long finding may take, from when the query is asked; later the answer is `timeout`.
    pub timeout: Option<Duration>,
    /// Looks at every event instead of at an index. The results are the same: this is for tests and for doubt.
    pub without_indexes: bool,
}

impl Query {
    /// The newest events by timestamp, at most so many, newest first.
    pub fn newest(count: u64) -> Self {
        Self { descending: true, limit: Some(count), ..Self::default() }
    }

    /// All events of a correlation id, by time.
    pub fn correlation(id: impl Into<Vec<u8>>) -> Self {
        Self { correlation_id: Some(id.into()), ..Self::default() }
    }
}
