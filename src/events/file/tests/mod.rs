//! Tests of the formats, and what they share.

mod docs;
mod every_bit;
mod log;
mod log_damage;
mod manifest;
mod second_reader;
mod segment;
mod speed;
mod store;

use std::path::Path;

use super::columns::Block;
use super::frame::{Kind, Salt};
use super::layout::FileName;
use super::log_read::{Damage, LogReport};
use super::manifest::Manifest;
use super::*;
use crate::error::Result;
use crate::events::Encoding;
use crate::events::record::{AT_CONFIG_VERSION, AT_EVENT_ID, AT_FLAGS, AT_SEQ, Draft, FLAG_FIRST, FLAG_LAST};
use crate::storage::{SimStorage, Storage, read_all, write_atomically_with};

/// The store of all tests.
pub(super) const STORE: [u8; 16] = *b"sixteen bytes id";

/// What numbers stand for in the tests.
pub(super) fn name(number: u32) -> &'static str {
    ["", "order_paid", "order_sent", "node@host", "größe", "e"][number as usize % 6]
}

/// An event as a test thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "the format's names")]
pub(super) struct Event {
    pub(super) seq: u64,
    pub(super) event_id: u64,
    pub(super) timestamp: i64,
    pub(super) wall_time: i64,
    pub(super) parent_id: u64,
    pub(super) config_version: u64,
    pub(super) event_type: u32,
    pub(super) node: u32,
    pub(super) encoding: Encoding,
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) pid: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Event {
    /// A plain event that differs from its neighbours everywhere.
    pub(super) fn plain(seq: u64) -> Self {
        Self {
            seq,
            event_id: 1_000 + seq,
            timestamp: 1_700_000_000_000_000_000 + seq as i64 * 1_000,
            wall_time: 1_700_000_000_000_000_500 + seq as i64 * 1_001,
            parent_id: if seq.is_multiple_of(3) { 1_000 + seq / 2 } else { 0 },
            config_version: 1 + seq / 10,
            event_type: 1 + (seq % 2) as u32,
            node: if seq.is_multiple_of(5) { 4 } else { 3 },
            encoding: [Encoding::Json, Encoding::Etf, Encoding::Raw][seq as usize % 3],
            correlation: (!seq.is_multiple_of(4)).then(|| format!("request-{}", seq / 7).into_bytes()),
            pid: format!("<0.{}.0>", seq % 9).into_bytes(),
            data: format!("{{\"order\":{seq},\"state\":\"paid\"}}").into_bytes(),
        }
    }

    /// The record as in memory.
    pub(super) fn record(&self) -> Vec<u8> {
        let draft = Draft {
            timestamp: self.timestamp,
            wall_time: self.wall_time,
            parent_id: self.parent_id,
            type_id: self.event_type,
            node_id: self.node,
            flags: 0,
            encoding: self.encoding,
            correlation: self.correlation.as_deref(),
            pid: &self.pid,
            data: &self.data,
        };
        let mut bytes = draft.header().to_vec();
        bytes::put(&mut bytes, AT_SEQ, self.seq.to_le_bytes());
        bytes::put(&mut bytes, AT_EVENT_ID, self.event_id.to_le_bytes());
        bytes::put(&mut bytes, AT_CONFIG_VERSION, self.config_version.to_le_bytes());
        bytes.extend_from_slice(self.correlation.as_deref().unwrap_or_default());
        bytes.extend_from_slice(&self.pid);
        bytes.extend_from_slice(&self.data);
        bytes.resize(draft.length(), 0);
        bytes
    }

    /// The event that a record says it is; names by what they stand for.
    pub(super) fn read<'n>(
        record: &crate::events::record::Record<'_>,
        text: impl Fn(u32) -> Option<&'n str>,
    ) -> Self {
        let number = |wanted: u32| {
            let text = text(wanted).expect("a number of a record stands for a name");
            (0..6).find(|number| name(*number) == text).expect("one of the tests' names")
        };
        Self {
            seq: record.seq(),
            event_id: record.event_id(),
            timestamp: record.timestamp(),
            wall_time: record.wall_time(),
            parent_id: record.parent_id(),
            config_version: record.config_version(),
            event_type: number(record.type_id()),
            node: number(record.node_id()),
            encoding: record.encoding(),
            correlation: record.correlation().map(<[u8]>::to_vec),
            pid: record.pid().to_vec(),
            data: record.data().to_vec(),
        }
    }
}

/// A new disk with one file of these bytes.
pub(super) fn disk_with(path: &str, bytes: &[u8]) -> SimStorage {
    let storage = SimStorage::new(1);
    let mut file = storage.create_new(Path::new(path)).unwrap();
    file.write_all(bytes).unwrap();
    storage
}

/// A log under construction.
pub(super) struct Log {
    pub(super) encoder: LogEncoder,
    pub(super) bytes: Vec<u8>,
}

impl Log {
    pub(super) fn new(number: u64) -> Self {
        let mut log = Self { encoder: LogEncoder::new(STORE, number, 1), bytes: Vec::new() };
        log.encoder.header(&mut log.bytes);
        log
    }

    /// One append of these events.
    pub(super) fn append(&mut self, events: &[Event]) {
        for (index, event) in events.iter().enumerate() {
            let first = if index == 0 { FLAG_FIRST } else { 0 };
            let last = if index + 1 == events.len() { FLAG_LAST } else { 0 };
            self.encoder.record(&event.record(), first | last, name, &mut self.bytes);
        }
        assert_eq!(self.encoder.position(), self.bytes.len() as u64);
    }

    pub(super) fn commit(&mut self, last_seq: u64) {
        self.encoder.commit(last_seq, &mut self.bytes);
    }

    pub(super) fn end(&mut self) {
        self.encoder.end(&mut self.bytes);
    }
}

/// The header that a log of this number must have.
pub(super) fn log_header(number: u64) -> Header {
    Header::new(Identity { kind: FileKind::Log, store: STORE, number }, 1)
}

/// What a scan of these bytes as the log of this number answers.
pub(super) fn scan(number: u64, bytes: &[u8]) -> (Vec<Event>, Vec<Damage>, LogReport) {
    let storage = disk_with("/log", bytes);
    let file = storage.open_read(Path::new("/log")).unwrap();
    let (mut events, mut damages) = (Vec::new(), Vec::new());
    let report = scan_log(&*file, &log_header(number), &mut |item| {
        match item {
            LogItem::Record(record, names) => events.push(Event::read(&record, |number| names.name(number))),
            LogItem::Damage(damage) => damages.push(damage),
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((report.events, report.damages), (events.len() as u64, damages.len() as u64));
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    (events, damages, report)
}
