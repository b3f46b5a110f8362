//! Integration tests.

mod config;
mod fake;
mod layering;
mod store;
