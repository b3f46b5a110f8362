//! Sockets that others connect to: unix sockets that replace what a crash left behind, and
//! listeners that nobody can exhaust by silence.

mod few;
mod unix;

pub use few::{Few, Short};
pub use unix::{SocketName, bind_unix};
