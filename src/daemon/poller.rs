//! The one task that asks the database by the clock: is it there, is its schema right, has an
//! operator asked for something, may those who are connected stay.

use std::{
    collections::{BTreeSet, HashMap},
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
    auth::{decide::Defaults, service::Authenticator},
    engine::CommandOutcome,
    fail_point::fail_point,
    store::{
        CommandAction, CommandId, Lockout, Schema, SessionCommand, SessionRecord, Store,
        StoreError, Watch,
    },
    telemetry::{events::Event, http::Readiness},
    types::{Clock, Mono, ServerName, Username},
};

use super::{
    backlog::Backlog,
    backoff::Backoff,
    changes::{Affected, Changes},
    link::LinkRequest,
    review::{Faults, is_database_away},
    rhythm::Rhythm,
    stillness::Stillness,
};

/// How often operators' requests are looked for. They take effect within 2 s. A power of two: see [`on_the_wheel`].
const POLL: Duration = Duration::from_millis(1_024);
/// The same where nobody is connected and nobody logs in. A request may still be about a row that was left open, and
/// who has asked waits for 3 s.
const POLL_AT_REST: Duration = Duration::from_millis(2_048);
/// The same once after it was heard that the database is being written: what can be read then is what was there before.
const POLL_WRITTEN: Duration = Duration::from_millis(100);
/// How often a database that is away is looked for: who is past a deadline is known only with it.
const POLL_AWAY: Duration = Duration::from_millis(500);
/// How often servers without sessions are looked at, too: an open row of one is of a session that nobody knows.
const REVIEW_OF_ALL: Duration = Duration::from_secs(30);
/// How long the links may take to answer for requests.
const OUTCOME: Duration = Duration::from_secs(1);

/// What the task needs.
pub(super) struct Poller {
    pub(super) store: Arc<dyn Store>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) links: HashMap<ServerName, mpsc::Sender<LinkRequest>>,
    pub(super) defaults: Defaults,
    /// How long a login may take.
    pub(super) login: Duration,
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
        let mut next_of_all = self.clock.now().mono;
        let mut rhythm = Rhythm::new(self.login, next_of_all);
        // It goes on beside the rounds: operators' requests do not wait for it.
        let mut review: Option<Pin<Box<_>>> = None;
        let mut review_error = None;
        let mut changes = Changes::default();
        // Everybody is to be looked at again once this review is done.
        let mut once_more = false;
        let mut passed_over = BTreeSet::new();
        let mut stillness = Stillness::default();
        let mut present = Vec::new();
        let mut is_written = false;
        // It is set anew each time: the system may take its time over taking one away.
        let mut watch = None;
        loop {
            let is_idle = review.is_none() && !once_more && was_up == Some(true);
            let is_at_rest = is_idle && self.is_at_rest();
            let now_present = self.linked(&servers);
            if now_present != present {
                // There may be requests that have waited for a server.
                stillness.disturb(self.clock.now().mono);
                present = now_present;
            }
            if self.backlog.doubt.take() {
                rhythm.disturb(self.clock.now().mono);
            }
            // Of changes before the first look for them nothing tells.
            let may_be_still =
                is_idle && review_error.is_none() && (is_at_rest || changes.after().is_some());
            let still = match review_error.take() {
                Some(error) => Err(error),
                None => self.is_still(&mut stillness, may_be_still).await,
            };
            let is_still = matches!(still, Ok(true));
            let mut result = match still {
                Ok(false) => self.round(&present, &mut schema_is_current).await,
                still => still,
            }
            .map(|is_nothing_to_do| {
                if !is_nothing_to_do {
                    stillness.disturb(self.clock.now().mono);
                }
            });
            if is_at_rest {
                // Whoever comes is judged by what is there by then.
                changes = Changes::default();
            } else if result.is_ok() && !is_still {
                match self.look_for_changes(&mut changes).await {
                    Ok(None) => {}
                    Ok(Some(everybody)) => {
                        once_more |= everybody;
                        // Of a change by this program itself an SQLite file tells nothing.
                        rhythm.disturb(self.clock.now().mono);
                    }
                    Err(error) => result = Err(error),
                }
            }
            let now = self.clock.now().mono;
            // Of a still database only time makes another judgement.
            let next = if is_still { rhythm.next_of_still() } else { Some(rhythm.next()) };
            let next = next.filter(|_| !is_at_rest).into_iter();
            let next = next.chain((!is_still).then_some(next_of_all)).min();
            let is_due = once_more || next.is_some_and(|next| now >= next);
            if result.is_ok() && review.is_none() && is_due {
                let unless = rhythm.unless(now).filter(|_| !once_more);
                once_more = false;
                let of_all = now >= next_of_all;
                if of_all {
                    next_of_all = now + REVIEW_OF_ALL;
                }
                review = Some(Box::pin(self.look(&servers, of_all, unless)));
            }
            let is_comparing = self.authenticator.has_grace() && !stillness.is_settled(now);
            if result.is_ok() && (!is_still || is_comparing) {
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
            let mut is_watching = false;
            let is_at_rest = review.is_none() && self.is_at_rest();
            let pause = if !is_up {
                stillness.disturb(now);
                rhythm.disturb(now);
                backoff.pause()
            } else {
                backoff.reset();
                if is_still && review.is_none() && !is_comparing {
                    watch = self.store.watch(watch);
                    is_watching = watch.is_some() && stillness.is_as_seen(self.store.traces());
                }
                let next = rhythm.next_of_still().filter(|_| !is_at_rest);
                let due = next.map_or(stillness.next(), |next| next.min(stillness.next()));
                match is_watching {
                    _ if is_written => POLL_WRITTEN,
                    true => due.max(now + POLL) - now,
                    false if is_at_rest => on_the_wheel(now, POLL_AT_REST),
                    false => on_the_wheel(now, POLL),
                }
            };
            is_written = false;
            let mut may_be_stirred = is_up && (is_at_rest || is_watching);
            let spare = pause.saturating_sub(POLL);
            let pause = tokio::time::sleep_until(self.clock.instant(now + pause).into());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.stirred(), if may_be_stirred => {
                        may_be_stirred = false;
                        let due = pause.deadline() - spare;
                        pause.as_mut().reset(due);
                    }
                    () = written(watch.as_ref().filter(|_| is_watching)) => {
                        is_written = true;
                        break;
                    }
                    done = under_way(&mut review) => {
                        review = None;
                        match done {
                            Ok((looked, mut faults)) => {
                                for (server, error) in faults.difference(&passed_over) {
                                    let (server, error) = (Some(server.clone()), error.clone());
                                    Event::StoreUnreadable { server, error }.emit();
                                }
                                if looked.judged.is_none() {
                                    faults.append(&mut passed_over);
                                }
                                passed_over = faults;
                                rhythm.take_in(looked);
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

    /// Whether the database is as it was, so that nothing is to be asked. A server is asked for that, if it may be so.
    async fn is_still(&self, stillness: &mut Stillness, may_be: bool) -> Result<bool, StoreError> {
        let traces = match self.store.traces() {
            None if may_be && stillness.may_be_still(self.clock.now().mono) => {
                match self.store.pulse().await {
                    Err(error) if is_database_away(&error) => return Err(error),
                    traces => traces.unwrap_or_default(),
                }
            }
            None => {
                stillness.ask(self.clock.now().mono);
                return Ok(false);
            }
            traces => traces,
        };
        Ok(stillness.is_still(traces, self.clock.now().mono) && may_be)
    }

    /// Until somebody logs in, or sessions have to be judged that were not.
    async fn stirred(&self) {
        tokio::select! {
            () = self.stir.notified() => {}
            () = self.backlog.doubt.raised() => {}
        }
    }

    /// Whether nobody is connected and nothing is left to write.
    fn is_at_rest(&self) -> bool {
        let has_none = |server| self.readiness.sessions(server).unwrap_or_default() == 0;
        self.links.keys().all(has_none) && self.backlog.is_empty()
    }

    /// The servers that are there: requests for one that is away would stand before all others.
    fn linked(&self, servers: &[ServerName]) -> Vec<ServerName> {
        servers.iter().filter(|server| self.readiness.is_link_up(server)).cloned().collect()
    }

    /// Whether nothing was to be done: otherwise there may be more of it.
    async fn round(
        &self,
        present: &[ServerName],
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
        if present.is_empty() {
            return self.store.ping().await.map(|()| true);
        }
        let waiting = self.store.pending_commands(present).await?;
        fail_point("poller.asked");
        let count = waiting.unreadable.len() + waiting.commands.len();
        if !waiting.commands.is_empty() {
            // An operator may give somebody a deadline beyond the end of his account.
            self.backlog.doubt.raise();
        }
        let mut handled = Vec::new();
        let mut asked = Vec::new();
        for (id, server, error) in waiting.unreadable {
            // Told once; nobody can do it.
            Event::StoreUnreadable { server: Some(server), error: error.to_string() }.emit();
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
        let sessions: Vec<_> = done.iter().map(|((_, session), _)| *session).collect();
        let _ = timeout(left, self.backlog.settled_of(&sessions)).await;
        for ((command, session), event) in done {
            if !self.backlog.holds(session) {
                event.emit();
                handled.push(command);
            }
        }
        self.complete(&handled).await.map(|()| count == 0)
    }

    /// Judges the sessions at once of those of whom something was changed; of a change, whether everybody's have to be.
    async fn look_for_changes(&self, changes: &mut Changes) -> Result<Option<bool>, StoreError> {
        if !self.links.keys().any(|server| self.readiness.is_link_up(server)) {
            return Ok(None);
        }
        let is_first = changes.after().is_none();
        let rows = self.store.changes(changes.after()).await?;
        let Affected { users, everybody } = changes.take_in(&rows);
        if !users.is_empty() {
            // Who has come just before the change is in the table by then, if it takes rows.
            let is_theirs = |row: &SessionRecord| users.contains(&row.user);
            let _ = timeout(OUTCOME, self.backlog.settled(is_theirs)).await;
            let all: Vec<Username> = users.iter().cloned().collect();
            let standings = self.store.standings_of(&all).await?;
            // What is passed over is told with all the others.
            for (server, reviews) in self.judged(&standings, &mut Faults::new()).await?.by_server {
                if let Some(link) = self.links.get(&server) {
                    // A link that is behind hears of it with all the others, which are judged again now.
                    let _ = link.try_send(LinkRequest::ReviewSome(reviews));
                }
            }
        }
        // What was changed between a login and the first look is not told by it.
        let is_changed = everybody || is_first || !users.is_empty();
        Ok(is_changed.then_some(everybody || is_first))
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

/// At most so long, a power of two in milliseconds, until a moment to which the runtime's wheel of timers turns in one
/// step: towards any other it turns in two, and wakes a thread for nothing. It has begun with the clock.
fn on_the_wheel(now: Mono, pause: Duration) -> Duration {
    let gone = now.0.as_nanos() % pause.as_nanos();
    pause - Duration::from_nanos(u64::try_from(gone).unwrap_or_default())
}

/// Until the database is written, where that is told.
async fn written(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.written().await,
        None => pending().await,
    }
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
    fn a_pause_ends_where_the_wheel_turns_once() {
        for milliseconds in [0, 1, 511, 512, 513, 1_023, 1_024, 1_500, 86_400_001] {
            for pause in [POLL, POLL_AT_REST] {
                let now = Mono(Duration::from_millis(milliseconds) + Duration::from_nanos(7));
                let waits = on_the_wheel(now, pause);
                assert!(waits <= pause && !waits.is_zero(), "{waits:?}");
                assert_eq!((now + waits).0.as_nanos() % pause.as_nanos(), 0, "{now:?}");
            }
        }
        // Woken a little late, it waits until the next, and not for longer.
        let late = Mono(POLL * 5 + Duration::from_millis(3));
        assert_eq!(late + on_the_wheel(late, POLL), Mono(POLL * 6));
    }
}
