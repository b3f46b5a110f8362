//! What the database holds at the end, read by statements of its own: nothing of the program under
//! test tells the auditor what is there.

use std::collections::HashMap;

use anyhow::{Context, bail};
use ovpn_warden::types::{SessionId, Timestamp};
use sqlx::{Connection, MySqlConnection, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::record::Millis;

/// Everything as text: both kinds of database then tell the same.
const SESSIONS: &str = "SELECT id, server, CAST(run_started AS CHAR), CAST(cid AS CHAR), \
     CAST(user_name AS CHAR), state, CAST(started_at AS CHAR), CAST(ended_at AS CHAR), \
     CAST(deadline AS CHAR), cause, CAST(bytes_received AS CHAR), CAST(bytes_sent AS CHAR) \
     FROM sessions ORDER BY started_at, id";
const USAGE: &str = "SELECT CAST(user_name AS CHAR), CAST(SUM(duration_ms) AS CHAR), \
     CAST(SUM(bytes_received) AS CHAR), CAST(SUM(bytes_sent) AS CHAR) FROM usage_periods GROUP BY user_name";

/// A row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: SessionId,
    pub server: u32,
    pub run: i64,
    pub cid: u32,
    pub user: String,
    pub state: String,
    pub started: Millis,
    pub ended: Option<Millis>,
    pub deadline: Option<Millis>,
    pub cause: String,
    pub bytes: (u64, u64),
}

/// Time and octets both ways.
pub type Used = (i64, u64, u64);

type Texts = Vec<Option<String>>;

pub async fn read(url: &str) -> anyhow::Result<(Vec<Row>, HashMap<String, Used>)> {
    let (sessions, usage) = match url.strip_prefix("sqlite://") {
        Some(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            let mut found = Vec::new();
            for (sql, columns) in [(SESSIONS, 12), (USAGE, 4)] {
                let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
                let texts = rows.iter().map(|row| (0..columns).map(|at| row.try_get(at)).collect());
                found.push(texts.collect::<Result<Vec<Texts>, _>>()?);
            }
            (found.remove(0), found.remove(0))
        }
        None => {
            let mut connection = MySqlConnection::connect(url).await?;
            let mut found = Vec::new();
            for (sql, columns) in [(SESSIONS, 12), (USAGE, 4)] {
                let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
                let texts = rows.iter().map(|row| (0..columns).map(|at| row.try_get(at)).collect());
                found.push(texts.collect::<Result<Vec<Texts>, _>>()?);
            }
            (found.remove(0), found.remove(0))
        }
    };
    let sessions = sessions.iter().map(|texts| session(texts)).collect::<anyhow::Result<_>>()?;
    let usage = usage.iter().map(|texts| used(texts)).collect::<anyhow::Result<_>>()?;
    Ok((sessions, usage))
}

fn session(texts: &[Option<String>]) -> anyhow::Result<Row> {
    let text = |at: usize| texts[at].as_deref().with_context(|| format!("no column {at}"));
    let server = text(1)?.strip_prefix('s').context("a server of another fleet")?.parse()?;
    Ok(Row {
        id: text(0)?.parse()?,
        server,
        run: time(text(2)?)?.as_secs(),
        cid: text(3)?.parse()?,
        user: text(4)?.to_owned(),
        state: text(5)?.to_owned(),
        started: time(text(6)?)?.as_millis(),
        ended: texts[7].as_deref().map(time).transpose()?.map(Timestamp::as_millis),
        deadline: texts[8].as_deref().map(time).transpose()?.map(Timestamp::as_millis),
        cause: texts[9].clone().unwrap_or_default(),
        bytes: (text(10)?.parse()?, text(11)?.parse()?),
    })
}

fn used(texts: &[Option<String>]) -> anyhow::Result<(String, Used)> {
    let number = |at: usize| texts[at].as_deref().unwrap_or("0").parse::<u64>();
    let time = number(1)?.try_into()?;
    Ok((texts[0].clone().context("no user")?, (time, number(2)?, number(3)?)))
}

/// `2026-12-31 18:00:00.000`, of MySQL and of SQLite.
fn time(text: &str) -> anyhow::Result<Timestamp> {
    match format!("{}Z", text.replace(' ', "T")).parse() {
        Ok(time) => Ok(time),
        Err(_) => bail!("`{text}` is no time"),
    }
}
