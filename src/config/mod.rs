//! Configuration: a typed, validated tree that every thread reads without waiting and that changes
//! atomically and visibly.
//!
//! [`schema()`] says which keys there are. [`Config`] is the service: open it with overrides, read by path
//! or through a [`Key`], [`update`](Config::update), [`subscribe`](Config::subscribe). The layers are files:
//! `schema` and `defaults` (types), `validation` (pure), `snapshot` and `planes` (what readers see),
//! `service` (state and concurrency), `watch` and `notify` (who hears of changes).

mod defaults;
mod key;
mod markdown;
mod notify;
mod path;
mod planes;
mod schema;
mod service;
mod snapshot;
mod validation;
mod watch;

pub use key::{Key, RawKey};
pub use schema::{KeyKind, KeySpec, Literal, Schema, schema};
pub use service::{CommitHook, Config, ConfigStats, PublishedHook};
pub use snapshot::Snapshot;
pub use validation::Violation;
pub use watch::{Change, ChangeKind, PendingChange, Subscription};
