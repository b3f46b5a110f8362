//! The schemes of stored hashes, and which of them may be used.

use super::PasswordError;
use crate::types::words;

words! {
    /// How a stored hash was made: the words of `[auth] password_schemes`.
    Scheme {
        /// What new hashes are made with.
        Argon2id = "argon2id",
        /// argon2i as a PHC string.
        Argon2i = "argon2i",
        /// argon2d as a PHC string.
        Argon2d = "argon2d",
        /// `$2a$`, `$2b$`, `$2y$`.
        Bcrypt = "bcrypt",
        /// `$6$` of crypt(3).
        Sha512Crypt = "sha512-crypt",
        /// `$5$` of crypt(3).
        Sha256Crypt = "sha256-crypt",
        /// `$1$` of crypt(3).
        Md5Crypt = "md5-crypt",
        /// `$P$` of WordPress and others, `$H$` of phpBB.
        Phpass = "phpass",
        /// PBKDF2 with HMAC-SHA-256 as Django, passlib and Werkzeug write it.
        Pbkdf2Sha256 = "pbkdf2-sha256",
        /// The same with HMAC-SHA-1.
        Pbkdf2Sha1 = "pbkdf2-sha1",
        /// The same with HMAC-SHA-512.
        Pbkdf2Sha512 = "pbkdf2-sha512",
        /// scrypt as a PHC string.
        Scrypt = "scrypt",
        /// `PASSWORD()` of MySQL and MariaDB: `*` and 40 hexadecimal digits.
        Mysql = "mysql",
        /// `{SSHA}` of LDAP.
        Ssha = "ssha",
        /// `{SSHA256}`.
        Ssha256 = "ssha256",
        /// `{SSHA512}`.
        Ssha512 = "ssha512",
        /// `{NT}` and the NT hash in hexadecimal digits.
        Nt = "nt",
        /// `{MD5}` and hexadecimal digits.
        Md5 = "md5",
        /// `{SHA1}` and hexadecimal digits.
        Sha1 = "sha1",
        /// `{SHA256}` and hexadecimal digits.
        Sha256 = "sha256",
    }
}

/// How a hash of each scheme begins. What stands in braces is compared without case, as LDAP does.
const MARKS: &[(&str, Scheme)] = &[
    ("$argon2id$", Scheme::Argon2id),
    ("$argon2i$", Scheme::Argon2i),
    ("$argon2d$", Scheme::Argon2d),
    ("$2a$", Scheme::Bcrypt),
    ("$2b$", Scheme::Bcrypt),
    ("$2y$", Scheme::Bcrypt),
    ("$6$", Scheme::Sha512Crypt),
    ("$5$", Scheme::Sha256Crypt),
    ("$1$", Scheme::Md5Crypt),
    ("$P$", Scheme::Phpass),
    ("$H$", Scheme::Phpass),
    ("pbkdf2_sha256$", Scheme::Pbkdf2Sha256),
    ("$pbkdf2-sha256$", Scheme::Pbkdf2Sha256),
    ("pbkdf2:sha256:", Scheme::Pbkdf2Sha256),
    ("pbkdf2_sha1$", Scheme::Pbkdf2Sha1),
    ("$pbkdf2$", Scheme::Pbkdf2Sha1),
    ("pbkdf2:sha1:", Scheme::Pbkdf2Sha1),
    ("$pbkdf2-sha512$", Scheme::Pbkdf2Sha512),
    ("pbkdf2:sha512:", Scheme::Pbkdf2Sha512),
    ("$scrypt$", Scheme::Scrypt),
    ("{SSHA}", Scheme::Ssha),
    ("{SSHA256}", Scheme::Ssha256),
    ("{SSHA512}", Scheme::Ssha512),
    ("{NT}", Scheme::Nt),
    ("{MD5}", Scheme::Md5),
    ("{SHA1}", Scheme::Sha1),
    ("{SHA256}", Scheme::Sha256),
];

/// Bytes of a MySQL hash.
const MYSQL_LEN: usize = 41;

impl Scheme {
    /// The scheme that a stored hash claims to be of; the rest of it may still be damaged.
    pub fn detect(stored: &str) -> Option<Self> {
        split(stored).map(|(scheme, _, _)| scheme)
    }
}

/// A stored hash as its scheme, its mark and what follows the mark.
pub(super) fn split(stored: &str) -> Option<(Scheme, &str, &str)> {
    if stored.starts_with('*') {
        let is_mysql = stored.len() == MYSQL_LEN;
        return is_mysql.then(|| (Scheme::Mysql, &stored[..1], &stored[1..]));
    }
    MARKS.iter().find_map(|(mark, scheme)| {
        let (start, rest) = stored.split_at_checked(mark.len())?;
        let is_it = match mark.starts_with('{') {
            true => start.eq_ignore_ascii_case(mark),
            false => start == *mark,
        };
        is_it.then_some((*scheme, start, rest))
    })
}

/// The schemes that logins may use: `[auth] password_schemes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schemes(Vec<Scheme>);

impl Default for Schemes {
    /// Those that are slow to guess and widely used.
    fn default() -> Self {
        Self(vec![Scheme::Argon2id, Scheme::Bcrypt, Scheme::Sha512Crypt])
    }
}

impl FromIterator<Scheme> for Schemes {
    fn from_iter<I: IntoIterator<Item = Scheme>>(schemes: I) -> Self {
        Self(schemes.into_iter().collect())
    }
}

impl Schemes {
    /// Whether hashes of this scheme may be used.
    pub fn allow(&self, scheme: Scheme) -> bool {
        self.0.contains(&scheme)
    }

    /// The scheme of a stored hash, if it may be used.
    ///
    /// # Errors
    /// [`PasswordError::UnknownScheme`] or [`PasswordError::NotAllowed`].
    pub fn admit(&self, stored: &str) -> Result<Scheme, PasswordError> {
        let scheme = Scheme::detect(stored).ok_or(PasswordError::UnknownScheme)?;
        match self.allow(scheme) {
            true => Ok(scheme),
            false => Err(PasswordError::NotAllowed(scheme)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_known_by_its_mark() {
        for (stored, scheme) in [
            ("$argon2id$v=19$m=8", Some(Scheme::Argon2id)),
            ("$argon2i$v=19$m=8", Some(Scheme::Argon2i)),
            ("$2y$10$abc", Some(Scheme::Bcrypt)),
            ("$2x$10$abc", None),
            ("$2$10$abc", None),
            ("{ssha}abc", Some(Scheme::Ssha)),
            ("{SSHA256}abc", Some(Scheme::Ssha256)),
            ("{SHA}abc", None),
            ("$p$Babc", None),
            ("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", Some(Scheme::Mysql)),
            ("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E", None),
            ("5f4dcc3b5aa765d61d8327deb882cf99", None),
            ("{MÄ5}", None),
            ("*LK*", None),
            ("plain", None),
            ("", None),
        ] {
            assert_eq!(Scheme::detect(stored), scheme, "{stored}");
        }
    }

    #[test]
    fn only_what_is_listed_is_admitted() {
        let schemes = Schemes::default();
        assert_eq!(schemes.admit("$2b$04$x"), Ok(Scheme::Bcrypt));
        assert_eq!(schemes.admit("$1$a$b"), Err(PasswordError::NotAllowed(Scheme::Md5Crypt)));
        assert_eq!(schemes.admit("plain"), Err(PasswordError::UnknownScheme));
        assert!(Schemes::from_iter([Scheme::Md5Crypt]).admit("$1$a$b").is_ok());
    }
}
