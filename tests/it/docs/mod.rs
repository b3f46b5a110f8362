//! The documentation is true: its commands run, its configurations are accepted, its links lead somewhere.

mod commands;
mod shell;
mod sql;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::cli::bench::{Bench, Ended, finish};
use commands::SESSION;

/// README.md and everything in docs/, by path and text.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let texts = entries.filter(|path| path.extension().is_some_and(|end| end == "md"));
        paths.extend(texts.map(|path| path.display().to_string()));
    }
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The lines of blocks that are indented or fenced, without their indentation.
fn block_lines(text: &str) -> Vec<&str> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced || line.starts_with("    ") {
            found.push(line.trim());
        }
    }
    found
}

/// What stands between backquotes in sentences, in one line each.
fn inline(text: &str) -> Vec<String> {
    let outside: Vec<&str> = text.split("```").step_by(2).collect();
    let quoted = outside.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
    quoted.map(|words| words.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The text of the one block of this language in a document that has these words.
fn block(path: &str, language: &str, words: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(words)).unwrap().to_owned()
}

/// The first command in a document that begins so, in a block or in a sentence.
pub fn said(path: &str, begin: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = block_lines(&text)
        .into_iter()
        .map(|line| line.split("  #").next().unwrap().trim().to_owned());
    let mut all = lines.chain(inline(&text));
    all.find(|command| command.starts_with(begin)).unwrap_or_else(|| panic!("{path}: no `{begin}`"))
}

/// People, policies, a device and a session, as examples have them.
async fn example() -> Bench {
    let bench = Bench::new();
    let server = |name: &str, port: u16| {
        format!("[[servers]]\nname = \"{name}\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n")
    };
    let configured = fs::read_to_string(bench.path("config.toml")).unwrap();
    bench.configure(&[configured, server("udp-1194", 9), server("tcp-443", 13)].concat());
    bench.ok(&["migrate"]);
    for policy in ["staff", "guests"] {
        bench.ok(&["policy", "add", policy]);
    }
    for user in ["alice", "bob"] {
        bench.add_user(user);
    }
    bench.ok(&["policy", "set", "guests", "--time-quota", "2h/day", "--data-quota", "5GiB/week"]);
    bench.ok(&["user", "set", "alice", "--policy", "guests"]);
    bench.ok(&["device", "add", "alice", "02:1a:2b:3c:4d:5e"]);
    bench.open_session(SESSION, "udp-1194", 7, "alice").await;
    fs::copy("conf/openvpn-server.conf", bench.path("server.conf")).unwrap();
    fs::write(bench.path("people.csv"), "name\ncarol\n").unwrap();
    fs::write(bench.path("alice.conf"), "push \"route 10.1.0.0 255.255.0.0\"\n").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=alice"]);
    openssl.args(["-keyout", &bench.path("alice.key"), "-out", &bench.path("alice.crt")]);
    assert!(openssl.output().unwrap().status.success());
    bench
}

/// Runs a line of the documentation in a shell.
fn run(bench: &Bench, line: &str, input: &str) -> Ended {
    let line = line.replace("/etc/openvpn/ccd/alice", &bench.path("alice.conf"));
    let line = line.replace("/etc/openvpn/server/server.conf", &bench.path("server.conf"));
    // It draws on a terminal until somebody stops it.
    let line = if line.starts_with("ovpn-warden top") && !line.contains("--") {
        line.replacen("top", "top --once", 1)
    } else {
        line
    };
    let program = env!("CARGO_BIN_EXE_ovpn-warden");
    let mut shell = Command::new("sh");
    shell.env_clear().env("USER", "tester").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    shell.current_dir(bench.folder.path());
    let alias = format!("ovpn_warden() {{ '{program}' -c config.toml \"$@\"; }}");
    shell.args(["-c", &format!("{alias}\n{}", line.replacen("ovpn-warden ", "ovpn_warden ", 1))]);
    finish(shell, input.as_bytes())
}

#[test]
fn the_readme_is_two_screens() {
    let text = fs::read_to_string("README.md").unwrap();
    let lines: usize = text.lines().map(|line| line.chars().count().div_ceil(120).max(1)).sum();
    assert!(lines <= 100, "{lines} lines of 120 columns");
}

#[test]
fn every_link_leads_somewhere() {
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let mut count = 0;
    for (path, text) in documents() {
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") || target.contains('`') {
                continue;
            }
            count += 1;
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(f, h)| (f, Some(h)));
            let here = Path::new(&path);
            let file =
                if file.is_empty() { here.to_owned() } else { here.parent().unwrap().join(file) };
            assert!(file.exists(), "{path}: {target}");
            if let Some(heading) = heading {
                let text = fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                let is_there =
                    headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading);
                assert!(is_there, "{path}: {target}");
            }
        }
    }
    assert!(count > 40, "{count}");
}

/// Blocks of configuration, each beginning with a section.
fn configurations(text: &str) -> impl Iterator<Item = &str> {
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap())
}

#[test]
fn every_configuration_in_the_documentation_is_accepted() {
    let mut count = 0;
    for (path, text) in documents() {
        for block in configurations(&text) {
            let bench = Bench::new();
            let secret = bench.path("secret");
            fs::write(&secret, "0123456789abcdef".repeat(4)).unwrap();
            let named = |line: &str| match line.split_once("_file = \"") {
                Some((key, _)) if !line.starts_with('#') => format!("{key}_file = \"{secret}\""),
                Some(_) | None => line.to_owned(),
            };
            let block: Vec<_> = block.lines().map(named).collect();
            fs::write(bench.path("block.toml"), block.join("\n")).unwrap();
            let ended = bench.run(&["-c", &bench.path("block.toml"), "migrate"]);
            assert_eq!(ended.code, 0, "{path}: {block:?}: {ended:?}");
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

/// The first cell of each row of a table, without its quotes.
fn first_cells(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` | "))
}

#[test]
fn every_event_that_needs_somebody_is_in_the_troubleshooting() {
    let events = fs::read_to_string("docs/events.md").unwrap();
    let is_loud = |rest: &str| rest.starts_with("warn |") || rest.starts_with("error |");
    let loud: BTreeSet<_> = first_cells(&events)
        .filter(|(name, rest)| name.contains('.') && is_loud(rest))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(loud.len() > 15, "{loud:?}");
    let text = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let told: BTreeSet<_> = first_cells(&text).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(told, loud);
}
