//! Documents that name tests: each is there.

use std::{collections::BTreeMap, fs, path::Path};

/// The text of each file that may hold tests, by its module, as `engine::tests::login`.
struct Sources(BTreeMap<String, String>);

impl Sources {
    fn read() -> Self {
        let mut sources = Self(BTreeMap::new());
        for root in ["src", "tests/it", "examples/ovpn-warden-fleet"] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
            sources.add(&root, &root);
        }
        sources
    }

    fn add(&mut self, folder: &Path, root: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add(&path, root);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let module = path.strip_prefix(root).unwrap().with_extension("");
                let module = module.to_str().unwrap().replace('/', "::");
                let module = module.strip_suffix("::mod").unwrap_or(&module);
                // `#[path = "…_tests.rs"] mod tests;`
                let own = module.strip_suffix("_tests").map(|of| format!("{of}::tests"));
                let module = own.unwrap_or_else(|| module.to_owned());
                self.0.entry(module).or_default().push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    fn have(&self, text: &str) -> bool {
        self.0.values().any(|source| source.contains(text))
    }

    /// A module that is a file, or the `tests` within one.
    fn module(&self, name: &str) -> Option<&str> {
        let inner = || self.0.get(name.strip_suffix("::tests")?)?.split_once("\nmod tests {");
        self.0.get(name).map(String::as_str).or_else(|| inner().map(|(_, tests)| tests))
    }

    /// Whether there is `module::test`; a test that begins so, as `module::te…`; or any test in `module` or `module::…`.
    fn hold(&self, name: &str) -> bool {
        let marks = ["#[test]", "#[tokio::test", "proptest! {", "on_each_backend! {"];
        let has_tests = |source: &str| marks.iter().any(|mark| source.contains(mark));
        let name = name.strip_suffix("::…").unwrap_or(name);
        if self.module(name).is_some_and(has_tests) {
            return true;
        }
        let Some((module, test)) = name.rsplit_once("::") else { return false };
        self.module(module).is_some_and(|source| match test.strip_suffix('…') {
            Some(start) => source.contains(&format!("fn {start}")),
            // Those of a macro are named like an arm.
            None => [format!("fn {test}("), format!("{test} => ")]
                .iter()
                .any(|test| source.contains(test)),
        })
    }
}

/// The rows of the table that begins with this cell.
fn rows<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let head = format!("| {first} |");
    let (_, table) = text.split_once(&head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_threat_and_every_fault_names_tests_that_are_there() {
    let sources = Sources::read();
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
                assert!(sources.hold(name), "{file}: {name} is nowhere; for: {}", row[0]);
            }
        }
    }
}

#[test]
fn a_test_that_is_nowhere_is_missed() {
    let sources = Sources::read();
    for name in
        ["hazards", "hazards::…", "hazards::a_test_that_is_…", "auth::text::tests", "fake::outage"]
    {
        assert!(sources.hold(name), "{name}");
    }
    for name in [
        "hazards::nobody_wrote_this",
        "hazards::nobody_wrote_…",
        "nowhere::a_test_that_is_nowhere_is_missed",
        "hazards::tests",
        "nowhere::…",
        "nowhere::tests",
        // It has none.
        "fake::server",
    ] {
        assert!(!sources.hold(name), "{name}");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = Sources::read();
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
            assert!(sources.have(&format!("fn {name}(")), "{name} is nowhere; for: {hazard}");
        }
    }
}
