//! What running sessions are judged by.

use std::collections::{BTreeMap, HashMap};

use super::{Cells, Connector, Row, SqlStore, record};
use crate::{
    store::{Account, DeviceStatus, PolicyRecord, Standing, StoreError},
    types::{ServerName, SessionId, Username},
};

/// Most users of one call.
const MOST_USERS: usize = 1_000;

impl<C: Connector> SqlStore<C> {
    pub async fn standings(&self, servers: &[ServerName]) -> Result<Vec<Standing>, StoreError> {
        let mut found = Vec::new();
        for (sql, run) in self.sql.standings.split(servers) {
            let args = run.iter().map(|server| server.as_str().into()).collect();
            found.append(&mut merged(&self.read(sql, args).await?, &KnownPolicies::WithEach));
        }
        Ok(found)
    }

    pub async fn many_standings(
        &self,
        servers: &[ServerName],
    ) -> Result<Vec<Standing>, StoreError> {
        let mut rows = Vec::new();
        for (sql, run) in self.sql.many_standings.split(servers) {
            let args = run.iter().map(|server| server.as_str().into()).collect();
            rows.push(self.read(sql, args).await?);
        }
        let policies = KnownPolicies::of(&self.read(self.sql.all_policies, Vec::new()).await?);
        Ok(rows.iter().flat_map(|rows| merged(rows, &policies)).collect())
    }

    pub async fn standings_of(&self, users: &[Username]) -> Result<Vec<Standing>, StoreError> {
        let mut found = Vec::new();
        for (sql, run) in self.sql.standings_of.split(&users[..users.len().min(MOST_USERS)]) {
            let args = run.iter().map(|user| user.as_str().into()).collect();
            found.append(&mut merged(&self.read(sql, args).await?, &KnownPolicies::WithEach));
        }
        Ok(found)
    }
}

/// Where the policies of sessions are found.
enum KnownPolicies {
    /// In their own rows.
    WithEach,
    /// Here, by name, those that can be read.
    Apart(HashMap<String, PolicyRecord>),
}

impl KnownPolicies {
    fn of(rows: &[Row]) -> Self {
        let mut found = HashMap::new();
        for row in rows {
            if let Ok(policy) = record::policy(cells_of_policy(row)) {
                found.entry(policy.name.clone()).or_insert(policy);
            }
        }
        Self::Apart(found)
    }

    fn find(&self, row: &Row) -> Result<PolicyRecord, StoreError> {
        let cells = cells_of_policy(row);
        match self {
            Self::WithEach => record::policy(cells),
            Self::Apart(policies) => {
                let found = policies.get(cells.some_text("name")?).cloned();
                found.ok_or_else(|| cells.corrupt("name", "is of no policy that can be read"))
            }
        }
    }
}

const fn cells_of_policy(row: &Row) -> Cells<'_> {
    Cells::prefixed(row, "policies", "policy_", "name")
}

fn merged(rows: &[Row], policies: &KnownPolicies) -> Vec<Standing> {
    let mut found: BTreeMap<SessionId, Merged> = BTreeMap::new();
    for row in rows {
        let Ok(id) = Cells::new(row, "sessions", "id").some_parsed("id") else {
            continue;
        };
        let read = standing(row, id, policies);
        found.entry(id).or_default().add(read);
    }
    found.into_values().filter_map(Merged::sole).collect()
}

/// The rows of one session: an operator's own tables may give several.
#[derive(Default)]
struct Merged {
    standing: Option<(Option<i64>, Standing)>,
    is_unclear: bool,
}

impl Merged {
    fn add(&mut self, read: Result<(Option<i64>, Standing), StoreError>) {
        let Ok((user, read)) = read else {
            self.is_unclear = true;
            return;
        };
        match &mut self.standing {
            None => self.standing = Some((user, read)),
            // Somebody else whose name the database takes for the same.
            Some(_) if user.is_none() => {}
            Some(known) if known.0.is_none() => *known = (user, read),
            Some((known, _)) if *known != user => self.is_unclear = true,
            Some((_, standing)) => match (standing.device, read.device) {
                (_, None | Some(None)) => {}
                (None | Some(None), Some(Some(_))) => standing.device = read.device,
                (Some(Some(_)), Some(Some(_))) => self.is_unclear = true,
            },
        }
    }

    fn sole(self) -> Option<Standing> {
        self.standing.filter(|_| !self.is_unclear).map(|(_, standing)| standing)
    }
}

fn standing(
    row: &Row,
    session: SessionId,
    policies: &KnownPolicies,
) -> Result<(Option<i64>, Standing), StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    let users = Cells::prefixed(row, "users", "user_", "id");
    let is_the_user = users.text("own_name")? == Some(cells.some_text("user_name")?);
    let id: Option<i64> = if is_the_user { Some(users.some_number("id")?) } else { None };
    let account = match id {
        None => None,
        Some(_) => Some(Account {
            enabled: users.flag("enabled")?,
            valid_from: users.time("valid_from")?,
            valid_until: users.time("valid_until")?,
            policy: policies.find(row)?,
        }),
    };
    let device = match cells.text("device")? {
        None => None,
        Some(own) => {
            let devices = Cells::prefixed(row, "devices", "device_", "identifier");
            let is_it = devices.text("identifier")? == Some(own) && id.is_some();
            Some(if is_it { Some(devices.some_parsed::<DeviceStatus>("status")?) } else { None })
        }
    };
    let certificate = match (cells.text("certificate")?, id) {
        (None, _) | (_, None) => None,
        (Some(_), Some(_)) => Some(cells.parsed("certificate_status")?),
    };
    let ends = record::device_ends(cells)?;
    let started_at = cells.some_time("started_at")?;
    // One that cannot be read ends nothing, and is none.
    let deadline = cells.time("deadline").unwrap_or_default();
    let user = cells.some_parsed("user_name")?;
    let server = cells.some_parsed("server")?;
    let standing = Standing {
        session,
        server,
        user,
        started_at,
        deadline,
        account,
        device,
        certificate,
        ends,
    };
    Ok((id, standing))
}
