//! The commands, as an operator or a script runs them: the real binary on an SQLite file.

mod check;
mod config;
mod decode;
mod people;
mod schema;
mod session;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use ovpn_warden::{
    store::{self, Store},
    types::Password,
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration and, once a command ran, a database.
struct Bed {
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Its stdout; it has succeeded.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// Its stderr; it has failed with this code and printed nothing else.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        self.err
    }
}

impl Bed {
    fn new() -> Self {
        let bed = Self { folder: TempDir::new().unwrap() };
        // The cheapest hash: these tests are not about its cost.
        bed.configure(&format!(
            "[database]\nurl = \"{}\"\n[auth]\nargon2_m_kib = 8\nargon2_t = 1\n",
            bed.url()
        ));
        bed
    }

    fn configure(&self, text: &str) {
        fs::write(self.folder.path().join("config.toml"), text).unwrap();
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("warden.db").display())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// More lines of configuration.
    fn append(&self, text: &str) {
        let path = self.folder.path().join("config.toml");
        self.configure(&(fs::read_to_string(path).unwrap() + text));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"));
        command.arg("-c").arg(self.folder.path().join("config.toml")).args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OVPN_WARDEN__") {
                command.env_remove(name);
            }
        }
        command
    }

    fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        let pipe = || Stdio::piped();
        let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // A command that does not read its input may be gone already.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs with `--json` and reads what was printed.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[&["--json"], arguments].concat()).good();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn add_user(&self, name: &str) {
        self.run_with(&["user", "add", name, "--password-stdin"], "correct horse\n").good();
    }

    fn store(&self) -> Arc<dyn Store> {
        store::open(&store::Options::new(Password::from(self.url().as_bytes()))).unwrap()
    }
}

/// One line, then perhaps a line that says what to do next.
#[track_caller]
fn is_short(error: &str) {
    assert!(error.lines().count() <= 2 && error.lines().all(|line| line.len() < 300), "{error}");
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    let bed = Bed::new();
    for arguments in [
        &["bogus"][..],
        &["user", "add"],
        &["session", "list", "--limit", "0"],
        &["--log-format", "xml", "user", "list"],
        &["-v", "-q", "user", "list"],
        &["user", "list", "--password", "secret"],
    ] {
        let ran = bed.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.starts_with("error: "), "{arguments:?}: {ran:?}");
        assert_eq!(ran.out, "");
    }
    for arguments in [&["--help"][..], &["user", "--help"], &["--version"]] {
        let help = bed.run(arguments).good();
        assert!(help.contains("ovpn-warden") || help.contains("users"), "{help}");
    }
}

#[test]
fn every_command_of_the_interface_is_there() {
    let help = Bed::new().run(&["--help"]).good();
    for command in [
        "run",
        "migrate",
        "check",
        "user",
        "device",
        "policy",
        "session",
        "hash",
        "decode",
        "completions",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}");
    }
}

#[test]
fn completions_are_printed_for_each_shell_without_a_configuration() {
    let bed = Bed::new();
    bed.configure("[broken");
    for (shell, part) in
        [("bash", "complete -F"), ("zsh", "#compdef ovpn-warden"), ("fish", "complete -c")]
    {
        let script = bed.run(&["completions", shell]).good();
        assert!(script.contains(part) && script.contains("set-password"), "{shell}");
    }
}

#[test]
fn hash_prints_the_hash_of_what_stdin_holds() {
    let bed = Bed::new();
    let hash = bed.run_with(&["hash"], "p\u{e9}ss\n").good();
    assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
    let stored = hash.trim_end();
    let mut workspace = ovpn_warden::auth::password::Workspace::default();
    let mut verify = |text: &str| {
        let password = Password::from(text.as_bytes());
        ovpn_warden::auth::password::verify(&password, stored, &mut workspace).unwrap()
    };
    assert!(verify("p\u{e9}ss") && !verify("p\u{e9}ss\n"), "the newline at the end goes");

    let text = bed.run_with(&["--json", "hash"], "x").good();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["hash"].as_str().unwrap().starts_with("$argon2id$"), "{text}");
}

#[test]
fn passwords_that_openvpn_cannot_carry_are_refused() {
    let bed = Bed::new();
    for (password, part) in [
        ("", "empty"),
        ("\n", "empty"),
        ("two\nlines\n", "line end"),
        ("tab\tin it", "control character"),
        (&"x".repeat(4_097), "longer than 4096"),
    ] {
        let error = bed.run_with(&["hash"], password).failed(2);
        assert!(error.contains(part), "{error}");
        is_short(&error);
    }
    let long = bed.run_with(&["hash"], &"x".repeat(129));
    assert_eq!(long.code, 0);
    assert!(long.err.starts_with("warning: ") && long.err.contains("128"), "{}", long.err);
}
