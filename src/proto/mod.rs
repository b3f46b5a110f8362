//! The management protocol of one connection: bytes to typed messages, commands to bytes.
//!
//! A core: it knows neither sockets nor time. Bytes are cut into lines (`framer`), a line is
//! read by the grammar (`grammar`, nom; `search` finds its parts), env lines gather in an
//! `assembler`, multi-line replies in `reply`; `codec` glues that to tokio-util. What goes out is
//! built in `command` and `config_line` types that cannot hold a second command; `lexer` reads it
//! as OpenVPN does.
//! Every bound stands in `limits`. Facts and limits: docs/protocol.md.

mod assembler;
mod codec;
mod command;
mod config_line;
mod env;
mod framer;
mod grammar;
pub mod lexer;
pub mod limits;
mod message;
mod relay;
mod reply;
mod search;
mod tap;

pub use codec::ManagementCodec;
pub use command::{Command, KillMessage, Parameter};
pub use config_line::{ConfigLine, ConfigLineError};
pub use env::Env;
pub use message::{
    AuthEvent, AuthKind, Message, RefusedBlock, RejectKind, Rejected, State, StateName,
    StatusClient, StatusReport, Version,
};
pub use relay::{Asked, RelayedCommand, Stream, asked};
