//! Errors on request: the n-th operation of a kind fails as a system call would.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::storage::Failure;

/// The kinds of operations of a simulated disk. Writing through a mapping is none that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `create_new`.
    Create,
    /// `open_write`, `open_read` and `hold_dir`.
    Open,
    /// `read_at`.
    Read,
    /// `write_all` and `write_at`.
    Write,
    /// `allocate`.
    Allocate,
    /// `set_len`.
    SetLen,
    /// `map`.
    Map,
    /// Writing to a mapping.
    MappedWrite,
    /// `sync` of a file.
    Sync,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
    /// `remove_dir`.
    RemoveDir,
    /// `create_dir_all`.
    CreateDir,
    /// `sync_dir`.
    SyncDir,
    /// `list`.
    List,
    /// `exists`, `size`, `len`, `available_bytes` and `check` of a directory.
    Look,
    /// `lock`.
    Lock,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Allocate,
        Self::SetLen,
        Self::Map,
        Self::MappedWrite,
        Self::Sync,
        Self::Rename,
        Self::Remove,
        Self::RemoveDir,
        Self::CreateDir,
        Self::SyncDir,
        Self::List,
        Self::Look,
        Self::Lock,
    ];
}

/// An error to come. See [`SimStorage::inject`](super::SimStorage::inject).
///
/// What the error leaves behind is what a real disk might leave: a failed write has written a front part; a
/// failed sync has synced some sectors, and the others are lost for good although a later sync succeeds, as
/// Linux has it; a failed allocation has changed nothing; all others have done nothing.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Option<Operation>,
    path: Option<String>,
    errno: i32,
    after: u64,
    times: u64,
}

impl Fault {
    /// Every operation of this kind fails with this number of errno.h.
    pub fn new(operation: Operation, errno: i32) -> Self {
        Self { operation: Some(operation), path: None, errno, after: 0, times: u64::MAX }
    }

    /// Every operation of whatever kind fails with this number of errno.h.
    pub fn any(errno: i32) -> Self {
        Self { operation: None, path: None, errno, after: 0, times: u64::MAX }
    }

    /// The first `count` operations that it concerns go well.
    #[must_use]
    pub fn after(self, count: u64) -> Self {
        Self { after: count, ..self }
    }

    /// After `count` failures it is over.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { times: count, ..self }
    }

    /// Only paths that contain this text are concerned.
    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// Whether this operation is to fail, which is counted.
    fn strikes(&mut self, operation: Operation, path: &Path) -> Option<Failure> {
        let concerned = self.operation.is_none_or(|other| other == operation)
            && operation != Operation::MappedWrite
            && self.path.as_ref().is_none_or(|text| path.to_string_lossy().contains(text));
        if !concerned {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(io::Error::from_raw_os_error(self.errno).into())
    }
}

type Watch = Arc<dyn Fn(Operation, &Path) + Send + Sync>;

/// What is to fail, and who watches.
#[derive(Clone, Default)]
pub(super) struct Faults {
    pending: Vec<Fault>,
    pub(super) watch: Option<Watch>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.pending.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    pub(super) fn strike(&mut self, operation: Operation, path: &Path) -> Option<Failure> {
        let struck = self.pending.iter_mut().find_map(|fault| fault.strikes(operation, path));
        self.pending.retain(|fault| fault.times > 0);
        struck
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("pending", &self.pending).finish_non_exhaustive()
    }
}
