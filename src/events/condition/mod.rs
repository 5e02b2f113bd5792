//! Conditions on fields of an event's data, judged in the stored bytes, in place.
//!
//! A path is walked through JSON or Erlang's external format; a step is a key, which matches an atom or binary key of
//! equal text, or an index in a list or tuple. What stands at its end is compared: nil, true and false are null
//! and booleans, other atoms are text, integers and floats compare by value. Anything else, and two values of
//! different kinds, make the condition false and are counted. docs/queries.md says it for hosts.

mod etf;
mod json;
mod number;

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

use self::number::Number;
use super::model::Encoding;
use crate::error::{Code, Error, Result};

/// The most conditions that a query may have.
pub const MAX_CONDITIONS: usize = 64;
/// The most steps that a path may have.
pub const MAX_STEPS: usize = 32;
/// The most values that `in` may list.
pub const MAX_CHOICES: usize = 1_024;

/// One step into data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object or a map, by the text of the key, be it text or an atom.
    Key(String),
    /// Into an array, a list or a tuple, from 0.
    Index(u32),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A value to compare with: null, a boolean, a number or text.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand(Scalar<'static>);

impl Operand {
    /// Null, which is `nil` of Elixir.
    pub const NULL: Self = Self(Scalar::Null);

    /// The scalar in this JSON text, integers of any size exactly.
    pub fn from_json(text: &str) -> Result<Self> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| wrong(&format!("a value is no JSON: {error}")))?;
        json::scalar(raw.get())
            .map(Self::own)
            .ok_or_else(|| wrong("a value is no scalar that can be compared"))
    }

    /// The scalar that these bytes in Erlang's external format are, integers of any size exactly.
    pub fn from_etf(bytes: &[u8]) -> Result<Self> {
        etf::scalar(bytes).map(Self::own).ok_or_else(|| {
            wrong("a value is compared that is neither nil, a boolean, a number, a binary nor an atom")
        })
    }

    fn own(scalar: Scalar<'_>) -> Self {
        Self(match scalar {
            Scalar::Null => Scalar::Null,
            Scalar::Bool(value) => Scalar::Bool(value),
            Scalar::Number(number) => Scalar::Number(number.into_owned()),
            Scalar::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
        })
    }
}

impl From<bool> for Operand {
    fn from(value: bool) -> Self {
        Self(Scalar::Bool(value))
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Self {
        Self(Scalar::Number(Number::Int(value.into())))
    }
}

impl From<&str> for Operand {
    fn from(value: &str) -> Self {
        Self(Scalar::Text(Cow::Owned(value.into())))
    }
}

/// What must hold of the value at the end of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It compares so with this. Values of different kinds do not compare, not even with `!=`.
    Compare(Comparison, Operand),
    /// It equals one of these.
    In(Vec<Operand>),
    /// It is text that begins with these bytes.
    Prefix(Vec<u8>),
    /// There is such a value, of whatever kind; or, with `false`, there is none.
    Exists(bool),
}

/// A condition on one field of the data.
///
/// ```
/// use elixirscope_foundation::events::Condition;
/// let conditions = Condition::list_from_json(r#"[{"path": ["duration_ns"], "op": ">", "value": 1e6}]"#).unwrap();
/// assert_eq!(conditions.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    path: Vec<Step>,
    test: Test,
}

impl Condition {
    /// A condition; `invalid_input` for a path of no step or of more than [`MAX_STEPS`], and for more than
    /// [`MAX_CHOICES`] choices.
    pub fn new(path: Vec<Step>, test: Test) -> Result<Self> {
        check_path(&path)?;
        if matches!(&test, Test::In(choices) if choices.len() > MAX_CHOICES) {
            return Err(
                wrong(&format!("\"in\" lists more than {MAX_CHOICES} values")).with("limit", MAX_CHOICES)
            );
        }
        Ok(Self { path, test })
    }

    /// Conditions as JSON: a list of `{"path": […], "op": …, "value": …}`, as docs/queries.md describes.
    pub fn list_from_json(text: &str) -> Result<Vec<Self>> {
        let written: Vec<Written<'_>> = serde_json::from_str(text)
            .map_err(|error| wrong(&format!("the list cannot be read: {error}")))?;
        check_count(written.len())?;
        let read =
            |(index, one): (usize, Written<'_>)| one.read().map_err(|error| error.with("index", index));
        written.into_iter().enumerate().map(read).collect()
    }

    /// What the data says to it.
    pub(crate) fn judge(&self, encoding: Encoding, data: &[u8]) -> Verdict {
        match (find(encoding, data, &self.path), &self.test) {
            (Found::Missing, test) => Verdict::of(*test == Test::Exists(false)),
            (Found::Scalar(_) | Found::Other, Test::Exists(wanted)) => Verdict::of(*wanted),
            (Found::Scalar(value), Test::Compare(comparison, operand)) => value
                .compare(&operand.0)
                .map_or(Verdict::Uncomparable, |order| Verdict::of(comparison.accepts(order))),
            (Found::Scalar(value), Test::In(choices)) => {
                let mut orders = choices.iter().filter_map(|choice| value.compare(&choice.0)).peekable();
                if orders.peek().is_none() && !choices.is_empty() {
                    return Verdict::Uncomparable;
                }
                Verdict::of(orders.any(Ordering::is_eq))
            }
            (Found::Scalar(Scalar::Text(text)), Test::Prefix(prefix)) => {
                Verdict::of(text.starts_with(prefix))
            }
            (Found::Scalar(_), Test::Prefix(_)) | (Found::Other | Found::Unreadable, _) => {
                Verdict::Uncomparable
            }
        }
    }
}

/// Fails for a path that no field can have.
pub(crate) fn check_path(path: &[Step]) -> Result<()> {
    if path.is_empty() || path.len() > MAX_STEPS {
        let message = format!("a path has {} steps; 1 to {MAX_STEPS} are allowed", path.len());
        return Err(wrong(&message).with("limit", MAX_STEPS));
    }
    Ok(())
}

/// Fails for more conditions than a query may have.
pub(crate) fn check_count(count: usize) -> Result<()> {
    if count > MAX_CONDITIONS {
        let message = format!("there are {count} of them; a query may have {MAX_CONDITIONS}");
        return Err(wrong(&message).with("limit", MAX_CONDITIONS));
    }
    Ok(())
}

fn wrong(what: &str) -> Error {
    Error::new(Code::InvalidInput, format!("the conditions on the data: {what}"))
        .with("argument", "conditions")
}

/// What came of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// It fails because the value is of a kind that cannot be compared so, or the data cannot be read.
    Uncomparable,
}

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

/// A number in the data, for aggregates.
pub(crate) enum Figure {
    Number(f64),
    /// Nothing stands there.
    Missing,
    /// Something else stands there.
    Uncomparable,
}

/// The number at the end of this path.
pub(crate) fn figure(encoding: Encoding, data: &[u8], path: &[Step]) -> Figure {
    match find(encoding, data, path) {
        Found::Scalar(Scalar::Number(number)) => number.to_f64().map_or(Figure::Uncomparable, Figure::Number),
        Found::Missing => Figure::Missing,
        Found::Scalar(_) | Found::Other | Found::Unreadable => Figure::Uncomparable,
    }
}

fn find<'a>(encoding: Encoding, data: &'a [u8], path: &[Step]) -> Found<'a> {
    match encoding {
        Encoding::Json => json::find(data, path),
        Encoding::Etf => etf::find(data, path),
        Encoding::Raw => Found::Unreadable,
    }
}

/// What stands at the end of a path.
enum Found<'a> {
    /// Nothing: the path leads nowhere.
    Missing,
    Scalar(Scalar<'a>),
    /// A value that is not compared: a list, a map, a pid, …
    Other,
    /// The data is not of the encoding that it is declared to be, or of one without fields.
    Unreadable,
}

/// A value that can be compared.
#[derive(Debug, Clone, PartialEq)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, [u8]>),
}

impl Scalar<'_> {
    /// The order of two values of one kind.
    fn compare(&self, other: &Scalar<'_>) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Null, Scalar::Null) => Some(Ordering::Equal),
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
            (Scalar::Number(a), Scalar::Number(b)) => Some(a.compare(b)),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// A condition as it stands in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    path: WrittenPath,
    op: String,
    /// `None` only where there is no such key: null is a value.
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum WrittenPath {
    Key(String),
    Steps(Vec<WrittenStep>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum WrittenStep {
    Index(u32),
    Key(String),
}

fn given<'de, D: Deserializer<'de>>(reader: D) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some).map_err(D::Error::custom)
}

impl WrittenPath {
    pub(crate) fn into_steps(self) -> Vec<Step> {
        match self {
            Self::Key(key) => vec![Step::Key(key)],
            Self::Steps(steps) => steps
                .into_iter()
                .map(|step| match step {
                    WrittenStep::Index(index) => Step::Index(index),
                    WrittenStep::Key(key) => Step::Key(key),
                })
                .collect(),
        }
    }
}

impl Written<'_> {
    fn read(self) -> Result<Condition> {
        let value = self.value.map(RawValue::get);
        let operand = || value.ok_or_else(|| wrong("a \"value\" is missing"));
        let test = match self.op.as_str() {
            "in" => {
                let choices: Vec<&RawValue> = serde_json::from_str(operand()?)
                    .map_err(|error| wrong(&format!("the value of \"in\" must be a list: {error}")))?;
                Test::In(
                    choices.iter().map(|choice| Operand::from_json(choice.get())).collect::<Result<_>>()?,
                )
            }
            "prefix" => match Operand::from_json(operand()?)?.0 {
                Scalar::Text(text) => Test::Prefix(text.into_owned()),
                _ => return Err(wrong("the value of \"prefix\" must be text")),
            },
            "exists" => match value {
                None | Some("true") => Test::Exists(true),
                Some("false") => Test::Exists(false),
                Some(_) => return Err(wrong("the value of \"exists\" must be true or false")),
            },
            op => Test::Compare(comparison(op)?, Operand::from_json(operand()?)?),
        };
        Condition::new(self.path.into_steps(), test)
    }
}

/// The comparison of this name.
fn comparison(op: &str) -> Result<Comparison> {
    Ok(match op {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        other => {
            let message = format!("{other:?} is none of ==, !=, <, <=, >, >=, in, prefix and exists");
            return Err(wrong(&message).with("op", other));
        }
    })
}

impl Test {
    /// The test of this name, with these operands: what bindings that bring values of their own build it from.
    pub fn from_operator(op: &str, mut operands: Vec<Operand>) -> Result<Self> {
        if op == "in" {
            return Ok(Self::In(operands));
        }
        let (Some(Operand(operand)), true) = (operands.pop(), operands.is_empty()) else {
            return Err(wrong(&format!("{op:?} takes one value")));
        };
        Ok(match (op, operand) {
            ("exists", Scalar::Bool(wanted)) => Self::Exists(wanted),
            ("exists", _) => return Err(wrong("the value of \"exists\" must be true or false")),
            ("prefix", Scalar::Text(text)) => Self::Prefix(text.into_owned()),
            ("prefix", _) => return Err(wrong("the value of \"prefix\" must be text")),
            (op, operand) => Self::Compare(comparison(op)?, Operand(operand)),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
