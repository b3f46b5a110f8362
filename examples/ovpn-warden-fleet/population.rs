//! Who there is: each client of the fleet is a user of its own, with one device.

use std::fmt::Write as _;

use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};

/// The right password of everybody.
pub const PASSWORD: &str = "correct horse battery staple";
/// The policy of those whose time ends.
pub const SHORT: &str = "short";
/// Rows of one statement.
const ROWS: usize = 500;

pub fn user(number: usize) -> String {
    format!("user{number:06}")
}

/// Which user that is.
pub fn number(user: &str) -> Option<usize> {
    user.strip_prefix("user")?.parse().ok()
}

pub fn mac(number: usize) -> String {
    let [.., a, b, c, d] = (number as u64).to_be_bytes();
    format!("02:1a:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Whether this one belongs to so many of a hundred; spread evenly.
pub fn is_among(number: usize, percent: u32) -> bool {
    (number * percent as usize) % 100 < percent as usize
}

/// What all of them have in common.
pub struct Seed<'a> {
    pub count: usize,
    pub hash: &'a str,
    /// So many of a hundred have the policy [`SHORT`].
    pub short: u32,
    /// When every account ends, as the database writes it.
    pub valid_until: Option<String>,
}

/// Writes users and devices by large statements: by the program's own functions, each in its own
/// transaction with its audit, a hundred thousand would take minutes.
pub async fn write(url: &str, seed: &Seed<'_>) -> Result<(), sqlx::Error> {
    let statements = statements(seed);
    match url.strip_prefix("sqlite://") {
        Some(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            for text in ["BEGIN".to_owned()].into_iter().chain(statements) {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await?;
            }
            sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
            connection.close().await
        }
        None => {
            let mut connection = MySqlConnection::connect(url).await?;
            for text in statements {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await?;
            }
            connection.close().await
        }
    }
}

fn statements(seed: &Seed<'_>) -> Vec<String> {
    const AT: &str = "'2026-01-01 00:00:00.000'";
    let until = seed.valid_until.as_ref().map_or("NULL".to_owned(), |at| format!("'{at}'"));
    let mut made = Vec::new();
    for first in (0..seed.count).step_by(ROWS) {
        let numbers = first..seed.count.min(first + ROWS);
        let mut text = String::from(
            "INSERT INTO users (id, name, password_hash, policy, enabled, valid_until, created_at, \
             updated_at) VALUES ",
        );
        for number in numbers.clone() {
            let policy = if is_among(number, seed.short) { "'short'" } else { "NULL" };
            let (comma, id) = (if number > first { "," } else { "" }, number + 1);
            let (name, hash) = (user(number), seed.hash);
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}({id},'{name}','{hash}',{policy},1,{until},{AT},{AT})");
        }
        made.push(text);
        let mut text = String::from(
            "INSERT INTO devices (user_id, kind, identifier, status, created_at, updated_at) VALUES ",
        );
        for number in numbers {
            let (comma, id, mac) = (if number > first { "," } else { "" }, number + 1, mac(number));
            let _ = write!(text, "{comma}({id},'mac','{mac}','approved',{AT},{AT})");
        }
        made.push(text);
    }
    made
}
