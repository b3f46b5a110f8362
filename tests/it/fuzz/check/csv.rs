//! A CSV file of users: whatever is in it, who would come of it is sound, and no row is lost.

use std::collections::BTreeSet;

use ovpn_warden::{
    auth::password::{Scheme, Schemes, examine},
    cli::{Plan, Raw, Rules, parse_csv as parse, plan},
    types::{DeviceId, Timestamp},
};

const COLUMNS: [&str; 7] =
    ["name", "password_hash", "policy", "enabled", "valid_from", "valid_until", "devices"];
/// The first moment and the last that both databases hold.
const FIRST: Timestamp = Timestamp::from_secs(-62_167_219_200);
const LAST: Timestamp = Timestamp::MAX;

thread_local! {
    static SCHEMES: Schemes = Scheme::ALL.iter().copied().collect();
}

/// Checks one input.
pub(crate) fn check(file: &[u8]) {
    SCHEMES.with(|schemes| match parse(file) {
        Ok(rows) => {
            let lines = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!(rows.len() <= lines, "{} rows of {lines} lines", rows.len());
            judged(rows, schemes)
        }
        Err((what, next)) => assert!(!what.is_empty() && !next.is_empty()),
    });
    if file.len() <= 512 {
        written(file);
    }
}

fn judged(rows: Vec<Raw>, schemes: &Schemes) {
    let count = rows.len() as u64;
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let bad = rows.iter().filter(|row| !row.problems.is_empty() && row.name != "bob").count();
    let policies = BTreeSet::from(["staff".to_owned()]);
    let existing = ["bob".parse().unwrap()].into();
    let Plan { rows, users, existing, refused } =
        plan(rows, &Rules { schemes, policies, existing });
    assert_eq!((rows, existing as usize), (count, names.iter().filter(|n| *n == "bob").count()));
    assert_eq!(rows, users.len() as u64 + existing + refused.len() as u64, "a row is lost");
    assert!(refused.len() >= bad, "what could not be read is taken");
    let mut seen = BTreeSet::new();
    for user in &users {
        let name = user.user.name.as_str();
        assert!(names.iter().any(|known| known == name) && name.trim() == name);
        assert!(seen.insert(name.to_owned()), "{name:?} twice");
        if let Some(hash) = &user.user.password_hash {
            assert!(schemes.admit(hash).is_ok() && examine(hash).is_ok() && hash.len() <= 4 * 512);
        }
        assert!(user.user.policy.as_deref().is_none_or(|policy| policy == "staff"));
        for at in [user.user.valid_from, user.user.valid_until].into_iter().flatten() {
            assert!((FIRST..=LAST).contains(&at), "{} is no time", at.as_millis());
        }
        let span = user.user.valid_from.zip(user.user.valid_until);
        assert!(span.is_none_or(|(from, until)| from < until));
        let devices: BTreeSet<String> = user.devices.iter().map(ToString::to_string).collect();
        assert!(user.devices.len() <= 100 && devices.len() == user.devices.len());
        assert!(devices.iter().all(|device| DeviceId::parse(device).is_ok()));
    }
    for row in &refused {
        assert!(!row.reasons.is_empty() && row.reasons.iter().all(|reason| !reason.is_empty()));
        assert!(row.row.starts_with("line ") && row.user.chars().count() <= 128);
    }
}

/// What is written as such a file is read as it was: cells apart by US, in rows apart by RS.
fn written(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut file = COLUMNS.join(",");
    let rows: Vec<Vec<&str>> = text
        .split('\u{1e}')
        .map(|row| {
            let mut cells: Vec<&str> = row.split('\u{1f}').take(COLUMNS.len()).collect();
            cells.resize(COLUMNS.len(), "");
            cells
        })
        .collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        file += &format!("\n{}", cells.join(","));
    }
    let read = parse(file.as_bytes()).unwrap();
    assert_eq!(read.len(), rows.len());
    for (read, row) in read.iter().zip(rows) {
        let devices = read.devices.join(";");
        let cells = [
            Some(&read.name),
            read.password_hash.as_ref(),
            read.policy.as_ref(),
            read.enabled.as_ref(),
            read.valid_from.as_ref(),
            read.valid_until.as_ref(),
            Some(&devices),
        ]
        .map(|cell| cell.map_or("", String::as_str));
        assert_eq!((cells.as_slice(), &read.problems[..]), (&row[..], &[][..]));
    }
}
