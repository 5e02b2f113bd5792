//! The bytes of one event: the same in the memory arena, in files and in between.
//!
//! A record is a header of 72 bytes, then correlation id, pid and data, then zeros up to a multiple of 8. All
//! numbers are little-endian. docs/file-format.md is the reference; the constants below are its source.

use super::model::Encoding;

/// Bytes of the header.
pub(crate) const HEADER: usize = 72;

pub(crate) const AT_LENGTH: usize = 0;
pub(crate) const AT_SEQ: usize = 8;
pub(crate) const AT_EVENT_ID: usize = 16;
pub(crate) const AT_TIMESTAMP: usize = 24;
pub(crate) const AT_WALL_TIME: usize = 32;
pub(crate) const AT_PARENT_ID: usize = 40;
pub(crate) const AT_CONFIG_VERSION: usize = 48;
pub(crate) const AT_TYPE: usize = 56;
pub(crate) const AT_NODE: usize = 60;
pub(crate) const AT_FLAGS: usize = 64;
pub(crate) const AT_ENCODING: usize = 65;
pub(crate) const AT_CORRELATION_LEN: usize = 66;
pub(crate) const AT_PID_LEN: usize = 67;
pub(crate) const AT_DATA_LEN: usize = 68;

/// The record has a correlation id (which may be empty).
pub(crate) const FLAG_CORRELATION: u8 = 1;
/// The record's data was cut to the configured size.
pub(crate) const FLAG_TRUNCATED: u8 = 2;
/// The record is the first of its append. A batch has its first and its last event marked; a single one has both.
pub(crate) const FLAG_FIRST: u8 = 4;
/// The record is the last of its append.
pub(crate) const FLAG_LAST: u8 = 8;
/// The record is a change of configuration, made by the instance itself.
pub(crate) const FLAG_CONFIG: u8 = 16;

/// What goes into a record before its sequence number is known. Lengths have been checked by `validate`.
pub(crate) struct Draft<'a> {
    pub(crate) timestamp: i64,
    pub(crate) wall_time: i64,
    pub(crate) parent_id: u64,
    pub(crate) type_id: u32,
    pub(crate) node_id: u32,
    pub(crate) flags: u8,
    pub(crate) encoding: Encoding,
    pub(crate) correlation: Option<&'a [u8]>,
    pub(crate) pid: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Bytes that a record with variable parts of these lengths takes.
pub(crate) fn length(correlation: usize, pid: usize, data: usize) -> usize {
    (HEADER + correlation + pid + data).next_multiple_of(8)
}

impl Draft<'_> {
    /// Bytes that the record takes.
    pub(crate) fn length(&self) -> usize {
        length(self.correlation.map_or(0, <[u8]>::len), self.pid.len(), self.data.len())
    }

    /// The header; `seq`, `event_id` and `config_version` are 0 until the record is finished.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let correlation = self.correlation.unwrap_or_default();
        let flags = self.flags | if self.correlation.is_some() { FLAG_CORRELATION } else { 0 };
        let mut header = [0; HEADER];
        put(&mut header, AT_LENGTH, (self.length() as u32).to_le_bytes());
        put(&mut header, AT_TIMESTAMP, self.timestamp.to_le_bytes());
        put(&mut header, AT_WALL_TIME, self.wall_time.to_le_bytes());
        put(&mut header, AT_PARENT_ID, self.parent_id.to_le_bytes());
        put(&mut header, AT_TYPE, self.type_id.to_le_bytes());
        put(&mut header, AT_NODE, self.node_id.to_le_bytes());
        put(&mut header, AT_FLAGS, [flags]);
        put(&mut header, AT_ENCODING, [self.encoding as u8]);
        put(&mut header, AT_CORRELATION_LEN, [correlation.len() as u8]);
        put(&mut header, AT_PID_LEN, [self.pid.len() as u8]);
        put(&mut header, AT_DATA_LEN, (self.data.len() as u32).to_le_bytes());
        header
    }
}

/// Writes bytes at a place of the header; the place is a constant, so the check costs nothing.
fn put<const N: usize>(header: &mut [u8; HEADER], at: usize, bytes: [u8; N]) {
    if let Some(place) = header.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

/// A whole record, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    header: &'a [u8; HEADER],
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record of nothing.
    pub(crate) const EMPTY: Self = Self { header: &[0; HEADER], rest: &[] };

    /// The record in these bytes; `None` when they are too short for what the header says.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let record = Self { header, rest };
        (record.data_start() + record.data_len() <= rest.len()).then_some(record)
    }

    /// Bytes that the record takes.
    pub(crate) fn length(&self) -> usize {
        HEADER + self.rest.len()
    }

    /// Appends all its bytes.
    pub(crate) fn copy_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.header);
        bytes.extend_from_slice(self.rest);
    }

    /// Appends all its bytes, with other numbers for the names of its type and its node.
    pub(crate) fn copy_numbered(self, type_id: u32, node_id: u32, bytes: &mut Vec<u8>) {
        let mut header = *self.header;
        put(&mut header, AT_TYPE, type_id.to_le_bytes());
        put(&mut header, AT_NODE, node_id.to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(self.rest);
    }

    /// All its bytes, for tests.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [&self.header[..], self.rest].concat()
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.header.get(at..).and_then(|tail| tail.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    fn byte(&self, at: usize) -> u8 {
        self.header.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn seq(&self) -> u64 {
        u64::from_le_bytes(self.field(AT_SEQ))
    }

    pub(crate) fn event_id(&self) -> u64 {
        u64::from_le_bytes(self.field(AT_EVENT_ID))
    }

    pub(crate) fn timestamp(&self) -> i64 {
        i64::from_le_bytes(self.field(AT_TIMESTAMP))
    }

    pub(crate) fn wall_time(&self) -> i64 {
        i64::from_le_bytes(self.field(AT_WALL_TIME))
    }

    pub(crate) fn parent_id(&self) -> u64 {
        u64::from_le_bytes(self.field(AT_PARENT_ID))
    }

    pub(crate) fn config_version(&self) -> u64 {
        u64::from_le_bytes(self.field(AT_CONFIG_VERSION))
    }

    pub(crate) fn type_id(&self) -> u32 {
        u32::from_le_bytes(self.field(AT_TYPE))
    }

    pub(crate) fn node_id(&self) -> u32 {
        u32::from_le_bytes(self.field(AT_NODE))
    }

    pub(crate) fn flags(&self) -> u8 {
        self.byte(AT_FLAGS)
    }

    pub(crate) fn encoding(&self) -> Encoding {
        Encoding::from_number(u32::from(self.byte(AT_ENCODING))).unwrap_or(Encoding::Raw)
    }

    fn correlation_len(&self) -> usize {
        usize::from(self.byte(AT_CORRELATION_LEN))
    }

    fn data_start(&self) -> usize {
        self.correlation_len() + usize::from(self.byte(AT_PID_LEN))
    }

    fn data_len(&self) -> usize {
        u32::from_le_bytes(self.field(AT_DATA_LEN)) as usize
    }

    pub(crate) fn correlation(&self) -> Option<&'a [u8]> {
        (self.flags() & FLAG_CORRELATION != 0)
            .then(|| self.rest.get(..self.correlation_len()).unwrap_or_default())
    }

    pub(crate) fn pid(&self) -> &'a [u8] {
        self.rest.get(self.correlation_len()..self.data_start()).unwrap_or_default()
    }

    pub(crate) fn data(&self) -> &'a [u8] {
        let start = self.data_start();
        self.rest.get(start..start + self.data_len()).unwrap_or_default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_its_layout_is_the_documented_one() {
        let draft = Draft {
            timestamp: -2,
            wall_time: 3,
            parent_id: 4,
            type_id: 5,
            node_id: 6,
            flags: FLAG_TRUNCATED,
            encoding: Encoding::Raw,
            correlation: Some(b"corr"),
            pid: b"pid",
            data: b"data!",
        };
        let mut bytes = draft.header().to_vec();
        bytes.extend_from_slice(b"corrpiddata!");
        bytes.resize(draft.length(), 0);
        assert_eq!(bytes.len(), 88);
        assert_eq!(bytes[..4], 88_u32.to_le_bytes());
        assert_eq!(bytes[24..32], (-2_i64).to_le_bytes());
        assert_eq!(bytes[64..72], [3, 3, 4, 3, 5, 0, 0, 0]);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!((record.timestamp(), record.wall_time(), record.parent_id()), (-2, 3, 4));
        assert_eq!((record.type_id(), record.node_id()), (5, 6));
        assert_eq!((record.seq(), record.event_id(), record.config_version()), (0, 0, 0));
        assert_eq!(record.correlation(), Some(&b"corr"[..]));
        assert_eq!((record.pid(), record.data()), (&b"pid"[..], &b"data!"[..]));
        assert!(Record::parse(&bytes[..80]).is_none());
        assert!(Record::parse(&bytes[..71]).is_none());
    }
}
