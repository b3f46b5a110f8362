//! `ovpn-warden` decides, beside OpenVPN, who may connect, on which device and until when.
//!
//! Pure cores (`types`, `proto`, `engine`, the rules of `auth`) take inputs and the time and
//! return outputs; thin shells (`store`, `daemon`, `cli`, …) own the IO and drive them.
//! `docs/architecture.md` shows who may import whom; a test holds it to that.

#![deny(unsafe_code)]

pub mod auth;
pub mod cli;
pub mod config;
pub mod console;
pub mod daemon;
pub mod engine;
mod fail_point;
pub mod listen;
pub mod proto;
pub mod store;
pub mod telemetry;
pub mod types;
