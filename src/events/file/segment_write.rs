//! Writing a sealed segment: blocks of columns, filters, and a footer that says what is where.

use super::BLOCK_BYTES;
use super::bytes::{u32_at, u64_at};
use super::codec::{Codec, Compressor};
use super::columns::{Bounds, Columns, FIXED};
use super::frame::{self, Header, Identity, Kind, Salt};
use crate::error::{Code, Error, Result};
use crate::events::record::{AT_NODE, AT_SEQ, AT_TYPE, HEADER};
use crate::storage::Writer;

/// The most a frame may be: its length has 4 bytes.
const MAX_FRAME: usize = u32::MAX as usize - 7;

/// How a segment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentOptions {
    /// How blocks are compressed.
    pub(crate) codec: Codec,
    /// The codec's level: zstd 1 to 3 are quick, gzip has 1 to 9.
    pub(crate) level: i32,
    /// Raw bytes at which a block is closed; a record that is larger has a block of its own.
    pub(crate) block_bytes: usize,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self { codec: Codec::Zstd, level: 1, block_bytes: BLOCK_BYTES }
    }
}

/// A filter over the events of a segment: opaque words, and what is needed to ask them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What it is over, as the caller numbers it.
    pub(crate) kind: u32,
    /// The seed of the hash that it was made with.
    pub(crate) seed: u64,
    /// Its bits.
    pub(crate) words: Vec<u64>,
}

/// Where a data block is and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    /// Offset of its frame.
    pub(crate) offset: u64,
    /// `seq` of its first event.
    pub(crate) first_seq: u64,
    /// `seq` of its last event.
    pub(crate) last_seq: u64,
    /// The smallest timestamp in it.
    pub(crate) min_time: i64,
    /// The largest timestamp in it.
    pub(crate) max_time: i64,
    /// How many events it holds.
    pub(crate) events: u32,
    /// Bytes of its frame.
    pub(crate) length: u32,
}

/// Where a filter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FilterEntry {
    /// Offset of its frame.
    pub(crate) offset: u64,
    /// Bytes of its frame.
    pub(crate) length: u32,
    /// What it is over.
    pub(crate) kind: u32,
}

/// A name used as an event type in the file, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeCount {
    /// The name.
    pub(crate) name: Box<str>,
    /// Events of this type.
    pub(crate) events: u32,
}

/// What a sealed segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    /// `seq` of its first event; 0 if it has none.
    pub(crate) first_seq: u64,
    /// `seq` of its last event.
    pub(crate) last_seq: u64,
    /// The smallest timestamp.
    pub(crate) min_time: i64,
    /// The largest timestamp.
    pub(crate) max_time: i64,
    /// The smallest event id.
    pub(crate) min_id: u64,
    /// The largest event id.
    pub(crate) max_id: u64,
    /// How many events.
    pub(crate) events: u64,
    /// The data blocks, in the order of the file and of `seq`.
    pub(crate) blocks: Vec<BlockEntry>,
    /// The filters.
    pub(crate) filters: Vec<FilterEntry>,
    /// The event types, in the order of their first event. Empty if the footer was damaged.
    pub(crate) types: Vec<TypeCount>,
}

impl Footer {
    /// The footer of a file without events.
    pub(super) fn empty() -> Self {
        let none = Bounds::NONE;
        Self {
            first_seq: 0,
            last_seq: 0,
            min_time: none.min_time,
            max_time: none.max_time,
            min_id: none.min_id,
            max_id: none.max_id,
            events: 0,
            blocks: Vec::new(),
            filters: Vec::new(),
            types: Vec::new(),
        }
    }

    /// Counts a block in.
    pub(super) fn add(&mut self, block: BlockEntry, bounds: &Bounds) {
        if self.blocks.is_empty() {
            self.first_seq = block.first_seq;
        }
        self.last_seq = block.last_seq;
        self.events += u64::from(block.events);
        self.min_time = self.min_time.min(bounds.min_time);
        self.max_time = self.max_time.max(bounds.max_time);
        self.min_id = self.min_id.min(bounds.min_id);
        self.max_id = self.max_id.max(bounds.max_id);
        self.blocks.push(block);
    }

    /// Appends the footer's frame, which stands at this offset.
    fn write(&self, offset: u64, salt: Salt, out: &mut Vec<u8>) {
        let start = frame::begin(out, Kind::Footer);
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        for value in [offset, self.first_seq, self.last_seq] {
            put(&value.to_le_bytes());
        }
        for value in [self.min_time, self.max_time] {
            put(&value.to_le_bytes());
        }
        for value in [self.min_id, self.max_id, self.events] {
            put(&value.to_le_bytes());
        }
        for count in [self.blocks.len(), self.filters.len(), self.types.len(), 0] {
            put(&(count as u32).to_le_bytes());
        }
        for block in &self.blocks {
            put(&block.offset.to_le_bytes());
            put(&block.first_seq.to_le_bytes());
            put(&block.last_seq.to_le_bytes());
            put(&block.min_time.to_le_bytes());
            put(&block.max_time.to_le_bytes());
            put(&block.events.to_le_bytes());
            put(&block.length.to_le_bytes());
        }
        for filter in &self.filters {
            put(&filter.offset.to_le_bytes());
            put(&filter.length.to_le_bytes());
            put(&filter.kind.to_le_bytes());
        }
        for counted in &self.types {
            put(&counted.events.to_le_bytes());
            put(&[counted.name.len() as u8]);
            put(counted.name.as_bytes());
        }
        let length = (out.len() - start + 8).next_multiple_of(8);
        out.resize(start + length - 8, 0);
        out.extend_from_slice(&(length as u64).to_le_bytes());
        frame::finish(out, start, salt);
    }
}

/// Writes one sealed segment to a new file. The file's name, its sync and its renaming are the caller's
/// ([`crate::storage::write_atomically_with`]); a segment is never written to again.
pub(crate) struct SegmentEncoder<'w> {
    writer: &'w mut Writer,
    salt: Salt,
    block_bytes: usize,
    compressor: Compressor,
    columns: Columns,
    bounds: Bounds,
    last_seq: u64,
    raw: Vec<u8>,
    frame: Vec<u8>,
    footer: Footer,
    /// By number, the place in the footer's types, plus one.
    type_places: Vec<u32>,
}

impl<'w> SegmentEncoder<'w> {
    /// Starts a segment in an empty file; its events have at least this `seq`.
    pub(crate) fn new(
        writer: &'w mut Writer,
        identity: Identity,
        first_seq: u64,
        options: SegmentOptions,
    ) -> Result<Self> {
        let mut header = Vec::new();
        Header::new(identity, first_seq).write(&mut header);
        writer.put(&header)?;
        Ok(Self {
            writer,
            salt: identity.salt(),
            block_bytes: options.block_bytes.clamp(1024, BLOCK_BYTES),
            compressor: Compressor::new(options.codec, options.level)?,
            columns: Columns::default(),
            bounds: Bounds::NONE,
            last_seq: first_seq.saturating_sub(1),
            raw: Vec::new(),
            frame: Vec::new(),
            footer: Footer::empty(),
            type_places: Vec::new(),
        })
    }

    /// Takes in an event: its record as in memory, with these flags instead of its own. `name` answers the text
    /// of a number. `invalid_input` unless `seq` rises.
    pub(crate) fn push<'n>(&mut self, record: &[u8], flags: u8, name: impl Fn(u32) -> &'n str) -> Result<()> {
        let seq = u64_at(record, AT_SEQ);
        if seq <= self.last_seq {
            let message = format!("event {seq} cannot follow event {} in a segment", self.last_seq);
            return Err(Error::new(Code::InvalidInput, message).with("seq", seq));
        }
        self.last_seq = seq;
        let (event_type, node) = (u32_at(record, AT_TYPE), u32_at(record, AT_NODE));
        // Names that may be new to the block count, so that it never becomes larger than it should.
        let more =
            record.len().saturating_sub(HEADER) + FIXED + name(event_type).len() + name(node).len() + 10;
        if self.columns.len() > 0 && self.columns.raw_length() + more > self.block_bytes {
            self.close_block()?;
        }
        self.columns.push(record, flags, &name);
        self.bounds.add(record);
        self.count_type(event_type, name(event_type));
        Ok(())
    }

    /// Writes what is left, the filters and the footer; answers it.
    pub(crate) fn finish(mut self, filters: &[Filter]) -> Result<Footer> {
        self.close_block()?;
        for filter in filters {
            let offset = self.writer.written();
            self.frame.clear();
            let start = frame::begin(&mut self.frame, Kind::Filter);
            self.frame.extend_from_slice(&offset.to_le_bytes());
            self.frame.extend_from_slice(&filter.kind.to_le_bytes());
            self.frame.extend_from_slice(&(filter.words.len() as u32).to_le_bytes());
            self.frame.extend_from_slice(&filter.seed.to_le_bytes());
            for word in &filter.words {
                self.frame.extend_from_slice(&word.to_le_bytes());
            }
            let length = self.put_frame(start)?;
            self.footer.filters.push(FilterEntry { offset, length, kind: filter.kind });
        }
        self.frame.clear();
        self.footer.write(self.writer.written(), self.salt, &mut self.frame);
        self.writer.put(&self.frame)?;
        Ok(self.footer)
    }

    fn close_block(&mut self) -> Result<()> {
        let (Some(first_seq), Some(last_seq)) =
            (self.columns.seqs().first().copied(), self.columns.seqs().last().copied())
        else {
            return Ok(());
        };
        self.columns.encode(&mut self.raw);
        let events = self.columns.len() as u32;
        self.columns.clear();
        let (codec, stored) = self.compressor.compress(&self.raw)?;
        let offset = self.writer.written();
        self.frame.clear();
        let start = frame::begin(&mut self.frame, Kind::Data);
        let bounds = std::mem::replace(&mut self.bounds, Bounds::NONE);
        for value in [offset, first_seq, last_seq] {
            self.frame.extend_from_slice(&value.to_le_bytes());
        }
        for value in [events, self.raw.len() as u32, stored.len() as u32, u32::from(codec as u8)] {
            self.frame.extend_from_slice(&value.to_le_bytes());
        }
        for value in [bounds.min_time, bounds.max_time] {
            self.frame.extend_from_slice(&value.to_le_bytes());
        }
        for value in [bounds.min_id, bounds.max_id] {
            self.frame.extend_from_slice(&value.to_le_bytes());
        }
        self.frame.extend_from_slice(stored);
        let length = self.put_frame(start)?;
        let (min_time, max_time) = (bounds.min_time, bounds.max_time);
        let entry = BlockEntry { offset, first_seq, last_seq, min_time, max_time, events, length };
        self.footer.add(entry, &bounds);
        Ok(())
    }

    /// Ends the frame and puts it into the file; answers its length.
    fn put_frame(&mut self, start: usize) -> Result<u32> {
        if self.frame.len() > MAX_FRAME {
            let message = format!("a block of {} bytes is more than a segment can hold", self.frame.len());
            return Err(Error::new(Code::DataTooLarge, message));
        }
        frame::finish(&mut self.frame, start, self.salt);
        self.writer.put(&self.frame)?;
        Ok(self.frame.len() as u32)
    }

    fn count_type(&mut self, number: u32, name: &str) {
        let place = number as usize;
        if self.type_places.len() <= place {
            self.type_places.resize(place + 1, 0);
        }
        let Some(entry) = self.type_places.get_mut(place) else { return };
        if *entry == 0 {
            self.footer.types.push(TypeCount { name: name.into(), events: 0 });
            *entry = self.footer.types.len() as u32;
        }
        if let Some(counted) = self.footer.types.get_mut(*entry as usize - 1) {
            counted.events += 1;
        }
    }
}
