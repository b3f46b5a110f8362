//! A small connection pool: shell.
//!
//! It differs from sqlx's own in what the login path and fail-over need: nothing is sent before
//! a statement to find out whether the connection lives, a connection whose statement timed out
//! or was dropped half way is closed and never waited for, connecting fails at once with the
//! server's own words, and connections to a server that was left behind are not used again. Where
//! there are several servers, the one in use is looked at beside the statements: one that has lost
//! the others may go on answering.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{Connection, Connector, Done, Row, SqlError, Value};
use crate::types::{Clock, Mono};

/// Connections unused for so long are closed rather than tried: firewalls and `wait_timeout`
/// will have cut them.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// How often the server in use is looked at where there are others.
const LOOK: Duration = Duration::from_secs(5);
/// The least time between two looks, however many statements wait for an answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// How long a caller waits for one of them to become free.
    pub acquire: Duration,
    /// How long one statement may take.
    pub statement: Duration,
}

struct Idle<C> {
    connection: C,
    id: Id,
    since: Mono,
}

/// Which connection it is.
#[derive(Clone, Copy)]
struct Id {
    /// Of all that this pool has made.
    serial: u64,
    generation: u64,
    /// Whether it is the one that writes, where there can be only one.
    is_writer: bool,
}

/// Connections of one database.
pub struct Pool<C: Connector> {
    pub connector: C,
    pub limits: Limits,
    clock: Clock,
    permits: Arc<Semaphore>,
    writer: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<C::Connection>>>,
    made: AtomicU64,
    look: Mutex<Look>,
}

/// Of the server in use.
struct Look {
    is_under_way: bool,
    last: Mono,
}

impl<C: Connector> Pool<C> {
    pub fn new(connector: C, limits: Limits) -> Self {
        let clock = Clock::new();
        Self {
            writer: Arc::new(Semaphore::new(if connector.has_single_writer() {
                1
            } else {
                limits.connections
            })),
            permits: Arc::new(Semaphore::new(limits.connections)),
            connector,
            limits,
            look: Mutex::new(Look { is_under_way: false, last: clock.now().mono }),
            clock,
            idle: Mutex::new(Vec::new()),
            made: AtomicU64::new(0),
        }
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, SqlError> {
        match timeout(self.limits.acquire, Arc::clone(of).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(SqlError::Unavailable("closed".into())),
            Err(_) => Err(SqlError::Unavailable(format!(
                "all {} connections were busy for {} ms",
                self.limits.connections,
                self.limits.acquire.as_millis()
            ))),
        }
    }

    /// A connection to use; a new one with `fresh`.
    pub async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease<C>, SqlError> {
        self.lease_with(fresh, None).await
    }

    /// A connection to write with: waits for the one writer where there can be only one.
    pub async fn writer(self: &Arc<Self>, fresh: bool) -> Result<Lease<C>, SqlError> {
        let writer = self.permit(&self.writer).await?;
        self.lease_with(fresh, Some(writer)).await
    }

    /// The same where nobody else has it, without waiting; `None` where somebody has.
    pub async fn free_writer(self: &Arc<Self>) -> Result<Option<Lease<C>>, SqlError> {
        let free = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        match (free(&self.writer), free(&self.permits)) {
            (Some(writer), Some(permit)) => self.lent(false, permit, Some(writer)).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn lease_with(
        self: &Arc<Self>,
        fresh: bool,
        writer: Option<OwnedSemaphorePermit>,
    ) -> Result<Lease<C>, SqlError> {
        let permit = self.permit(&self.permits).await?;
        self.lent(fresh, permit, writer).await
    }

    async fn lent(
        self: &Arc<Self>,
        fresh: bool,
        permit: OwnedSemaphorePermit,
        writer: Option<OwnedSemaphorePermit>,
    ) -> Result<Lease<C>, SqlError> {
        if self.connector.patience().is_some() {
            self.look(LOOK);
        }
        let is_writer = writer.is_some() && self.connector.has_single_writer();
        let idle = if fresh { None } else { self.take_idle(is_writer) };
        let (connection, id) = match idle {
            Some(idle) => (idle.connection, idle.id),
            None => {
                let (connection, generation) = self.connector.connect().await?;
                let serial = self.made.fetch_add(1, Ordering::Relaxed);
                (connection, Id { serial, generation, is_writer })
            }
        };
        Ok(Lease {
            pool: Arc::clone(self),
            connection: Some(connection),
            id,
            _permit: permit,
            _writer: writer,
        })
    }

    fn take_idle(&self, is_writer: bool) -> Option<Idle<C::Connection>> {
        let now = self.clock.now().mono;
        let generation = self.connector.generation();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.id.generation == generation && now - idle.since < IDLE_LIMIT);
        let last = idle.iter().rposition(|idle| idle.id.is_writer == is_writer)?;
        Some(idle.remove(last))
    }

    fn put_idle(&self, connection: C::Connection, id: Id) {
        let since = self.clock.now().mono;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if id.is_writer {
            idle.retain(|idle| !idle.id.is_writer);
        }
        let others = idle.iter().filter(|idle| !idle.id.is_writer).count();
        if !self.permits.is_closed() && (id.is_writer || others < self.limits.connections) {
            idle.push(Idle { connection, id, since });
        }
    }

    /// Has the server in use looked at, beside whatever else goes on, unless it was `within` that time.
    fn look(self: &Arc<Self>, within: Duration) {
        let now = self.clock.now().mono;
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if look.is_under_way || now - look.last < within {
            return;
        }
        look.is_under_way = true;
        drop(look);
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            pool.connector.examine().await;
            let last = pool.clock.now().mono;
            *pool.look.lock().unwrap_or_else(PoisonError::into_inner) =
                Look { is_under_way: false, last };
        });
    }

    /// A statement's answer: within its time, or, where its server is left meanwhile, within a moment.
    async fn answer<T>(
        self: &Arc<Self>,
        generation: u64,
        call: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<Result<T, SqlError>, Elapsed> {
        let limit = self.limits.statement;
        let mut call = pin!(timeout(limit, call));
        let answer = match self.connector.patience() {
            None => call.await,
            Some(patience) => tokio::select! {
                answer = &mut call => answer,
                () = sleep(patience) => {
                    self.look(LOOK_AGAIN);
                    tokio::select! {
                        answer = &mut call => answer,
                        // Whatever it was left for: this statement has had its time there.
                        () = self.connector.left(generation) => {
                            Ok(Err(SqlError::Lost("its server was left".into())))
                        }
                    }
                }
            },
        };
        answer.map_err(|_| Elapsed(limit))
    }

    /// Closes idle connections, waits for those in use, and gives out no more.
    pub async fn close(&self) {
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        // A statement has its own time limit, so this ends.
        let permits = self.permits.acquire_many(all).await;
        self.permits.close();
        drop(permits);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for idle in idle {
            let _ = timeout(self.limits.acquire, idle.connection.close()).await;
        }
    }

    /// Runs a query; once more on a new connection when the first one turns out to be dead.
    pub async fn read(
        self: &Arc<Self>,
        sql: &'static str,
        args: &[Value],
    ) -> Result<Vec<Row>, SqlError> {
        let mut lease = self.lease(false).await?;
        match lease.fetch(sql, args).await {
            Err(SqlError::Lost(_)) => {}
            result => {
                lease.give_back();
                return result;
            }
        }
        drop(lease);
        let mut lease = self.lease(true).await?;
        let result = lease.fetch(sql, args).await;
        lease.give_back();
        result
    }
}

/// A connection in use. Dropping it closes the connection: what was under way on it is unknown.
pub struct Lease<C: Connector> {
    pool: Arc<Pool<C>>,
    connection: Option<C::Connection>,
    id: Id,
    _permit: OwnedSemaphorePermit,
    _writer: Option<OwnedSemaphorePermit>,
}

impl<C: Connector> Lease<C> {
    pub const fn generation(&self) -> u64 {
        self.id.generation
    }

    /// Which of all connections of this pool it is.
    pub const fn serial(&self) -> u64 {
        self.id.serial
    }

    /// Returns the connection to the pool unless a statement spoilt it.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_idle(connection, self.id);
        }
    }

    pub async fn execute(&mut self, sql: &'static str, args: &[Value]) -> Result<Done, SqlError> {
        let connection = self.connection.as_mut().ok_or_else(spoilt)?;
        let result = self.pool.answer(self.id.generation, connection.execute(sql, args)).await;
        self.judge(result)
    }

    pub async fn fetch(&mut self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, SqlError> {
        let connection = self.connection.as_mut().ok_or_else(spoilt)?;
        let result = self.pool.answer(self.id.generation, connection.fetch(sql, args)).await;
        self.judge(result)
    }

    pub async fn command(&mut self, sql: &'static str) -> Result<(), SqlError> {
        let connection = self.connection.as_mut().ok_or_else(spoilt)?;
        let result = self.pool.answer(self.id.generation, connection.command(sql)).await;
        self.judge(result)
    }

    /// Closes the connection after a timeout, when the server is done with it, or when the schema that it knows may be of the past.
    fn judge<T>(&mut self, result: Result<Result<T, SqlError>, Elapsed>) -> Result<T, SqlError> {
        match result {
            Ok(Err(SqlError::Lost(text))) => {
                self.connection = None;
                Err(SqlError::Lost(text))
            }
            // SQLite does not find by itself that what a trigger names is there again.
            Ok(Err(SqlError::Schema(text))) if self.id.is_writer => {
                self.connection = None;
                Err(SqlError::Schema(text))
            }
            Ok(result) => result,
            Err(Elapsed(limit)) => {
                self.connection = None;
                Err(SqlError::Unavailable(format!("no answer within {} ms", limit.as_millis())))
            }
        }
    }
}

struct Elapsed(Duration);

fn spoilt() -> SqlError {
    SqlError::Lost("the connection was lost".into())
}
