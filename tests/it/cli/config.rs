//! A configuration that is none: exit code 2, and every fault with its file, key and mend.

use super::Bed;

#[test]
fn every_fault_is_a_line_with_file_key_and_mend() {
    let bed = Bed::new();
    bed.configure("[auth]\ntimeuot_ms = 8000\nhash_queue = 0\n[log]\nformat = \"xml\"\n");
    let error = bed.run(&["user", "list"]).failed(2);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    for line in &lines {
        assert!(line.starts_with("error: ") && line.contains("config.toml: "), "{line}");
    }
    assert!(error.contains("auth.timeuot_ms: no such key; did you mean `timeout_ms`?"), "{error}");
    assert!(error.contains("auth.hash_queue: 0 is out of range; use 1 to 65536"), "{error}");
    assert!(error.contains("log.format: `xml` is not one of the permitted words"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let bed = Bed::new();
    let error = bed.run(&["-c", "/nonexistent/c.toml", "user", "list"]).failed(2);
    assert!(
        error.contains("/nonexistent/c.toml: cannot read the configuration: there is no such file"),
        "{error}"
    );
}

#[test]
fn later_files_win_and_flags_win_over_all() {
    let bed = Bed::new();
    let second = bed.folder.path().join("second.toml");
    std::fs::write(&second, "[auth]\nargon2_m_kib = 16\n").unwrap();
    let hash = bed.run_with(&["-c", second.to_str().unwrap(), "hash"], "x").good();
    assert!(hash.contains("m=16,t=1"), "{hash}");
}

#[test]
fn run_without_a_server_says_what_to_add() {
    let error = Bed::new().run(&["run"]).failed(2);
    assert!(error.contains("[[servers]]"), "{error}");
}

#[test]
fn a_database_url_that_is_none_is_a_configuration_error_and_not_repeated() {
    let bed = Bed::new();
    bed.configure("[database]\nurl = \"postgres://u:canary@h/d\"\n");
    let error = bed.run(&["user", "list"]).failed(2);
    assert!(error.contains("database.url") && !error.contains("canary"), "{error}");
}

#[test]
fn a_database_that_does_not_answer_is_4() {
    let bed = Bed::new();
    // Nothing listens on port 1.
    bed.configure("[database]\nurl = \"mysql://u:canary@127.0.0.1:1/d\"\ntimeout_ms = 1000\n");
    for arguments in [&["user", "list"][..], &["migrate"], &["session", "list"]] {
        let error = bed.run(arguments).failed(4);
        assert!(error.contains("[database] url") && !error.contains("canary"), "{error}");
    }
    bed.configure("[database]\nurl = \"sqlite:///nonexistent/folder/w.db\"\n");
    let error = bed.run(&["user", "list"]).failed(4);
    assert!(error.contains("/nonexistent/folder does not exist"), "{error}");
}
