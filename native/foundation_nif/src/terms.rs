//! Terms in, terms out: decoding arguments by hand, so that a wrong type is an error that says which argument
//! and what was expected, and building terms from the core's values.

use std::mem::MaybeUninit;

use elixirscope_foundation::error::{Code, Error};
use rustler::sys::{ErlNifTerm, enif_get_map_value};
use rustler::types::atom::Atom;
use rustler::{Binary, Encoder, Env, NewBinary, Term, TermType};
use serde_json::{Map, Number, Value};

use crate::atoms;
use crate::shapes::DATE_TIME;
use crate::words::{Words, elements};

/// How deeply options and values may be nested.
const MAX_DEPTH: u32 = 64;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// What the keys of a map become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Atoms where the VM has them, for what our own code named.
    Atoms,
    /// Text, for what came from others.
    Strings,
}

/// The error for an argument of the wrong type.
#[cold]
pub(crate) fn mismatch(name: &str, term: Term<'_>, expected: &str) -> Error {
    Error::new(Code::TypeMismatch, format!("{name} is {}; it must be {expected}", shown(term)))
        .with("argument", name)
        .with("expected", expected)
}

/// A term in a few words: small ones as they are, others by their type.
fn shown(term: Term<'_>) -> String {
    match term.get_type() {
        TermType::Atom | TermType::Integer | TermType::Float | TermType::Pid => format!("{term:?}"),
        TermType::Binary => "a binary".to_owned(),
        TermType::Fun => "a function".to_owned(),
        TermType::List => "a list".to_owned(),
        TermType::Map => "a map".to_owned(),
        TermType::Port => "a port".to_owned(),
        TermType::Ref => "a reference".to_owned(),
        TermType::Tuple => "a tuple".to_owned(),
        TermType::Unknown => "of another type".to_owned(),
    }
}

/// An integer of 64 bits.
#[inline]
pub(crate) fn integer(name: &str, term: Term<'_>) -> Result<i64, Error> {
    term.decode::<i64>().map_err(|_| mismatch(name, term, "an integer of 64 bits"))
}

/// An integer that is not negative.
#[inline]
pub(crate) fn unsigned(name: &str, term: Term<'_>) -> Result<u64, Error> {
    term.decode::<u64>().map_err(|_| mismatch(name, term, "an integer of at least 0"))
}

/// An integer or a float, as a float.
#[inline]
pub(crate) fn number(name: &str, term: Term<'_>) -> Result<f64, Error> {
    as_f64(term).ok_or_else(|| mismatch(name, term, "a number"))
}

/// A number as a float, if the term is one that fits.
#[inline]
pub(crate) fn as_f64(term: Term<'_>) -> Option<f64> {
    term.decode::<f64>().or_else(|_| term.decode::<i64>().map(|n| n as f64)).ok()
}

/// A binary.
#[inline]
pub(crate) fn binary<'a>(name: &str, term: Term<'a>) -> Result<Binary<'a>, Error> {
    Binary::from_term(term).map_err(|_| mismatch(name, term, "a binary"))
}

/// A binary that is text.
pub(crate) fn text<'a>(name: &str, term: Term<'a>) -> Result<&'a str, Error> {
    let bytes = binary(name, term)?;
    std::str::from_utf8(bytes_of(&bytes)).map_err(|e| {
        Error::new(Code::InvalidUtf8, format!("{name} is not UTF-8 from byte {}", e.valid_up_to()))
            .with("argument", name)
    })
}

/// The bytes of a binary argument: they live as long as the call's environment, which owns the term.
#[inline]
pub(crate) fn bytes_of<'a>(binary: &Binary<'a>) -> &'a [u8] {
    // SAFETY: the pointer and length are those that the VM gave for a term of this environment; the VM neither
    // moves nor frees such bytes before the NIF returns, and 'a ends with the NIF's environment.
    unsafe { std::slice::from_raw_parts(binary.as_slice().as_ptr(), binary.len()) }
}

/// The machine word that a term is: all there is to it for atoms, local pids and small integers.
#[inline]
pub(crate) fn word(term: Term<'_>) -> usize {
    // SAFETY: the type is declared `repr(transparent)` over this very integer.
    unsafe { std::mem::transmute::<ErlNifTerm, usize>(term.as_c_arg()) }
}

/// Whether the term is the atom nil.
#[inline]
pub(crate) fn is_nil(term: Term<'_>) -> bool {
    atoms::nil() == term
}

/// What a map has under an atom.
#[inline]
pub(crate) fn field(map: Term<'_>, key: Atom) -> Option<Term<'_>> {
    let env = map.get_env();
    let mut value = MaybeUninit::uninit();
    // SAFETY: map and key are terms of this environment, or valid in all; the value is written where the answer is 1.
    unsafe {
        let found = enif_get_map_value(env.as_c_arg(), map.as_c_arg(), key.as_c_arg(), value.as_mut_ptr());
        (found == 1).then(|| Term::new(env, value.assume_init()))
    }
}

/// `None` for nil, else what `decode` makes of it.
#[inline]
pub(crate) fn optional<'a, T>(
    term: Term<'a>,
    decode: impl FnOnce(Term<'a>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    if is_nil(term) { Ok(None) } else { decode(term).map(Some) }
}

/// A walk along a list that ends with the improper tail as an error instead of a panic.
pub(crate) struct Items<'a> {
    name: &'static str,
    rest: Term<'a>,
}

impl<'a> Items<'a> {
    /// Begins at the head.
    #[inline]
    pub(crate) fn new(name: &'static str, list: Term<'a>) -> Self {
        Self { name, rest: list }
    }
}

impl<'a> Items<'a> {
    /// The next item, or `None` where no list goes on: then [`Items::end`] says whether that was its end.
    #[inline]
    pub(crate) fn step(&mut self) -> Option<Term<'a>> {
        let (head, tail) = Words::new().cell(self.rest)?;
        self.rest = tail;
        Some(head)
    }

    /// What was not walked yet.
    #[inline]
    pub(crate) fn rest(&self) -> Term<'a> {
        self.rest
    }

    /// The error for what was no list, or an improper one.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty_list() { Ok(()) } else { Err(mismatch(self.name, self.rest, "a proper list")) }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Term<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(item) = self.step() {
            return Some(Ok(item));
        }
        let error = self.end().err()?;
        self.rest = Term::list_new_empty(self.rest.get_env());
        Some(Err(error))
    }
}

/// The text of an atom, of any characters.
pub(crate) fn atom_text(term: Term<'_>) -> Option<String> {
    if !term.is_atom() {
        return None;
    }
    if let Ok(text) = term.atom_to_string() {
        return Some(text);
    }
    // Beyond Latin-1 this version of the NIF API reads atoms only through the external term format:
    // 131, then 119 with one byte of length or 118 with two, then UTF-8.
    let bytes = term.to_binary();
    let ([131, 119, _, text @ ..] | [131, 118, _, _, text @ ..]) = bytes.as_slice() else { return None };
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// The atom of this text if the VM has it, else the text.
pub(crate) fn known_atom<'a>(env: Env<'a>, text: &str) -> Term<'a> {
    if let Ok(atom) = Atom::existing_from_str(env, text) {
        return atom.encode(env);
    }
    if text.is_ascii() || text.len() > 255 {
        return text.encode(env);
    }
    let mut bytes = vec![131, 119, text.len() as u8];
    bytes.extend_from_slice(text.as_bytes());
    match env.binary_to_term(&bytes) {
        Some((atom, _)) => atom,
        None => text.encode(env),
    }
}

/// New bytes of the calling environment.
#[inline]
pub(crate) fn new_binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// A term as the core's dynamic value: atoms become text (true, false and nil what they are in JSON).
pub(crate) fn to_value(name: &str, term: Term<'_>) -> Result<Value, Error> {
    value_at(name, term, MAX_DEPTH)
}

fn value_at(name: &str, term: Term<'_>, depth: u32) -> Result<Value, Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Error::new(Code::TooDeep, format!("{name} is nested more than {MAX_DEPTH} levels deep")));
    };
    match term.get_type() {
        TermType::Atom => Ok(atom_value(term)),
        TermType::Integer => integer(name, term).map(Value::from),
        TermType::Float => {
            let float = number(name, term)?;
            Ok(Number::from_f64(float).map_or(Value::Null, Value::Number))
        }
        TermType::Binary => text(name, term).map(Value::from),
        TermType::List => Items::new("a list", term)
            .map(|item| value_at(name, item?, depth))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        TermType::Map => {
            let mut map = Map::new();
            let pairs =
                rustler::types::map::MapIterator::new(term).ok_or_else(|| mismatch(name, term, "a map"))?;
            for (key, value) in pairs {
                if atoms::__struct__() == key {
                    continue;
                }
                let key = match atom_text(key) {
                    Some(key) => key,
                    None => text("a key", key)?.to_owned(),
                };
                let value = value_at(&key, value, depth)?;
                map.insert(key, value);
            }
            Ok(Value::Object(map))
        }
        _ => Err(mismatch(name, term, "an atom, a number, text, a list or a map")),
    }
}

fn atom_value(term: Term<'_>) -> Value {
    if is_nil(term) {
        return Value::Null;
    }
    if let Ok(flag) = term.decode::<bool>() {
        return Value::Bool(flag);
    }
    atom_text(term).map_or(Value::Null, Value::String)
}

/// A map of these pairs. The keys are distinct, which is all that making one asks for.
pub(crate) fn map_of<'a>(env: Env<'a>, pairs: &[(impl Encoder, impl Encoder)]) -> Term<'a> {
    Term::map_from_pairs(env, pairs).unwrap_or_else(|_| Term::map_new(env))
}

/// What the core has serialised, as a term whose keys are atoms where the VM has them. `what` names it in the error.
pub(crate) fn serialized<'a>(
    env: Env<'a>,
    what: &str,
    value: serde_json::Result<Value>,
) -> Result<Term<'a>, Error> {
    value
        .map(|value| from_value(env, &value, Keys::Atoms))
        .map_err(|error| Error::new(Code::SerializationFailed, format!("{what}: {error}")))
}

/// The core's dynamic value as a term.
pub(crate) fn from_value<'a>(env: Env<'a>, value: &Value, keys: Keys) -> Term<'a> {
    match value {
        Value::Null => atoms::nil().encode(env),
        Value::Bool(flag) => flag.encode(env),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => n.encode(env),
            (None, Some(n)) => n.encode(env),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).encode(env),
        },
        Value::String(text) => text.encode(env),
        Value::Array(items) => {
            let items: Vec<Term<'a>> = items.iter().map(|item| from_value(env, item, keys)).collect();
            items.encode(env)
        }
        Value::Object(fields) => {
            let key = |key: &str| match keys {
                Keys::Atoms => known_atom(env, key),
                Keys::Strings => key.encode(env),
            };
            let pairs: Vec<(Term<'a>, Term<'a>)> =
                fields.iter().map(|(k, v)| (key(k), from_value(env, v, keys))).collect();
            map_of(env, &pairs)
        }
    }
}

/// Year, month, day, hour, minute, second and microsecond of a moment, UTC.
pub(crate) fn civil(ns: i64) -> (i64, u32, u32, u32, u32, u32, u32) {
    let microseconds = ns.div_euclid(1_000);
    let seconds = microseconds.div_euclid(1_000_000);
    let of_day = seconds.rem_euclid(86_400) as u32;
    // Days since 0000-03-01, in eras of 400 years: a year that begins in March has its leap day last.
    let days = seconds.div_euclid(86_400) + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = (if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 }) as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let microsecond = microseconds.rem_euclid(1_000_000) as u32;
    (year, month, day, of_day / 3_600, of_day / 60 % 60, of_day % 60, microsecond)
}

/// Nanoseconds since 1970 of a `DateTime` of the ISO calendar; `None` for any other term, and for moments that 64
/// bits do not count.
#[inline]
pub(crate) fn date_time_ns(term: Term<'_>) -> Option<i64> {
    let fields = DATE_TIME.of(term);
    if !(atoms::date_time_module() == fields.get(0)? && atoms::iso_module() == fields.get(1)?) {
        return None;
    }
    let words = Words::new();
    let integer = |term: Term<'_>| words.small(word(term)).or_else(|| term.decode::<i64>().ok());
    let int = |number| integer(fields.get(number)?);
    let (year, month, day) = (int(2)?, int(3)?, int(4)?);
    let (hour, minute, second) = (int(5)?, int(6)?, int(7)?);
    let mut precise = elements(fields.get(8)?)?;
    let (Some(microsecond), Some(_precision), None) = (precise.next(), precise.next(), precise.next()) else {
        return None;
    };
    let microsecond = integer(microsecond)?;
    let offset = int(9)?.checked_add(int(10)?)?;
    // A year that begins in March has its leap day last.
    let march_year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let march_month = if month > 2 { month - 3 } else { month.checked_add(9)? };
    let day_of_year = march_month.checked_mul(153)?.checked_add(2)? / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(EPOCH_DAYS)?;
    let of_day = hour.checked_mul(3_600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let seconds = days.checked_mul(86_400)?.checked_add(of_day)?.checked_sub(offset)?;
    seconds.checked_mul(1_000_000)?.checked_add(microsecond)?.checked_mul(1_000)
}

/// A moment as a `DateTime`, UTC, to the microsecond.
pub(crate) fn date_time<'a>(env: Env<'a>, ns: i64) -> Term<'a> {
    let (year, month, day, hour, minute, second, microsecond) = civil(ns);
    let pairs: [(Term<'a>, Term<'a>); 13] = [
        (atoms::__struct__().encode(env), atoms::date_time_module().encode(env)),
        (atoms::calendar().encode(env), atoms::iso_module().encode(env)),
        (atoms::year().encode(env), year.encode(env)),
        (atoms::month().encode(env), month.encode(env)),
        (atoms::day().encode(env), day.encode(env)),
        (atoms::hour().encode(env), hour.encode(env)),
        (atoms::minute().encode(env), minute.encode(env)),
        (atoms::second().encode(env), second.encode(env)),
        (atoms::microsecond().encode(env), (microsecond, 6).encode(env)),
        (atoms::std_offset().encode(env), 0.encode(env)),
        (atoms::utc_offset().encode(env), 0.encode(env)),
        (atoms::time_zone().encode(env), "Etc/UTC".encode(env)),
        (atoms::zone_abbr().encode(env), "UTC".encode(env)),
    ];
    map_of(env, &pairs)
}
