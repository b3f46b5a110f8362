//! What operators see: log lines and metrics. Operational ones come only from [`events`].

mod emit;
pub mod events;
pub mod http;
mod line;
mod metrics;
mod repeat;
mod subscriber;

pub use line::{Form, Line};
pub use metrics::{Queues, store_took, upkeep};
pub use subscriber::{LogError, Logging, init};
