//! Places among a user's sessions, over all servers and daemons.
//!
//! A place is taken by a session, or by a claim: a login that was let in a moment ago and whose
//! session is not in the table yet. Of whose login nothing comes, gives its claim back.

use std::time::Duration;

use super::{Attempt, Cells, Connector, Row, SqlStore, Value, audit_row, transaction};
use crate::{
    store::{Actor, Claim, MAX_SESSIONS, OnLimit, Place, StoreError},
    types::{DeviceId, ServerName, SessionId, Timestamp},
};

/// How long a claim counts whose session is not in the table yet: of a daemon that died in that moment.
const CLAIM: Duration = Duration::from_secs(60);
/// Who asks sessions to make room, for the audit.
const ACTOR: &str = "daemon:max_sessions";

/// A place that is taken already.
struct Held {
    /// Its session, and on which server; `None` where the row cannot be read: it counts, but nobody
    /// can be asked to leave.
    whose: Option<(SessionId, ServerName)>,
    device: Option<String>,
    /// Its session is not in the table.
    is_claim: bool,
}

impl<C: Connector> SqlStore<C> {
    pub async fn has_place(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let user = claim.user.as_str();
        let since = now.saturating_sub(CLAIM);
        let args = vec![user.into(), user.into(), user.into(), since.into()];
        let rows = self.read(self.sql.places_of_user, args).await?;
        let held: Vec<Held> = rows.iter().map(held).collect();
        let device = claim.device.map(DeviceId::to_string);
        Ok(make_room(&held, claim, device.as_deref()).is_some())
    }

    pub async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<Place, StoreError> {
        let user = claim.user.as_str();
        let device = claim.device.map(DeviceId::to_string);
        let since = now.saturating_sub(CLAIM);
        let by = Actor { name: ACTOR.into(), at: now };
        transaction!(self, Attempt::new(false, false), |tx| {
            // Others that claim for this user wait here.
            let id = self.lock_user(tx, claim.user).await?;
            tx.execute(self.sql.mark_user, &[id.into()]).await?;
            tx.execute(self.sql.forget_claims, &[user.into(), since.into()]).await?;
            let args = [user.into(), user.into(), user.into(), since.into()];
            let rows = tx.fetch(self.sql.places_of_user, &args).await?;
            let held: Vec<Held> = rows.iter().map(held).collect();
            let Some(leaving) = make_room(&held, claim, device.as_deref()) else {
                return Ok(Place::Full);
            };
            // Before anybody is asked to leave for it.
            if let Some(code) = claim.code
                && !self.use_code(tx, id, code).await?
            {
                return Ok(Place::CodeUsed);
            }
            if has_own(&held, claim) {
                return Ok(Place::Own);
            }
            for (session, server, is_claim) in leaving {
                let session = session.to_string();
                if is_claim {
                    tx.execute(self.sql.forget_claim, &[session.as_str().into()]).await?;
                }
                // Also for a claim: its session may come up yet.
                let args = [
                    session.as_str().into(),
                    server.as_str().into(),
                    "replace".into(),
                    Value::Null,
                    Value::Null,
                    ACTOR.into(),
                    now.into(),
                ];
                tx.execute(self.sql.add_command, &args).await?;
                let audit = audit_row(&by, "session.replace", &session, None);
                tx.execute(self.sql.audit, &audit).await?;
            }
            let args = [
                claim.session.to_string().into(),
                user.into(),
                claim.server.as_str().into(),
                device.as_deref().into(),
                now.into(),
            ];
            tx.execute(self.sql.add_claim, &args).await?;
            Ok(Place::Taken)
        })
        .map_err(StoreError::from)
    }
}

impl<C: Connector> SqlStore<C> {
    pub async fn forget_claim(&self, session: SessionId) -> Result<(), StoreError> {
        let session = session.to_string();
        transaction!(self, Attempt::new(true, true), |tx| {
            tx.execute(self.sql.forget_claim, &[session.as_str().into()]).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}

fn held(row: &Row) -> Held {
    let cells = Cells::new(row, "sessions", "id");
    Held {
        whose: cells.some_parsed("id").ok().zip(cells.some_parsed("server").ok()),
        device: cells.owned("device").unwrap_or_default(),
        is_claim: cells.some_number::<u8>("is_claim").is_ok_and(|n| n == 1),
    }
}

/// Whether the session has its place already.
fn has_own(held: &[Held], claim: &Claim<'_>) -> bool {
    held.iter().any(|place| place.whose.as_ref().is_some_and(|(id, _)| *id == claim.session))
}

/// Which places, oldest first, have to be given up for one more, and whether each is a claim; `None`
/// when there is no room for it.
fn make_room<'a>(
    held: &'a [Held],
    claim: &Claim<'_>,
    device: Option<&str>,
) -> Option<Vec<(SessionId, &'a ServerName, bool)>> {
    if has_own(held, claim) {
        return Some(Vec::new());
    }
    let max = claim.max.min(MAX_SESSIONS) as usize;
    let excess = (held.len() + 1).saturating_sub(max);
    let may_leave = |place: &Held| {
        let is_same = device.is_some() && place.device.as_deref() == device;
        match claim.on_limit {
            OnLimit::Deny => false,
            OnLimit::ReplaceOldest => true,
            OnLimit::ReplaceSameDevice => is_same,
        }
    };
    let leaving: Vec<_> = held
        .iter()
        .filter(|place| may_leave(place))
        .filter_map(|place| Some((place.whose.as_ref()?, place.is_claim)))
        .map(|((session, server), is_claim)| (*session, server, is_claim))
        .take(excess)
        .collect();
    (leaving.len() >= excess).then_some(leaving)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "02:1a:2b:3c:4d:5e";

    /// `places`: the device of each; `+` before it makes it a claim. The numbers of those who leave.
    fn leaving(on_limit: OnLimit, max: u32, places: &[&str]) -> Option<Vec<u8>> {
        let numbered = |number: u8| SessionId::new(Timestamp::from_secs(1), [number; 10]);
        let held: Vec<Held> = (0..)
            .zip(places)
            .map(|(number, place)| Held {
                whose: Some((numbered(number), "udp".parse().unwrap())),
                device: Some(place.trim_start_matches('+'))
                    .filter(|d| !d.is_empty())
                    .map(str::to_owned),
                is_claim: place.starts_with('+'),
            })
            .collect();
        let (user, id) = ("alice".parse().unwrap(), DeviceId::parse(MAC).unwrap());
        let server = "udp".parse().unwrap();
        let session = numbered(99);
        let claim = Claim {
            session,
            server: &server,
            user: &user,
            device: Some(&id),
            max,
            on_limit,
            code: None,
        };
        let leaving = make_room(&held, &claim, Some(MAC))?;
        let number = |session| (0..9).find(|number| session == numbered(*number));
        Some(leaving.into_iter().filter_map(|(session, _, _)| number(session)).collect())
    }

    #[test]
    fn there_is_room_or_it_is_made_or_there_is_none() {
        use OnLimit::{Deny, ReplaceOldest, ReplaceSameDevice};
        const CLAIM: &str = "+02:1a:2b:3c:4d:5e";
        for on_limit in [Deny, ReplaceOldest, ReplaceSameDevice] {
            assert_eq!(leaving(on_limit, 2, &["x"]), Some(vec![]), "{on_limit}");
        }
        assert_eq!(leaving(ReplaceOldest, 1, &[CLAIM]), Some(vec![0]));
        assert_eq!(leaving(ReplaceSameDevice, 1, &[CLAIM]), Some(vec![0]));
        assert_eq!(leaving(Deny, 1, &[CLAIM]), None, "its session is on the way to the table");
        assert_eq!(leaving(Deny, 1, &["x"]), None);
        assert_eq!(leaving(Deny, 1, &[MAC]), None);
        assert_eq!(leaving(Deny, 1, &["+x"]), None);
        assert_eq!(leaving(ReplaceOldest, 2, &["x", "y"]), Some(vec![0]));
        assert_eq!(leaving(ReplaceOldest, 1, &["x", "+y"]), Some(vec![0, 1]));
        assert_eq!(leaving(ReplaceSameDevice, 2, &["x", MAC]), Some(vec![1]));
        assert_eq!(leaving(ReplaceSameDevice, 2, &["x", "y"]), None);
        assert_eq!(leaving(ReplaceSameDevice, 1, &["x", MAC]), None, "one more would stay");
        assert_eq!(leaving(ReplaceSameDevice, 1, &["", MAC, MAC]), None);
        assert_eq!(leaving(ReplaceSameDevice, 1, &["+x"]), None);
    }
}
