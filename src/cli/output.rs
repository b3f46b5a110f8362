//! What commands print: a table for people, JSON for programs. All of it goes through here.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::types::Printable;

use super::exit::CliError;

/// Standard output, in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A list: rows of a table, or a JSON array.
    pub(super) fn list<T: Serialize>(
        self,
        columns: &[&str],
        items: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        if self.json {
            return write_json(&items);
        }
        if items.is_empty() {
            return write_text("none\n");
        }
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(columns);
        for item in items {
            table.add_row(row(item));
        }
        write_text(&format!("{}\n", table.trim_fmt()))
    }

    /// One thing: `name: value` lines, or a JSON object.
    pub(super) fn object<T: Serialize>(
        self,
        item: &T,
        fields: &[(&str, String)],
    ) -> Result<(), CliError> {
        if self.json {
            return write_json(item);
        }
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in fields {
            text += &format!("{name:<width$}  {value}\n");
        }
        write_text(&text)
    }

    /// Lines of text, or a JSON array.
    pub(super) fn lines<T: Serialize>(
        self,
        items: &[T],
        line: impl Fn(&T) -> String,
    ) -> Result<(), CliError> {
        if self.json {
            return write_json(&items);
        }
        write_text(&items.iter().map(|item| line(item) + "\n").collect::<String>())
    }

    /// One value alone, or a JSON object with it.
    pub(super) fn value(self, name: &str, value: &str) -> Result<(), CliError> {
        if self.json {
            return write_json(&std::collections::BTreeMap::from([(name, value)]));
        }
        write_text(&format!("{value}\n"))
    }

    /// What was done, in a sentence; with JSON `{"done": …}`.
    pub(super) fn done(self, text: &str) -> Result<(), CliError> {
        if self.json {
            return write_json(&serde_json::json!({ "done": text }));
        }
        write_text(&format!("{text}\n"))
    }
}

fn write_json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(io::Error::from)?;
    write_text(&(text + "\n"))
}

/// Prints text as it is.
pub(super) fn write_text(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Text from the network, for a cell; `-` where there is none.
pub(super) fn cell(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| Printable(text.as_bytes()).to_string())
}
