//! The built `ovpn-warden`: the daemon with its log lines as JSON, and the commands.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::Scratch;
use super::net::{self, Namespace};
use super::process::{Process, must, wait_until};

pub struct Warden {
    namespace: Namespace,
    config: PathBuf,
    /// One JSON object per line; a restart appends.
    log: PathBuf,
    errors: PathBuf,
    process: Option<Process>,
    _dir: Scratch,
}

impl Warden {
    #[track_caller]
    pub(super) fn prepare(
        scratch: &Scratch,
        namespace: Namespace,
        number: u32,
        config: &str,
    ) -> Self {
        let dir = scratch.path();
        let warden = Self {
            namespace,
            config: dir.join(format!("warden-{number}.toml")),
            log: dir.join(format!("warden-{number}.log")),
            errors: dir.join(format!("warden-{number}.err")),
            process: None,
            _dir: std::sync::Arc::clone(scratch),
        };
        warden.set_config(config);
        warden
    }

    /// Replaces the configuration file; it is read at the next start, or at `signal("HUP")`.
    #[track_caller]
    pub fn set_config(&self, config: &str) {
        must(fs::write(&self.config, config), "write the configuration");
    }

    /// Starts the daemon (`run`).
    #[track_caller]
    pub fn start(&mut self) {
        self.kill();
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_ovpn-warden"));
        command.arg("-c").arg(&self.config).arg("run");
        self.process = Some(Process::start(command, &self.log, Some(&self.errors)));
    }

    /// Runs a command with this configuration and `stdin`, whether the daemon runs or not.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_ovpn-warden"));
        command.arg("-c").arg(&self.config).args(arguments);
        let mut child = must(
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn(),
            "start ovpn-warden",
        );
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read its input may be gone already.
            drop(input.write_all(stdin.as_bytes()));
        }
        must(child.wait_with_output(), "wait for ovpn-warden")
    }

    /// [`Self::cli`] that must succeed; what it printed.
    ///
    /// # Panics
    /// With its error output, if it ends with another status than 0.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.cli(arguments, stdin);
        assert!(
            output.status.success(),
            "{arguments:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// [`Self::ok`] with `--json`, parsed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[&["--json"], arguments].concat(), "");
        must(serde_json::from_str(&text), &format!("read this as JSON: {text}"))
    }

    /// Its log so far. Lines that are no JSON object appear as JSON strings, so that a test finds them.
    pub fn events(&self) -> Vec<Value> {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // The last line may be half-written.
        let Some((complete, _)) = text.rsplit_once('\n') else {
            return Vec::new();
        };
        complete
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
            })
            .collect()
    }

    /// A position in the log, for [`Self::wait_event_since`].
    pub fn mark(&self) -> usize {
        self.events().len()
    }

    /// The first event of that name, from the beginning of the log, that `matches`.
    ///
    /// # Panics
    /// With the whole log, if there is none in time.
    #[track_caller]
    pub fn wait_event(
        &self,
        name: &str,
        matches: impl Fn(&Value) -> bool,
        timeout: Duration,
    ) -> Value {
        self.wait_event_since(0, name, matches, timeout)
    }

    /// Like [`Self::wait_event`], from `mark` on.
    #[track_caller]
    pub fn wait_event_since(
        &self,
        mark: usize,
        name: &str,
        matches: impl Fn(&Value) -> bool,
        timeout: Duration,
    ) -> Value {
        let found = wait_until(timeout, || {
            self.events()
                .into_iter()
                .skip(mark)
                .find(|event| event["event"] == name && matches(event))
        });
        match found {
            Some(event) => event,
            None => panic!("no such `{name}` within {timeout:?}:\n{}", self.report()),
        }
    }

    /// Everything it wrote, for messages of failed tests.
    pub fn report(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let errors = fs::read(&self.errors).unwrap_or_default();
        format!(
            "{}--- standard error:\n{}",
            String::from_utf8_lossy(&log),
            String::from_utf8_lossy(&errors)
        )
    }

    /// The whole response to an HTTP GET on 127.0.0.1:9176; empty when nobody listens.
    pub fn http(&self, path: &str) -> String {
        net::http_get(&self.namespace, 9176, path)
    }

    #[track_caller]
    pub fn signal(&mut self, name: &str) {
        if let Some(process) = &mut self.process {
            process.signal(name);
        }
    }

    /// Its process, or 0.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.status().is_none())
    }

    /// Its exit status, once it has ended.
    pub fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|process| process.wait_exit(timeout))
    }

    /// SIGTERM, and the exit status.
    ///
    /// # Panics
    /// If it has not ended after ten seconds.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        match self.wait_exit(Duration::from_secs(10)) {
            Some(status) => status,
            None => panic!("the daemon does not end:\n{}", self.report()),
        }
    }

    /// SIGKILL: what a crash leaves.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// [`Self::stop`], then [`Self::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }
}
