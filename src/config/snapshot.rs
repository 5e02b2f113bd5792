//! One version of the whole tree: immutable, shared by all who read it.

use std::fmt;

use serde_json::{Map, Value};

use super::key::type_mismatch;
use super::path;
use super::schema::{Schema, is_under};
use crate::error::Result;

/// What stands in for the value of a secret key wherever it could be seen by others.
pub(crate) const REDACTED: &str = "<redacted>";

/// The values of one version. A snapshot that is held goes on showing that version.
#[derive(Clone)]
pub struct Snapshot {
    schema: &'static Schema,
    version: u64,
    /// One value for each key of the schema, in its order.
    values: Vec<Value>,
}

impl Snapshot {
    pub(crate) fn new(schema: &'static Schema, version: u64, values: Vec<Value>) -> Self {
        Self { schema, version, values }
    }

    /// Every key at its default.
    pub(crate) fn defaults(schema: &'static Schema, version: u64) -> Self {
        Self::new(schema, version, schema.keys().iter().map(|key| key.default.to_value()).collect())
    }

    /// The next version, with another value for one key.
    pub(crate) fn with(&self, position: usize, value: Value) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        if let Some(place) = next.values.get_mut(position) {
            *place = value;
        }
        next
    }

    /// The version; the first is 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The value of a key.
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.at(self.schema.position(path)?)
    }

    /// The text of a key that holds text or a word, valid for as long as the snapshot is held.
    pub fn get_str(&self, path: &str) -> Result<&str> {
        let value = self.value(path).ok_or_else(|| path::not_found(path))?;
        value.as_str().ok_or_else(|| type_mismatch(path, "text", type_name(value)))
    }

    /// The value of a key, or a section as an object; "" is the whole tree.
    pub fn get(&self, path: &str) -> Result<Value> {
        match self.value(path) {
            Some(value) => Ok(value.clone()),
            None => match self.schema.node(path) {
                Some(section) => Ok(self.tree(section, false)),
                None => Err(path::not_found(path)),
            },
        }
    }

    pub(crate) fn at(&self, position: usize) -> Option<&Value> {
        self.values.get(position)
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// What the key of this number holds, as others may see it.
    pub(crate) fn shown(&self, position: usize) -> Value {
        match self.at(position) {
            Some(value) if self.schema.spec(position).secret && !value.is_null() => REDACTED.into(),
            Some(value) => value.clone(),
            None => Value::Null,
        }
    }

    /// A key's value, or the object of all keys of a section; secrets redacted where asked.
    pub(crate) fn tree(&self, node: &str, redacted: bool) -> Value {
        let value = |at| if redacted { self.shown(at) } else { self.at(at).cloned().unwrap_or_default() };
        if let Some(at) = self.schema.position(node) {
            return value(at);
        }
        let mut tree = Map::new();
        for (at, key) in self.schema.keys().iter().enumerate() {
            if is_under(key.path, node) {
                let below = key.path.get(node.len()..).unwrap_or_default();
                insert(&mut tree, below.trim_start_matches('.'), value(at));
            }
        }
        Value::Object(tree)
    }
}

fn insert(tree: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            tree.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = tree.entry(section).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot {} {}", self.version, self.tree("", true))
    }
}
