//! The manifest: which sealed segments make up the store, and what else must be known to open it.
//!
//! One JSON object, a line feed, and a line `crc32c:` with eight hexadecimal digits over everything before it. It is
//! replaced as a whole and durably (`write_atomically`); a damaged one is an error and never an empty store.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::frame::{FileKind, Identity, VERSION};
use super::layout::{FileName, MANIFEST};
use super::segment_write::Footer;
use super::{corrupt, incompatible};
use crate::error::{Code, Error, Result};
use crate::storage::{Storage, read_all, write_atomically};

/// What `format` says.
const FORMAT: &str = "esf-manifest";
/// The manifest's flags that this version knows.
const KNOWN_INCOMPATIBLE: u32 = 0;
/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// The line with the checksum: its start, 8 digits, a line feed.
const CHECKSUM: &str = "crc32c:";
const CHECKSUM_LINE: usize = CHECKSUM.len() + 9;

/// What makes up a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    /// Flags: a reader that does not know one refuses the store.
    incompatible: u32,
    /// Flags: a reader that does not know one reads on.
    compatible: u32,
    /// The store's identity, 32 hexadecimal digits.
    store: String,
    /// The seed of the hashes in filters.
    pub(crate) hash_seed: u64,
    /// The number that the next segment file gets.
    pub(crate) next_file: u64,
    /// The number that the next log gets, at least.
    pub(crate) next_log: u64,
    /// Logs with a number below it hold nothing that is needed.
    pub(crate) log_floor: u64,
    /// Every event below it is in a segment or gone.
    pub(crate) sealed_seq: u64,
    /// The id that the next event gets, at least.
    pub(crate) next_id: u64,
    /// Whether the host brought ids far above those that the store gives.
    pub(crate) scattered: bool,
    /// No event below it is there.
    pub(crate) low_seq: u64,
    /// What was pruned.
    #[serde(default)]
    pub(crate) prunes: Vec<Prune>,
    /// What is missing.
    #[serde(default)]
    pub(crate) gaps: Vec<MissingRange>,
    /// What has become of events that are gone.
    #[serde(default)]
    pub(crate) books: GoneBooks,
    /// The run-time configuration as of `sealed_seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Value>,
    /// No event has a later time that the store's clock gave.
    pub(crate) newest_time: i64,
    /// The sealed segments, oldest first.
    pub(crate) segments: Vec<SegmentRow>,
    /// What later versions have added to the outer object; written back as it was.
    #[serde(flatten)]
    pub(super) unknown: Map<String, Value>,
}

/// What is looked at before anything else is believed.
#[derive(Deserialize)]
struct Flags {
    format: String,
    version: u32,
    incompatible: u32,
}

/// Events below `below_seq` that are older than `before_time` are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prune {
    pub(crate) before_time: i64,
    pub(crate) below_seq: u64,
}

impl Prune {
    /// Whether it removed the event of this time and `seq`.
    pub(crate) fn covers(&self, time: i64, seq: u64) -> bool {
        time < self.before_time && seq < self.below_seq
    }
}

/// Events that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MissingRange {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) reason: String,
}

/// How many events are gone, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoneBooks {
    pub(crate) pruned: u64,
    pub(crate) expired: u64,
    pub(crate) lost: u64,
}

/// A sealed segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) file: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) events: u64,
    /// Events that were not removed since.
    pub(crate) live: u64,
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    pub(crate) min_id: u64,
    pub(crate) max_id: u64,
    /// Bytes of the file, and of its records in memory.
    pub(crate) bytes: u64,
    pub(crate) record_bytes: u64,
}

impl SegmentRow {
    /// The row of a segment that was just written and holds what there is from `first_seq` to `last_seq`.
    pub(crate) fn new(
        file: u64,
        (first_seq, last_seq): (u64, u64),
        footer: &Footer,
        bytes: u64,
        record_bytes: u64,
    ) -> Self {
        Self {
            file,
            first_seq,
            last_seq,
            events: footer.events,
            live: footer.events,
            min_time: footer.min_time,
            max_time: footer.max_time,
            min_id: footer.min_id,
            max_id: footer.max_id,
            bytes,
            record_bytes,
        }
    }

    /// What its file is called.
    pub(crate) fn file_name(&self) -> String {
        Self::name(self.file, self.first_seq)
    }

    /// What the file of a segment is called.
    pub(crate) fn name(file: u64, first_seq: u64) -> String {
        FileName::Segment { first_seq, number: file }.to_string()
    }
}

/// The first `seq` and the file number of a segment file of this name; `None` for other files.
pub(crate) fn segment_numbers(name: &str) -> Option<(u64, u64)> {
    match FileName::parse(name)? {
        FileName::Segment { first_seq, number } => Some((first_seq, number)),
        FileName::Log { .. } => None,
    }
}

impl Manifest {
    /// What the manifest is called.
    pub(crate) const NAME: &str = MANIFEST;

    /// The manifest of a new store.
    pub(crate) fn new(store: [u8; 16], hash_seed: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            store: format!("{:032x}", u128::from_be_bytes(store)),
            hash_seed,
            next_file: 1,
            next_log: 1,
            log_floor: 1,
            sealed_seq: 1,
            next_id: 1,
            scattered: false,
            low_seq: 1,
            prunes: Vec::new(),
            gaps: Vec::new(),
            books: GoneBooks::default(),
            config: None,
            newest_time: i64::MIN,
            segments: Vec::new(),
            unknown: Map::new(),
        }
    }

    /// The store's identity.
    pub(crate) fn store_id(&self) -> Result<[u8; 16]> {
        let wrong = || Error::new(Code::DataCorruption, format!("the manifest's store is {:?}", self.store));
        let digits = self.store.len() == 32 && self.store.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(&self.store, 16).ok().filter(|_| digits);
        number.map(u128::to_be_bytes).ok_or_else(wrong)
    }

    /// Reads the manifest of a directory.
    ///
    /// Errors: `data_corruption` when it is not whole, `incompatible_format` when this version cannot read it.
    pub(crate) fn load(storage: &dyn Storage, directory: &Path) -> Result<Self> {
        let path = directory.join(Self::NAME);
        Self::parse(&read_all(storage, &path, MAX_BYTES)?, &path)
    }

    /// The manifest of these bytes; `path` is for messages.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let broken = || corrupt(path, "the manifest is damaged: its checksum does not hold");
        let split = bytes.len().checked_sub(CHECKSUM_LINE).ok_or_else(broken)?;
        let (body, line) = bytes.split_at_checked(split).ok_or_else(broken)?;
        if line != format!("{CHECKSUM}{:08x}\n", crc32c::crc32c(body)).as_bytes() {
            return Err(broken());
        }
        let unreadable = |error: serde_json::Error| corrupt(path, format_args!("it is no manifest: {error}"));
        let flags: Flags = serde_json::from_slice(body).map_err(unreadable)?;
        if flags.format != FORMAT {
            return Err(corrupt(
                path,
                format_args!("it is no manifest of an event store but {:?}", flags.format),
            ));
        }
        if flags.version != VERSION || flags.incompatible & !KNOWN_INCOMPATIBLE != 0 {
            let (version, unknown) = (flags.version, flags.incompatible);
            return Err(incompatible(format_args!(
                "the store is of version {version} with the flags {unknown:#x}"
            ))
            .with("path", path.to_string_lossy())
            .with("version", version)
            .with("incompatible", unknown));
        }
        let manifest: Self = serde_json::from_slice(body).map_err(unreadable)?;
        manifest.store_id()?;
        Ok(manifest)
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| {
            Error::new(Code::SerializationFailed, format!("the manifest cannot be written: {error}"))
        })?;
        bytes.push(b'\n');
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(format!("{CHECKSUM}{sum:08x}\n").as_bytes());
        Ok(bytes)
    }

    /// Puts it in the place of the old one, durably.
    pub(crate) fn store(&self, storage: &dyn Storage, directory: &Path) -> Result<()> {
        write_atomically(storage, &directory.join(Self::NAME), &self.to_bytes()?)
    }
}

/// The identity of a segment file.
pub(crate) fn identity(store: [u8; 16], number: u64) -> Identity {
    Identity { kind: FileKind::Segment, store, number }
}
