//! Values on their way to and from a database, and rows read with errors that name the place.
//!
//! The two drivers turn their own types into these; everything above is the same for both.

use std::{str::FromStr, sync::Arc};

use chrono::NaiveDateTime;

use crate::{
    store::StoreError,
    types::{Printable, Timestamp, truncate_on_char},
};

/// The earliest time that both databases can hold: the start of the year 1000.
const EARLIEST: Timestamp = Timestamp::from_millis(-30_610_224_000_000);

/// One bound argument or one cell.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Int(i64),
    Uint(u64),
    Text(String),
    /// Bytes that are not UTF-8.
    Bytes(Vec<u8>),
    Time(Timestamp),
    /// A type that no column of ours has.
    Foreign,
}

impl Value {
    /// Bytes of a text or binary column.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|e| Self::Bytes(e.into_bytes()), Self::Text)
    }

    /// Text cut to a column's width; the callers' own bounds are the same or narrower.
    pub fn cut(text: &str, max: usize) -> Self {
        Self::Text(truncate_on_char(text, max).to_owned())
    }

    /// Optional text, cut.
    pub fn cut_opt(text: Option<&str>, max: usize) -> Self {
        text.map_or(Self::Null, |text| Self::cut(text, max))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(flag.into())
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Time(at.clamp(EARLIEST, Timestamp::MAX))
    }
}

impl<T> From<Option<T>> for Value
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// One row of a result.
pub struct Row {
    pub names: Arc<[Box<str>]>,
    pub values: Vec<Value>,
}

/// The cells of one table in a row, for reading.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    row: &'a Row,
    table: &'static str,
    prefix: &'static str,
    key: &'static str,
}

impl<'a> Cells<'a> {
    /// `table` and the column `key` name the row in errors.
    pub const fn new(row: &'a Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, prefix: "", key }
    }

    /// The same for columns that are named `prefix` + their name in this result.
    pub const fn prefixed(
        row: &'a Row,
        table: &'static str,
        prefix: &'static str,
        key: &'static str,
    ) -> Self {
        Self { row, table, prefix, key }
    }

    fn find(&self, column: &str) -> Option<&'a Value> {
        // Lengths first: most names of a wide row differ in theirs.
        let length = self.prefix.len() + column.len();
        let is_it =
            |name: &str| name.len() == length && name.strip_prefix(self.prefix) == Some(column);
        let position = self.row.names.iter().position(|name| is_it(name))?;
        self.row.values.get(position)
    }

    fn value(&self, column: &'static str) -> Result<&'a Value, StoreError> {
        self.find(column).ok_or_else(|| {
            StoreError::Schema(format!("table {} has no column {column}", self.table))
        })
    }

    /// The error for a value that breaks a rule; says where it is, never what it is.
    pub fn corrupt(&self, column: &'static str, rule: &str) -> StoreError {
        let key = match self.find(self.key) {
            Some(Value::Text(text)) => {
                Printable(truncate_on_char(text, 128).as_bytes()).to_string()
            }
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Uint(number)) => number.to_string(),
            _ => "?".to_owned(),
        };
        StoreError::Corrupt(format!(
            "{}.{column} where {} is `{key}`: {rule}",
            self.table, self.key
        ))
    }

    /// The error for NULL where there has to be a value.
    fn null(&self, column: &'static str) -> StoreError {
        self.corrupt(column, "is NULL")
    }

    pub fn text(&self, column: &'static str) -> Result<Option<&'a str>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            Value::Bytes(_) => Err(self.corrupt(column, "is not UTF-8")),
            Value::Int(_) | Value::Uint(_) | Value::Time(_) | Value::Foreign => {
                Err(self.corrupt(column, "is not text"))
            }
        }
    }

    pub fn some_text(&self, column: &'static str) -> Result<&'a str, StoreError> {
        self.text(column)?.ok_or_else(|| self.null(column))
    }

    pub fn owned(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.text(column)?.map(str::to_owned))
    }

    /// Text that has to be one of a set, or follow a syntax.
    pub fn parsed<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text(column)?
            .map(|text| text.parse().map_err(|_| self.corrupt(column, "is not a known value")))
            .transpose()
    }

    pub fn some_parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parsed(column)?.ok_or_else(|| self.null(column))
    }

    /// A whole number of the range of `T`.
    pub fn number<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: TryFrom<i64> + TryFrom<u64>,
    {
        let number = match self.value(column)? {
            Value::Null => return Ok(None),
            Value::Int(number) => T::try_from(*number).ok(),
            Value::Uint(number) => T::try_from(*number).ok(),
            Value::Text(_) | Value::Bytes(_) | Value::Time(_) | Value::Foreign => {
                return Err(self.corrupt(column, "is not a whole number"));
            }
        };
        number.map(Some).ok_or_else(|| self.corrupt(column, "is out of range"))
    }

    pub fn some_number<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: TryFrom<i64> + TryFrom<u64>,
    {
        self.number(column)?.ok_or_else(|| self.null(column))
    }

    pub fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        match self.some_number::<i64>(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt(column, "is neither 0 nor 1")),
        }
    }

    pub fn optional_flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        let is_null = matches!(self.value(column)?, Value::Null);
        if is_null { Ok(None) } else { self.flag(column).map(Some) }
    }

    pub fn time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Time(at) => Ok(Some(*at)),
            Value::Text(text) => Timestamp::from_calendar(text)
                // What others have written may be in a form that is read more slowly.
                .or_else(|| {
                    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
                    naive.ok().map(Timestamp::from_naive_utc)
                })
                .map(Some)
                .ok_or_else(|| self.corrupt(column, "is not a time as 2026-12-31 18:00:00.000")),
            Value::Int(_) | Value::Uint(_) | Value::Bytes(_) | Value::Foreign => {
                Err(self.corrupt(column, "is not a time"))
            }
        }
    }

    pub fn some_time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.time(column)?.ok_or_else(|| self.null(column))
    }

    /// Bytes of a binary column, whether or not they happen to be UTF-8.
    pub fn bytes(&self, column: &'static str) -> Result<&'a [u8], StoreError> {
        match self.value(column)? {
            Value::Text(text) => Ok(text.as_bytes()),
            Value::Bytes(bytes) => Ok(bytes),
            Value::Null | Value::Int(_) | Value::Uint(_) | Value::Time(_) | Value::Foreign => {
                Err(self.corrupt(column, "is not binary"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: Vec<(&str, Value)>) -> Row {
        Row {
            names: values.iter().map(|(name, _)| Box::from(*name)).collect(),
            values: values.into_iter().map(|(_, value)| value).collect(),
        }
    }

    #[test]
    fn bad_cells_are_named_and_their_value_is_not_shown() {
        let row = row(vec![
            ("name", "al\u{202e}ice".into()),
            ("enabled", Value::Int(7)),
            ("limit", Value::Int(-1)),
            ("at", "yesterday".into()),
        ]);
        let cells = Cells::new(&row, "users", "name");
        let at = |column: &str, rule: &str| {
            StoreError::Corrupt(format!("users.{column} where name is `al\\u{{202e}}ice`: {rule}"))
        };
        assert_eq!(cells.flag("enabled"), Err(at("enabled", "is neither 0 nor 1")));
        assert_eq!(cells.number::<u32>("limit"), Err(at("limit", "is out of range")));
        assert!(cells.time("at").is_err());
        assert_eq!(
            cells.text("nothing"),
            Err(StoreError::Schema("table users has no column nothing".into()))
        );
    }

    #[test]
    fn times_out_of_the_databases_range_are_moved_to_its_ends() {
        let time = |millis| {
            let Value::Time(at) = Value::from(Timestamp::from_millis(millis)) else {
                return String::new();
            };
            at.to_string()
        };
        assert_eq!(time(i64::MIN), "1000-01-01T00:00:00.000Z");
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
