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
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{
        decide::{Defaults, review},
        service::Authenticator,
    },
    engine::{CommandOutcome, Review},
    store::{
        CommandAction, CommandId, Lockout, Schema, SessionCommand, SessionRecord, Standing, Store,
        StoreError, USERS_OF_USAGE, Usage,
    },
    telemetry::{events::Event, http::Readiness},
    types::{Clock, Mono, Periods, ServerName, Timestamp, Username},
};

use super::{
    backlog::Backlog,
    backoff::Backoff,
    changes::{Affected, Changes},
    link::LinkRequest,
    stillness::Stillness,
};

/// How often operators' requests are looked for. They take effect within 2 s.
const POLL: Duration = Duration::from_secs(1);
/// The same where nobody is connected and nobody logs in. A request may still be about a row that was left open, and
/// who has asked waits for 3 s.
const POLL_AT_REST: Duration = Duration::from_secs(2);
/// How often a database that is away is looked for: who is past a deadline is known only with it.
const POLL_AWAY: Duration = Duration::from_millis(500);
/// Of the time, at most one part in so many goes into looking whether sessions may go on: a small
/// site learns of a change within seconds, a large one later, but without a load on its database.
const REVIEW_SHARE: u32 = 10;
/// From one look at sessions to the next, at least: a change in the database ends them within 5 s, as long as the look
/// takes less than half a second.
const REVIEW: Duration = Duration::from_millis(2_500);
/// How often servers without sessions are looked at, too: an open row of one is of a session that nobody knows.
const REVIEW_OF_ALL: Duration = Duration::from_secs(30);
/// Sessions that are read by one statement; a server alone may have more.
const TOGETHER: usize = 500;
/// From so many on their policies are read apart.
const MANY: usize = 50;
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
    pub(super) stir: Arc<Notify>,
}

impl Poller {
    /// Runs until the daemon stops.
    pub(super) async fn run(self) {
        let servers: Vec<ServerName> = self.links.keys().cloned().collect();
        let mut backoff = Backoff::new(POLL_AWAY, POLL_AWAY);
        let mut was_up: Option<bool> = None;
        let mut schema_is_current = false;
        let mut next_review = self.clock.now().mono;
        let mut next_of_all = next_review;
        // It goes on beside the rounds: operators' requests do not wait for it.
        let mut review: Option<Pin<Box<_>>> = None;
        let mut review_error = None;
        let mut changes = Changes::default();
        // Everybody is to be looked at again once this review is done.
        let mut once_more = false;
        let mut passed_over = BTreeSet::new();
        let mut stillness = Stillness::default();
        loop {
            let is_idle = review.is_none() && !once_more && was_up == Some(true);
            let is_still = stillness.is_still(self.store.traces(), self.clock.now().mono)
                && is_idle
                && review_error.is_none();
            let is_at_rest = is_idle && self.is_at_rest();
            let mut result = match review_error.take() {
                Some(error) => Err(error),
                None if is_still => Ok(true),
                None => self.round(&servers, &mut schema_is_current).await,
            }
            .map(|is_all_done| {
                if !is_all_done {
                    stillness.disturb(self.clock.now().mono);
                }
            });
            if is_at_rest {
                // Whoever comes is judged by what is there by then.
                changes = Changes::default();
            } else if result.is_ok() && !is_still {
                match self.look_for_changes(&mut changes).await {
                    Ok(everybody) => once_more |= everybody,
                    Err(error) => result = Err(error),
                }
            }
            let now = self.clock.now().mono;
            let next = if is_at_rest { next_of_all } else { next_review };
            let is_due = !is_still && (once_more || now >= next);
            if result.is_ok() && review.is_none() && is_due {
                once_more = false;
                let of_all = now >= next_of_all;
                if of_all {
                    next_of_all = now + REVIEW_OF_ALL;
                }
                review = Some(Box::pin(self.review(&servers, of_all)));
            }
            if result.is_ok() && !is_still {
                result = self.authenticator.look_after_grace().await;
            }
            if result.is_ok() && (!is_still || self.authenticator.has_failures_to_tell()) {
                // Before anybody is let in for the first time: what failed before the start counts.
                result = self.authenticator.exchange_failures().await.map(|lockouts| {
                    for Lockout { user, scope, network, failures, until, .. } in lockouts {
                        let user = user.map(|user| user.as_str().into());
                        Event::ThrottleHeld { user, scope, network, failures, until }.emit();
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
            let mut may_be_stirred = false;
            let pause = if !is_up {
                stillness.disturb(now);
                backoff.pause()
            } else {
                backoff.reset();
                may_be_stirred = review.is_none() && self.is_at_rest();
                if may_be_stirred { POLL_AT_REST } else { POLL }
            };
            let pause = tokio::time::sleep(pause);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.stir.notified(), if may_be_stirred => {
                        may_be_stirred = false;
                        let due = pause.deadline() - (POLL_AT_REST - POLL);
                        pause.as_mut().reset(due);
                    }
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

    /// Whether nobody is connected and nothing is left to write.
    fn is_at_rest(&self) -> bool {
        let has_none = |server| self.readiness.sessions(server).unwrap_or_default() == 0;
        self.links.keys().all(has_none) && self.backlog.is_empty()
    }

    /// Whether nothing is left to be done by the next one.
    async fn round(
        &self,
        servers: &[ServerName],
        schema_is_current: &mut bool,
    ) -> Result<bool, StoreError> {
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
            return self.store.ping().await.map(|()| true);
        }
        let waiting = self.store.pending_commands(&present).await?;
        let count = waiting.unreadable.len() + waiting.commands.len();
        let mut handled = Vec::new();
        let mut asked = Vec::new();
        for (id, server, error) in waiting.unreadable {
            // Told once; nobody can do it.
            Event::StoreUnreadable { server, error: error.to_string() }.emit();
            handled.push(id);
        }
        for command in waiting.commands {
            let id = (command.id, command.session);
            let done = Event::AdminAction {
                actor: command.actor.clone(),
                action: match command.action {
                    CommandAction::Kill { .. } => "session.kill",
                    CommandAction::Replace => "session.replace",
                    CommandAction::Extend { .. } => "session.extend",
                },
                target: command.session.to_string(),
                user: command.user.as_ref().map(ToString::to_string),
            };
            asked.extend(self.hand_over(command).map(|outcome| (id, done, outcome)));
        }
        // All links at once: one that does not answer keeps no other waiting.
        let end = self.clock.now().mono + OUTCOME;
        let mut done = Vec::new();
        for (command, event, outcome) in asked {
            let left = end - self.clock.now().mono;
            if let Ok(Ok(CommandOutcome::Handled)) = timeout(left, outcome).await {
                done.push((command, event));
            }
        }
        // A request is handled when what came of it is kept: this daemon may die at any moment.
        let left = end - self.clock.now().mono;
        let is_one = |row: &SessionRecord| done.iter().any(|((_, id), _)| *id == row.id);
        let _ = timeout(left, self.backlog.settled(is_one)).await;
        for ((command, session), event) in done {
            if !self.backlog.holds(session) {
                event.emit();
                handled.push(command);
            }
        }
        self.complete(&handled).await.map(|()| handled.len() == count)
    }

    /// Judges the sessions at once of those of whom something was changed; whether everybody's have to be.
    async fn look_for_changes(&self, changes: &mut Changes) -> Result<bool, StoreError> {
        if !self.links.keys().any(|server| self.readiness.is_link_up(server)) {
            return Ok(false);
        }
        let is_first = changes.after().is_none();
        let rows = self.store.changes(changes.after()).await?;
        let Affected { users, everybody } = changes.take_in(&rows);
        let users: Vec<Username> = users.into_iter().collect();
        if !users.is_empty() {
            // Who has come just before the change is in the table by then, if it takes rows.
            let is_theirs = |row: &SessionRecord| users.contains(&row.user);
            let _ = timeout(OUTCOME, self.backlog.settled(is_theirs)).await;
            let standings = self.store.standings_of(&users).await?;
            // What is passed over is told with all the others.
            for (server, reviews) in self.judged(&standings, &mut Faults::new()).await? {
                if let Some(link) = self.links.get(&server) {
                    // A link that is behind hears of it with all the others.
                    let _ = link.try_send(LinkRequest::ReviewSome(reviews));
                }
            }
        }
        // What was changed between a login and the first look is not told by it.
        Ok(everybody || is_first)
    }

    /// Judges every session that runs by what the database says now; returns when to do it again, and
    /// what was passed over: a row that cannot be read is that user's or server's, and not the database away.
    async fn review(
        &self,
        servers: &[ServerName],
        of_all: bool,
    ) -> Result<(Mono, Faults), StoreError> {
        let begun = self.clock.now();
        let mut faults = Faults::new();
        let least = usize::from(of_all);
        let count = |server| self.readiness.sessions(server).unwrap_or_default().max(least);
        let counted = servers.iter().map(|server| (server.clone(), count(server)));
        for (count, servers) in together(counted) {
            let standings = self.standings(&servers, count >= MANY, &mut faults).await?;
            for (server, reviews) in self.judged(&standings, &mut faults).await? {
                if let Some(link) = self.links.get(&server) {
                    // A link that is behind gets the next one.
                    let _ = link.try_send(LinkRequest::Review(reviews));
                }
            }
        }
        let ended = self.clock.now().mono;
        let next = (ended + (ended - begun.mono) * REVIEW_SHARE).max(begun.mono + REVIEW);
        Ok((next, faults))
    }

    /// What the sessions of these servers are judged by; of a server that cannot be read, nothing.
    async fn standings(
        &self,
        servers: &[ServerName],
        are_many: bool,
        faults: &mut Faults,
    ) -> Result<Vec<Standing>, StoreError> {
        let found = match are_many {
            true => self.store.many_standings(servers).await,
            false => self.store.standings(servers).await,
        };
        match found {
            Err(error) if !is_database_away(&error) => {}
            found => return found,
        }
        let mut all = Vec::new();
        for server in servers {
            match self.store.standings(std::slice::from_ref(server)).await {
                Ok(mut found) => all.append(&mut found),
                Err(error) => pass_over(faults, server, error)?,
            }
        }
        Ok(all)
    }

    /// What is to become of each session, by server. Of whose user nobody can say what he has used, the terms
    /// stay as they are.
    async fn judged(
        &self,
        standings: &[Standing],
        faults: &mut Faults,
    ) -> Result<HashMap<ServerName, Vec<Review>>, StoreError> {
        let now = self.clock.now().utc;
        let used = self.usage(standings, now, faults).await?;
        let nothing = Usage::default();
        let mut judged: HashMap<ServerName, Vec<Review>> = HashMap::new();
        for standing in standings {
            let verdict = match used.get(&standing.user) {
                Some(Some(usage)) => review(standing, usage, &self.defaults, now),
                Some(None) => review(standing, &nothing, &self.defaults, now).map(|_| None),
                None => review(standing, &nothing, &self.defaults, now),
            };
            judged.entry(standing.server.clone()).or_default().push((standing.session, verdict));
        }
        Ok(judged)
    }

    /// What those have used whose policies have quotas; `None`: nobody can say.
    async fn usage(
        &self,
        standings: &[Standing],
        now: Timestamp,
        faults: &mut Faults,
    ) -> Result<HashMap<Username, Option<Usage>>, StoreError> {
        let mut began: BTreeMap<&Username, (&ServerName, Periods)> = BTreeMap::new();
        for Standing { user, server, account, .. } in standings {
            if let Some(policy) = account.as_ref().map(|a| &a.policy).filter(|p| p.has_quotas()) {
                let zone = policy.time_zone.unwrap_or(self.defaults.time_zone);
                began.entry(user).or_insert_with(|| (server, zone.began(now)));
            }
        }
        let users: Vec<_> =
            began.iter().map(|(user, (_, began))| ((*user).clone(), *began)).collect();
        let mut used = HashMap::with_capacity(users.len());
        for users in users.chunks(USERS_OF_USAGE) {
            match self.store.usage(users, now).await {
                Ok(found) => {
                    let found = found.into_iter().map(Some);
                    used.extend(users.iter().map(|(user, _)| user.clone()).zip(found));
                }
                Err(error) if is_database_away(&error) => return Err(error),
                // Whose it is shows when each is asked about alone.
                Err(_) => {
                    for one in users.chunks(1) {
                        let user = &one[0].0;
                        let found = match self.store.usage(one, now).await {
                            Ok(found) => found.into_iter().next(),
                            Err(error) => {
                                let server = began.get(user).map(|(server, _)| *server);
                                server.map_or(Ok(()), |server| pass_over(faults, server, error))?;
                                None
                            }
                        };
                        used.insert(user.clone(), found);
                    }
                }
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

/// Whether this is an error of the database, and not of a row in it.
const fn is_database_away(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Schema(_))
}

fn pass_over(
    faults: &mut Faults,
    server: &ServerName,
    error: StoreError,
) -> Result<(), StoreError> {
    if is_database_away(&error) {
        return Err(error);
    }
    faults.insert((server.clone(), error.to_string()));
    Ok(())
}

/// Servers whose sessions are read by one statement each time, with their number; none for those without sessions.
fn together(counted: impl Iterator<Item = (ServerName, usize)>) -> Vec<(usize, Vec<ServerName>)> {
    let mut groups: Vec<(usize, Vec<ServerName>)> = Vec::new();
    for (server, count) in counted.filter(|(_, count)| *count > 0) {
        match groups.last_mut().filter(|(sum, _)| sum + count <= TOGETHER) {
            Some((sum, servers)) => {
                *sum += count;
                servers.push(server);
            }
            None => groups.push((count, vec![server])),
        }
    }
    groups
}

/// What comes of it, if it is under way.
async fn under_way<T>(task: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    match task {
        Some(task) => task.as_mut().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_are_read_together_and_none_where_there_are_none() {
        let counts = [0, 25, 25, 450, 1, 2_000, 3, 0, 4];
        let counted = counts
            .iter()
            .enumerate()
            .map(|(number, count)| (format!("s{number}").parse::<ServerName>().unwrap(), *count));
        let groups: Vec<Vec<String>> = together(counted)
            .iter()
            .map(|(_, servers)| servers.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(groups, [vec!["s1", "s2", "s3"], vec!["s4"], vec!["s5"], vec!["s6", "s8"]]);
        assert_eq!(together([("s".parse().unwrap(), 0)].into_iter()), Vec::new());
    }
}
