//! Users as they are shown: never with their hash.

use serde::Serialize;

use crate::{
    auth::{password::Scheme, second_factor::totp::step_time},
    cli::{
        client_config::LineView,
        output::{View, or_dash, rfc3339, short_time},
    },
    store::{SecondFactorStatus, StoredLine, UserRecord},
    types::Timestamp,
};

/// The scheme of a stored hash and nothing else of it.
fn password_scheme(hash: Option<&str>) -> Option<String> {
    let scheme = Scheme::detect(hash?);
    Some(scheme.map_or("unknown", Scheme::as_str).to_owned())
}

/// A user, without the hash.
#[derive(Serialize)]
pub struct UserView {
    name: String,
    policy: String,
    enabled: bool,
    password_scheme: Option<String>,
    valid_from: Option<String>,
    valid_until: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(skip)]
    period: (Option<Timestamp>, Option<Timestamp>),
}

impl From<&UserRecord> for UserView {
    fn from(user: &UserRecord) -> Self {
        Self {
            name: user.name.to_string(),
            policy: user.policy.clone(),
            enabled: user.enabled,
            password_scheme: password_scheme(user.password_hash.as_deref()),
            valid_from: rfc3339(user.valid_from),
            valid_until: rfc3339(user.valid_until),
            created_at: user.created_at.to_string(),
            updated_at: user.updated_at.to_string(),
            period: (user.valid_from, user.valid_until),
        }
    }
}

impl View for UserView {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "POLICY", "ENABLED", "PASSWORD", "VALID FROM", "VALID UNTIL"];
    const LEAST: &'static [&'static str] = &["PASSWORD", "VALID FROM", "POLICY"];

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.policy.clone(),
            if self.enabled { "yes" } else { "no" }.into(),
            or_dash(self.password_scheme.as_deref()),
            short_time(self.period.0),
            short_time(self.period.1),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("policy", self.policy.clone()),
            ("enabled", if self.enabled { "yes" } else { "no" }.into()),
            ("password scheme", or_dash(self.password_scheme.as_deref())),
            ("valid from", or_dash(self.valid_from.as_deref())),
            ("valid until", or_dash(self.valid_until.as_deref())),
            ("created at", self.created_at.clone()),
            ("updated at", self.updated_at.clone()),
        ]
    }
}

/// A user with what is known of the second factor: never its key.
#[derive(Serialize)]
pub struct ShownUser {
    #[serde(flatten)]
    user: UserView,
    second_factor: Option<FactorView>,
    /// Until when the next new device is registered by itself.
    enrolment_until: Option<String>,
    config: Vec<LineView>,
}

#[derive(Serialize)]
struct FactorView {
    enrolled_at: String,
    /// When the last code that was taken was shown; null while none was.
    last_used_at: Option<String>,
    recovery_codes: u32,
}

impl ShownUser {
    pub fn new(
        user: &UserRecord,
        factor: Option<SecondFactorStatus>,
        enrolment: Option<Timestamp>,
        config: &[StoredLine],
    ) -> Self {
        let second_factor = factor.map(|factor| FactorView {
            enrolled_at: factor.enrolled_at.to_string(),
            last_used_at: rfc3339(factor.last_step.map(step_time)),
            recovery_codes: factor.recovery_codes,
        });
        let config = config.iter().map(LineView::from).collect();
        let enrolment_until = rfc3339(enrolment);
        Self { user: UserView::from(user), second_factor, enrolment_until, config }
    }

    fn second_factor(&self) -> String {
        let Some(factor) = &self.second_factor else { return "none".into() };
        let used = match &factor.last_used_at {
            Some(at) => format!("last used {at}"),
            None => format!("set up {}, not used yet", factor.enrolled_at),
        };
        format!("{used}; {} recovery codes left", factor.recovery_codes)
    }
}

impl View for ShownUser {
    const COLUMNS: &'static [&'static str] = UserView::COLUMNS;

    fn row(&self) -> Vec<String> {
        self.user.row()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.user.details();
        lines.push(("second factor", self.second_factor()));
        let until = self.enrolment_until.as_ref();
        lines
            .extend(until.map(|until| ("next new device", format!("is registered until {until}"))));
        lines.extend(self.config.iter().map(|line| ("client", line.shown())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scheme_of_a_hash_is_shown() {
        let scheme = |hash| password_scheme(Some(hash)).unwrap();
        assert_eq!(scheme("$argon2id$v=19$m=8"), "argon2id");
        assert_eq!(scheme("$2y$10$abc"), "bcrypt");
        assert_eq!(scheme("{SSHA}abc"), "ssha");
        for odd in ["plain", "se$cr$et", "$only", "$$x", "$with a space$x", "{SHA}abc"] {
            assert_eq!(scheme(odd), "unknown", "{odd}");
        }
        assert_eq!(password_scheme(None), None);
    }
}
