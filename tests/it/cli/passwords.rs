//! Passwords come by prompt or standard input and never leave again.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use super::bench::{Bench, bare, finish};

#[test]
fn hash_works_without_a_configuration_and_with_one() {
    let mut command = bare();
    command.arg("hash");
    let phc = finish(command, b"secret\n").ok(&["hash"]);
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && phc.ends_with('\n'), "{phc}");

    let bench = Bench::new();
    let phc = bench.run_with(b"secret", &["hash"]).ok(&["hash"]);
    assert!(phc.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{phc}");
    let object = bench.run_with(b"secret", &["hash", "--json"]).ok(&["hash"]);
    assert!(object.starts_with("{\"hash\":\"$argon2id$"), "{object}");
    assert!(!std::fs::exists(bench.path("warden.db")).unwrap(), "no database is made for it");
}

#[test]
fn one_newline_is_trimmed_and_no_more() {
    use ovpn_warden::{
        auth::password::{Workspace, verify},
        types::Password,
    };
    let bench = Bench::new();
    bench.run_with(b"a\n\n", &["hash"]).fails(2, "more than one line");
    for (input, password) in [(&b"a\xff b\n"[..], &b"a\xff b"[..]), (b" a ", b" a ")] {
        let phc = bench.run_with(input, &["hash"]).ok(&["hash"]);
        let same = verify(&Password::from(password), phc.trim_end(), &mut Workspace::default());
        assert_eq!(same, Ok(true), "{input:?}");
    }
}

#[test]
fn empty_and_endless_passwords_are_refused() {
    let bench = Bench::new();
    let add = ["user", "add", "alice", "--password-stdin"];
    bench.run_with(b"", &add).fails(2, "empty");
    bench.run_with(b"\n", &add).fails(2, "empty");
    bench.run_with(&[b'x'; 4097], &add).fails(2, "longer than 4096 bytes");
    bench.run_with(b"", &["hash"]).fails(2, "empty");
    let long = bench.run_with(&[b'x'; 129], &add);
    assert_eq!(long.code, 0, "{long:?}");
    assert!(long.err.starts_with("warning: ") && long.err.contains("128 bytes"), "{long:?}");
    let fits = bench.run_with(&[b'x'; 128], &["user", "set-password", "alice", "--password-stdin"]);
    assert_eq!((fits.code, fits.err.as_str()), (0, ""));
}

#[test]
fn without_a_terminal_a_password_has_to_be_announced() {
    let bench = Bench::new();
    bench.run_with(b"secret", &["user", "add", "alice"]).fails(2, "--password-stdin");
    bench.run(&["user", "add", "alice", "--password", "secret"]).fails(2, "unexpected argument");
    bench.run(&["user", "show", "alice"]).fails(1, "not found");
}

/// What is typed at a prompt.
#[derive(Clone, Copy)]
enum Key<'a> {
    Secret(&'a str),
    Plain(&'a str),
}

/// Types at a terminal of its own, one line for each prompt, and returns whether the program
/// succeeded and all that the terminal showed.
fn at_a_terminal(bench: &Bench, args: &str, keys: &[Key<'_>]) -> (bool, String) {
    let config = bench.path("config.toml");
    let program = format!("tty; exec {} -c {config} {args}", env!("CARGO_BIN_EXE_ovpn-warden"));
    let mut child = Command::new("script")
        .args(["-qec", &program, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    read_until(&mut screen, &mut shown, b"\n");
    let terminal = String::from_utf8(shown.clone()).unwrap().trim().to_owned();
    for key in keys {
        let line = match key {
            Key::Secret(line) => {
                read_until(&mut screen, &mut shown, b": ");
                wait_for_silence(&terminal);
                line
            }
            Key::Plain(line) => {
                read_until(&mut screen, &mut shown, b"] ");
                line
            }
        };
        keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    drop(keyboard);
    (child.wait().unwrap().success(), String::from_utf8(shown).unwrap())
}

fn read_until(screen: &mut impl Read, shown: &mut Vec<u8>, end: &[u8]) {
    let mut byte = [0];
    while !shown.ends_with(end) && screen.read(&mut byte).unwrap() == 1 {
        shown.push(byte[0]);
    }
}

/// Waits until a terminal no longer shows what is typed: nobody types as early as a test.
fn wait_for_silence(terminal: &str) {
    for _ in 0..1_000 {
        let modes = Command::new("stty").args(["-F", terminal, "-a"]).output().unwrap();
        if String::from_utf8(modes.stdout).unwrap().split_whitespace().any(|mode| mode == "-echo") {
            return;
        }
    }
    panic!("{terminal} shows what is typed");
}

#[test]
fn a_typed_password_is_asked_for_twice_and_never_shown() {
    let bench = Bench::new();
    let typed = [Key::Secret("hunter2 secret"); 2];
    let (done, shown) = at_a_terminal(&bench, "user add alice", &typed);
    assert!(done && shown.contains("user `alice` added"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let typed = [Key::Secret("hunter2 secret"), Key::Secret("hunter3 secret")];
    let (done, shown) = at_a_terminal(&bench, "user set-password alice", &typed);
    assert!(!done && shown.contains("differ"), "{shown}");
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_removal_is_confirmed_at_a_terminal() {
    let bench = Bench::new();
    bench.add_user("alice");
    let (done, shown) = at_a_terminal(&bench, "user remove alice", &[Key::Plain("n")]);
    assert!(!done && shown.contains("nothing was done"), "{shown}");
    bench.ok(&["user", "show", "alice"]);
    let (done, shown) = at_a_terminal(&bench, "user remove alice", &[Key::Plain("y")]);
    assert!(done && shown.contains("removed"), "{shown}");
    bench.run(&["user", "show", "alice"]).fails(1, "not found");
}
