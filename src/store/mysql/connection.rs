//! One connection to MySQL or MariaDB: statements, arguments and cells.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use sqlx::{
    Arguments, Column, Decode, MySql, MySqlConnection, Row as _, TypeInfo, ValueRef,
    mysql::{MySqlArguments, MySqlRow},
};

use super::error::classify;
use crate::{
    store::sql::{Connection, Done, Row, SqlError, Value},
    types::Timestamp,
};

impl Connection for MySqlConnection {
    async fn execute(&mut self, sql: &'static str, args: &[Value]) -> Result<Done, SqlError> {
        let done = sqlx::query_with(sql, arguments(args)?).execute(self).await.map_err(classify)?;
        Ok(Done {
            affected: done.rows_affected(),
            last_id: i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX),
        })
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
        // The server notices either way.
        let _ = sqlx::Connection::close(self).await;
    }
}

fn arguments(values: &[Value]) -> Result<MySqlArguments, SqlError> {
    let mut arguments = MySqlArguments::default();
    arguments.reserve(values.len(), values.len() * 16);
    for value in values {
        match value {
            Value::Null | Value::Foreign => arguments.add(None::<&str>),
            Value::Int(number) => arguments.add(number),
            Value::Uint(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text.as_str()),
            Value::Bytes(bytes) => arguments.add(bytes.as_slice()),
            Value::Time(at) => arguments.add(at.to_datetime().naive_utc()),
        }
        .map_err(|error| SqlError::Refused(error.to_string()))?;
    }
    Ok(arguments)
}

/// A cell by the type the server gives it: views of operators' tables have other types than
/// ours. The driver takes a zero date for NULL.
fn cell(row: &MySqlRow, index: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let info = raw.type_info();
    let value = match info.name() {
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "INT UNSIGNED" | "MEDIUMINT UNSIGNED"
        | "BIGINT UNSIGNED" | "BIT" => <u64 as Decode<MySql>>::decode(raw).map(Value::Uint),
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => {
            <i64 as Decode<MySql>>::decode(raw).map(Value::Int)
        }
        "DATETIME" | "TIMESTAMP" => <NaiveDateTime as Decode<MySql>>::decode(raw)
            .map(|naive| Value::Time(Timestamp::from_naive_utc(naive))),
        "DATE" => <NaiveDate as Decode<MySql>>::decode(raw)
            .map(|date| Value::Time(Timestamp::from_naive_utc(date.and_time(NaiveTime::MIN)))),
        "FLOAT" | "DOUBLE" | "DECIMAL" | "TIME" | "YEAR" | "GEOMETRY" => Ok(Value::Foreign),
        _ => <Vec<u8> as Decode<MySql>>::decode(raw).map(Value::from_bytes),
    };
    value.map_err(sqlx::Error::Decode)
}
