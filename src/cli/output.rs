//! Everything that commands print goes through here: tables for people, JSON and CSV for programs.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::exit::{CliError, note};
use crate::types::{Printable, Timestamp, is_unsafe};

/// Something that a command shows, alone or as one of many.
pub trait View: Serialize {
    /// Headings of the table in which it is a row.
    const COLUMNS: &'static [&'static str];
    /// Its fields in JSON, in order, where it is printed as CSV too.
    const FIELDS: &'static [&'static str] = &[];
    /// Headings of columns that a narrow terminal can do without, in the order in which they go.
    const LEAST: &'static [&'static str] = &[];

    /// Its row.
    fn row(&self) -> Vec<String>;

    /// Everything about it, for `show`.
    fn details(&self) -> Vec<(&'static str, String)>;
}

/// Standard output. A closed pipe becomes [`CliError::closed_pipe`].
pub struct Output {
    json: bool,
    csv: bool,
    quiet: bool,
    terminal: bool,
    to: io::BufWriter<Box<dyn Write>>,
}

impl Output {
    /// Prints JSON with `json`; with `quiet`, says nothing about what was done.
    pub fn new(json: bool, quiet: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { json, csv: false, quiet, terminal, to: io::BufWriter::new(Box::new(stdout)) }
    }

    /// Whether JSON is asked for.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nothing is to be said about what was done.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a person reads this on a terminal.
    pub const fn for_people(&self) -> bool {
        self.terminal && !self.json && !self.csv
    }

    /// Prints lists as CSV with `csv`.
    pub fn want_csv(&mut self, csv: bool) -> Result<(), CliError> {
        if csv && self.json {
            return Err(CliError::usage("--csv and --json were both given; give one of them"));
        }
        self.csv = csv;
        Ok(())
    }

    /// Prints a table, an array, or CSV.
    pub fn list<T: View>(&mut self, items: &[T]) -> Result<(), CliError> {
        if self.csv {
            self.to.write_all(&csv_of(items)?)?;
            return Ok(self.to.flush()?);
        }
        if self.json {
            return self.json(items);
        }
        let mut table = plain_table();
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|item| item.row().iter().map(|cell| printable(cell)).collect())
            .collect();
        let room = table.width().map_or(usize::MAX, usize::from);
        let kept = fitting(T::COLUMNS, T::LEAST, &rows, room);
        let of = |cells: &[String]| kept.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
        table.set_header(kept.iter().map(|at| T::COLUMNS[*at]));
        for row in &rows {
            table.add_row(of(row));
        }
        self.table(&table)?;
        if kept.len() < T::COLUMNS.len() && !self.quiet {
            let gone =
                (0..T::COLUMNS.len()).filter(|at| !kept.contains(at)).map(|at| T::COLUMNS[at]);
            let gone: Vec<_> = gone.collect();
            note(&format!("no room for {}; --json shows everything", gone.join(", ")));
        }
        Ok(())
    }

    /// Prints all about one thing, or an object.
    pub fn show<T: View>(&mut self, item: &T) -> Result<(), CliError> {
        if self.json {
            return self.json(item);
        }
        let mut table = plain_table();
        for (name, value) in item.details() {
            table.add_row([name.to_owned(), printable(&value)]);
        }
        self.table(&table)
    }

    /// Says what was done: `message`, or `object`.
    pub fn done(&mut self, message: &str, object: &impl Serialize) -> Result<(), CliError> {
        match (self.json, self.quiet) {
            (true, _) => self.json(object),
            (false, true) => Ok(()),
            (false, false) => self.line(message),
        }
    }

    /// Prints one value as one line of JSON.
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string(value)
            .map_err(|error| CliError::failed(format!("printing JSON: {error}")))?;
        writeln!(self.to, "{}", escape_json(&text))?;
        Ok(self.to.flush()?)
    }

    /// Prints one line of text.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.to, "{}", Printable(text.as_bytes()))?;
        Ok(self.to.flush()?)
    }

    fn table(&mut self, table: &Table) -> Result<(), CliError> {
        writeln!(self.to, "{}", table.trim_fmt())?;
        Ok(self.to.flush()?)
    }
}

/// Columns apart by two spaces and nothing else; as wide as the terminal, or as needed.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Which columns fit into so many cells, as far as the least of them may go.
fn fitting(columns: &[&str], least: &[&str], rows: &[Vec<String>], room: usize) -> Vec<usize> {
    // A blank before each column and one behind it.
    let width = |at: &usize| {
        let cells = rows.iter().map(|row| row[*at].width());
        cells.max().unwrap_or_default().max(columns[*at].width()) + 2
    };
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    for name in least {
        if kept.iter().map(width).sum::<usize>() <= room {
            break;
        }
        kept.retain(|at| columns[*at] != *name);
    }
    kept
}

fn printable(text: &str) -> String {
    Printable(text.as_bytes()).to_string()
}

/// JSON leaves C1 and bidi controls as they are, which a terminal would obey. They only occur
/// within strings, where `\u` means the same.
fn escape_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Comma-separated values as RFC 4180 has them, with a line of names: the same fields as in JSON,
/// empty for null.
fn csv_of<T: View>(items: &[T]) -> Result<Vec<u8>, CliError> {
    let failed = |error: csv::Error| CliError::failed(format!("printing CSV: {error}"));
    let mut plain = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for item in items {
        plain.serialize(item).map_err(failed)?;
    }
    let plain =
        plain.into_inner().map_err(|error| CliError::failed(format!("printing CSV: {error}")))?;
    let mut safe = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::with_capacity(plain.len()));
    safe.write_record(T::FIELDS).map_err(failed)?;
    for row in csv::ReaderBuilder::new().has_headers(false).from_reader(&*plain).records() {
        safe.write_record(row.map_err(failed)?.iter().map(cell)).map_err(failed)?;
    }
    safe.into_inner().map_err(|error| CliError::failed(format!("printing CSV: {error}")))
}

/// A text that neither a terminal obeys nor a spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let text = printable(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// RFC 3339 for JSON and details.
pub fn rfc3339(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// A moment in a table, to the second.
pub fn short_time(at: Option<Timestamp>) -> String {
    at.map_or_else(dash, |at| at.to_datetime().format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A value that may not be there.
pub fn or_dash(value: Option<&str>) -> String {
    value.map_or_else(dash, str::to_owned)
}

fn dash() -> String {
    "-".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_no_character_that_a_terminal_obeys() {
        let text = "a\u{9b}31m\u{202e}\u{1b}\n";
        let json = escape_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"a\\u009b31m\\u202e\\u001b\\n\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        count: Option<u32>,
    }

    impl View for Row {
        const COLUMNS: &'static [&'static str] = &[];
        const FIELDS: &'static [&'static str] = &["name", "count"];

        fn row(&self) -> Vec<String> {
            Vec::new()
        }

        fn details(&self) -> Vec<(&'static str, String)> {
            Vec::new()
        }
    }

    fn csv(items: &[Row]) -> String {
        String::from_utf8(csv_of(items).unwrap()).unwrap()
    }

    #[test]
    fn csv_has_a_line_of_names_and_quotes_what_needs_it() {
        assert_eq!(csv(&[]), "name,count\r\n");
        let rows = [("a,b", Some(1)), ("say \"x\"", None), ("", Some(0))];
        let rows = rows.map(|(name, count)| Row { name, count });
        let lines = "name,count\r\n\"a,b\",1\r\n\"say \"\"x\"\"\",\r\n,0\r\n";
        assert_eq!(csv(&rows), lines);
    }

    #[test]
    fn no_cell_is_a_formula_or_moves_the_cursor() {
        for (name, shown) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("a=1", "a=1"),
            ("\t=1", "\\u{9}=1"),
            ("a\r\nb", "\\u{d}\\u{a}"),
        ] {
            let text = csv(&[Row { name, count: None }]);
            assert!(text.contains(shown), "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
        assert!(csv(&[Row { name: "=1", count: None }]).contains("\r\n'=1,"));
    }

    #[test]
    fn a_narrow_table_goes_without_its_least_columns() {
        let columns = ["ID", "USER", "SINCE", "FROM"];
        let rows = [["1", "日本", "2026-11-24", "192.0.2.7"].map(str::to_owned).to_vec()];
        let fit = |room| fitting(&columns, &["FROM", "SINCE"], &rows, room);
        // 4 + 6 + 12 + 11
        assert_eq!(fit(33), [0, 1, 2, 3]);
        assert_eq!(fit(32), [0, 1, 2]);
        assert_eq!(fit(21), [0, 1]);
        assert_eq!(fit(1), [0, 1], "the others stay, and are wrapped");
        assert_eq!(fitting(&columns, &["FROM"], &[], 22), [0, 1, 2]);
    }

    #[test]
    fn tables_are_plain_lines() {
        let mut table = plain_table();
        table.set_header(["NAME", "N"]).add_row(["alice", "1"]);
        assert_eq!(table.trim_fmt(), " NAME   N\n alice  1");
    }
}
