//! Events that tell when they are torn, or mixed with others: all of an event follows from its number.

use std::ops::Range;

use elixirscope_foundation::events::{Encoding, EventView, NewEvent};

/// The numbers of a lane begin at a multiple of this; each writer has a lane.
const LANE: u64 = 1 << 32;

/// The types, of which every second event has the first.
pub(crate) const TYPES: [&str; 4] = ["common", "second", "common", "fourth"];

pub(crate) struct Numbered {
    pub(crate) number: u64,
    correlation: [u8; 8],
    node: String,
    pid: String,
    data: Vec<u8>,
}

/// The numbers of a lane's events. Those of odd lanes have the ids that the store draws, which are much smaller.
pub(crate) fn lane(lane: u64, events: u64) -> Range<u64> {
    let first = (lane + 256) * LANE + 1;
    first..first + events
}

/// The how-manieth event of its lane it is.
pub(crate) fn step_of(number: u64) -> u64 {
    number % LANE
}

/// The timestamp follows from the step, so that pruning takes the old events of all lanes.
pub(crate) fn time_of(number: u64) -> i64 {
    step_of(number) as i64 * 100
}

pub(crate) fn has_own_id(number: u64) -> bool {
    (number / LANE).is_multiple_of(2)
}

pub(crate) fn correlation_of(number: u64) -> [u8; 8] {
    (number % 11).to_le_bytes()
}

impl Numbered {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            correlation: correlation_of(number),
            node: format!("n{}@host", number % 3),
            pid: format!("<0.{}.0>", number % 29),
            data: vec![b'a' + (number % 26) as u8; (number * 7 % 230) as usize],
        }
    }

    pub(crate) fn event(&self) -> NewEvent<'_> {
        NewEvent {
            event_type: TYPES[(self.number % 4) as usize].into(),
            event_id: has_own_id(self.number).then_some(self.number),
            timestamp: Some(time_of(self.number)),
            wall_time: Some(self.number as i64),
            node: &self.node,
            pid: &self.pid,
            correlation_id: Some(&self.correlation),
            parent_id: Some(self.number),
            encoding: Encoding::Raw,
            data: &self.data,
        }
    }
}

/// Compares every part of an event with what its number says; the number.
pub(crate) fn check(event: &EventView<'_>) -> u64 {
    let number = event.parent_id().expect("every event has its number");
    let whole = Numbered::new(number);
    assert_eq!(event.data(), whole.data, "{number:#x}");
    assert_eq!(event.event_type(), TYPES[(number % 4) as usize], "{number:#x}");
    assert_eq!((event.node(), event.pid()), (&*whole.node, &*whole.pid), "{number:#x}");
    assert_eq!(event.correlation_id(), Some(&whole.correlation[..]), "{number:#x}");
    assert_eq!((event.timestamp(), event.wall_time()), (time_of(number), number as i64), "{number:#x}");
    assert!(event.seq() > 0 && (event.event_id() == number || !has_own_id(number)), "{number:#x}");
    number
}
