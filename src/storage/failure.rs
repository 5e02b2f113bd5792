//! What can go wrong with a file, the same for the real and the simulated disk.

use std::io;
use std::path::Path;

use crate::error::{Code, Error};

/// Why a file operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such file or directory.
    #[error("there is no such file or directory")]
    NotFound,
    /// Something of this name exists.
    #[error("it exists already")]
    AlreadyExists,
    /// The disk or the user's share of it is full.
    #[error("the disk is full")]
    NoSpace,
    /// The process has as many files open as it may.
    #[error("too many files are open; raise the limit of open files")]
    TooManyFiles,
    /// The process may not do this here.
    #[error("permission denied")]
    PermissionDenied,
    /// The file system may not be written.
    #[error("the file system is read-only")]
    ReadOnly,
    /// A file was expected; this is a directory.
    #[error("it is a directory")]
    IsADirectory,
    /// A directory was expected; this is a file.
    #[error("it is not a directory")]
    NotADirectory,
    /// A directory that holds something cannot be removed or replaced.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The directory that is held on to does not have its name any more.
    #[error("it was renamed, removed or replaced while it was in use")]
    Moved,
    /// The file cannot be mapped, for this reason.
    #[error("the file cannot be mapped into memory: {0}")]
    MappingRefused(String),
    /// Bytes were to be written outside a mapping.
    #[error("that is beyond the end of what is mapped")]
    BeyondMapping,
    /// Somebody else holds the lock.
    #[error("it is locked by {0}")]
    Locked(String),
    /// The simulated machine has lost its power.
    #[error("the machine has lost its power")]
    PowerLost,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The word for it in `context.kind`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::NoSpace => "no_space",
            Self::TooManyFiles => "too_many_files",
            Self::PermissionDenied => "permission_denied",
            Self::ReadOnly => "read_only",
            Self::IsADirectory => "is_a_directory",
            Self::NotADirectory => "not_a_directory",
            Self::NotEmpty => "not_empty",
            Self::Moved => "moved",
            Self::MappingRefused(_) => "mapping_refused",
            Self::BeyondMapping => "beyond_mapping",
            Self::Locked(_) => "locked",
            Self::PowerLost => "power_lost",
            Self::Other(_) => "other",
        }
    }

    /// Whether this error is a failure of this kind.
    pub fn is(&self, error: &Error) -> bool {
        error.context().get("kind").is_some_and(|kind| kind == self.name())
    }

    fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::DataNotFound,
            Self::NoSpace => Code::NoSpace,
            Self::TooManyFiles => Code::ResourceExhausted,
            Self::Locked(_) => Code::Locked,
            Self::MappingRefused(_) => Code::OperationForbidden,
            _ => Code::IoError,
        }
    }

    /// The error that callers see: what was to be done, with which file, and why it was not.
    pub(super) fn at(self, operation: &str, path: &Path) -> Error {
        let error = Error::new(self.code(), format!("cannot {operation} {}: {self}", path.display()))
            .with("path", path.to_string_lossy())
            .with("operation", operation)
            .with("kind", self.name());
        match self {
            Self::Locked(holder) => error.with("holder", holder),
            _ => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::IsADirectory => Self::IsADirectory,
            io::ErrorKind::NotADirectory => Self::NotADirectory,
            io::ErrorKind::DirectoryNotEmpty => Self::NotEmpty,
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Self::TooManyFiles,
            _ => Self::Other(error.to_string()),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn system_errors_get_their_codes() {
        for (errno, code, kind) in [
            (libc::ENOENT, Code::DataNotFound, "not_found"),
            (libc::EEXIST, Code::IoError, "already_exists"),
            (libc::ENOSPC, Code::NoSpace, "no_space"),
            (libc::EDQUOT, Code::NoSpace, "no_space"),
            (libc::EMFILE, Code::ResourceExhausted, "too_many_files"),
            (libc::EROFS, Code::IoError, "read_only"),
            (libc::EACCES, Code::IoError, "permission_denied"),
            (libc::EISDIR, Code::IoError, "is_a_directory"),
            (libc::ENOTDIR, Code::IoError, "not_a_directory"),
            (libc::ENOTEMPTY, Code::IoError, "not_empty"),
            (libc::EIO, Code::IoError, "other"),
        ] {
            let error = Failure::from(io::Error::from_raw_os_error(errno)).at("write", Path::new("/a/b"));
            assert_eq!((error.code(), &error.context()["kind"]), (code, &kind.into()), "{error}");
            assert!(error.message().starts_with("cannot write /a/b: "), "{error}");
        }
        let error = Failure::Locked("web, process 7".into()).at("lock", Path::new("x"));
        assert_eq!((error.code(), &error.context()["holder"]), (Code::Locked, &"web, process 7".into()));
        let error = Failure::MappingRefused("too short".into()).at("map", Path::new("x"));
        assert_eq!(
            (error.code(), &error.context()["kind"]),
            (Code::OperationForbidden, &"mapping_refused".into())
        );
    }
}
