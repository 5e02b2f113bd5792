//! Configuration: read by path, update, reset, schema.

use elixirscope_foundation::config::{KeyKind, RawKey, Snapshot, schema};
use elixirscope_foundation::error::{Code, Error};
use elixirscope_foundation::handles::Instance;
use rustler::{Encoder, Env, Term};
use serde_json::{Value, json};

use crate::atoms;
use crate::boundary::{guard, quick_nif};
use crate::instance::{pinned, with};
use crate::paths::{Node, Paths, dotted, paths};
use crate::terms::{Keys, from_value, known_atom, map_of, serialized, to_value};

/// `{:ok, value}` at a path of atoms; `[]` is the whole tree.
fn config_get<'a>(env: Env<'a>, handle: Term<'a>, path: Term<'a>) -> Term<'a> {
    guard(env, || {
        with(handle, |attached| {
            let paths = paths()?;
            let Some(node) = paths.find(path)? else { return Err(not_found(path)) };
            if let Some(number) = node.key()
                && let Some(key) = attached.key(number)
                && let Some(value) = scalar(env, paths, number, key)
            {
                return Ok((atoms::ok(), value).encode(env));
            }
            let snapshot = attached.pin()?.foundation().config().snapshot();
            Ok((atoms::ok(), subtree(env, paths, node, &snapshot)?).encode(env))
        })
    })
}

quick_nif!(config_get(handle, path));

/// Changes one value: `:ok` once the change is in force and its event stored, `{:wait, seq, version}` where that event
/// has yet to become durable.
#[rustler::nif]
fn config_update<'a>(env: Env<'a>, handle: Term<'a>, path: Term<'a>, value: Term<'a>) -> Term<'a> {
    guard(env, || {
        let path = dotted(path)?;
        let value = to_value("the value", value)?;
        pinned(handle, |instance| {
            let version = instance.foundation().config().update_unconfirmed(&path, value)?;
            Ok(changed(env, instance, version))
        })
    })
}

/// Every value back to what it was when the instance was opened; it answers as [`config_update`].
#[rustler::nif]
fn config_reset<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let version = instance.foundation().config().reset_unconfirmed()?;
            Ok(changed(env, instance, version))
        })
    })
}

/// Nobody waits for a disk here: the caller does, for a message.
fn changed<'a>(env: Env<'a>, instance: &Instance, version: u64) -> Term<'a> {
    let foundation = instance.foundation();
    if foundation.events().has_files() {
        (atoms::wait(), foundation.last_change_seq(), version).encode(env)
    } else {
        atoms::ok().encode(env)
    }
}

/// `{:ok, version}` of the configuration in force.
#[rustler::nif]
fn config_version<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| Ok((atoms::ok(), instance.foundation().config().version()).encode(env)))
    })
}

/// `{:ok, counts}` of the configuration service.
#[rustler::nif]
fn config_stats<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    guard(env, || {
        pinned(handle, |instance| {
            let stats = serde_json::to_value(instance.foundation().config().stats());
            Ok((atoms::ok(), serialized(env, "the counts", stats)?).encode(env))
        })
    })
}

/// The schema as a list of maps, for the test that compares it with Elixir's.
#[rustler::nif]
fn config_schema(env: Env<'_>) -> Term<'_> {
    guard(env, || {
        let paths = paths()?;
        let rows: Vec<Term<'_>> = schema()
            .keys()
            .iter()
            .map(|key| {
                let row = json!({
                    "updatable": key.updatable,
                    "doc": key.doc,
                    "unit": key.unit,
                    "error_type": key.violation.row().name,
                });
                let row = from_value(env, &row, Keys::Atoms);
                let default = tree(env, paths, key.path, &key.default.to_value());
                let row = row.map_put(known_atom(env, "default"), default).unwrap_or(row);
                let path = crate::boundary::path_term(env, key.path);
                row.map_put(known_atom(env, "path"), path).unwrap_or(row)
            })
            .collect();
        Ok(rows.encode(env))
    })
}

#[inline]
fn scalar<'a>(env: Env<'a>, paths: &Paths, number: usize, key: RawKey) -> Option<Term<'a>> {
    match schema().keys().get(number)?.kind {
        KeyKind::Bool => key.get_bool().ok().map(|value| value.encode(env)),
        KeyKind::Int { .. } => key.get_i64().ok().map(|value| value.encode(env)),
        KeyKind::Float { .. } => key.get_f64().ok().map(|value| value.encode(env)),
        KeyKind::Enum { .. } => paths.word(number, key.get_enum().ok()?).map(|atom| atom.encode(env)),
        KeyKind::EnumOrInt { .. } => match key.get_enum() {
            Ok(word) => paths.word(number, word).map(|atom| atom.encode(env)),
            Err(_) => key.get_i64().ok().map(|value| value.encode(env)),
        },
        KeyKind::Str { .. } => None,
    }
}

/// What the snapshot holds at a node of the schema, and below it.
fn subtree<'a>(env: Env<'a>, paths: &Paths, node: &Node, snapshot: &Snapshot) -> Result<Term<'a>, Error> {
    let Some(number) = node.key() else {
        let pairs = node
            .children(env)
            .map(|(key, child)| Ok((key, subtree(env, paths, child, snapshot)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        return Ok(map_of(env, &pairs));
    };
    let spec = schema().keys().get(number);
    let Some((spec, value)) = spec.and_then(|spec| Some((spec, snapshot.value(spec.path)?))) else {
        return Err(Error::new(Code::InternalError, "the configuration lacks a key of its schema"));
    };
    // A whole number is allowed where a number is asked for; it reads as what the key is, here as elsewhere.
    if let (KeyKind::Float { .. }, Some(number)) = (spec.kind, value.as_f64()) {
        return Ok(number.encode(env));
    }
    Ok(match value.as_str().and_then(|word| paths.word(number, word)) {
        Some(atom) => atom.encode(env),
        None => from_value(env, value, Keys::Strings),
    })
}

/// A value of the tree, in which the words of enumerations are atoms.
pub(crate) fn tree<'a>(env: Env<'a>, paths: &Paths, path: &str, value: &Value) -> Term<'a> {
    match value {
        Value::Object(fields) => {
            let pairs: Vec<(Term<'a>, Term<'a>)> = fields
                .iter()
                .map(|(key, value)| {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    (known_atom(env, key), tree(env, paths, &below, value))
                })
                .collect();
            map_of(env, &pairs)
        }
        Value::String(word) => {
            let number = schema().keys().iter().position(|key| key.path == path);
            match number.and_then(|number| paths.word(number, word)) {
                Some(atom) => atom.encode(env),
                None => word.encode(env),
            }
        }
        other => from_value(env, other, Keys::Strings),
    }
}

#[cold]
fn not_found(path: Term<'_>) -> Error {
    // A path with other parts than atoms leads nowhere either.
    let dotted = dotted(path).unwrap_or_else(|_| "value at a path of other parts than atoms".to_owned());
    Error::new(Code::ConfigPathNotFound, format!("the configuration has no {dotted}")).with("path", dotted)
}
