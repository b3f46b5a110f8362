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
