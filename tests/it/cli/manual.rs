//! `completions` and `man`.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use super::bench::Bench;

#[test]
fn completions_name_the_commands_and_bash_takes_them() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.ok(&["completions", shell]);
        for word in ["explain", "set-password", "valid-until"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let script = bench.ok(&["completions", "bash"]);
    let mut bash = Command::new("bash")
        .args(["-n"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let told = bash.wait_with_output().unwrap();
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    bench.run(&["completions", "cmd.exe"]).fails(2, "bash");
}

/// What bash offers for the last word of a line.
fn offered(script: &str, line: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ovpn-warden.bash");
    fs::write(&file, script).unwrap();
    let driver = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        ask=$(complete -p ovpn-warden | sed 's/.*-F \([^ ]*\).*/\1/')
        "$ask" ovpn-warden "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    let told = bash.args(["-c", driver, "bash"]).arg(&file).args(line).output().unwrap();
    assert!(told.stderr.is_empty(), "{told:?}");
    String::from_utf8(told.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values_at_every_depth() {
    let script = Bench::new().ok(&["completions", "bash"]);
    for (line, wanted) in [
        (&["ovpn-warden", "ses"][..], "session"),
        (&["ovpn-warden", "session", "k"], "kill"),
        (&["ovpn-warden", "session", "kill", "--rea"], "--reason"),
        (&["ovpn-warden", "user", "add", "alice", "--pol"], "--policy"),
        (&["ovpn-warden", "--json", "device", "a"], "add"),
        (&["ovpn-warden", "audit-hashes", "--js"], "--json"),
        (&["ovpn-warden", "run", "--log-format", "p"], "pretty"),
    ] {
        assert!(offered(&script, line).contains(&wanted.to_owned()), "{line:?}");
    }
}

#[test]
fn every_command_has_its_manual_page() {
    let bench = Bench::new();
    let page = bench.ok(&["man"]);
    assert!(page.contains(".TH ovpn-warden 1") && page.contains("audit\\-hashes"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    bench.ok(&["man", "--dir", dir.to_str().unwrap()]);
    let page = fs::read_to_string(dir.join("ovpn-warden-user-add.1")).unwrap();
    assert!(page.contains("password\\-stdin"), "{page}");
    assert!(fs::read_dir(&dir).unwrap().count() > 30);
    bench.run(&["man", "--dir", "/proc/1/no"]).fails(1, "--dir");
}
