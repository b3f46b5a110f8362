//! The real binary on an embedded database of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

pub mod bench;
mod check;
mod client_config;
mod devices;
mod errors;
mod explain;
mod hashes;
mod import;
mod lockouts;
mod manners;
mod manual;
mod passwords;
mod policies;
mod reports;
mod sessions;
mod top;
mod totp;
mod users;
