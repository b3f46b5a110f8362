//! What commands take from people beside flags: passwords and confirmations; and who they are.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    os::unix::fs::MetadataExt,
};

use super::exit::{CliError, warn};
use crate::{
    store::Actor,
    types::{Password, Printable, Timestamp, truncate_on_char},
};

/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 4096;

/// OpenVPN built without PKCS#11 cuts passwords here.
const OPENVPN_PASSWORD: usize = 128;

/// Takes a new password: all of standard input with `from_stdin`, otherwise by prompt, twice.
pub fn new_password(from_stdin: bool) -> Result<Password, CliError> {
    let bytes = if from_stdin {
        read_password(io::stdin().lock())?
    } else if io::stdin().is_terminal() {
        prompt_twice()?
    } else {
        return Err(CliError::usage("no password: standard input is no terminal")
            .or_next("give the password on standard input with --password-stdin"));
    };
    let password = check_password(Password::new(bytes))?;
    if password.expose().len() > OPENVPN_PASSWORD {
        warn(
            "the password is longer than 128 bytes: OpenVPN builds without PKCS#11 cut it \
             there, and such clients cannot log in",
        );
    }
    Ok(password)
}

fn read_password(from: impl Read) -> Result<Vec<u8>, CliError> {
    // Room for all of it at once, because growing would leave copies behind.
    let mut bytes = Vec::with_capacity(MAX_PASSWORD + 2);
    from.take(MAX_PASSWORD as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::failed(format!("reading the password: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn prompt_twice() -> Result<Vec<u8>, CliError> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map(|text| Password::new(text.into_bytes()))
            .map_err(|error| CliError::failed(format!("reading the password: {error}")))
    };
    let first = ask("Password: ")?;
    if first != ask("Again: ")? {
        return Err(CliError::failed("the two passwords differ; nothing was changed"));
    }
    Ok(first.expose().to_vec())
}

fn check_password(password: Password) -> Result<Password, CliError> {
    match password.expose().len() {
        0 => Err(CliError::usage("the password is empty").or_next("give one line with it")),
        _ if password.expose().iter().any(|byte| *byte < 32 || *byte == 127) => {
            Err(CliError::usage("the password has more than one line, or a control character")
                .or_next("OpenVPN carries neither; give one line"))
        }
        1..=MAX_PASSWORD => Ok(password),
        _ => Err(CliError::usage(format!("the password is longer than {MAX_PASSWORD} bytes"))),
    }
}

/// Asks whether to go on, unless `yes` says so already.
pub fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("not confirmed: standard input is no terminal")
            .or_next("give --yes to do it without being asked"));
    }
    let _ = write!(io::stderr(), "{} [y/N] ", Printable(question.as_bytes()));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(16)
        .read_line(&mut answer)
        .map_err(|error| CliError::failed(format!("reading the answer: {error}")))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::failed("not confirmed: nothing was done")),
    }
}

/// The same for what is no loss of data: a script is not asked.
///
/// # Errors
/// As [`confirm`], at a terminal.
pub fn confirm_at_terminal(question: &str, yes: bool) -> Result<(), CliError> {
    confirm(question, yes || !io::stdin().is_terminal())
}

/// Who runs this command, for the audit trail.
pub fn actor(now: Timestamp) -> Actor {
    let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let who = named("SUDO_USER").or_else(|| named("USER")).or_else(|| {
        // The owner of a process's directory is the user it runs as.
        std::fs::metadata("/proc/self").ok().map(|own| own.uid().to_string())
    });
    actor_named(who.as_deref().unwrap_or("unknown"), now)
}

fn actor_named(who: &str, at: Timestamp) -> Actor {
    let name = format!("cli:{}", Printable(who.as_bytes()));
    Actor { name: truncate_on_char(&name, 128).to_owned(), at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Password, CliError> {
        check_password(Password::new(read_password(bytes)?))
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_a_password() {
        assert_eq!(read(b"a b\xff\n"), Ok(Password::from(&b"a b\xff"[..])));
        assert!(read(b"a b\xff\n\n").is_err(), "OpenVPN carries one line");
        assert_eq!(read(b" x "), Ok(Password::from(&b" x "[..])));
    }

    #[test]
    fn empty_and_endless_passwords_are_refused() {
        assert!(read(b"").is_err());
        assert!(read(b"\n").is_err());
        assert!(read(&[b'x'; 4096]).is_ok());
        assert!(read(&[&[b'x'; 4096][..], b"\n"].concat()).is_ok());
        assert!(read(&[b'x'; 4097]).is_err());
        assert!(read(&[&[b'x'; 4096][..], b"\n\n"].concat()).is_err());
    }

    #[test]
    fn an_actor_is_short_and_plain() {
        let actor = actor_named(&"é\n".repeat(100), Timestamp::default());
        assert!(actor.name.len() <= 128 && actor.name.starts_with("cli:é\\u{a}"), "{actor:?}");
    }
}
