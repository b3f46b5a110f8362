//! FreeRADIUS: rows of `radcheck` and `radusergroup` become one row for each user.
//!
//! A check that cannot be taken over refuses its user: to leave it out would let in whom it kept out.

use std::{collections::BTreeMap, fmt::Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};

use super::{row::Raw, tables::unreadable};
use crate::{
    store::ForeignRow,
    types::{Printable, truncate_on_char},
};

/// Puts the rows of both tables together.
pub fn rows(checks: Vec<ForeignRow>, groups: Vec<ForeignRow>) -> Vec<Raw> {
    let mut users: BTreeMap<String, Raw> = BTreeMap::new();
    for check in checks {
        let problems = unreadable(&check);
        let [user, attribute, op, value] = texts(check.cells);
        let raw = users.entry(user.clone()).or_insert_with(|| raw("radcheck", user));
        raw.problems.extend(problems);
        if let Err(problem) = take(raw, &attribute, op.trim(), &value) {
            let shown: String = attribute.chars().take(64).collect();
            raw.problems.push(format!("{shown}: {problem}"));
        }
    }
    let mut memberships: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for group in groups {
        let problems = unreadable(&group);
        let [user, name, priority] = texts(group.cells);
        let raw = users.entry(user.clone()).or_insert_with(|| {
            let mut raw = raw("radusergroup", user.clone());
            raw.problems.push("has no row in radcheck".into());
            raw
        });
        raw.problems.extend(problems);
        match priority.trim().parse() {
            Ok(priority) => memberships.entry(user).or_default().push((priority, name)),
            Err(_) => raw.problems.push("radusergroup.priority: is no whole number".into()),
        }
    }
    for (user, mut groups) in memberships {
        groups.sort();
        groups.dedup();
        let Some(raw) = users.get_mut(&user) else { continue };
        if let [(first, _), (second, _), ..] = &groups[..]
            && first == second
        {
            let problem = format!("is in several groups of priority {first}; leave it in one");
            raw.problems.push(problem);
        }
        raw.policy = groups.into_iter().next().map(|(_, name)| name);
    }
    mark_doubles(&mut users);
    users.into_values().collect()
}

/// FreeRADIUS leaves comparing names to its database, and that takes `Bob`, `bob` and `bob ` for one: their rows
/// were one user's there, and apart they would be some of them with some of the checks.
fn mark_doubles(users: &mut BTreeMap<String, Raw>) {
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, raw) in &mut *users {
        let folded = name.trim_end().to_lowercase();
        if folded == "default" {
            raw.problems.push("name: FreeRADIUS takes DEFAULT for everybody; it is no user".into());
        }
        alike.entry(folded).or_default().push(name.clone());
    }
    for names in alike.values().filter(|names| names.len() > 1) {
        for name in names {
            let others = names.iter().filter(|other| *other != name);
            let others: Vec<_> = others
                .map(|name| format!("`{}`", Printable(truncate_on_char(name, 128).as_bytes())))
                .collect();
            if let Some(raw) = users.get_mut(name) {
                raw.problems.push(format!(
                    "name: FreeRADIUS takes it for the same user as {}; write all rows of one in one way",
                    others.join(", ")
                ));
            }
        }
    }
}

fn raw(table: &str, name: String) -> Raw {
    Raw { row: table.to_owned(), name, ..Raw::default() }
}

/// Cells as text; what is NULL is empty.
fn texts<const N: usize>(cells: Vec<Option<String>>) -> [String; N] {
    let mut cells = cells.into_iter();
    std::array::from_fn(|_| cells.next().flatten().unwrap_or_default())
}

/// Takes over one check.
fn take(raw: &mut Raw, attribute: &str, op: &str, value: &str) -> Result<(), String> {
    if !matches!(op, ":=" | "==" | "=") {
        return Err("only the operators :=, == and = can be taken over".into());
    }
    let name = attribute.to_ascii_lowercase();
    match name.as_str() {
        "expiration" if raw.valid_until.is_some() => return Err("stands twice".into()),
        "expiration" => {
            let at = expiration(value.trim()).ok_or(
                "is no date; use 24 Dec 2026, 24 Dec 2026 18:00:00 or 2026-12-24 18:00:00",
            )?;
            raw.valid_until = Some(at.format("%Y-%m-%d %H:%M:%S").to_string());
        }
        "calling-station-id" => raw.devices.push(value.to_owned()),
        "auth-type" if value.eq_ignore_ascii_case("reject") => raw.enabled = Some("0".into()),
        _ => {
            let hash = password(&name, value.trim())?;
            if raw.password_hash.replace(hash).is_some() {
                return Err("is a second password; leave one".into());
            }
        }
    }
    Ok(())
}

/// A password attribute as the hash that is stored here.
fn password(attribute: &str, value: &str) -> Result<String, String> {
    let bare = |mark: &str, len: usize| {
        let digest = binary(value).filter(|bytes| bytes.len() == len);
        digest.map(|bytes| format!("{mark}{}", hex(&bytes))).ok_or_else(|| damaged(len))
    };
    let salted = |mark: &str, len: usize| {
        let digest = binary(value).filter(|bytes| bytes.len() > len);
        digest
            .map(|bytes| format!("{mark}{}", BASE64_STANDARD.encode(bytes)))
            .ok_or_else(|| format!("is no digest of {len} bytes with a salt after it"))
    };
    match attribute {
        "cleartext-password" | "user-password" => {
            Err("a password in the clear is never taken; replace it with Crypt-Password, or set a \
             new one after the import"
                .into())
        }
        "crypt-password" if value.starts_with('$') => Ok(value.to_owned()),
        "crypt-password" => Err("DES and other hashes without a $ are not known".into()),
        "md5-password" => bare("{MD5}", 16),
        "nt-password" => bare("{NT}", 16),
        "sha-password" | "sha1-password" => bare("{SHA1}", 20),
        "sha2-password" | "sha2-256-password" => bare("{SHA256}", 32),
        "ssha-password" | "ssha1-password" => salted("{SSHA}", 20),
        "ssha2-256-password" => salted("{SSHA256}", 32),
        "ssha2-512-password" => salted("{SSHA512}", 64),
        _ if attribute.ends_with("-password") || attribute == "password-with-header" => {
            Err("hashes of this kind are not known".into())
        }
        _ => Err("is a check that cannot be taken over; a policy may have the like, then take \
                  the row out of radcheck"
            .into()),
    }
}

fn damaged(len: usize) -> String {
    format!("is no digest of {len} bytes, in hexadecimal digits or base64")
}

/// Bytes in hexadecimal digits, also after `0x`, or in base64, as rlm_pap takes them.
fn binary(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        return (0..digits.len()).step_by(2).map(pair).collect();
    }
    BASE64_STANDARD.decode(text).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The notations of FreeRADIUS, taken for UTC; a bare number is of seconds since 1970.
fn expiration(text: &str) -> Option<NaiveDateTime> {
    let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT")).unwrap_or(text);
    let time = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let date = |format| NaiveDate::parse_from_str(text, format).ok();
    let seconds = || {
        let is_number = (9..12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    ["%d %B %Y %H:%M:%S", "%B %d %Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"]
        .into_iter()
        .find_map(time)
        .or_else(|| {
            ["%d %B %Y %H:%M", "%B %d %Y %H:%M", "%Y-%m-%d %H:%M"].into_iter().find_map(time)
        })
        .or_else(|| {
            let date = ["%d %B %Y", "%B %d %Y", "%Y-%m-%d"].into_iter().find_map(date)?;
            Some(date.and_time(NaiveTime::MIN))
        })
        .or_else(|| Some(DateTime::from_timestamp(seconds()?, 0)?.naive_utc()))
        .filter(|at| (1970..=9999).contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Vec<ForeignRow> {
        let cells = |row: &&[&str]| row.iter().map(|cell| Some((*cell).to_owned())).collect();
        rows.iter().map(|row| ForeignRow { cells: cells(row), unreadable: Vec::new() }).collect()
    }

    fn one(checks: &[(&str, &str, &str)]) -> Raw {
        let checks: Vec<_> = checks.iter().map(|(a, op, v)| ["al", *a, *op, *v]).collect();
        let checks: Vec<_> = checks.iter().map(|row| &row[..]).collect();
        rows(table(&checks), Vec::new()).pop().unwrap()
    }

    #[test]
    fn hashes_come_in_the_form_that_is_stored() {
        for (attribute, value, stored) in [
            ("Crypt-Password", "$6$salt$x", "$6$salt$x"),
            (
                "MD5-Password",
                "5F4DCC3B5AA765D61D8327DEB882CF99",
                "{MD5}5f4dcc3b5aa765d61d8327deb882cf99",
            ),
            ("md5-password", "X03MO1qnZdYdgyfeuILPmQ==", "{MD5}5f4dcc3b5aa765d61d8327deb882cf99"),
            (
                "NT-Password",
                "0x8846f7eaee8fb117ad06bdd830b7586c",
                "{NT}8846f7eaee8fb117ad06bdd830b7586c",
            ),
            (
                "SHA-Password",
                "W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
                "{SHA1}5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
            ),
            (
                "SSHA-Password",
                "Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==",
                "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==",
            ),
            (
                "SSHA-Password",
                "2317aa72dafa0a07f05af47baa2e388f95dcf6f33132333435363738",
                "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==",
            ),
        ] {
            let raw = one(&[(attribute, ":=", value)]);
            assert_eq!(raw.password_hash.as_deref(), Some(stored), "{:?}", raw.problems);
            assert!(raw.problems.is_empty());
        }
        let sha2 = one(&[("SHA2-Password", ":=", &"ab".repeat(32))]);
        assert_eq!(sha2.password_hash, Some(format!("{{SHA256}}{}", "ab".repeat(32))));
        let ssha2 = one(&[("SSHA2-512-Password", ":=", &"ab".repeat(70))]);
        assert!(ssha2.password_hash.unwrap().starts_with("{SSHA512}q6ur"));
    }

    #[test]
    fn what_cannot_be_taken_over_refuses_its_user() {
        for (attribute, op, value, words) in [
            ("Cleartext-Password", ":=", "canary", "in the clear is never taken"),
            ("User-Password", "==", "canary", "in the clear is never taken"),
            ("Crypt-Password", ":=", "saCANARYx3ow2", "DES"),
            ("MD5-Password", ":=", "5f4d", "no digest of 16 bytes"),
            ("SHA2-Password", ":=", "abab", "no digest of 32 bytes"),
            ("SSHA-Password", ":=", "W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "with a salt after it"),
            ("SSHA2-384-Password", ":=", "abab", "not known"),
            ("LM-Password", ":=", "abab", "not known"),
            ("Password-With-Header", ":=", "{sha}x", "not known"),
            ("Simultaneous-Use", ":=", "1", "cannot be taken over"),
            ("Auth-Type", ":=", "Accept", "cannot be taken over"),
            ("NAS-IP-Address", "!=", "10.0.0.1", "operators"),
            ("Calling-Station-Id", "=~", "^02", "operators"),
            ("Expiration", ":=", "soon", "is no date"),
            ("Expiration", ":=", "24 Dec 26", "is no date"),
        ] {
            let problems = one(&[(attribute, op, value)]).problems.join("|");
            assert!(problems.starts_with(&format!("{attribute}: ")), "{problems}");
            assert!(problems.contains(words), "{attribute}: {problems}");
            assert!(!problems.to_lowercase().contains("canary"), "{problems}");
        }
        let twice =
            one(&[("NT-Password", ":=", &"ab".repeat(16)), ("Crypt-Password", ":=", "$6$")]);
        assert_eq!(twice.problems, ["Crypt-Password: is a second password; leave one"]);
    }

    #[test]
    fn dates_devices_and_a_reject_are_taken_over() {
        for (text, at) in [
            ("24 Dec 2026", "2026-12-24 00:00:00"),
            ("Dec 24 2026", "2026-12-24 00:00:00"),
            ("December 24 2026 18:30:00 UTC", "2026-12-24 18:30:00"),
            ("24 Dec 2026 18:30", "2026-12-24 18:30:00"),
            ("2026-12-24 18:30:01", "2026-12-24 18:30:01"),
            ("1798070400", "2026-12-24 00:00:00"),
        ] {
            let raw = one(&[("Expiration", ":=", text)]);
            assert_eq!(raw.valid_until.as_deref(), Some(at), "{text}");
        }
        let raw = one(&[
            ("Calling-Station-Id", "==", "02-1A-2B-3C-4D-5E"),
            ("Auth-Type", ":=", "Reject"),
            ("calling-station-id", ":=", "02-1A-2B-3C-4D-5F"),
        ]);
        assert_eq!(raw.devices.len(), 2);
        assert_eq!((raw.enabled.as_deref(), raw.problems.len()), (Some("0"), 0));
    }

    #[test]
    fn names_that_freeradius_takes_for_one_are_refused_with_each_other() {
        let checks = table(&[
            &["Bob", "Crypt-Password", ":=", "$6$"],
            &["bob", "Expiration", ":=", "24 Dec 2026"],
            &["carl", "Crypt-Password", ":=", "$6$"],
            &["DEFAULT", "Auth-Type", ":=", "Reject"],
            &["dora", "Crypt-Password", ":=", "$6$"],
        ]);
        let groups = table(&[&["carl ", "staff", "1"], &["dora", "staff", "1"]]);
        let rows = rows(checks, groups);
        let problem = |name: &str| {
            let raw = rows.iter().find(|raw| raw.name == name).unwrap();
            raw.problems.join("|")
        };
        assert!(problem("Bob").contains("the same user as `bob`"), "{}", problem("Bob"));
        assert!(problem("bob").contains("the same user as `Bob`"));
        assert!(problem("carl").contains("the same user as `carl `"));
        assert!(problem("carl ").contains("the same user as `carl`"));
        assert!(problem("DEFAULT").contains("for everybody"));
        assert_eq!(problem("dora"), "");
    }

    #[test]
    fn the_group_of_the_lowest_priority_is_the_policy() {
        let checks = table(&[
            &["al", "Crypt-Password", ":=", "$6$"],
            &["bo", "Crypt-Password", ":=", "$6$"],
        ]);
        let groups = table(&[
            &["al", "guests", "8"],
            &["al", "staff", "1"],
            &["bo", "guests", "1"],
            &["bo", "staff", "1"],
            &["cy", "staff", "x"],
        ]);
        let rows = rows(checks, groups);
        assert_eq!(rows[0].policy.as_deref(), Some("staff"));
        assert!(rows[0].problems.is_empty());
        assert!(rows[1].problems[0].contains("several groups of priority 1"));
        assert_eq!(rows[2].problems.len(), 2);
        assert_eq!(
            (rows[2].row.as_str(), rows[2].problems[0].as_str()),
            ("radusergroup", "has no row in radcheck")
        );
    }
}
