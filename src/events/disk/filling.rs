//! A sealed segment while it is being written: its blocks, its filters, and what must be known of each event after.

use super::super::file::{Filter, Footer, Limits, Scratch, SegmentEncoder, SegmentFile};
use super::super::filter::{Bits, KINDS, Kind};
use super::super::hash::Hash;
use super::super::record::Record;
use super::Disk;
use super::archive::Sealed;
use super::manifest::{Prune, identity};
use crate::error::{Code, Error, Result};

/// Bytes of records after which a segment is full.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;

/// The filters of a segment that is being written.
struct Keys {
    hash: Hash,
    sides: [Bits; KINDS],
}

impl Keys {
    fn new(disk: &Disk) -> Self {
        Self { hash: disk.shared.hash, sides: std::array::from_fn(|_| disk.filters.bits()) }
    }

    fn insert(&mut self, record: Record<'_>) {
        let hash = self.hash;
        let parent = Some(record.parent_id()).filter(|id| *id != 0);
        let keys = [
            (Kind::Correlation, record.correlation().map(|id| hash.bytes(id))),
            (Kind::Parent, parent.map(|id| hash.id(id))),
            (Kind::Pid, Some(record.pid()).filter(|pid| !pid.is_empty()).map(|pid| hash.bytes(pid))),
            (Kind::EventId, Some(hash.id(record.event_id()))),
        ];
        for (kind, key) in keys {
            if let Some((bits, key)) = self.sides.get_mut(kind as usize).zip(key) {
                bits.insert(key);
            }
        }
    }

    fn filters(&self) -> Vec<Filter> {
        let seed = self.hash.seed();
        let words = self.sides.iter().map(|bits| bits.as_words().to_vec());
        (0..).zip(words).map(|(kind, words)| Filter { kind, seed, words }).collect()
    }
}

/// Timestamp and `seq` of each event.
pub(super) type Stamps = Vec<(i64, u64)>;

/// A segment that is being written.
pub(super) struct Filling<'w> {
    encoder: SegmentEncoder<'w>,
    keys: Keys,
    most: u64,
    events: Stamps,
    /// Bytes of the records in memory.
    record_bytes: u64,
}

impl<'w> Filling<'w> {
    pub(super) fn new(disk: &Disk, encoder: SegmentEncoder<'w>) -> Self {
        let most = disk.options.segment_events;
        Self { encoder, keys: Keys::new(disk), most, events: Vec::new(), record_bytes: 0 }
    }

    /// Adds an event.
    pub(super) fn push<'n>(
        &mut self,
        record: Record<'_>,
        bytes: &[u8],
        name: impl Fn(u32) -> &'n str,
    ) -> Result<()> {
        self.encoder.push(bytes, record.flags(), name)?;
        self.events.push((record.timestamp(), record.seq()));
        self.keys.insert(record);
        self.record_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether another event has room.
    pub(super) fn has_room(&self) -> bool {
        (self.events.len() as u64) < self.most && self.record_bytes < SEGMENT_BYTES
    }

    /// Adds what is left of a sealed segment, whose place this one takes. Fails if any of it cannot be read.
    pub(super) fn copy(&mut self, disk: &Disk, small: &Sealed, prunes: &[Prune], low: u64) -> Result<()> {
        let path = disk.directory.join(small.row.file_name());
        let identity = identity(disk.store, small.row.file);
        let file = SegmentFile::open(&*disk.storage, &path, identity, Limits::default())?;
        let gone = |record: &Record<'_>| {
            let (time, seq) = (record.timestamp(), record.seq());
            seq < low || prunes.iter().any(|prune| prune.covers(time, seq))
        };
        let names = &disk.shared.names;
        if file.footer().events != small.row.events {
            let message = format!("{} does not hold the events that it should", path.display());
            return Err(Error::new(Code::DataCorruption, message));
        }
        let mut own = Vec::new();
        let mut scratch = Scratch::default();
        for number in 0..file.blocks().len() {
            let block = file.read_block_with(number, &mut scratch)?;
            for record in block.records().filter(|record| !gone(record)) {
                // Every block of a file has numbers of its own for names; what follows in this one has the store's.
                let number = |of| names.intern(block.name(of).unwrap_or_default());
                own.clear();
                record.copy_numbered(number(record.type_id())?, number(record.node_id())?, &mut own);
                self.push(record, &own, |number| names.name(number))?;
            }
        }
        Ok(())
    }

    /// Writes the rest. A small segment has no filters: it is soon written anew, and quickly looked at till then.
    pub(super) fn finish(self) -> Result<(Footer, Stamps, u64)> {
        let filters =
            if self.events.len() as u64 >= self.most / 8 { self.keys.filters() } else { Vec::new() };
        Ok((self.encoder.finish(&filters)?, self.events, self.record_bytes))
    }
}
