//! The event store as its users see it: against a naive model, and under threads.

mod bounds;
mod cleanup;
mod edges;
mod later;
mod model;
#[path = "../support/property.rs"]
mod property;
mod queries;
mod sealed;
mod tail_callbacks;
mod tail_model;
mod tails;
mod threads;
