//! Integration tests.

mod cli;
mod config;
mod events;
mod fake;
#[expect(dead_code, reason = "a laboratory has more instruments than every experiment needs")]
mod lab;
mod layering;
mod proto;
mod real;
mod store;
