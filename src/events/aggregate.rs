//! Aggregates: what a query finds, counted instead of shown. Each event is looked at once and nothing is kept of it;
//! what is kept is bounded.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::{self, Figure, Step, WrittenPath};
use super::etf::text_or_bytes;
use super::query::{Order, Query};
use super::sketch::Sketch;
use super::store::EventStore;
use crate::error::{Code, Error, Result};

/// The most correlations that can be asked for.
pub const MAX_TOP: usize = 1_000;
/// The most buckets of time that an answer may have.
pub const MAX_BUCKETS: usize = 100_000;
/// Correlations that are counted at once; beyond it counts are lower bounds.
const TRACKED: usize = 65_536;

/// What to count besides the events. The default is nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aggregate {
    /// How many there are of each type.
    pub by_type: bool,
    /// How many there are in each span of time of this many nanoseconds; spans begin at multiples of it.
    pub bucket_ns: Option<i64>,
    /// Which correlation ids have the most events, at most so many of them.
    pub top_correlations: usize,
    /// The distribution of the numbers at this path of the data.
    pub field: Option<Vec<Step>>,
}

/// What an aggregate comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Events found.
    pub count: u64,
    /// Types, the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_type: Vec<TypeCount>,
    /// Spans of time that have events, the earliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Bucket>,
    /// Correlations, those with the most events first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_correlations: Vec<CorrelationCount>,
    /// By how much a correlation may have more events than stated, or, if it is missing, than 0. It is 0 as long as
    /// the events found have at most 65,536 correlation ids.
    pub correlations_error: u64,
    /// The numbers at the path asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldSummary>,
    /// How often a condition could not be compared with what stood in the data.
    pub uncomparable: u64,
}

/// How many events are of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeCount {
    /// The type.
    pub event_type: String,
    /// How many.
    pub count: u64,
}

/// How many events lie in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The first timestamp of the span.
    pub from: i64,
    /// How many.
    pub count: u64,
}

/// How many events have a correlation id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorrelationCount {
    /// The correlation id.
    #[serde(serialize_with = "readable")]
    pub correlation_id: Box<[u8]>,
    /// How many.
    pub count: u64,
}

/// The distribution of a field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FieldSummary {
    /// Events with a number there.
    pub count: u64,
    /// Events with nothing there.
    pub missing: u64,
    /// Events with something else there, or with data that cannot be read.
    pub uncomparable: u64,
    /// The smallest number; like all below `None` if there is no number.
    pub min: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The largest number.
    pub max: Option<f64>,
    /// Half of the numbers are not above it. Of up to 8,192 numbers it is exact; of more it is off by at most 0.8 %.
    pub p50: Option<f64>,
    /// Nine in ten are not above it.
    pub p90: Option<f64>,
    /// Ninety-nine in a hundred are not above it.
    pub p99: Option<f64>,
}

fn readable<S: serde::Serializer>(id: &[u8], out: S) -> std::result::Result<S::Ok, S::Error> {
    text_or_bytes(id).serialize(out)
}

/// An aggregate as it stands in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Written {
    by_type: bool,
    bucket_ns: Option<i64>,
    top_correlations: usize,
    field: Option<WrittenPath>,
}

impl Aggregate {
    /// An aggregate from JSON: `{"by_type": true, "bucket_ns": …, "top_correlations": …, "field": […]}`, all of it
    /// optional.
    pub fn from_json(text: &str) -> Result<Self> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| wrong(&format!("it cannot be read: {error}")))?;
        Ok(Self {
            by_type: written.by_type,
            bucket_ns: written.bucket_ns,
            top_correlations: written.top_correlations,
            field: written.field.map(WrittenPath::into_steps),
        })
    }

    fn check(&self) -> Result<()> {
        if self.bucket_ns.is_some_and(|ns| ns <= 0) {
            return Err(wrong("bucket_ns must be above 0"));
        }
        if self.top_correlations > MAX_TOP {
            return Err(wrong(&format!("top_correlations must be at most {MAX_TOP}")).with("limit", MAX_TOP));
        }
        self.field.as_deref().map_or(Ok(()), condition::check_path)
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Code::InvalidInput, format!("the aggregate: {what}")).with("argument", "aggregate")
}

impl EventStore {
    /// Counts what a query finds. Its offset and limit hold as well; without them its order does not matter.
    ///
    /// Errors: those of the query; `invalid_input` for an aggregate that makes no sense; `resource_exhausted` if
    /// there are more than [`MAX_BUCKETS`] spans of time.
    pub fn aggregate(&self, query: &Query, aggregate: &Aggregate) -> Result<Summary> {
        aggregate.check()?;
        let whole = query.offset == 0 && query.limit.is_none();
        let unordered = Query { order: Order::Seq, descending: false, ..query.clone() };
        let mut cursor = self.query(if whole { &unordered } else { query })?;
        let mut count = 0;
        let mut types: HashMap<u32, u64> = HashMap::new();
        let mut buckets: BTreeMap<i64, u64> = BTreeMap::new();
        let mut correlations = Top::default();
        let mut field = Field::default();
        if *aggregate == Aggregate::default() {
            count = cursor.count_rest()?;
        }
        while let Some(event) = cursor.try_next()? {
            count += 1;
            if aggregate.by_type {
                *types.entry(event.record.type_id()).or_default() += 1;
            }
            if let Some(ns) = aggregate.bucket_ns {
                let time = event.timestamp();
                // The first span may begin before all timestamps.
                *buckets.entry(time.saturating_sub(time.rem_euclid(ns))).or_default() += 1;
                if buckets.len() > MAX_BUCKETS {
                    let message =
                        format!("there are more than {MAX_BUCKETS} spans of {ns} ns: ask for longer ones");
                    return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_BUCKETS));
                }
            }
            if let Some(id) = event.correlation_id().filter(|_| aggregate.top_correlations > 0) {
                correlations.add(id);
            }
            if let Some(path) = &aggregate.field {
                field.add(&condition::figure(event.encoding(), event.data(), path));
            }
        }
        let names = &self.shared.names;
        let mut by_type: Vec<TypeCount> = types
            .into_iter()
            .map(|(id, count)| TypeCount { event_type: names.name(id).to_owned(), count })
            .collect();
        by_type.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.event_type.cmp(&b.event_type)));
        Ok(Summary {
            count,
            by_type,
            buckets: buckets.into_iter().map(|(from, count)| Bucket { from, count }).collect(),
            correlations_error: correlations.error,
            top_correlations: correlations.into_counts(aggregate.top_correlations),
            field: aggregate.field.is_some().then(|| field.into_summary()),
            uncomparable: cursor.uncomparable(),
        })
    }
}

impl Summary {
    /// The summary as JSON.
    pub fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::new(Code::SerializationFailed, format!("the summary: {error}")))
    }
}

/// The most frequent correlations, by Misra and Gries: when there are too many, one is taken off every count.
#[derive(Default)]
struct Top {
    counts: HashMap<Box<[u8]>, u64>,
    error: u64,
}

impl Top {
    fn add(&mut self, id: &[u8]) {
        if let Some(count) = self.counts.get_mut(id) {
            *count += 1;
        } else if self.counts.len() < TRACKED {
            self.counts.insert(id.into(), 1);
        } else {
            // This one's first event is taken off as well.
            self.error += 1;
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    fn into_counts(self, top: usize) -> Vec<CorrelationCount> {
        let counts = self.counts.into_iter();
        let mut counts: Vec<_> =
            counts.map(|(correlation_id, count)| CorrelationCount { correlation_id, count }).collect();
        counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.correlation_id.cmp(&b.correlation_id)));
        counts.truncate(top);
        counts
    }
}

#[derive(Default)]
struct Field {
    numbers: Sketch,
    missing: u64,
    uncomparable: u64,
}

impl Field {
    fn add(&mut self, figure: &Figure) {
        match figure {
            Figure::Number(value) => self.numbers.add(*value),
            Figure::Missing => self.missing += 1,
            Figure::Uncomparable => self.uncomparable += 1,
        }
    }

    fn into_summary(mut self) -> FieldSummary {
        let numbers = &mut self.numbers;
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| numbers.quantile(q));
        FieldSummary {
            count: numbers.count(),
            missing: self.missing,
            uncomparable: self.uncomparable,
            min: numbers.min(),
            mean: numbers.mean(),
            max: numbers.max(),
            p50,
            p90,
            p99,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use serde_json::json;

    use super::super::tests::store;
    use super::super::{Condition, EventStoreOptions, NewEvent};
    use super::*;

    #[test]
    fn everything_is_counted_in_one_pass() {
        let store = store(EventStoreOptions { segment_events: Some(16), ..EventStoreOptions::default() });
        for n in 0..100_u64 {
            let data = match n {
                0..90 => format!(r#"{{"n":{}}}"#, n + 1),
                90..95 => "{}".to_owned(),
                _ => r#"{"n":"x"}"#.to_owned(),
            };
            let correlation = format!("c{}", n % 7);
            let event = NewEvent {
                event_type: if n % 4 == 0 { "rare" } else { "common" }.into(),
                timestamp: Some(n as i64 * 10 - 500),
                correlation_id: Some(correlation.as_bytes()).filter(|_| n < 90),
                data: data.as_bytes(),
                ..NewEvent::default()
            };
            store.append(&event).unwrap();
        }
        let all =
            Aggregate::from_json(r#"{"by_type":true,"bucket_ns":300,"top_correlations":2,"field":"n"}"#);
        let summary = store.aggregate(&Query::default(), &all.unwrap()).unwrap();
        let expected = json!({
            "count": 100,
            "by_type": [{"event_type": "common", "count": 75}, {"event_type": "rare", "count": 25}],
            "buckets": [{"from": -600, "count": 20}, {"from": -300, "count": 30}, {"from": 0, "count": 30},
                        {"from": 300, "count": 20}],
            "top_correlations": [{"correlation_id": "c0", "count": 13}, {"correlation_id": "c1", "count": 13}],
            "correlations_error": 0,
            "field": {"count": 90, "missing": 5, "uncomparable": 5, "min": 1.0, "mean": 45.5, "max": 90.0,
                      "p50": 45.0, "p90": 81.0, "p99": 90.0},
            "uncomparable": 0,
        });
        assert_eq!(summary.to_json().unwrap(), expected);
        let conditions = Condition::list_from_json(r#"[{"path":"n","op":">","value":10}]"#).unwrap();
        let some = Query { conditions, ..Query::default() };
        let summary = store.aggregate(&some, &Aggregate::default()).unwrap();
        assert_eq!(
            summary.to_json().unwrap(),
            json!({"count": 80, "correlations_error": 0, "uncomparable": 5})
        );
        let paged = Query { descending: true, limit: Some(8), ..some };
        let field = Aggregate { field: Some(vec![Step::Key("n".into())]), ..Aggregate::default() };
        let field = store.aggregate(&paged, &field).unwrap().field.unwrap();
        assert_eq!((field.count, field.min, field.max), (8, Some(83.0), Some(90.0)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let store = store(EventStoreOptions::default());
        for text in
            ["", r#"{"bucket_ns":0}"#, r#"{"top_correlations":1001}"#, r#"{"field":[]}"#, r#"{"other":1}"#]
        {
            let aggregate = Aggregate::from_json(text);
            let error = aggregate.and_then(|one| store.aggregate(&Query::default(), &one)).unwrap_err();
            assert_eq!(error.code(), Code::InvalidInput, "{text}");
        }
    }

    #[test]
    fn counts_of_too_many_correlations_are_bounded_and_say_by_how_much_they_are_off() {
        let mut top = Top::default();
        for n in 0..200_000_u32 {
            top.add(&n.to_le_bytes());
            if n % 4 == 0 {
                top.add(b"frequent");
            }
        }
        assert!(top.counts.len() <= TRACKED && top.error > 0);
        let error = top.error;
        let first = &top.into_counts(1)[0];
        assert_eq!(&*first.correlation_id, b"frequent");
        assert!(first.count <= 50_000 && first.count + error >= 50_000);
    }
}
