//! What can be asked for, and how a question becomes runs over segments.

use std::sync::Arc;

use super::cursor::{Cursor, Filter, Pending};
use super::segment::Index;
use super::shard::Shard;

/// What results are ordered by. Ties in time are broken by `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// By timestamp, then by `seq`.
    #[default]
    Timestamp,
    /// By position in the store.
    Seq,
}

/// What events to find. All conditions must hold; the default finds everything, oldest first.
///
/// ```
/// use elixirscope_foundation::events::{Order, Query};
/// let newest = Query { types: vec!["order_paid".into()], descending: true, limit: Some(100), ..Query::default() };
/// assert_eq!(newest.order, Order::Timestamp);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Event types, any of which will do; empty means every type.
    pub types: Vec<String>,
    /// Only events of this correlation id.
    pub correlation_id: Option<Vec<u8>>,
    /// Only events from the first to the last `seq`, both included.
    pub seq_range: Option<(u64, u64)>,
    /// Only events from the first to the last timestamp, both included.
    pub time_range: Option<(i64, i64)>,
    /// What results are ordered by.
    pub order: Order,
    /// Largest first: the exact reverse of the ascending order.
    pub descending: bool,
    /// How many of the results to pass over.
    pub offset: u64,
    /// How many results to give at most; `None` is all, 0 is none.
    pub limit: Option<u64>,
}

/// What a query sees: events with `low <= seq < next` that are published.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) low: u64,
    pub(crate) next: u64,
}

/// Opens a cursor over everything in the window that the query asks for. `types` are the ids of the query's
/// types that the store knows; `hash` is that of its correlation id.
pub(crate) fn plan(query: &Query, types: &[u32], hash: u64, window: Window, shards: &[Shard]) -> Cursor {
    let (mut from, mut to) = (window.low, window.next);
    if let Some((first, last)) = query.seq_range {
        (from, to) = (from.max(first), to.min(last.saturating_add(1)));
    }
    let times = query.time_range.unwrap_or((i64::MIN, i64::MAX));
    let mut pending = Vec::new();
    let nothing = from >= to || times.0 > times.1 || (types.is_empty() && !query.types.is_empty());
    for shard in shards.iter().filter(|_| !nothing) {
        for entry in shard.segments().iter() {
            let segment = &entry.segment;
            // The cheapest look first: most segments have nothing of a correlation.
            if query.correlation_id.is_some() && segment.chain(Index::Correlation, hash).next().is_none() {
                continue;
            }
            let Some(bounds) = entry.bounds() else { continue };
            let (first, last) = bounds.seqs;
            if last < from || first >= to || bounds.times.1 < times.0 || bounds.times.0 > times.1 {
                continue;
            }
            let low = if first >= from { 0 } else { segment.below_seq(bounds.count, from) };
            let high = if last < to { bounds.count } else { segment.below_seq(bounds.count, to) };
            if low < high {
                let edge = match (query.order, query.descending) {
                    (Order::Timestamp, false) => bounds.times.0,
                    (Order::Timestamp, true) => !bounds.times.1,
                    // Positions stay far below 2^63.
                    (Order::Seq, false) => first as i64,
                    (Order::Seq, true) => !(last as i64),
                };
                pending.push(Pending { edge, segment: Arc::clone(segment), low, high });
            }
        }
    }
    let filter = Filter {
        types: types.to_vec(),
        correlation: query.correlation_id.clone(),
        hash,
        times,
        order: query.order,
        descending: query.descending,
    };
    Cursor::new(filter, pending, query.offset, query.limit.unwrap_or(u64::MAX))
}
