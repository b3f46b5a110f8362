//! A CSV file as rows.

use std::{collections::BTreeSet, io::Read, path::Path};

use csv::ByteRecord;

use super::row::Raw;
use crate::{cli::exit::CliError, store::ForeignTable};

/// The largest file, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// The longest line, in bytes.
const MAX_LINE: usize = 32 << 10;

/// Reads a file whole, within bounds.
pub fn read(path: &Path) -> Result<Vec<Raw>, CliError> {
    let shown = path.display();
    let io = |error: std::io::Error| {
        CliError::failed(format!("reading {shown}: {error}")).or_next(
            "name a CSV file that this user may read; `import csv --help` tells its columns",
        )
    };
    // A look before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(CliError::usage(format!("{shown} is not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("{shown} is larger than {} MiB", MAX_FILE >> 20);
        return Err(CliError::usage(what).or_next("import it in parts"));
    }
    parse(&bytes).map_err(|(what, next)| CliError::usage(format!("{shown}: {what}")).or_next(next))
}

/// What is wrong with a file as a whole, and what to do about it.
pub type Fault = (String, &'static str);

/// The rows of a file, sound or not.
///
/// # Errors
/// Where no row can be read for what it is.
pub fn parse(bytes: &[u8]) -> Result<Vec<Raw>, Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Of each line it is said whether it has as many fields as the header: none is passed over.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let broken = |error: csv::Error| (error.to_string(), "is it a CSV file?");
    let header = header(reader.byte_headers().map_err(broken)?)?;
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    let mut lines = Lines { bytes, at: 0, line: 1 };
    while reader.read_byte_record(&mut record).map_err(broken)? {
        if rows.len() >= ForeignTable::MOST {
            let what = format!("more than {} rows", ForeignTable::MOST);
            return Err((what, "import it in parts"));
        }
        let line = lines.of(&record);
        rows.push(row(&record, &header, line));
    }
    Ok(rows)
}

/// The name of each column, in the order of the file.
fn header(fields: &ByteRecord) -> Result<Vec<&'static str>, Fault> {
    const KNOWN: &str = "the first line names the columns, apart by commas: name, and any of \
                         password_hash, policy, enabled, valid_from, valid_until, devices";
    let mut header = Vec::new();
    for field in fields {
        let text = String::from_utf8_lossy(field);
        let known = ForeignTable::View.columns().iter().find(|column| **column == text.trim());
        let Some(column) = known else {
            let shown: String = text.chars().take(64).collect();
            return Err((format!("`{shown}` is no column that can be imported"), KNOWN));
        };
        header.push(*column);
    }
    if header.iter().collect::<BTreeSet<_>>().len() < header.len() {
        return Err(("a column stands twice in the header".into(), KNOWN));
    }
    if !header.contains(&"name") {
        return Err(("there is no column `name`".into(), KNOWN));
    }
    Ok(header)
}

/// Lines as a person counts them; the reader leaves an end of line to the record that follows.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    fn of(&mut self, record: &ByteRecord) -> u64 {
        let start = record.position().map_or(0, |at| usize::try_from(at.byte()).unwrap_or(0));
        while let Some(byte) = self.bytes.get(self.at)
            && (self.at < start || matches!(byte, b'\r' | b'\n'))
        {
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

fn row(record: &ByteRecord, header: &[&'static str], line: u64) -> Raw {
    let mut raw = Raw { row: format!("line {line}"), ..Raw::default() };
    if record.as_slice().len() > MAX_LINE {
        let problem = format!("longer than {MAX_LINE} bytes; is a quote left open?");
        raw.problems.push(problem);
        return raw;
    }
    if record.len() != header.len() {
        let (fields, columns) = (record.len(), header.len());
        raw.problems.push(format!("has {fields} fields, and the header {columns}"));
    }
    for (column, field) in header.iter().zip(record) {
        let Ok(text) = std::str::from_utf8(field) else {
            raw.problems.push(format!("{column}: is not UTF-8"));
            continue;
        };
        raw.set(column, Some(text.to_owned()));
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Raw> {
        parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[test]
    fn columns_are_found_by_the_header() {
        let rows = read("\u{feff}devices,name,enabled\r\na;b,\"x,\"\"y\",0\r\n,z,\r\n");
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].row.as_str(), rows[0].name.as_str()), ("line 2", "x,\"y"));
        assert_eq!(rows[0].devices, ["a", "b"]);
        assert_eq!(rows[0].enabled.as_deref(), Some("0"));
        assert_eq!(rows[1].row, "line 3");
        assert!(rows.iter().all(|row| row.problems.is_empty()));
        let rows = read("name\n\n\"a\nb\"\n\nc\n");
        assert_eq!((rows[0].row.as_str(), rows[1].row.as_str()), ("line 3", "line 6"));
    }

    #[test]
    fn a_header_that_is_not_understood_stops_it() {
        for (text, words) in [
            ("", "no column `name`"),
            ("policy\nstaff\n", "no column `name`"),
            ("name,password\na,b\n", "`password` is no column"),
            ("name;policy\na;b\n", "`name;policy` is no column"),
            ("name,name\na,b\n", "stands twice"),
        ] {
            let (what, next) = parse(text.as_bytes()).err().unwrap();
            assert!(what.contains(words) && next.contains("password_hash"), "{text}: {what}");
        }
    }

    #[test]
    fn bad_lines_are_told_and_none_is_passed_over() {
        let long = "x".repeat(MAX_LINE);
        let text = format!("name,policy\na\nb,c,d\n{long},x\ne,f\n");
        let rows = read(&text);
        let problems: Vec<_> = rows.iter().map(|row| row.problems.join("")).collect();
        assert!(problems[0].contains("1 fields") && problems[1].contains("3 fields"));
        assert!(problems[2].contains("longer than") && rows[3].name == "e");
        let rows = parse(b"name\nz\xff\n").unwrap_or_default();
        assert_eq!(rows[0].problems, ["name: is not UTF-8"]);
        let open = format!("name,policy\na,\"{}", "b,c\n".repeat(MAX_LINE));
        assert!(read(&open)[0].problems[0].contains("quote left open"));
    }

    #[test]
    fn there_is_a_bound_on_rows() {
        let text = format!("name\n{}", "a\n".repeat(ForeignTable::MOST + 1));
        assert!(parse(text.as_bytes()).err().unwrap().0.contains("more than 100000 rows"));
    }
}
