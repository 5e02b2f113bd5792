//! Export and import: events as JSON Lines in a file.

use std::path::Path;

use elixirscope_foundation::storage::RealStorage;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::conditions::decode_query;
use crate::instance::pinned;
use crate::terms::text;

/// Writes the file, whole or not at all: `{:ok, events}`. It may take seconds, so it runs where files may.
#[rustler::nif(schedule = "DirtyIo")]
fn event_export<'a>(env: Env<'a>, handle: Term<'a>, query: Term<'a>, path: Term<'a>) -> Term<'a> {
    guard(env, || {
        let query = decode_query(query)?;
        let path = Path::new(text("the path", path)?);
        pinned(handle, |instance| {
            let written = instance.foundation().events().export_jsonl(&query, &RealStorage, path)?;
            Ok((atoms::ok(), written).encode(env))
        })
    })
}

/// Stores the events of a file: `{:ok, events}`.
#[rustler::nif(schedule = "DirtyIo")]
fn event_import<'a>(env: Env<'a>, handle: Term<'a>, path: Term<'a>) -> Term<'a> {
    guard(env, || {
        let path = Path::new(text("the path", path)?);
        pinned(handle, |instance| {
            let read = instance.foundation().events().import_jsonl(&RealStorage, path)?;
            Ok((atoms::ok(), read).encode(env))
        })
    })
}
