//! Reading a file through a buffer that moves along.

use super::frame::{Frame, Salt, check_at, checked};
use crate::error::{Code, Error, Result};
use crate::storage::File;

/// How much is read at a time.
const CHUNK: usize = 1 << 20;
/// What cannot be read costs a piece of this size.
const PIECE: usize = 4096;
/// How often a piece is tried.
const TRIES: usize = 3;
/// How often the length of a file may be spent on frames that do not check. A damaged file needs less than once; one
/// that was made to keep a reader busy could ask for the length squared.
const PATIENCE: u64 = 16;

/// A stretch of a file in memory. Pieces that the disk cannot give read as zeros, which never check.
#[derive(Debug)]
pub(super) struct Window<'f> {
    file: &'f dyn File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
    unreadable: u64,
    /// Bytes that may still turn out not to check.
    patience: u64,
}

impl<'f> Window<'f> {
    pub(super) fn new(file: &'f dyn File, length: u64) -> Self {
        let patience = length.saturating_mul(PATIENCE);
        Self { file, length, start: 0, bytes: Vec::new(), unreadable: 0, patience }
    }

    /// Bytes of the file that are looked at.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// How many bytes the disk could not give.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The file from this offset on: at least `want` bytes if it has so many.
    pub(super) fn slice(&mut self, offset: u64, want: usize) -> Result<&[u8]> {
        let there = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        if self.loaded(offset).len() < want.min(there) {
            self.load(offset, want.max(CHUNK).min(there))?;
        }
        Ok(self.loaded(offset))
    }

    /// The frame at this offset, as [`check_at`], which starts with bytes that make this length plausible.
    pub(super) fn frame(&mut self, offset: u64, length: usize, salt: Salt) -> Result<Option<Frame<'_>>> {
        let bytes = length as u64;
        if bytes > self.length.saturating_sub(offset) || bytes > self.patience {
            return Ok(None);
        }
        if check_at(self.slice(offset, length)?, salt, offset).is_none() {
            self.patience -= bytes;
            return Ok(None);
        }
        // Checked above; the borrow of a frame that is handed out cannot be held across the other branch.
        Ok(checked(self.loaded(offset), length))
    }

    /// What is in memory from this offset on.
    pub(super) fn loaded(&self, offset: u64) -> &[u8] {
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default()
    }

    fn load(&mut self, offset: u64, count: usize) -> Result<()> {
        self.bytes.clear();
        self.start = offset;
        if self.bytes.try_reserve_exact(count).is_err() {
            let message = format!("no memory for {count} bytes of a file");
            return Err(Error::new(Code::NoMemory, message).with("bytes", count));
        }
        self.bytes.resize(count, 0);
        match self.file.read_at(offset, &mut self.bytes) {
            Ok(read) => self.bytes.truncate(read),
            Err(error) if is_of_the_medium(&error) => {
                let mut at = offset;
                for piece in self.bytes.chunks_mut(PIECE) {
                    if !read_piece(self.file, at, piece)? {
                        self.unreadable += piece.len() as u64;
                    }
                    at += piece.len() as u64;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether it was read; if the medium cannot give it, it is all zeros.
pub(super) fn read_piece(file: &dyn File, offset: u64, piece: &mut [u8]) -> Result<bool> {
    for _ in 0..TRIES {
        match file.read_at(offset, piece) {
            Ok(_) => return Ok(true),
            Err(error) if is_of_the_medium(&error) => {}
            Err(error) => return Err(error),
        }
    }
    piece.fill(0);
    Ok(false)
}

/// Whether reading elsewhere may still work.
fn is_of_the_medium(error: &Error) -> bool {
    error.code() == Code::IoError && error.context().get("kind").is_some_and(|kind| kind == "other")
}
