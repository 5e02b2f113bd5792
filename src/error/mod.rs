//! Errors: one type, one table of codes, in every language.
//!
//! An [`Error`] says what was wrong, with which value, and what to do. Its [`Code`] comes from
//! [`table`], the single source that the C header, the Elixir binding and `docs/errors.md` are made from.
//!
//! ```
//! use elixirscope_foundation::error::{Code, Error};
//!
//! let error = Error::new(Code::RangeError, "ai.planning.sampling_rate is 1.5; allowed are 0.0 to 1.0")
//!     .with("path", "ai.planning.sampling_rate");
//! assert_eq!(error.code() as u32, 1203);
//! assert_eq!(error.hierarchical(), "C203");
//! assert_eq!(error.context()["path"], "ai.planning.sampling_rate");
//! ```

pub mod table;

use std::fmt;

use serde_json::{Map, Value, json};

pub use table::{Category, Code, Retry, Row, Severity};

use crate::runtime::clock;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// One failure: a code of the table, a message for a person, and context for a program.
///
/// It is one pointer wide, so that a `Result` of a small value stays small.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    context: Map<String, Value>,
    correlation_id: Option<String>,
    timestamp_ns: i64,
}

impl Error {
    /// An error of this code. The message says what was wrong, with which value, and what to do.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            context: Map::new(),
            correlation_id: None,
            timestamp_ns: clock::wall_now_ns(),
        }))
    }

    /// Adds one entry to the context; a later one of the same key replaces it.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.context.insert(key.to_owned(), value.into());
        self
    }

    /// Says which chain of work the error belongs to.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.0.correlation_id = Some(id.into());
        self
    }

    /// The code; `code() as u32` is the number that C callers get.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The name of the code, such as `range_error`.
    pub fn error_type(&self) -> &'static str {
        self.0.code.row().name
    }

    /// The message for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What a program may want to know: paths, offending values, limits, violations.
    pub fn context(&self) -> &Map<String, Value> {
        &self.0.context
    }

    /// The chain of work that the error belongs to, when known.
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    /// When it was made: nanoseconds since the Unix epoch, UTC.
    pub fn timestamp_ns(&self) -> i64 {
        self.0.timestamp_ns
    }

    /// The hierarchical code of the seeds, such as `C203`.
    pub fn hierarchical(&self) -> String {
        self.0.code.hierarchical()
    }

    /// The whole error as a JSON object: the shape that every binding reads.
    ///
    /// Keys: `code`, `hierarchical_code`, `error_type`, `category`, `subcategory`, `severity`, `message`,
    /// `context`, `correlation_id`, `timestamp_ns`, `retry_strategy`, `recovery_actions`.
    pub fn to_json(&self) -> Value {
        let row = self.0.code.row();
        json!({
            "code": row.code,
            "hierarchical_code": self.hierarchical(),
            "error_type": row.name,
            "category": row.category.name(),
            "subcategory": row.subcategory,
            "severity": row.severity.name(),
            "message": self.0.message,
            "context": self.0.context,
            "correlation_id": self.0.correlation_id,
            "timestamp_ns": self.0.timestamp_ns,
            "retry_strategy": row.retry.name(),
            "recovery_actions": self.0.code.recovery_actions(),
        })
    }
}

impl Code {
    /// The code of this number, if the table has it.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| *code as u32 == number)
    }

    /// The hierarchical code of the seeds: the category's letter and the last three digits.
    pub fn hierarchical(self) -> String {
        let number = self as u32;
        match self.row().category.letter() {
            Some(letter) => format!("{letter}{:03}", number % 1000),
            None => format!("{number}"),
        }
    }

    /// What a person can do about it, most likely remedy first.
    pub fn recovery_actions(self) -> &'static [&'static str] {
        match self {
            Self::ConfigNotFound => &["Check configuration file", "Verify configuration path"],
            Self::InvalidConfigValue => {
                &["Check configuration format", "Validate against schema", "Review documentation"]
            }
            Self::ServiceUnavailable => {
                &["Check service health", "Verify network connectivity", "Review service logs"]
            }
            Self::ResourceExhausted => {
                &["Check memory usage", "Review resource limits", "Scale resources if needed"]
            }
            Self::NetworkError => &["Check network connectivity", "Retry with exponential backoff"],
            Self::Timeout => {
                &["Increase timeout value", "Check network latency", "Review service performance"]
            }
            Self::DataCorruption => &["Restore from backup", "Contact system administrator"],
            _ => &["Check logs for details", "Review error context", "Contact support if needed"],
        }
    }
}

impl Category {
    /// The word used in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::System => "system",
            Self::Data => "data",
            Self::External => "external",
            Self::Unknown => "unknown",
        }
    }

    /// The letter of hierarchical codes; none for errors of others.
    pub fn letter(self) -> Option<char> {
        match self {
            Self::Config => Some('C'),
            Self::System => Some('S'),
            Self::Data => Some('D'),
            Self::External => Some('E'),
            Self::Unknown => None,
        }
    }
}

impl Severity {
    /// The word used in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Retry {
    /// The word used in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRetry => "no_retry",
            Self::Immediate => "immediate",
            Self::FixedDelay => "fixed_delay",
            Self::ExponentialBackoff => "exponential_backoff",
        }
    }

    /// How long to wait before attempt number `attempt` (the first retry is 0), in milliseconds; `None`
    /// when there should be no retry. Exponential: 1 s, 2 s, 4 s … at most 30 s.
    pub fn delay_ms(self, attempt: u32) -> Option<u64> {
        match self {
            Self::NoRetry => None,
            Self::Immediate => Some(0),
            Self::FixedDelay => Some(1_000),
            Self::ExponentialBackoff => Some(1_000_u64.saturating_mul(1 << attempt.min(15)).min(30_000)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{}] {}", self.0.code as u32, self.error_type(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", Value::Object(self.0.context.clone()))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_in_their_category() {
        for (i, a) in Code::ALL.iter().enumerate() {
            for b in &Code::ALL[i + 1..] {
                assert_ne!(*a as u32, *b as u32);
                assert_ne!(a.row().name, b.row().name);
            }
            let first_digit = match a.row().category {
                Category::Config => 1,
                Category::System => 2,
                Category::Data => 3,
                Category::External => 4,
                Category::Unknown => 9,
            };
            assert_eq!(*a as u32 / 1000, first_digit, "{:?}", a.row());
            assert_eq!(Code::from_number(*a as u32), Some(*a));
        }
        assert!(Code::ALL.len() >= 40);
    }

    #[test]
    fn delays_double_up_to_thirty_seconds() {
        let delays: Vec<_> = (0..7).map(|n| Retry::ExponentialBackoff.delay_ms(n)).collect();
        let expected = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].map(Some);
        assert_eq!(delays, expected);
        assert_eq!(Retry::NoRetry.delay_ms(0), None);
    }
}
