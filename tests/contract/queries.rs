//! The scenarios of `queries.jsonl`, asked of the Rust store: in memory, with files, and opened again. The C and the Elixir binding are asked the same and must
//! give the same answers (`tests/c/scenario.py`, `bindings/elixir/test/elixir_scope/foundation/contract_test.exs`).
//!
//! A line says one thing: `store` begins an empty one, `append` stores an event (its data is JSON, or a term in
//! hexadecimal under `etf`), and `query`, `count`, `aggregate` and `trace` ask and say what the answer is. An
//! integer beyond what JSON readers keep stands in conditions as `{"big": "…"}`. The parent, node or process `null` is
//! none; one that is not named is any. What a tail can ask as well is told by one, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use elixirscope_foundation::error::{Error, Result};
use elixirscope_foundation::events::{
    Aggregate, Condition, DiskOptions, Durability, Encoding, EventStore, EventStoreOptions, NewEvent, Order,
    Query, Recovered, TailItem, TailOptions,
};
use elixirscope_foundation::runtime::clock::{AnchoredClock, SimClock};
use elixirscope_foundation::storage::{SimStorage, Storage};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SCENARIOS: &str = include_str!("queries.jsonl");

/// Where the events of a scenario are when it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Memory,
    /// In memory and in files.
    Files,
    /// In files only: the store was closed and opened again.
    Reopened,
    /// As after a crash: opened again without having been closed.
    Recovered,
}

/// Segments so small that every scenario has several.
fn open(place: Place, storage: &Arc<dyn Storage>) -> Arc<EventStore> {
    Arc::new(opened(place, storage))
}

fn opened(place: Place, storage: &Arc<dyn Storage>) -> EventStore {
    let options =
        EventStoreOptions { segment_events: Some(2), shards: Some(1), ..EventStoreOptions::default() };
    let clock = || AnchoredClock::new(Arc::new(SimClock::new(1_000)), 0);
    if place == Place::Memory {
        return EventStore::open(options, clock(), Arc::default()).unwrap();
    }
    let disk = DiskOptions {
        durability: Durability::CrashSafe,
        log_bytes: 8 << 10,
        segment_events: 2,
        ..DiskOptions::default()
    };
    let read = Recovered::read(Arc::clone(storage), Path::new("store"), disk, "test", &mut |_| ()).unwrap();
    EventStore::open_recovered(options, clock(), Arc::default(), read).unwrap()
}

fn disk() -> Arc<dyn Storage> {
    Arc::new(SimStorage::new(1))
}

fn append(store: &EventStore, line: &str) {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        append: &'a RawValue,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let text = serde_json::from_str::<Line<'_>>(line).unwrap().append.get();
    let event: Value = serde_json::from_str(text).unwrap();
    let etf = event["etf"].as_str().map(|hex| {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect::<Vec<u8>>()
    });
    let data = serde_json::from_str::<Data<'_>>(text).unwrap().data.map_or("", RawValue::get);
    let correlation = event["correlation_id"].as_str();
    store
        .append(&NewEvent {
            event_type: event["event_type"].as_str().unwrap().into(),
            event_id: event["event_id"].as_u64(),
            timestamp: event["timestamp"].as_i64(),
            wall_time: None,
            node: event["node"].as_str().unwrap_or_default(),
            pid: event["pid"].as_str().unwrap_or_default(),
            correlation_id: correlation.map(str::as_bytes),
            parent_id: event["parent_id"].as_u64(),
            encoding: if etf.is_some() { Encoding::Etf } else { Encoding::Json },
            data: etf.as_deref().unwrap_or(data.as_bytes()),
        })
        .unwrap();
}

fn query(asked: &Value) -> Result<Query> {
    let known = [
        "types",
        "correlation_id",
        "parent_id",
        "node",
        "pid",
        "time_range",
        "id_range",
        "seq_range",
        "data",
        "order",
        "descending",
        "offset",
        "limit",
    ];
    assert!(asked.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{asked}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |name: &str| asked.get(name).map(|range| (range[0].clone(), range[1].clone()));
    let ids = |(first, last): (Value, Value)| (first.as_u64().unwrap(), last.as_u64().unwrap());
    let mut conditions = asked.get("data").unwrap_or(&json!([])).to_string();
    while let Some((before, rest)) = conditions.clone().split_once(r#"{"big":""#) {
        let (big, after) = rest.split_once(r#""}"#).unwrap();
        conditions = format!("{before}{big}{after}");
    }
    Ok(Query {
        types: asked["types"].as_array().map_or_else(Vec::new, |types| types.iter().map(text).collect()),
        correlation_id: asked.get("correlation_id").map(|id| text(id).into_bytes()),
        seq_range: pair("seq_range").map(ids),
        time_range: pair("time_range").map(|(first, last)| (first.as_i64().unwrap(), last.as_i64().unwrap())),
        id_range: pair("id_range").map(ids),
        parent_id: asked.get("parent_id").map(|id| id.as_u64().unwrap_or(0)),
        node: asked.get("node").map(text),
        pid: asked.get("pid").map(text),
        conditions: Condition::list_from_json(&conditions)?,
        order: match asked["order"].as_str() {
            None | Some("timestamp") => Order::Timestamp,
            Some("seq") => Order::Seq,
            Some("id") => Order::Id,
            Some(other) => panic!("the order {other}"),
        },
        descending: asked["descending"] == true,
        offset: asked["offset"].as_u64().unwrap_or(0),
        limit: asked["limit"].as_u64(),
        timeout: Some(Duration::from_mins(10)),
        without_indexes: false,
    })
}

/// Whether a tail can ask that: it tells all, by position.
fn can_be_told(asked: &Value) -> bool {
    let never = ["seq_range", "order", "descending", "offset", "limit"];
    asked.as_object().is_some_and(|asked| never.iter().all(|key| !asked.contains_key(*key)))
}

/// What the store answers, in the words of the line.
fn answer(store: &Arc<EventStore>, line: &Value) -> Result<Value> {
    if let Some(asked) = line.get("aggregate") {
        let aggregate = Aggregate::from_json(&asked.to_string())?;
        return Ok(json!({"result": store.aggregate(&query(&line["query"])?, &aggregate)?.to_json()?}));
    }
    if let Some(asked) = line.get("query") {
        let asked = query(asked)?;
        let ids = |query: &Query| -> Result<Vec<u64>> {
            let (mut cursor, mut ids) = (store.query(query)?, Vec::new());
            while let Some(event) = cursor.try_next()? {
                ids.push(event.event_id());
            }
            Ok(ids)
        };
        let found = ids(&asked)?;
        let mut cursor = store.query(&asked)?;
        let first: Vec<u64> = cursor.next_batch(2)?.map(|event| event.event_id()).collect();
        let rest: Vec<u64> = cursor.next_batch(usize::MAX)?.map(|event| event.event_id()).collect();
        assert_eq!(found, [first, rest].concat(), "{line}");
        assert_eq!(found, ids(&Query { without_indexes: true, ..asked.clone() })?, "{line}");
        if can_be_told(&line["query"]) {
            let tail = store.tail(TailOptions {
                filter: Query { timeout: None, ..asked },
                from_seq: Some(1),
                ..TailOptions::default()
            })?;
            let mut told = Vec::new();
            while let Some(item) = tail.try_next()? {
                let TailItem::Event(event) = item else { panic!("{line}: {item:?}") };
                told.push(event.view().event_id());
            }
            let mut sorted = found.clone();
            sorted.sort_unstable();
            told.sort_unstable();
            assert_eq!(told, sorted, "{line}");
        }
        return Ok(json!({"ids": found}));
    }
    if let Some(asked) = line.get("count") {
        return Ok(json!({"result": store.query(&query(asked)?)?.count()?}));
    }
    let trace = store.trace(line["trace"].as_u64().unwrap(), line["limit"].as_u64().unwrap() as usize)?;
    let events = trace.events.iter().map(|one| json!([one.event.view().event_id(), one.depth]));
    Ok(json!({
        "events": events.collect::<Vec<_>>(),
        "missing_parent": trace.missing_parent,
        "cycles": trace.cycles,
        "truncated": trace.truncated,
    }))
}

#[test]
fn the_rust_store_answers_as_written_wherever_the_events_are() {
    for place in [Place::Memory, Place::Files, Place::Reopened, Place::Recovered] {
        let mut storage = disk();
        let mut store = open(place, &storage);
        let (mut asked, mut fresh) = (0, true);
        for (number, text) in SCENARIOS.lines().enumerate() {
            let line: Value = serde_json::from_str(text).unwrap();
            if line.get("store").is_some() {
                storage = disk();
                store = open(place, &storage);
                fresh = true;
                continue;
            }
            if line.get("append").is_some() {
                append(&store, text);
                continue;
            }
            if std::mem::take(&mut fresh) && matches!(place, Place::Reopened | Place::Recovered) {
                if place == Place::Reopened {
                    assert!(store.close_files().is_empty());
                }
                drop(store);
                store = open(place, &storage);
            }
            let found =
                answer(&store, &line).unwrap_or_else(|error: Error| json!({"error": error.error_type()}));
            for (key, value) in found.as_object().unwrap() {
                assert_eq!(line.get(key), Some(value), "{place:?}, line {}: {text}", number + 1);
            }
            asked += 1;
        }
        assert!(asked > 100);
    }
}
