//! Events as JSON Lines: one object a line, readable by everything. docs/data-conversion.md says what data of
//! each encoding becomes.

use std::io::{self, Write};
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::base64;
use super::etf::{etf_to_json, text_or_bytes};
use super::model::{Encoding, EventView};
use super::query::Query;
use super::store::EventStore;
use crate::error::{Code, Error, Result};
use crate::storage::{Storage, write_atomically_with};

impl EventStore {
    /// Writes what the query finds to a file, one JSON object a line, in place of whatever has this name: whole or
    /// not at all. How many events those were.
    pub fn export_jsonl(&self, query: &Query, storage: &dyn Storage, path: &Path) -> Result<u64> {
        write_atomically_with(storage, path, |writer| self.write_jsonl(query, writer))
    }

    /// Writes what the query finds, one JSON object a line. How many events those were.
    pub fn write_jsonl(&self, query: &Query, out: &mut dyn Write) -> Result<u64> {
        let mut cursor = self.query(query)?;
        let mut count = 0;
        while let Some(event) = cursor.try_next()? {
            write_event(&event, out).map_err(|error| {
                // A failure of our own storage comes through as it was.
                match error.downcast::<Error>() {
                    Ok(ours) => ours,
                    Err(other) => Error::new(Code::IoError, format!("writing events failed: {other}")),
                }
            })?;
            count += 1;
        }
        Ok(count)
    }
}

impl EventView<'_> {
    /// The data as JSON, converted from whatever it is encoded in. Data that cannot be read as what it is
    /// declared to be comes as `{"$invalid": {"encoding": …, "bytes": …}}`, in Base64.
    pub fn data_json(&self) -> Value {
        let read = match self.encoding() {
            Encoding::Json if self.data().is_empty() => Some(Value::Null),
            Encoding::Json => serde_json::from_slice(self.data()).ok(),
            Encoding::Etf => etf_to_json(self.data()).ok(),
            Encoding::Raw => Some(json!({"$bytes": base64::encode(self.data())})),
        };
        read.unwrap_or_else(|| {
            json!({"$invalid": {"encoding": self.encoding().name(), "bytes": base64::encode(self.data())}})
        })
    }
}

fn write_event(event: &EventView<'_>, out: &mut dyn Write) -> io::Result<()> {
    let some_text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    write!(
        out,
        "{{\"seq\":{},\"event_id\":{},\"event_type\":{},\"timestamp\":{},\"wall_time\":{},\"node\":{},\"pid\":{},\
         \"correlation_id\":{},\"parent_id\":{},\"config_version\":{},\"encoding\":\"{}\",\"truncated\":{},\"data\":",
        event.seq(),
        event.event_id(),
        Value::from(event.event_type()),
        event.timestamp(),
        event.wall_time(),
        some_text(event.node()),
        some_text(event.pid()),
        event.correlation_id().map_or(Value::Null, text_or_bytes),
        Value::from(event.parent_id()),
        event.config_version(),
        event.encoding().name(),
        event.truncated(),
    )?;
    if event.encoding() == Encoding::Json && serde_json::from_slice::<IgnoredAny>(event.data()).is_ok() {
        write_json_in_a_line(event.data(), out)?;
    } else {
        write!(out, "{}", event.data_json())?;
    }
    out.write_all(b"}\n")
}

/// Valid JSON as it came in, numbers and all. Outside strings line breaks are mere space; inside they are escaped.
fn write_json_in_a_line(data: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let mut first = true;
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if !first {
            out.write_all(b" ")?;
        }
        first = false;
        out.write_all(line)?;
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::store;
    use super::super::{EventStoreOptions, NewEvent};
    use super::*;
    use crate::storage::{SimStorage, read_all};

    fn append(store: &EventStore, encoding: Encoding, data: &[u8]) {
        let event = NewEvent {
            event_type: "t\"x".into(),
            encoding,
            data,
            pid: "p",
            correlation_id: Some(b"\xfe"),
            parent_id: Some(4),
            ..NewEvent::default()
        };
        store.append(&event).unwrap();
    }

    #[test]
    fn every_line_is_json_whatever_the_data() {
        let store = store(EventStoreOptions::default());
        append(&store, Encoding::Json, b"{\"a\":\r\n 123456789012345678901234567890,\n\"b\":\"\\n\"}");
        append(&store, Encoding::Json, b"");
        append(&store, Encoding::Json, b"{not json");
        append(&store, Encoding::Etf, &[131, 119, 2, b'o', b'k']);
        append(&store, Encoding::Etf, &[131, 119, 9, b'o']);
        append(&store, Encoding::Raw, b"\x00\n");
        let storage = SimStorage::new(1);
        let path = Path::new("/out.jsonl");
        assert_eq!(store.export_jsonl(&Query::default(), &storage, path).unwrap(), 6);
        let text = String::from_utf8(read_all(&storage, path, 1 << 20).unwrap()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 6);
        assert!(text.contains("123456789012345678901234567890"), "numbers are kept as they came");
        let first = &lines[0];
        assert_eq!((&first["seq"], &first["event_type"]), (&json!(1), &json!("t\"x")));
        assert_eq!((&first["pid"], &first["node"]), (&json!("p"), &Value::Null));
        assert_eq!((&first["correlation_id"], &first["parent_id"]), (&json!({"$bytes": "/g=="}), &json!(4)));
        assert_eq!((&first["timestamp"], &first["encoding"]), (&json!(1_000), &json!("json")));
        assert_eq!(first["data"]["b"], "\n");
        let data: Vec<&Value> = lines[1..].iter().map(|line| &line["data"]).collect();
        assert_eq!(*data[0], Value::Null);
        assert_eq!(*data[1], json!({"$invalid": {"encoding": "json", "bytes": "e25vdCBqc29u"}}));
        assert_eq!(*data[2], "ok");
        assert_eq!(*data[3], json!({"$invalid": {"encoding": "etf", "bytes": "g3cJbw=="}}));
        assert_eq!(*data[4], json!({"$bytes": "AAo="}));
    }

    #[test]
    fn a_failed_export_leaves_the_old_file() {
        let store = store(EventStoreOptions::default());
        append(&store, Encoding::Raw, &vec![7; 200_000]);
        let storage = SimStorage::new(1);
        let path = Path::new("/out.jsonl");
        crate::storage::write_atomically(&storage, path, b"old").unwrap();
        storage.lose_power_at(storage.operations() + 2);
        let error = store.export_jsonl(&Query::default(), &storage, path).unwrap_err();
        assert_eq!(error.code(), Code::IoError);
        storage.crash();
        assert_eq!(read_all(&storage, path, 1 << 20).unwrap(), b"old");
    }
}
