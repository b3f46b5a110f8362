//! A terminal with the program in it: keys in, and the screen as a person sees it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use ovpn_warden::types::Clock;

const PATIENCE: Duration = Duration::from_secs(20);

/// Lines and columns.
pub const USUAL: (u16, u16) = (24, 80);

pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    said: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that was said, as it was.
    pub raw: Vec<u8>,
    clock: Clock,
}

/// How it was left.
#[derive(Debug)]
pub struct Left {
    pub code: i32,
    /// The modes of the terminal (`stty -g`) before and after.
    pub modes: [String; 2],
    pub is_alternate: bool,
    pub is_cursor_hidden: bool,
    /// What the screen shows at last.
    pub screen: String,
    pub raw: String,
}

impl Terminal {
    /// Runs the program with these arguments, which a shell reads.
    pub fn start((lines, columns): (u16, u16), args: &str, variables: &[(&str, &str)]) -> Self {
        let program = env!("CARGO_BIN_EXE_ovpn-warden");
        let shell = format!(
            "stty rows {lines} cols {columns}; echo before=$(stty -g); \
             sh -c 'echo pid=$$; exec {program} {args}'; echo code=$?; echo after=$(stty -g)"
        );
        let mut child = Command::new("script")
            .args(["-qec", &shell, "/dev/null"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([("SHELL", "/bin/sh"), ("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
            .env("USER", "tester")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (says, said) = sync_channel(1_024);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                if says.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let screen = vt100::Parser::new(lines.try_into().unwrap(), columns.try_into().unwrap(), 0);
        Self { child, keyboard, said, screen, raw: Vec::new(), clock: Clock::new() }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// The screen, once it shows this.
    #[track_caller]
    pub fn until(&mut self, wanted: &str) -> String {
        self.until_it(wanted, |screen| screen.contains(wanted))
    }

    /// The screen, once it is as wanted.
    #[track_caller]
    pub fn until_it(&mut self, wanted: &str, is_it: impl Fn(&str) -> bool) -> String {
        let end = self.clock.now().mono + PATIENCE;
        loop {
            let screen = self.screen.screen().contents();
            if is_it(&screen) {
                return screen;
            }
            let left = end - self.clock.now().mono;
            match self.said.recv_timeout(left) {
                Ok(bytes) => self.hear(&bytes),
                Err(error) => panic!("{error}: no {wanted:?} in:\n{screen}"),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.raw.extend_from_slice(bytes);
    }

    fn word(&self, name: &str) -> String {
        let raw = String::from_utf8_lossy(&self.raw);
        let after = raw.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("{raw}"));
        after.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Sends the program a signal.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill").args(["-s", name, &self.word("pid")]).status().unwrap();
        assert!(told.success());
    }

    pub fn is_alternate(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(mut self) -> Left {
        let end = self.clock.now().mono + PATIENCE;
        while let Ok(bytes) = self.said.recv_timeout(end - self.clock.now().mono) {
            self.hear(&bytes);
        }
        assert!(self.child.try_wait().is_ok(), "{}", self.screen.screen().contents());
        let (code, modes) = (self.word("code"), ["before", "after"].map(|name| self.word(name)));
        let screen = self.screen.screen();
        Left {
            code: code.parse().unwrap(),
            modes,
            is_alternate: screen.alternate_screen(),
            is_cursor_hidden: screen.hide_cursor(),
            screen: screen.contents(),
            raw: String::from_utf8_lossy(&self.raw).into_owned(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ends with its terminal, if it has not ended yet.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
