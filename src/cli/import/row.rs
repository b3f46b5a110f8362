//! Rows of any source, judged: what becomes a user, who is there already, what is refused and why.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::NaiveDateTime;
use serde::Serialize;

use crate::{
    auth::password::{self, PasswordError, Schemes},
    cli::parse::{self, PolicyName},
    store::{ImportedUser, NewUser},
    types::{DeviceId, Timestamp, Username},
};

/// The most devices of one user.
const MAX_DEVICES: usize = 100;
/// What the column `users.password_hash` holds, in characters.
const MAX_HASH: usize = 512;

/// A row as it came, each value as text; `None` and empty text are the same.
#[derive(Default)]
pub struct Raw {
    /// Where it stands, as `line 7`.
    pub row: String,
    /// The user's name.
    pub name: String,
    /// In the form that is stored here.
    pub password_hash: Option<String>,
    /// The name of a policy that is there.
    pub policy: Option<String>,
    /// `yes` or `no`, in several words.
    pub enabled: Option<String>,
    /// A date or a moment.
    pub valid_from: Option<String>,
    /// A date or a moment.
    pub valid_until: Option<String>,
    /// One each.
    pub devices: Vec<String>,
    /// What is wrong with it already.
    pub problems: Vec<String>,
}

impl Raw {
    /// Sets the value of a column, by its name in CSV files and in the view `import_users`.
    pub fn set(&mut self, column: &str, value: Option<String>) {
        match column {
            "name" => self.name = value.unwrap_or_default(),
            "password_hash" => self.password_hash = value,
            "policy" => self.policy = value,
            "enabled" => self.enabled = value,
            "valid_from" => self.valid_from = value,
            "valid_until" => self.valid_until = value,
            "devices" => {
                let texts = value.unwrap_or_default();
                self.devices = texts.split(';').map(str::to_owned).collect();
            }
            other => self.problems.push(format!("{other}: unknown column")),
        }
    }
}

/// A row that is not taken, and every reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Where it stands.
    pub row: String,
    /// The name in it.
    pub user: String,
    /// One each, never empty.
    pub reasons: Vec<String>,
}

/// What rows are judged by.
pub struct Rules<'a> {
    /// Of stored hashes that logins may use.
    pub schemes: &'a Schemes,
    /// That are there.
    pub policies: BTreeSet<String>,
    /// Users that are there.
    pub existing: HashSet<Username>,
}

/// What an import would do.
#[derive(Default)]
pub struct Plan {
    /// That were read.
    pub rows: u64,
    /// That would be added.
    pub users: Vec<ImportedUser>,
    /// That are there already.
    pub existing: u64,
    /// Rows that are not taken.
    pub refused: Vec<Refused>,
}

/// Judges every row, in order.
pub fn plan(rows: Vec<Raw>, rules: &Rules<'_>) -> Plan {
    let mut plan = Plan { rows: rows.len() as u64, ..Plan::default() };
    let mut seen: HashMap<String, String> = HashMap::new();
    for raw in rows {
        // A user that is there stays as he is, whatever the rest of his row says.
        if raw.name.parse().is_ok_and(|name: Username| rules.existing.contains(&name)) {
            plan.existing += 1;
            continue;
        }
        let (row, user) = (raw.row.clone(), raw.name.clone());
        let first = seen.get(&user).filter(|_| !user.is_empty()).cloned();
        match judge(raw, first, rules) {
            Ok(import) => plan.users.push(import),
            Err(reasons) => {
                let user = user.chars().take(128).collect();
                plan.refused.push(Refused { row: row.clone(), user, reasons });
            }
        }
        seen.entry(user).or_insert(row);
    }
    plan
}

fn judge(raw: Raw, first: Option<String>, rules: &Rules<'_>) -> Result<ImportedUser, Vec<String>> {
    let mut problems = raw.problems;
    let mut note = |problem: String| problems.push(problem);
    if let Some(first) = first {
        note(format!("name: the same name stands in {first}"));
    }
    let name = name(&raw.name).map_err(&mut note).ok();
    let password_hash = filled(raw.password_hash);
    if let Some(Err(problem)) = password_hash.as_deref().map(|text| hash(text, rules.schemes)) {
        note(problem);
    }
    let policy = filled(raw.policy);
    if let Some(Err(problem)) = policy.as_deref().map(|text| known_policy(text, rules)) {
        note(problem);
    }
    let enabled = flag(raw.enabled.as_deref()).map_err(&mut note).unwrap_or_default();
    let mut at = |column: &str, text: Option<String>| {
        filled(text).and_then(|text| moment(column, text.trim()).map_err(&mut note).ok())
    };
    let valid_from = at("valid_from", raw.valid_from);
    let valid_until = at("valid_until", raw.valid_until);
    if let (Some(from), Some(until)) = (valid_from, valid_until)
        && until <= from
    {
        note(format!("the account would never be valid: from {from} until {until}"));
    }
    let devices = devices(&raw.devices, &mut note);
    match name {
        Some(name) if problems.is_empty() => Ok(ImportedUser {
            user: NewUser { name, password_hash, policy, valid_from, valid_until },
            enabled,
            devices,
        }),
        Some(_) | None => Err(problems),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn name(text: &str) -> Result<Username, String> {
    parse::new_name(text).map_err(|error| format!("name: {error}"))
}

/// A hash that a login could compare.
fn hash(text: &str, schemes: &Schemes) -> Result<(), String> {
    if text.chars().count() > MAX_HASH {
        return Err(format!("password_hash: longer than {MAX_HASH} characters"));
    }
    schemes.admit(text).and_then(|_| password::examine(text)).map_err(|error| {
        let mend = match &error {
            PasswordError::UnknownScheme => {
                "; a password in the clear is never taken (`ovpn-warden hash` makes a hash of it), \
                 and a bare digest needs its mark in front, as {MD5}"
                    .to_owned()
            }
            PasswordError::NotAllowed(scheme) => {
                format!("; add \"{scheme}\" to [auth] password_schemes if you want it")
            }
            PasswordError::Damaged(_) => "; is it whole?".to_owned(),
            PasswordError::TooCostly(_) | PasswordError::Params | PasswordError::Random => {
                String::new()
            }
        };
        format!("password_hash: {error}{mend}")
    })
}

fn known_policy(text: &str, rules: &Rules<'_>) -> Result<(), String> {
    let PolicyName(name) = text.parse().map_err(|error| format!("policy: {error}"))?;
    match rules.policies.contains(&name) {
        true => Ok(()),
        false => Err(format!(
            "policy: there is none named `{name}`; add it with `ovpn-warden policy add {name}`"
        )),
    }
}

fn flag(text: Option<&str>) -> Result<bool, String> {
    match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "1" | "yes" | "true") => Ok(true),
        Some("0" | "no" | "false") => Ok(false),
        Some(_) => Err("enabled: is none of 1, yes, true, 0, no and false".into()),
    }
}

/// A date, RFC 3339, or a time of UTC as databases write it.
fn moment(column: &str, text: &str) -> Result<Timestamp, String> {
    if let Ok(naive) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
        return Ok(Timestamp::from_naive_utc(naive));
    }
    Timestamp::parse(text, Timestamp::default()).ok().filter(|_| !text.starts_with('+')).ok_or_else(
        || {
            format!(
                "{column}: is no time; use 2026-12-31, 2026-12-31 18:00:00 (UTC) or \
                 2026-12-31T18:00:00+01:00"
            )
        },
    )
}

fn devices(texts: &[String], note: &mut impl FnMut(String)) -> Vec<DeviceId> {
    let mut devices = Vec::new();
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        match parse::device(text) {
            Ok(device) if devices.contains(&device) => {}
            Ok(_) if devices.len() >= MAX_DEVICES => {
                note(format!("devices: more than {MAX_DEVICES}"));
                break;
            }
            Ok(device) => devices.push(device),
            Err(error) => {
                let shown: String = text.chars().take(64).collect();
                note(format!("devices: `{shown}`: {error}"));
            }
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm";

    fn raw(name: &str) -> Raw {
        Raw { row: format!("row of {name}"), name: name.into(), ..Raw::default() }
    }

    fn planned(rows: Vec<Raw>) -> Plan {
        let schemes = Schemes::default();
        let policies = ["default", "staff"].map(str::to_owned).into();
        let existing = ["bob".parse().unwrap()].into();
        plan(rows, &Rules { schemes: &schemes, policies, existing })
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Raw)) -> String {
        let mut row = raw("alice");
        change(&mut row);
        let plan = planned(vec![row]);
        assert!(plan.users.is_empty());
        plan.refused[0].reasons.join(" | ")
    }

    #[test]
    fn a_full_row_becomes_a_user() {
        let row = Raw {
            password_hash: Some(BCRYPT.into()),
            policy: Some("staff".into()),
            enabled: Some("No".into()),
            valid_from: Some("2026-01-01".into()),
            valid_until: Some("2026-12-31 18:00:00.5".into()),
            devices: [" 02-1A-2B-3C-4D-5E", "", "021a2b3c4d5e"].map(str::to_owned).into(),
            ..raw("alice")
        };
        let mut plan = planned(vec![row, raw("zo\u{eb}")]);
        assert!(plan.refused.is_empty() && plan.rows == 2);
        let zoe = plan.users.pop().unwrap();
        assert!(zoe.enabled && zoe.user.policy.is_none() && zoe.user.password_hash.is_none());
        let alice = plan.users.pop().unwrap();
        assert!(!alice.enabled);
        assert_eq!(alice.user.policy.as_deref(), Some("staff"));
        let until = "2026-12-31T18:00:00.500Z".parse().unwrap();
        assert_eq!(alice.user.valid_until, Some(until));
        let devices: Vec<_> = alice.devices.iter().map(ToString::to_string).collect();
        assert_eq!(devices, ["02:1a:2b:3c:4d:5e"], "one device in two notations is one");
    }

    #[test]
    fn who_is_there_is_counted_whatever_his_row_says() {
        let row = Raw { password_hash: Some("plain".into()), ..raw("bob") };
        let plan = planned(vec![row]);
        assert_eq!((plan.existing, plan.users.len(), plan.refused.len()), (1, 0, 0));
    }

    #[test]
    fn a_name_counts_once() {
        let plan = planned(vec![raw("alice"), raw("alice"), raw("Alice")]);
        assert_eq!(plan.users.len(), 2);
        let reasons = vec!["name: the same name stands in row of alice".to_owned()];
        let again = Refused { row: "row of alice".into(), user: "alice".into(), reasons };
        assert_eq!(plan.refused, [again]);
    }

    #[test]
    fn every_bad_value_has_its_reason() {
        type Change = fn(&mut Raw);
        let cases: &[(&str, Change)] = &[
            ("name: empty", |row| row.name = String::new()),
            ("name: longer than 128", |row| row.name = "x".repeat(129)),
            ("name: begins or ends with a space", |row| row.name = "alice ".into()),
            ("`ovpn-warden hash` makes a hash", |row| row.password_hash = Some("hunter2".into())),
            ("add \"md5-crypt\" to [auth]", |row| row.password_hash = Some("$1$a$b".into())),
            ("is it whole?", |row| row.password_hash = Some(BCRYPT[..40].into())),
            ("longer than 512", |row| row.password_hash = Some("$".repeat(513))),
            ("ovpn-warden policy add gone", |row| row.policy = Some("gone".into())),
            ("policy: ", |row| row.policy = Some("a b".into())),
            ("enabled: ", |row| row.enabled = Some("2".into())),
            ("valid_from: is no time", |row| row.valid_from = Some("+2h".into())),
            ("valid_until: is no time", |row| row.valid_until = Some("0000-00-00".into())),
            ("devices: `02:1a`: ", |row| row.devices = vec!["02:1a".into()]),
            ("already wrong", |row| row.problems = vec!["already wrong".into()]),
            ("devices: more than 100", |row| {
                row.devices = (0..101).map(|n| format!("02000000{n:04x}")).collect();
            }),
            ("would never be valid", |row| {
                row.valid_from = Some("2026-01-02".into());
                row.valid_until = Some("2026-01-01".into());
            }),
        ];
        for (words, change) in cases {
            let reason = refused(*change);
            assert!(reason.contains(words), "{words}: {reason}");
            assert!(!reason.contains("hunter2"), "what may be a password is not shown");
        }
        let two = refused(|row| {
            row.enabled = Some("?".into());
            row.policy = Some("gone".into());
        });
        assert_eq!(two.matches(" | ").count(), 1, "all reasons are told: {two}");
    }
}
