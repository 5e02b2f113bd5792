//! One file: what processes see, what the disk holds, and the changes in between.
//!
//! The kernel writes a changed page back whenever it likes, so that after a power failure each 512-byte
//! sector that was changed since the last sync holds what it held at *some* moment since then, each for
//! itself, whatever the order of the changes; and the length is any of those that the file had since then. On
//! top of that the bytes of a sector that was being written may be anything. Bytes that no change since the
//! sync touched are as they were synced, also in a sector that holds changed ones: sectors are written whole
//! or not at all (SQLite's "powersafe overwrite").

use std::sync::{Arc, OnceLock};

use super::pages::Pages;
use super::random::Random;

/// The unit that a disk writes at once.
pub(super) const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// As processes see it.
    now: Pages,
    /// As it was at the last sync.
    durable: Pages,
    /// What happened since, in order.
    changes: Vec<Change>,
    /// A sync failed: the kernel takes for clean what never reached the disk.
    lossy: bool,
    dirty: OnceLock<Arc<[Dirty]>>,
}

#[derive(Debug, Clone)]
struct Change {
    offset: usize,
    bytes: Arc<[u8]>,
    /// The file's length after it.
    len: usize,
}

/// A sector that was changed since the last sync.
#[derive(Debug)]
pub(super) struct Dirty {
    pub(super) sector: usize,
    /// The changes that touched it, in order.
    changes: Vec<u32>,
}

/// What becomes of a file when the power fails.
pub(super) struct Survival<'a> {
    /// For each dirty sector, how many of its changes the disk has seen; missing ones none.
    pub(super) versions: Vec<usize>,
    /// Positions in the list of dirty sectors whose changed bytes are garbage.
    pub(super) garbled: Vec<usize>,
    pub(super) len: usize,
    pub(super) random: &'a mut Random,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        self.now.read(offset, buffer)
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.now.fingerprint()
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.now.write(offset, bytes);
        self.changed(offset, bytes.into());
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let old = self.now.len();
        if len == old {
            return;
        }
        self.now.set_len(len);
        // What is cut off is gone, also when the file grows again.
        let cut = vec![0; old.saturating_sub(len)];
        self.changed(len.min(old), cut.into());
    }

    fn changed(&mut self, offset: usize, bytes: Arc<[u8]>) {
        self.changes.push(Change { offset, bytes, len: self.now.len() });
        self.dirty.take();
    }

    pub(super) fn sync(&mut self) {
        if self.lossy {
            for change in &self.changes {
                self.durable.write(change.offset, &change.bytes);
            }
            let len = self.changes.last().map_or(self.durable.len(), |change| change.len);
            self.durable.set_len(len);
        } else {
            self.durable = self.now.clone();
        }
        self.clean();
    }

    /// A sync that fails: some of the changes reach the disk, and the others never will.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        let versions = self.dirty().iter().map(|dirty| random.index(dirty.changes.len() + 1)).collect();
        let lens = self.lens();
        let len = lens.get(random.index(lens.len())).copied().unwrap_or(0);
        self.durable = self.survive(&mut Survival { versions, garbled: Vec::new(), len, random });
        self.lossy = true;
        self.clean();
    }

    fn clean(&mut self) {
        self.changes.clear();
        self.dirty.take();
    }

    /// The sectors changed since the last sync.
    pub(super) fn dirty(&self) -> &[Dirty] {
        self.dirty.get_or_init(|| {
            let mut touched: Vec<(usize, u32)> = Vec::new();
            for (number, change) in self.changes.iter().enumerate() {
                if !change.bytes.is_empty() {
                    let last = (change.offset + change.bytes.len() - 1) / SECTOR;
                    touched.extend((change.offset / SECTOR..=last).map(|sector| (sector, number as u32)));
                }
            }
            touched.sort_unstable();
            let groups = touched.chunk_by(|a, b| a.0 == b.0).filter_map(|group| {
                let changes = group.iter().map(|(_, change)| *change).collect();
                group.first().map(|(sector, _)| Dirty { sector: *sector, changes })
            });
            groups.collect()
        })
    }

    /// The lengths that the disk may know: the synced one, and that after each change.
    pub(super) fn lens(&self) -> Vec<usize> {
        let mut lens = vec![self.durable.len()];
        for change in &self.changes {
            if lens.last() != Some(&change.len) {
                lens.push(change.len);
            }
        }
        lens
    }

    /// How many changes there were since the last sync.
    pub(super) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// The bytes that the disk holds after this fate.
    pub(super) fn survive(&self, survival: &mut Survival<'_>) -> Pages {
        let mut pages = self.durable.clone();
        for (position, dirty) in self.dirty().iter().enumerate() {
            let version = survival.versions.get(position).copied().unwrap_or(0);
            for number in dirty.changes.iter().take(version) {
                if let Some((offset, bytes)) = self.within(*number, dirty.sector) {
                    pages.write(offset, bytes);
                }
            }
        }
        for position in std::mem::take(&mut survival.garbled) {
            let Some(dirty) = self.dirty().get(position) else { continue };
            let kind = survival.random.below(4);
            for number in &dirty.changes {
                let Some((offset, bytes)) = self.within(*number, dirty.sector) else { continue };
                let garbage: Vec<u8> = match kind {
                    0 => vec![0; bytes.len()],
                    1 => vec![0xff; bytes.len()],
                    _ => bytes.iter().map(|_| survival.random.next() as u8).collect(),
                };
                pages.write(offset, &garbage);
            }
        }
        pages.set_len(survival.len);
        pages
    }

    /// As it is after a restart with these bytes on the disk.
    pub(super) fn restarted(pages: Pages) -> Self {
        Self { now: pages.clone(), durable: pages, ..Self::default() }
    }

    /// Whether the disk holds exactly what processes see.
    pub(super) fn is_clean(&self) -> bool {
        self.changes.is_empty() && !self.lossy
    }

    /// Changes what processes see and what the disk holds alike, as decay does.
    pub(super) fn decay(&mut self, change: impl Fn(&mut Pages)) {
        change(&mut self.now);
        change(&mut self.durable);
    }

    /// The part of a change that lies within a sector.
    fn within(&self, number: u32, sector: usize) -> Option<(usize, &[u8])> {
        let change = self.changes.get(number as usize)?;
        let from = change.offset.max(sector * SECTOR);
        let to = (change.offset + change.bytes.len()).min((sector + 1) * SECTOR);
        Some((from, change.bytes.get(from - change.offset..to.checked_sub(change.offset)?)?))
    }
}

impl Dirty {
    /// How many changes touched it.
    pub(super) fn count(&self) -> usize {
        self.changes.len()
    }

    /// How many of its changes are among the first `count` of the file.
    pub(super) fn before(&self, count: usize) -> usize {
        self.changes.partition_point(|change| (*change as usize) < count)
    }

    /// Whether this change of the file touched it.
    pub(super) fn touched_by(&self, change: usize) -> bool {
        self.changes.binary_search(&(change as u32)).is_ok()
    }
}
