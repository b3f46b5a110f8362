//! The inputs that fuzzing found worth keeping, and those that once went wrong, through the same
//! checks as the fuzzer's: `fuzz/corpus/TARGET` and `fuzz/regressions/TARGET`.

#![cfg(test)]

pub(crate) mod check;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

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
    let check = check::TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
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
fn the_corpus_of_bounds_holds() {
    replay("bounds");
}

#[test]
fn the_corpus_of_command_holds() {
    replay("command");
}

#[test]
fn the_corpus_of_config_line_holds() {
    replay("config_line");
}

#[test]
fn the_corpus_of_console_holds() {
    replay("console");
}

#[test]
fn the_corpus_of_csv_holds() {
    replay("csv");
}

#[test]
fn the_corpus_of_cuts_holds() {
    replay("cuts");
}

#[test]
fn the_corpus_of_decode_holds() {
    replay("decode");
}

#[test]
fn the_corpus_of_device_holds() {
    replay("device");
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
fn the_corpus_of_hash_holds() {
    replay("hash");
}

#[test]
fn the_corpus_of_hours_holds() {
    replay("hours");
}

#[test]
fn the_corpus_of_lexer_holds() {
    replay("lexer");
}

#[test]
fn the_corpus_of_message_holds() {
    replay("message");
}

#[test]
fn the_corpus_of_model_holds() {
    replay("model");
}

#[test]
fn the_corpus_of_reencode_holds() {
    replay("reencode");
}

#[test]
fn the_corpus_of_relay_holds() {
    replay("relay");
}

#[test]
fn the_corpus_of_response_holds() {
    replay("response");
}

#[test]
fn the_corpus_of_tap_holds() {
    replay("tap");
}

#[test]
fn the_corpus_of_words_holds() {
    replay("words");
}

#[test]
fn every_target_and_every_folder_of_inputs_is_replayed() {
    let targets: Vec<&str> = check::TARGETS.iter().map(|(name, _)| *name).collect();
    let names = |folder: &str| -> Vec<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(&fuzz(folder)).iter().map(stem).collect()
    };
    assert_eq!(names("corpus"), targets);
    let known = |name: &String| targets.contains(&name.as_str());
    assert!(names("regressions").iter().all(known), "{:?}", names("regressions"));
}
