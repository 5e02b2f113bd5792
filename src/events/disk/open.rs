//! A store takes up the files that were read: events of logs are in memory again, sealed segments are listed.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::super::filter::Filters;
use super::super::frontier::FIRST_SEQ;
use super::super::overflow::Signal;
use super::super::recycle::Budget;
use super::super::retention::Past;
use super::super::segment::Segment;
use super::super::store::{EventStore, no_shard};
use super::archive::{Archive, restage};
use super::logs::Logs;
use super::mapped::Mapped;
use super::seal::Sealer;
use super::sync::Syncing;
use super::{Disk, Recovered};
use crate::error::Result;
#[cfg(feature = "crash-tests")]
use crate::planted::{self, Mistake};
use crate::runtime::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

impl EventStore {
    /// Takes up what was read. Nobody else has the store yet.
    pub(crate) fn attach(&mut self, recovered: Recovered) -> Result<()> {
        let shards = self.shards.len();
        self.frontier.resume(recovered.next_seq.max(FIRST_SEQ));
        self.ids.resume(recovered.manifest.next_id, recovered.manifest.scattered);
        self.refill(&recovered)?;
        let prunes = recovered.prunes();
        let Recovered { storage, directory, options, lock, held, manifest, logs, .. } = recovered;
        let mode = options.durability;
        let sealed = manifest.sealed_seq;
        let store = manifest.store_id()?;
        let files = Logs::new(
            Arc::clone(&storage),
            &directory,
            store,
            (options.log_bytes, mode.maps()),
            recovered.next_log.max(1),
        );
        // A process that was killed leaves its logs in the system's cache, and if its last sync failed, a sync that
        // succeeds now proves nothing. So what came back from logs is durable when it is sealed or in a log of ours.
        let recovered_to = recovered.next_seq.max(FIRST_SEQ);
        let durable = if options.read_only { recovered_to } else { sealed.max(FIRST_SEQ) };
        if !options.read_only {
            for log in logs {
                match log.read {
                    #[cfg(feature = "crash-tests")]
                    Some((number, last_seq)) if planted::made(Mistake::AppendToUnclean) => {
                        files.resume(number, last_seq, log.path, log.end)?;
                    }
                    Some((number, last_seq)) => files.found(number, last_seq, log.path),
                    None => files.unused(log.path),
                }
            }
        }
        let filters = Arc::new(Filters::new(options.segment_events.min(1 << 24) as u32));
        let elsewhere = manifest.segments.iter().map(|row| row.live).sum();
        let past = Past {
            sealed,
            pruned: manifest.books.pruned,
            expired: manifest.books.expired,
            lost: manifest.books.lost + recovered.newly_lost,
            elsewhere,
        };
        let disk = Disk {
            directory,
            mode,
            options,
            store,
            shared: Arc::clone(&self.shared),
            shape: self.shape,
            archive: Archive::new(manifest.segments.clone(), manifest.low_seq.max(FIRST_SEQ), &filters),
            filters,
            logs: files,
            mapped: Mapped::new(shards),
            sync: Syncing::new(shards, durable),
            recovered_to,
            sealing: Mutex::new(Sealer::new(shards, sealed, recovered.sealed_config)),
            prunes: ArcSwap::from_pointee(prunes),
            gaps: ArcSwap::from_pointee(recovered.report.gaps.clone()),
            state: Mutex::new(manifest),
            sealed: AtomicU64::new(sealed),
            hot: AtomicU64::new(sealed),
            pending: AtomicU64::new(0),
            room: Mutex::new(Vec::new()),
            news: Arc::new(Signal::new()),
            seal_news: Arc::new(Signal::new()),
            has_worker: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            seals: AtomicU64::new(0),
            seal_failures: AtomicU64::new(0),
            last_failure: Mutex::new(None),
            report: recovered.report,
            held,
            lock: Mutex::new(lock),
            storage,
        };
        for shard in &self.shards {
            shard.segments().iter().for_each(|entry| disk.mark_pruned(&entry.segment));
        }
        self.retention.resume(past, &self.shards, &self.frontier);
        self.disk = Some(Arc::new(disk));
        Ok(())
    }

    /// Puts the events of the logs back into memory, all into the first shard, since they are in order.
    fn refill(&self, recovered: &Recovered) -> Result<()> {
        let shard = self.shards.first().ok_or_else(no_shard)?;
        let mut active = shard.lock();
        for record in recovered.tail.records() {
            let length = record.length();
            if !active.as_ref().is_some_and(|writer| writer.segment().shape().fits(writer.taken(), length)) {
                // Memory that the last process had: a bound that is smaller now is kept by sealing.
                let fresh = Segment::create_within(Budget::Recovery, &self.shared, self.shape, length)?;
                shard.extend(std::slice::from_ref(&fresh));
                *active = Some(fresh);
            }
            let Some(writer) = active.as_mut() else { return Err(no_shard()) };
            restage(&self.shared, writer, record, |number| recovered.tail.name(number))?;
            writer.publish();
            self.ids.note(record.event_id());
        }
        Ok(())
    }
}

impl Disk {
    /// Gives the files back: every log is closed, what waits for use is removed, the manifest says what is there.
    pub(super) fn close(&self, store: &EventStore) {
        {
            // Other threads may be on their way: whoever seals, writes a manifest, leads a round or makes a log has
            // done so, or looks once more when it has its lock and finds that the files are not ours any more.
            let _sealing = lock(&self.sealing);
            let mut state = lock(&self.state);
            self.closed.store(true, Ordering::Release);
            self.logs.finish();
            self.sync.finish(self);
            self.mapped.finish(self);
            // What was found to be damaged is in the books, and not in the segments any more.
            state.segments = self.archive.segments().iter().map(|sealed| sealed.current_row()).collect();
            store.note_state(self, &mut state);
            if let Err(error) = self.store_manifest(&state) {
                self.note_failure(error);
            }
        }
        self.logs.recycle(self.sealed());
        self.logs.remove_unused();
        drop(lock(&self.lock).take());
    }
}
