//! Queries over a store that was closed and opened again: its events are in files, and found by every index.

use std::path::Path;
use std::sync::Arc;

use elixirscope_foundation::events::{Durability, EventStore, NewEvent, Order, Query};
use elixirscope_foundation::storage::{SimStorage, Storage};

use super::{found, open, small};

const EVENTS: u64 = 1_000;

/// Times in no order, each once.
fn time(n: u64) -> i64 {
    (n * 7 % EVENTS) as i64
}

/// A store of some thousand events whose times are in no order, all of them in files.
fn reopened() -> EventStore {
    let storage: Arc<dyn Storage> = Arc::new(SimStorage::new(1));
    let store = open(&storage, Path::new("store"), small(Durability::Group));
    for n in 0..EVENTS {
        let (pid, correlation) = (format!("<0.{}.0>", n % 50), format!("c{}", n % 100));
        let event = NewEvent {
            event_type: if n % 4 == 0 { "rare" } else { "common" }.into(),
            timestamp: Some(time(n)),
            node: if n % 50 == 7 { "two@host" } else { "one@host" },
            pid: &pid,
            correlation_id: Some(correlation.as_bytes()),
            parent_id: Some(n / 3 + 1),
            data: b"{}",
            ..NewEvent::default()
        };
        store.append_with(&event, Some(elixirscope_foundation::events::Level::Accepted)).unwrap();
    }
    store.seal_files(true).unwrap();
    drop(store);
    let store = open(&storage, Path::new("store"), small(Durability::Group));
    assert_eq!(store.stats().events, EVENTS);
    store
}

fn loads(store: &EventStore) -> u64 {
    store.disk_stats().unwrap().loads
}

#[test]
fn what_is_in_files_is_found_by_every_index() {
    let store = reopened();
    let all = Query::default();
    let questions = [
        ("correlation", Query { correlation_id: Some(b"c7".to_vec()), ..all.clone() }),
        ("parent", Query { parent_id: Some(70), ..all.clone() }),
        ("id", Query { id_range: Some((500, 503)), ..all.clone() }),
        ("pid", Query { pid: Some("<0.9.0>".into()), ..all.clone() }),
        ("type", Query { types: vec!["rare".into()], ..all.clone() }),
        ("node", Query { node: Some("two@host".into()), ..all.clone() }),
        ("time", Query { time_range: Some((100, 119)), ..all.clone() }),
        ("seq", Query { seq_range: Some((100, 119)), ..all.clone() }),
        ("none", all),
    ];
    for (index, query) in questions {
        assert_eq!(store.explain(&query).unwrap().index, index, "{query:?}");
        for (order, descending) in
            [Order::Timestamp, Order::Seq, Order::Id].into_iter().zip([false, true, false])
        {
            for limit in [None, Some(7)] {
                let query = Query { order, descending, limit, ..query.clone() };
                let expected = found(&store, &Query { without_indexes: true, ..query.clone() });
                assert!(!expected.is_empty());
                assert_eq!(found(&store, &query), expected, "{query:?}");
                assert_eq!(store.query(&query).unwrap().count().unwrap(), expected.len() as u64, "{query:?}");
            }
        }
    }
}

#[test]
fn segments_that_lie_wholly_in_a_range_are_counted_without_being_read() {
    let store = reopened();
    let count = |query: Query| store.query(&query).unwrap().count().unwrap();
    assert_eq!(count(Query::default()), EVENTS);
    assert_eq!(count(Query { time_range: Some((0, EVENTS as i64)), ..Query::default() }), EVENTS);
    assert_eq!(loads(&store), 0);
    // The segments at both ends are read; all times are spread over all of the others.
    assert_eq!(count(Query { seq_range: Some((20, 900)), ..Query::default() }), 881);
    assert_eq!(loads(&store), 2);
    assert_eq!(count(Query { offset: 10, limit: Some(5), ..Query::default() }), 5);
    assert_eq!(count(Query { offset: EVENTS - 2, limit: Some(5), ..Query::default() }), 2);

    // What is pruned is not counted, also where a range of times needs a look at each event.
    assert_eq!(store.prune_before(300).unwrap(), 300);
    assert_eq!(count(Query::default()), EVENTS - 300);
    assert_eq!(count(Query { time_range: Some((250, 349)), ..Query::default() }), 50);
    assert_eq!(
        count(Query { time_range: Some((250, 349)), seq_range: Some((1, 500)), ..Query::default() }),
        { (0..500).filter(|n| (300..350).contains(&time(*n))).count() as u64 }
    );
}
