//! How large an answer may be, without making it: for hosts that do small work at once and hand large work over.

use super::filter::Kind;
use super::segment::Index;
use super::store::EventStore;

impl EventStore {
    /// Whether there may be more than `limit` events of this correlation id.
    ///
    /// It stops looking there, so its cost is bounded by the limit. It may say yes too early, since events of
    /// other ids that share a place in the index count too, and does where files have to be read; it never says no too
    /// late.
    pub fn correlation_exceeds(&self, correlation_id: &[u8], limit: usize) -> bool {
        if self.reads_files() {
            return true;
        }
        let hash = self.shared.hash.bytes(correlation_id);
        let filters = &self.shared.filters;
        let mut left = limit;
        for shard in &self.shards {
            for entry in shard.segments().iter() {
                let column = entry.marks.and_then(|marks| marks.column);
                if column.is_some_and(|column| !filters.may_hold(column, Kind::Correlation, hash)) {
                    continue;
                }
                let segment = &*entry.segment;
                let Some(hits) = segment.hits(Index::Correlation, hash) else { continue };
                let seen = hits.newest_first(segment).take(left.saturating_add(1)).count();
                match left.checked_sub(seen) {
                    Some(rest) => left = rest,
                    None => return true,
                }
            }
        }
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::events::{EventStoreOptions, NewEvent};
    use crate::runtime::clock::{AnchoredClock, SimClock};

    #[test]
    fn a_correlation_is_counted_over_segments_and_shards_up_to_the_limit() {
        let clock = AnchoredClock::new(Arc::new(SimClock::new(1)), 0);
        let options = EventStoreOptions { segment_events: Some(4), shards: Some(2), ..Default::default() };
        let store = EventStore::open(options, clock, Arc::default()).unwrap();
        for id in [&b"long"[..], b"short"] {
            for _ in 0..if id == b"long" { 50 } else { 3 } {
                store
                    .append(&NewEvent {
                        event_type: "e".into(),
                        correlation_id: Some(id),
                        ..NewEvent::default()
                    })
                    .unwrap();
            }
        }
        assert!(store.correlation_exceeds(b"long", 49));
        assert!(store.correlation_exceeds(b"long", 0));
        assert!(!store.correlation_exceeds(b"long", 1_000));
        assert!(store.correlation_exceeds(b"short", 2));
        assert!(!store.correlation_exceeds(b"none", 1_000));
    }
}
