//! Random histories of appends, batches, prunings and queries, against a `Vec` that does the same naively. Tiny
//! segments make many of them; some appends come from other threads, so that several shards are at work.

mod naive;
mod strategies;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Aggregate, EventStore, EventStoreOptions, NewEvent, OnDuplicate, Order, Overflow, Query, Trace,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, Clock, SimClock};
use proptest::prelude::*;

use naive::{Bounds, Kept, Model, data};
use strategies::{CORRELATIONS, NODES, PIDS, Spec, Step, TYPES, step};

/// Runs this here or on a thread that belongs to the next shard.
fn run<R: Send>(elsewhere: bool, work: impl FnOnce() -> R + Send) -> R {
    if elsewhere { std::thread::scope(|scope| scope.spawn(work).join().unwrap()) } else { work() }
}

fn new_event<'a>(spec: &Spec, data: &'a [u8]) -> NewEvent<'a> {
    NewEvent {
        event_type: TYPES[spec.kind].into(),
        event_id: spec.id,
        timestamp: spec.time,
        correlation_id: spec.correlation.map(|i| CORRELATIONS[i]),
        parent_id: spec.parent,
        node: NODES[spec.node],
        pid: PIDS[spec.pid],
        data,
        ..NewEvent::default()
    }
}

fn found(store: &EventStore, query: &Query) -> Vec<Kept> {
    let mut cursor = store.query(query).unwrap();
    let mut found = Vec::new();
    while let Some(event) = cursor.next() {
        found.push(Kept {
            seq: event.seq(),
            id: event.event_id(),
            kind: TYPES.iter().position(|kind| *kind == event.event_type()).unwrap(),
            time: event.timestamp(),
            version: event.config_version(),
            correlation: event.correlation_id().map(|id| CORRELATIONS.iter().position(|c| *c == id).unwrap()),
            parent: event.parent_id(),
            node: NODES.iter().position(|node| *node == event.node()).unwrap(),
            pid: PIDS.iter().position(|pid| *pid == event.pid()).unwrap(),
            data: event.data().to_vec(),
        });
    }
    assert!(cursor.next().is_none());
    found
}

fn append(model: &mut Model, store: &EventStore, spec: Spec, elsewhere: bool, (now, stamp): (i64, u64)) {
    let data = data(&spec);
    let answer = run(elsewhere, || store.append(&new_event(&spec, &data)));
    model.offered += 1;
    match answer {
        Ok(receipt) if model.answer(&spec).is_some() => {
            let stored = model.answer(&spec).unwrap();
            assert_eq!((receipt.level, receipt.event_id, receipt.seq), (1, stored.id, stored.seq));
            model.repeated += 1;
        }
        answer if !spec.id.is_some_and(|id| model.has(id)) && model.lacks_room(1) => {
            let receipts = answer.map(|receipt| [receipt]).map_err(|error| error.code());
            model.lose(1, receipts.as_ref().map(|r| &r[..]).map_err(|code| *code));
        }
        Ok(receipt) => {
            assert!(spec.id.is_none_or(|id| !model.has(id)), "a duplicate was taken: {spec:?}");
            model.accept(&[spec], &[receipt], now, stamp);
        }
        Err(error) => {
            assert_eq!(error.code(), Code::DuplicateEventId);
            assert!(model.has(spec.id.unwrap()), "{error}");
            model.refused += 1;
        }
    }
}

fn batch(
    model: &mut Model,
    store: &EventStore,
    specs: &[Spec],
    bad: Option<usize>,
    elsewhere: bool,
    (now, stamp): (i64, u64),
) {
    let data: Vec<Vec<u8>> = specs.iter().map(data).collect();
    let mut events: Vec<_> = specs.iter().zip(&data).map(|(s, d)| new_event(s, d)).collect();
    let bad = bad.filter(|index| *index < events.len());
    if let Some(index) = bad {
        events[index].parent_id = Some(0);
    }
    let ids: Vec<_> = specs.iter().map(|spec| spec.id).collect();
    let clash = |i: &usize| {
        let stored = |id| model.has(id) && model.answer(&specs[*i]).is_none();
        ids[*i].is_some_and(|id| stored(id) || ids[..*i].contains(&Some(id)))
    };
    let clashes: Vec<usize> = (0..ids.len()).filter(clash).collect();
    let new: Vec<usize> = (0..specs.len()).filter(|i| model.answer(&specs[*i]).is_none()).collect();
    let fine = bad.is_none() && clashes.is_empty();
    model.offered += events.len() as u64;
    match run(elsewhere, || store.append_batch(&events)) {
        answer if fine && model.lacks_room(new.len()) => {
            let answer = answer.map_err(|error| error.code());
            model.lose(events.len(), answer.as_deref().map_err(|code| *code));
        }
        Ok(receipts) => {
            assert!(fine, "a bad batch was taken");
            for (spec, receipt) in specs.iter().zip(&receipts) {
                if let Some(stored) = model.answer(spec) {
                    assert_eq!((receipt.event_id, receipt.seq), (stored.id, stored.seq));
                    model.repeated += 1;
                }
            }
            let (specs, receipts): (Vec<_>, Vec<_>) =
                new.iter().map(|i| (specs[*i].clone(), receipts[*i])).unzip();
            model.accept(&specs, &receipts, now, stamp);
        }
        Err(error) => {
            let index = error.context()["index"].as_u64().unwrap() as usize;
            if let Some(bad) = bad {
                assert_eq!((error.code(), index), (Code::InvalidInput, bad));
            } else {
                assert_eq!(error.code(), Code::DuplicateEventId);
                assert!(clashes.contains(&index), "{error} {clashes:?}");
            }
            model.refused += events.len() as u64;
        }
    }
}

/// The aggregates over what a query finds, which is this.
fn summarise(store: &EventStore, query: &Query, found: &[Kept]) {
    let text = r#"{"by_type":true,"bucket_ns":50,"top_correlations":2,"field":["size"]}"#;
    let all = Aggregate::from_json(text).unwrap();
    let summary = store.aggregate(query, &all).unwrap();
    let by_type = summary.by_type.iter().map(|one| (one.event_type.as_str(), one.count));
    assert!(by_type.eq(Model::by_type(found)), "{query:?}: {summary:?}");
    let buckets = summary.buckets.iter().map(|one| (one.from, one.count));
    assert!(buckets.eq(Model::buckets(found, 50)), "{query:?}: {summary:?}");
    let top = summary.top_correlations.iter().map(|one| (one.correlation_id.to_vec(), one.count));
    assert!(top.eq(Model::top(found, 2)), "{query:?}: {summary:?}");
    let (sizes, field) = (Model::sizes(found), summary.field.unwrap());
    assert_eq!((summary.count, field.count), (found.len() as u64, sizes.len() as u64), "{query:?}");
    assert_eq!(summary.correlations_error, 0);
    assert_eq!(field.count + field.missing + field.uncomparable, summary.count);
    let number = |size: Option<&u64>| size.map(|size| *size as f64);
    assert_eq!((field.min, field.max), (number(sizes.first()), number(sizes.last())));
    // Of few numbers they are exact: the smallest one that so many are not above.
    for (share, stated) in [(0.5, field.p50), (0.9, field.p90), (0.99, field.p99)] {
        let at = (sizes.len() as f64 * share).ceil().max(1.0) as usize - 1;
        assert_eq!(stated, number(sizes.get(at)), "{share} of {sizes:?}");
    }
    let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64;
    assert!(field.mean.map_or(sizes.is_empty(), |stated| (stated - mean).abs() < 1e-6), "{field:?}");
    let plain = store.aggregate(query, &Aggregate::default()).unwrap().count;
    assert_eq!(plain, found.len() as u64, "{query:?}");
}

/// A trace is the tree from its root, each event behind what caused it; or as much of it as was asked for.
fn follow(model: &Model, trace: &Trace, (root, closes): (&Kept, bool), limit: usize) {
    let tree = model.tree(root.id);
    let ids: Vec<u64> = trace.events.iter().map(|one| one.event.view().event_id()).collect();
    assert_eq!(trace.truncated, tree.len() > limit, "{} of {tree:?}", ids.len());
    assert_eq!(ids.len(), tree.len().min(limit));
    assert!(ids.iter().all(|id| tree.contains(id)), "{ids:?} of {tree:?}");
    assert_eq!((ids.first(), trace.events[0].depth), (Some(&root.id), 0));
    assert_eq!(trace.missing_parent, root.parent.filter(|_| !closes));
    assert!(!closes || !trace.cycles.is_empty(), "a cycle that is not told");
    assert!(closes || trace.cycles.is_empty(), "a tree has no cycles: {:?}", trace.cycles);
    for (at, one) in trace.events.iter().enumerate().skip(1) {
        let view = one.event.view();
        let before = &trace.events[..at];
        let cause = before.iter().find(|other| Some(other.event.view().event_id()) == view.parent_id());
        assert_eq!(cause.map(|cause| cause.depth + 1), Some(one.depth), "{ids:?}");
        assert!(!ids[..at].contains(&view.event_id()), "twice in {ids:?}");
    }
}

fn history(bounds: Bounds, max: usize, shards: usize, segment_events: u32, steps: Vec<Step>) {
    let options = EventStoreOptions {
        max_events: Some(max as u64),
        overflow: bounds.overflow,
        block_timeout: Duration::ZERO,
        on_duplicate: bounds.on_duplicate,
        shards: Some(shards),
        segment_events: Some(segment_events),
        segment_bytes: Some(1_024),
        ..EventStoreOptions::default()
    };
    let clock = Arc::new(SimClock::new(1_000));
    let version = Arc::new(AtomicU64::new(1));
    let store = EventStore::open(options, AnchoredClock::new(clock.clone(), 0), version.clone()).unwrap();
    let mut model = Model { max, bounds, ..Model::default() };
    for step in steps {
        let now = clock.wall_ns();
        let stamp = version.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        match step {
            Step::Append { spec, elsewhere } => append(&mut model, &store, spec, elsewhere, (now, stamp)),
            Step::Batch { specs, bad, elsewhere } => {
                batch(&mut model, &store, &specs, bad, elsewhere, (now, stamp));
            }
            Step::Prune(time) => assert_eq!(store.prune_before(time).unwrap(), model.prune(time)),
            Step::Seal => {
                store.seal_pending();
            }
            Step::Find(query) => {
                let expected = model.find(&query);
                assert_eq!(
                    found(&store, &query),
                    expected,
                    "{query:?} by {:?}",
                    store.explain(&query).unwrap()
                );
                let every = Query { without_indexes: true, ..query.clone() };
                assert_eq!(store.explain(&every).unwrap().index, "none");
                assert_eq!(found(&store, &every), expected, "{query:?} without indexes");
                let counted = store.query(&query).unwrap().count().unwrap();
                assert_eq!(counted, expected.len() as u64, "{query:?} counted");
                summarise(&store, &query, &expected);
            }
            Step::Get(id) => {
                let expected = model.present.iter().find(|event| event.id == id);
                let event = store.get(id).ok();
                let event = event.as_ref().map(|event| (event.view().seq(), event.view().data().to_vec()));
                assert_eq!(event, expected.map(|event| (event.seq, event.data.clone())));
            }
            Step::Trace(id, limit) => match (store.trace(id, limit), model.root(id)) {
                (Err(error), None) => assert_eq!(error.code(), Code::DataNotFound),
                (trace, expected) => follow(&model, &trace.unwrap(), expected.unwrap(), limit),
            },
            Step::Generate => assert!(!model.has(store.generate_id())),
            Step::Tick(ns) => clock.advance(ns),
        }
        let stats = store.stats();
        assert_eq!(stats.events, model.present.len() as u64);
        assert_eq!(
            (stats.stored, stats.dropped_oldest, stats.pruned, stats.refused),
            (model.stored, model.dropped, model.pruned, model.refused)
        );
        assert_eq!(
            (stats.refused_full, stats.dropped_newest, stats.repeated),
            (model.full, model.newest, model.repeated)
        );
        assert_eq!(stats.offered, model.offered, "nothing is lost uncounted");
        assert_eq!(model.offered, model.stored + model.refused + model.newest + model.repeated);
        assert_eq!((stats.frontier, stats.next_seq), (model.stored + 1, model.stored + 1));
        if let Some(first) = model.present.first() {
            assert!(stats.oldest_seq <= first.seq);
        }
    }
    for order in [Order::Timestamp, Order::Seq, Order::Id] {
        let all = Query { order, ..Query::default() };
        assert_eq!(found(&store, &all), model.find(&all));
    }
}

proptest! {
    #![proptest_config(crate::property::tried(2_000))]

    #[test]
    fn any_history_agrees_with_the_naive_model(
        overflow in prop_oneof![
            3 => Just(Overflow::DropOldest),
            1 => Just(Overflow::DropNewest),
            1 => Just(Overflow::Error),
            1 => Just(Overflow::Block),
        ],
        on_duplicate in prop_oneof![Just(OnDuplicate::Error), Just(OnDuplicate::Return)],
        max in prop_oneof![1_usize..40, Just(10_000)],
        shards in 1_usize..4,
        segment_events in 1_u32..9,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        history(Bounds { overflow, on_duplicate }, max, shards, segment_events, steps);
    }
}
