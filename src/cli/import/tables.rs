//! Rows of OpenVPN-Admin's `user` and of the view `import_users`.

use chrono::{Days, NaiveDate};

use super::row::Raw;
use crate::store::{ForeignRow, ForeignTable};

/// What is wrong with a row before anybody looks at its values.
pub fn unreadable(row: &ForeignRow) -> Vec<String> {
    row.unreadable.iter().map(|column| format!("{column}: is no text")).collect()
}

/// Any table, by a view with the columns of the CSV file.
pub fn of_view(rows: Vec<ForeignRow>) -> Vec<Raw> {
    let columns = ForeignTable::View.columns();
    numbered(rows, |raw, cells| {
        for (column, cell) in columns.iter().zip(cells) {
            if *column == "enabled" && cell.is_none() {
                raw.problems.push("enabled: is NULL".into());
            }
            raw.set(column, cell);
        }
    })
}

/// OpenVPN-Admin. Its login compares days: who ends on a day may still connect on that day; on the last day that there
/// is nobody ends.
pub fn of_openvpn_admin(rows: Vec<ForeignRow>) -> Vec<Raw> {
    numbered(rows, |raw, cells| {
        let mut cells = cells.into_iter();
        let mut next = || cells.next().flatten();
        raw.name = next().unwrap_or_default();
        raw.password_hash = next();
        raw.enabled = next();
        if raw.enabled.is_none() {
            raw.problems.push("user_enable: is NULL".into());
        }
        raw.valid_from = next().filter(|date| !is_zero(date));
        let is_never = |date: &str| is_zero(date) || date.starts_with("9999-12-31");
        raw.valid_until = next().filter(|date| !is_never(date)).map(|date| {
            let day: Option<NaiveDate> = date.parse().ok();
            let after = day.and_then(|day| day.checked_add_days(Days::new(1)));
            // What is no date is refused later as it stands.
            after.map_or(date, |day| day.to_string())
        });
    })
}

fn is_zero(date: &str) -> bool {
    date.starts_with("0000-00-00")
}

fn numbered(rows: Vec<ForeignRow>, fill: impl Fn(&mut Raw, Vec<Option<String>>)) -> Vec<Raw> {
    let number = |(index, row): (usize, ForeignRow)| {
        let problems = unreadable(&row);
        let mut raw = Raw { row: format!("row {}", index + 1), problems, ..Raw::default() };
        fill(&mut raw, row.cells);
        raw
    };
    rows.into_iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> ForeignRow {
        let cell = |text: &&str| (*text != "NULL").then(|| (*text).to_owned());
        ForeignRow { cells: cells.iter().map(cell).collect(), unreadable: Vec::new() }
    }

    #[test]
    fn the_last_day_of_openvpn_admin_counts_whole() {
        let rows = of_openvpn_admin(vec![
            row(&["al", "$2y$10$x", "1", "2026-01-01", "2026-12-31"]),
            row(&["bo", "", "0", "0000-00-00", "NULL"]),
            row(&["cy", "", "0", "NULL", "soon"]),
            row(&["di", "", "1", "NULL", "9999-12-31"]),
            row(&["ed", "", "1", "NULL", "9999-12-30"]),
        ]);
        assert_eq!((rows[0].row.as_str(), rows[0].name.as_str()), ("row 1", "al"));
        assert_eq!(rows[0].valid_from.as_deref(), Some("2026-01-01"));
        assert_eq!(rows[0].valid_until.as_deref(), Some("2027-01-01"));
        assert_eq!((&rows[1].valid_from, &rows[1].valid_until), (&None, &None));
        assert_eq!(rows[1].enabled.as_deref(), Some("0"));
        assert_eq!(rows[2].valid_until.as_deref(), Some("soon"));
        assert_eq!(rows[3].valid_until, None, "that is never");
        assert_eq!(rows[4].valid_until.as_deref(), Some("9999-12-31"));
    }

    #[test]
    fn a_view_has_the_columns_of_the_file() {
        let mut bad = row(&["bo", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"]);
        bad.unreadable.push("password_hash");
        let rows =
            of_view(vec![row(&["al", "$2y$", "staff", "0", "NULL", "2026-01-01", "a;b"]), bad]);
        assert_eq!((rows[0].name.as_str(), rows[0].devices.len()), ("al", 2));
        assert_eq!(rows[0].policy.as_deref(), Some("staff"));
        assert_eq!(rows[1].problems, ["password_hash: is no text", "enabled: is NULL"]);
    }
}
