//! Integration tests.

mod config;
mod fake;
mod store;
