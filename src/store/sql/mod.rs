//! The store on an SQL database, written once for all of them.
//!
//! A backend is a [`Connector`] (connections, errors, migrations) and its [`Statements`]; rules,
//! transactions, retries, auditing and the reading of rows are here. Nothing here names sqlx.

mod activity;
mod asking;
mod batch;
mod claim;
mod claiming;
mod client_config;
mod command;
mod device;
mod driver;
mod enrolment;
mod error;
mod fact_trace;
mod facts;
mod failure;
mod gather;
mod gathering;
mod import;
mod journal;
mod line;
mod login;
mod policy;
mod pool;
mod record;
mod report;
mod retention;
mod schema;
mod second_factor;
mod server;
mod session;
mod session_query;
mod standing;
mod statements;
mod store;
mod transaction;
mod usage;
mod user;
mod value;

use std::{sync::Arc, time::Duration};

use asking::{Asking, Question};
pub use batch::{Batch, Repeated};
pub(super) use claim::places;
use claiming::Claiming;
pub use driver::{Connection, Connector, Done, Known};
pub use error::{Failure, SqlError};
pub use line::{decode as decode_session, encode as encode_session};
pub use pool::{Lease, Limits, Pool};
pub use report::page as spans_page;
pub use session_query::SessionQueries;
pub use statements::{
    ADD_ACTIVITY, ADD_AUTH_EVENTS, ADD_USAGE, COMMON, MARK_SERVERS, PERSIST_HEAD, PERSIST_ROW,
    Statements,
};
pub(super) use statements::{
    ended_by_limit, facts_columns, login_columns, policy_of_user, standing_columns, usage_of,
    user_columns,
};
pub use transaction::Attempt;
use transaction::transaction;
pub use value::{Cells, Row, Value};

use super::Actor;
use crate::types::{Clock, Username};

/// A store on one database.
pub struct SqlStore<C: Connector> {
    pool: Arc<Pool<C>>,
    asking: Arc<Asking<C>>,
    claiming: Arc<Claiming<C>>,
    sql: &'static Statements,
    clock: Clock,
    observe: fn(&'static str, Duration),
}

impl<C: Connector> SqlStore<C> {
    /// A store that connects when it is first used.
    pub fn new(connector: C, limits: Limits, observe: fn(&'static str, Duration)) -> Self {
        let (sql, clock) = (connector.statements(), Clock::new());
        let pool = Arc::new(Pool::new(connector, limits));
        let asking = Arc::new(Asking::new(Arc::clone(&pool), sql, clock));
        let claiming = Arc::new(Claiming::new(Arc::clone(&pool), sql, clock));
        Self { pool, asking, claiming, sql, clock, observe }
    }

    /// Tells how long a call took, whatever came of it.
    async fn timed<T>(&self, name: &'static str, call: impl Future<Output = T>) -> T {
        let begun = self.clock.now().mono;
        let done = call.await;
        (self.observe)(name, self.clock.now().mono - begun);
        done
    }

    /// Runs a query to its end even when the caller goes away: a login that is cancelled must
    /// not cost the connection it was using.
    async fn read(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move { pool.read(sql, &args).await })
            .await
            .unwrap_or_else(|_| Err(SqlError::Unavailable("the query was cancelled".into())))
    }
}

/// No rows instead of the error for a name that cannot occur in an operator's own table, because
/// its character set lacks a letter. ASCII can occur everywhere: there the error means a fault.
fn none_of_that_name(
    result: Result<Vec<Row>, SqlError>,
    name: &Username,
) -> Result<Vec<Row>, SqlError> {
    match result {
        Err(SqlError::Collation(_)) if !name.as_str().is_ascii() => Ok(Vec::new()),
        result => result,
    }
}

/// A row for `admin_audit`.
fn audit_row(by: &Actor, action: &'static str, target: &str, detail: Option<&str>) -> Vec<Value> {
    vec![
        by.at.into(),
        Value::cut(&by.name, 128),
        action.into(),
        Value::cut(target, 400),
        Value::cut_opt(detail, 1_000),
    ]
}
