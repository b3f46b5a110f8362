//! What a database driver has to provide; all logic above is written once against these.

use std::{future::Future, time::Duration};

use super::{Row, SqlError, Statements, Value};
use crate::store::{Traces, Watch};

/// The outcome of a statement that changes rows.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Rows found and changed; MySQL counts a row twice that an upsert replaced.
    pub affected: u64,
    /// The key that was made for an inserted row.
    pub last_id: i64,
}

/// A migration that is part of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub version: i64,
    pub name: String,
    pub checksum: Vec<u8>,
}

/// One open connection. Futures may be dropped half way; the connection is discarded then.
pub trait Connection: Send + 'static {
    /// Runs a prepared statement, cached by its text.
    fn execute(
        &mut self,
        sql: &'static str,
        args: &[Value],
    ) -> impl Future<Output = Result<Done, SqlError>> + Send;

    /// Runs a prepared query, cached by its text.
    fn fetch(
        &mut self,
        sql: &'static str,
        args: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send;

    /// Runs a statement that cannot be prepared.
    fn command(&mut self, sql: &'static str) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Says good-bye.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Opens connections.
pub trait Connector: Send + Sync + 'static {
    type Connection: Connection;

    fn statements(&self) -> &'static Statements;

    /// Opens a connection, within this connector's own time limits; with its generation.
    fn connect(&self) -> impl Future<Output = Result<(Self::Connection, u64), SqlError>> + Send;

    /// The present generation: connections of an earlier one are to be used no longer.
    fn generation(&self) -> u64;

    /// Told that the server of a connection takes no writes; whether there may be another.
    fn abandon(&self, generation: u64) -> bool;

    /// After how long without an answer a server is to be looked at; `None` where there is no other.
    fn patience(&self) -> Option<Duration>;

    /// Looks at the server in use, and leaves it where it is of no use.
    fn examine(&self) -> impl Future<Output = ()> + Send;

    /// Until the server of that generation's connections was left.
    fn left(&self, generation: u64) -> impl Future<Output = ()> + Send;

    /// Whether only one transaction can write at a time.
    fn has_single_writer(&self) -> bool;

    /// What can be seen of changes without a connection.
    fn traces(&self) -> Option<Traces>;

    /// Tells when these may be others.
    fn watch(&self, kept: Option<Watch>) -> Option<Watch>;

    /// The migrations of this build, in order.
    fn migrations(&self) -> Vec<Known>;

    /// Until nobody else applies migrations: what looks half done may be under way.
    fn wait_for_migration(&self) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Applies what is missing; the caller has looked at the schema.
    fn migrate(&self) -> impl Future<Output = Result<(), SqlError>> + Send;
}
