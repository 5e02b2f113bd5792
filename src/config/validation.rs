//! What may stand in a tree. Pure: no state, no clock, no lock.
//!
//! Every check finds all violations, in a fixed order: the keys in the order of the schema's checks
//! (a section that is missing or no object at the place of its first key), then unknown keys by path.

use serde::Serialize;
use serde_json::{Map, Value};

use super::path::shown;
use super::schema::{KeySpec, Schema, is_under};
use super::snapshot::{REDACTED, type_name};
use crate::error::{Code, Error};

/// How many violations an error lists; it counts all of them.
const LISTED: usize = 100;

/// One thing that is wrong with a tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// The path of the key or section.
    pub path: String,
    /// The offending value: shortened when long, redacted when secret, null when there is none.
    pub value: Value,
    /// What is allowed there.
    pub expected: String,
    /// The whole finding as a sentence.
    pub message: String,
    /// The name of the error code.
    pub error_type: &'static str,
    #[serde(skip)]
    code: Code,
}

impl Violation {
    fn new(code: Code, path: &str, value: Value, expected: String, message: String) -> Self {
        Self { path: path.to_owned(), value, expected, message, error_type: code.row().name, code }
    }

    /// The error code of this violation.
    pub fn code(&self) -> Code {
        self.code
    }
}

/// Why a key may not hold a value, without the value of a secret; `None` when it may.
pub(crate) fn check_value(key: &KeySpec, value: &Value) -> Option<Violation> {
    if key.accepts(value) {
        return None;
    }
    let expected = key.expected();
    let (value, found) = if key.secret {
        (REDACTED.into(), format!("{} ({REDACTED})", type_name(value)))
    } else {
        (shortened(value), described(value))
    };
    let message = format!("{} is {found}; allowed is {expected}", key.path);
    Some(Violation::new(key.violation, key.path, value, expected, message))
}

/// The values of a new instance: the defaults, with these overrides.
pub(crate) fn merge(schema: &Schema, overrides: &Map<String, Value>) -> Result<Vec<Value>, Vec<Violation>> {
    let flat = Flat::new(schema, overrides);
    let violations = flat.check(schema, false);
    if !violations.is_empty() {
        return Err(violations);
    }
    let given = flat.values.iter().zip(schema.keys());
    Ok(given.map(|(value, key)| value.cloned().unwrap_or_else(|| key.default.to_value())).collect())
}

/// Everything that is wrong with a complete tree.
pub(crate) fn check_tree(schema: &Schema, tree: &Value) -> Vec<Violation> {
    match tree {
        Value::Object(tree) => Flat::new(schema, tree).check(schema, true),
        other => vec![not_an_object("", type_name(other))],
    }
}

/// The error of a refused tree or value: the first violation, with all of them in its context.
pub(crate) fn error(violations: &[Violation]) -> Error {
    let Some(first) = violations.first() else {
        return Error::new(Code::InternalError, "a refused configuration has no violation");
    };
    let message = match violations.len() - 1 {
        0 => first.message.clone(),
        more => format!("{} (and {more} more)", first.message),
    };
    let listed = violations.iter().take(LISTED).map(|violation| serde_json::json!(violation));
    Error::new(first.code, message)
        .with("path", first.path.clone())
        .with("value", first.value.clone())
        .with("expected", first.expected.clone())
        .with("violations", listed.collect::<Vec<_>>())
        .with("violations_count", violations.len())
}

/// A tree laid out by key, with what does not fit the schema.
struct Flat<'a> {
    /// The value of each key of the schema, in its order.
    values: Vec<Option<&'a Value>>,
    /// The sections that are there.
    sections: Vec<&'static str>,
    /// The sections that are something else than an object, and what.
    broken: Vec<(&'static str, &'static str)>,
    unknown: Vec<String>,
}

impl<'a> Flat<'a> {
    fn new(schema: &Schema, tree: &'a Map<String, Value>) -> Self {
        let mut flat = Self {
            values: vec![None; schema.keys().len()],
            sections: vec![""],
            broken: vec![],
            unknown: vec![],
        };
        // As deep as the schema and no deeper, whatever the tree holds.
        let mut open = vec![("", tree)];
        while let Some((section, entries)) = open.pop() {
            for (name, value) in entries {
                let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
                // A name with a dot in it is a name nobody has, not a path.
                let known = if name.contains('.') { None } else { schema.node(&path) };
                match (known, value) {
                    (Some(node), value) if let Some(at) = schema.position(node) => {
                        if let Some(place) = flat.values.get_mut(at) {
                            *place = Some(value);
                        }
                    }
                    (Some("") | None, _) => flat.unknown.push(path),
                    (Some(inner), Value::Object(entries)) => {
                        flat.sections.push(inner);
                        open.push((inner, entries));
                    }
                    (Some(inner), other) => flat.broken.push((inner, type_name(other))),
                }
            }
        }
        flat.unknown.sort_unstable();
        flat
    }

    fn check(&self, schema: &Schema, complete: bool) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut reported: Vec<&str> = Vec::new();
        for &at in schema.check_order() {
            let key = schema.spec(at);
            if key.checked_when.is_some_and(|switch| !self.is_on(schema, switch, complete)) {
                continue;
            }
            if let Some(value) = self.values.get(at).copied().flatten() {
                violations.extend(check_value(key, value));
            } else if let Some((section, finding)) = self.why_absent(schema, key, complete)
                && !reported.contains(&section)
            {
                reported.push(section);
                violations.push(finding);
            }
        }
        violations.extend(self.unknown.iter().map(|path| {
            // The value may be a secret under a misspelt name, so it is not shown.
            let path = shown(path);
            let message = format!("there is no configuration key \"{path}\"");
            Violation::new(
                Code::UnknownConfigKey,
                &path,
                Value::Null,
                "a key of the schema".to_owned(),
                message,
            )
        }));
        violations
    }

    fn is_on(&self, schema: &Schema, switch: &str, complete: bool) -> bool {
        let Some(at) = schema.position(switch) else { return false };
        match self.values.get(at).copied().flatten() {
            Some(value) => *value == Value::Bool(true),
            None => !complete && schema.spec(at).default.to_value() == Value::Bool(true),
        }
    }

    /// What is wrong about a key that has no value, and the path it is reported under once.
    fn why_absent(
        &self,
        schema: &Schema,
        key: &KeySpec,
        complete: bool,
    ) -> Option<(&'static str, Violation)> {
        if let Some((section, found)) = self.broken.iter().find(|(section, _)| is_under(key.path, section)) {
            return Some((section, not_an_object(section, found)));
        }
        if !complete || !key.required {
            return None;
        }
        let above = || schema.sections().iter().copied().filter(|section| is_under(key.path, section));
        if let Some(section) = above().find(|section| !self.sections.contains(section)) {
            return Some((section, missing(Code::MissingRequiredField, section, "an object".to_owned())));
        }
        // Within a group of plain keys an absent one is a bad group; beside sections it is a bad structure.
        let group = above().next_back().unwrap_or_default();
        let code =
            if schema.is_leaf_group(group) { Code::ValidationFailed } else { Code::MissingRequiredField };
        Some((key.path, missing(code, key.path, key.expected())))
    }
}

fn missing(code: Code, path: &str, expected: String) -> Violation {
    let message = format!("{path} is missing; allowed is {expected}");
    Violation::new(code, path, Value::Null, expected, message)
}

fn not_an_object(section: &str, found: &str) -> Violation {
    let name = if section.is_empty() { "the configuration" } else { section };
    let message = format!("{name} is {found}; it must be an object");
    Violation::new(Code::InvalidConfigStructure, section, found.into(), "an object".to_owned(), message)
}

/// The value in an error's context: itself if it is short, else its beginning or what it is.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => shown(text).into(),
        Value::Array(_) | Value::Object(_) => described(value).into(),
        other => other.clone(),
    }
}

/// The value in a message.
fn described(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(entries) => format!("an object of {}", entries.len()),
        Value::String(text) => Value::from(shown(text)).to_string(),
        other => other.to_string(),
    }
}
