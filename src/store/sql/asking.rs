//! Asks what logins are decided by: one alone, those that come at the same moment together: shell.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    Connector, Pool, Repeated, SqlError, Statements, Value,
    facts::{ByName, judge},
    gathering::{self, Desk, Waiting},
    none_of_that_name,
};
use crate::{
    store::{Facts, MAX_COOLDOWN, StoreError},
    types::{Clock, DeviceId, Fingerprint, Timestamp, Username},
};

/// What a login brings.
pub struct Question {
    pub user: Username,
    pub device: Option<DeviceId>,
    pub certificate: Option<Fingerprint>,
    pub now: Timestamp,
}

type Answer = Result<Option<Facts>, StoreError>;

/// A question, and where its answer goes.
pub struct Ask {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

/// Asks for all logins of a store.
pub struct Asking<C: Connector> {
    pool: Arc<Pool<C>>,
    sql: &'static Statements,
    waiting: Waiting<Ask>,
}

impl<C: Connector> Desk for Asking<C> {
    type Ask = Ask;

    fn waiting(&self) -> &Waiting<Ask> {
        &self.waiting
    }

    async fn answer(self: &Arc<Self>, asks: Vec<Ask>) {
        Self::answer(self, asks).await;
    }
}

impl<C: Connector> Asking<C> {
    pub fn new(pool: Arc<Pool<C>>, sql: &'static Statements, clock: Clock) -> Self {
        // The other half of the connections is for all else.
        let at_once = (pool.limits.connections / 2).max(1);
        let waiting = Waiting::new(Repeated::MOST, at_once, Duration::ZERO, clock);
        Self { pool, sql, waiting }
    }

    pub async fn facts(self: &Arc<Self>, question: Question) -> Answer {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { question, answer };
        // A name that an operator's own table cannot hold would fail the statement for all.
        if self.sql.facts_of_many.is_none() || !ask.question.user.as_str().is_ascii() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.answer(vec![ask]).await });
        } else {
            gathering::ask(self, ask);
        }
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the query was cancelled".into())))
    }

    async fn answer(&self, mut asks: Vec<Ask>) {
        asks.retain(|ask| !ask.answer.is_closed());
        let rows = match self.sql.facts_of_many {
            Some(many) if asks.len() > 1 => {
                let (sql, args) = together(many, &asks);
                self.pool.read(sql, &args).await.map(Some)
            }
            Some(_) | None => Ok(None),
        };
        let found = rows.as_ref().map(|rows| rows.as_deref().and_then(ByName::new));
        match found {
            Ok(Some(found)) => {
                for Ask { question, answer } in asks {
                    // Who has gone needs none.
                    let _ = answer.send(found.facts(&question));
                }
            }
            // Each would hear the same.
            Err(error @ (SqlError::Unavailable(_) | SqlError::Lost(_))) => {
                for ask in asks {
                    let _ = ask.answer.send(Err(error.clone().into()));
                }
            }
            // What is wrong with one is not to be the others': each for itself.
            Ok(None) | Err(_) => {
                let alone = asks.into_iter().map(async |Ask { question, answer }| {
                    let _ = answer.send(self.alone(&question).await);
                });
                join_all(alone).await;
            }
        }
    }

    async fn alone(&self, question: &Question) -> Answer {
        let user = &question.user;
        let device = question.device.as_ref().map(DeviceId::to_string);
        let args = [
            question.certificate.as_ref().map(Fingerprint::to_string).into(),
            question.certificate.as_ref().map(Fingerprint::to_string).into(),
            user.as_str().into(),
            question.now.saturating_sub(MAX_COOLDOWN).into(),
            user.as_str().into(),
            device.clone().into(),
            user.as_str().into(),
        ];
        let rows = none_of_that_name(self.pool.read(self.sql.facts, &args).await, user)?;
        judge(&rows, user, device.as_deref())
    }
}

/// The statement for several, and its arguments.
fn together(many: &'static Repeated, asks: &[Ask]) -> (&'static str, Vec<Value>) {
    let (sql, room) = many.fitting(asks.len());
    let all =
        || (0..room).filter_map(|place| asks.get(place).or(asks.last())).map(|ask| &ask.question);
    let names = || all().map(|question| Value::from(question.user.as_str()));
    let since = asks.iter().map(|ask| ask.question.now).min().unwrap_or_default();
    let mut args = Vec::with_capacity(room * 4 + 1);
    args.extend(all().map(|question| question.device.as_ref().map(DeviceId::to_string).into()));
    args.extend(
        all().map(|question| question.certificate.as_ref().map(Fingerprint::to_string).into()),
    );
    args.extend(names());
    args.push(since.saturating_sub(MAX_COOLDOWN).into());
    args.extend(names());
    (sql, args)
}
