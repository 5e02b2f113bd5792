//! The disk as it was after an operation, and every way in which a stop at that moment can leave it.

use super::SimStorage;
use super::medium::Medium;
use super::random::{Random, mix};

/// A disk at one moment of a [recording](SimStorage::record). Making a disk of it leaves it as it is, so one
/// run of a workload serves any number of crashes, from any number of threads.
#[derive(Debug, Clone)]
pub struct Snapshot {
    operations: u64,
    medium: Medium,
}

impl Snapshot {
    pub(super) fn new(operations: u64, medium: Medium) -> Self {
        Self { operations, medium }
    }

    /// How many operations had been carried out. An acknowledgement that was given when
    /// [`SimStorage::operations`] answered this number or less was given before this moment.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The disk just so, with nothing lost: a copy of the running machine, without its open files and locks.
    pub fn disk(&self) -> SimStorage {
        SimStorage::with(self.operations, self.medium.clone())
    }

    /// The disk after the process was killed at this moment: what was written is there, but the last write
    /// perhaps only in part. It is no more durable than before. The same seed gives the same disk.
    pub fn killed(&self, seed: u64) -> SimStorage {
        let mut random = self.random(seed);
        SimStorage::with(random.next(), self.medium.kill(&mut random))
    }

    /// The disk after the power failed at this moment. The same seed gives the same disk.
    pub fn crashed(&self, seed: u64) -> SimStorage {
        let mut random = self.random(seed);
        SimStorage::with(random.next(), self.medium.crash(&mut random))
    }

    /// How many outcomes [`outcome`](Self::outcome) can enumerate. It grows with the square of the unsynced
    /// sectors.
    pub fn outcomes(&self) -> u64 {
        self.medium.outcomes()
    }

    /// The outcome of this number, below [`outcomes`](Self::outcomes), of a power failure without garbage:
    /// every combination of surviving names (or, when they are very many, all or none of each directory's),
    /// old or new lengths, and of the unsynced sectors none, all, each front part, and each one or two lost
    /// or kept. Some numbers give equal disks.
    pub fn outcome(&self, number: u64) -> SimStorage {
        SimStorage::with(number, self.medium.outcome(number))
    }

    /// Neighbouring moments and seeds have nothing in common.
    fn random(&self, seed: u64) -> Random {
        Random::new(mix(mix(self.operations).wrapping_add(seed)))
    }
}
