//! A disk and the machine around it: power, processes, space, faults, and the record of what happened.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{Faults, Operation};
use super::medium::{Answer, Medium, NodeId};
use super::random::Random;
use super::snapshot::Snapshot;
use crate::storage::Failure;

/// How many bytes a disk holds unless told otherwise.
const CAPACITY: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) medium: Medium,
    pub(super) random: Random,
    /// Counts stops: a file opened before one is of no use after it.
    pub(super) epoch: u64,
    /// How many operations changed the disk, or tried to.
    pub(super) operations: u64,
    pub(super) power_lost_at: Option<u64>,
    pub(super) locks: BTreeMap<NodeId, String>,
    pub(super) capacity: u64,
    pub(super) faults: Faults,
    pub(super) recording: Option<Vec<Snapshot>>,
}

impl Disk {
    pub(super) fn new(seed: u64, medium: Medium) -> Self {
        Self {
            medium,
            random: Random::new(seed),
            epoch: 0,
            operations: 0,
            power_lost_at: None,
            locks: BTreeMap::new(),
            capacity: CAPACITY,
            faults: Faults::default(),
            recording: None,
        }
    }

    /// Carries out one operation that changes the disk, unless the power is off. When the power goes at
    /// this very operation it takes effect, but the caller does not get to know. `failed` leaves what the
    /// operation leaves behind when it is to fail.
    pub(super) fn step<R>(
        &mut self,
        kind: Operation,
        path: &Path,
        operation: impl FnOnce(&mut Self) -> Answer<R>,
        failed: impl FnOnce(&mut Self),
    ) -> Answer<R> {
        self.powered()?;
        self.operations += 1;
        self.medium.writing = None;
        let answer = match self.faults.strike(kind, path) {
            None => operation(self),
            Some(failure) => {
                failed(self);
                Err(failure)
            }
        };
        if let Some(recording) = &mut self.recording {
            recording.push(Snapshot::new(self.operations, self.medium.clone()));
        }
        let answer = answer?;
        self.powered()?;
        Ok(answer)
    }

    /// Carries out one operation that changes nothing.
    pub(super) fn look<R>(
        &mut self,
        kind: Operation,
        path: &Path,
        operation: impl FnOnce(&Self) -> Answer<R>,
    ) -> Answer<R> {
        self.powered()?;
        match self.faults.strike(kind, path) {
            None => operation(self),
            Some(failure) => Err(failure),
        }
    }

    fn powered(&self) -> Answer<()> {
        match self.power_lost_at {
            Some(at) if self.operations > at => Err(Failure::PowerLost),
            _ => Ok(()),
        }
    }

    /// A file of a handle that was opened in this epoch.
    pub(super) fn opened(&self, epoch: u64) -> Answer<()> {
        if epoch == self.epoch {
            Ok(())
        } else {
            Err(Failure::Other("it was opened before the machine stopped".to_owned()))
        }
    }

    /// The machine goes on, as another process, with this on the disk.
    pub(super) fn restart(&mut self, medium: Medium) {
        self.medium = medium;
        self.medium.writing = None;
        self.epoch += 1;
        self.power_lost_at = None;
        self.locks.clear();
    }

    pub(super) fn available(&self) -> u64 {
        let lens = self.medium.files().into_iter().filter_map(|node| self.medium.content(node).ok());
        self.capacity.saturating_sub(lens.map(|content| content.len() as u64).sum())
    }

    /// How many bytes a file may have, which now has `len`, if it is to get at most `wanted`.
    pub(super) fn room(&self, len: usize, wanted: usize) -> usize {
        if wanted <= len || self.capacity == CAPACITY {
            return wanted.min(CAPACITY as usize);
        }
        wanted.min(len + usize::try_from(self.available()).unwrap_or(usize::MAX))
    }
}
