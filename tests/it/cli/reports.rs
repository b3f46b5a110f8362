//! Reports and CSV.

use serde_json::{Value, json};

use super::bench::{Bench, COLUMNS};

/// A session of the database: its times are of November 2026.
async fn session(bench: &Bench, number: u32, user: &str, start: &str, end: Option<&str>) {
    let (state, ended, cause) = match end {
        Some(end) => ("closed", format!("'2026-11-{end}'"), "'user_request'"),
        None => ("active", "NULL".into(), "NULL"),
    };
    let last = end.unwrap_or(start);
    bench
        .sql(&format!(
            "INSERT INTO sessions ({COLUMNS}) SELECT '0190ab12-3456-7abc-8def-{number:012}', 1, '{state}', \
             'udp', '2026-11-01 00:00:00.000', {number}, '{user}', '=cmd()', NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, '2026-11-{start}', '2026-11-{last}', NULL, NULL, 'halt', \
             {ended}, {cause}, \
             CAST(round((julianday('2026-11-{last}') - julianday('2026-11-{start}')) * 86400) \
             AS INTEGER), 800, 80"
        ))
        .await;
}

async fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["session", "list"]);
    session(&bench, 1, "alice", "23 22:00:00.000", Some("24 06:00:00.000")).await;
    session(&bench, 2, "alice", "24 08:00:00.000", Some("24 09:00:00.000")).await;
    session(&bench, 3, "+bob", "01 00:00:00.000", Some("30 00:00:00.000")).await;
    bench
}

/// Every cell of CSV is what JSON has for the same field.
#[track_caller]
fn same(csv: &str, json: &Value) {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let objects = json.as_array().unwrap();
    assert_eq!(rows.len(), objects.len());
    for (row, object) in rows.iter().zip(objects) {
        assert_eq!(names.len(), object.as_object().unwrap().len());
        for (name, cell) in names.iter().zip(row) {
            let value = match &object[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    object[name].to_string()
                }
            };
            assert_eq!(cell.strip_prefix('\'').unwrap_or(cell), value, "{name}");
        }
    }
}

#[tokio::test]
async fn usage_is_cut_at_the_ends_of_periods() {
    let bench = bench().await;
    let args = ["report", "usage", "--since", "2026-11-23", "--until", "2026-11-25"];
    let by = |by: &str| bench.json(&[&args[..], &["--by", by, "--user", "alice"]].concat());
    assert_eq!(
        by("day"),
        json!([
            {
                "user": "alice", "period": "2026-11-23", "sessions": 1, "duration_s": 7200,
                "from": "2026-11-23T00:00:00.000Z", "until": "2026-11-24T00:00:00.000Z",
                "bytes_received": 200, "bytes_sent": 20,
            },
            {
                "user": "alice", "period": "2026-11-24", "sessions": 2, "duration_s": 25200,
                "from": "2026-11-24T00:00:00.000Z", "until": "2026-11-25T00:00:00.000Z",
                "bytes_received": 1400, "bytes_sent": 140,
            },
        ])
    );
    assert_eq!(by("week")[0]["period"], "2026-W48");
    assert_eq!(by("month")[0]["period"], "2026-11");
    let total = bench.json(&args);
    assert_eq!(total[0]["user"], "+bob");
    assert_eq!(total[0]["duration_s"], 2 * 86_400, "a long session that covers all of it");
    assert_eq!(total[1]["duration_s"], 9 * 3_600);
    assert_eq!(total[1]["period"], "total");
    let table = bench.ok(&args);
    assert!(table.contains("9h00m") && table.contains("1.5 KiB"), "{table}");
    let csv = bench.ok(&[&args[..], &["--csv"]].concat());
    same(&csv, &total);
    assert!(csv.contains("\r\n'+bob,total,"), "{csv}");
    bench
        .run(&["report", "usage", "--since", "2026-11-25", "--until", "2026-11-25"])
        .fails(2, "is not after --since");
    bench.run(&["report", "usage", "--csv", "--json"]).fails(2, "give one of them");
}

#[tokio::test]
async fn what_is_about_to_end_is_listed() {
    let bench = bench().await;
    for (name, until) in [("zoe", "+2h"), ("carl", "+2h"), ("dora", "+9d"), ("eve", "+1h")] {
        bench.add_user(name);
        bench.ok(&["user", "set", name, "--valid-until", until]);
    }
    bench.add_user("ever");
    bench.ok(&["user", "disable", "carl"]);
    bench.sql("UPDATE users SET valid_until = '2026-01-01 00:00:00.000' WHERE name = 'eve'").await;
    session(&bench, 4, "alice", "25 00:00:00.000", None).await;
    bench
        .sql(
            "UPDATE sessions SET deadline = strftime('%Y-%m-%d %H:%M:%S.000', 'now', '+1 hour'), \
             deadline_reason = 'session_limit' WHERE cid = 4",
        )
        .await;
    for (mac, until) in [("01", "+3h"), ("02", "+9d"), ("03", "+3h")] {
        let mac = format!("02:00:00:00:00:{mac}");
        bench.ok(&["device", "add", "zoe", &mac, "--valid-until", until]);
    }
    bench.ok(&["device", "block", "zoe", "02:00:00:00:00:03"]);
    let list = bench.json(&["report", "expiring"]);
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
    assert_eq!((&list[2]["kind"], &list[2]["user"]), (&json!("device"), &json!("zoe")));
    assert_eq!(list[2]["device"], "02:00:00:00:00:01");
    assert_eq!((&list[0]["kind"], &list[0]["user"]), (&json!("session"), &json!("alice")));
    assert_eq!(list[0]["reason"], "session_limit");
    assert!((3_500..=3_600).contains(&list[0]["left_s"].as_u64().unwrap()), "{list}");
    assert_eq!((&list[1]["kind"], &list[1]["user"]), (&json!("account"), &json!("zoe")));
    assert_eq!(list[1]["reason"], "account_expiry");
    assert_eq!(bench.json(&["report", "expiring", "--within", "10d"]).as_array().unwrap().len(), 5);
    assert_eq!(bench.json(&["report", "expiring", "--within", "5m"]), json!([]));
    let header = "kind,user,ends_at,left_s,reason,server,session_id,device\r\n";
    assert_eq!(bench.ok(&["report", "expiring", "--within", "5m", "--csv"]), header);
    let csv = bench.ok(&["report", "expiring", "--csv"]);
    assert!(csv.starts_with(header) && csv.lines().count() == 4, "{csv}");
    bench.run(&["report", "expiring", "--within", "soon"]).fails(2, "not a duration");
}

#[tokio::test]
async fn history_comes_as_csv_without_formulas() {
    let bench = bench().await;
    let csv = bench.ok(&["session", "history", "--csv"]);
    same(&csv, &bench.json(&["session", "history"]));
    assert!(csv.contains(",'=cmd(),") && csv.contains(",'+bob,"), "{csv}");
    let none = bench.ok(&["session", "history", "--user", "nobody", "--csv"]);
    assert!(none.starts_with("id,user,server,") && none.lines().count() == 1, "{none}");
}

#[tokio::test]
async fn who_would_be_locked_out_is_listed() {
    let bench = bench().await;
    bench.add_user("alice");
    for (number, device) in [(1, "02:1a:2b:3c:4d:5e"), (2, "02:1a:2b:3c:4d:5f")] {
        bench
            .sql(&format!(
                "UPDATE sessions SET device = '{device}', device_kind = 'mac' WHERE cid = {number}"
            ))
            .await;
    }
    session(&bench, 4, "alice", "24 10:00:00.000", None).await;
    bench.ok(&["device", "add", "alice", "02:1a:2b:3c:4d:5e"]);
    let since = ["--since", "2026-11-01"];
    let args = [&["report", "lockout"][..], &since].concat();
    let found = bench.json(&args);
    let rows: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["user"].as_str().unwrap(), row["reason"].as_str().unwrap()))
        .collect();
    // Bob is nobody any more; the approved device is no reason.
    assert_eq!(rows, [("alice", "device_missing"), ("alice", "device_unknown")]);
    assert_eq!(found[1]["device"], "02:1a:2b:3c:4d:5f");
    bench.ok(&["device", "add", "alice", "02:1a:2b:3c:4d:5f"]);
    bench.ok(&["device", "block", "alice", "02:1a:2b:3c:4d:5f"]);
    assert_eq!(bench.json(&args)[1]["reason"], "device_blocked");
    same(&bench.ok(&[&args[..], &["--csv"]].concat()), &bench.json(&args));
}
