//! Every command of this program that the documentation has: those in blocks, and those in sentences, also where the
//! program's name is left out.

use std::fs;

use super::{block_lines, documents, example, inline, run};
use crate::cli::bench::{Bench, Ended};

/// An open session of alice, for `ID`.
pub const SESSION: &str = "01a20843-fc7f-7707-8707-070707070707";
const DEVICE: &str = "02:1a:2b:3c:4d:5e";
/// Words with which a command in a sentence begins.
const OURS: [&str; 17] = [
    "audit-hashes",
    "check",
    "completions",
    "decode",
    "device",
    "explain",
    "hash",
    "import",
    "lockout",
    "man",
    "migrate",
    "policy",
    "report",
    "run",
    "session",
    "top",
    "user",
];

/// It did what it is there for: 3, it has found what it looks for. And no daemon is there to end or extend a session.
fn is_right(ended: &Ended) -> bool {
    matches!(ended.code, 0 | 3) || ended.err.contains("no daemon has taken it")
}

/// As a person would run it, who answers its questions.
fn answered(bench: &Bench, command: &str) -> Ended {
    let ended = run(bench, command, "");
    if ended.err.contains("give --yes to do it without being asked") {
        run(bench, &format!("{command} --yes"), "")
    } else if ended.err.contains("with --password-stdin") {
        run(bench, &format!("{command} --password-stdin"), "correct horse battery staple")
    } else {
        ended
    }
}

#[tokio::test]
async fn every_command_in_a_block_runs() {
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
            let ended = answered(&bench, &command.replace(" ID", &format!(" {SESSION}")));
            assert!(is_right(&ended), "{path}: {command}: {ended:?}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

/// What a word stands for in a command that begins so.
fn meant(command: &str, word: &str) -> Option<String> {
    let is = |begin: &str| command.starts_with(begin);
    let (name, id) = match () {
        () if is("policy ") => ("staff", DEVICE),
        () if is("session ") => ("alice", SESSION),
        () if is("user add ") => ("dora", DEVICE),
        () if is("device add ") => ("alice", "02:1a:2b:3c:4d:5f"),
        () => ("alice", DEVICE),
    };
    let text = match word {
        "NAME" | "USER" | "P" => name,
        "ID" if is("user grants ") => "1",
        "ID" => id,
        "N" => "2",
        "T" | "TIME" => "+2h",
        "HOURS" => "'mon-fri 08:00-18:00'",
        "FILE" if is("check ") => "server.conf",
        "FILE" => "capture",
        // She is there already.
        "alice" if is("user add ") => "dora",
        "…" => return None,
        other => other,
    };
    Some(text.to_owned())
}

/// A command that stands in a sentence, without the program's name, and with examples for its placeholders.
fn in_a_sentence(quoted: &str) -> Option<String> {
    let command = quoted.strip_prefix("runuser -u ovpn-warden -- ").unwrap_or(quoted);
    let whole = command.strip_prefix("ovpn-warden ");
    let command = whole.unwrap_or(command);
    let words: Vec<&str> = command.split(' ').collect();
    let is_ours = whole.is_some() || words.len() > 1 && OURS.contains(&words[0]);
    let words = words.iter().filter_map(|word| meant(command, word));
    is_ours.then(|| words.collect::<Vec<_>>().join(" "))
}

/// It is understood, and more has to be said, or the tables that it reads are of somebody else's.
fn lacks_something(ended: &Ended) -> bool {
    let has = |words: &[&str]| words.iter().any(|words| ended.err.contains(words));
    let is_wrong = has(&["unexpected", "unrecognized", "invalid value"]);
    let is_short = ended.code == 2 && has(&["required", "Usage:", "nothing to change", "needs"]);
    !is_wrong && (is_short || has(&["--from names the database"]))
}

/// A name of a command alone is no command: then it has to be there, with the flags that it is named with.
fn exists(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split(' ').collect();
    let named =
        words.iter().take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    let named: Vec<&str> = named.copied().take(2).filter(|word| !word.starts_with('-')).collect();
    let help = |named: &[&str]| Bench::new().run(&[named, &["--help"]].concat());
    let mut found = help(&named);
    if found.code != 0 && named.len() == 2 {
        // The second word is an argument.
        found = help(&named[..1]);
    }
    if found.code != 0 {
        return Err(found.err);
    }
    let flags = words.iter().filter(|word| word.starts_with("--"));
    let unknown =
        flags.map(|flag| flag.split('=').next().unwrap()).find(|flag| !found.out.contains(flag));
    unknown.map_or(Ok(()), |flag| Err(format!("there is no {flag}")))
}

#[tokio::test]
async fn every_command_in_a_sentence_runs_or_is_the_name_of_one() {
    let (mut ran, mut named) = (0, 0);
    for (path, text) in documents() {
        if path == "CHANGELOG.md" {
            // It tells of what there was.
            continue;
        }
        let commands: Vec<String> =
            inline(&text).iter().filter_map(|quoted| in_a_sentence(quoted)).collect();
        if commands.is_empty() {
            continue;
        }
        let bench = example().await;
        fs::write(bench.path("capture"), ">HOLD:Waiting for hold release:0\n").unwrap();
        bench.ok(&["user", "grant", "alice", "--time", "1h"]);
        for command in commands {
            // It goes on until it is stopped: tests/it/fake/relay.rs runs it.
            let is_daemon = command.starts_with("run ");
            let ended = (!is_daemon).then(|| answered(&bench, &format!("ovpn-warden {command}")));
            if ended.as_ref().is_some_and(is_right) {
                ran += 1;
                continue;
            }
            let is_name = ended.as_ref().is_none_or(lacks_something);
            assert!(is_name, "{path}: {command}: {ended:?}");
            exists(&command).unwrap_or_else(|told| panic!("{path}: {command}: {told}"));
            named += 1;
        }
    }
    assert!(ran > 40 && named > 10, "{ran} {named}");
}
