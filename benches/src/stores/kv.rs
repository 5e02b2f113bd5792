//! What the ordered key-value stores have in common: how an event becomes a record and three index keys.
//!
//! The record is as large as ours; type and node are numbers, whose names somebody else keeps. An index key carries
//! time and id, so that a range of an index comes in the order of time, and has no value.

use super::Store;
use crate::workload::{Answer, FIXED, Found, Made, NODE, type_name};

/// One of the four ordered maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Id to record.
    Events,
    /// Type, time and id.
    Types,
    /// Correlation, time and id.
    Chains,
    /// Time and id.
    Times,
}

impl Space {
    /// Their names, in the order of their numbers.
    pub const NAMES: [&str; 4] = ["events", "types", "chains", "times"];
}

/// Takes a pair that is to be written.
pub type Put<'a> = dyn FnMut(Space, &[u8], &[u8]) + 'a;

/// A view of the maps.
pub trait Reader {
    /// Shows the value of a key.
    fn get(&self, space: Space, key: &[u8], show: &mut dyn FnMut(&[u8]));

    /// Shows the keys from the first to the last, both included, backwards if so asked, until `show` says false.
    fn scan(
        &self,
        space: Space,
        first: &[u8],
        last: &[u8],
        backwards: bool,
        show: &mut dyn FnMut(&[u8]) -> bool,
    );
}

/// A store of four ordered maps with atomic batches.
pub trait Engine: Sync {
    /// Writes all pairs that `fill` hands out, or none.
    fn write(&self, fill: &mut dyn FnMut(&mut Put<'_>));

    /// Reads in one view.
    fn read(&self, work: &mut dyn FnMut(&dyn Reader));
}

fn put_event(made: &Made, record: &mut Vec<u8>, put: &mut Put<'_>) {
    let id = made.id_or_turn().to_be_bytes();
    let time = (made.timestamp as u64).to_be_bytes();
    record.clear();
    record.extend_from_slice(&made.timestamp.to_le_bytes());
    record.extend_from_slice(&made.timestamp.to_le_bytes()); // wall time
    record.extend_from_slice(&0_u64.to_le_bytes()); // parent
    record.extend_from_slice(&1_u64.to_le_bytes()); // version of the configuration
    record.extend_from_slice(&made.type_number.to_le_bytes());
    record.extend_from_slice(&1_u32.to_le_bytes()); // node
    record.push(made.correlation_id.len() as u8);
    record.push(made.pid.len() as u8);
    record.resize(FIXED, 0);
    record.extend_from_slice(made.correlation_id.as_bytes());
    record.extend_from_slice(made.pid.as_bytes());
    record.extend_from_slice(made.data.as_bytes());
    put(Space::Events, &id, record);

    let mut key = Vec::with_capacity(64);
    key.extend_from_slice(&made.type_number.to_be_bytes());
    key.extend_from_slice(&time);
    key.extend_from_slice(&id);
    put(Space::Types, &key, &[]);
    put(Space::Times, &key[4..], &[]);
    chain_prefix(&made.correlation_id, &mut key);
    key.extend_from_slice(&time);
    key.extend_from_slice(&id);
    put(Space::Chains, &key, &[]);
}

fn chain_prefix(id: &str, key: &mut Vec<u8>) {
    key.clear();
    key.push(id.len() as u8);
    key.extend_from_slice(id.as_bytes());
}

fn show(record: &[u8], answer: &mut Answer) {
    let timestamp = i64::from_le_bytes(record[..8].try_into().expect("eight bytes"));
    let type_number = u32::from_le_bytes(record[32..36].try_into().expect("four bytes"));
    let (chain, pid) = (usize::from(record[40]), usize::from(record[41]));
    let (correlation_id, rest) = record[FIXED..].split_at(chain);
    let (pid, data) = rest.split_at(pid);
    answer.add(Found {
        timestamp,
        event_type: type_name(type_number).as_bytes(),
        node: NODE.as_bytes(),
        pid,
        correlation_id,
        data,
    });
}

/// From the prefix with the first time to the prefix with the last, whatever the id.
fn range(prefix: &[u8], first: i64, last: i64) -> (Vec<u8>, Vec<u8>) {
    let end = |time: i64, id: u64| {
        [prefix, (time as u64).to_be_bytes().as_slice(), id.to_be_bytes().as_slice()].concat()
    };
    (end(first, 0), end(last, u64::MAX))
}

/// Shows the events of an index from the first to the last key, at most `limit`.
fn follow(
    reader: &dyn Reader,
    space: Space,
    (first, last): &(Vec<u8>, Vec<u8>),
    backwards: bool,
    limit: usize,
    answer: &mut Answer,
) {
    let mut left = limit;
    if left == 0 {
        return;
    }
    reader.scan(space, first, last, backwards, &mut |key| {
        let id = &key[key.len() - 8..];
        reader.get(Space::Events, id, &mut |record| show(record, answer));
        left -= 1;
        left > 0
    });
}

impl<E: Engine> Store for E {
    fn append(&self, event: &Made) {
        let mut record = Vec::with_capacity(512);
        self.write(&mut |put| put_event(event, &mut record, put));
    }

    fn append_batch(&self, events: &[Made]) {
        let mut record = Vec::with_capacity(512);
        self.write(&mut |put| events.iter().for_each(|event| put_event(event, &mut record, put)));
    }

    fn by_id(&self, id: u64, answer: &mut Answer) {
        self.read(&mut |reader| {
            reader.get(Space::Events, &id.to_be_bytes(), &mut |record| show(record, answer));
        });
    }

    fn by_correlation(&self, id: &str, answer: &mut Answer) {
        let mut prefix = Vec::with_capacity(64);
        chain_prefix(id, &mut prefix);
        let range = range(&prefix, 0, i64::MAX);
        self.read(&mut |reader| follow(reader, Space::Chains, &range, false, usize::MAX, answer));
    }

    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer) {
        let range = range(&type_number.to_be_bytes(), 0, i64::MAX);
        self.read(&mut |reader| follow(reader, Space::Types, &range, true, limit, answer));
    }

    fn count(&self, first: i64, last: i64) -> u64 {
        let (first, last) = range(&[], first, last);
        let mut count = 0;
        self.read(&mut |reader| {
            reader.scan(Space::Times, &first, &last, false, &mut |_| {
                count += 1;
                true
            });
        });
        count
    }

    fn between(&self, first: i64, last: i64, answer: &mut Answer) {
        let range = range(&[], first, last);
        self.read(&mut |reader| follow(reader, Space::Times, &range, false, usize::MAX, answer));
    }

    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer) {
        let range = range(&type_number.to_be_bytes(), first, last);
        self.read(&mut |reader| follow(reader, Space::Types, &range, false, limit, answer));
    }
}
