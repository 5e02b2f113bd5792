//! What a process holds of a simulated disk: open files, mappings, directories, locks.

use std::path::{Path, PathBuf};

use super::SimStorage;
use super::content::Content;
use super::disk::Disk;
use super::fault::Operation;
use super::medium::{Answer, NodeId};
use crate::error::Result;
use crate::storage::{Directory, Failure, File, Mapping};

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) storage: SimStorage,
    pub(super) path: PathBuf,
    pub(super) node: NodeId,
    pub(super) epoch: u64,
}

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) handle: Handle,
    pub(super) writable: bool,
}

#[derive(Debug)]
pub(super) struct SimMapping {
    handle: Handle,
    len: usize,
}

#[derive(Debug)]
pub(super) struct SimDirectory(pub(super) Handle);

#[derive(Debug)]
pub(super) struct SimLock(pub(super) Handle);

impl Handle {
    fn look<R>(&self, kind: Operation, word: &str, look: impl FnOnce(&Content) -> R) -> Result<R> {
        let answer = self.storage.disk(kind, &self.path).look(kind, &self.path, |disk| {
            disk.opened(self.epoch)?;
            disk.medium.content(self.node).map(|content| look(content))
        });
        answer.map_err(|failure| failure.at(word, &self.path))
    }
}

impl SimFile {
    fn step(
        &mut self,
        kind: Operation,
        word: &str,
        operation: impl FnOnce(&mut Disk, NodeId, usize) -> Answer<()>,
        failed: impl FnOnce(&mut Disk, NodeId, usize),
    ) -> Result<()> {
        let Handle { storage, path, node, epoch } = &self.handle;
        let answer = storage.disk(kind, path).step(
            kind,
            path,
            |disk| {
                disk.opened(*epoch)?;
                // Whoever reads may sync.
                if !self.writable && kind != Operation::Sync {
                    return Err(Failure::Other("it was opened for reading".to_owned()));
                }
                let len = disk.medium.content(*node)?.len();
                operation(disk, *node, len)
            },
            |disk| {
                if let Ok(len) = disk.medium.content(*node).map(|content| content.len()) {
                    failed(disk, *node, len);
                }
            },
        );
        answer.map_err(|failure| failure.at(word, path))
    }

    /// Writes at an offset, or at the end.
    fn put(&mut self, offset: Option<u64>, bytes: &[u8]) -> Result<()> {
        let place = |len: usize| offset.map_or(len, |offset| usize::try_from(offset).unwrap_or(usize::MAX));
        let write = |disk: &mut Disk, node: NodeId, len: usize| {
            let offset = place(len);
            let end = offset.checked_add(bytes.len()).ok_or(Failure::NoSpace)?;
            let room = disk.room(len, end);
            let fits = bytes.get(..room.saturating_sub(offset)).unwrap_or(bytes);
            disk.medium.write(node, offset, fits, false)?;
            if fits.len() == bytes.len() { Ok(()) } else { Err(Failure::NoSpace) }
        };
        let fail = |disk: &mut Disk, node: NodeId, len: usize| {
            let part = disk.random.index(bytes.len() + 1);
            let front = bytes.get(..part).unwrap_or_default();
            // Nothing can be written where this fails, which is then as it was.
            let _ = disk.medium.write(node, place(len), front, false);
        };
        self.step(Operation::Write, "write", write, fail)
    }
}

fn nothing(_: &mut Disk, _: NodeId, _: usize) {}

impl File for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(None, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.put(Some(offset), bytes)
    }

    fn allocate(&mut self, len: u64) -> Result<()> {
        let allocate = |disk: &mut Disk, node: NodeId, old: usize| {
            let len = usize::try_from(len).map_err(|_| Failure::NoSpace)?;
            if len > disk.room(old, len) {
                return Err(Failure::NoSpace);
            }
            disk.medium.content_mut(node)?.set_len(len.max(old));
            Ok(())
        };
        self.step(Operation::Allocate, "allocate", allocate, nothing)
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        let cut = |disk: &mut Disk, node: NodeId, _: usize| {
            let len = usize::try_from(len).map_err(|_| Failure::NoSpace)?;
            disk.medium.content_mut(node)?.set_len(len);
            Ok(())
        };
        self.step(Operation::SetLen, "cut", cut, nothing)
    }

    fn map(&self, len: u64) -> Result<Box<dyn Mapping>> {
        let there = self.handle.look(Operation::Map, "map", Content::len)?;
        let refused = |why: String| Failure::MappingRefused(why).at("map", &self.handle.path);
        if !self.writable {
            return Err(Failure::PermissionDenied.at("map", &self.handle.path));
        }
        if len == 0 {
            return Err(refused("nothing of it is to be mapped".to_owned()));
        }
        if len > there as u64 {
            return Err(refused(format!("it has {there} bytes, fewer than {len}")));
        }
        let Handle { storage, path, node, epoch } = &self.handle;
        let handle = Handle { storage: storage.clone(), path: path.clone(), node: *node, epoch: *epoch };
        Ok(Box::new(SimMapping { handle, len: len as usize }))
    }

    fn sync(&mut self) -> Result<()> {
        let sync = |disk: &mut Disk, node: NodeId, _: usize| {
            disk.medium.content_mut(node)?.sync();
            Ok(())
        };
        let fail = |disk: &mut Disk, node: NodeId, _: usize| {
            let Disk { medium, random, .. } = disk;
            if let Ok(content) = medium.content_mut(node) {
                content.fail_sync(random);
            }
        };
        self.step(Operation::Sync, "sync", sync, fail)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.handle.look(Operation::Read, "read", |content| content.read(offset, buffer))
    }

    fn len(&self) -> Result<u64> {
        self.handle.look(Operation::Look, "measure", |content| content.len() as u64)
    }
}

impl Mapping for SimMapping {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Handle { storage, path, node, epoch } = &self.handle;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            return Err(Failure::BeyondMapping.at("write", path));
        }
        let write = |disk: &mut Disk| {
            disk.opened(*epoch)?;
            disk.medium.write(*node, offset, bytes, true)
        };
        let kind = Operation::MappedWrite;
        let answer = storage.disk(kind, path).step(kind, path, write, |_| {});
        answer.map_err(|failure| failure.at("write", path))
    }

    fn prefault(&self, _from: u64, _to: u64) {}
}

impl Directory for SimDirectory {
    fn check(&self) -> Result<()> {
        let Handle { storage, path, node, epoch } = &self.0;
        let answer = storage.disk(Operation::Look, path).look(Operation::Look, path, |disk| {
            disk.opened(*epoch)?;
            if disk.medium.find(path)? == *node { Ok(()) } else { Err(Failure::Moved) }
        });
        answer.map_err(|failure| failure.at("look for", path))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.0.storage.lock_disk();
        if disk.epoch == self.0.epoch {
            disk.locks.remove(&self.0.node);
        }
    }
}

impl Handle {
    pub(super) fn new(storage: &SimStorage, path: &Path, node: NodeId, epoch: u64) -> Self {
        Self { storage: storage.clone(), path: path.to_owned(), node, epoch }
    }
}
