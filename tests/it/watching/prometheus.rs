//! The alert rules in `conf/prometheus` and the dashboard in `conf/grafana`, by promtool.

use std::{fs, process::Command};

use serde_json::Value;

use super::tools;

/// One metric that an expression asks for, and the labels that it names there.
#[derive(Debug)]
pub struct Query {
    pub metric: String,
    pub labels: Vec<String>,
}

/// What stands in the panels and variables of the dashboard.
fn expressions() -> Vec<String> {
    let text = fs::read_to_string("conf/grafana/ovpn-warden.json").unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets
        .map(|target| target["expr"].as_str().unwrap())
        // As Grafana fills them in.
        .map(|text| text.replace("$__rate_interval", "5m").replace("$server", "udp|tcp"))
        .collect()
}

/// Every metric of the dashboard and of the alerts, with its labels: those in braces, and those that sums are made by.
pub fn queries() -> Vec<Query> {
    let rules = fs::read_to_string("conf/prometheus/ovpn-warden.rules.yml").unwrap();
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let all = expressions().into_iter().chain(alerts.map(str::to_owned));
    all.flat_map(|text| asked(&text)).collect()
}

fn asked(text: &str) -> Vec<Query> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let grouped = text.split("by (").skip(1).flat_map(|rest| {
        let names = rest.split(')').next().unwrap();
        names.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    });
    let grouped: Vec<String> = grouped.collect();
    text.match_indices("ovpn_warden_")
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let mut labels = grouped.clone();
            if let Some(matchers) = rest[end..].strip_prefix('{') {
                let matchers = matchers.split('}').next().unwrap().split(',');
                let label = |one: &str| one.chars().take_while(|c| is_name(*c)).collect();
                labels.extend(matchers.map(label));
            }
            Query { metric: rest[..end].to_owned(), labels }
        })
        .collect()
}

#[test]
fn prometheus_takes_every_query_of_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    let check = |expressions: &[String]| {
        let rules = expressions.iter().map(|text| format!("  - record: a:b\n    expr: {text:?}\n"));
        let rules = format!("groups:\n- name: a\n  rules:\n{}", rules.collect::<String>());
        fs::write(&file, rules).unwrap();
        let promtool = tools().join("usr/bin/promtool");
        let mut promtool = Command::new(promtool);
        // The records have one name: only the syntax is looked at.
        promtool.args(["check", "rules", "--lint=none"]).arg(&file).output().unwrap()
    };
    let expressions = expressions();
    assert!(expressions.len() > 15, "{expressions:?}");
    let output = check(&expressions);
    assert!(output.status.success(), "{output:?}");
    let output = check(&["sum by (server (ovpn_warden_sessions)".to_owned()]);
    assert!(!output.status.success(), "it would not tell");
}

#[test]
fn prometheus_takes_the_configuration_of_the_documentation() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    fs::copy("conf/prometheus/ovpn-warden.rules.yml", &rules).unwrap();
    let text = fs::read_to_string("docs/operations.md").unwrap();
    let lines = text.lines().skip_while(|line| *line != "    scrape_configs:");
    let block: Vec<_> = lines.take_while(|line| line.starts_with("    ")).collect();
    let block =
        block.join("\n").replace("/etc/prometheus/ovpn-warden.rules.yml", rules.to_str().unwrap());
    assert!(block.contains("9176"), "{block}");
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, block).unwrap();
    let promtool = Command::new(tools().join("usr/bin/promtool"))
        .args(["check", "config"])
        .arg(&file)
        .output();
    let output = promtool.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("1 rule files found"), "{told}");
}

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
