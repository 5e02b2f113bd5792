//! The events of a block as columns, and back. Numbers are stored as the difference from the event before and
//! with their bytes taken apart (all lowest bytes, then all second ones …), which is what makes them compress.

use super::bytes::{i64_at, put, u8_at, u32_at, u64_at};
use crate::events::names;
use crate::events::options::MAX_DATA_BYTES;
use crate::events::record::{self, Record};

/// Columns of 8-byte numbers: seq, event_id, timestamp, wall_time − timestamp, parent_id, config_version.
const LONGS: usize = 6;
/// Bytes of an event's fixed fields in the columns.
pub(super) const FIXED: usize = LONGS * 8 + 4 + 4 + 4 + 4;
/// Bytes of a name's entry before the name.
const NAME_ENTRY: usize = 5;

/// Where a record has the numbers of the columns of 4 bytes.
const WORDS: [usize; 2] = [record::AT_TYPE, record::AT_NODE];
/// Where it has those of the columns of one byte.
const BYTES: [usize; 4] =
    [record::AT_FLAGS, record::AT_ENCODING, record::AT_CORRELATION_LEN, record::AT_PID_LEN];

/// Events being gathered for a block.
#[derive(Debug, Default)]
pub(super) struct Columns {
    longs: [Vec<u64>; LONGS],
    words: [Vec<u32>; 2],
    bytes: [Vec<u8>; 4],
    data_lens: Vec<u32>,
    correlations: Vec<u8>,
    pids: Vec<u8>,
    data: Vec<u8>,
    /// Numbers of the names used, and the bytes of their entries.
    names: Vec<u32>,
    name_entries: Vec<u8>,
}

impl Columns {
    /// Events gathered.
    pub(super) fn len(&self) -> usize {
        self.data_lens.len()
    }

    /// Bytes that the raw block has now.
    pub(super) fn raw_length(&self) -> usize {
        let parts = self.correlations.len() + self.pids.len() + self.data.len();
        4 + self.name_entries.len() + self.len() * FIXED + parts
    }

    /// The `seq` of events gathered, in order.
    pub(super) fn seqs(&self) -> &[u64] {
        let [seqs, ..] = &self.longs;
        seqs
    }

    /// Takes in the record of an event; with these flags instead of its own.
    pub(super) fn push<'n>(&mut self, bytes: &[u8], flags: u8, name: impl Fn(u32) -> &'n str) {
        let record = Record::parse(bytes).unwrap_or(Record::EMPTY);
        let timestamp = record.timestamp();
        let longs = [
            record.seq(),
            record.event_id(),
            timestamp as u64,
            record.wall_time().wrapping_sub(timestamp) as u64,
            record.parent_id(),
            record.config_version(),
        ];
        for (column, value) in self.longs.iter_mut().zip(longs) {
            column.push(value);
        }
        for (column, value) in self.words.iter_mut().zip([record.type_id(), record.node_id()]) {
            column.push(value);
        }
        let correlation_len = u8_at(bytes, record::AT_CORRELATION_LEN);
        let small = [flags, u8_at(bytes, record::AT_ENCODING), correlation_len, record.pid().len() as u8];
        for (column, value) in self.bytes.iter_mut().zip(small) {
            column.push(value);
        }
        let parts = bytes.get(record::HEADER..).unwrap_or_default();
        self.correlations.extend_from_slice(parts.get(..correlation_len.into()).unwrap_or_default());
        self.pids.extend_from_slice(record.pid());
        self.data.extend_from_slice(record.data());
        self.data_lens.push(record.data().len() as u32);
        for number in [record.type_id(), record.node_id()] {
            if number != 0 && !self.names.contains(&number) {
                let name = name(number);
                self.names.push(number);
                self.name_entries.extend_from_slice(&number.to_le_bytes());
                self.name_entries.push(name.len() as u8);
                self.name_entries.extend_from_slice(name.as_bytes());
            }
        }
    }

    /// Puts the raw block into `raw`.
    pub(super) fn encode(&self, raw: &mut Vec<u8>) {
        raw.clear();
        raw.reserve(self.raw_length());
        raw.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        raw.extend_from_slice(&self.name_entries);
        let mut differences: Vec<u64> = Vec::with_capacity(self.len());
        for column in &self.longs {
            differences.clear();
            let before = std::iter::once(&0).chain(column);
            differences.extend(column.iter().zip(before).map(|(value, before)| value.wrapping_sub(*before)));
            for plane in 0..8 {
                raw.extend(differences.iter().map(|value| (value >> (8 * plane)) as u8));
            }
        }
        for column in &self.words {
            take_apart(column, raw);
        }
        for column in &self.bytes {
            raw.extend_from_slice(column);
        }
        take_apart(&self.data_lens, raw);
        raw.extend_from_slice(&self.correlations);
        raw.extend_from_slice(&self.pids);
        raw.extend_from_slice(&self.data);
    }

    /// Starts the next block.
    pub(super) fn clear(&mut self) {
        self.longs.iter_mut().for_each(Vec::clear);
        self.words.iter_mut().for_each(Vec::clear);
        self.bytes.iter_mut().for_each(Vec::clear);
        self.data_lens.clear();
        self.correlations.clear();
        self.pids.clear();
        self.data.clear();
        self.names.clear();
        self.name_entries.clear();
    }
}

fn take_apart(column: &[u32], raw: &mut Vec<u8>) {
    for plane in 0..4 {
        raw.extend(column.iter().map(|value| (value >> (8 * plane)) as u8));
    }
}

/// The events of one data block, as records like those in memory.
#[derive(Debug, Default)]
pub(crate) struct Block {
    records: Vec<u8>,
    /// Where each record starts, and where the last one ends.
    offsets: Vec<usize>,
    /// By number, rising.
    names: Vec<(u32, Box<str>)>,
}

impl Block {
    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The event at this place of the block.
    pub(crate) fn record(&self, index: usize) -> Option<Record<'_>> {
        Record::parse(self.record_bytes(index)?)
    }

    /// All bytes of the event at this place, as in memory.
    pub(crate) fn record_bytes(&self, index: usize) -> Option<&[u8]> {
        self.records.get(*self.offsets.get(index)?..*self.offsets.get(index + 1)?)
    }

    /// The events, in the order of their `seq`.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.record(index))
    }

    /// What a number of the block's records stands for; 0 is the empty name.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        if number == 0 {
            return Some("");
        }
        let at = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.names.get(at).map(|(_, name)| &**name)
    }

    /// The events of a raw block; `None` if it is not one of so many events, to the last byte.
    pub(super) fn decode(raw: &[u8], events: usize) -> Option<Self> {
        let mut rest = raw;
        let names = decode_names(&mut rest)?;
        if events == 0 || events.checked_mul(FIXED)? > rest.len() {
            return None;
        }
        let longs: [Vec<u64>; LONGS] = std::array::from_fn(|_| put_together_long(&mut rest, events));
        let words: [Vec<u32>; 2] = std::array::from_fn(|_| put_together(&mut rest, events));
        let mut bytes = [&[][..]; 4];
        for column in &mut bytes {
            *column = rest.split_off(..events)?;
        }
        let data_lens = put_together(&mut rest, events);
        let mut block = Self { records: Vec::new(), offsets: Vec::with_capacity(events + 1), names };
        block.place(bytes, &data_lens, &mut rest)?;
        block.fill(&longs, &words, bytes, &data_lens);
        block.holds().then_some(block)
    }

    /// Makes room for the records and copies their parts in.
    fn place(&mut self, bytes: [&[u8]; 4], data_lens: &[u32], rest: &mut &[u8]) -> Option<()> {
        let [_, _, correlation_lens, pid_lens] = bytes;
        let total = |lens: &[u8]| lens.iter().map(|len| usize::from(*len)).sum::<usize>();
        let mut correlations = rest.split_off(..total(correlation_lens))?;
        let mut pids = rest.split_off(..total(pid_lens))?;
        let mut data = std::mem::take(rest);
        let lens = || correlation_lens.iter().zip(pid_lens).zip(data_lens);
        let lens = || lens().map(|((c, p), d)| (usize::from(*c), usize::from(*p), *d as usize));
        // The parts are there to the last byte, so the records are at most the raw block and padding.
        if lens().any(|(_, _, d)| d > MAX_DATA_BYTES)
            || lens().map(|(_, _, d)| d).sum::<usize>() != data.len()
        {
            return None;
        }
        let size = lens().map(|(c, p, d)| record::length(c, p, d)).sum();
        self.records.try_reserve_exact(size).ok()?;
        for (c, p, d) in lens() {
            let start = self.records.len();
            self.offsets.push(start);
            self.records.extend_from_slice(&[0; record::HEADER]);
            self.records.extend_from_slice(correlations.split_off(..c)?);
            self.records.extend_from_slice(pids.split_off(..p)?);
            self.records.extend_from_slice(data.split_off(..d)?);
            self.records.resize(start + record::length(c, p, d), 0);
        }
        self.offsets.push(self.records.len());
        Some(())
    }

    /// Writes the headers of the records.
    fn fill(
        &mut self,
        [seqs, ids, timestamps, walls, parents, versions]: &[Vec<u64>; LONGS],
        words: &[Vec<u32>; 2],
        bytes: [&[u8]; 4],
        data_lens: &[u32],
    ) {
        for (index, range) in self.offsets.windows(2).enumerate() {
            let [start, end] = range else { continue };
            let Some(record) = self.records.get_mut(*start..*end) else { continue };
            let long = |column: &[u64]| column.get(index).copied().unwrap_or(0);
            let timestamp = long(timestamps);
            put(record, record::AT_LENGTH, ((end - start) as u32).to_le_bytes());
            put(record, record::AT_SEQ, long(seqs).to_le_bytes());
            put(record, record::AT_EVENT_ID, long(ids).to_le_bytes());
            put(record, record::AT_TIMESTAMP, timestamp.to_le_bytes());
            put(record, record::AT_WALL_TIME, timestamp.wrapping_add(long(walls)).to_le_bytes());
            put(record, record::AT_PARENT_ID, long(parents).to_le_bytes());
            put(record, record::AT_CONFIG_VERSION, long(versions).to_le_bytes());
            for (column, at) in words.iter().zip(WORDS) {
                put(record, at, column.get(index).copied().unwrap_or(0).to_le_bytes());
            }
            for (column, at) in bytes.iter().zip(BYTES) {
                put(record, at, [u8_at(column, index)]);
            }
            put(record, record::AT_DATA_LEN, data_lens.get(index).copied().unwrap_or(0).to_le_bytes());
        }
    }

    /// Whether every record may be what it says: names are known, `seq` rises.
    fn holds(&self) -> bool {
        let mut last = 0;
        self.records().all(|record| {
            let rises = record.seq() > last;
            last = record.seq();
            rises
                && record.type_id() != 0
                && self.name(record.type_id()).is_some()
                && self.name(record.node_id()).is_some()
        })
    }
}

fn decode_names(rest: &mut &[u8]) -> Option<Vec<(u32, Box<str>)>> {
    let count = u32_at(rest.split_off(..4)?, 0) as usize;
    if count.checked_mul(NAME_ENTRY)? > rest.len() {
        return None;
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = rest.split_off(..NAME_ENTRY)?;
        let name = std::str::from_utf8(rest.split_off(..usize::from(u8_at(entry, 4)))?).ok()?;
        let number = u32_at(entry, 0);
        if !(1..=names::LIMIT).contains(&(number as usize)) {
            return None;
        }
        names.push((number, name.into()));
    }
    names.sort_by_key(|(number, _)| *number);
    Some(names)
}

/// A column of differences of 8 bytes, added up. There are enough bytes.
fn put_together_long(rest: &mut &[u8], events: usize) -> Vec<u64> {
    let mut column = vec![0_u64; events];
    for plane in 0..8 {
        let bytes = rest.split_off(..events).unwrap_or_default();
        for (value, byte) in column.iter_mut().zip(bytes) {
            *value |= u64::from(*byte) << (8 * plane);
        }
    }
    let mut sum = 0_u64;
    for value in &mut column {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
    column
}

/// A column of 4 bytes. There are enough bytes.
fn put_together(rest: &mut &[u8], events: usize) -> Vec<u32> {
    let mut column = vec![0_u32; events];
    for plane in 0..4 {
        let bytes = rest.split_off(..events).unwrap_or_default();
        for (value, byte) in column.iter_mut().zip(bytes) {
            *value |= u32::from(*byte) << (8 * plane);
        }
    }
    column
}

/// What a block's events lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min_time: i64,
    pub(super) max_time: i64,
    pub(super) min_id: u64,
    pub(super) max_id: u64,
}

impl Bounds {
    /// The bounds of nothing.
    pub(super) const NONE: Self =
        Self { min_time: i64::MAX, max_time: i64::MIN, min_id: u64::MAX, max_id: 0 };

    /// Takes in one event's record.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let (time, id) = (i64_at(bytes, record::AT_TIMESTAMP), u64_at(bytes, record::AT_EVENT_ID));
        self.join(&Self { min_time: time, max_time: time, min_id: id, max_id: id });
    }

    /// Takes in other bounds.
    pub(super) fn join(&mut self, other: &Self) {
        self.min_time = self.min_time.min(other.min_time);
        self.max_time = self.max_time.max(other.max_time);
        self.min_id = self.min_id.min(other.min_id);
        self.max_id = self.max_id.max(other.max_id);
    }
}
