//! Batches: all of their events or none, in one shard, with sequence numbers in a row.
//!
//! Everything that can fail comes first: checks, names, ids, memory for as many segments as the batch needs. Then
//! the events are copied, and only then the batch takes its numbers and is published. Readers stop at a frontier
//! that passes a batch as a whole, so they see all of it or nothing.

use std::collections::{HashMap, HashSet};

use super::again::{OnDuplicate, stored_already};
use super::durability::Level;
use super::ids::Held;
use super::model::{NewEvent, Receipt};
use super::overflow::Refusal;
use super::record::{self, FLAG_FIRST, FLAG_LAST};
use super::recycle::Budget;
use super::segment::{Segment, Writer};
use super::shard::own_shard;
use super::store::{EventStore, Interned, Manner, Now, draft, no_shard};
use super::validate;
use crate::error::{Code, Error, Result};

/// Most events in a batch.
pub const MAX_BATCH: usize = 1 << 20;

type Outcome = std::result::Result<(), Refusal>;

/// Stands for an id that the store draws once the event has its `seq`; 0 is no id.
const TO_DRAW: u64 = 0;

impl EventStore {
    /// Stores all of the events or none. The error names the one that was wrong: `context.index`.
    pub fn append_batch(&self, events: &[NewEvent<'_>]) -> Result<Vec<Receipt>> {
        let mut receipts = vec![Receipt::default(); events.len()];
        self.append_batch_into(events, &mut receipts)?;
        Ok(receipts)
    }

    /// Like [`EventStore::append_batch`], with the receipts written where the caller says: one for each event.
    pub fn append_batch_into(&self, events: &[NewEvent<'_>], receipts: &mut [Receipt]) -> Result<()> {
        self.append_batch_with(events, receipts, None)
    }

    /// Like [`EventStore::append_batch_into`], and answers when all of them are as safe as `level` says; `None` is the
    /// level of the store's mode. Errors as for [`EventStore::append_with`].
    pub fn append_batch_with(
        &self,
        events: &[NewEvent<'_>],
        receipts: &mut [Receipt],
        level: Option<Level>,
    ) -> Result<()> {
        self.append_batch_in(Manner::Waiting, events, receipts)?;
        self.await_level(receipts, level)
    }

    /// Like [`EventStore::append_batch`] and never waits: where it would, it fails with `store_full`.
    pub fn append_batch_at_once(&self, events: &[NewEvent<'_>]) -> Result<Vec<Receipt>> {
        let mut receipts = vec![Receipt::default(); events.len()];
        self.append_batch_in(Manner::AtOnce, events, &mut receipts)?;
        self.note_unsynced();
        Ok(receipts)
    }

    fn append_batch_in(
        &self,
        manner: Manner,
        events: &[NewEvent<'_>],
        receipts: &mut [Receipt],
    ) -> Result<()> {
        match self.append_new(events, receipts) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                // Dropped receipts go beside: the attempts hold the caller's.
                let mut dropped = None;
                let again = || self.append_new(events, receipts);
                self.overflow(manner, events.len() as u64, refusal, again, || {
                    dropped = Some(events.iter().map(|event| self.dropped(event)));
                    Ok(())
                })?;
                for (receipt, gone) in receipts.iter_mut().zip(dropped.into_iter().flatten()) {
                    *receipt = gone;
                }
                Ok(())
            }
        }
    }

    /// Stores the batch, but for those events that are stored already where the store answers such events.
    fn append_new(&self, events: &[NewEvent<'_>], receipts: &mut [Receipt]) -> Outcome {
        let known =
            self.on_duplicate() == OnDuplicate::Return && events.iter().any(|event| event.event_id.is_some());
        if !known {
            return self.append_all(events, receipts);
        }
        check_sizes(events.len(), receipts.len())?;
        // What can be wrong with the batch as a whole is said here, with the places that the caller knows.
        for (index, event) in events.iter().enumerate() {
            validate::check(event, self.max_data_bytes()).map_err(|error| at(&error, index))?;
            self.intern(event).map_err(|error| at(&error, index))?;
        }
        refuse_twins(events)?;
        loop {
            let mut fresh = Vec::with_capacity(events.len());
            let mut places = Vec::with_capacity(events.len());
            for ((index, event), receipt) in events.iter().enumerate().zip(receipts.iter_mut()) {
                let stored = match event.event_id {
                    Some(id) => {
                        let _held = self.ids.lock(id);
                        self.duplicate(event, id).map_err(|error| at(&error, index))?
                    }
                    None => None,
                };
                if let Some(stored) = stored {
                    *receipt = stored;
                } else {
                    fresh.push(*event);
                    places.push(index);
                }
            }
            let mut taken = vec![Receipt::default(); fresh.len()];
            match self.append_all(&fresh, &mut taken) {
                Ok(()) => {}
                // Somebody stored one of them since: look again, which says what that one is.
                Err(Refusal::Wrong(error)) if error.code() == Code::DuplicateEventId => continue,
                Err(refusal) => return Err(refusal),
            }
            for (place, receipt) in places.into_iter().zip(taken) {
                if let Some(slot) = receipts.get_mut(place) {
                    *slot = receipt;
                }
            }
            self.count_repeated((events.len() - fresh.len()) as u64);
            return Ok(());
        }
    }

    fn append_all(&self, events: &[NewEvent<'_>], receipts: &mut [Receipt]) -> Outcome {
        self.check_writable()?;
        check_sizes(events.len(), receipts.len())?;
        for (index, event) in events.iter().enumerate() {
            validate::check(event, self.max_data_bytes()).map_err(|error| at(&error, index))?;
        }
        if events.iter().any(|event| event.event_id.is_none()) {
            self.ids.check_left()?;
        }
        // The stripes are held until the events are published, so that two appends of one id meet.
        let (ids, _held) = self.claim_ids(events)?;
        // Names are made known only now, so that a batch with an invalid event leaves none behind.
        let mut names: Vec<Interned> = Vec::with_capacity(events.len());
        let mut last: Option<(&NewEvent<'_>, Interned)> = None;
        for (index, event) in events.iter().enumerate() {
            // Events of a batch are mostly of one node and often of one type.
            let interned = match last {
                Some((before, interned))
                    if before.event_type == event.event_type && before.node == event.node =>
                {
                    interned
                }
                _ => self.intern(event).map_err(|error| at(&error, index))?,
            };
            last = Some((event, interned));
            names.push(interned);
        }
        if events.is_empty() {
            return Ok(());
        }

        let claim = self.retention.room.claim(events.len() as u64, false).ok_or(Refusal::Full)?;
        let (rotated, full);
        {
            let (number, shard, mut active) = own_shard(&self.shards).ok_or_else(no_shard)?;
            let mut writers = self.make_room(active.as_ref(), events)?;
            rotated = !writers.is_empty();
            full = writers.len() > usize::from(active.is_none());
            if rotated {
                shard.extend(&writers);
            }
            if let Some(writer) = active.take().filter(|writer| !writer.has_orphans()) {
                writers.insert(0, writer);
            }
            self.stage_all(&mut writers, events, &names)?;
            let flight = self.frontier.begin(number, events.len() as u64).ok_or_else(no_shard)?;
            let to_draw = match ids.len() {
                0 => events.len(),
                _ => ids.iter().filter(|id| **id == TO_DRAW).count(),
            };
            let mut drawn = self.ids.draw(to_draw as u64)..;
            let version = self.version();
            let mut rest = (flight.first()..).zip(receipts.iter_mut()).enumerate();
            for writer in &mut writers {
                for index in writer.unpublished() {
                    let Some((i, (seq, receipt))) = rest.next() else { break };
                    let claimed = ids.get(i).copied().filter(|id| *id != TO_DRAW);
                    let event_id = claimed.or_else(|| drawn.next()).unwrap_or_default();
                    writer.finish(index, seq, event_id, version);
                    *receipt = Receipt { level: 0, event_id, seq };
                }
            }
            // All of the batch or nothing of it: what one log does not have, none is counted on to have.
            let level =
                writers.iter().map(|writer| self.copy_staged(number, writer)).min().unwrap_or_default();
            self.note_level(level, receipts.first().map_or(0, |one| one.seq), events.len());
            for receipt in receipts.iter_mut() {
                receipt.level = level;
            }
            writers.iter_mut().for_each(Writer::publish);
            *active = writers.pop();
        }
        claim.keep();
        self.tails.bell.stored();
        if rotated {
            self.note_rotation();
            self.retention.make_room(&self.shards, &self.frontier);
        }
        if full {
            self.sealing.tell();
        }
        Ok(())
    }

    /// New segments for what the active one has no room for, in the order in which the events fill them.
    fn make_room(&self, active: Option<&Writer>, events: &[NewEvent<'_>]) -> Result<Vec<Writer>> {
        let mut fresh: Vec<Writer> = Vec::new();
        let active = active.filter(|writer| !writer.has_orphans());
        let all: usize = events.iter().map(record_length).sum();
        if all as u64 > self.shared.pool.limit() {
            return Err(self.shared.pool.full(all as u64));
        }
        let mut place = active.map(|writer| (writer.segment().shape(), writer.taken()));
        for event in events {
            let length = record_length(event);
            let (shape, taken) = match place {
                Some((shape, taken)) if shape.fits(taken, length) => (shape, taken),
                _ => {
                    let writer = Segment::create_within(Budget::Usual, &self.shared, self.shape, length)?;
                    let shape = writer.segment().shape();
                    fresh.push(writer);
                    (shape, (0, 0))
                }
            };
            place = Some((shape, (taken.0 + 1, taken.1 + length)));
        }
        Ok(fresh)
    }

    /// Copies the events into the writers' segments, unpublished.
    fn stage_all(&self, writers: &mut [Writer], events: &[NewEvent<'_>], names: &[Interned]) -> Result<()> {
        let now = Now { time: self.clock.now_ns(), wall: self.clock.wall_ns() };
        let mut writers = writers.iter_mut();
        let mut writer = writers.next().ok_or_else(no_shard)?;
        for (index, (event, names)) in events.iter().zip(names).enumerate() {
            let first = if index == 0 { FLAG_FIRST } else { 0 };
            let last = if index + 1 == events.len() { FLAG_LAST } else { 0 };
            let record = draft(event, *names, now, first | last);
            let hash = self.correlation_hash(event);
            while writer.stage(&record, hash).is_none() {
                writer = writers.next().ok_or_else(no_shard)?;
            }
        }
        Ok(())
    }

    /// The ids of a batch, checked, with their stripes held: none if the store draws them all.
    fn claim_ids(&self, events: &[NewEvent<'_>]) -> Result<(Vec<u64>, Held<'_>)> {
        let scattered = self.ids.scattered();
        if !scattered && events.iter().all(|event| event.event_id.is_none()) {
            return Ok((Vec::new(), Vec::new()));
        }
        refuse_twins(events)?;
        let mut ids: Vec<u64> = events.iter().map(|event| event.event_id.unwrap_or(TO_DRAW)).collect();
        loop {
            if scattered && ids.contains(&TO_DRAW) {
                let brought: HashSet<u64> = events.iter().filter_map(|event| event.event_id).collect();
                for id in ids.iter_mut().filter(|id| **id == TO_DRAW) {
                    while *id == TO_DRAW || brought.contains(id) {
                        *id = self.generate_id();
                    }
                }
            }
            let held = self.ids.lock_all(&ids);
            let mut taken = false;
            for index in self.stored_among(&ids)? {
                let (Some(id), Some(event)) = (ids.get_mut(index), events.get(index)) else { continue };
                if event.event_id.is_some() {
                    return Err(at(&stored_already(*id), index));
                }
                // Somebody brought the id that we had drawn, before we held its stripe.
                *id = TO_DRAW;
                taken = true;
            }
            if !taken {
                return Ok((ids, held));
            }
        }
    }
}

/// Bytes that an event's record takes.
fn record_length(event: &NewEvent<'_>) -> usize {
    record::length(event.correlation_id.map_or(0, <[u8]>::len), event.pid.len(), event.data.len())
}

/// Fails if two events of a batch bring one id.
fn refuse_twins(events: &[NewEvent<'_>]) -> Result<()> {
    // Ids that rise from event to event, as those of one producer mostly do, are distinct.
    if events.iter().filter_map(|event| event.event_id).is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut brought = HashMap::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if let Some(first) = event.event_id.and_then(|id| brought.insert(id, index)) {
            let message = format!("it has the event_id of event {first} of the same batch");
            return Err(
                at(&Error::new(Code::DuplicateEventId, message), index).with("event_id", event.event_id)
            );
        }
    }
    Ok(())
}

fn check_sizes(events: usize, receipts: usize) -> Result<()> {
    if events > MAX_BATCH {
        let message = format!("the batch has {events} events; at most {MAX_BATCH} are allowed");
        return Err(Error::new(Code::InvalidInput, message).with("size", events).with("max_size", MAX_BATCH));
    }
    if receipts != events {
        let message = format!("there is room for {receipts} receipts; the batch has {events} events");
        return Err(Error::new(Code::InvalidInput, message).with("size", receipts));
    }
    Ok(())
}

/// The error of one event as that of its batch.
fn at(error: &Error, index: usize) -> Error {
    let message = format!("event {index} of the batch: {}", error.message());
    let named = Error::new(error.code(), message).with("index", index);
    error.context().iter().fold(named, |named, (key, value)| named.with(key, value.clone()))
}
