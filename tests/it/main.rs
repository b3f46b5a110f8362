//! Integration tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it wants")]

mod cli;
mod config;
mod events;
mod fake;
#[expect(dead_code, reason = "a laboratory has more instruments than every experiment needs")]
mod lab;
mod layering;
mod proto;
mod real;
mod service;
mod store;
