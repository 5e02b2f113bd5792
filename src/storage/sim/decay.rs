//! Decay of what is on a disk, for tests of what a reader makes of it.
//!
//! All of these change the bytes that processes see and those that are durable alike, are no operations, and
//! answer an error for a file that is not there. Parts of ranges beyond the end of the file are left out.

use std::path::Path;

use super::SimStorage;
use super::pages::Pages;
use crate::error::Result;

impl SimStorage {
    /// Turns over one bit, counted from the lowest of the first byte.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> Result<()> {
        self.decay(path, |pages| {
            let offset = (bit / 8) as usize;
            let mut byte = [0];
            if pages.read(offset, &mut byte) == 1 {
                pages.write(offset, &byte.map(|byte| byte ^ (1 << (bit % 8))));
            }
        })
    }

    /// Cuts the file to this length; a shorter one is left alone.
    pub fn cut(&self, path: &Path, len: u64) -> Result<()> {
        self.decay(path, |pages| pages.set_len(pages.len().min(len as usize)))
    }

    /// Fills the bytes from `from` up to `to` with this one.
    pub fn fill(&self, path: &Path, from: u64, to: u64, byte: u8) -> Result<()> {
        self.decay(path, |pages| {
            let to = pages.len().min(to as usize);
            pages.write(from as usize, &vec![byte; to.saturating_sub(from as usize)]);
        })
    }

    /// Copies a block of `size` bytes over another, as a disk does that writes to the wrong place; blocks are
    /// numbered from 0.
    pub fn copy_block(&self, path: &Path, from: u64, to: u64, size: u64) -> Result<()> {
        self.decay(path, |pages| {
            let block = read(pages, from * size, size);
            put(pages, to * size, &block);
        })
    }

    /// Exchanges two blocks of `size` bytes.
    pub fn swap_blocks(&self, path: &Path, a: u64, b: u64, size: u64) -> Result<()> {
        self.decay(path, |pages| {
            let (first, second) = (read(pages, a * size, size), read(pages, b * size, size));
            put(pages, b * size, &first);
            put(pages, a * size, &second);
        })
    }

    fn decay(&self, path: &Path, change: impl Fn(&mut Pages)) -> Result<()> {
        let mut disk = self.lock_disk();
        let content = disk.medium.find_file(path).and_then(|node| disk.medium.content_mut(node));
        content.map(|content| content.decay(change)).map_err(|failure| failure.at("spoil", path))
    }
}

fn read(pages: &Pages, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    let there = pages.read(offset as usize, &mut bytes);
    bytes.truncate(there);
    bytes
}

fn put(pages: &mut Pages, offset: u64, bytes: &[u8]) {
    let room = pages.len().saturating_sub(offset as usize).min(bytes.len());
    pages.write(offset as usize, bytes.get(..room).unwrap_or_default());
}
