//! The manifest: which sealed segments make up the store, and what else must be known to open it.
//!
//! One JSON object, a line feed, and a line `crc32c:` with eight hexadecimal digits over everything before it. It is
//! replaced as a whole and durably (`write_atomically`).

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::file::{FileKind, Footer, Identity, Limits, SegmentFile, VERSION};
use crate::error::{Code, Error, Result};
use crate::storage::{Storage, read_all, write_atomically};

/// The largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
const PREFIX: &str = "seg-";
const SUFFIX: &str = ".esf";

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
}

/// Events below `below_seq` that are older than `before_time` are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prune {
    pub(crate) before_time: i64,
    pub(crate) below_seq: u64,
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
        format!("{PREFIX}{first_seq:016x}-{file:016x}{SUFFIX}")
    }
}

/// The first `seq` and the file number of a segment file of this name; `None` for other files.
pub(crate) fn segment_numbers(name: &str) -> Option<(u64, u64)> {
    let (first, file) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16);
    Some((number(first)?, number(file)?))
}

impl Manifest {
    /// What the manifest is called.
    pub(crate) const NAME: &str = "MANIFEST";

    /// The manifest of a new store.
    pub(crate) fn new(store: [u8; 16], hash_seed: u64) -> Self {
        Self {
            format: "esf-manifest".to_owned(),
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
        }
    }

    /// The store's identity.
    pub(crate) fn store_id(&self) -> Result<[u8; 16]> {
        let wrong = || Error::new(Code::DataCorruption, format!("the manifest's store is {:?}", self.store));
        let number = u128::from_str_radix(&self.store, 16).ok().filter(|_| self.store.len() == 32);
        number.map(u128::to_be_bytes).ok_or_else(wrong)
    }

    /// Reads the manifest of a directory.
    ///
    /// Errors: `data_corruption` when it is not whole, `incompatible_format` when this version cannot read it.
    pub(crate) fn load(storage: &dyn Storage, directory: &Path) -> Result<Self> {
        let path = directory.join(Self::NAME);
        let bytes = read_all(storage, &path, MAX_BYTES)?;
        Self::parse(&bytes).map_err(|error| error.with("path", path.to_string_lossy()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let corrupt =
            |what: &str| Error::new(Code::DataCorruption, format!("the manifest is damaged: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not text"))?;
        let body = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (body, last) = body.ok_or_else(|| corrupt("it has no last line"))?;
        let sum = last.strip_prefix("crc32c:").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let signed = bytes.get(..=body.len()).unwrap_or_default();
        if sum != Some(crc32c::crc32c(signed)) {
            return Err(corrupt("its checksum does not hold"));
        }
        let tree: Value = serde_json::from_str(body).map_err(|error| corrupt(&error.to_string()))?;
        let number = |name: &str| tree.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX);
        if tree.get("format").and_then(Value::as_str) != Some("esf-manifest") {
            return Err(corrupt("it is no manifest of an event store"));
        }
        if number("version") != u64::from(VERSION) || number("incompatible") != 0 {
            let message = format!(
                "the store is of version {} with flags {}; this library reads version {VERSION}",
                number("version"),
                number("incompatible")
            );
            return Err(Error::new(Code::IncompatibleFormat, message));
        }
        serde_json::from_value(tree).map_err(|error| corrupt(&error.to_string()))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| {
            Error::new(Code::SerializationFailed, format!("the manifest cannot be written: {error}"))
        })?;
        bytes.push(b'\n');
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(format!("crc32c:{sum:08x}\n").as_bytes());
        Ok(bytes)
    }

    /// Puts it in the place of the old one, durably.
    pub(crate) fn store(&self, storage: &dyn Storage, directory: &Path) -> Result<()> {
        write_atomically(storage, &directory.join(Self::NAME), &self.to_bytes()?)
    }

    /// Makes a manifest up from the segments that are there; logs are all read then. What only the manifest knew is
    /// lost: prunes that segments still hold, and counters.
    pub(crate) fn rebuild(storage: &dyn Storage, directory: &Path) -> Result<Self> {
        let names = storage.list(directory)?;
        let mut store = None;
        let mut rows: Vec<SegmentRow> = Vec::new();
        let mut next_file = 1;
        for (name, (_, file)) in names.iter().filter_map(|name| Some((name, segment_numbers(name)?))) {
            next_file = next_file.max(file + 1);
            let path = directory.join(name);
            let Some(header) =
                super::super::file::Header::read(&*storage.open_read(&path)?, FileKind::Segment)?
            else {
                continue;
            };
            if *store.get_or_insert(header.identity.store) != header.identity.store {
                continue;
            }
            let segment = SegmentFile::open(storage, &path, header.identity, Limits::default())?;
            let footer = segment.footer();
            let raw: u64 = footer.blocks.iter().map(|block| u64::from(block.events) * 96).sum();
            let record_bytes = raw + 64 * segment.file_bytes()?;
            if footer.events > 0 {
                let seqs = (footer.first_seq, footer.last_seq);
                rows.push(SegmentRow::new(file, seqs, footer, segment.file_bytes()?, record_bytes));
            }
        }
        if store.is_none() {
            for name in names.iter().filter(|name| super::logs::log_number(name).is_some()) {
                let file = storage.open_read(&directory.join(name))?;
                if let Some(header) = super::super::file::Header::read(&*file, FileKind::Log)? {
                    store = Some(header.identity.store);
                    break;
                }
            }
        }
        let Some(store) = store else {
            let message = format!(
                "{} has files of an event store, and neither its manifest nor any file's header can be read",
                directory.display()
            );
            return Err(Error::new(Code::DataCorruption, message).with("path", directory.to_string_lossy()));
        };
        rows.sort_by_key(|row| (row.first_seq, row.file));
        // Of segments that overlap, the later file took the place of the earlier ones.
        let mut kept: Vec<SegmentRow> = Vec::new();
        for row in rows {
            while kept.last().is_some_and(|last| last.last_seq >= row.first_seq && last.file < row.file) {
                kept.pop();
            }
            if kept.last().is_none_or(|last| last.last_seq < row.first_seq) {
                kept.push(row);
            }
        }
        let mut manifest = Self::new(store, super::super::random::word());
        manifest.next_file = next_file;
        manifest.sealed_seq = kept.last().map_or(1, |last| last.last_seq + 1);
        manifest.low_seq = kept.first().map_or(1, |first| first.first_seq);
        manifest.next_id = kept.iter().map(|row| row.max_id + 1).max().unwrap_or(1).min(1 << 58);
        manifest.segments = kept;
        Ok(manifest)
    }
}

/// The identity of a segment file.
pub(crate) fn identity(store: [u8; 16], number: u64) -> Identity {
    Identity { kind: FileKind::Segment, store, number }
}
