//! Frames: what every file is a row of. A frame has a length, a salted checksum and a tag, takes a multiple of 8
//! bytes and starts at one.

use super::bytes::{array_at, put, u8_at, u32_at, u64_at};
use super::{corrupt, incompatible};
use crate::error::Result;
use crate::events::names;
use crate::events::options::MAX_DATA_BYTES;
use crate::events::record;
use crate::planted::{self, Mistake};
use crate::storage::File;
use std::path::Path;

/// The layout that this version writes and reads.
pub(crate) const VERSION: u32 = 1;
/// Flags of the header that change how the file is to be read, as far as this version knows them.
const KNOWN_INCOMPATIBLE: u32 = 0;

/// The least a frame can be.
pub(super) const MIN_FRAME: usize = 24;
/// So much of a frame's start tells how long it must be.
pub(super) const HEAD: usize = 96;
/// Bytes of a file header.
pub(super) const HEADER_BYTES: usize = 72;
/// Bytes of a name record before the name.
pub(super) const NAME_HEAD: usize = 24;
/// Bytes of a resync marker.
pub(super) const MARKER_BYTES: usize = 40;
/// Bytes of a commit or end frame.
pub(super) const COMMIT_BYTES: usize = 56;
/// Bytes of a data block before what is stored.
pub(super) const DATA_HEAD: usize = 88;
/// Bytes of a filter block before its words.
pub(super) const FILTER_HEAD: usize = 40;
/// Bytes of a footer before its directory.
pub(super) const FOOTER_HEAD: usize = 96;
/// The most that a frame of a kind unknown to this version may be.
const MAX_UNKNOWN: usize = 16 << 20;

pub(super) const AT_LENGTH: usize = 0;
pub(super) const AT_CRC: usize = 4;
pub(super) const AT_TAG: usize = 8;
/// Where the frames of kinds F3 to F8 hold their own offset in the file.
pub(super) const AT_OFFSET: usize = 16;

pub(super) const LOG_MAGIC: [u8; 8] = *b"ESFLOG\r\n";
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"ESFSEG\r\n";
pub(super) const MARKER_MAGIC: [u8; 8] = [0xE5, 0xF0, 0x5E, 0x6B, 0x0D, 0x0A, 0x1A, 0x0A];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The record of one event; the tag is its `seq`.
    Event,
    /// The first frame of a file.
    Header,
    /// Makes a number stand for a name.
    Name,
    /// Where reading a log can start.
    Marker,
    /// Everything before it was given to a sync.
    Commit,
    /// The log was finished.
    End,
    /// Events of a sealed segment, in columns.
    Data,
    /// Words of a filter over a sealed segment.
    Filter,
    /// What is where in a sealed segment.
    Footer,
    /// A kind of a later version. If it is required, a reader that does not know it refuses the file.
    Unknown {
        /// Bit 48 of the tag.
        required: bool,
    },
}

/// The numbers of the kinds in the top byte of the tag.
pub(super) const KINDS: [(u8, Kind); 8] = [
    (0xF1, Kind::Header),
    (0xF2, Kind::Name),
    (0xF3, Kind::Marker),
    (0xF4, Kind::Commit),
    (0xF5, Kind::End),
    (0xF6, Kind::Data),
    (0xF7, Kind::Filter),
    (0xF8, Kind::Footer),
];

impl Kind {
    /// The kind that a tag names.
    pub(super) fn of(tag: u64) -> Self {
        let top = (tag >> 56) as u8;
        if top == 0 {
            return Self::Event;
        }
        let known = KINDS.iter().find(|(number, _)| *number == top && tag << 8 == 0);
        known.map_or(Self::Unknown { required: tag >> 48 & 1 == 1 }, |(_, kind)| *kind)
    }

    /// The tag of this kind; 0 for those that have none of their own.
    pub(super) fn tag(self) -> u64 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| u64::from(*number) << 56)
    }

    /// Whether a frame of this kind says at which offset it belongs.
    fn has_offset(self) -> bool {
        !matches!(self, Self::Event | Self::Header | Self::Name | Self::Unknown { .. })
    }
}

/// What kind of file a frame is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A log.
    Log = 1,
    /// A sealed segment.
    Segment = 2,
}

/// Which file it is: nothing of another one can be taken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Log or segment.
    pub(crate) kind: FileKind,
    /// The store's random identity.
    pub(crate) store: [u8; 16],
    /// The file's number, never used twice in a store for the same kind.
    pub(crate) number: u64,
}

impl Identity {
    /// What the checksums of the file's frames start from.
    pub(crate) fn salt(&self) -> Salt {
        let crc = crc32c::crc32c(&[self.kind as u8]);
        let crc = crc32c::crc32c_append(crc, &self.store);
        Salt(crc32c::crc32c_append(crc, &self.number.to_le_bytes()))
    }
}

/// What the checksums of a file start from: the CRC-32C of its [`Identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub(super) u32);

impl Salt {
    /// The checksum that belongs into these bytes of a whole frame.
    #[inline]
    fn checksum(self, frame: &[u8]) -> u32 {
        let length: [u8; 4] = array_at(frame, AT_LENGTH);
        let crc = crc32c::crc32c_append(self.0, &length);
        crc32c::crc32c_append(crc, frame.get(AT_TAG..).unwrap_or_default())
    }
}

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// All its bytes.
    pub(crate) bytes: &'a [u8],
}

/// How long the frame that starts with these bytes must be, if its length agrees with its own fields. Of a frame
/// of [`HEAD`] bytes or more these must be at least the first [`HEAD`].
pub(super) fn plausible(head: &[u8]) -> Option<usize> {
    if head.len() < MIN_FRAME {
        return None;
    }
    let length = u32_at(head, AT_LENGTH) as usize;
    if length < MIN_FRAME || !length.is_multiple_of(8) {
        return None;
    }
    let tag = u64_at(head, AT_TAG);
    let holds = match Kind::of(tag) {
        Kind::Event => tag > 0 && head.len() >= record::HEADER && length == event_length(head)?,
        Kind::Header => (HEADER_BYTES..=4096).contains(&length),
        Kind::Name => {
            let (number, bytes) = (u32_at(head, 16) as usize, usize::from(u8_at(head, 20)));
            (1..=names::LIMIT).contains(&number)
                && bytes > 0
                && length == (NAME_HEAD + bytes).next_multiple_of(8)
        }
        Kind::Marker => length == MARKER_BYTES,
        Kind::Commit | Kind::End => length == COMMIT_BYTES,
        Kind::Data => length == (DATA_HEAD + u32_at(head, 48) as usize).next_multiple_of(8),
        Kind::Filter => length == FILTER_HEAD + u32_at(head, 28) as usize * 8,
        Kind::Footer => length >= FOOTER_HEAD + 8,
        Kind::Unknown { .. } => length <= MAX_UNKNOWN,
    };
    holds.then_some(length)
}

fn event_length(head: &[u8]) -> Option<usize> {
    let data = u32_at(head, record::AT_DATA_LEN) as usize;
    let (correlation, pid) = (u8_at(head, record::AT_CORRELATION_LEN), u8_at(head, record::AT_PID_LEN));
    let known = (1..=3).contains(&u8_at(head, record::AT_ENCODING)) && u32_at(head, record::AT_TYPE) != 0;
    (known && data <= MAX_DATA_BYTES).then(|| record::length(correlation.into(), pid.into(), data))
}

/// The frame that these bytes start with, if it is whole and its checksum holds.
pub(crate) fn check(bytes: &[u8], salt: Salt) -> Option<Frame<'_>> {
    let bytes = bytes.get(..plausible(bytes)?)?;
    (salt.checksum(bytes) == u32_at(bytes, AT_CRC) || planted::made(Mistake::ChecksumNotCompared))
        .then(|| Frame { kind: Kind::of(u64_at(bytes, AT_TAG)), bytes })
}

/// As [`check`], for a frame found at this offset of the file: if it says where it belongs, it belongs there.
pub(super) fn check_at(bytes: &[u8], salt: Salt, offset: u64) -> Option<Frame<'_>> {
    check(bytes, salt).filter(|frame| !frame.kind.has_offset() || u64_at(frame.bytes, AT_OFFSET) == offset)
}

/// The frame of so many bytes whose checksum was compared before.
pub(super) fn checked(bytes: &[u8], length: usize) -> Option<Frame<'_>> {
    bytes.get(..length).map(|bytes| Frame { kind: Kind::of(u64_at(bytes, AT_TAG)), bytes })
}

/// Starts a frame at the end of `out`; what follows are its fields. Answers where it starts, for [`finish`].
pub(super) fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&kind.tag().to_le_bytes());
    start
}

/// Ends the frame that starts there: padding, length, checksum. Answers the checksum.
#[inline]
pub(super) fn finish(out: &mut Vec<u8>, start: usize, salt: Salt) -> u32 {
    let length = (out.len() - start).next_multiple_of(8);
    out.resize(start + length, 0);
    let frame = out.get_mut(start..).unwrap_or_default();
    put(frame, AT_LENGTH, (length as u32).to_le_bytes());
    let crc = salt.checksum(frame);
    put(frame, AT_CRC, crc.to_le_bytes());
    crc
}

/// The first frame of a log or a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which file it is.
    pub(crate) identity: Identity,
    /// Flags of changes that an older reader may overlook.
    pub(crate) compatible: u32,
    /// The first `seq` that the file may hold.
    pub(crate) first_seq: u64,
}

impl Header {
    /// The header of a new file of this version.
    pub(crate) fn new(identity: Identity, first_seq: u64) -> Self {
        Self { identity, compatible: 0, first_seq }
    }

    /// Appends the header's frame; answers its checksum.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> u32 {
        let start = begin(out, Kind::Header);
        out.extend_from_slice(match self.identity.kind {
            FileKind::Log => &LOG_MAGIC,
            FileKind::Segment => &SEGMENT_MAGIC,
        });
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&self.compatible.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&self.identity.store);
        out.extend_from_slice(&self.identity.number.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        finish(out, start, self.identity.salt())
    }

    /// The header of a file that starts with these bytes; `None` if they are not one that checks, which is
    /// so for a file that was never begun and for one whose first bytes are damaged. `incompatible_format` if it
    /// checks and is of a version or has a flag that this version does not know.
    pub(crate) fn parse(bytes: &[u8], kind: FileKind) -> Result<Option<Self>> {
        let magic = match kind {
            FileKind::Log => LOG_MAGIC,
            FileKind::Segment => SEGMENT_MAGIC,
        };
        if bytes.len() < HEADER_BYTES || array_at::<8>(bytes, 16) != magic {
            return Ok(None);
        }
        let identity = Identity { kind, store: array_at(bytes, 40), number: u64_at(bytes, 56) };
        let Some(frame) = check(bytes, identity.salt()).filter(|frame| frame.kind == Kind::Header) else {
            return Ok(None);
        };
        let (version, flags) = (u32_at(frame.bytes, 24), u32_at(frame.bytes, 28));
        if version != VERSION {
            return Err(incompatible(format_args!(
                "the file is of version {version} of the format; known is {VERSION}"
            ))
            .with("version", version));
        }
        if flags & !KNOWN_INCOMPATIBLE != 0 {
            return Err(incompatible(format_args!("the file has the unknown flags {flags:#x}"))
                .with("incompatible", flags));
        }
        let (compatible, first_seq) = (u32_at(frame.bytes, 32), u64_at(frame.bytes, 64));
        Ok(Some(Self { identity, compatible, first_seq }))
    }

    /// The header of an open file, as [`Header::parse`].
    pub(crate) fn read(file: &dyn File, kind: FileKind) -> Result<Option<Self>> {
        let mut bytes = [0; 4096];
        let count = file.read_at(0, &mut bytes)?;
        Self::parse(bytes.get(..count).unwrap_or_default(), kind)
    }

    /// Refuses a header that is not the expected file's.
    pub(super) fn expect(&self, identity: &Identity, path: &Path) -> Result<()> {
        if self.identity == *identity {
            return Ok(());
        }
        Err(corrupt(path, "it is another file under this name: the store or the number in it differ"))
    }
}
