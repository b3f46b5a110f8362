//! Secrets from files: bounded, one line, and a word of warning when everybody can read them.

use std::{io::Read, os::unix::fs::MetadataExt, path::Path};

use zeroize::Zeroizing;

use super::{exposure, layer::explain};
use crate::types::Password;

/// Largest secret, in bytes.
const MAX_LEN: usize = 4096;

/// Why a secret cannot be used; never a part of it.
#[derive(Debug)]
pub(super) struct SecretError(pub(super) String);

/// The secret in a file, without its trailing newline, and perhaps a warning.
pub(super) fn read(path: &Path) -> Result<(Password, Option<String>), SecretError> {
    let io = |error: std::io::Error| SecretError(format!("cannot read it: {}", explain(&error)));
    // A look before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(SecretError("it is not a regular file".into()));
    }
    let file = std::fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 3));
    file.take(MAX_LEN as u64 + 3).read_to_end(&mut bytes).map_err(io)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok((accept(std::mem::take(&mut bytes))?, exposure::told(path, mode, "0640")))
}

/// A secret that keeps the rules: 1 to 4096 bytes, one line.
pub(super) fn accept(bytes: Vec<u8>) -> Result<Password, SecretError> {
    let password = Password::new(bytes);
    let bytes = password.expose();
    let problem = if bytes.is_empty() {
        "it is empty; remove the key where no password is needed"
    } else if bytes.len() > MAX_LEN {
        "it is longer than 4096 bytes; is this the right file?"
    } else if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        "it holds more than one line; keep the secret alone in it"
    } else {
        return Ok(password);
    };
    Err(SecretError(problem.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn one_trailing_newline_goes_and_everything_else_stays() {
        for (content, secret) in [
            (&b"007"[..], &b"007"[..]),
            (b"007\n", b"007"),
            (b" a b \r\n", b" a b "),
            (b"p\xff\n", b"p\xff"),
        ] {
            let (password, warning) = read(file(content, 0o640).path()).unwrap();
            assert_eq!(password.expose(), secret);
            assert_eq!(warning, None);
        }
    }

    #[test]
    fn what_everybody_can_read_or_write_is_warned_about() {
        let (_, warning) = read(file(b"x", 0o644).path()).unwrap();
        assert!(
            warning
                .is_some_and(|text| text.contains("is readable by") && text.contains("chmod 0640"))
        );
        let (_, warning) = read(file(b"x", 0o642).path()).unwrap();
        assert!(warning.is_some_and(|text| text.contains("is writable by")));
    }

    #[test]
    fn empty_long_and_many_lined_files_are_refused_without_a_word_of_their_content() {
        let long = vec![b'q'; MAX_LEN + 1];
        for content in [&b""[..], b"\n", b"canary\ncanary\n", b"canary\n\n", &long] {
            let SecretError(problem) = read(file(content, 0o600).path()).unwrap_err();
            assert!(!problem.contains("canary"), "{problem}");
        }
        assert!(read(file(&vec![b'q'; MAX_LEN], 0o600).path()).is_ok());
        assert!(read(Path::new("/")).is_err());
        let SecretError(problem) = read(Path::new("/nonexistent/x")).unwrap_err();
        assert!(problem.contains("no such file"), "{problem}");
    }
}
