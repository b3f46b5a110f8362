//! Requests by operators to the daemon that holds a session.

use super::{Attempt, Cells, Connector, SqlStore, Value, audit_row, record, transaction};
use crate::{
    store::{Actor, CommandAction, CommandId, PendingCommands, SessionState, StoreError},
    types::{ServerName, SessionId, Timestamp},
};

/// The most requests one call returns.
const MOST: usize = 1_000;

impl<C: Connector> SqlStore<C> {
    pub async fn request(
        &self,
        session: SessionId,
        action: &CommandAction,
        by: &Actor,
    ) -> Result<CommandId, StoreError> {
        let (word, reason, deadline) = match action {
            CommandAction::Kill { reason } => ("kill", reason.as_deref(), None),
            CommandAction::Replace => ("replace", None, None),
            CommandAction::Extend { deadline } => ("extend", None, Some(*deadline)),
        };
        let id = session.to_string();
        let (audited, detail) = match action {
            CommandAction::Kill { reason } => ("session.kill", reason.clone()),
            CommandAction::Replace => ("session.replace", None),
            CommandAction::Extend { deadline } => {
                ("session.extend", Some(format!("deadline={deadline}")))
            }
        };
        let audit = audit_row(by, audited, &id, detail.as_deref());
        transaction!(self, Attempt::new(false, false), |tx| {
            let rows = tx.fetch(self.sql.session, &[id.as_str().into()]).await?;
            let Some(row) = rows.first() else {
                return Err(StoreError::NotFound(format!("session `{id}`")).into());
            };
            let cells = Cells::new(row, "sessions", "id");
            if cells.some_parsed::<SessionState>("state")? == SessionState::Closed {
                return Err(StoreError::Ended.into());
            }
            let args = [
                id.as_str().into(),
                cells.some_text("server")?.into(),
                word.into(),
                Value::cut_opt(reason, 200),
                deadline.into(),
                Value::cut(&by.name, 128),
                by.at.into(),
            ];
            let done = tx.execute(self.sql.add_command, &args).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(CommandId(done.last_id))
        })
        .map_err(StoreError::from)
    }

    pub async fn command_handled(&self, id: CommandId) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.read(self.sql.command_handled, vec![id.0.into()]).await?;
        match rows.first() {
            Some(row) => Cells::new(row, "session_commands", "id").time("handled_at"),
            None => Err(StoreError::NotFound(format!("request {}", id.0))),
        }
    }

    pub async fn pending_commands(
        &self,
        servers: &[ServerName],
    ) -> Result<PendingCommands, StoreError> {
        let PendingCommands { mut commands, mut unreadable } = PendingCommands::default();
        for (sql, run) in self.sql.pending_commands.split(servers) {
            let args = run.iter().map(|server| server.as_str().into()).collect();
            for row in &self.read(sql, args).await? {
                match record::command(row) {
                    Ok(command) => commands.push(command),
                    Err(error) => {
                        let cells = Cells::new(row, "session_commands", "id");
                        let id = CommandId(cells.some_number("id")?);
                        unreadable.push((id, cells.some_parsed("server")?, error));
                    }
                }
            }
        }
        commands.sort_by_key(|command| command.id);
        commands.dedup_by_key(|command| command.id);
        commands.truncate(MOST);
        Ok(PendingCommands { commands, unreadable })
    }

    pub async fn complete_commands(
        &self,
        ids: &[CommandId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let runs = self.sql.complete_commands.split(ids);
        transaction!(self, Attempt::new(true, runs.len() <= 1), |tx| {
            for (sql, run) in &runs {
                let mut args = vec![Value::from(now)];
                args.extend(run.iter().map(|id| Value::from(id.0)));
                tx.execute(sql, &args).await?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }
}
