//! The bytes on disk: how events, logs, sealed segments and the manifest are written and read back.
//!
//! Pure code over byte slices and [`crate::storage`]: no thread, no clock, no lock. docs/file-format.md is the
//! reference, and `tests/format/reader.py` a second reader written from it. All files are rows of frames
//! (`frame`), whose checksums are salted with the identity of the file, so that bytes left behind by another file
//! never check. A log (`log_write`, `log_read`) takes events as they come; a sealed segment (`segment_write`,
//! `segment_read`) holds the same events in compressed columns (`columns`, `codec`); the manifest says which
//! files there are.
//!
//! # Invariants
//! - Nothing is returned that did not check: every frame's checksum, and before it every length against the
//!   frame's own fields and the file.
//! - Readers never panic and never allocate more than the file's length or a stated bound asks for.
//! - Damage costs the block it is in: a log goes on at its next resync marker, a segment at its next block.

mod bytes;
mod codec;
mod columns;
mod frame;
mod layout;
mod log_read;
mod log_write;
pub(crate) mod manifest;
mod names;
mod rebuild;
mod segment_read;
mod segment_write;
mod window;

pub(crate) use codec::Codec;
pub(crate) use frame::{FileKind, Header, Identity};
pub(crate) use log_read::{DamageKind, LogItem, scan_log};
pub(crate) use log_write::LogEncoder;
pub(crate) use segment_read::{Limits, Scratch, SegmentFile};
pub(crate) use segment_write::{Filter, Footer, SegmentEncoder, SegmentOptions};

#[cfg(all(test, not(loom)))]
mod tests;

use std::path::Path;

use crate::error::{Code, Error};

/// Bytes between resync markers of a log, and the raw size that a block of a segment aims at.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// The file does not hold what was written to it.
fn corrupt(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(Code::DataCorruption, format!("{}: {what}", path.display()))
        .with("path", path.to_string_lossy())
}

/// The file is of a format that this version does not know.
fn incompatible(what: impl std::fmt::Display) -> Error {
    Error::new(
        Code::IncompatibleFormat,
        format!("{what}; open the store with a newer version of the library"),
    )
}
