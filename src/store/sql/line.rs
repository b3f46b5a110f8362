//! A session's row as one line of text, with the values that a database would get.

use std::sync::{Arc, LazyLock};

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::{
    Row, Value,
    record::{self, push_session},
    statements::SESSION_COLUMNS,
};
use crate::{
    store::{SessionRecord, StoreError},
    types::Timestamp,
};

static NAMES: LazyLock<Arc<[Box<str>]>> =
    LazyLock::new(|| SESSION_COLUMNS.split(", ").map(Box::from).collect());

/// Appends the line, with its end.
pub fn encode(session: &SessionRecord, lines: &mut Vec<u8>) {
    let mut values = Vec::with_capacity(NAMES.len() + 1);
    push_session(&mut values, session);
    values.truncate(NAMES.len());
    // Into memory this cannot fail.
    let _ = serde_json::to_writer(&mut *lines, &values);
    lines.push(b'\n');
}

/// The row of such a line; one that an older program has written ends before what came later.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything else.
pub fn decode(line: &[u8]) -> Result<SessionRecord, StoreError> {
    let corrupt = || StoreError::Corrupt("it is no line of a session".into());
    let cells: Vec<Json> = serde_json::from_slice(line).map_err(|_| corrupt())?;
    let values: Option<Vec<Value>> = cells.into_iter().map(value).collect();
    let mut values = values.filter(|values| values.len() <= NAMES.len()).ok_or_else(corrupt)?;
    values.resize(NAMES.len(), Value::Null);
    record::session(&Row { names: Arc::clone(&NAMES), values })
}

/// A time is a list of its milliseconds, so that it is no number.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(at) => [at.as_millis()].serialize(serializer),
            Self::Null | Self::Bytes(_) | Self::Foreign => serializer.serialize_unit(),
        }
    }
}

fn value(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Uint(number.as_u64()?),
        },
        Json::Array(time) => match time.as_slice() {
            [at] => Value::Time(Timestamp::from_millis(at.as_i64()?)),
            _ => return None,
        },
        Json::Bool(_) | Json::Object(_) => return None,
    })
}
