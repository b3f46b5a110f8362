//! Integration tests.

mod fake;
mod store;
