//! Places among a user's sessions, over all servers and daemons.

use std::time::Duration;

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, audit_row, transaction};
use crate::{
    store::{Actor, Claim, OnLimit, StoreError},
    types::{DeviceId, Timestamp},
};

/// How long a claim counts whose session is not in the table yet.
const CLAIM: Duration = Duration::from_secs(60);
/// Who asks sessions to make room, for the audit.
const ACTOR: &str = "daemon:max_sessions";

/// A session that is there already.
struct Held {
    id: String,
    server: String,
    device: Option<String>,
}

impl<C: Connector> SqlStore<C> {
    pub async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let user = claim.user.as_str();
        let device = claim.device.map(DeviceId::to_string);
        let since = now.saturating_sub(CLAIM);
        let by = Actor { name: ACTOR.into(), at: now };
        transaction!(self, Attempt::new(false, false), |tx| {
            // Others that claim for this user wait here.
            self.lock_user(tx, claim.user).await?;
            tx.execute(self.sql.forget_claims, &[user.into(), since.into()]).await?;
            let rows = tx.fetch(self.sql.sessions_of_user, &[user.into(), user.into()]).await?;
            let held = rows.iter().map(held).collect::<Result<Vec<_>, _>>()?;
            let rows = tx.fetch(self.sql.claims_of_user, &[user.into(), since.into()]).await?;
            let claims: u64 = match rows.first() {
                Some(row) => {
                    Cells::new(row, "session_claims", "user_name").some_number("claims")?
                }
                None => 0,
            };
            let Some(leaving) = make_room(&held, claims, claim, device.as_deref()) else {
                return Ok(false);
            };
            for session in leaving {
                let args = [
                    session.id.as_str().into(),
                    session.server.as_str().into(),
                    "replace".into(),
                    Value::Null,
                    Value::Null,
                    ACTOR.into(),
                    now.into(),
                ];
                tx.execute(self.sql.add_command, &args).await?;
                let audit = audit_row(&by, "session.replace", &session.id, None);
                tx.execute(self.sql.audit, &audit).await?;
            }
            let args = [
                claim.session.to_string().into(),
                user.into(),
                device.as_deref().into(),
                now.into(),
            ];
            tx.execute(self.sql.add_claim, &args).await?;
            Ok(true)
        })
        .map_err(StoreError::from)
    }
}

fn held(row: &Row) -> Result<Held, StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    Ok(Held {
        id: cells.some_text("id")?.to_owned(),
        server: cells.some_text("server")?.to_owned(),
        device: cells.owned("device")?,
    })
}

/// Which sessions, oldest first, have to leave for one more; `None` when there is no room for it.
fn make_room<'a>(
    held: &'a [Held],
    claims: u64,
    claim: &Claim<'_>,
    device: Option<&str>,
) -> Option<Vec<&'a Held>> {
    let max = u64::from(claim.max);
    let excess = (held.len() as u64 + claims + 1).saturating_sub(max);
    let excess = usize::try_from(excess).unwrap_or(usize::MAX);
    let leaving: Vec<&Held> = match claim.on_limit {
        OnLimit::Deny => Vec::new(),
        OnLimit::ReplaceOldest => held.iter().take(excess).collect(),
        OnLimit::ReplaceSameDevice => held
            .iter()
            .filter(|session| device.is_some() && session.device.as_deref() == device)
            .take(excess)
            .collect(),
    };
    (leaving.len() >= excess).then_some(leaving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SessionId;

    const MAC: &str = "02:1a:2b:3c:4d:5e";

    fn leaving(on_limit: OnLimit, max: u32, devices: &[&str], claims: u64) -> Option<Vec<String>> {
        let held: Vec<Held> = devices
            .iter()
            .enumerate()
            .map(|(number, device)| Held {
                id: number.to_string(),
                server: "udp".into(),
                device: (!device.is_empty()).then(|| (*device).to_owned()),
            })
            .collect();
        let (user, id) = ("alice".parse().unwrap(), DeviceId::parse(MAC).unwrap());
        let session = SessionId::new(Timestamp::from_secs(1), [1; 10]);
        let claim = Claim { session, user: &user, device: Some(&id), max, on_limit };
        make_room(&held, claims, &claim, Some(MAC))
            .map(|leaving| leaving.iter().map(|held| held.id.clone()).collect())
    }

    #[test]
    fn there_is_room_or_it_is_made_or_there_is_none() {
        use OnLimit::{Deny, ReplaceOldest, ReplaceSameDevice};
        let none = Some(Vec::new());
        for on_limit in [Deny, ReplaceOldest, ReplaceSameDevice] {
            assert_eq!(leaving(on_limit, 2, &["x"], 0), none, "{on_limit}");
            assert_eq!(
                leaving(on_limit, 1, &[], 1),
                None,
                "a claim cannot be replaced: {on_limit}"
            );
        }
        assert_eq!(leaving(Deny, 1, &["x"], 0), None);
        assert_eq!(leaving(ReplaceOldest, 2, &["x", "y"], 0), Some(vec!["0".into()]));
        assert_eq!(leaving(ReplaceOldest, 1, &["x", "y"], 0), Some(vec!["0".into(), "1".into()]));
        assert_eq!(leaving(ReplaceSameDevice, 2, &["x", MAC], 0), Some(vec!["1".into()]));
        assert_eq!(leaving(ReplaceSameDevice, 2, &["x", "y"], 0), None);
        assert_eq!(leaving(ReplaceSameDevice, 1, &["x", MAC], 0), None, "one more would stay");
        assert_eq!(leaving(ReplaceSameDevice, 1, &["", MAC, MAC], 1), None);
    }
}
