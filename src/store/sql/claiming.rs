//! Takes places, and codes with them: those of one moment in one transaction, each user's by himself; and gives
//! them back: shell.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
};

use super::{
    Attempt, Connector, Failure, Pool, Repeated, SqlError, Statements, Value, audit_row,
    claim::{Leaving, Places, Wanted, names, old_before, place_args},
    gathering::{self, Desk, Waiting},
    second_factor::use_code,
    transaction,
    transaction::Tx,
    user::no_user,
};
use crate::{
    store::{Actor, Place, StoreError},
    types::{Clock, Mono, SessionId, Timestamp, Username},
};

/// Who asks sessions to make room, for the audit.
const ACTOR: &str = "daemon:max_sessions";
/// Old claims that are removed by one statement.
const OLD_AT_ONCE: u64 = 500;
/// A claim that comes sooner after others waits for more: in a storm two hashing threads bring one each 9 ms, and a
/// transaction for each is five round trips.
const PAUSE: Duration = Duration::from_millis(25);
/// Longer than this only a lock is waited for: somebody holds the user's mark and does not let it go.
const HELD_UP: Duration = Duration::from_secs(2);
/// For so long after that, he is no longer asked for together with others.
const APART: Duration = Duration::from_secs(30);
/// Users that are kept apart.
const MOST_APART: usize = 10_000;

type Answer = Result<Place, StoreError>;

/// A claim, and where its answer goes.
pub struct Ask<C: Connector> {
    wanted: Wanted,
    answer: oneshot::Sender<Answer>,
    under_way: UnderWay<C>,
}

/// Claims for all logins of a store.
pub struct Claiming<C: Connector> {
    pool: Arc<Pool<C>>,
    sql: &'static Statements,
    waiting: Waiting<Ask<C>>,
    /// For those that are done alone, and for those of them who were held up not long ago.
    alone: Semaphore,
    apart: Semaphore,
    /// Until when these are kept apart.
    held_up: Mutex<HashMap<Username, Mono>>,
    clock: Clock,
    is_removing_old: AtomicBool,
    /// How many claims of a session are under way, and whether its place is to be given back after them.
    under_way: Mutex<HashMap<SessionId, (u32, bool)>>,
}

/// A claim is under way until this is dropped. Whoever gives its place back meanwhile has it done then: before, there
/// may be none yet.
struct UnderWay<C: Connector> {
    of: Arc<Claiming<C>>,
    session: SessionId,
}

impl<C: Connector> Drop for UnderWay<C> {
    fn drop(&mut self) {
        let mut under_way = self.of.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, is_given_back)) = under_way.get_mut(&self.session) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        let is_given_back = *is_given_back;
        under_way.remove(&self.session);
        drop(under_way);
        if is_given_back && let Ok(runtime) = Handle::try_current() {
            let (of, session) = (Arc::clone(&self.of), self.session);
            runtime.spawn(async move {
                if let Err(error) = of.remove(session).await {
                    tracing::debug!(%session, %error, "a place was not given back");
                }
            });
        }
    }
}

impl<C: Connector> Desk for Claiming<C> {
    type Ask = Ask<C>;

    fn waiting(&self) -> &Waiting<Ask<C>> {
        &self.waiting
    }

    /// In rounds: of each user one after the other.
    async fn answer(self: &Arc<Self>, asks: Vec<Ask<C>>) {
        let mut rest = asks;
        while !rest.is_empty() {
            let mut users = HashSet::new();
            let (round, later) =
                rest.into_iter().partition(|ask| users.insert(ask.wanted.user.clone()));
            self.round(round, false).await;
            rest = later;
        }
    }
}

impl<C: Connector> Claiming<C> {
    pub fn new(pool: Arc<Pool<C>>, sql: &'static Statements, clock: Clock) -> Self {
        // The other half of the connections is for all else.
        let at_once = match pool.connector.has_single_writer() {
            true => 1,
            false => (pool.limits.connections / 2).max(1),
        };
        let waiting = Waiting::new(Repeated::MOST, at_once, PAUSE, clock);
        Self {
            pool,
            sql,
            waiting,
            alone: Semaphore::new(at_once),
            apart: Semaphore::new(1),
            held_up: Mutex::default(),
            clock,
            is_removing_old: AtomicBool::new(false),
            under_way: Mutex::default(),
        }
    }

    pub async fn claim(self: &Arc<Self>, wanted: Wanted) -> Answer {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { under_way: self.begun(wanted.session), wanted, answer };
        // A name that an operator's own table cannot hold would fail the statement for all.
        if self.is_held_up(&ask.wanted.user) || !ask.wanted.user.as_str().is_ascii() {
            self.alone(ask);
        } else {
            gathering::ask(self, ask);
        }
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the claim was cancelled".into())))
    }

    /// Gives a place back: at once, or after the claim that is under way.
    pub async fn forget(&self, session: SessionId) -> Result<(), StoreError> {
        let is_under_way = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.get_mut(&session).map(|(_, is_given_back)| *is_given_back = true).is_some()
        };
        if is_under_way { Ok(()) } else { self.remove(session).await }
    }

    fn begun(self: &Arc<Self>, session: SessionId) -> UnderWay<C> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.entry(session).or_default().0 += 1;
        UnderWay { of: Arc::clone(self), session }
    }

    async fn remove(&self, session: SessionId) -> Result<(), StoreError> {
        let session = session.to_string();
        transaction!(self, Attempt::new(true, true), |tx| {
            tx.execute(self.sql.forget_claim, &[session.as_str().into()]).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    /// Claims of different users, together; where that fails by one of them, each by itself.
    async fn round(self: &Arc<Self>, mut asks: Vec<Ask<C>>, is_alone: bool) {
        asks.retain(|ask| !ask.answer.is_closed());
        // Who has to wait for somebody keeps others waiting once, and not again and again.
        let attempt = Attempt::new(false, false);
        let attempt = if is_alone { attempt } else { attempt.impatient() };
        let began = self.clock.now().mono;
        match self.take(&asks, attempt, began).await {
            Ok(taken) => {
                for (ask, place) in asks.into_iter().zip(taken.places) {
                    ask.tell(place);
                }
                if let Some(before) = taken.old {
                    self.remove_old(before);
                }
            }
            Err(failure) if !is_alone && may_be_anothers(&failure) => {
                self.look_at(&asks, &failure, began);
                asks.into_iter().for_each(|ask| self.alone(ask));
            }
            // Each would hear the same.
            Err(failure) => {
                self.look_at(&asks, &failure, began);
                let error = StoreError::from(failure);
                for ask in asks {
                    ask.tell(Err(error.clone()));
                }
            }
        }
    }

    /// Of those that are done alone only some have a connection at a time.
    fn alone(self: &Arc<Self>, ask: Ask<C>) {
        let this = Arc::clone(self);
        let is_apart = self.is_held_up(&ask.wanted.user);
        tokio::spawn(async move {
            let permits = if is_apart { &this.apart } else { &this.alone };
            let _permit = permits.acquire().await;
            Box::pin(this.round(vec![ask], true)).await;
        });
    }

    fn is_held_up(&self, user: &Username) -> bool {
        let held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        held_up.get(user).is_some_and(|until| *until > self.clock.now().mono)
    }

    /// Whether it was one alone, and a lock was waited for.
    fn look_at(&self, asks: &[Ask<C>], failure: &Failure, began: Mono) {
        let now = self.clock.now().mono;
        let [Ask { wanted: Wanted { user, .. }, .. }] = asks else { return };
        let is_lock = matches!(failure, Failure::Sql(SqlError::Conflict(_)));
        if !is_lock || now - began < HELD_UP {
            return;
        }
        let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        held_up.retain(|_, until| *until > now);
        if held_up.len() < MOST_APART {
            held_up.insert(user.clone(), now + APART);
        }
    }

    async fn take(&self, asks: &[Ask<C>], attempt: Attempt, began: Mono) -> Result<Taken, Failure> {
        let wanted: Vec<&Wanted> = asks.iter().map(|ask| &ask.wanted).collect();
        let Some(last) = wanted.last() else { return Ok(Taken::default()) };
        let mut is_again = false;
        transaction!(self, attempt, |tx| {
            if asks.iter().all(|ask| ask.answer.is_closed()) {
                return Err(gone().into());
            }
            // Not again and again, for whoever waits for a connection.
            if is_again && self.clock.now().mono - began >= HELD_UP {
                return Err(SqlError::Conflict("somebody else holds the user's mark".into()).into());
            }
            is_again = true;
            // Others that claim for one of these users wait here.
            let (sql, room) = self.sql.mark_users.fitting(wanted.len());
            let args: Vec<Value> = names(&wanted, room).collect();
            match tx.execute(sql, &args).await {
                Err(SqlError::Collation(_)) if !last.user.as_str().is_ascii() => {
                    return Err(no_user(&last.user).into());
                }
                done => done?,
            };
            let (sql, room) = self.sql.places.fitting(wanted.len());
            let places = Places::new(&tx.fetch(sql, &place_args(&wanted, room)).await?)?;
            if places.is_cut && wanted.len() > 1 {
                return Err(SqlError::Refused("too many sessions at once".into()).into());
            }
            let mut answers = Vec::with_capacity(wanted.len());
            let mut rows = Vec::with_capacity(wanted.len());
            for one in &wanted {
                let answer = self.judge(tx, one, &places).await?;
                rows.extend((answer == Ok(Place::Taken)).then_some(*one));
                answers.push(answer);
            }
            for (sql, run) in self.sql.add_claims.split(&rows) {
                let args: Vec<Value> = run.iter().copied().flat_map(row).collect();
                tx.execute(sql, &args).await?;
            }
            // Nothing is taken, and no code used up, for one who has gone.
            if asks.iter().any(|ask| ask.answer.is_closed()) {
                return Err(gone().into());
            }
            let old = places.has_old.then(|| old_before(&wanted));
            Ok(Taken { places: answers, old })
        })
    }

    /// Of a user who cannot be found it is an error of this one.
    async fn judge(
        &self,
        tx: &mut Tx<C>,
        wanted: &Wanted,
        places: &Places,
    ) -> Result<Answer, Failure> {
        let Some(id) = places.user(&wanted.user) else { return Ok(Err(no_user(&wanted.user))) };
        let Some(leaving) = places.make_room(wanted) else { return Ok(Ok(Place::Full)) };
        // Before anybody is asked to leave for it.
        if let Some(code) = &wanted.code
            && !use_code(self.sql, tx, id, code).await?
        {
            return Ok(Ok(Place::CodeUsed));
        }
        if places.has_own(wanted) {
            return Ok(Ok(Place::Own));
        }
        for one in leaving {
            self.ask_to_leave(tx, one, wanted.now).await?;
        }
        Ok(Ok(Place::Taken))
    }

    async fn ask_to_leave(
        &self,
        tx: &mut Tx<C>,
        (session, server, is_claim): Leaving,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let session = session.to_string();
        if is_claim {
            tx.execute(self.sql.forget_claim, &[session.as_str().into()]).await?;
        }
        // Also for a claim: its session may come up yet.
        let args = [
            session.as_str().into(),
            server.as_str().into(),
            "replace".into(),
            Value::Null,
            Value::Null,
            ACTOR.into(),
            now.into(),
        ];
        tx.execute(self.sql.add_command, &args).await?;
        let by = Actor { name: ACTOR.into(), at: now };
        tx.execute(self.sql.audit, &audit_row(&by, "session.replace", &session, None)).await?;
        Ok(())
    }

    /// Removes claims that count no more, whosesoever; nobody waits for it, and who has seen some tries again.
    fn remove_old(self: &Arc<Self>, before: Timestamp) {
        if self.is_removing_old.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let done: Result<(), Failure> =
                transaction!(this, Attempt::new(true, true).impatient(), |tx| {
                    tx.execute(this.sql.forget_old_claims, &[before.into(), OLD_AT_ONCE.into()])
                        .await?;
                    Ok(())
                });
            this.is_removing_old.store(false, Ordering::Relaxed);
            if let Err(error) = done.map_err(StoreError::from) {
                tracing::debug!(%error, "old claims were not removed");
            }
        });
    }
}

impl<C: Connector> Ask<C> {
    /// Whoever has gone has the place given back.
    fn tell(self, place: Answer) {
        drop(self.under_way);
        let _ = self.answer.send(place);
    }
}

/// What came of some claims.
#[derive(Default)]
struct Taken {
    /// In their order.
    places: Vec<Answer>,
    /// Claims from before this are there, which count no more.
    old: Option<Timestamp>,
}

fn gone() -> SqlError {
    SqlError::Refused("the login has gone".into())
}

/// What is wrong with one is not to be the others'.
const fn may_be_anothers(failure: &Failure) -> bool {
    !matches!(
        failure,
        Failure::Sql(SqlError::Unavailable(_) | SqlError::Lost(_) | SqlError::ReadOnly(_))
            | Failure::Store(StoreError::Unavailable(_))
    )
}

fn row(wanted: &Wanted) -> [Value; 5] {
    [
        wanted.session.to_string().into(),
        wanted.user.as_str().into(),
        wanted.server.as_str().into(),
        wanted.device.as_deref().into(),
        wanted.now.into(),
    ]
}
