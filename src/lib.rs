//! ElixirScope Foundation: configuration, an event store and telemetry in one process, for hosts in any
//! language.
//!
//! The rooms: [`config`] (typed values, lock-free reads), [`events`] (append, find), [`telemetry`]
//! (counters, gauges, histograms), wired together by [`foundation`], opened with [`options`]. Below them
//! [`runtime`] (clock, threads, queues, handles), [`storage`] (files) and [`error`]. The C ABI is
//! `ffi`, switched on by the feature `capi`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod config;
pub mod error;
pub mod events;
#[cfg(feature = "capi")]
pub mod ffi;
pub mod foundation;
pub mod handles;
pub mod options;
mod own_metrics;
#[cfg(not(feature = "crash-tests"))]
mod planted;
#[cfg(feature = "crash-tests")]
pub mod planted;
#[cfg(test)]
#[path = "../tests/support/property.rs"]
mod property;
pub mod runtime;
pub mod storage;
pub mod telemetry;

/// The Rust program of README.md, as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
