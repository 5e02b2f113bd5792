//! Peers of the configuration table, of which there are none without the feature `peers`.

#![expect(clippy::unused_self, reason = "the same calls as with peers")]

use serde_json::Value;

use crate::harness::Work;

/// None.
pub struct Peers;

impl Peers {
    /// None.
    pub fn new(_path: &'static str, _tree: &Value) -> Self {
        Self
    }

    /// Reads a value at a place that is known.
    pub fn by_handle<'a>(&'a self, work: Work<'a>, _threads: usize) -> Work<'a> {
        work
    }

    /// Reads a value by its path.
    pub fn by_path<'a>(&'a self, work: Work<'a>, _threads: usize) -> Work<'a> {
        work
    }
}
