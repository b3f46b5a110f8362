//! One connection to an SQLite file: statements, arguments and cells.

use std::sync::Arc;

use sqlx::{
    Arguments, Column, Decode, Row as _, Sqlite, SqliteConnection, TypeInfo, ValueRef,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::error::classify;
use crate::store::sql::{Connection, Done, Row, SqlError, Value};

impl Connection for SqliteConnection {
    async fn execute(&mut self, sql: &'static str, args: &[Value]) -> Result<Done, SqlError> {
        let done = sqlx::query_with(sql, arguments(args)?).execute(self).await.map_err(classify)?;
        Ok(Done { affected: done.rows_affected(), last_id: done.last_insert_rowid() })
    }

    async fn fetch(&mut self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, SqlError> {
        let rows =
            sqlx::query_with(sql, arguments(args)?).fetch_all(self).await.map_err(classify)?;
        let names: Arc<[Box<str>]> = rows.first().map_or_else(
            || Arc::from([]),
            |row| row.columns().iter().map(|c| Box::from(c.name())).collect(),
        );
        rows.iter()
            .map(|row| {
                let values = (0..names.len())
                    .map(|index| cell(row, index))
                    .collect::<Result<_, _>>()
                    .map_err(classify)?;
                Ok(Row { names: Arc::clone(&names), values })
            })
            .collect()
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), SqlError> {
        sqlx::raw_sql(sql).execute(self).await.map_err(classify)?;
        Ok(())
    }

    async fn close(self) {
        // Nothing depends on it: every commit is on disk.
        let _ = sqlx::Connection::close(self).await;
    }
}

fn arguments(values: &[Value]) -> Result<SqliteArguments, SqlError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Null | Value::Foreign => arguments.add(None::<String>),
            Value::Int(number) => arguments.add(*number),
            // SQLite's integers end at 2^63-1: eight exabytes.
            Value::Uint(number) => arguments.add(i64::try_from(*number).unwrap_or(i64::MAX)),
            Value::Text(text) => arguments.add(text.clone()),
            Value::Bytes(bytes) => arguments.add(bytes.clone()),
            // As all times in an SQLite file are, so that they compare as text: arguments are clamped to four digits of a year.
            Value::Time(at) => arguments.add(at.to_calendar()),
        }
        .map_err(|error| SqlError::Refused(error.to_string()))?;
    }
    Ok(arguments)
}

fn cell(row: &SqliteRow, index: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let info = raw.type_info().into_owned();
    let value = match info.name() {
        "INTEGER" | "BOOLEAN" => <i64 as Decode<Sqlite>>::decode(raw).map(Value::Int),
        "REAL" => Ok(Value::Foreign),
        _ => <Vec<u8> as Decode<Sqlite>>::decode(raw).map(Value::from_bytes),
    };
    value.map_err(sqlx::Error::Decode)
}
