//! What an event must be to be stored. Pure: reads no clock, takes no lock; every refusal names the field.

use super::model::{EventType, ID_LIMIT, MAX_NAME_BYTES, NewEvent};
use crate::error::{Code, Error, Result};

use super::Encoding;

/// Version byte of the external term format, and the tag of a compressed term.
pub(crate) const ETF_VERSION: u8 = 131;
pub(crate) const ETF_COMPRESSED: u8 = 80;

/// Checks everything about an event that does not depend on what is stored.
pub(crate) fn check(event: &NewEvent<'_>, max_data_bytes: usize) -> Result<()> {
    if let EventType::Name(name) = event.event_type {
        check_type(name)?;
    }
    if let Some(id) = event.event_id {
        check_id("event_id", id)?;
    }
    if let Some(id) = event.parent_id {
        check_id("parent_id", id)?;
    }
    check_short("node", event.node.len())?;
    check_short("pid", event.pid.len())?;
    check_short("correlation_id", event.correlation_id.map_or(0, <[u8]>::len))?;
    check_data(event.encoding, event.data, max_data_bytes)
}

/// Checks the name of an event type.
pub(crate) fn check_type(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(Code::InvalidEventType, "event_type is empty: give it a name"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Error::new(
            Code::InvalidEventType,
            format!("event_type has {} bytes; at most {MAX_NAME_BYTES} are allowed", name.len()),
        )
        .with("size", name.len())
        .with("max_size", MAX_NAME_BYTES));
    }
    Ok(())
}

fn check_id(field: &str, id: u64) -> Result<()> {
    if (1..ID_LIMIT).contains(&id) {
        return Ok(());
    }
    // A negative number of another language arrives here as a huge one.
    let shown = if id > i64::MAX as u64 { (id as i64).to_string() } else { id.to_string() };
    Err(Error::new(
        Code::InvalidInput,
        format!("{field} is {shown}; it must be a positive integer below 2^59"),
    )
    .with("field", field)
    .with("value", shown))
}

fn check_short(field: &str, size: usize) -> Result<()> {
    if size <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidInput,
        format!("{field} has {size} bytes; at most {MAX_NAME_BYTES} are allowed"),
    )
    .with("field", field)
    .with("size", size)
    .with("max_size", MAX_NAME_BYTES))
}

fn check_data(encoding: Encoding, data: &[u8], max_data_bytes: usize) -> Result<()> {
    if data.len() > max_data_bytes {
        return Err(Error::new(
            Code::DataTooLarge,
            format!("data has {} bytes; at most {max_data_bytes} are allowed", data.len()),
        )
        .with("size", data.len())
        .with("max_size", max_data_bytes));
    }
    match encoding {
        Encoding::Json => match std::str::from_utf8(data) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(
                Code::InvalidUtf8,
                format!(
                    "data is declared as json and is not valid UTF-8 from byte {} on",
                    error.valid_up_to()
                ),
            )
            .with("field", "data")
            .with("offset", error.valid_up_to())),
        },
        Encoding::Etf => match data {
            [ETF_VERSION, ETF_COMPRESSED, ..] => Err(Error::new(
                Code::FormatError,
                "data is a compressed Erlang term; encode it without the `compressed` option",
            )
            .with("field", "data")),
            [ETF_VERSION, _, ..] => Ok(()),
            _ => Err(Error::new(
                Code::FormatError,
                "data is declared as etf and is not an external term: it must start with the byte 131",
            )
            .with("field", "data")),
        },
        Encoding::Raw => Ok(()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut NewEvent<'static>)) -> Error {
        let mut event = NewEvent { event_type: "t".into(), ..NewEvent::default() };
        assert!(check(&event, 10).is_ok());
        change(&mut event);
        check(&event, 10).unwrap_err()
    }

    #[test]
    fn each_refusal_names_the_thing() {
        let long: &'static str = "x".repeat(256).leak();
        let cases: Vec<(Error, Code, &str)> = vec![
            (refused(|e| e.event_type = "".into()), Code::InvalidEventType, "event_type is empty"),
            (refused(|e| e.event_type = long.into()), Code::InvalidEventType, "event_type has 256 bytes"),
            (refused(|e| e.event_id = Some(0)), Code::InvalidInput, "event_id is 0"),
            (refused(|e| e.event_id = Some(-5_i64 as u64)), Code::InvalidInput, "event_id is -5"),
            (refused(|e| e.event_id = Some(ID_LIMIT)), Code::InvalidInput, "below 2^59"),
            (refused(|e| e.parent_id = Some(0)), Code::InvalidInput, "parent_id is 0"),
            (refused(|e| e.node = long), Code::InvalidInput, "node has 256 bytes"),
            (refused(|e| e.pid = long), Code::InvalidInput, "pid has 256 bytes"),
            (
                refused(|e| e.correlation_id = Some(long.as_bytes())),
                Code::InvalidInput,
                "correlation_id has 256 bytes",
            ),
            (refused(|e| e.data = b"12345678901"), Code::DataTooLarge, "data has 11 bytes; at most 10"),
            (refused(|e| e.data = b"ab\xff"), Code::InvalidUtf8, "from byte 2"),
            (
                refused(|e| (e.encoding, e.data) = (Encoding::Etf, &[131, 80, 0])),
                Code::FormatError,
                "compressed",
            ),
            (refused(|e| (e.encoding, e.data) = (Encoding::Etf, &[130, 97])), Code::FormatError, "131"),
            (refused(|e| e.encoding = Encoding::Etf), Code::FormatError, "131"),
        ];
        for (error, code, text) in cases {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(text), "{error} should say {text}");
        }
        let longest: &'static str = &long[..255];
        let event = NewEvent {
            event_type: longest.into(),
            node: longest,
            pid: longest,
            correlation_id: Some(longest.as_bytes()),
            event_id: Some(ID_LIMIT - 1),
            timestamp: Some(i64::MIN),
            data: b"1234567890",
            ..NewEvent::default()
        };
        assert!(check(&event, 10).is_ok());
    }
}
