//! The one task that asks the database by the clock: is it there, is its schema right, has an
//! operator asked for something.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::CommandOutcome,
    store::{CommandAction, CommandId, Schema, SessionCommand, Store, StoreError},
    telemetry::{events::Event, http::Readiness},
    types::{Clock, ServerName},
};

use super::{backoff::Backoff, link::CommandRequest, writer::Backlog};

/// How often operators' requests are looked for. They take effect within 2 s.
const POLL: Duration = Duration::from_secs(1);
/// How long a link may take to answer for a request.
const OUTCOME: Duration = Duration::from_secs(1);

/// What the task needs.
pub(super) struct Poller {
    pub(super) store: Arc<dyn Store>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) links: HashMap<ServerName, mpsc::Sender<CommandRequest>>,
    pub(super) store_ready: watch::Sender<bool>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

impl Poller {
    /// Runs until the daemon stops.
    pub(super) async fn run(self) {
        let servers: Vec<ServerName> = self.links.keys().cloned().collect();
        let mut backoff = Backoff::new(POLL, Duration::from_secs(5));
        let mut was_up: Option<bool> = None;
        let mut schema_is_current = false;
        loop {
            let result = self.round(&servers, &mut schema_is_current).await;
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
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
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
        let commands = self.store.pending_commands(servers).await?;
        let mut handled = Vec::new();
        for command in commands {
            let id = command.id;
            let done = Event::AdminAction {
                actor: command.actor.clone(),
                action: match command.action {
                    CommandAction::Kill { .. } => "session.kill",
                    CommandAction::Extend { .. } => "session.extend",
                },
                target: command.session.to_string(),
            };
            if self.hand_over(command).await == Some(CommandOutcome::Handled) {
                done.emit();
                handled.push(id);
            }
        }
        self.complete(&handled).await
    }

    async fn hand_over(&self, command: SessionCommand) -> Option<CommandOutcome> {
        let link = self.links.get(&command.server)?;
        let (sender, outcome) = oneshot::channel();
        link.try_send((command, sender)).ok()?;
        timeout(OUTCOME, outcome).await.ok()?.ok()
    }

    async fn complete(&self, handled: &[CommandId]) -> Result<(), StoreError> {
        if handled.is_empty() {
            return Ok(());
        }
        self.store.complete_commands(handled, self.clock.now().utc).await
    }
}
