//! The store on SQLite, MariaDB and MySQL: one contract, and what only servers can show.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activity;
mod approvals;
mod bed;
mod claims;
mod client_config;
mod commands;
mod contract;
mod devices;
mod fact_trace;
mod hostile;
mod imports;
mod journal;
mod lockouts;
mod login;
mod outage;
mod plans;
mod policies;
pub mod proxy;
mod remote;
mod reports;
mod rows;
mod schema;
mod second_factors;
mod seen;
pub mod servers;
mod sessions;
mod sqlite;
mod tls;
mod usage;
mod users;
mod views;
