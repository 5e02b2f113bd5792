//! Events of files that go: pruned by the host, too old, or beyond the bounds on events and on the disk.
//!
//! What is gone is written to the manifest before the answer; files go after the manifest that no longer names them.

use std::sync::Arc;

use super::super::retention::{Reason, is_dead, prune_segment};
use super::super::segment::Segment;
use super::super::shard::Shard;
use super::super::store::EventStore;
use super::Disk;
use super::archive::Sealed;
use super::manifest::{Manifest, Prune};
use crate::error::{Code, Error, Result};
use crate::runtime::sync::lock;

/// How many prunes that later ones do not cover are kept apart; every use of the store makes do with one or two.
const MAX_PRUNES: usize = 1_024;

/// What of a sealed segment a prune removes.
struct Concerned<'a> {
    sealed: &'a Arc<Sealed>,
    /// Events that are removed, and those of them that the bound on events hides.
    gone: u64,
    hidden: u64,
    /// Events that memory has and the file does not any more: they go because they are old, not because of damage.
    unread: u64,
}

impl EventStore {
    /// Removes events that are older than this from memory and from files, durably: what the host prunes, or what has
    /// become too old. How many those were. `in_memory` does memory's part: it answers how many events it removed and
    /// the `seq` below which they lie.
    pub(crate) fn prune_files(
        &self,
        disk: &Disk,
        before_time: i64,
        reason: Reason,
        in_memory: impl FnOnce() -> (u64, u64),
    ) -> Result<u64> {
        // Held throughout, so that nothing moves from memory to files in between.
        let mut state = lock(&disk.state);
        disk.check_writable()?;
        let mut prunes = disk.prunes.load().as_ref().clone();
        prunes.retain(|old| old.before_time > before_time);
        if prunes.len() >= MAX_PRUNES {
            let message = format!(
                "{MAX_PRUNES} prunes, each of earlier events than the one before it, are kept apart, which is the \
                 limit; prune what is older than the latest of them first"
            );
            return Err(Error::new(Code::ResourceExhausted, message).with("limit", MAX_PRUNES));
        }
        let segments = disk.archive.segments();
        // First everything is looked at that may fail to be read, then something is changed. While the state is held,
        // every event in files lies below what memory's part will answer.
        let low = self.store_low(disk);
        let mut concerned: Vec<Concerned<'_>> = Vec::new();
        let is_there = |one: &&Arc<Sealed>| one.live() + one.owed() > 0;
        for sealed in segments.iter().filter(|one| one.row.min_time < before_time).filter(is_there) {
            let (gone, hidden, unread) = if sealed.row.max_time < before_time {
                (sealed.live(), sealed.live_below(disk, low)?, sealed.owed())
            } else {
                let segment = disk.load(sealed)?;
                let from = segment.below_seq(segment.committed(), low);
                let times = (0..).zip(segment.times(segment.committed()));
                let old = times.filter(|(index, at)| **at < before_time && !is_dead(&segment, *index));
                let (hidden, seen): (Vec<_>, Vec<_>) =
                    old.map(|(index, _)| index).partition(|index| *index < from);
                let unread = match sealed.owed() {
                    0 => 0,
                    owed => self
                        .old_in_memory(sealed, low, before_time)
                        .saturating_sub(seen.len() as u64)
                        .min(owed),
                };
                ((hidden.len() + seen.len()) as u64, hidden.len() as u64, unread)
            };
            concerned.push(Concerned { sealed, gone, hidden, unread });
        }
        let (removed, below_seq) = in_memory();
        if removed == 0 && concerned.is_empty() {
            return Ok(0);
        }
        // Whoever reads one of them from its file, and may find damage, has done so, or does it when all is said.
        let held: Vec<_> = concerned.iter().map(|one| one.sealed.hold()).collect();
        prunes.push(Prune { before_time, below_seq });
        disk.prunes.store(Arc::new(prunes));
        let hot = disk.hot();
        let (mut elsewhere, mut unseen) = (0, 0);
        for (Concerned { sealed, gone, hidden, unread }, held) in concerned.iter().zip(held) {
            if let Some(segment) = &*held {
                prune_segment(segment, before_time, 0, below_seq);
            }
            // What was found to be damaged since it was looked at has gone for that reason.
            let gone = (*gone).min(sealed.live());
            let hidden = (*hidden).min(gone);
            sealed.remove(gone);
            sealed.forgive(*unread);
            if sealed.row.last_seq < hot {
                elsewhere += gone - hidden;
                unseen += hidden;
            }
        }
        drop(segments);
        self.retention.gone_from_files(elsewhere, reason, &self.shards, &self.frontier);
        // What the bound on events hid was dropped before.
        self.retention.gone_from_files(unseen, Reason::Bound, &self.shards, &self.frontier);
        self.drop_files(disk, &mut state)?;
        Ok(removed + elsewhere)
    }

    /// How many of a segment's events memory has that are older than this.
    fn old_in_memory(&self, sealed: &Sealed, low: u64, before_time: i64) -> u64 {
        let (from, to) = (sealed.row.first_seq.max(low), sealed.row.last_seq + 1);
        let old = |segment: &Segment| {
            let count = segment.committed();
            let (from, to) = (segment.below_seq(count, from), segment.below_seq(count, to));
            let times = (0..to).zip(segment.times(to)).skip(from as usize);
            times.filter(|(index, at)| **at < before_time && !is_dead(segment, *index)).count() as u64
        };
        let of_shard = |shard: &Shard| shard.segments().iter().map(|entry| old(&entry.segment)).sum::<u64>();
        self.shards.iter().map(of_shard).sum()
    }

    /// Removes sealed segments that nothing can be seen of: all events removed, or below the store's bounds.
    pub(crate) fn clean_files(&self, disk: &Disk) -> Result<()> {
        let mut state = lock(&disk.state);
        disk.check_writable()?;
        let segments = disk.archive.segments();
        let low = self.store_low(disk);
        let mut mark = low;
        if let Some(most) = disk.options.max_disk_bytes {
            let mut bytes: u64 = segments.iter().map(|sealed| sealed.row.bytes).sum();
            for sealed in segments.iter().take_while(|sealed| sealed.row.last_seq < disk.hot()) {
                if bytes <= most {
                    break;
                }
                bytes -= sealed.row.bytes;
                mark = mark.max(sealed.row.last_seq + 1);
            }
        }
        if segments.iter().all(|sealed| sealed.live() > 0 && sealed.row.last_seq >= mark) {
            return Ok(());
        }
        let hot = disk.hot();
        let gone: u64 = segments
            .iter()
            .filter(|sealed| sealed.row.last_seq < mark && sealed.row.last_seq < hot)
            .map(|sealed| sealed.live())
            .sum();
        drop(segments);
        disk.archive.raise(mark.min(hot));
        self.drop_files(disk, &mut state)?;
        // Not before: until the manifest is there the segments are listed, and count as hidden.
        self.retention.gone_from_files(gone, Reason::Bound, &self.shards, &self.frontier);
        Ok(())
    }

    /// Writes a manifest without the segments of which nothing can be seen, then removes their files.
    fn drop_files(&self, disk: &Disk, state: &mut Manifest) -> Result<()> {
        let low = disk.archive.low();
        let hot = disk.hot();
        let list = disk.archive.segments();
        // What memory still shows stays listed until it has left memory.
        let gone = |sealed: &Arc<Sealed>| {
            sealed.row.last_seq < hot && (sealed.row.last_seq < low || sealed.live() == 0)
        };
        let (gone, kept): (Vec<_>, Vec<_>) = list.iter().cloned().partition(gone);
        state.segments = kept.iter().map(|sealed| sealed.current_row()).collect();
        self.note_state(disk, state);
        disk.write_manifest(state)?;
        disk.archive.replace(kept);
        disk.archive.bury(gone);
        drop(list);
        disk.remove_buried();
        Ok(())
    }
}
