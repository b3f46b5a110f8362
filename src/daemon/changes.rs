//! What people have changed since the last look, so that live sessions are judged again at once: a core.
//!
//! Every command and the console write `admin_audit` with their change. Numbers of rows grow, but a
//! row of a longer transaction may come to light after one of a higher number, so that the look goes
//! back a little.

use std::collections::BTreeSet;

use crate::{store::Change, types::Username};

/// How far back a look goes, in numbers of rows.
const BACK: i64 = 100;

/// Whose sessions are to be judged again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affected {
    /// These users'.
    pub(super) users: BTreeSet<Username>,
    /// Everybody's.
    pub(super) everybody: bool,
}

/// The rows that have been seen.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The highest number; `None` before the first look.
    last: Option<i64>,
    /// Numbers of `BACK` before it that have been seen.
    seen: BTreeSet<i64>,
}

impl Changes {
    /// After which row to look; `None`: only the last one is wanted, to begin with.
    pub(super) fn after(&self) -> Option<i64> {
        self.last.map(|last| last.saturating_sub(BACK))
    }

    /// Whom the rows concern that were not seen before.
    pub(super) fn take_in(&mut self, rows: &[Change]) -> Affected {
        let mut affected = Affected::default();
        let Some(last) = self.last else {
            // What was changed before is looked at with all sessions.
            self.last = Some(rows.last().map_or(0, |row| row.id));
            self.seen = rows.iter().map(|row| row.id).collect();
            // Those that come to light below it are new.
            return affected;
        };
        for row in rows {
            if row.id > last.saturating_sub(BACK) && self.seen.insert(row.id) {
                affected.add(row);
            }
        }
        let last = rows.last().map_or(last, |row| row.id.max(last));
        self.last = Some(last);
        self.seen = self.seen.split_off(&(last.saturating_sub(BACK) + 1));
        affected
    }
}

impl Affected {
    fn add(&mut self, change: &Change) {
        let (kind, _) = change.action.split_once('.').unwrap_or((&change.action, ""));
        match kind {
            // A name may hold `/` like the target of a device: whoever it is, both are looked at.
            "user" | "device" => {
                let names = [change.target.as_str()]
                    .into_iter()
                    .chain(change.target.match_indices('/').map(|(at, _)| &change.target[..at]));
                self.users.extend(names.filter_map(|name| name.parse().ok()));
            }
            "policy" => self.everybody = true,
            // Requests are handled by themselves; imported users have no sessions.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: i64, action: &str, target: &str) -> Change {
        Change { id, action: action.into(), target: target.into() }
    }

    fn users(names: &[&str]) -> Affected {
        let users = names.iter().map(|name| name.parse().unwrap()).collect();
        Affected { users, everybody: false }
    }

    #[test]
    fn each_change_is_told_once_also_one_that_comes_to_light_late() {
        let mut changes = Changes::default();
        assert_eq!(changes.after(), None);
        assert_eq!(changes.take_in(&[change(500, "user.set", "old")]), users(&[]));
        assert_eq!(changes.after(), Some(400));
        let first = [change(500, "user.set", "old"), change(502, "user.set", "alice")];
        assert_eq!(changes.take_in(&first), users(&["alice"]));
        let again = [first[0].clone(), change(501, "device.set", "bob/aa:bb"), first[1].clone()];
        assert_eq!(changes.take_in(&again), users(&["bob", "bob/aa:bb"]));
        assert_eq!(changes.take_in(&again), users(&[]));
        assert_eq!(changes.take_in(&[]), users(&[]));
        assert_eq!(changes.after(), Some(402));
    }

    #[test]
    fn a_policy_concerns_everybody_and_a_request_nobody() {
        let mut changes = Changes::default();
        changes.take_in(&[]);
        assert_eq!(changes.after(), Some(-BACK));
        let rows = [change(1, "session.kill", "0198"), change(2, "import", "people.csv")];
        assert_eq!(changes.take_in(&rows), users(&[]));
        let all = changes.take_in(&[change(3, "policy.set", "staff")]);
        assert!(all.everybody && all.users.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut changes = Changes::default();
        changes.take_in(&[]);
        for id in 1..10_000 {
            assert_eq!(changes.take_in(&[change(id, "user.set", "alice")]), users(&["alice"]));
        }
        assert!(changes.seen.len() <= BACK as usize + 1, "{}", changes.seen.len());
    }
}
