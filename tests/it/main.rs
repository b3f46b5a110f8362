//! Integration tests.

mod cli;
mod config;
mod fake;
mod layering;
mod store;
