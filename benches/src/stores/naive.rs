//! What a straightforward program has: a vector and hash maps under a mutex.
//!
//! It does less than the others: it relies on events coming in the order of their time (the vector and the lists of
//! the maps are searched by it), has no bound and nothing that removes an event.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::Store;
use crate::workload::{Answer, Found, Made, NODE, type_name};

/// An event with all its fields, as a program would declare it.
#[allow(dead_code, reason = "the fields that no answer shows are stored all the same, as in the others")]
struct Event {
    id: u64,
    timestamp: i64,
    wall_time: i64,
    parent_id: Option<u64>,
    config_version: u64,
    kind: &'static str,
    node: &'static str,
    pid: String,
    correlation_id: Option<String>,
    data: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    by_id: HashMap<u64, u32>,
    by_correlation: HashMap<String, Vec<u32>>,
    by_type: HashMap<&'static str, Vec<u32>>,
}

/// The store.
#[derive(Default)]
pub struct Naive(Mutex<Inner>);

impl Inner {
    fn append(&mut self, made: &Made) {
        let index = self.events.len() as u32;
        let event = Event {
            id: made.id.unwrap_or(u64::from(index) + 1),
            timestamp: made.timestamp,
            wall_time: made.timestamp,
            parent_id: None,
            config_version: 1,
            kind: made.event_type(),
            node: NODE,
            pid: made.pid.clone(),
            correlation_id: Some(made.correlation_id.clone()),
            data: made.data.as_bytes().to_vec(),
        };
        self.by_id.insert(event.id, index);
        match self.by_correlation.get_mut(&made.correlation_id) {
            Some(chain) => chain.push(index),
            None => {
                self.by_correlation.insert(made.correlation_id.clone(), vec![index]);
            }
        }
        self.by_type.entry(event.kind).or_default().push(index);
        self.events.push(event);
    }

    fn show(&self, index: u32, answer: &mut Answer) {
        let event = &self.events[index as usize];
        answer.add(Found {
            timestamp: event.timestamp,
            event_type: event.kind.as_bytes(),
            node: event.node.as_bytes(),
            pid: event.pid.as_bytes(),
            correlation_id: event.correlation_id.as_deref().unwrap_or_default().as_bytes(),
            data: &event.data,
        });
    }

    fn of_type(&self, type_number: u32) -> &[u32] {
        self.by_type.get(type_name(type_number)).map_or(&[], Vec::as_slice)
    }

    /// The places in the vector from the first to the last time.
    fn span(&self, first: i64, last: i64) -> std::ops::Range<usize> {
        let start = self.events.partition_point(|event| event.timestamp < first);
        let end = self.events.partition_point(|event| event.timestamp <= last);
        start..end
    }
}

impl Naive {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panicked")
    }
}

impl Store for Naive {
    fn append(&self, event: &Made) {
        self.inner().append(event);
    }

    fn append_batch(&self, events: &[Made]) {
        let mut inner = self.inner();
        for event in events {
            inner.append(event);
        }
    }

    fn by_id(&self, id: u64, answer: &mut Answer) {
        let inner = self.inner();
        if let Some(index) = inner.by_id.get(&id) {
            inner.show(*index, answer);
        }
    }

    fn by_correlation(&self, id: &str, answer: &mut Answer) {
        let inner = self.inner();
        for index in inner.by_correlation.get(id).into_iter().flatten() {
            inner.show(*index, answer);
        }
    }

    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer) {
        let inner = self.inner();
        for index in inner.of_type(type_number).iter().rev().take(limit) {
            inner.show(*index, answer);
        }
    }

    fn count(&self, first: i64, last: i64) -> u64 {
        self.inner().span(first, last).len() as u64
    }

    fn between(&self, first: i64, last: i64, answer: &mut Answer) {
        let inner = self.inner();
        for index in inner.span(first, last) {
            inner.show(index as u32, answer);
        }
    }

    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer) {
        let inner = self.inner();
        let places = inner.of_type(type_number);
        let start = places.partition_point(|index| inner.events[*index as usize].timestamp < first);
        for index in places[start..].iter().take(limit) {
            if inner.events[*index as usize].timestamp > last {
                break;
            }
            inner.show(*index, answer);
        }
    }
}
