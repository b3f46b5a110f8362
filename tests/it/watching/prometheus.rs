//! The alert rules in `conf/prometheus`, by promtool.

use std::{fs, process::Command};

use super::tools;

#[test]
fn every_alert_sounds_when_it_should_and_none_when_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, tests) = (folder.path().join("rules.yml"), folder.path().join("test.yml"));
    fs::copy("conf/prometheus/ovpn-warden.rules.yml", &rules).unwrap();
    fs::copy("tests/it/watching/rules.test.yml", &tests).unwrap();
    for arguments in [["check", "rules"], ["test", "rules"]] {
        let file = if arguments[0] == "check" { &rules } else { &tests };
        let promtool = tools().join("usr/bin/promtool");
        let output = Command::new(promtool).args(arguments).arg(file).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    // Each of them is in both halves of the test.
    let tests = fs::read_to_string(tests).unwrap();
    let rules = fs::read_to_string(rules).unwrap();
    let names: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert_eq!(tests.matches(name).count(), 2, "{name}");
    }
}
