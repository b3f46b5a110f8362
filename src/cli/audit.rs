//! `audit-hashes`: which schemes the stored hashes are of, and whose cannot be used. Never a hash.

use serde::Serialize;

use super::{Desk, exit::CliError, hash::params, output::View};
use crate::{
    auth::password::{self, PasswordError, Scheme},
    config::{Auth, Config},
    types::Username,
};

/// Users read at once.
const PAGE: u32 = 1_000;
/// Unusable rows in the text; `--json` has all.
const SHOWN: usize = 100;

/// What the audit found.
#[derive(Debug, Default, Serialize)]
struct Audit {
    users: u64,
    without_password: u64,
    schemes: Vec<SchemeCount>,
    unusable: Vec<Unusable>,
}

/// One scheme that is in use.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct SchemeCount {
    scheme: &'static str,
    users: u64,
    /// In `auth.password_schemes`.
    allowed: bool,
    /// Damaged, too costly, or not allowed.
    unusable: u64,
    /// Replaced at the next login.
    outdated: u64,
}

/// A user who cannot log in with a password.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Unusable {
    user: String,
    scheme: &'static str,
    /// `not_allowed`, `unknown`, `damaged` or `too_costly`.
    problem: &'static str,
}

pub async fn execute(desk: &mut Desk, config: &Config) -> Result<(), CliError> {
    let mut audit = Audit::default();
    let mut after: Option<Username> = None;
    loop {
        let page = desk.store.users(after.as_ref(), PAGE).await?;
        for user in &page {
            audit.count(user.name.as_str(), user.password_hash.as_deref(), &config.auth);
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = Some(last.name.clone()),
            Some(_) | None => break,
        }
    }
    audit.schemes.sort_by(|a, b| b.users.cmp(&a.users).then(a.scheme.cmp(b.scheme)));
    print(desk, &audit)
}

impl Audit {
    fn count(&mut self, user: &str, hash: Option<&str>, auth: &Auth) {
        self.users += 1;
        let Some(hash) = hash else {
            self.without_password += 1;
            return;
        };
        let scheme = Scheme::detect(hash);
        let allowed = scheme.is_some_and(|scheme| auth.password_schemes.allow(scheme));
        let name = scheme.map_or("unknown", Scheme::as_str);
        let usable = auth.password_schemes.admit(hash).and_then(|_| password::examine(hash));
        let known = self.schemes.iter().position(|count| count.scheme == name);
        let at = known.unwrap_or(self.schemes.len());
        if known.is_none() {
            let none = SchemeCount { scheme: name, users: 0, allowed, unusable: 0, outdated: 0 };
            self.schemes.push(none);
        }
        let count = &mut self.schemes[at];
        count.users += 1;
        match usable {
            Ok(()) => count.outdated += u64::from(password::is_outdated(hash, &params(auth))),
            Err(error) => {
                count.unusable += 1;
                let problem = word(&error);
                self.unusable.push(Unusable { user: user.to_owned(), scheme: name, problem });
            }
        }
    }
}

fn word(error: &PasswordError) -> &'static str {
    match error {
        PasswordError::NotAllowed(_) => "not_allowed",
        PasswordError::TooCostly(_) => "too_costly",
        PasswordError::UnknownScheme => "unknown",
        PasswordError::Damaged(_) | PasswordError::Params | PasswordError::Random => "damaged",
    }
}

fn print(desk: &mut Desk, audit: &Audit) -> Result<(), CliError> {
    if desk.out.is_json() {
        return desk.out.json(audit);
    }
    desk.out.list(&audit.schemes)?;
    desk.out.line("")?;
    desk.out.line(&format!(
        "{} users, {} without a password, {} with a hash that cannot be used",
        audit.users,
        audit.without_password,
        audit.unusable.len()
    ))?;
    if audit.unusable.is_empty() {
        return Ok(());
    }
    desk.out.line("")?;
    desk.out.list(&audit.unusable[..audit.unusable.len().min(SHOWN)])?;
    if audit.unusable.len() > SHOWN {
        desk.out.line(&format!("and {} more; --json names all", audit.unusable.len() - SHOWN))?;
    }
    Ok(())
}

impl View for SchemeCount {
    const COLUMNS: &'static [&'static str] =
        &["SCHEME", "USERS", "ALLOWED", "UNUSABLE", "OUTDATED"];

    fn row(&self) -> Vec<String> {
        vec![
            self.scheme.into(),
            self.users.to_string(),
            if self.allowed { "yes" } else { "no" }.into(),
            self.unusable.to_string(),
            self.outdated.to_string(),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

impl View for Unusable {
    const COLUMNS: &'static [&'static str] = &["USER", "SCHEME", "PROBLEM"];

    fn row(&self) -> Vec<String> {
        vec![self.user.clone(), self.scheme.into(), self.problem.replace('_', " ")]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}
