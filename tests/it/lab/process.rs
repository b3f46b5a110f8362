//! Processes of a lab: started with their output in a file, signalled by pid, killed on drop.

use std::fmt::Display;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// The value, or a panic that says what was tried.
#[track_caller]
pub fn must<T, E: Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("could not {what}: {error}"),
    }
}

/// Asks every 20 ms until there is an answer; `None` when `timeout` has passed without one.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes live in real time, and nothing else can run meanwhile"
)]
pub fn wait_until<T>(timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = std::time::Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if std::time::Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end; an error carries all it printed.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A process in the background. It leads a process group, so that what it forks goes with it.
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Both outputs go to the end of `log`; `errors`, if given, takes standard error instead.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path, errors: Option<&Path>) -> Self {
        let append = |path: &Path| -> File {
            must(
                fs::OpenOptions::new().append(true).create(true).open(path),
                &format!("open {}", path.display()),
            )
        };
        command
            .stdin(Stdio::null())
            .stdout(append(log))
            .stderr(append(errors.unwrap_or(log)))
            .process_group(0);
        let child = must(command.spawn(), &format!("start {command:?}"));
        Self { child, status: None, log: log.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its end, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = must(self.child.try_wait(), "look after a process");
        }
        self.status
    }

    pub fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_until(timeout, || self.status())
    }

    /// Sends a signal by name (`"HUP"`) to the process, not to its children.
    #[track_caller]
    pub fn signal(&mut self, name: &str) {
        // A finished process keeps its pid until it is waited for, so the number cannot be a stranger's.
        if self.status().is_none() {
            must(
                run(Command::new("kill").args(["-s", name, &self.pid().to_string()])),
                &format!("send SIG{name}"),
            );
        }
    }

    /// Ends it and all it forked, at once, and waits for that.
    pub fn kill(&mut self) {
        // The group may outlive its leader; while the leader is not waited for, its number is ours.
        if self.status.is_none() {
            let group = format!("-{}", self.pid());
            // Fails only when nothing is left to kill.
            drop(run(Command::new("kill").args(["-s", "KILL", "--", &group])));
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
