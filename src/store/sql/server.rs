//! Servers as daemons have seen them, and what is open on them.

use std::collections::HashMap;

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, record, transaction};
use crate::{
    store::{OpenSessions, ServerRecord, StoreError},
    types::{ServerName, Timestamp, Username, Zone},
};

impl<C: Connector> SqlStore<C> {
    pub async fn mark_servers(&self, servers: &[ServerRecord]) -> Result<(), StoreError> {
        let runs = self.sql.mark_servers.split(servers);
        transaction!(self, Attempt::new(true, runs.len() <= 1), |tx| {
            for (sql, run) in &runs {
                let mut args = Vec::with_capacity(run.len() * 6);
                for server in *run {
                    args.extend([
                        server.name.as_str().into(),
                        Value::cut(&server.address, 255),
                        Value::cut(&server.openvpn_version, 64),
                        server.run_started.into(),
                        server.seen_at.into(),
                        server.sessions.into(),
                    ]);
                }
                tx.execute(sql, &args).await?;
            }
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn open_sessions(&self, server: &ServerName) -> Result<OpenSessions, StoreError> {
        let args = || vec![Value::from(server.as_str())];
        // First: what is open afterwards was up then.
        let seen = self.read(self.sql.server, args()).await?;
        let mut open = OpenSessions {
            server: seen.first().map(server_record).transpose()?,
            ..OpenSessions::default()
        };
        for row in self.read(self.sql.open_sessions, args()).await?.iter().map(record::session) {
            match row {
                Ok(session) => open.sessions.push(session),
                Err(error) => open.unreadable.push(error),
            }
        }
        if !open.sessions.is_empty() {
            open.zones = zones(&self.read(self.sql.zones, args()).await?);
        }
        Ok(open)
    }

    /// When a session of that run was last seen by way of its server.
    pub(super) fn seen_in_run(
        rows: &[Row],
        run: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let server = rows.first().map(server_record).transpose()?;
        Ok(server.filter(|server| server.run_started == run).map(|server| server.seen_at))
    }
}

fn server_record(row: &Row) -> Result<ServerRecord, StoreError> {
    let cells = Cells::new(row, "servers", "name");
    Ok(ServerRecord {
        name: cells.some_parsed("name")?,
        address: cells.some_text("address")?.to_owned(),
        openvpn_version: cells.some_text("openvpn_version")?.to_owned(),
        run_started: cells.some_time("run_started")?,
        seen_at: cells.some_time("seen_at")?,
        sessions: cells.some_number("sessions")?,
    })
}

/// A zone that cannot be read is as none: the review names the policy.
fn zones(rows: &[Row]) -> HashMap<Username, Zone> {
    let zone = |row| {
        let cells = Cells::new(row, "policies", "user_name");
        let user: Username = cells.some_parsed("user_name").ok()?;
        // MySQL takes `alice ` for `alice`.
        (cells.text("name").ok()? == Some(user.as_str())).then_some(())?;
        Some((user, cells.some_parsed("time_zone").ok()?))
    };
    rows.iter().filter_map(zone).collect()
}
