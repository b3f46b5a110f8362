//! Failed logins and lockouts.

use std::net::IpAddr;

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, audit_row, transaction};
use crate::{
    store::{Actor, AuthEvent, AuthEventKind, Lockout, NewAuthEvent, StoreError},
    types::{LockoutScope, Timestamp, Username},
};

/// The most rows one call returns.
const MOST: u32 = 10_000;
/// Where a name or an address is missing: they are parts of a key.
const NONE: &str = "";
/// In place of an address: from wherever the user was not lately.
const ELSEWHERE: &str = "*";
/// Who writes what operators forget.
const OPERATOR: &str = "operator";

impl<C: Connector> SqlStore<C> {
    pub async fn add_auth_events(
        &self,
        events: &[NewAuthEvent],
        origin: &str,
    ) -> Result<(), StoreError> {
        let runs = self.sql.add_auth_events.split(events);
        transaction!(self, Attempt::new(true, runs.len() <= 1), |tx| {
            for (sql, run) in &runs {
                let mut args = Vec::with_capacity(run.len() * 6);
                for event in *run {
                    push_event(&mut args, event, origin);
                }
                tx.execute(sql, &args).await?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn auth_events(
        &self,
        since: Timestamp,
        origin: &str,
    ) -> Result<Vec<AuthEvent>, StoreError> {
        let args = vec![since.into(), origin.into(), MOST.into()];
        let rows = self.read(self.sql.auth_events, args).await?;
        // A row that cannot be read is one failure less, and no reason to forget the others.
        Ok(rows.iter().rev().filter_map(|row| event(row).ok()).collect())
    }

    pub async fn remove_auth_events(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let args = [before.into(), limit.min(MOST).into()];
        transaction!(self, Attempt::new(true, false), |tx| {
            tx.execute(self.sql.forget_lockouts, &args[..1]).await?;
            Ok(tx.execute(self.sql.remove_auth_events, &args).await?.affected)
        })
        .map_err(StoreError::from)
    }

    pub async fn add_lockouts(&self, lockouts: &[Lockout]) -> Result<(), StoreError> {
        transaction!(self, Attempt::new(true, lockouts.len() <= 1), |tx| {
            for lockout in lockouts {
                let args = [
                    name(lockout.user.as_ref()),
                    scope(lockout),
                    lockout.failures.into(),
                    lockout.since.into(),
                    lockout.until.into(),
                ];
                tx.execute(self.sql.add_lockout, &args).await?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn lockouts(&self, now: Timestamp) -> Result<Vec<Lockout>, StoreError> {
        let rows = self.read(self.sql.lockouts, vec![now.into(), MOST.into()]).await?;
        rows.iter().map(lockout).collect()
    }

    pub async fn clear_lockouts(
        &self,
        user: Option<&Username>,
        network: Option<IpAddr>,
        by: &Actor,
    ) -> Result<u64, StoreError> {
        let target = match (user, network) {
            (None, None) => "everybody".to_owned(),
            (Some(user), None) => user.to_string(),
            (None, Some(network)) => network.to_string(),
            (Some(user), Some(network)) => format!("{user} at {network}"),
        };
        let audit = audit_row(by, "lockout.clear", &target, None);
        let (kind, user) = (AuthEventKind::Cleared, user.cloned());
        let told = NewAuthEvent { kind, user, network, at: by.at, serial: None };
        transaction!(self, Attempt::new(false, false), |tx| {
            let (sql, _) = self.sql.add_auth_events.split(std::slice::from_ref(&told))[0];
            let mut args = Vec::new();
            push_event(&mut args, &told, OPERATOR);
            tx.execute(sql, &args).await?;
            let (user, network) = (name(told.user.as_ref()), address(network));
            let args = [user.clone(), user, network.clone(), network];
            let removed = tx.execute(self.sql.remove_lockouts, &args).await?.affected;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(removed)
        })
        .map_err(StoreError::from)
    }
}

fn name(user: Option<&Username>) -> Value {
    user.map_or(NONE, Username::as_str).into()
}

fn address(network: Option<IpAddr>) -> Value {
    network.map_or_else(|| NONE.to_owned(), |ip| ip.to_string()).into()
}

fn scope(lockout: &Lockout) -> Value {
    match lockout.scope {
        LockoutScope::Login => address(lockout.network),
        LockoutScope::Elsewhere => ELSEWHERE.into(),
        LockoutScope::Code => NONE.into(),
    }
}

fn push_event(args: &mut Vec<Value>, event: &NewAuthEvent, origin: &str) {
    args.extend([
        event.kind.as_str().into(),
        name(event.user.as_ref()),
        address(event.network),
        Value::cut(origin, 16),
        event.at.into(),
        event.serial.into(),
    ]);
}

fn user(cells: Cells<'_>) -> Result<Option<Username>, StoreError> {
    match cells.some_text("user_name")? {
        NONE => Ok(None),
        _ => Ok(Some(cells.some_parsed("user_name")?)),
    }
}

fn whose(cells: Cells<'_>) -> Result<(Option<Username>, Option<IpAddr>), StoreError> {
    let user = user(cells)?;
    let network = match cells.some_text("network")? {
        NONE => None,
        _ => Some(cells.some_parsed("network")?),
    };
    Ok((user, network))
}

pub(super) fn event(row: &Row) -> Result<AuthEvent, StoreError> {
    let cells = Cells::new(row, "auth_events", "id");
    let (user, network) = whose(cells)?;
    Ok(AuthEvent {
        id: cells.some_number("id")?,
        kind: cells.some_parsed("kind")?,
        user,
        network,
        at: cells.some_time("created_at")?,
    })
}

fn lockout(row: &Row) -> Result<Lockout, StoreError> {
    let cells = Cells::new(row, "lockouts", "network");
    let user = user(cells)?;
    let (scope, network) = match cells.some_text("network")? {
        NONE => (LockoutScope::Code, None),
        ELSEWHERE => (LockoutScope::Elsewhere, None),
        _ => (LockoutScope::Login, Some(cells.some_parsed("network")?)),
    };
    Ok(Lockout {
        user,
        scope,
        network,
        failures: cells.some_number("failures")?,
        since: cells.some_time("since")?,
        until: cells.some_time("held_until")?,
    })
}
