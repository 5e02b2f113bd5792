//! The names of one block of a log: numbers are defined anew behind every resync marker.

use super::bytes::{u8_at, u32_at};
use super::frame::NAME_HEAD;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    block: u32,
    start: u32,
    bytes: u8,
}

/// What numbers stand for where a log is being read.
#[derive(Debug, Default)]
pub(crate) struct LogNames {
    /// By number; an entry of an earlier block stands for nothing.
    entries: Vec<Entry>,
    block: u32,
    text: String,
}

impl LogNames {
    /// No name is defined.
    pub(super) fn new() -> Self {
        Self { block: 1, ..Self::default() }
    }

    /// A new block starts: all numbers are free again.
    pub(super) fn reset(&mut self) {
        self.block += 1;
        self.text.clear();
    }

    /// Takes in a name record; false if its name is not text.
    pub(super) fn define(&mut self, frame: &[u8]) -> bool {
        let (number, bytes) = (u32_at(frame, 16) as usize, u8_at(frame, 20));
        let name = frame.get(NAME_HEAD..NAME_HEAD + usize::from(bytes)).unwrap_or_default();
        let Ok(name) = std::str::from_utf8(name) else { return false };
        if self.entries.len() <= number {
            self.entries.resize(number + 1, Entry::default());
        }
        if let Some(entry) = self.entries.get_mut(number) {
            *entry = Entry { block: self.block, start: self.text.len() as u32, bytes };
            self.text.push_str(name);
        }
        true
    }

    /// What the number stands for; 0 is the empty name.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        if number == 0 {
            return Some("");
        }
        let entry = self.entries.get(number as usize).filter(|entry| entry.block == self.block)?;
        let start = entry.start as usize;
        self.text.get(start..start + usize::from(entry.bytes))
    }
}
