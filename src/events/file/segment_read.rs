//! Reading a sealed segment: by its footer, or block by block if that is damaged.

use std::path::{Path, PathBuf};

use super::bytes::{array_at, i64_at, u8_at, u32_at, u64_at};
use super::codec::{Codec, Decompressor};
use super::columns::{Block, Bounds};
use super::frame::{
    AT_LENGTH, AT_OFFSET, AT_TAG, DATA_HEAD, FILTER_HEAD, FOOTER_HEAD, FileKind, Frame, HEAD, HEADER_BYTES,
    Header, Identity, Kind, MIN_FRAME, Salt, check_at, plausible,
};
use super::segment_write::{BlockEntry, Filter, FilterEntry, Footer, TypeCount};
use super::window::{Window, read_piece};
use super::{BLOCK_BYTES, corrupt, incompatible};
use crate::error::{Code, Error, Result};
use crate::events::options::MAX_DATA_BYTES;
use crate::events::record;
use crate::storage::{File, Storage};

/// Bytes of an entry of the footer's directory of blocks.
const BLOCK_ENTRY: usize = 48;
/// Bytes of an entry of the footer's directory of filters.
const FILTER_ENTRY: usize = 16;
/// Bytes of an entry of the footer's types before the name.
const TYPE_ENTRY: usize = 5;

/// How much memory a file may make a reader take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest footer, in bytes.
    pub(crate) footer_bytes: usize,
    /// The largest raw block, in bytes: 64 KiB, or one record.
    pub(crate) raw_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let record = record::length(255, 255, MAX_DATA_BYTES);
        Self { footer_bytes: 64 << 20, raw_bytes: BLOCK_BYTES + record }
    }
}

/// What reading blocks reuses from one to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    decompressor: Decompressor,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

/// An open sealed segment.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: Box<dyn File>,
    path: PathBuf,
    salt: Salt,
    limits: Limits,
    footer: Footer,
    damage: Option<SegmentDamage>,
}

/// What was found when a segment's footer could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SegmentDamage {
    /// Stretches of the file without a block that checks: from, to.
    pub(crate) stretches: Vec<(u64, u64)>,
}

impl SegmentFile {
    /// Opens a segment that by its name and the manifest must be this one. A damaged header is overlooked; a
    /// damaged footer is made up from the blocks, whose frames are then all checked.
    ///
    /// `incompatible_format` if the header checks and this version cannot read the file, `data_corruption` if it
    /// is another file.
    pub(crate) fn open(
        storage: &dyn Storage,
        path: &Path,
        identity: Identity,
        limits: Limits,
    ) -> Result<Self> {
        let file = storage.open_read(path)?;
        if let Some(header) = Header::read(&*file, FileKind::Segment)? {
            header.expect(&identity, path)?;
        }
        let salt = identity.salt();
        let length = file.len()?;
        let (footer, damage) = if let Some(footer) = read_footer(&*file, length, salt, limits)? {
            (footer, None)
        } else {
            let (footer, damage) = scan(&*file, length, salt)?;
            (footer, Some(damage))
        };
        Ok(Self { file, path: path.to_owned(), salt, limits, footer, damage })
    }

    /// What the file holds. Without its own footer: without types, and with what the blocks that check say.
    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The data blocks, in the order of `seq`.
    pub(crate) fn blocks(&self) -> &[BlockEntry] {
        &self.footer.blocks
    }

    /// What is wrong with the file, if its footer could not be used.
    pub(crate) fn damage(&self) -> Option<&SegmentDamage> {
        self.damage.as_ref()
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.file.len()
    }

    /// The events of a block. `data_corruption`, with `offset`, `first_seq` and `last_seq`, if it does not check.
    pub(crate) fn read_block_with(&self, index: usize, scratch: &mut Scratch) -> Result<Block> {
        let Some(entry) = self.footer.blocks.get(index) else {
            let message = format!("{} has no block {index}", self.path.display());
            return Err(Error::new(Code::InvalidInput, message).with("block", index));
        };
        self.block(entry, scratch)?.ok_or_else(|| {
            let events = format!("events {} to {}", entry.first_seq, entry.last_seq);
            corrupt(&self.path, format_args!("the block at {} with {events} is damaged", entry.offset))
                .with("offset", entry.offset)
                .with("first_seq", entry.first_seq)
                .with("last_seq", entry.last_seq)
        })
    }

    fn block(&self, entry: &BlockEntry, scratch: &mut Scratch) -> Result<Option<Block>> {
        let Some(frame) = self.frame(entry.offset, entry.length, Kind::Data, &mut scratch.stored)? else {
            return Ok(None);
        };
        let head = DataHead::parse(frame.bytes);
        let as_listed = head.entry == *entry && head.raw_bytes <= self.limits.raw_bytes;
        let Some(codec) = Codec::from_number(head.codec) else {
            return Err(incompatible(format_args!(
                "{}: a block is stored with the unknown codec {}",
                self.path.display(),
                head.codec
            )));
        };
        let stored = frame.bytes.get(DATA_HEAD..DATA_HEAD + head.stored_bytes).unwrap_or_default();
        if !as_listed || !scratch.decompressor.decompress(codec, stored, head.raw_bytes, &mut scratch.raw) {
            return Ok(None);
        }
        let block = Block::decode(&scratch.raw, entry.events as usize);
        Ok(block.filter(|block| {
            let seq = |index| block.record(index).map(|record| record.seq());
            seq(0) == Some(entry.first_seq) && seq(block.len() - 1) == Some(entry.last_seq)
        }))
    }

    /// The filter at this place of the footer. `data_corruption` if it does not check: the file can be read
    /// without it.
    pub(crate) fn read_filter(&self, index: usize) -> Result<Filter> {
        let Some(entry) = self.footer.filters.get(index) else {
            let message = format!("{} has no filter {index}", self.path.display());
            return Err(Error::new(Code::InvalidInput, message).with("filter", index));
        };
        let mut bytes = Vec::new();
        let frame = self.frame(entry.offset, entry.length, Kind::Filter, &mut bytes)?;
        let Some(frame) = frame else {
            let what = format_args!("the filter at {} is damaged", entry.offset);
            return Err(corrupt(&self.path, what).with("offset", entry.offset));
        };
        let words = frame.bytes.get(FILTER_HEAD..).unwrap_or_default();
        Ok(Filter {
            kind: u32_at(frame.bytes, 24),
            seed: u64_at(frame.bytes, 32),
            words: words.chunks_exact(8).map(|word| u64_at(word, 0)).collect(),
        })
    }

    /// The frame that must be there, if it checks.
    fn frame<'b>(
        &self,
        offset: u64,
        length: u32,
        kind: Kind,
        bytes: &'b mut Vec<u8>,
    ) -> Result<Option<Frame<'b>>> {
        // The directory may lie where the footer's own checksum was made up from the blocks: never believe a
        // length that the file does not have.
        if offset.saturating_add(length.into()) > self.file.len()? {
            return Ok(None);
        }
        read_exactly(&*self.file, offset, length as usize, bytes)?;
        Ok(check_at(bytes, self.salt, offset)
            .filter(|frame| frame.kind == kind && frame.bytes.len() == length as usize))
    }
}

/// The fixed fields of a data block.
struct DataHead {
    entry: BlockEntry,
    bounds: Bounds,
    raw_bytes: usize,
    stored_bytes: usize,
    codec: u8,
}

impl DataHead {
    fn parse(bytes: &[u8]) -> Self {
        let (min_time, max_time) = (i64_at(bytes, 56), i64_at(bytes, 64));
        Self {
            entry: BlockEntry {
                offset: u64_at(bytes, AT_OFFSET),
                first_seq: u64_at(bytes, 24),
                last_seq: u64_at(bytes, 32),
                min_time,
                max_time,
                events: u32_at(bytes, 40),
                length: u32_at(bytes, AT_LENGTH),
            },
            bounds: Bounds { min_time, max_time, min_id: u64_at(bytes, 72), max_id: u64_at(bytes, 80) },
            raw_bytes: u32_at(bytes, 44) as usize,
            stored_bytes: u32_at(bytes, 48) as usize,
            codec: u8_at(bytes, 52),
        }
    }
}

/// Reads so many bytes that the file has; what the medium cannot give is zeros, which do not check.
fn read_exactly(file: &dyn File, offset: u64, count: usize, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.clear();
    if bytes.try_reserve_exact(count).is_err() {
        let message = format!("no memory for {count} bytes of a file");
        return Err(Error::new(Code::NoMemory, message).with("bytes", count));
    }
    bytes.resize(count, 0);
    read_piece(file, offset, bytes).map(|_| ())
}

/// The footer, if it checks.
fn read_footer(file: &dyn File, length: u64, salt: Salt, limits: Limits) -> Result<Option<Footer>> {
    let mut bytes = Vec::new();
    if length < (HEADER_BYTES + FOOTER_HEAD + 8) as u64 {
        return Ok(None);
    }
    read_exactly(file, length - 8, 8, &mut bytes)?;
    let footer_bytes = u64_at(&bytes, 0);
    let fits = footer_bytes <= (limits.footer_bytes as u64).min(length - HEADER_BYTES as u64);
    if !fits || footer_bytes < (FOOTER_HEAD + 8) as u64 {
        return Ok(None);
    }
    let offset = length - footer_bytes;
    read_exactly(file, offset, footer_bytes as usize, &mut bytes)?;
    let whole = |frame: &Frame<'_>| frame.kind == Kind::Footer && frame.bytes.len() as u64 == footer_bytes;
    Ok(check_at(&bytes, salt, offset).filter(whole).and_then(|frame| parse_footer(frame.bytes)))
}

fn parse_footer(bytes: &[u8]) -> Option<Footer> {
    let mut rest = bytes.get(FOOTER_HEAD..bytes.len().checked_sub(8)?)?;
    let counts: [usize; 3] = [80, 84, 88].map(|at| u32_at(bytes, at) as usize);
    let [blocks, filters, types] = counts;
    // Counts are believed only if so many entries fit.
    if blocks.checked_mul(BLOCK_ENTRY)? + filters.checked_mul(FILTER_ENTRY)? + types * TYPE_ENTRY > rest.len()
    {
        return None;
    }
    let mut footer = Footer {
        first_seq: u64_at(bytes, 24),
        last_seq: u64_at(bytes, 32),
        min_time: i64_at(bytes, 40),
        max_time: i64_at(bytes, 48),
        min_id: u64_at(bytes, 56),
        max_id: u64_at(bytes, 64),
        events: u64_at(bytes, 72),
        blocks: Vec::with_capacity(blocks),
        filters: Vec::with_capacity(filters),
        types: Vec::with_capacity(types),
    };
    for _ in 0..blocks {
        let entry = rest.split_off(..BLOCK_ENTRY)?;
        footer.blocks.push(BlockEntry {
            offset: u64_at(entry, 0),
            first_seq: u64_at(entry, 8),
            last_seq: u64_at(entry, 16),
            min_time: i64_at(entry, 24),
            max_time: i64_at(entry, 32),
            events: u32_at(entry, 40),
            length: u32_at(entry, 44),
        });
    }
    for _ in 0..filters {
        let entry = rest.split_off(..FILTER_ENTRY)?;
        let (offset, length, kind) = (u64_at(entry, 0), u32_at(entry, 8), u32_at(entry, 12));
        footer.filters.push(FilterEntry { offset, length, kind });
    }
    for _ in 0..types {
        let entry = rest.split_off(..TYPE_ENTRY)?;
        let name = std::str::from_utf8(rest.split_off(..usize::from(u8_at(entry, 4)))?).ok()?;
        footer.types.push(TypeCount { name: name.into(), events: u32_at(entry, 0) });
    }
    Some(footer)
}

/// Makes up a footer from the blocks that check.
fn scan(file: &dyn File, length: u64, salt: Salt) -> Result<(Footer, SegmentDamage)> {
    let mut window = Window::new(file, length);
    let mut footer = Footer::empty();
    let mut damage = SegmentDamage::default();
    let mut at = HEADER_BYTES as u64;
    while at < length {
        if let Some(next) = scan_frame(&mut window, at, salt, &mut footer)? {
            at = next;
            continue;
        }
        let next = find_frame(&mut window, at + 8, salt)?.unwrap_or(length);
        damage.stretches.push((at, next));
        at = next;
    }
    Ok((footer, damage))
}

/// Takes in the frame at this offset; where the next one is, or `None` if it does not check.
fn scan_frame(window: &mut Window<'_>, at: u64, salt: Salt, footer: &mut Footer) -> Result<Option<u64>> {
    let Some(length) = plausible(window.slice(at, HEAD)?) else { return Ok(None) };
    let Some(frame) = window.frame(at, length, salt)? else { return Ok(None) };
    match frame.kind {
        Kind::Data => {
            let head = DataHead::parse(frame.bytes);
            // A block that a misdirected write left elsewhere has another offset; this one is the file's.
            if head.entry.first_seq > footer.last_seq && head.entry.last_seq >= head.entry.first_seq {
                footer.add(head.entry, &head.bounds);
            }
        }
        Kind::Filter => {
            let kind = u32_at(frame.bytes, 24);
            footer.filters.push(FilterEntry { offset: at, length: length as u32, kind });
        }
        Kind::Unknown { required: true } => {
            let tag: [u8; 8] = array_at(frame.bytes, AT_TAG);
            return Err(incompatible(format_args!("a segment holds a frame of the unknown kind {tag:02x?}")));
        }
        _ => {}
    }
    Ok(Some(at + length as u64))
}

/// The offset of the first frame from here on that says it is there and checks.
fn find_frame(window: &mut Window<'_>, from: u64, salt: Salt) -> Result<Option<u64>> {
    let tags = [Kind::Data, Kind::Filter, Kind::Footer].map(Kind::tag);
    let mut at = from;
    while at + MIN_FRAME as u64 <= window.length() {
        let head = window.slice(at, HEAD)?;
        if tags.contains(&u64_at(head, AT_TAG))
            && u64_at(head, AT_OFFSET) == at
            && let Some(length) = plausible(head)
            && window.frame(at, length, salt)?.is_some()
        {
            return Ok(Some(at));
        }
        at += 8;
    }
    Ok(None)
}
