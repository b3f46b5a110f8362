//! What a process of ours leaves to others: no core dump, and no look into its memory or environment.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::lab::wait_until;

/// Root may read everything by its capabilities: without them it is a user like all others.
fn plain(program: &str) -> Command {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", program]);
    command
}

/// A program with a secret in its environment, that may leave a core of any size in `folder`.
fn start(folder: &Path, program: &[&str]) -> Child {
    plain("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"])
        .args(program)
        .current_dir(folder)
        .env("OVPN_WARDEN__LOG__LEVEL", "error")
        .env("CANARY", "canary")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether it is that program by now, and no longer what started it.
fn is_running(child: &Child, program: &str) -> bool {
    let words = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    words.starts_with(format!("{program}\0").as_bytes())
}

/// Whether another process of the same user reads its environment, as its memory.
fn is_readable(child: &Child) -> bool {
    let file = format!("/proc/{}/environ", child.id());
    let read = plain("cat").arg(file).stderr(Stdio::null()).output().unwrap();
    String::from_utf8(read.stdout).unwrap().contains("CANARY=canary")
}

/// Ends it as a fault would; whether it left a core.
fn leaves_core(mut child: Child) -> bool {
    let abort = Command::new("kill").args(["-s", "ABRT", &child.id().to_string()]).status();
    assert!(abort.unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
    status.core_dumped()
}

#[test]
fn nobody_reads_the_memory_of_the_daemon_or_of_a_command_and_no_core_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[database]\nurl = \"sqlite://{}/warden.db\"\n[journal]\npath = \"\"\n[http]\nlisten = \"\"\n\
         [[servers]]\nname = \"udp\"\nmanagement = \"unix:///nonexistent/socket\"\n",
        folder.path().display()
    );
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let program = env!("CARGO_BIN_EXE_ovpn-warden");
    for command in [&[program, "-c", "config.toml", "run"][..], &[program, "hash"]] {
        let child = start(folder.path(), command);
        let is_closed = || is_running(&child, program) && !is_readable(&child);
        let closed = wait_until(Duration::from_secs(10), || is_closed().then_some(()));
        assert!(closed.is_some(), "{command:?} can be read");
        assert!(!leaves_core(child), "{command:?} leaves a core");
    }
    // A program that does nothing about it shows that this test can tell.
    let other = start(folder.path(), &["sleep", "60"]);
    let is_open = || is_running(&other, "sleep") && is_readable(&other);
    assert!(wait_until(Duration::from_secs(10), || is_open().then_some(())).is_some());
    assert!(leaves_core(other), "this machine makes no core dumps: nothing is shown");
}
