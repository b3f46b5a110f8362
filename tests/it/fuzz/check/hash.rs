//! Stored password hashes, as another program may have left them in the database: what is taken
//! is whole, of a known scheme, and costs no more than the bounds say.

use ovpn_warden::{
    auth::password::{
        HashParams, MAX_M_KIB, MAX_P, MAX_T, MAX_WORK_KIB, PasswordError, Scheme, Schemes,
        Workspace, examine, is_outdated, verify,
    },
    types::Password,
};

/// Digests of `password`.
const KNOWN: [(Scheme, &str); 5] = [
    (Scheme::Md5, "5f4dcc3b5aa765d61d8327deb882cf99"),
    (Scheme::Sha1, "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8"),
    (Scheme::Sha256, "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"),
    (Scheme::Nt, "8846f7eaee8fb117ad06bdd830b7586c"),
    (Scheme::Mysql, "2470c0c06dee42fd1618bb99005adca2ec9d1e19"),
];

/// Where a parameter is left out, it is the crate's own: 19 MiB, two passes, one lane.
const OMITTED_M: u64 = 19_456;

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let scheme = Scheme::detect(text);
    let found = examine(text);
    let wanted = HashParams::default();
    if !is_outdated(text, &wanted) {
        assert_eq!(scheme, Some(Scheme::Argon2id));
        assert!(parameter(text, "m").unwrap_or(OMITTED_M) >= u64::from(wanted.m_kib), "{text:?}");
    }
    let Some(scheme) = scheme else {
        assert_eq!(found, Err(PasswordError::UnknownScheme));
        return;
    };
    assert!(Schemes::from_iter([scheme]).admit(text) == Ok(scheme));
    match found {
        Ok(()) => {}
        Err(error) => {
            let is_of_it =
                [PasswordError::Damaged(scheme), PasswordError::TooCostly(scheme)].contains(&error);
            return assert!(is_of_it, "{text:?}: {error:?}");
        }
    }
    assert!(text.len() <= 512 || matches!(scheme, Scheme::Pbkdf2Sha256), "{text:?}");
    costs_little(scheme, text);
    for tail in [" ", "\n", "\0", "$"] {
        let longer = format!("{text}{tail}");
        assert!(examine(&longer).is_err(), "{longer:?}");
    }
    if let Some((_, digits)) = KNOWN.iter().find(|(known, _)| *known == scheme) {
        let written = &text[text.len() - digits.len()..];
        let is_right = verify(&Password::from(&b"password"[..]), text, &mut Workspace::default());
        assert_eq!(is_right, Ok(written.eq_ignore_ascii_case(digits)), "{text:?}");
        assert_eq!(verify(&Password::default(), text, &mut Workspace::default()), Ok(false));
    }
}

/// The number behind the last `name=`.
fn parameter(text: &str, name: &str) -> Option<u64> {
    let parts = text.split(['$', ',']);
    let mut values = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    values.next_back()?.parse().ok()
}

/// The cost that stands in the text, read again.
fn costs_little(scheme: Scheme, text: &str) {
    let fields: Vec<&str> = text.split('$').collect();
    match scheme {
        Scheme::Argon2id | Scheme::Argon2i | Scheme::Argon2d => {
            let of = |name, default| parameter(text, name).unwrap_or(default);
            let (m, t, p) = (of("m", OMITTED_M), of("t", 2), of("p", 1));
            assert!(m <= u64::from(MAX_M_KIB) && t <= u64::from(MAX_T) && p <= u64::from(MAX_P));
            assert!(m * t <= MAX_WORK_KIB && t > 0 && p > 0 && m >= 8 * p, "{text:?}");
        }
        Scheme::Bcrypt => {
            let cost: u32 = fields[2].parse().unwrap();
            assert!(text.len() == 60 && (4..=15).contains(&cost), "{text:?}");
        }
        Scheme::Sha512Crypt | Scheme::Sha256Crypt => {
            let rounds = fields[2].strip_prefix("rounds=").map_or(5_000, |n| n.parse().unwrap());
            let length = if scheme == Scheme::Sha512Crypt { 86 } else { 43 };
            assert!((1_000..=2_000_000u64).contains(&rounds), "{text:?}");
            assert_eq!(fields.last().unwrap().len(), length);
        }
        Scheme::Md5Crypt => assert!(fields.len() == 4 && fields[2].len() <= 8),
        Scheme::Phpass => {
            let letters = "./0123456789ABCDEFGHIJ";
            let power = letters.find(&text[3..4]).unwrap();
            assert!((7..=20).contains(&power) && text.len() == 34, "{text:?}");
        }
        Scheme::Pbkdf2Sha256 | Scheme::Pbkdf2Sha1 | Scheme::Pbkdf2Sha512 => {
            let rounds = if text.starts_with('$') { fields[2] } else { fields[fields.len() - 3] };
            let rounds = rounds.rsplit(':').next().unwrap();
            assert!((1..=4_000_000).contains(&rounds.parse::<u32>().unwrap()), "{text:?}");
        }
        Scheme::Scrypt => {
            let of = |name| parameter(text, name).unwrap();
            let (ln, r, p) = (of("ln"), of("r"), of("p"));
            assert!(ln < 31 && (1 << ln) * r * p <= 2 << 20 && r * p > 0, "{text:?}");
        }
        Scheme::Ssha | Scheme::Ssha256 | Scheme::Ssha512 => {
            let letters = text.split_once('}').unwrap().1.trim_end_matches('=').len();
            let lengths = [(Scheme::Ssha, 20), (Scheme::Ssha256, 32), (Scheme::Ssha512, 64)];
            let digest = lengths.iter().find(|(known, _)| *known == scheme).unwrap().1;
            assert!((digest + 1..=digest + 128).contains(&(letters * 3 / 4)), "{text:?}");
        }
        Scheme::Mysql | Scheme::Nt | Scheme::Md5 | Scheme::Sha1 | Scheme::Sha256 => {
            let digits = text.strip_prefix('*').or_else(|| Some(text.split_once('}')?.1)).unwrap();
            assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?}");
        }
    }
}
