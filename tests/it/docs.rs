//! The documentation is true: its commands run, its configurations are accepted, its links lead somewhere.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::cli::bench::{Bench, Ended, finish};

/// An open session of alice, for `ID`.
const SESSION: &str = "01a20843-fc7f-7707-8707-070707070707";

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
    fs::write(bench.path("people.csv"), "name\ncarol\n").unwrap();
    fs::write(bench.path("alice.conf"), "push \"route 10.1.0.0 255.255.0.0\"\n").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=alice"]);
    openssl.args(["-keyout", &bench.path("alice.key"), "-out", &bench.path("alice.crt")]);
    assert!(openssl.output().unwrap().status.success());
    bench
}

/// Runs a line of the documentation in a shell.
fn run(bench: &Bench, line: &str) -> Ended {
    let line = line
        .replace(" ID", &format!(" {SESSION}"))
        .replace("/etc/openvpn/ccd/alice", &bench.path("alice.conf"));
    // It draws on a terminal until somebody stops it.
    let line = if line.starts_with("ovpn-warden top ") || line == "ovpn-warden top" {
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
    finish(shell, b"")
}

#[tokio::test]
async fn every_command_in_the_documentation_runs() {
    let mut count = 0;
    for (path, text) in documents() {
        let commands: Vec<_> = block_lines(&text)
            .into_iter()
            .filter(|line| line.starts_with("ovpn-warden "))
            .map(|line| line.split("  #").next().unwrap_or(line).trim())
            .collect();
        if commands.is_empty() {
            continue;
        }
        let bench = example().await;
        for command in commands {
            let mut ended = run(&bench, command);
            if ended.err.contains("give --yes to do it without being asked") {
                // A person answers.
                ended = run(&bench, &format!("{command} --yes"));
            }
            // 3: it has found what it looks for. And no daemon is there to end or extend a session.
            let is_right =
                matches!(ended.code, 0 | 3) || ended.err.contains("no daemon has taken it");
            assert!(is_right, "{path}: {command}: {ended:?}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// What stands in a sentence need not run as it is, but its words have to be there.
#[test]
fn every_command_in_a_sentence_exists() {
    let mut known = BTreeSet::new();
    for (path, text) in documents() {
        if path == "CHANGELOG.md" {
            // It tells of what there was.
            continue;
        }
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some(arguments) = quoted.strip_prefix("ovpn-warden ") else { continue };
            let words: Vec<&str> = arguments.split_whitespace().collect();
            let commands = words
                .iter()
                .take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            let commands: Vec<&str> =
                commands.copied().take(2).filter(|word| !word.starts_with('-')).collect();
            if !known.insert(arguments.to_owned()) || commands.is_empty() {
                continue;
            }
            let help = |commands: &[&str]| Bench::new().run(&[commands, &["--help"]].concat());
            let mut found = help(&commands);
            if found.code != 0 && commands.len() == 2 {
                // The second word is an argument.
                found = help(&commands[..1]);
            }
            assert_eq!(found.code, 0, "{path}: `{quoted}`");
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(found.out.contains(flag), "{path}: `{quoted}` has no {flag}");
            }
        }
    }
    assert!(known.len() > 15, "{known:?}");
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
