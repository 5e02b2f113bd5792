//! Random histories of appends, batches, prunings and queries, against a `Vec` that does the same naively. Tiny
//! segments make many of them; some appends come from other threads, so that several shards are at work.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use elixirscope_foundation::error::Code;
use elixirscope_foundation::events::{
    Aggregate, Condition, DROPPED, EventStore, EventStoreOptions, ID_LIMIT, NewEvent, OnDuplicate, Order,
    Overflow, Query, Receipt,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, Clock, SimClock};
use proptest::prelude::*;

const TYPES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const NODES: [&str; 3] = ["", "one@host", "two@host"];
const PIDS: [&str; 3] = ["", "<0.1.0>", "<0.2.0>"];
const CORRELATIONS: [&[u8]; 4] = [b"", b"one", b"two", b"\xff\x00three"];

#[derive(Debug, Clone)]
struct Spec {
    kind: usize,
    id: Option<u64>,
    time: Option<i64>,
    correlation: Option<usize>,
    parent: Option<u64>,
    node: usize,
    pid: usize,
    size: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Append { spec: Spec, elsewhere: bool },
    Batch { specs: Vec<Spec>, bad: Option<usize>, elsewhere: bool },
    Prune(i64),
    Seal,
    Find(Query),
    Get(u64),
    Generate,
    Tick(i64),
}

/// What the model keeps of an event.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    seq: u64,
    id: u64,
    kind: usize,
    time: i64,
    version: u64,
    correlation: Option<usize>,
    parent: Option<u64>,
    node: usize,
    pid: usize,
    data: Vec<u8>,
}

#[derive(Default)]
struct Model {
    present: Vec<Kept>,
    stored: u64,
    dropped: u64,
    pruned: u64,
    refused: u64,
    /// Of these, for want of room.
    full: u64,
    newest: u64,
    repeated: u64,
    offered: u64,
    max: usize,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    overflow: Overflow,
    on_duplicate: OnDuplicate,
}

impl Model {
    fn has(&self, id: u64) -> bool {
        self.present.iter().any(|event| event.id == id)
    }

    /// The stored event that answers this one, where such events are answered.
    fn answer(&self, spec: &Spec) -> Option<&Kept> {
        let stored = self.present.iter().find(|event| Some(event.id) == spec.id)?;
        let same = stored.kind == spec.kind
            && spec.time.is_none_or(|time| time == stored.time)
            && stored.correlation == spec.correlation
            && (stored.parent, stored.node, stored.pid) == (spec.parent, spec.node, spec.pid)
            && stored.data == data(spec);
        (same && self.bounds.on_duplicate == OnDuplicate::Return).then_some(stored)
    }

    /// Whether the store, which drops nothing by itself, has no room for so many more.
    fn lacks_room(&self, events: usize) -> bool {
        self.bounds.overflow != Overflow::DropOldest && events > 0 && self.present.len() + events > self.max
    }

    /// Counts events for which there was no room; they are answered like this.
    fn lose(&mut self, events: usize, answer: Result<&[Receipt], Code>) {
        if self.bounds.overflow == Overflow::DropNewest {
            assert!(answer.unwrap().iter().all(|receipt| receipt.level == DROPPED && receipt.seq == 0));
            self.newest += events as u64;
        } else {
            assert_eq!(answer.unwrap_err(), Code::StoreFull);
            self.refused += events as u64;
            self.full += events as u64;
        }
    }

    fn accept(&mut self, specs: &[Spec], receipts: &[Receipt], now: i64, version: u64) {
        for (spec, receipt) in specs.iter().zip(receipts) {
            self.stored += 1;
            assert_eq!(receipt.seq, self.stored, "sequence numbers are dense");
            assert_eq!(receipt.level, 1);
            match spec.id {
                Some(id) => assert_eq!(receipt.event_id, id),
                None => assert!(!self.has(receipt.event_id), "id {} drawn twice", receipt.event_id),
            }
            self.present.push(Kept {
                seq: receipt.seq,
                id: receipt.event_id,
                kind: spec.kind,
                time: spec.time.unwrap_or(now),
                version,
                correlation: spec.correlation,
                parent: spec.parent,
                node: spec.node,
                pid: spec.pid,
                data: data(spec),
            });
        }
        while self.bounds.overflow == Overflow::DropOldest && self.present.len() > self.max {
            self.present.remove(0);
            self.dropped += 1;
        }
    }

    fn prune(&mut self, time: i64) -> u64 {
        let before = self.present.len();
        self.present.retain(|event| event.time >= time);
        let removed = (before - self.present.len()) as u64;
        self.pruned += removed;
        removed
    }

    fn find(&self, query: &Query) -> Vec<Kept> {
        let mut found: Vec<Kept> = self.present.clone();
        found.retain(|event| {
            let kind = TYPES[event.kind];
            (query.types.is_empty() || query.types.iter().any(|wanted| wanted == kind))
                && query.correlation_id.as_deref().is_none_or(|wanted| {
                    event.correlation.map(|correlation| CORRELATIONS[correlation]) == Some(wanted)
                })
                && query.seq_range.is_none_or(|(from, to)| event.seq >= from && event.seq <= to)
                && query.time_range.is_none_or(|(from, to)| event.time >= from && event.time <= to)
                && query.id_range.is_none_or(|(from, to)| event.id >= from && event.id <= to)
                && query.parent_id.is_none_or(|wanted| event.parent.unwrap_or(0) == wanted)
                && query.node.as_deref().is_none_or(|wanted| NODES[event.node] == wanted)
                && query.pid.as_deref().is_none_or(|wanted| PIDS[event.pid] == wanted)
                && satisfies(&query.conditions, event)
        });
        match query.order {
            Order::Timestamp => found.sort_by_key(|event| (event.time, event.seq)),
            Order::Seq => found.sort_by_key(|event| event.seq),
            Order::Id => found.sort_by_key(|event| event.id),
        }
        if query.descending {
            found.reverse();
        }
        let limit = query.limit.unwrap_or(u64::MAX).min(usize::MAX as u64) as usize;
        found.into_iter().skip(query.offset as usize).take(limit).collect()
    }
}

/// `{"size":…,"kind":"…","pad":"…"}`, or nothing that can be read for the smallest sizes.
fn data(spec: &Spec) -> Vec<u8> {
    if spec.size < 4 {
        return vec![b'x'; spec.size];
    }
    let pad: String = (0..spec.size).map(|i| char::from(b'0' + ((i + spec.kind) % 10) as u8)).collect();
    format!(r#"{{"size":{},"kind":"{}","pad":"{pad}"}}"#, spec.size, TYPES[spec.kind]).into_bytes()
}

/// The one condition that queries of this test have: a size above this.
fn size_above(size: usize) -> Condition {
    let text = format!(r#"[{{"path":["size"],"op":">","value":{size}}}]"#);
    Condition::list_from_json(&text).unwrap().remove(0)
}

/// What the model makes of the conditions.
fn satisfies(conditions: &[Condition], event: &Kept) -> bool {
    let size = serde_json::from_slice::<serde_json::Value>(&event.data).ok();
    let size = size.and_then(|data| data["size"].as_u64());
    conditions.is_empty()
        || (0..60)
            .any(|above| conditions[0] == size_above(above) && size.is_some_and(|size| size > above as u64))
}

fn spec() -> impl Strategy<Value = Spec> {
    let id = prop_oneof![
        6 => Just(None),
        4 => (1_u64..80).prop_map(Some),
        1 => (ID_LIMIT - 4..ID_LIMIT).prop_map(Some),
    ];
    let time =
        prop_oneof![4 => Just(None), 2 => (900_i64..1_400).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    let correlation = prop_oneof![1 => Just(None), 2 => (0..CORRELATIONS.len()).prop_map(Some)];
    let parent = prop_oneof![2 => Just(None), 3 => (1_u64..9).prop_map(Some)];
    let size = prop_oneof![6 => 0_usize..60, 1 => 800_usize..2_500];
    let producer = (0..NODES.len(), 0..PIDS.len());
    (0..TYPES.len(), id, time, correlation, parent, producer, size).prop_map(
        |(kind, id, time, correlation, parent, (node, pid), size)| match id {
            // Some ids always mean the same event, so that events are sent again.
            Some(id) if id % 2 == 0 => Spec {
                kind: id as usize % TYPES.len(),
                id: Some(id),
                time: None,
                correlation: None,
                parent: Some(id % 7).filter(|parent| *parent > 0),
                node: id as usize % NODES.len(),
                pid: id as usize % PIDS.len(),
                size: 3,
            },
            _ => Spec { kind, id, time, correlation, parent, node, pid, size },
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let kind =
        prop_oneof![5 => (0..TYPES.len()).prop_map(|i| TYPES[i].to_owned()), 1 => Just("none".to_owned())];
    let types = prop_oneof![
        3 => Just(Vec::new()),
        3 => kind.clone().prop_map(|one| vec![one]),
        1 => prop::collection::vec(kind, 2..4),
    ];
    let correlation = prop_oneof![
        3 => Just(None),
        2 => (0..CORRELATIONS.len()).prop_map(|i| Some(CORRELATIONS[i].to_vec())),
    ];
    let times = prop_oneof![
        3 => Just(None),
        3 => (900_i64..1_400, 0_i64..200).prop_map(|(from, more)| Some((from, from + more))),
        1 => any::<(i64, i64)>().prop_map(Some),
    ];
    let seqs = prop_oneof![
        3 => Just(None),
        2 => (0_u64..60, 0_u64..60).prop_map(|(from, more)| Some((from, from + more))),
        1 => any::<(u64, u64)>().prop_map(Some),
    ];
    let ids = prop_oneof![
        6 => Just(None),
        1 => (1_u64..80, 0_u64..40).prop_map(|(from, more)| Some((from, from + more))),
        1 => any::<(u64, u64)>().prop_map(Some),
    ];
    let parent = prop_oneof![3 => Just(None), 1 => (0_u64..9).prop_map(Some)];
    let node = prop_oneof![6 => Just(None), 1 => prop::sample::select(&["", "one@host", "unknown"][..]).prop_map(Some)];
    let pid = prop_oneof![6 => Just(None), 1 => prop::sample::select(&["", "<0.1.0>", "unknown"][..]).prop_map(Some)];
    let conditions =
        prop_oneof![5 => Just(vec![]), 1 => (0_usize..60).prop_map(|size| vec![size_above(size)])];
    let content = (ids, parent, node, pid, conditions);
    let order = prop_oneof![Just(Order::Timestamp), Just(Order::Seq), Just(Order::Id)];
    let offset = prop_oneof![3 => Just(0_u64), 2 => 0_u64..12];
    let limit = prop_oneof![2 => Just(None), 2 => (0_u64..15).prop_map(Some)];
    (types, correlation, seqs, times, content, order, any::<bool>(), (offset, limit)).prop_map(
        |(types, correlation_id, seq_range, time_range, content, order, descending, (offset, limit))| Query {
            id_range: content.0,
            parent_id: content.1,
            node: content.2.map(str::to_owned),
            pid: content.3.map(str::to_owned),
            conditions: content.4,
            timeout: None,
            without_indexes: false,
            types,
            correlation_id,
            seq_range,
            time_range,
            order,
            descending,
            offset,
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (spec(), any::<bool>()).prop_map(|(spec, elsewhere)| Step::Append { spec, elsewhere }),
        3 => (prop::collection::vec(spec(), 0..12), prop::option::weighted(0.2, 0_usize..12), any::<bool>())
            .prop_map(|(specs, bad, elsewhere)| Step::Batch { specs, bad, elsewhere }),
        1 => (900_i64..1_400).prop_map(Step::Prune),
        2 => Just(Step::Seal),
        6 => query().prop_map(Step::Find),
        2 => (1_u64..90).prop_map(Step::Get),
        1 => Just(Step::Generate),
        2 => (0_i64..40).prop_map(Step::Tick),
    ]
}

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
                let counted = store.aggregate(&query, &Aggregate::default()).unwrap().count;
                assert_eq!(counted, expected.len() as u64, "{query:?} counted");
            }
            Step::Get(id) => {
                let expected = model.present.iter().find(|event| event.id == id);
                let event = store.get(id).ok();
                let event = event.as_ref().map(|event| (event.view().seq(), event.view().data().to_vec()));
                assert_eq!(event, expected.map(|event| (event.seq, event.data.clone())));
            }
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
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

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
