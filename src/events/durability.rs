//! How safe an event is, and what a store promises before it answers an append.
//!
//! The promises are those of docs/durability.md. A *level* is what is true of one event; a store's *mode* is the
//! level at which it answers appends, and how it gets there.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// How safe an event is. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Level {
    /// In memory, visible to every query that starts from now on.
    Accepted = 1,
    /// Handed to the operating system: it survives the end of the process, however that comes.
    CrashSafe = 2,
    /// On the disk: it survives a loss of power.
    Durable = 3,
}

impl Level {
    /// The level of this number.
    ///
    /// Errors: `invalid_input` for a number that is none.
    pub fn from_number(number: u32) -> Result<Self> {
        match number {
            1 => Ok(Self::Accepted),
            2 => Ok(Self::CrashSafe),
            3 => Ok(Self::Durable),
            _ => Err(Error::new(
                Code::InvalidInput,
                format!("level is {number}; it may be 1 (accepted), 2 (crash_safe) or 3 (durable)"),
            )
            .with("level", number)),
        }
    }

    /// Its number, the same in every language.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The word used in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::CrashSafe => "crash_safe",
            Self::Durable => "durable",
        }
    }
}

/// What a store does before it answers an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It keeps events in memory only. Nothing survives the process.
    Volatile,
    /// It copies the event into a file that is mapped into memory. What was acknowledged survives the end of the
    /// process; a loss of power takes what was not synced, which is done at sealing, at closing and on request.
    CrashSafe,
    /// As `crash_safe`, and what is older than the sync interval, or beyond so many bytes, is synced.
    Interval,
    /// It waits until the disk has the event; one sync serves all who wait.
    #[default]
    Group,
    /// It waits for a sync of its own: no append shares one with another.
    Strict,
}

impl Durability {
    /// The level at which appends are answered.
    pub fn level(self) -> Level {
        match self {
            Self::Volatile => Level::Accepted,
            Self::CrashSafe | Self::Interval => Level::CrashSafe,
            Self::Group | Self::Strict => Level::Durable,
        }
    }

    /// Whether the appending thread copies its events into a mapped file.
    pub(crate) fn maps(self) -> bool {
        matches!(self, Self::CrashSafe | Self::Interval)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_have_numbers() {
        assert!(Level::Accepted < Level::CrashSafe && Level::CrashSafe < Level::Durable);
        for level in [Level::Accepted, Level::CrashSafe, Level::Durable] {
            assert_eq!(Level::from_number(level.number()).unwrap(), level);
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
        let error = Level::from_number(4).unwrap_err();
        assert_eq!((error.code(), &error.context()["level"]), (Code::InvalidInput, &4.into()));
    }
}
