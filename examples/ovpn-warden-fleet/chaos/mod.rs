//! Faults: the daemon, its database and the OpenVPN servers are killed while clients come and go,
//! and then the table is compared with what the servers saw.

pub mod audit;
mod back;
mod cluster;
mod database;
mod drift;
mod log;
pub mod plan;
pub mod record;
mod rows;
pub mod run;
mod stall;
mod tell;
