//! Documents that name tests: each is there.

use std::{fs, path::Path};

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *all += &fs::read_to_string(&path).unwrap();
        }
    }
}

/// Everything that holds tests.
fn all_sources() -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    for folder in ["src", "tests/it", "examples"] {
        sources(&top.join(folder), &mut all);
    }
    all
}

/// The rows of the table that begins with this cell.
fn rows<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let head = format!("| {first} |");
    let (_, table) = text.split_once(&head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// Whether a test of that name is there (with `…` at its end: one that begins like it), or a module with tests.
fn is_there(name: &str, all: &str) -> bool {
    let last = name.rsplit("::").find(|part| !part.is_empty() && *part != "…").unwrap_or(name);
    let last = last.trim_start_matches('…');
    match last.strip_suffix('…') {
        Some(start) => all.contains(&format!("fn {start}")),
        None => {
            all.contains(&format!("fn {last}("))
                || all.contains(&format!("{last} => "))
                || all.contains(&format!("mod {last};"))
                || last == "tests"
        }
    }
}

#[test]
fn every_threat_and_every_fault_names_tests_that_are_there() {
    let all = all_sources();
    for (file, first, least) in
        [("docs/security.md", "threat", 20), ("docs/reliability.md", "fault", 20)]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let rows = rows(&text, first);
        assert!(rows.len() >= least, "{file}: {}", rows.len());
        for row in rows {
            let shown = row.last().unwrap();
            let names: Vec<&str> = shown
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|name| name.contains("::") || name.contains('_'))
                .collect();
            let is_run = shown.contains("`make ");
            assert!(!names.is_empty() || is_run, "{file}: nothing shows: {row:?}");
            for name in names {
                assert!(is_there(name, &all), "{file}: {name} is nowhere; for: {}", row[0]);
            }
        }
    }
    assert!(!is_there("fake::nobody_wrote_this", &all) && !is_there("x::nobody_wrote_this…", &all));
}

#[test]
fn every_test_that_is_named_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = all_sources();
    let text = fs::read_to_string(top.join("docs/hazards.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| hazard "))
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        let [hazard, _, tests] = row[..] else { panic!("three columns: {row:?}") };
        let names: Vec<&str> =
            tests.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!names.is_empty(), "no test for: {hazard}");
        for name in names {
            assert!(all.contains(&format!("fn {name}(")), "{name} is nowhere; for: {hazard}");
        }
    }
}
