//! Which events a tail tells: a query's conditions, judged event by event.

use super::super::condition;
use super::super::cursor::{Filter, Watch};
use super::super::names::Names;
use super::super::plan::Access;
use super::super::query::{Order, Query};
use super::super::record::Record;
use crate::error::{Code, Error, Result};

pub(crate) struct Matcher {
    types: Vec<String>,
    node: Option<String>,
    filter: Filter,
    watch: Watch,
    /// A type or node of the query is not known to the store yet.
    unresolved: bool,
}

impl Matcher {
    /// Refuses what a tail cannot do: it tells all that match, in the order of storing.
    pub(crate) fn new(query: Query) -> Result<Self> {
        let refuse = |what: &str| {
            let message = format!("a tail's filter takes no {what}: a tail tells all that match, by seq");
            Err(Error::new(Code::InvalidInput, message).with("field", what))
        };
        if query.seq_range.is_some() {
            return refuse("seq_range");
        }
        if query.order != Order::default() || query.descending {
            return refuse("order");
        }
        if query.offset != 0 || query.limit.is_some() {
            return refuse("offset or limit");
        }
        if query.timeout.is_some() {
            return refuse("timeout");
        }
        condition::check_count(query.conditions.len())?;
        let filter = Filter {
            types: Vec::new(),
            correlation: query.correlation_id,
            seqs: (0, u64::MAX),
            times: query.time_range.unwrap_or((i64::MIN, i64::MAX)),
            ids: query.id_range.unwrap_or((0, u64::MAX)),
            parent: query.parent_id,
            node: None,
            pid: query.pid,
            conditions: query.conditions,
            order: Order::Seq,
            descending: false,
            access: Access::Scan,
            indexed: true,
        };
        let unresolved = !query.types.is_empty() || query.node.is_some();
        Ok(Self { types: query.types, node: query.node, filter, watch: Watch::new(None), unresolved })
    }

    /// Looks up the names that were not known yet. To be called after the events that will be judged were stored,
    /// so that their names are known.
    pub(crate) fn resolve(&mut self, names: &Names) {
        if self.unresolved {
            let known = self.types.iter().filter_map(|name| names.find(name));
            self.filter.types = known.filter(|id| *id != 0).collect();
            self.filter.node = self.node.as_deref().and_then(|name| names.find(name));
            self.unresolved = self.filter.types.len() < self.types.len()
                || self.node.is_some() != self.filter.node.is_some();
        }
    }

    /// Whether the tail tells this event.
    pub(crate) fn accepts(&mut self, record: Record<'_>) -> bool {
        // Without any of the names that it asks for, the filter would ask for nothing.
        let nothing = self.unresolved
            && ((self.filter.types.is_empty() && !self.types.is_empty())
                || (self.filter.node.is_none() && self.node.is_some()));
        !nothing && self.filter.wants(record, &mut self.watch)
    }

    /// How often a condition failed because what stands in the data cannot be compared.
    pub(crate) fn uncomparable(&self) -> u64 {
        self.watch.uncomparable()
    }
}
