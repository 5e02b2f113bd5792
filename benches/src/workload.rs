//! The events that every subject stores and finds: the same on each run, any of them made by itself.

use std::fmt::Write as _;

use elixirscope_foundation::events::{ID_LIMIT, NewEvent};

use crate::harness::Numbers;

/// Events of one correlation, spread evenly over the whole run.
pub const CHAIN: u64 = 10;

/// The bytes of an event's fields of fixed size.
pub const FIXED: usize = 72;

/// Where the events come from.
pub const NODE: &str = "bench@host";

const TYPES: [&str; 20] = [
    "order_placed",
    "order_paid",
    "order_packed",
    "order_shipped",
    "order_closed",
    "user_created",
    "user_login",
    "user_logout",
    "user_changed",
    "user_removed",
    "page_viewed",
    "page_shared",
    "query_begun",
    "query_ended",
    "task_begun",
    "task_ended",
    "task_failed",
    "mail_queued",
    "mail_sent",
    "mail_bounced",
];

/// The name of the type of this number.
pub fn type_name(number: u32) -> &'static str {
    TYPES[number as usize % TYPES.len()]
}

/// How many types there are.
pub const TYPE_COUNT: u64 = TYPES.len() as u64;

/// Time between two events, in nanoseconds.
const STEP: i64 = 1_000;
/// The time of the first.
const FIRST: i64 = 1_700_000_000_000_000_000;

/// The time of the event of this turn.
pub fn timestamp(turn: u64) -> i64 {
    FIRST + turn as i64 * STEP
}

/// The text of an event, made before anything is measured.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// Which one it is, from 0.
    pub turn: u64,
    /// The id that it brings, if the host gives ids.
    pub id: Option<u64>,
    /// Increases with the turn.
    pub timestamp: i64,
    /// The number of its type, one of twenty.
    pub type_number: u32,
    /// Shared by ten events of the run.
    pub correlation_id: String,
    /// One of five thousand.
    pub pid: String,
    /// JSON of about 170 bytes.
    pub data: String,
}

impl Made {
    /// The name of its type.
    pub fn event_type(&self) -> &'static str {
        type_name(self.type_number)
    }

    /// The id that it has in stores that do not give ids themselves.
    #[cfg(feature = "peers")]
    pub fn id_or_turn(&self) -> u64 {
        self.id.unwrap_or(self.turn + 1)
    }

    /// As our store takes it, with the time it is stored.
    pub fn event(&self) -> NewEvent<'_> {
        NewEvent {
            event_type: self.event_type().into(),
            correlation_id: Some(self.correlation_id.as_bytes()),
            pid: &self.pid,
            node: NODE,
            event_id: self.id,
            data: self.data.as_bytes(),
            ..NewEvent::default()
        }
    }

    /// The bytes that a store cannot do without: what came in, and fields of fixed size.
    pub fn bytes(&self) -> usize {
        (FIXED + self.correlation_id.len() + self.pid.len() + self.data.len()).next_multiple_of(8)
    }
}

/// A run of so many events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Workload {
    /// Events of the run. Turns from there on are events of the same kind.
    pub total: u64,
    /// Whether events bring ids, in no order, as random ones are. Else the store gives them.
    pub with_ids: bool,
}

impl Workload {
    /// A run whose events get their ids from the store.
    pub const fn of(total: u64) -> Self {
        Self { total, with_ids: false }
    }

    /// The id that the event of this turn brings. No two turns have the same: an odd factor has an inverse.
    pub fn id(self, turn: u64) -> Option<u64> {
        self.with_ids.then(|| (turn + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) & (ID_LIMIT - 1))
    }

    /// How many correlations the run has.
    pub fn chains(self) -> u64 {
        (self.total / CHAIN).max(1)
    }

    /// Makes the event of this turn, in memory that an earlier one has used.
    pub fn fill(self, turn: u64, made: &mut Made) {
        // Any turn by itself: the seed is the turn, mixed and never zero.
        let mut numbers = Numbers::new((turn + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        made.turn = turn;
        made.id = self.id(turn);
        made.timestamp = timestamp(turn);
        made.type_number = numbers.below(TYPE_COUNT) as u32;
        made.correlation_id.clear();
        write_correlation(turn % self.chains(), &mut made.correlation_id);
        made.pid.clear();
        made.data.clear();
        let _ = write!(made.pid, "<0.{}.0>", numbers.below(5_000));
        let _ = write!(
            made.data,
            "{{\"order\":{turn:012},\"amount\":{:08},\"currency\":\"EUR\",\"customer\":\"{:016x}\",\
             \"state\":\"paid\",\"items\":[{},{},{}],\"note\":\"{:040x}\"}}",
            numbers.below(100_000_000),
            numbers.below(1 << 60),
            numbers.below(1_000),
            numbers.below(1_000),
            numbers.below(1_000),
            numbers.below(1 << 60)
        );
    }

    /// The event of this turn.
    pub fn event(self, turn: u64) -> Made {
        let mut made = Made::default();
        self.fill(turn, &mut made);
        made
    }

    /// All events of the run.
    pub fn events(self) -> Vec<Made> {
        (0..self.total).map(|turn| self.event(turn)).collect()
    }
}

/// The id of the correlation of this number.
pub fn correlation(number: u64) -> String {
    let mut id = String::new();
    write_correlation(number, &mut id);
    id
}

fn write_correlation(number: u64, id: &mut String) {
    let _ = write!(id, "request-{number:08}");
}

/// An event that was found, as far as answers are compared.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its time.
    pub timestamp: i64,
    /// The name of its type.
    pub event_type: &'a [u8],
    /// Where it came from.
    pub node: &'a [u8],
    /// The process that it came from.
    pub pid: &'a [u8],
    /// What it belongs to.
    pub correlation_id: &'a [u8],
    /// Its data.
    pub data: &'a [u8],
}

/// The checksum of an answer: over every byte of every event, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// Events.
    pub count: u64,
    sum: u64,
}

impl Answer {
    /// Adds the next event.
    pub fn add(&mut self, found: Found<'_>) {
        self.count += 1;
        let fields = [found.event_type, found.node, found.pid, found.correlation_id, found.data];
        let mut sum = found.timestamp as u64;
        for field in fields {
            sum = (sum ^ words(field)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        self.sum = self.sum.rotate_left(7) ^ sum;
    }
}

/// Touches every byte, eight at a time; sums of words keep the processor's lanes busy.
fn words(bytes: &[u8]) -> u64 {
    let mut eights = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64;
    for eight in &mut eights {
        sum = sum.wrapping_add(u64::from_le_bytes(eight.try_into().unwrap_or_default()));
    }
    eights.remainder().iter().fold(sum, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_each_time_and_of_the_size_that_is_said() {
        let workload = Workload::of(1_000);
        let made = workload.event(17);
        assert_eq!(format!("{made:?}"), format!("{:?}", workload.event(17)));
        assert_eq!(made.correlation_id, correlation(17));
        assert_eq!(workload.event(117).correlation_id, correlation(17));
        assert!((264..=288).contains(&made.bytes()), "{}", made.bytes());
    }

    #[test]
    fn ids_of_the_host_are_in_range_and_all_different() {
        let workload = Workload { total: 10_000, with_ids: true };
        let mut ids: Vec<u64> = (0..workload.total).filter_map(|turn| workload.id(turn)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
        assert!((1..ID_LIMIT).contains(&ids[0]) && ids[9_999] < ID_LIMIT);
        assert_eq!(Workload::of(1).id(0), None);
    }

    #[test]
    fn answers_differ_by_any_byte_and_by_order() {
        let found = |pid, data| Found {
            timestamp: 1,
            event_type: b"type",
            node: b"",
            pid,
            correlation_id: b"request-1",
            data,
        };
        let (one, two) = (found(b"p".as_slice(), b"0123456789".as_slice()), found(b"q", b"0123456789"));
        let sum = |events: &[Found<'_>]| {
            let mut answer = Answer::default();
            for event in events {
                answer.add(*event);
            }
            answer
        };
        assert_ne!(sum(&[one, two]), sum(&[two, one]));
        assert_ne!(sum(&[one]), sum(&[two]));
        assert_ne!(sum(&[one]), sum(&[found(b"p", b"0123456788")]));
        assert_eq!(sum(&[one, two]), sum(&[one, two]));
    }
}
