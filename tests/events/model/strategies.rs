//! What may happen to a store, at random.

use elixirscope_foundation::events::{Condition, ID_LIMIT, MAX_TRACE, Order, Query};
use proptest::prelude::*;

pub const TYPES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
pub const NODES: [&str; 3] = ["", "one@host", "two@host"];
pub const PIDS: [&str; 3] = ["", "<0.1.0>", "<0.2.0>"];
pub const CORRELATIONS: [&[u8]; 4] = [b"", b"one", b"two", b"\xff\x00three"];

#[derive(Debug, Clone)]
pub struct Spec {
    pub kind: usize,
    pub id: Option<u64>,
    pub time: Option<i64>,
    pub correlation: Option<usize>,
    pub parent: Option<u64>,
    pub node: usize,
    pub pid: usize,
    pub size: usize,
}

#[derive(Debug, Clone)]
pub enum Step {
    Append {
        spec: Spec,
        elsewhere: bool,
    },
    Batch {
        specs: Vec<Spec>,
        bad: Option<usize>,
        elsewhere: bool,
    },
    Prune(i64),
    Seal,
    Find(Query),
    Get(u64),
    /// From this event on, showing so many at most.
    Trace(u64, usize),
    Generate,
    Tick(i64),
}

/// The one condition that queries of this test have: a size above this.
pub fn size_above(size: usize) -> Condition {
    let text = format!(r#"[{{"path":["size"],"op":">","value":{size}}}]"#);
    Condition::list_from_json(&text).unwrap().remove(0)
}

pub fn spec() -> impl Strategy<Value = Spec> {
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

pub fn query() -> impl Strategy<Value = Query> {
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

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (spec(), any::<bool>()).prop_map(|(spec, elsewhere)| Step::Append { spec, elsewhere }),
        3 => (prop::collection::vec(spec(), 0..12), prop::option::weighted(0.2, 0_usize..12), any::<bool>())
            .prop_map(|(specs, bad, elsewhere)| Step::Batch { specs, bad, elsewhere }),
        1 => (900_i64..1_400).prop_map(Step::Prune),
        2 => Just(Step::Seal),
        6 => query().prop_map(Step::Find),
        2 => (1_u64..90).prop_map(Step::Get),
        2 => (1_u64..90, prop_oneof![1 => 1_usize..6, 2 => Just(MAX_TRACE)])
            .prop_map(|(id, limit)| Step::Trace(id, limit)),
        1 => Just(Step::Generate),
        2 => (0_i64..40).prop_map(Step::Tick),
    ]
}
