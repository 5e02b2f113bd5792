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

pub use atomic::{
    Writer, create_dir_durably, is_temporary, read_all, write_atomically, write_atomically_with,
};
pub use failure::Failure;
pub use real::RealStorage;
pub use sim::{Fault, Operation, SimStorage, Snapshot};

use crate::error::Result;

/// A file system, as much of it as the library needs.
///
/// Errors name the operation and the path: `data_not_found`, `no_space`, `locked`, `resource_exhausted`
/// (too many open files), `operation_forbidden` (a mapping) or `io_error`; `context.kind` is the
/// [`Failure`]'s name.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes a file that must not exist yet, empty, for writing and reading.
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Opens an existing file for writing and reading.
    fn open_write(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> Result<Box<dyn File>>;

    /// Gives a file another name; one that has that name already is replaced, in one step. A directory
    /// can be renamed too, over nothing or an empty one.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file. Files that have it open can go on.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes a directory, which must be empty (`context.kind` is `not_empty` else).
    fn remove_dir(&self, directory: &Path) -> Result<()>;

    /// The names in a directory, sorted. Names that are not UTF-8 are not ours and left out.
    fn list(&self, directory: &Path) -> Result<Vec<String>>;

    /// Makes a directory and those above it; fine if they exist.
    fn create_dir_all(&self, directory: &Path) -> Result<()>;

    /// Makes durable which names a directory holds.
    fn sync_dir(&self, directory: &Path) -> Result<()>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// How many bytes the file of this name has.
    fn size(&self, path: &Path) -> Result<u64>;

    /// How many bytes this process may still write to the file system that holds this file or directory.
    fn available_bytes(&self, path: &Path) -> Result<u64>;

    /// Holds on to a directory, to notice when its name comes to mean another one or none.
    fn hold_dir(&self, directory: &Path) -> Result<Box<dyn Directory>>;

    /// Takes an exclusive lock on this file, made if it does not exist, until the lock is dropped. It
    /// keeps out other processes and other copies of the library in this one. `locked`, naming the holder
    /// in `context.holder`, when it is taken; never waits.
    fn lock(&self, path: &Path, holder: &str) -> Result<Lock>;
}

/// A directory that is held on to. A store checks it before it makes or replaces a file, so that a
/// directory which somebody moved away or removed is an error, not the place of a new and empty store.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Whether the directory still has the name that it was held by; an error whose `context.kind` is
    /// `moved` or `not_found` if not.
    fn check(&self) -> Result<()>;
}

/// An open file. One handle at a time writes to a file; any number read it.
pub trait File: Send + fmt::Debug {
    /// Appends all of these bytes. After an error some of them may be there.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;

    /// Writes all of these bytes from this offset on, over what is there; a gap between the end and the
    /// offset reads as zeros. After an error some of them may be there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes the file at least this long with zeros that are written, not merely promised: later writes
    /// into them sync faster, and that the disk is full shows here. Does nothing to a file that is as long.
    /// After an error the file is as long as before.
    fn allocate(&mut self, len: u64) -> Result<()>;

    /// Cuts the file to this length, or extends it by zeros that take no space.
    fn set_len(&mut self, len: u64) -> Result<()>;

    /// Maps the first `len` bytes of the file for writing through memory, which costs no system call.
    /// What is written there can be read from the file at once, survives the end of the process, and is
    /// durable after the next [`sync`](Self::sync). The mapping outlives this handle.
    ///
    /// `operation_forbidden` (`context.kind` is `mapping_refused`) when the file is shorter than `len`, on
    /// a network or user-space file system, and where space cannot be reserved. If another program cuts the
    /// file while it is mapped, writing ends the process with SIGBUS.
    fn map(&self, len: u64) -> Result<Box<dyn Mapping>>;

    /// Returns once everything written so far, through this handle, another one or a mapping, is durable,
    /// the file's length too. After an error nothing is known about it, and syncing again proves nothing:
    /// write the data to another file.
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

/// The beginning of a file as memory, for writing only; unmapped when dropped.
pub trait Mapping: Send + fmt::Debug {
    /// Writes these bytes at this offset. An error, and nothing written, when they do not fit the mapping.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Has the pages of this range ready, so that the first write to each does not wait for the kernel. A
    /// hint: it changes no byte, never fails, and a range beyond the end is cut.
    fn prefault(&self, from: u64, to: u64);
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
