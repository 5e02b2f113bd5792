//! What the services stand on: time, threads, queues, handles. Nothing in here knows a service.

pub mod clock;
pub(crate) mod sync;
