//! Writing a log: events become frames at the end of a buffer, which the caller writes to the file.

use super::BLOCK_BYTES;
use super::bytes::{put, u8_at, u32_at, u64_at};
use super::frame::{self, FileKind, Header, Identity, Kind, MARKER_MAGIC, Salt};
use crate::events::record::{AT_FLAGS, AT_NODE, AT_SEQ, AT_TYPE};

/// Makes the frames of one log, in order. The caller writes what is appended to its buffers at
/// [`LogEncoder::position`] as it was before the call, without a gap.
#[derive(Debug)]
pub(crate) struct LogEncoder {
    header: Header,
    salt: Salt,
    /// Offset of the next frame.
    position: u64,
    /// A frame that starts here or behind has a resync marker before it.
    next_marker: u64,
    /// Counts resync markers; names are defined anew in each block.
    block: u32,
    /// By number, the block in which the name was defined last.
    defined: Vec<u32>,
    events: u64,
    last_seq: u64,
    chain: u32,
    /// End of the last commit frame.
    committed: u64,
}

impl LogEncoder {
    /// An encoder for a new log of this store and number, whose events have at least this `seq`.
    pub(crate) fn new(store: [u8; 16], number: u64, next_seq: u64) -> Self {
        let identity = Identity { kind: FileKind::Log, store, number };
        Self {
            header: Header::new(identity, next_seq),
            salt: identity.salt(),
            position: 0,
            next_marker: BLOCK_BYTES as u64,
            block: 1,
            defined: Vec::new(),
            events: 0,
            last_seq: 0,
            chain: 0,
            committed: 0,
        }
    }

    /// An encoder that goes on at this offset of a log that another process wrote: a mistake.
    #[cfg(feature = "crash-tests")]
    pub(crate) fn resume(store: [u8; 16], number: u64, next_seq: u64, position: u64) -> Self {
        let next_marker = (position / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64;
        Self { position, next_marker, ..Self::new(store, number, next_seq) }
    }

    /// Appends the file header: the first thing in a log, once.
    pub(crate) fn header(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        let crc = self.header.write(out);
        self.wrote(out.len() - start, crc);
    }

    /// Appends an event: its record as in memory, with these flags added, and before it whatever marker and names
    /// it needs. `name` answers the text of a number.
    ///
    /// The `seq` of records must rise; a record that breaks this is damage to whoever reads the log.
    pub(crate) fn record<'n>(
        &mut self,
        record: &[u8],
        flags: u8,
        name: impl Fn(u32) -> &'n str,
        out: &mut Vec<u8>,
    ) {
        let (event_type, node) = (u32_at(record, AT_TYPE), u32_at(record, AT_NODE));
        loop {
            self.marker(out);
            if self.is_new(event_type) {
                self.name(event_type, name(event_type), out);
            } else if self.is_new(node) {
                self.name(node, name(node), out);
            } else {
                break;
            }
        }
        debug_assert!(u64_at(record, AT_SEQ) > self.last_seq, "seq rises within a log");
        let start = out.len();
        out.extend_from_slice(record);
        let flags = u8_at(record, AT_FLAGS) | flags;
        put(out.get_mut(start..).unwrap_or_default(), AT_FLAGS, [flags]);
        let crc = frame::finish(out, start, self.salt);
        self.events += 1;
        self.last_seq = u64_at(record, AT_SEQ);
        self.wrote(out.len() - start, crc);
    }

    /// Appends a commit frame: everything before it is about to be given to one sync. It says that the sync of
    /// the commit frame before has returned: after one that failed nothing may be written to this log again.
    pub(crate) fn commit(&mut self, last_seq: u64, out: &mut Vec<u8>) {
        self.marker(out);
        self.bound(Kind::Commit, last_seq, out);
        self.committed = self.position;
    }

    /// Appends the end frame: the log is whole, and the sync of its last commit frame has returned.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        self.marker(out);
        self.bound(Kind::End, self.last_seq, out);
    }

    /// Offset in the file of whatever is appended next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn marker(&mut self, out: &mut Vec<u8>) {
        if self.position < self.next_marker {
            return;
        }
        self.next_marker = (self.position / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64;
        self.block += 1;
        let start = frame::begin(out, Kind::Marker);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&MARKER_MAGIC);
        out.extend_from_slice(&self.header.identity.number.to_le_bytes());
        let crc = frame::finish(out, start, self.salt);
        self.wrote(out.len() - start, crc);
    }

    fn is_new(&self, number: u32) -> bool {
        number != 0 && self.defined.get(number as usize) != Some(&self.block)
    }

    fn name(&mut self, number: u32, name: &str, out: &mut Vec<u8>) {
        let place = number as usize;
        if self.defined.len() <= place {
            self.defined.resize(place + 1, 0);
        }
        if let Some(defined) = self.defined.get_mut(place) {
            *defined = self.block;
        }
        let start = frame::begin(out, Kind::Name);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        let crc = frame::finish(out, start, self.salt);
        self.wrote(out.len() - start, crc);
    }

    fn bound(&mut self, kind: Kind, last_seq: u64, out: &mut Vec<u8>) {
        let start = frame::begin(out, kind);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&last_seq.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.committed.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        frame::finish(out, start, self.salt);
        self.position += (out.len() - start) as u64;
    }

    fn wrote(&mut self, length: usize, crc: u32) {
        self.position += length as u64;
        self.chain = crc32c::crc32c_append(self.chain, &crc.to_le_bytes());
    }
}
