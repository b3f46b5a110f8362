//! Who may import whom: one direction, and cores that touch nothing.

use std::path::Path;

/// A room and the rooms it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("proto", &["types"]),
    ("store", &["types"]),
    ("telemetry", &["types", "config"]),
    ("config", &["types", "store", "auth"]),
    ("auth", &["types", "proto", "store"]),
    ("engine", &["types", "proto", "auth", "store", "telemetry"]),
    ("daemon", &["types", "proto", "auth", "store", "telemetry", "config", "engine"]),
    ("cli", &["types", "proto", "auth", "store", "telemetry", "config", "daemon"]),
];

/// Cores: files that touch no socket, clock, database, thread or environment.
const CORES: &[&str] = &[
    "types/",
    "proto/",
    "engine/",
    "auth/decide.rs",
    "auth/device.rs",
    "auth/request.rs",
    "auth/text.rs",
    "auth/throttle.rs",
    "store/record.rs",
    "store/error.rs",
    "telemetry/events.rs",
    "cli/check/lint.rs",
];
const FORBIDDEN_IN_CORES: &[&str] = &[
    "tokio::",
    "sqlx",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::env",
    "std::thread",
    "::now()",
    "rand::",
    "std::process",
];
/// The one clock, and the codec, which is tokio-util's glue.
const EXCEPTIONS: &[(&str, &str)] = &[("types/time.rs", "::now()"), ("proto/codec.rs", "tokio::")];

/// What is wrong with one file's imports. `path` is relative to `src/`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let code: String = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = Vec::new();
    let room = path.split('/').next().unwrap_or_default();
    if let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) {
        for (other, _) in ROOMS.iter().filter(|(name, _)| *name != room) {
            if names(&code, other) && !allowed.contains(other) {
                found.push(format!("{path}: {room} names {other}"));
            }
        }
    }
    if CORES.iter().any(|core| path.starts_with(core)) {
        for word in FORBIDDEN_IN_CORES {
            let excepted = EXCEPTIONS.iter().any(|(file, what)| path == *file && word == what);
            if code.contains(word) && !excepted {
                found.push(format!("{path}: a core names {word}"));
            }
        }
    }
    if code.contains("sqlx") && !path.starts_with("store/") {
        found.push(format!("{path}: sqlx outside of store"));
    }
    for word in ["anyhow", "clap::"] {
        if code.contains(word) && room != "cli" && path != "main.rs" {
            found.push(format!("{path}: {word} outside of cli"));
        }
    }
    found
}

/// Whether code names a room: `crate::room`, or `room::` and `room,` inside of `use crate::{…}`.
fn names(code: &str, room: &str) -> bool {
    if code.contains(&format!("crate::{room}::")) || code.contains(&format!("crate::{room};")) {
        return true;
    }
    code.split("use crate::{").skip(1).any(|rest| {
        let group = rest.split("};").next().unwrap_or_default();
        // Only names at the group's own level are rooms.
        let mut depth = 0usize;
        let mut top = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                c if depth == 0 => top.push(c),
                _ => {}
            }
        }
        top.split(',').any(|item| {
            let item = item.trim();
            item == room || item.starts_with(&format!("{room}::"))
        })
    })
}

fn visit(folder: &Path, root: &Path, found: &mut Vec<String>, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, root, found, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if !relative.ends_with("tests.rs") {
                *files += 1;
                found.extend(violations(&relative, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

#[test]
fn nobody_imports_in_the_wrong_direction() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut files) = (Vec::new(), 0);
    visit(&root, &root, &mut found, &mut files);
    assert!(files > 50, "only {files} files were read");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_planted_violation_is_found() {
    let planted = [
        ("proto/framer.rs", "use crate::engine::Engine;"),
        ("types/id.rs", "use crate::{\n    proto::Env,\n};"),
        ("engine/mod.rs", "use crate::{types::{Cid, Kid}, daemon::run};"),
        ("engine/login.rs", "fn x() { let t = std::time::Instant::now(); }"),
        ("auth/decide.rs", "use tokio::time::sleep;"),
        ("daemon/link.rs", "use sqlx::Row;"),
        ("daemon/link.rs", "use clap::Parser;"),
    ];
    for (path, text) in planted {
        assert_eq!(violations(path, text).len(), 1, "{path}: {text}");
    }
    let sound =
        "use crate::{\n    proto::{Env, engine},\n    types::Cid,\n};\n// crate::daemon::run\n";
    assert_eq!(violations("engine/login.rs", sound), [""; 0]);
}
