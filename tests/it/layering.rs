//! Who may import whom: reads `src/` and fails on an edge that the architecture does not have.
//!
//! What a file names is found in its text: use trees are expanded, other paths taken as they
//! stand; comments, literals and test modules do not count.

use std::{collections::BTreeSet, fs, path::Path};

/// Each room, and what it may name of the crate. A prefix of a path stands for all below it.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("listen", &[]),
    ("fail_point.rs", &[]),
    ("proto", &["types"]),
    ("store", &["types", "fail_point"]),
    ("auth/service", &["types", "store", "auth"]),
    ("auth/password", &["types", "auth::password"]),
    ("auth", &["types", "proto", "store", "auth"]),
    (
        "config",
        &[
            "types",
            "store",
            "auth::device",
            "auth::password::scheme",
            "auth::password::MAX_WORK_KIB",
        ],
    ),
    ("telemetry", &["types", "config", "listen"]),
    (
        "engine",
        &[
            "types",
            "proto",
            "store",
            "auth::request",
            "auth::device",
            "auth::imprint",
            "auth::quota::Allowance",
            "auth::terms",
            "auth::text",
            "auth::second_factor::response",
            "auth::token",
            "telemetry::events",
        ],
    ),
    (
        "console",
        &[
            "types",
            "listen",
            "store",
            "auth::decide",
            "auth::password",
            "auth::service::trial",
            "auth::text",
            "config",
            "telemetry",
        ],
    ),
    (
        "daemon",
        &[
            "types",
            "listen",
            "fail_point",
            "proto",
            "store",
            "auth",
            "config",
            "telemetry",
            "engine",
        ],
    ),
    (
        "cli",
        &["types", "proto", "store", "auth", "config", "telemetry", "engine", "console", "daemon"],
    ),
    ("main.rs", &["cli"]),
    ("lib.rs", &[]),
];

/// Files without a socket, clock, database, thread or environment.
const CORES: &[&str] = &[
    "types/",
    "proto/",
    "engine/",
    "auth/client_config.rs",
    "auth/decide.rs",
    "auth/device.rs",
    "auth/failures.rs",
    "auth/grace.rs",
    "auth/imprint.rs",
    "auth/quota.rs",
    "auth/request.rs",
    "auth/second_factor/challenge.rs",
    "auth/second_factor/mod.rs",
    "auth/second_factor/response.rs",
    "auth/second_factor/totp.rs",
    "auth/slowest.rs",
    "auth/terms.rs",
    "auth/text.rs",
    "auth/throttle.rs",
    "auth/token.rs",
    "telemetry/events.rs",
    "store/client_config.rs",
    "store/record.rs",
    "store/error.rs",
    "store/failure.rs",
    "store/usage.rs",
    "console/charts.rs",
    "console/fields.rs",
    "cli/check/conf.rs",
    "cli/check/lint.rs",
    "cli/check/rules.rs",
    "cli/check/version.rs",
    "cli/report/usage.rs",
    "cli/import/radius.rs",
    "cli/import/row.rs",
    "cli/import/tables.rs",
    "cli/top/dialog.rs",
    "cli/top/history.rs",
    "cli/top/keys.rs",
    "cli/top/metrics.rs",
    "cli/top/screen.rs",
    "cli/top/snapshot.rs",
    "cli/top/state.rs",
    "cli/top/symbols.rs",
    "cli/top/table.rs",
    "cli/top/text.rs",
    "cli/top/traffic.rs",
];

/// What a core names none of, and the files that are excused, each for its reason.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("tokio", &[]),
    // The glue between the grammar and a byte stream.
    ("tokio_util", &["proto/codec.rs"]),
    ("sqlx", &[]),
    ("rand", &[]),
    ("std::fs", &[]),
    ("std::env", &[]),
    ("std::thread", &[]),
    ("std::process", &[]),
    ("std::net", &[]),
    // The one clock.
    ("std::time::SystemTime", &["types/time.rs"]),
    ("std::time::Instant", &["types/time.rs"]),
];

/// Crates that have their place.
const PLACES: &[(&str, &[&str])] = &[
    ("sqlx", &["store/mysql/", "store/sqlite/", "store/sql/", "store/error.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/"]),
    ("axum", &["console/", "listen/", "telemetry/"]),
    ("maud", &["console/"]),
    ("form_urlencoded", &["console/fields.rs"]),
    ("nom", &["proto/"]),
    ("argon2", &["auth/password/"]),
    ("bcrypt", &["auth/password/"]),
    (
        "hmac",
        &[
            "auth/imprint.rs",
            "auth/second_factor/challenge.rs",
            "console/access.rs",
            "daemon/webhook/",
        ],
    ),
    (
        "http",
        &[
            "cli/top/poll.rs",
            "config/console.rs",
            "config/mod.rs",
            "config/webhook.rs",
            "daemon/webhook/",
        ],
    ),
    ("hyper_rustls", &["daemon/webhook/"]),
    ("hyper_util", &["cli/top/poll.rs", "daemon/webhook/"]),
    ("rustls", &["daemon/webhook/", "store/mysql/files.rs"]),
    ("md4", &["auth/password/"]),
    ("md5", &["auth/password/"]),
    ("pbkdf2", &["auth/password/"]),
    ("scrypt", &["auth/password/"]),
    ("sha1", &["auth/password/"]),
    (
        "sha2",
        &[
            "auth/imprint.rs",
            "auth/password/",
            "auth/second_factor/",
            "console/access.rs",
            "daemon/webhook/",
        ],
    ),
    ("sha_crypt", &["auth/password/"]),
    ("subtle", &["auth/password/", "console/access.rs"]),
    ("qrcode", &["cli/user/totp.rs"]),
    ("rpassword", &["cli/"]),
    (
        "rustix",
        &["auth/password/pause.rs", "auth/password/share.rs", "cli/mod.rs", "store/watch.rs"],
    ),
    // With its unsafe calls.
    ("libc", &["auth/password/pause.rs", "auth/password/share.rs"]),
    ("totp_rs", &["auth/second_factor/totp.rs"]),
    ("comfy_table", &["cli/"]),
    ("crossterm", &["cli/top/"]),
    ("ratatui", &["cli/top/"]),
    ("unicode_width", &["cli/output.rs", "cli/top/"]),
    ("csv", &["cli/output.rs", "cli/import/file.rs"]),
    ("indicatif", &["cli/progress.rs"]),
];

/// What in a file, by its path below `src/`, breaks a rule.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return found;
    }
    let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| is_in(path, room)) else {
        return vec![format!("{path}: no room for it: name it in ROOMS")];
    };
    let code = code(text);
    let paths = paths(&code);
    let own = room.split('/').next().unwrap_or(room);
    for name in &paths {
        let Some(inside) = name.strip_prefix("crate::").or(name.strip_prefix("ovpn_warden::"))
        else {
            continue;
        };
        let is_own = own == inside.split("::").next().unwrap_or("") && !own.ends_with(".rs");
        let is_sibling = is_own && *room == own;
        if !is_sibling && !allowed.iter().any(|allowed| begins(inside, allowed)) {
            found.push(format!("{path}: {room} may not name {name}"));
        }
    }
    for (name, places) in PLACES {
        if paths.iter().any(|path| begins(path, name)) && !places.iter().any(|p| is_in(path, p)) {
            found.push(format!("{path}: {name} has no place there, only in {places:?}"));
        }
    }
    if CORES.iter().any(|core| is_in(path, core)) {
        for (name, excused) in OUTSIDE {
            let names_it = |p: &&String| begins(p, name) && !is_plain_address(p);
            if let Some(named) = paths.iter().find(names_it)
                && !excused.contains(&path)
            {
                found.push(format!("{path}: a core may not name {named}"));
            }
        }
        if code.contains("::now()") && path != "types/time.rs" {
            found.push(format!("{path}: a core is told the time, it never asks ::now()"));
        }
    }
    found
}

/// Types of `std::net` that are values, not sockets.
fn is_plain_address(path: &str) -> bool {
    let name = path.strip_prefix("std::net::").unwrap_or("");
    ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError"]
        .iter()
        .any(|plain| begins(name, plain))
}

fn is_in(path: &str, place: &str) -> bool {
    path == place || place.ends_with('/') && path.starts_with(place) || {
        path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The text without comments, literals and the module of tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") || rest.starts_with("br#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest)
        } else if let Some(length) = char_literal(rest) {
            length
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// The length of a character literal; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return inner.find('\'').map(|_| {
            let after = &inner[2..];
            3 + after.find('\'').unwrap_or(0) + 1
        });
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}

/// Every path that the code names: use trees expanded, others as they stand.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '_' || c == ':') {
        rest = &rest[start..];
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        rest = after;
        if word == "use" {
            let end = rest.find(';').unwrap_or(rest.len());
            expand("", &rest[..end], &mut found);
            rest = &rest[end..];
        } else if word.contains("::") {
            found.insert(word.trim_matches(':').to_owned());
        }
    }
    found
}

/// `a::{b, c::{d, self}}` -> `a::b`, `a::c::d`, `a::c`.
fn expand(prefix: &str, tree: &str, found: &mut BTreeSet<String>) {
    let tree = tree.trim();
    if tree.is_empty() {
        // After the last comma of a group.
        return;
    }
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or("").trim();
        let full = format!("{prefix}{path}");
        let full = full.strip_suffix("::self").or(full.strip_suffix("::*")).unwrap_or(&full);
        found.insert(full.to_owned());
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                expand(&prefix, &group[start..at], found);
                start = at + 1;
            }
            '}' if depth == 0 => {
                expand(&prefix, &group[start..at], found);
                return;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

fn visit(folder: &Path, top: &Path, found: &mut Vec<String>, count: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, top, found, count);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *count += 1;
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            found.extend(violations(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn nobody_imports_what_the_architecture_does_not_allow() {
    let top = Path::new("src");
    let (mut found, mut count) = (Vec::new(), 0);
    visit(top, top, &mut found, &mut count);
    assert!(count > 60, "{count} files");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_planted_violation_is_caught() {
    for (path, text) in [
        ("types/id.rs", "use crate::store::StoreError;"),
        ("proto/grammar.rs", "use crate::{types::Cid, engine::Ticket};"),
        ("proto/grammar.rs", "use tokio_util::codec::Decoder;"),
        ("engine/mod.rs", "use crate::{types::Now, auth::{service::Authenticator}};"),
        ("engine/mod.rs", "use crate::auth::password::verify;"),
        ("engine/mod.rs", "fn f() { let _ = crate::telemetry::http::serve; }"),
        ("engine/mod.rs", "use std::{fmt, time::{Duration, SystemTime}};"),
        ("engine/session.rs", "let now = Clock::now();"),
        ("engine/session.rs", "let now = Instant::now();"),
        ("engine/login.rs", "use tokio::sync::mpsc;"),
        ("engine/login.rs", "fn f() { tokio::spawn(async {}); }"),
        ("auth/decide.rs", "use std::net::{IpAddr, TcpStream};"),
        ("auth/decide.rs", "let x = std::env::var(name);"),
        ("auth/throttle.rs", "use std::{\n    collections::HashMap,\n    fs,\n};"),
        ("auth/throttle.rs", "use rand::Rng as _;"),
        ("auth/device.rs", "use std::thread;"),
        ("store/open.rs", "use crate::config::Database;"),
        ("store/mod.rs", "use sqlx::Row;"),
        ("daemon/link.rs", "use crate::cli::run;"),
        ("daemon/link.rs", "use metrics::counter;"),
        ("daemon/mod.rs", "use anyhow::Context;"),
        ("config/load.rs", "use clap::Parser;"),
        ("config/load.rs", "use crate::auth::password::verify;"),
        ("auth/service/mod.rs", "use bcrypt::verify;"),
        ("config/load.rs", "use crate::auth::service::Authenticator;"),
        ("telemetry/emit.rs", "use crate::engine::Output;"),
        ("main.rs", "fn main() { ovpn_warden::daemon::visit(); }"),
        ("somewhere/new.rs", ""),
    ] {
        assert!(!violations(path, text).is_empty(), "{path}: {text}");
    }
}

#[test]
fn what_is_allowed_or_only_spoken_of_is_left_alone() {
    for (path, text) in [
        ("engine/mod.rs", "use crate::{auth::request::AuthRequest, telemetry::events::Event};"),
        (
            "engine/mod.rs",
            "// never tokio::spawn, never Instant::now()\n/// nor [`crate::cli::run`]",
        ),
        ("engine/mod.rs", "let text = \"use tokio::spawn; \\\" Instant::now()\";"),
        ("engine/mod.rs", "let quote = '\"'; let c = '\\''; fn f<'a>(x: &'a str) {}"),
        ("engine/mod.rs", "#[cfg(test)]\nmod tests { use tokio::spawn; }"),
        ("engine/tests.rs", "use tokio::spawn;"),
        ("auth/decide.rs", "use std::net::{IpAddr, Ipv4Addr};"),
        ("types/time.rs", "Instant::now()"),
        ("proto/codec.rs", "use tokio_util::codec::{Decoder, Encoder};"),
        ("store/sql/pool.rs", "use sqlx::pool::Pool;"),
        ("cli/user.rs", "use clap::Subcommand;\nuse crate::store::Store;"),
        ("main.rs", "fn main() { ovpn_warden::cli::run(std::env::args_os()); }"),
    ] {
        assert_eq!(violations(path, text), Vec::<String>::new(), "{text}");
    }
    // A literal hides nothing that comes after it.
    let text = "let quote = '\"'; use tokio::spawn; let other = '\"';";
    assert!(!violations("engine/mod.rs", text).is_empty());
}
