//! The one task that asks the database by the clock: is it there, is its schema right, has an
//! operator asked for something, may those who are connected stay.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::pending,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{
        decide::{Defaults, review},
        service::Authenticator,
    },
    engine::CommandOutcome,
    store::{
        CommandAction, CommandId, Lockout, Schema, SessionCommand, Standing, Store, StoreError,
        Usage,
    },
    telemetry::{events::Event, http::Readiness},
    types::{Clock, Mono, Periods, ServerName, Timestamp, Username},
};

use super::{backlog::Backlog, backoff::Backoff, link::LinkRequest};

/// How often operators' requests are looked for. They take effect within 2 s.
const POLL: Duration = Duration::from_secs(1);
/// How often a database that is away is looked for: who is past a deadline is known only with it.
const POLL_AWAY: Duration = Duration::from_millis(500);
/// Of the time, at most one part in so many goes into looking whether sessions may go on: a small
/// site learns of a change within a second, a large one later, but without a load on its database.
const REVIEW_SHARE: u32 = 10;
/// Users whose quotas are asked about in one statement.
const USERS: usize = 100;
/// How long the links may take to answer for requests.
const OUTCOME: Duration = Duration::from_secs(1);

/// What a review has passed over, by server.
type Faults = BTreeSet<(ServerName, String)>;

/// What the task needs.
pub(super) struct Poller {
    pub(super) store: Arc<dyn Store>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) links: HashMap<ServerName, mpsc::Sender<LinkRequest>>,
    pub(super) defaults: Defaults,
    pub(super) store_ready: watch::Sender<bool>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

impl Poller {
    /// Runs until the daemon stops.
    pub(super) async fn run(self) {
        let servers: Vec<ServerName> = self.links.keys().cloned().collect();
        let mut backoff = Backoff::new(POLL_AWAY, POLL_AWAY);
        let mut was_up: Option<bool> = None;
        let mut schema_is_current = false;
        let mut next_review = self.clock.now().mono;
        // It goes on beside the rounds: operators' requests do not wait for it.
        let mut review: Option<Pin<Box<_>>> = None;
        let mut review_error = None;
        let mut passed_over = BTreeSet::new();
        loop {
            let mut result = match review_error.take() {
                Some(error) => Err(error),
                None => self.round(&servers, &mut schema_is_current).await,
            };
            if result.is_ok() && review.is_none() && self.clock.now().mono >= next_review {
                review = Some(Box::pin(self.review(&servers)));
            }
            if result.is_ok() {
                result = self.authenticator.look_after_grace().await;
            }
            if result.is_ok() {
                // Before anybody is let in for the first time: what failed before the start counts.
                result = self.authenticator.exchange_failures().await.map(|lockouts| {
                    for Lockout { user, network, failures, until, .. } in lockouts {
                        let user = user.map(|user| user.as_str().into());
                        Event::ThrottleHeld { user, network, failures, until }.emit();
                    }
                });
            }
            let is_up = result.is_ok();
            match result {
                Ok(()) if was_up == Some(false) => {
                    Event::StoreUp { pending: self.backlog.len() }.emit();
                }
                Err(error) if was_up != Some(false) => {
                    Event::StoreDown { error: error.to_string() }.emit();
                }
                Ok(()) | Err(_) => {}
            }
            if was_up != Some(is_up) {
                was_up = Some(is_up);
                self.readiness.set_store(is_up);
                self.store_ready.send_replace(is_up);
            }
            let pause = if is_up {
                backoff.reset();
                POLL
            } else {
                backoff.pause()
            };
            let pause = tokio::time::sleep(pause);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    done = under_way(&mut review) => {
                        review = None;
                        match done {
                            Ok((next, faults)) => {
                                for (server, error) in faults.difference(&passed_over) {
                                    let (server, error) = (server.clone(), error.clone());
                                    Event::StoreUnreadable { server, error }.emit();
                                }
                                (next_review, passed_over) = (next, faults);
                            }
                            Err(error) => {
                                review_error = Some(error);
                                break;
                            }
                        }
                    }
                    () = self.stop.cancelled() => return,
                }
            }
        }
    }

    async fn round(
        &self,
        servers: &[ServerName],
        schema_is_current: &mut bool,
    ) -> Result<(), StoreError> {
        if !*schema_is_current {
            let what = match self.store.schema().await? {
                Schema::Current => None,
                Schema::Missing | Schema::Behind(_) => Some("run `ovpn-warden migrate`"),
                Schema::Ahead(_) => Some("it is newer than this program"),
                Schema::Broken(_) => Some("a migration stopped half way"),
            };
            if let Some(what) = what {
                return Err(StoreError::Schema(what.to_owned()));
            }
            *schema_is_current = true;
        }
        // Those of a server that is away would stand before all others.
        let present: Vec<ServerName> =
            servers.iter().filter(|server| self.readiness.is_link_up(server)).cloned().collect();
        if present.is_empty() {
            return self.store.ping().await;
        }
        let waiting = self.store.pending_commands(&present).await?;
        let mut handled = Vec::new();
        let mut asked = Vec::new();
        for (id, server, error) in waiting.unreadable {
            // Told once; nobody can do it.
            Event::StoreUnreadable { server, error: error.to_string() }.emit();
            handled.push(id);
        }
        for command in waiting.commands {
            let id = command.id;
            let done = Event::AdminAction {
                actor: command.actor.clone(),
                action: match command.action {
                    CommandAction::Kill { .. } => "session.kill",
                    CommandAction::Replace => "session.replace",
                    CommandAction::Extend { .. } => "session.extend",
                },
                target: command.session.to_string(),
            };
            asked.extend(self.hand_over(command).map(|outcome| (id, done, outcome)));
        }
        // All links at once: one that does not answer keeps no other waiting.
        let end = self.clock.now().mono + OUTCOME;
        for (id, done, outcome) in asked {
            let left = end - self.clock.now().mono;
            if let Ok(Ok(CommandOutcome::Handled)) = timeout(left, outcome).await {
                done.emit();
                handled.push(id);
            }
        }
        self.complete(&handled).await
    }

    /// Judges every session that runs by what the database says now; returns when to do it again, and
    /// what was passed over: a row that cannot be read is that user's or server's, and not the database away.
    async fn review(&self, servers: &[ServerName]) -> Result<(Mono, Faults), StoreError> {
        let begun = self.clock.now();
        let mut faults = Faults::new();
        for server in servers {
            let mut pass_over = |error: StoreError| {
                if error.is_transient() || matches!(error, StoreError::Schema(_)) {
                    return Err(error);
                }
                faults.insert((server.clone(), error.to_string()));
                Ok(())
            };
            let standings = match self.store.standings(server).await {
                Ok(standings) => standings,
                Err(error) => {
                    pass_over(error)?;
                    continue;
                }
            };
            let now = self.clock.now().utc;
            let used = self.usage(&standings, now, &mut pass_over).await?;
            let nothing = Usage::default();
            let reviews: Vec<_> = standings
                .iter()
                .filter_map(|standing| {
                    let usage = match used.get(&standing.user) {
                        Some(usage) => usage.as_ref()?,
                        None => &nothing,
                    };
                    Some((standing.session, review(standing, usage, &self.defaults, now)))
                })
                .collect();
            if let Some(link) = self.links.get(server).filter(|_| !reviews.is_empty()) {
                // A link that is behind gets the next one.
                let _ = link.try_send(LinkRequest::Review(reviews));
            }
        }
        let ended = self.clock.now().mono;
        Ok((ended + (ended - begun.mono) * REVIEW_SHARE, faults))
    }

    /// What those have used whose policies have quotas; `None`: nobody can say.
    async fn usage(
        &self,
        standings: &[Standing],
        now: Timestamp,
        pass_over: &mut impl FnMut(StoreError) -> Result<(), StoreError>,
    ) -> Result<HashMap<Username, Option<Usage>>, StoreError> {
        let mut began: BTreeMap<&Username, Periods> = BTreeMap::new();
        for Standing { user, account, .. } in standings {
            if let Some(policy) = account.as_ref().map(|a| &a.policy).filter(|p| p.has_quotas()) {
                let zone = policy.time_zone.unwrap_or(self.defaults.time_zone);
                began.entry(user).or_insert_with(|| zone.began(now));
            }
        }
        let users: Vec<_> = began.into_iter().map(|(user, began)| (user.clone(), began)).collect();
        let mut used = HashMap::with_capacity(users.len());
        for users in users.chunks(USERS) {
            match self.store.usage(users, now).await {
                Ok(found) => {
                    let found = found.into_iter().map(Some);
                    used.extend(users.iter().map(|(user, _)| user.clone()).zip(found));
                }
                // Whose it is shows when each is asked about alone.
                Err(error) if !error.is_transient() => {
                    for user in users.chunks(1) {
                        let found =
                            self.store.usage(user, now).await.map(|found| found.into_iter().next());
                        let found = found.or_else(|error| pass_over(error).map(|()| None))?;
                        used.insert(user[0].0.clone(), found);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(used)
    }

    /// `None` for a link that is behind: it gets the request again.
    fn hand_over(&self, command: SessionCommand) -> Option<oneshot::Receiver<CommandOutcome>> {
        let link = self.links.get(&command.server)?;
        let (sender, outcome) = oneshot::channel();
        link.try_send(LinkRequest::Command(command, sender)).ok()?;
        Some(outcome)
    }

    async fn complete(&self, handled: &[CommandId]) -> Result<(), StoreError> {
        if handled.is_empty() {
            return Ok(());
        }
        self.store.complete_commands(handled, self.clock.now().utc).await
    }
}

/// What comes of it, if it is under way.
async fn under_way<T>(task: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    match task {
        Some(task) => task.as_mut().await,
        None => pending().await,
    }
}
