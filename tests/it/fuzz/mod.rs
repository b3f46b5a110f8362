//! The inputs that fuzzing found worth keeping, and those that once went wrong, through the same
//! checks as the fuzzer's: `fuzz/corpus/TARGET` and `fuzz/regressions/TARGET`.

#![cfg(test)]

pub(crate) mod check;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

type Check = fn(&[u8]);

/// Every target and its check.
const TARGETS: [(&str, Check); 5] = [
    ("command", check::command::check),
    ("engine", check::engine::check),
    ("framer", check::framer::check),
    ("message", check::message::check),
    ("reencode", check::reencode::check),
];

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
}

/// What is in a folder, by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

fn replay(target: &str) {
    let check = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let corpus = entries(&fuzz("corpus").join(target));
    assert!(!corpus.is_empty(), "fuzz/corpus/{target} is empty");
    let regressions = entries(&fuzz("regressions").join(target));
    for path in corpus.iter().chain(&regressions) {
        let input = fs::read(path).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(result.is_ok(), "{} went wrong, see above", path.display());
    }
}

#[test]
fn the_corpus_of_command_holds() {
    replay("command");
}

#[test]
fn the_corpus_of_engine_holds() {
    replay("engine");
}

#[test]
fn the_corpus_of_framer_holds() {
    replay("framer");
}

#[test]
fn the_corpus_of_message_holds() {
    replay("message");
}

#[test]
fn the_corpus_of_reencode_holds() {
    replay("reencode");
}

#[test]
fn every_target_and_every_folder_of_inputs_is_replayed() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let names = |folder: &str| -> Vec<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(&fuzz(folder)).iter().map(stem).collect()
    };
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let known = |name: &String| targets.contains(&name.as_str());
    assert!(names("regressions").iter().all(known), "{:?}", names("regressions"));
}
