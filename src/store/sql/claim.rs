//! Places among a user's sessions, over all servers and daemons: what is known of them, and whether there is one.
//!
//! A place is taken by a session, or by a claim: a login that was let in a moment ago and whose
//! session is not in the table yet. Of whose login nothing comes, gives its claim back.

use std::{collections::HashMap, time::Duration};

use super::{Cells, Connector, Row, SqlStore, Value, none_of_that_name};
use crate::{
    store::{Claim, MAX_SESSIONS, OnLimit, StoreError, UsedCode},
    types::{DeviceId, ServerName, SessionId, Timestamp, Username},
};

/// How long a claim counts whose session is not in the table yet: of a daemon that died in that moment.
const CLAIM: Duration = Duration::from_secs(60);
/// After so long a claim is removed, whosesoever: clocks of others may be slow by some of it.
const OLD: Duration = Duration::from_secs(600);

/// The most rows that [`places!`] brings: all places that one user may have, and as many again.
const ROWS: usize = 2_016;

/// Whose rows they are, what they take, and whether there are old claims to be removed; in one statement, so that it sees
/// one state: a session that comes in between two would be in neither. Parameters: the moment
/// before which a claim is old, the names three times, the moment from which one counts.
macro_rules! places {
    ($($own_name:tt)+) => {
        [
            (
                concat!(
                    "SELECT ",
                    $($own_name)+,
                    " AS user_name, CAST(u.id AS SIGNED) AS user_id, EXISTS (SELECT 1 FROM session_claims o \
                     WHERE o.user_name = ",
                    $($own_name)+,
                    " AND o.claimed_at < ?) AS has_old, NULL AS id, NULL AS server, NULL AS device, \
                     NULL AS is_claim, NULL AS since FROM users u WHERE u.name IN ("
                ),
                1,
            ),
            (
                ") UNION ALL \
                 SELECT user_name, NULL, NULL, id, server, device, 0, started_at FROM sessions \
                 WHERE user_name IN (",
                1,
            ),
            (
                ") AND ended_at IS NULL AND state <> 'closing' UNION ALL \
                 SELECT c.user_name, NULL, NULL, c.session_id, c.server, c.device, 1, c.claimed_at \
                 FROM session_claims c LEFT JOIN sessions s ON s.id = c.session_id \
                 WHERE c.user_name IN (",
                1,
            ),
            (") AND c.claimed_at > ? AND s.id IS NULL ORDER BY since, id LIMIT 2016", 0),
        ]
    };
}
pub(in crate::store) use places;

/// A claim, for longer than who makes it is there.
pub struct Wanted {
    pub session: SessionId,
    pub server: ServerName,
    pub user: Username,
    pub device: Option<String>,
    pub max: u32,
    pub on_limit: OnLimit,
    pub code: Option<UsedCode>,
    pub now: Timestamp,
}

impl Wanted {
    pub fn new(claim: &Claim<'_>, now: Timestamp) -> Self {
        Self {
            session: claim.session,
            server: claim.server.clone(),
            user: claim.user.clone(),
            device: claim.device.map(DeviceId::to_string),
            max: claim.max,
            on_limit: claim.on_limit,
            code: claim.code.cloned(),
            now,
        }
    }

    /// Claims that were made later count.
    pub fn since(&self) -> Timestamp {
        self.now.saturating_sub(CLAIM)
    }
}

/// A place that is taken already.
pub struct Held {
    /// Its session, and on which server; `None` where the row cannot be read: it counts, but nobody
    /// can be asked to leave.
    whose: Option<(SessionId, ServerName)>,
    device: Option<String>,
    /// Since when, of a claim: its session is not in the table.
    claimed: Option<Timestamp>,
}

/// One who has to leave, and whether what he has is a claim.
pub type Leaving = (SessionId, ServerName, bool);

/// What is known of some users.
#[derive(Default)]
pub struct Places {
    users: HashMap<Username, Of>,
    /// There are claims that count no more.
    pub has_old: bool,
    /// There may be more than this.
    pub is_cut: bool,
}

#[derive(Default)]
struct Of {
    id: Option<i64>,
    held: Vec<Held>,
}

impl Places {
    /// Names are those of the rows byte for byte: trailing spaces and the collations of an operator's own
    /// tables may have let others through, whom nobody asks for.
    pub fn new(rows: &[Row]) -> Result<Self, StoreError> {
        let mut places = Self { is_cut: rows.len() >= ROWS, ..Self::default() };
        for row in rows {
            let cells = Cells::new(row, "sessions", "id");
            // A name that cannot be read is nobody's who was asked for.
            let Ok(name) = cells.some_parsed::<Username>("user_name") else { continue };
            let of = places.users.entry(name).or_default();
            match cells.optional_flag("has_old")? {
                Some(has_old) => {
                    of.id.get_or_insert(cells.some_number("user_id")?);
                    places.has_old |= has_old;
                }
                None => of.held.push(held(cells)?),
            }
        }
        Ok(places)
    }

    /// The number of a user; `None` where there is none of that name.
    pub fn user(&self, user: &Username) -> Option<i64> {
        self.users.get(user)?.id
    }

    /// Whether the session has its place already.
    pub fn has_own(&self, wanted: &Wanted) -> bool {
        has_own(&self.held(wanted), wanted)
    }

    /// Who has to leave, oldest first, so that there is one place more; `None` when there is no room for it.
    pub fn make_room(&self, wanted: &Wanted) -> Option<Vec<Leaving>> {
        make_room(&self.held(wanted), wanted)
    }

    fn held(&self, wanted: &Wanted) -> Vec<&Held> {
        let since = wanted.since();
        let counts = |held: &&Held| held.claimed.is_none_or(|at| at > since);
        self.users.get(&wanted.user).map_or(&[][..], |of| &of.held).iter().filter(counts).collect()
    }
}

/// Claims from before that are removed.
pub fn old_before(wanted: &[&Wanted]) -> Timestamp {
    let now = wanted.iter().map(|one| one.now).min().unwrap_or_default();
    now.saturating_sub(OLD)
}

/// The names and moments of [`places!`], of at least one; the last is repeated to fill the statement.
pub fn place_args(wanted: &[&Wanted], room: usize) -> Vec<Value> {
    let since = wanted.iter().map(|one| one.since()).min().unwrap_or_default();
    let mut args = Vec::with_capacity(room * 3 + 2);
    args.push(old_before(wanted).into());
    (0..3).for_each(|_| args.extend(names(wanted, room)));
    args.push(since.into());
    args
}

/// Their names, the last repeated.
pub fn names(wanted: &[&Wanted], room: usize) -> impl Iterator<Item = Value> {
    (0..room)
        .filter_map(|place| wanted.get(place).or(wanted.last()))
        .map(|one| one.user.as_str().into())
}

impl<C: Connector> SqlStore<C> {
    pub async fn has_place(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let wanted = Wanted::new(claim, now);
        let (sql, room) = self.sql.places.fitting(1);
        let rows = self.read(sql, place_args(&[&wanted], room)).await;
        let places = Places::new(&none_of_that_name(rows, &wanted.user)?)?;
        Ok(places.make_room(&wanted).is_some())
    }
}

fn held(cells: Cells<'_>) -> Result<Held, StoreError> {
    Ok(Held {
        whose: cells.some_parsed("id").ok().zip(cells.some_parsed("server").ok()),
        device: cells.owned("device").unwrap_or_default(),
        claimed: match cells.flag("is_claim")? {
            // One whose time cannot be read counts.
            true => Some(cells.some_time("since").unwrap_or(Timestamp::MAX)),
            false => None,
        },
    })
}

fn has_own(held: &[&Held], wanted: &Wanted) -> bool {
    held.iter().any(|place| place.whose.as_ref().is_some_and(|(id, _)| *id == wanted.session))
}

fn make_room(held: &[&Held], wanted: &Wanted) -> Option<Vec<Leaving>> {
    if has_own(held, wanted) {
        return Some(Vec::new());
    }
    let max = wanted.max.min(MAX_SESSIONS) as usize;
    let excess = (held.len() + 1).saturating_sub(max);
    let may_leave = |place: &Held| {
        let is_same = wanted.device.is_some() && place.device == wanted.device;
        match wanted.on_limit {
            OnLimit::Deny => false,
            OnLimit::ReplaceOldest => true,
            OnLimit::ReplaceSameDevice => is_same,
        }
    };
    let leaving: Vec<_> = held
        .iter()
        .filter(|place| may_leave(place))
        .filter_map(|place| Some((place.whose.clone()?, place.claimed.is_some())))
        .map(|((session, server), is_claim)| (session, server, is_claim))
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
                claimed: place.starts_with('+').then_some(Timestamp::from_secs(1)),
            })
            .collect();
        let wanted = Wanted {
            session: numbered(99),
            server: "udp".parse().unwrap(),
            user: "alice".parse().unwrap(),
            device: Some(MAC.into()),
            max,
            on_limit,
            code: None,
            now: Timestamp::from_secs(1),
        };
        let leaving = make_room(&held.iter().collect::<Vec<_>>(), &wanted)?;
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
