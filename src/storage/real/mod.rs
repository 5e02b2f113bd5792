//! The machine's file system.

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

mod mapping;
mod space;

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Directory, Failure, File, Lock, Mapping, Storage};
use crate::error::Result;

/// Files on disk. Paths are taken as they are; every descriptor is closed on exec.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

/// How much of a lock file is read to name its holder.
const HOLDER_BYTES: u64 = 256;

impl Storage for RealStorage {
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>> {
        open(OpenOptions::new().read(true).write(true).create_new(true), "create", path)
    }

    fn open_write(&self, path: &Path) -> Result<Box<dyn File>> {
        open(OpenOptions::new().read(true).write(true), "open", path)
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn File>> {
        open(OpenOptions::new().read(true), "open", path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|cause| failed(cause, "rename", from).with("to", to.to_string_lossy()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|cause| failed(cause, "remove", path))
    }

    fn remove_dir(&self, directory: &Path) -> Result<()> {
        fs::remove_dir(directory).map_err(|cause| failed(cause, "remove", directory))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        let read = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(here(directory))? {
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        let mut names = read().map_err(|cause| failed(cause, "list", directory))?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(here(directory)).map_err(|cause| failed(cause, "create", directory))
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        let sync = || fs::File::open(here(directory))?.sync_all();
        sync().map_err(|cause| failed(cause, "sync", directory))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        fs::exists(path).map_err(|cause| failed(cause, "look for", path))
    }

    fn size(&self, path: &Path) -> Result<u64> {
        let metadata = fs::metadata(path).map_err(|cause| failed(cause, "measure", path))?;
        if metadata.is_dir() { Err(Failure::IsADirectory.at("measure", path)) } else { Ok(metadata.len()) }
    }

    fn available_bytes(&self, path: &Path) -> Result<u64> {
        space::available(here(path)).map_err(|cause| failed(cause, "measure the space of", path))
    }

    fn hold_dir(&self, directory: &Path) -> Result<Box<dyn Directory>> {
        let open = || {
            let file = fs::File::open(here(directory))?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = open().map_err(|cause| failed(cause, "open", directory))?;
        if !metadata.is_dir() {
            return Err(Failure::NotADirectory.at("open", directory));
        }
        let identity = (metadata.dev(), metadata.ino());
        Ok(Box::new(RealDirectory { _file: file, path: directory.to_owned(), identity }))
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Lock> {
        let fail = |cause| failed(cause, "lock", path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(fail)?;
        // This is flock: it belongs to the open file, so it also keeps out another copy of the library in
        // this process.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut bytes = Vec::new();
                // The name is a courtesy: the lock is held whether it can be read or not.
                let _ = file.take(HOLDER_BYTES).read_to_end(&mut bytes);
                let named = String::from_utf8_lossy(&bytes).trim().to_owned();
                let holder = if named.is_empty() { "somebody unnamed".to_owned() } else { named };
                return Err(Failure::Locked(holder).at("lock", path));
            }
            Err(TryLockError::Error(cause)) => return Err(fail(cause)),
        }
        let name = format!("{holder}, process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(name.as_bytes()))
            .map_err(fail)?;
        Ok(Lock::new(RealLock { file, process: std::process::id() }))
    }
}

/// Its number stays taken while it is open, so no newcomer can be mistaken for it.
#[derive(Debug)]
struct RealDirectory {
    _file: fs::File,
    path: PathBuf,
    identity: (u64, u64),
}

impl Directory for RealDirectory {
    fn check(&self) -> Result<()> {
        let named = fs::metadata(here(&self.path)).map_err(|cause| failed(cause, "look for", &self.path))?;
        if (named.dev(), named.ino()) == self.identity {
            Ok(())
        } else {
            Err(Failure::Moved.at("look for", &self.path))
        }
    }
}

/// An open file that is locked; closing it gives the lock back.
struct RealLock {
    file: fs::File,
    process: u32,
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // The child of a fork has a copy of the lock, which ends with the last copy: it only closes its own.
        if std::process::id() != self.process {
            return;
        }
        // The file stays: removing it would let two newcomers lock two files of one name. Only the
        // holder's name goes, and if that fails the name is merely out of date.
        let _ = self.file.set_len(0);
        // Not left to closing the file: children that know nothing of this library may have copies, too. Should it
        // fail, the lock ends with them.
        let _ = self.file.unlock();
    }
}

impl File for RealFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        // Not O_APPEND: Linux would ignore the offsets of `write_at`.
        self.file
            .seek(SeekFrom::End(0))
            .and_then(|_| self.file.write_all(bytes))
            .map_err(|cause| failed(cause, "write", &self.path))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|cause| failed(cause, "write", &self.path))
    }

    fn allocate(&mut self, len: u64) -> Result<()> {
        space::allocate(&self.file, len).map_err(|cause| failed(cause, "allocate", &self.path))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|cause| failed(cause, "cut", &self.path))
    }

    fn map(&self, len: u64) -> Result<Box<dyn Mapping>> {
        let mapping = mapping::RealMapping::new(&self.file, &self.path, len);
        Ok(Box::new(mapping.map_err(|failure| failure.at("map", &self.path))?))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|cause| failed(cause, "sync", &self.path))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(failed(cause, "read", &self.path)),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|cause| failed(cause, "measure", &self.path))
    }
}

fn open(options: &OpenOptions, operation: &str, path: &Path) -> Result<Box<dyn File>> {
    let file = options.open(path).map_err(|cause| failed(cause, operation, path))?;
    // The system opens directories for reading and complains only later.
    let metadata = file.metadata().map_err(|cause| failed(cause, operation, path))?;
    if metadata.is_dir() {
        return Err(Failure::IsADirectory.at(operation, path));
    }
    Ok(Box::new(RealFile { file, path: path.to_owned() }))
}

/// The directory of a bare file name is the current one.
fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

fn failed(cause: io::Error, operation: &str, path: &Path) -> crate::error::Error {
    Failure::from(cause).at(operation, path)
}
