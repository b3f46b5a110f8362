//! Recent good logins, for the time in which the database is away. A core.
//!
//! What is kept of a login is what the database said of its user, so that the same rules judge the
//! next one; the password only as the stored hash. Bounded, and in memory only.

use std::{collections::HashMap, time::Duration};

use crate::{
    store::Facts,
    types::{DeviceId, Fingerprint, Mono, Now, Timestamp, Username},
};

/// Logins that are kept.
const MOST: usize = 4_096;

/// Who logged in, and on which device.
pub type Who = (Username, Option<DeviceId>);

/// The certificate of a login; it matters only where it has to be registered.
pub type Certificate = Option<Box<Fingerprint>>;

/// Good logins of the last while.
#[derive(Debug)]
pub struct Grace {
    keep: Duration,
    most: usize,
    known: HashMap<Who, Known>,
}

#[derive(Debug)]
struct Known {
    facts: Facts,
    /// Whose standing the facts tell.
    certificate: Certificate,
    /// When the password was right.
    login: Mono,
    /// When the database was last asked whether all is as it was.
    checked: Mono,
    /// When the session has to end that was then begun.
    deadline: Option<Timestamp>,
}

impl Grace {
    /// Keeps each login for so long.
    pub fn new(keep: Duration) -> Self {
        Self { keep, most: MOST, known: HashMap::new() }
    }

    /// A password was right, and all rules let its user in. Of too many the oldest goes.
    pub fn remember(
        &mut self,
        (who, certificate): (Who, Certificate),
        facts: Facts,
        deadline: Option<Timestamp>,
        now: Mono,
    ) {
        let known = Known { facts, certificate, login: now, checked: now, deadline };
        self.known.insert(who, known);
        if self.known.len() > self.most {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.login);
            if let Some(who) = oldest.map(|(who, _)| who.clone()) {
                self.known.remove(&who);
            }
        }
    }

    /// What the database last said of somebody who has logged in within the time. That session's
    /// deadline is the last word about a cool-down.
    pub fn recall(&self, who: &Who, certificate: &Certificate, now: Now) -> Option<Facts> {
        let known = self.known.get(who).filter(|known| now.mono - known.login < self.keep)?;
        let expired = known.deadline.filter(|at| *at <= now.utc);
        let expired_at = known.facts.expired_at.max(expired);
        let same = *certificate == known.certificate;
        let certificate = known.facts.certificate.filter(|_| same);
        Some(Facts { expired_at, certificate, ..known.facts.clone() })
    }

    /// Somebody was let in by it; this does not lengthen the time.
    pub fn admitted(&mut self, who: &Who, deadline: Option<Timestamp>) {
        if let Some(known) = self.known.get_mut(who) {
            known.deadline = deadline;
        }
    }

    /// Somebody is not to come in this way any more.
    pub fn forget(&mut self, who: &Who) {
        self.known.remove(who);
    }

    /// Those about whom the database has not been asked for the longest time, at most `count`.
    /// Logins that are too old are gone after it.
    pub fn due(&mut self, count: usize, now: Mono) -> Vec<(Who, Certificate)> {
        self.known.retain(|_, known| now - known.login < self.keep);
        let mut due: Vec<_> = self.known.iter().map(|(who, known)| (known.checked, who)).collect();
        due.sort_unstable();
        let of = |who: &Who| self.known.get(who).and_then(|known| known.certificate.clone());
        due.into_iter().take(count).map(|(_, who)| (who.clone(), of(who))).collect()
    }

    /// What the database says of somebody now. A new password has to be shown once.
    pub fn update(&mut self, who: &Who, facts: Option<Facts>, now: Mono) {
        let Some(known) = self.known.get_mut(who) else { return };
        match facts {
            Some(facts)
                if facts.user.password_changed_at == known.facts.user.password_changed_at
                    && facts.user.id == known.facts.user.id =>
            {
                known.facts = facts;
                known.checked = now;
            }
            Some(_) | None => self.forget(who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ClientConfig, DeviceStatus, PolicyRecord, UserRecord};

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn at(seconds: u64) -> Now {
        let since = Duration::from_secs(seconds);
        Now { mono: Mono(since), utc: START.saturating_add(since) }
    }

    fn who(number: u32) -> Who {
        (format!("u{number}").parse().unwrap(), DeviceId::parse("02:1a:2b:3c:4d:5e").ok())
    }

    fn facts(number: u32) -> Facts {
        Facts {
            user: UserRecord {
                id: number.into(),
                name: who(number).0,
                password_hash: Some("$argon2id$x".into()),
                policy: "default".into(),
                enabled: true,
                valid_from: None,
                valid_until: None,
                password_changed_at: Some(START),
                created_at: START,
                updated_at: START,
            },
            policy: PolicyRecord { name: "default".into(), ..PolicyRecord::default() },
            device: Some(DeviceStatus::Approved),
            certificate: Some(DeviceStatus::Approved),
            ends: Default::default(),
            devices: 1,
            enrolment_until: None,
            expired_at: None,
            config: ClientConfig::default(),
            second_factor: None,
        }
    }

    fn grace() -> Grace {
        let mut grace = Grace::new(Duration::from_secs(3_600));
        grace.remember((who(1), None), facts(1), None, at(0).mono);
        grace
    }

    #[test]
    fn only_that_user_on_that_device_within_the_time_is_known() {
        let grace = grace();
        assert_eq!(grace.recall(&who(1), &None, at(3_599)), Some(facts(1)));
        assert_eq!(grace.recall(&who(1), &None, at(3_600)), None);
        assert_eq!(grace.recall(&who(2), &None, at(1)), None);
        assert_eq!(grace.recall(&(who(1).0, None), &None, at(1)), None);
        let other = DeviceId::parse("02:1a:2b:3c:4d:5f").ok();
        assert_eq!(grace.recall(&(who(1).0, other), &None, at(1)), None);
        let certificate = Fingerprint::from_hex(&"0a".repeat(32)).ok().map(Box::new);
        let facts = grace.recall(&who(1), &certificate, at(1)).unwrap();
        assert_eq!(facts.certificate, None, "nothing is known of it");
    }

    #[test]
    fn a_session_whose_time_was_over_counts_for_the_cool_down() {
        let mut grace = grace();
        let deadline = Some(at(100).utc);
        grace.remember((who(1), None), facts(1), deadline, at(0).mono);
        assert_eq!(grace.recall(&who(1), &None, at(99)).unwrap().expired_at, None);
        assert_eq!(grace.recall(&who(1), &None, at(100)).unwrap().expired_at, deadline);
    }

    #[test]
    fn a_session_that_was_begun_in_the_outage_counts_too_and_does_not_lengthen_the_time() {
        let mut grace = grace();
        let deadline = Some(at(50).utc);
        grace.admitted(&who(1), deadline);
        assert_eq!(grace.recall(&who(1), &None, at(60)).unwrap().expired_at, deadline);
        assert_eq!(grace.recall(&who(1), &None, at(3_600)), None);
    }

    #[test]
    fn what_the_database_says_later_counts_and_a_new_password_ends_it() {
        let changed = |change: fn(&mut Facts)| {
            let (mut grace, mut now) = (grace(), facts(1));
            change(&mut now);
            grace.update(&who(1), Some(now), at(9).mono);
            grace.recall(&who(1), &None, at(10))
        };
        assert!(!changed(|facts| facts.user.enabled = false).unwrap().user.enabled);
        assert_eq!(changed(|facts| facts.device = None).unwrap().device, None);
        assert!(changed(|facts| facts.user.password_hash = Some("upgraded".into())).is_some());
        assert_eq!(changed(|facts| facts.user.password_changed_at = Some(at(5).utc)), None);
        assert_eq!(changed(|facts| facts.user.id = 7), None, "somebody else of that name");
        let mut grace = grace();
        grace.update(&who(1), None, at(9).mono);
        assert_eq!(grace.recall(&who(1), &None, at(10)), None, "the user is gone");
    }

    #[test]
    fn all_are_looked_after_in_turn_and_a_look_does_not_lengthen_the_time() {
        let mut grace = grace();
        grace.remember((who(2), None), facts(2), None, at(1).mono);
        assert_eq!(grace.due(1, at(2).mono), [(who(1), None)]);
        grace.update(&who(1), Some(facts(1)), at(2).mono);
        assert_eq!(grace.due(1, at(3).mono), [(who(2), None)]);
        assert_eq!(grace.due(9, at(3_600).mono), [(who(2), None)], "the first is too old");
    }

    #[test]
    fn of_too_many_the_oldest_goes() {
        let mut grace = Grace { most: 2, ..grace() };
        for number in [2, 3] {
            grace.remember((who(number), None), facts(number), None, at(number.into()).mono);
        }
        let known = [1, 2, 3].map(|number| grace.recall(&who(number), &None, at(9)).is_some());
        assert_eq!(known, [false, true, true]);
    }
}
