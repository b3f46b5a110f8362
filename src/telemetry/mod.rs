//! What operators see: log lines and metrics. Both come only from [`events`].

pub mod events;
