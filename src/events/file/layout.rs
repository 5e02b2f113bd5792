//! The names of a store's files.

/// The manifest.
pub(crate) const MANIFEST: &str = "MANIFEST";

/// The name of a log or a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// `log-<number>.esl`
    Log {
        /// Which log.
        number: u64,
    },
    /// `seg-<first_seq>-<number>.esf`
    Segment {
        /// `seq` of its first event.
        first_seq: u64,
        /// Which file.
        number: u64,
    },
}

impl FileName {
    /// What a name says; `None` if it is not one that [`FileName::to_string`] makes.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let parsed =
            if let Some(number) = name.strip_prefix("log-").and_then(|rest| rest.strip_suffix(".esl")) {
                Self::Log { number: hex(number)? }
            } else {
                let numbers = name.strip_prefix("seg-")?.strip_suffix(".esf")?;
                let (first_seq, number) = numbers.split_once('-')?;
                Self::Segment { first_seq: hex(first_seq)?, number: hex(number)? }
            };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log { number } => write!(f, "log-{number:016x}.esl"),
            Self::Segment { first_seq, number } => write!(f, "seg-{first_seq:016x}-{number:016x}.esf"),
        }
    }
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}
