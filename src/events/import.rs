//! Events from JSON Lines: what `export` wrote, or any other file of that shape. docs/data-conversion.md says what
//! comes back as it was.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::base64;
use super::model::{Encoding, NewEvent};
use super::store::EventStore;
use crate::error::{Code, Error, Result};
use crate::storage::{File, Storage};

/// The longest line that is read.
const MAX_LINE: usize = 64 << 20;
/// How much is read and stored at once.
const CHUNK: usize = 256 << 10;

/// A line. What the store gives every event anew is read and not used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    event_id: Option<u64>,
    timestamp: Option<i64>,
    wall_time: Option<i64>,
    #[serde(borrow)]
    node: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pid: Option<Cow<'a, str>>,
    correlation_id: Option<TextOrBytes>,
    parent_id: Option<u64>,
    encoding: Option<Written>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "seq")]
    _seq: Option<IgnoredAny>,
    #[serde(rename = "config_version")]
    _config_version: Option<IgnoredAny>,
    #[serde(rename = "truncated")]
    _truncated: Option<IgnoredAny>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Written {
    Json,
    Etf,
    Raw,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrBytes {
    Text(String),
    Bytes(Bytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes {
    #[serde(rename = "$bytes")]
    base64: String,
}

impl Bytes {
    fn decode(&self) -> Result<Vec<u8>> {
        base64::decode(&self.base64)
            .ok_or_else(|| Error::new(Code::FormatError, "what stands under \"$bytes\" is no Base64"))
    }
}

/// A line whose bytes are all there.
struct Read<'a> {
    line: Line<'a>,
    correlation_id: Option<Vec<u8>>,
    raw: Option<Vec<u8>>,
}

impl<'a> Read<'a> {
    fn new(text: &'a [u8]) -> Result<Self> {
        let line: Line<'a> = serde_json::from_slice(text)
            .map_err(|error| Error::new(Code::FormatError, format!("the line is no event: {error}")))?;
        let correlation_id = match &line.correlation_id {
            None => None,
            Some(TextOrBytes::Text(text)) => Some(text.as_bytes().to_vec()),
            Some(TextOrBytes::Bytes(bytes)) => Some(bytes.decode()?),
        };
        let bytes = line.data.filter(|_| line.encoding == Some(Written::Raw));
        // What is raw and not bytes was not readable as what it claimed to be: it stays the JSON that says so.
        let bytes = bytes.and_then(|data| serde_json::from_str::<Bytes>(data.get()).ok());
        let raw = bytes.map(|bytes| bytes.decode()).transpose()?;
        Ok(Self { line, correlation_id, raw })
    }

    fn event(&self) -> NewEvent<'_> {
        let line = &self.line;
        let (encoding, data) = match (&self.raw, line.data) {
            (Some(raw), _) => (Encoding::Raw, raw.as_slice()),
            (None, data) => (Encoding::Json, data.map_or(&[][..], |data| data.get().as_bytes())),
        };
        NewEvent {
            event_type: (*line.event_type).into(),
            event_id: line.event_id,
            timestamp: line.timestamp,
            wall_time: line.wall_time,
            node: line.node.as_deref().unwrap_or_default(),
            pid: line.pid.as_deref().unwrap_or_default(),
            correlation_id: self.correlation_id.as_deref(),
            parent_id: line.parent_id,
            encoding,
            data,
        }
    }
}

impl EventStore {
    /// Stores the events of a file of JSON Lines; how many those were. Lines are stored some hundred KiB at a time,
    /// each part whole or not at all.
    ///
    /// Errors: those of the storage, of [`EventStore::append_batch`], and `format_error`, each with the number of the
    /// `line` (from 1) where there is one, and of the events that were `imported` before.
    pub fn import_jsonl(&self, storage: &dyn Storage, path: &Path) -> Result<u64> {
        let file = storage.open_read(path)?;
        let (mut imported, mut lines) = (0, 0);
        let (mut kept, mut offset) = (Vec::new(), 0);
        loop {
            let ended = read_more(&*file, &mut kept, &mut offset)?;
            let whole = if ended { kept.len() } else { after_last_line(&kept) };
            let part = kept.get(..whole).unwrap_or_default();
            self.import_lines(part, &mut lines, &mut imported)
                .map_err(|error| error.with("imported", imported))?;
            if ended {
                return Ok(imported);
            }
            kept.drain(..whole);
            if kept.len() > MAX_LINE {
                let message = format!("line {} has more than {MAX_LINE} bytes", lines + 1);
                let error = Error::new(Code::DataTooLarge, message).with("line", lines + 1);
                return Err(error.with("limit", MAX_LINE).with("imported", imported));
            }
        }
    }

    fn import_lines(&self, part: &[u8], lines: &mut u64, imported: &mut u64) -> Result<()> {
        let (mut read, mut numbers) = (Vec::new(), Vec::new());
        for text in part.split(|byte| *byte == b'\n') {
            *lines += 1;
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            read.push(Read::new(text).map_err(|error| error.with("line", *lines))?);
            numbers.push(*lines);
        }
        // What follows the last line break is no line.
        *lines -= 1;
        let events: Vec<NewEvent<'_>> = read.iter().map(Read::event).collect();
        self.append_batch(&events).map_err(|error| {
            let index = error.context().get("index").and_then(serde_json::Value::as_u64);
            match index.and_then(|index| numbers.get(index as usize)) {
                Some(line) => error.with("line", *line),
                None => error,
            }
        })?;
        *imported += events.len() as u64;
        Ok(())
    }
}

/// Reads on; whether that was the end.
fn read_more(file: &dyn File, kept: &mut Vec<u8>, offset: &mut u64) -> Result<bool> {
    let before = kept.len();
    kept.resize(before + CHUNK, 0);
    let read = file.read_at(*offset, kept.get_mut(before..).unwrap_or_default())?;
    kept.truncate(before + read);
    *offset += read as u64;
    Ok(read == 0)
}

fn after_last_line(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::store;
    use super::super::{EventStoreOptions, OnDuplicate, Query};
    use super::*;
    use crate::storage::{SimStorage, read_all, write_atomically};

    fn export(store: &EventStore, storage: &SimStorage) -> String {
        store.export_jsonl(&Query::default(), storage, Path::new("/out")).unwrap();
        String::from_utf8(read_all(storage, Path::new("/out"), 1 << 30).unwrap()).unwrap()
    }

    #[test]
    fn what_was_exported_comes_back() {
        let (first, storage) = (store(EventStoreOptions::default()), SimStorage::new(1));
        for n in 0..3_000_u64 {
            let text = format!(r#"{{"n":{n},"big":123456789012345678901234567890,"s":"a\nü"}}"#);
            let etf = [131, 97, 7];
            let (encoding, data) = match n % 3 {
                0 => (Encoding::Json, text.as_bytes()),
                1 => (Encoding::Raw, &b"\xff\n"[..]),
                _ => (Encoding::Etf, &etf[..]),
            };
            let event = NewEvent {
                event_type: "t\"\n".into(),
                event_id: Some(n + 1),
                timestamp: Some(-(n as i64)),
                wall_time: Some(5),
                node: if n % 2 == 0 { "n" } else { "" },
                pid: "p",
                correlation_id: Some(if n % 2 == 0 { b"c" } else { b"\xfe" }),
                parent_id: Some(n).filter(|n| *n > 0),
                encoding,
                data,
            };
            first.append(&event).unwrap();
        }
        let text = export(&first, &storage);
        let second =
            store(EventStoreOptions { on_duplicate: OnDuplicate::Return, ..EventStoreOptions::default() });
        assert_eq!(second.import_jsonl(&storage, Path::new("/out")).unwrap(), 3_000);
        // Terms have become JSON, and positions are given anew.
        let bare = |text: &str| -> Vec<serde_json::Value> {
            let lines = text.lines().map(|line| {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["seq"].take();
                if line["encoding"] == "etf" {
                    line["encoding"] = "json".into();
                }
                line
            });
            lines.collect()
        };
        let mut expected = bare(&text);
        expected.reverse();
        let mut found = bare(&export(&second, &storage));
        found.reverse();
        assert!(found == expected, "the same events");
        // Sent again, they are known.
        assert_eq!(second.import_jsonl(&storage, Path::new("/out")).unwrap(), 3_000);
        assert_eq!((second.stats().events, second.stats().repeated), (3_000, 3_000));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let storage = SimStorage::new(1);
        let path = Path::new("/in");
        for (lines, code, line) in [
            ("{\"event_type\":\"a\"}\n\n{\"event_type\":1}\n", Code::FormatError, 3),
            ("{\"event_type\":\"a\"}\n{\"event_type\":\"b\",\"colour\":1}", Code::FormatError, 2),
            ("{}", Code::FormatError, 1),
            ("{\"event_type\":\"a\"}\n\n{\"event_type\":\"\"}", Code::InvalidEventType, 3),
            (
                "{\"event_type\":\"a\",\"event_id\":1}\n{\"event_type\":\"a\",\"event_id\":1}",
                Code::DuplicateEventId,
                2,
            ),
            ("{\"event_type\":\"a\",\"correlation_id\":{\"$bytes\":\"=\"}}", Code::FormatError, 1),
            (
                "{\"event_type\":\"a\",\"encoding\":\"raw\",\"data\":{\"$bytes\":\"Zg=\"}}",
                Code::FormatError,
                1,
            ),
        ] {
            let store = store(EventStoreOptions::default());
            write_atomically(&storage, path, lines.as_bytes()).unwrap();
            let error = store.import_jsonl(&storage, path).unwrap_err();
            assert_eq!((error.code(), &error.context()["line"]), (code, &line.into()), "{lines}");
            assert_eq!(error.context()["imported"], store.stats().events, "{lines}");
        }
        let store = store(EventStoreOptions::default());
        assert_eq!(store.import_jsonl(&storage, Path::new("/none")).unwrap_err().code(), Code::DataNotFound);
        write_atomically(&storage, path, b"").unwrap();
        assert_eq!(store.import_jsonl(&storage, path).unwrap(), 0);
        write_atomically(&storage, path, b" \r\n{\"event_type\":\"a\"} \r\n").unwrap();
        assert_eq!(store.import_jsonl(&storage, path).unwrap(), 1);
    }
}
