//! What queries promise besides their results: the index that `explain` names, and the timeout.

use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Aggregate, Condition, EventStore, EventStoreOptions, NewEvent, Order, Query,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};

/// Two thousand events in sixteen segments: of one type but for every hundredth, in twenty correlations, half of
/// them caused by one of the first ten, with timestamps from 0 on in steps of 10.
fn store() -> EventStore {
    let options =
        EventStoreOptions { segment_events: Some(128), shards: Some(1), ..EventStoreOptions::default() };
    let store =
        EventStore::open(options, AnchoredClock::new(Arc::new(SimClock::new(0)), 0), Arc::default()).unwrap();
    for n in 0..2_000_u64 {
        let correlation = format!("c{}", n % 20);
        let event = NewEvent {
            event_type: if n % 100 == 0 { "rare" } else { "common" }.into(),
            event_id: Some(n + 1),
            timestamp: Some(n as i64 * 10),
            correlation_id: Some(correlation.as_bytes()),
            parent_id: Some(n % 10 + 1).filter(|_| n >= 1_000),
            data: br#"{"n":1}"#,
            ..NewEvent::default()
        };
        store.append(&event).unwrap();
    }
    store
}

#[test]
fn each_index_is_used_where_it_finds_the_fewest() {
    let store = store();
    let all = Query::default();
    let by_correlation = Query { correlation_id: Some(b"c3".to_vec()), ..all.clone() };
    let cases = [
        ("none", all.clone()),
        ("none", Query { pid: Some("p".into()), ..all.clone() }),
        ("correlation", by_correlation.clone()),
        ("parent", Query { parent_id: Some(3), ..all.clone() }),
        ("id", Query { id_range: Some((77, 79)), ..all.clone() }),
        ("id", Query { id_range: Some((1_204, 1_204)), ..by_correlation.clone() }),
        ("type", Query { types: vec!["rare".into()], ..all.clone() }),
        ("type", Query { types: vec!["rare".into()], ..by_correlation.clone() }),
        ("none", Query { types: vec!["common".into()], ..all.clone() }),
        ("correlation", Query { types: vec!["common".into()], ..by_correlation.clone() }),
        ("seq", Query { seq_range: Some((500, 599)), ..all.clone() }),
        ("time", Query { time_range: Some((5_000, 5_990)), ..all.clone() }),
        ("time", Query { time_range: Some((5_000, 5_990)), seq_range: Some((100, 1_900)), ..all.clone() }),
        ("seq", Query { time_range: Some((100, 19_000)), seq_range: Some((600, 610)), ..all.clone() }),
        ("seq", Query { seq_range: Some((604, 604)), ..by_correlation.clone() }),
        ("correlation", Query { seq_range: Some((1, 1_000)), ..by_correlation.clone() }),
        // The newest ten of nearly all are at the end; the newest ten of few are not.
        ("none", Query { types: vec!["common".into()], descending: true, limit: Some(10), ..all.clone() }),
        ("type", Query { types: vec!["rare".into()], descending: true, limit: Some(10), ..all.clone() }),
        // An index is left as soon as there are enough, too.
        ("parent", Query { parent_id: Some(3), descending: true, limit: Some(5), ..all.clone() }),
    ];
    for (index, query) in cases {
        let plan = store.explain(&query).unwrap();
        assert_eq!(plan.index, index, "{query:?} {plan:?}");
        assert!(!plan.reason.is_empty());
        assert_eq!(plan.events, 2_000);
        for order in [Order::Timestamp, Order::Seq, Order::Id] {
            let query = Query { order, ..query.clone() };
            let every = Query { without_indexes: true, ..query.clone() };
            let seqs = |query: &Query| {
                let mut cursor = store.query(query).unwrap();
                let mut seqs = Vec::new();
                while let Some(event) = cursor.try_next().unwrap() {
                    seqs.push(event.seq());
                }
                seqs
            };
            assert_eq!(seqs(&query), seqs(&every), "{query:?}");
        }
    }
    let plan = store.explain(&Query { id_range: Some((77, 79)), ..all }).unwrap();
    assert_eq!((plan.segments, plan.segments_passed_over), (1, 15), "{plan:?}");
    // Other ids may share the chains of these.
    assert!((3..20).contains(&plan.candidates), "{plan:?}");
}

#[test]
fn a_query_out_of_time_says_so_and_never_ends_early_in_silence() {
    let store = store();
    let late = Query { timeout: Some(Duration::ZERO), ..Query::default() };
    let sorted = Query { order: Order::Id, ..late.clone() };
    for query in [late.clone(), sorted, Query { offset: 5, ..late.clone() }] {
        let mut cursor = store.query(&query).unwrap();
        assert!(cursor.next().is_none());
        for _ in 0..2 {
            assert_eq!(cursor.try_next().unwrap_err().code(), Code::Timeout);
        }
        assert_eq!(cursor.try_next_ref().unwrap_err().code(), Code::Timeout);
        assert_eq!(cursor.count().unwrap_err().code(), Code::Timeout);
    }
    assert_eq!(store.aggregate(&late, &Aggregate::default()).unwrap_err().code(), Code::Timeout);
    assert_eq!(store.write_jsonl(&late, &mut Vec::new()).unwrap_err().code(), Code::Timeout);
    let soon_enough = Query { timeout: Some(Duration::from_hours(1)), ..Query::default() };
    assert_eq!(store.query(&soon_enough).unwrap().count().unwrap(), 2_000);
}

#[test]
fn what_conditions_could_not_compare_is_counted() {
    let store = store();
    let conditions = Condition::list_from_json(r#"[{"path":"n","op":"!=","value":"text"}]"#).unwrap();
    let query = Query { conditions, limit: Some(3), ..Query::default() };
    let mut cursor = store.query(&query).unwrap();
    assert!(cursor.try_next().unwrap().is_none());
    assert_eq!(cursor.uncomparable(), 2_000);
    let one = query.conditions[0].clone();
    let many = Query { conditions: vec![one; 65], ..Query::default() };
    assert_eq!(store.query(&many).unwrap_err().code(), Code::InvalidInput);
}

#[test]
fn batches_give_what_single_steps_give() {
    for (order, descending) in
        [(Order::Timestamp, false), (Order::Timestamp, true), (Order::Seq, false), (Order::Id, true)]
    {
        for most in [1, 7, 128, 1_000, usize::MAX] {
            let store = store();
            let query = Query { order, descending, offset: 3, limit: Some(1_500), ..Query::default() };
            let mut singles = store.query(&query).unwrap();
            let mut expected = Vec::new();
            while let Some(event) = singles.try_next().unwrap() {
                expected.push((event.seq(), event.correlation_id().unwrap().to_vec()));
            }
            let (mut cursor, mut found) = (store.query(&query).unwrap(), Vec::new());
            loop {
                let batch: Vec<_> = cursor.next_batch(most).unwrap().collect();
                if batch.is_empty() {
                    break;
                }
                assert!(batch.len() == most.min(1_500 - found.len()));
                found.extend(
                    batch.iter().map(|event| (event.seq(), event.correlation_id().unwrap().to_vec())),
                );
            }
            assert_eq!(found, expected, "{order:?} {descending} {most}");
            assert_eq!(cursor.next_batch(most).unwrap().count(), 0);
        }
    }
    let late = Query { timeout: Some(Duration::ZERO), ..Query::default() };
    let mut late = store().query(&late).unwrap();
    assert_eq!(late.next_batch(5).map(Iterator::count).unwrap_err().code(), Code::Timeout);
}
