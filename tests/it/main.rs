//! Integration tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panic")]

mod authenticator;
mod cli;
mod config;
mod docs;
mod events;
mod fake;
mod fuzz;
mod hazards;
#[expect(dead_code, reason = "a laboratory has more instruments than every experiment needs")]
mod lab;
mod layering;
mod memory;
mod proto;
mod real;

mod service;
mod store;
mod terminal;
mod watching;
