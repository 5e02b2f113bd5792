//! The BEAM's door to elixirscope-foundation: terms in, terms out, no decision of its own.
//!
//! Every NIF's body is one [`boundary::guard`]; arguments are decoded by hand, so a caller's mistake is an
//! `{:error, %ElixirScope.Foundation.Error{}}` and never an exception. NIFs on the normal schedulers stay far
//! below a millisecond; what may take longer is on the dirty ones. Messages are sent by the core's own threads
//! only, which are none of the VM's.
//!
//! The files: `instance` (open, find, close), `config` and `paths`, `append` and `batch` with `encode`, `words`,
//! `shapes`, `texts` and `type_cache`, `events`, `query` with `conditions`, `summary`, `metrics` and `instruments`,
//! `subscribers`, `tails`, `waits`, `tracer` with `etf`, and below them `boundary` and `terms`.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod append;
mod atoms;
mod batch;
mod boundary;
mod conditions;
mod config;
mod encode;
mod etf;
mod events;
mod export;
mod instance;
mod instruments;
mod json;
mod metrics;
mod paths;
mod query;
mod shapes;
mod subscribers;
mod summary;
mod tails;
mod terms;
mod texts;
mod tracer;
mod type_cache;
mod waits;
mod words;

use rustler::{Env, Term};

/// Called once, when the VM loads the library.
fn load(env: Env<'_>, _info: Term<'_>) -> bool {
    words::prepare(env);
    shapes::prepare(env);
    paths::prepare(env)
}

rustler::init!("Elixir.ElixirScope.Foundation.Native", load = load);
