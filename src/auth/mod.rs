//! May this client connect, and until when.
//!
//! `request`, `decide`, `terms`, `quota`, `device`, `grace`, `imprint`, `slowest`, `text`, `throttle` and `failures` are cores, and so is
//! `second_factor` but for its `check`; `password` hashes, and `service` is the shell that asks the store and the
//! hashing threads and lets `decide` judge.

pub mod client_config;
pub mod decide;
pub mod device;
pub mod failures;
pub mod grace;
pub mod imprint;
pub mod password;
pub mod quota;
pub mod request;
pub mod second_factor;
pub mod service;
pub mod slowest;
pub mod terms;
pub mod text;
pub mod throttle;
pub mod token;
