//! An event that comes with an id that is stored already: refused, or answered with the receipt of the first
//! time when it is the same event, so that a sender who never heard an answer may simply send again.

use serde::{Deserialize, Serialize};

use super::model::{ACCEPTED, EventRef, EventType, NewEvent, Receipt};
use super::retention::is_dead;
use super::segment::Segment;
use super::shard::{Entry, Shard};
use super::store::EventStore;
use crate::error::{Code, Error, Result};

/// What becomes of an event whose id is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// It is refused: `duplicate_event_id`.
    #[default]
    Error,
    /// If everything that it states is what is stored, the receipt of the stored event is answered and nothing
    /// is stored; else it is refused.
    Return,
}

impl EventStore {
    /// The receipt of the stored event of this id if the store answers such events and it is the same one.
    /// `None` if there is no event of this id. The caller holds the id's stripe.
    pub(super) fn duplicate(&self, event: &NewEvent<'_>, id: u64) -> Result<Option<Receipt>> {
        self.await_drawer(id);
        let Some(stored) = self.holds(id)? else { return Ok(None) };
        if self.on_duplicate() == OnDuplicate::Error {
            return Err(stored_already(id));
        }
        let Some(field) = self.difference(event, &stored) else {
            return Ok(Some(Receipt { level: ACCEPTED, event_id: id, seq: stored.view().seq() }));
        };
        let message = format!("event_id {id} is stored already, with another {field}");
        Err(Error::new(Code::DuplicateEventId, message).with("event_id", id).with("field", field))
    }

    /// The places of those of the ids under which an event is there; 0 is no id. The caller holds their stripes. Only a
    /// file that cannot be read is an error.
    pub(super) fn stored_among(&self, ids: &[u64]) -> Result<Vec<usize>> {
        let wanted = || ids.iter().copied().filter(|id| *id != 0);
        if wanted().next().is_some() {
            self.ids.bring(&self.shards);
        }
        // All of them are noted, whichever of them may have been drawn.
        let drawn = wanted().filter(|id| self.ids.note(*id)).count();
        if drawn > 0 {
            self.frontier.settled();
        }
        let (Some(least), Some(most)) = (wanted().min(), wanted().max()) else { return Ok(Vec::new()) };
        let lists: Vec<_> = self.shards.iter().map(Shard::segments).collect();
        let entries: Vec<&Entry> =
            lists.iter().flat_map(|list| list.iter()).filter(|entry| entry.may_hold(least, most)).collect();
        // Memory's mark before that of the files: what leaves memory in between is still found there.
        let low = self.low();
        let disk = self.disk.as_ref().filter(|disk| disk.may_hold(least, most));
        if entries.is_empty() && disk.is_none() {
            return Ok(Vec::new());
        }
        let present = |segment: &Segment, index, seq| seq >= low && !is_dead(segment, index);
        let mut places = Vec::new();
        for (place, id) in ids.iter().copied().enumerate().filter(|(_, id)| *id != 0) {
            let mut stored = entries.iter().any(|entry| entry.find(id, &self.shared, present).is_some());
            if let Some(disk) = disk.filter(|_| !stored) {
                stored = disk.find(id, self.store_low(disk))?.is_some();
            }
            if stored {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// The store may have drawn this id for an event that is just being appended: waits for that one.
    fn await_drawer(&self, id: u64) {
        self.ids.bring(&self.shards);
        if self.ids.note(id) {
            self.frontier.settled();
        }
    }

    /// The first field in which a stored event differs from what a new one states. Times that it leaves to the
    /// store are the first one's.
    fn difference(&self, event: &NewEvent<'_>, stored: &EventRef) -> Option<&'static str> {
        let stored = stored.view();
        let same_type = match event.event_type {
            EventType::Name(name) => name == stored.event_type(),
            EventType::Id(id) => self.shared.names.name(id.name) == stored.event_type(),
        };
        let checks = [
            ("event_type", same_type),
            ("timestamp", event.timestamp.is_none_or(|time| time == stored.timestamp())),
            ("wall_time", event.wall_time.is_none_or(|time| time == stored.wall_time())),
            ("node", event.node == stored.node()),
            ("pid", event.pid == stored.pid()),
            ("correlation_id", event.correlation_id == stored.correlation_id()),
            ("parent_id", event.parent_id == stored.parent_id()),
            ("encoding", event.encoding == stored.encoding()),
            ("data", event.data == stored.data()),
        ];
        checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }
}

/// The error of an id under which an event is there.
pub(super) fn stored_already(id: u64) -> Error {
    Error::new(Code::DuplicateEventId, format!("event_id {id} is stored already")).with("event_id", id)
}
