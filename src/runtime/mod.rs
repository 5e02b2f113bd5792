//! What the services stand on: time, threads, queues, handles. Nothing in here knows a service.

pub(crate) mod call;
pub mod clock;
pub mod deadline;
pub(crate) mod descriptor;
pub mod fork;
pub mod handle;
pub mod pool;
pub mod queue;
pub mod stop;
pub mod supervisor;
pub(crate) mod sync;
pub(crate) mod thread;
