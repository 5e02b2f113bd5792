//! The file-system seam: everything that touches a disk goes through [`Storage`].
//!
//! [`RealStorage`] is the only place in the library that calls `std::fs`. [`SimStorage`] keeps files in
//! memory and knows which bytes and names would survive a power failure, so that a test can pull the plug
//! at any operation and look at what is left; its choices come from a seed. Both pass one contract suite
//! (`tests/contract/storage.rs`).
//!
//! Durability is explicit, as POSIX has it: what was written is durable after [`File::sync`]; that a file
//! exists under its name is durable after [`Storage::sync_dir`] of its directory. [`write_atomically`]
//! does both in the right order.

mod atomic;
mod failure;
mod real;
mod sim;

use std::fmt;
use std::path::Path;

pub use atomic::{Writer, is_temporary, read_all, write_atomically, write_atomically_with};
pub use failure::Failure;
pub use real::RealStorage;
pub use sim::SimStorage;

use crate::error::Result;

/// A file system, as much of it as the library needs.
///
/// Errors name the operation and the path: `data_not_found`, `no_space`, `locked`, `resource_exhausted`
/// (too many open files) or `io_error`; `context.kind` is the [`Failure`]'s name.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes a file that must not exist yet, empty, for appending and reading.
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Opens an existing file for appending and reading.
    fn open_append(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Gives a file another name; one that has that name already is replaced, in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file. Files that have it open can go on.
    fn remove(&self, path: &Path) -> Result<()>;

    /// The names in a directory, sorted. Names that are not UTF-8 are not ours and left out.
    fn list(&self, directory: &Path) -> Result<Vec<String>>;

    /// Makes a directory and those above it; fine if they exist.
    fn create_dir_all(&self, directory: &Path) -> Result<()>;

    /// Makes durable which names a directory holds.
    fn sync_dir(&self, directory: &Path) -> Result<()>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// Takes an exclusive lock on this file, made if it does not exist, until the lock is dropped. It
    /// keeps out other processes and other copies of the library in this one. `locked`, naming the holder
    /// in `context.holder`, when it is taken; never waits.
    fn lock(&self, path: &Path, holder: &str) -> Result<Lock>;
}

/// An open file: written at its end only, read anywhere.
pub trait File: Send + fmt::Debug {
    /// Appends all of these bytes. After an error some of them may be there.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;

    /// Returns once everything written so far is durable. After an error nothing is known about it, and
    /// syncing again proves nothing: write the data to another file.
    fn sync(&mut self) -> Result<()>;

    /// Fills the buffer from this offset; answers how much there was, less than asked only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// How many bytes the file has.
    fn len(&self) -> Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A lock on a file, held until this is dropped.
#[must_use = "the lock is given back when this is dropped"]
pub struct Lock {
    _held: Box<dyn Send + Sync>,
}

impl Lock {
    fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}
