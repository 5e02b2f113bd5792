//! The schema: which keys there are, of what type, in what range, and what each is for.
//!
//! Nothing here holds a value; a snapshot does. Keys are numbered in the order of the schema, and that
//! number is their place in every snapshot.

use std::sync::LazyLock;

use serde_json::Value;

use super::defaults;
use crate::error::Code;

/// The default schema: every key of the foundation.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(defaults::KEYS));
    &SCHEMA
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int {
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
    },
    /// A number; whole numbers are taken too.
    Float {
        /// The smallest allowed.
        min: f64,
        /// The largest allowed; infinity where there is no limit.
        max: f64,
    },
    /// Text.
    Str {
        /// Whether `null` is allowed.
        nullable: bool,
    },
    /// One of a few words.
    Enum {
        /// The words.
        allowed: &'static [&'static str],
    },
    /// One of a few words, or a whole number.
    EnumOrInt {
        /// The words.
        allowed: &'static [&'static str],
        /// The smallest number allowed.
        min: i64,
    },
}

/// A value that can stand in a constant: the default of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Literal {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text or a word.
    Str(&'static str),
}

impl Literal {
    /// The same value as JSON.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::Str(value) => value.into(),
        }
    }
}

/// One key of the schema.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "independent marks of a key, not states")]
pub struct KeySpec {
    /// The dotted path.
    pub path: &'static str,
    /// What it holds.
    pub kind: KeyKind,
    /// What it holds when nobody says otherwise.
    pub default: Literal,
    /// What it is for, in a sentence.
    pub doc: &'static str,
    /// The unit of a number, such as `ms`.
    pub unit: Option<&'static str>,
    /// Whether it may change while the instance runs.
    pub updatable: bool,
    /// Whether its value is kept out of errors, events, logs and notifications.
    pub secret: bool,
    /// Whether a complete tree must have it.
    pub required: bool,
    /// Whether only the default is allowed for now.
    pub fixed: bool,
    /// The boolean key that must be true for this one to be checked at all.
    pub checked_when: Option<&'static str>,
    /// The key after which this one is checked, where that is not its place in the schema.
    pub checked_after: Option<&'static str>,
    /// The code of the error when the value is not allowed.
    pub violation: Code,
}

impl KeySpec {
    /// Whether the key may hold this value.
    pub fn accepts(&self, value: &Value) -> bool {
        let typed = match self.kind {
            KeyKind::Bool => value.is_boolean(),
            KeyKind::Int { min, max } => value.as_i64().is_some_and(|n| (min..=max).contains(&n)),
            KeyKind::Float { min, max } => {
                value.is_number() && value.as_f64().is_some_and(|n| n.is_finite() && n >= min && n <= max)
            }
            KeyKind::Str { nullable } => value.is_string() || (nullable && value.is_null()),
            KeyKind::Enum { allowed } => value.as_str().is_some_and(|word| allowed.contains(&word)),
            KeyKind::EnumOrInt { allowed, min } => {
                value.as_str().is_some_and(|word| allowed.contains(&word))
                    || value.as_i64().is_some_and(|n| n >= min)
            }
        };
        typed && (!self.fixed || *value == self.default.to_value())
    }

    /// What the key may hold, in words: `a number from 0 to 1`.
    pub fn expected(&self) -> String {
        if self.fixed {
            return format!("{}; nothing else is supported yet", self.default.to_value());
        }
        match self.kind {
            KeyKind::Bool => "true or false".to_owned(),
            KeyKind::Int { min, max } => whole_number(min, max),
            KeyKind::Float { min, max } if max.is_finite() => format!("a number from {min} to {max}"),
            KeyKind::Float { min, .. } => format!("a number, at least {min}"),
            KeyKind::Str { nullable: true } => "text or null".to_owned(),
            KeyKind::Str { nullable: false } => "text".to_owned(),
            KeyKind::Enum { allowed } => format!("one of {}", words(allowed)),
            KeyKind::EnumOrInt { allowed, min } => {
                format!("{} or {}", words(allowed), whole_number(min, i64::MAX))
            }
        }
    }

    /// The value as the 64 bits that a key handle reads; `None` for text and for what the kind cannot hold.
    pub(crate) fn encode(&self, value: &Value) -> Option<u64> {
        match self.kind {
            KeyKind::Bool => value.as_bool().map(u64::from),
            KeyKind::Int { .. } => value.as_i64().map(|n| n as u64),
            KeyKind::Float { .. } => value.as_f64().map(f64::to_bits),
            KeyKind::Str { .. } => None,
            KeyKind::Enum { allowed } => position(allowed, value).map(|at| at as u64),
            // Numbers are positive, so words take the negative ones: the first -1, the second -2.
            KeyKind::EnumOrInt { allowed, .. } => {
                position(allowed, value).map(|at| !(at as u64)).or_else(|| value.as_i64().map(|n| n as u64))
            }
        }
    }
}

fn position(allowed: &[&str], value: &Value) -> Option<usize> {
    let word = value.as_str()?;
    allowed.iter().position(|candidate| *candidate == word)
}

fn words(allowed: &[&str]) -> String {
    allowed.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn whole_number(min: i64, max: i64) -> String {
    if max == i64::MAX {
        format!("a whole number of 64 bits, at least {min}")
    } else {
        format!("a whole number from {min} to {max}")
    }
}

/// A set of keys, with what is needed to find and check them.
#[derive(Debug)]
pub struct Schema {
    keys: &'static [KeySpec],
    sections: Vec<&'static str>,
    check_order: Vec<usize>,
    /// An open-addressed hash table of key numbers; its length is a power of two.
    table: Vec<u16>,
}

const EMPTY: u16 = u16::MAX;

impl Schema {
    fn new(keys: &'static [KeySpec]) -> Self {
        let mut sections = Vec::new();
        for key in keys {
            for (at, _) in key.path.match_indices('.') {
                let section = key.path.get(..at).unwrap_or_default();
                if !sections.contains(&section) {
                    sections.push(section);
                }
            }
        }
        let mut check_order: Vec<usize> = (0..keys.len()).collect();
        check_order.sort_by_key(|at| {
            let moved = keys.get(*at).and_then(|key| key.checked_after);
            let after = moved.and_then(|path| keys.iter().position(|key| key.path == path));
            (after.unwrap_or(*at), after.is_some())
        });
        let mut table = vec![EMPTY; (keys.len() * 4).next_power_of_two()];
        for (at, key) in keys.iter().enumerate() {
            let mut slot = hash(key.path.as_bytes()) as usize & (table.len() - 1);
            while table.get(slot).is_some_and(|taken| *taken != EMPTY) {
                slot = (slot + 1) & (table.len() - 1);
            }
            if let Some(free) = table.get_mut(slot) {
                *free = at as u16;
            }
        }
        Self { keys, sections, check_order, table }
    }

    /// Every key, in the order of the documentation.
    pub fn keys(&self) -> &'static [KeySpec] {
        self.keys
    }

    /// The key of this dotted path.
    pub fn find(&self, path: &str) -> Option<&'static KeySpec> {
        self.keys.get(self.position(path)?)
    }

    /// The sections, each before what it contains: `ai`, `ai.analysis`, …
    pub fn sections(&self) -> &[&'static str] {
        &self.sections
    }

    /// The key of this number, which came from this schema.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "a remainder of the length is inside; a schema has keys")]
    pub(crate) fn spec(&self, position: usize) -> &'static KeySpec {
        &self.keys[position % self.keys.len()]
    }

    /// The number of the key of this dotted path.
    #[inline]
    pub(crate) fn position(&self, path: &str) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut slot = hash(path.as_bytes()) as usize & mask;
        loop {
            // A quarter of the slots is in use at most, so there is always an empty one to end at; an empty
            // slot's number is no key's, which `get` answers with `None`.
            let at = usize::from(*self.table.get(slot)?);
            if self.keys.get(at)?.path == path {
                return Some(at);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The section or key of this path as the schema spells it; "" is the whole tree.
    pub(crate) fn node(&self, path: &str) -> Option<&'static str> {
        if path.is_empty() {
            return Some("");
        }
        let section = self.sections.iter().find(|section| **section == path).copied();
        section.or_else(|| self.find(path).map(|key| key.path))
    }

    /// Whether the section holds keys only, no sections.
    pub(crate) fn is_leaf_group(&self, section: &str) -> bool {
        !self.sections.iter().any(|other| *other != section && is_under(other, section))
    }

    /// The numbers of the keys, in the order in which they are checked.
    pub(crate) fn check_order(&self) -> &[usize] {
        &self.check_order
    }
}

/// Whether `path` is `prefix` or lies below it; everything lies below "".
pub(crate) fn is_under(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

/// A quick hash: paths differ in their length or their last eight bytes, nearly always.
#[inline]
fn hash(path: &[u8]) -> u64 {
    let tail = match path.last_chunk::<8>() {
        Some(tail) => u64::from_le_bytes(*tail),
        None => path.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    let mixed = (tail ^ (path.len() as u64).rotate_right(8)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed >> 32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_under_its_path_and_nothing_else_is() {
        for (at, key) in schema().keys().iter().enumerate() {
            assert_eq!(schema().position(key.path), Some(at));
        }
        for path in
            ["", "ai", "ai.planning", "ai.planning.sampling_rat", "Ai.model", "ai.model ", "i.model", "é"]
        {
            assert_eq!(schema().position(path), None, "{path}");
        }
    }

    #[test]
    fn every_default_is_accepted_and_encodes() {
        for key in schema().keys() {
            let value = key.default.to_value();
            assert!(key.accepts(&value), "{}", key.path);
            let text = matches!(key.kind, KeyKind::Str { .. });
            assert_eq!(key.encode(&value).is_none(), text, "{}", key.path);
        }
    }

    #[test]
    fn updatable_keys_are_exactly_the_listed_paths() {
        let mut marked: Vec<_> =
            schema().keys().iter().filter(|key| key.updatable).map(|key| key.path).collect();
        let mut listed = defaults::UPDATABLE_PATHS.to_vec();
        marked.sort_unstable();
        listed.sort_unstable();
        assert_eq!(marked, listed);
        assert_eq!(marked.len(), 9);
    }

    #[test]
    fn probes_are_short() {
        let slots = &schema().table;
        let home = |key: &KeySpec| hash(key.path.as_bytes()) as usize & (slots.len() - 1);
        let far = schema().keys().iter().enumerate().filter(|(at, key)| usize::from(slots[home(key)]) != *at);
        assert!(far.count() <= 6);
    }

    #[test]
    fn prefixes_end_at_dots() {
        assert!(is_under("ai.planning", "ai"));
        assert!(is_under("ai", "ai"));
        assert!(is_under("ai", ""));
        assert!(!is_under("air", "ai"));
        assert!(!is_under("ai", "ai.planning"));
    }
}
