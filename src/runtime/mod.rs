//! What the services stand on: time, threads, queues, handles. Nothing in here knows a service.

pub mod clock;
pub mod deadline;
pub mod handle;
pub mod pool;
pub mod queue;
pub(crate) mod sync;
