//! Events as they wait: their numbers side by side, and their texts and data in one run of bytes.

use super::super::model::{Encoding, NewEvent, TypeId};
use super::super::store::Now;
use crate::error::{Code, Error, Result};

/// What an event takes in a queue beside its texts and data.
const HEAD_BYTES: usize = size_of::<Head>();
/// Memory that an empty piece keeps.
const KEPT_BYTES: usize = 1 << 20;

/// An event that is to wait: checked, its type known, its id and times given.
#[derive(Clone, Copy)]
pub(crate) struct Queued<'a> {
    pub(crate) event_type: TypeId,
    pub(crate) event_id: u64,
    pub(crate) timestamp: i64,
    pub(crate) wall_time: i64,
    /// The rest of it.
    pub(crate) event: &'a NewEvent<'a>,
}

impl Queued<'_> {
    fn parts(&self) -> [&[u8]; 4] {
        let NewEvent { node, pid, correlation_id, data, .. } = self.event;
        [node.as_bytes(), pid.as_bytes(), correlation_id.unwrap_or_default(), data]
    }

    /// Bytes that it takes in the queue.
    pub(crate) fn size(&self) -> usize {
        HEAD_BYTES + self.parts().iter().map(|part| part.len()).sum::<usize>()
    }
}

#[derive(Clone, Copy)]
struct Head {
    event_type: TypeId,
    event_id: u64,
    timestamp: i64,
    wall_time: i64,
    /// Whether these are the event's own.
    states_times: [bool; 2],
    parent_id: Option<u64>,
    encoding: Encoding,
    has_correlation: bool,
    /// Lengths of node, pid, correlation id and data.
    lengths: [u32; 4],
}

/// Events in the order in which they came, and how far they were taken out.
#[derive(Default)]
pub(crate) struct Piece {
    heads: Vec<Head>,
    bytes: Vec<u8>,
    next: usize,
    at: usize,
}

impl Piece {
    /// Copies an event to the end.
    pub(crate) fn push(&mut self, queued: &Queued<'_>) -> Result<()> {
        let parts = queued.parts();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let room = self.heads.try_reserve(1).and_then(|()| self.bytes.try_reserve(length));
        room.map_err(|_| Error::new(Code::NoMemory, "no memory for an event that is to be stored later"))?;
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.heads.push(Head {
            event_type: queued.event_type,
            event_id: queued.event_id,
            timestamp: queued.timestamp,
            wall_time: queued.wall_time,
            states_times: [queued.event.timestamp.is_some(), queued.event.wall_time.is_some()],
            parent_id: queued.event.parent_id,
            encoding: queued.event.encoding,
            has_correlation: queued.event.correlation_id.is_some(),
            // Checked to be short; data has at most 1 GiB.
            lengths: parts.map(|part| part.len() as u32),
        });
        Ok(())
    }

    /// Whether all that came was taken out.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.heads.len()
    }

    /// The next event as it was handed in, the times then, and the bytes that it took in the queue. It is out when
    /// this returns.
    pub(crate) fn next(&mut self) -> Option<(NewEvent<'_>, Now, usize)> {
        let head = *self.heads.get(self.next)?;
        self.next += 1;
        let mut at = self.at;
        let [node, pid, correlation, data] = head.lengths.map(|length| {
            let from = at;
            at += length as usize;
            self.bytes.get(from..at).unwrap_or_default()
        });
        let size = HEAD_BYTES + at - self.at;
        self.at = at;
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let [states_timestamp, states_wall_time] = head.states_times;
        let event = NewEvent {
            event_type: head.event_type.into(),
            event_id: Some(head.event_id),
            timestamp: states_timestamp.then_some(head.timestamp),
            wall_time: states_wall_time.then_some(head.wall_time),
            node: text(node),
            pid: text(pid),
            correlation_id: head.has_correlation.then_some(correlation),
            parent_id: head.parent_id,
            encoding: head.encoding,
            data,
        };
        Some((event, Now { time: head.timestamp, wall: head.wall_time }, size))
    }

    /// Makes it empty, with memory for about as much as usual.
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
        self.heads.shrink_to(KEPT_BYTES / HEAD_BYTES);
        self.bytes.shrink_to(KEPT_BYTES);
        (self.next, self.at) = (0, 0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_went_in_and_memory_is_given_back() {
        let data = vec![b'x'; 3 << 20];
        let large =
            NewEvent { data: &data, encoding: Encoding::Raw, wall_time: Some(3), ..NewEvent::default() };
        let small = NewEvent {
            node: "köln",
            pid: "<0.1.0>",
            correlation_id: Some(b""),
            parent_id: Some(9),
            ..NewEvent::default()
        };
        let queued = |event| Queued {
            event_type: TypeId::from_raw(7),
            event_id: 1,
            timestamp: -2,
            wall_time: 3,
            event,
        };
        let mut piece = Piece::default();
        let sizes = [queued(&large).size(), queued(&small).size()];
        piece.push(&queued(&large)).unwrap();
        piece.push(&queued(&small)).unwrap();
        let (event, now, size) = piece.next().unwrap();
        assert_eq!((event.data, event.encoding, size), (&data[..], Encoding::Raw, sizes[0]));
        assert_eq!((event.event_id, event.timestamp, event.wall_time), (Some(1), None, Some(3)));
        assert_eq!((now.time, now.wall), (-2, 3));
        assert_eq!(event.correlation_id, None);
        assert!(!piece.is_done());
        let (event, _, size) = piece.next().unwrap();
        assert_eq!((event.node, event.pid, event.correlation_id), ("köln", "<0.1.0>", Some(&b""[..])));
        assert_eq!((event.parent_id, event.data, size), (Some(9), &b""[..], sizes[1]));
        assert!(piece.is_done() && piece.next().is_none());
        piece.clear();
        assert!(piece.bytes.capacity() <= KEPT_BYTES);
    }
}
