//! A disk below a program that forgets to sync: it says that it did.

use std::path::{Path, PathBuf};

use elixirscope_foundation::error::Result;
use elixirscope_foundation::storage::{Directory, File, Lock, Mapping, SimStorage, Storage};

/// What is not synced although the program says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgets {
    Nothing,
    /// Names.
    Directories,
    /// Files whose name contains this text.
    Files(&'static str),
}

#[derive(Debug, Clone)]
pub struct Careless {
    pub disk: SimStorage,
    pub forgets: Forgets,
}

#[derive(Debug)]
struct CarelessFile {
    file: Box<dyn File>,
    path: PathBuf,
    forgets: Forgets,
}

impl Careless {
    fn file(&self, path: &Path, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(CarelessFile { file, path: path.to_owned(), forgets: self.forgets })
    }
}

impl Storage for Careless {
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>> {
        Ok(self.file(path, self.disk.create_new(path)?))
    }

    fn open_write(&self, path: &Path) -> Result<Box<dyn File>> {
        Ok(self.file(path, self.disk.open_write(path)?))
    }

    fn open_read(&self, path: &Path) -> Result<Box<dyn File>> {
        Ok(self.file(path, self.disk.open_read(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, directory: &Path) -> Result<()> {
        self.disk.remove_dir(directory)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> Result<()> {
        self.disk.create_dir_all(directory)
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        if self.forgets == Forgets::Directories { Ok(()) } else { self.disk.sync_dir(directory) }
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.disk.exists(path)
    }

    fn size(&self, path: &Path) -> Result<u64> {
        self.disk.size(path)
    }

    fn available_bytes(&self, path: &Path) -> Result<u64> {
        self.disk.available_bytes(path)
    }

    fn hold_dir(&self, directory: &Path) -> Result<Box<dyn Directory>> {
        self.disk.hold_dir(directory)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Lock> {
        self.disk.lock(path, holder)
    }
}

impl File for CarelessFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn allocate(&mut self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn map(&self, len: u64) -> Result<Box<dyn Mapping>> {
        self.file.map(len)
    }

    fn sync(&mut self) -> Result<()> {
        match self.forgets {
            Forgets::Files(text) if self.path.to_string_lossy().contains(text) => Ok(()),
            _ => self.file.sync(),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }
}
