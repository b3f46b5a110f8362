//! Known answers, and what is refused.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::types::Clock;

const CHEAP: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };

fn password(text: &str) -> Password {
    Password::from(text.as_bytes())
}

#[test]
fn a_hash_verifies_its_own_password_and_no_other() {
    let stored = hash(&password("correct horse"), &CHEAP).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
    let mut workspace = Workspace::default();
    assert_eq!(verify(&password("correct horse"), &stored, &mut workspace), Ok(true));
    assert_eq!(verify(&password("correct horsf"), &stored, &mut workspace), Ok(false));
    assert_ne!(stored, hash(&password("correct horse"), &CHEAP).unwrap(), "salts differ");
}

#[test]
fn a_workspace_that_was_used_for_a_larger_hash_gives_the_same_result() {
    let small = hash(&password("a"), &CHEAP).unwrap();
    let large = hash(&password("b"), &HashParams { m_kib: 64, t: 2, p: 1 }).unwrap();
    let mut workspace = Workspace::default();
    for _ in 0..2 {
        assert_eq!(verify(&password("b"), &large, &mut workspace), Ok(true));
        assert_eq!(verify(&password("a"), &small, &mut workspace), Ok(true));
    }
}

#[test]
fn the_reference_implementations_own_hash_verifies() {
    // printf password | argon2 somesalt -id -t 2 -m 16 -p 1 (phc-winner-argon2, test.c)
    let stored =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(verify(&password("password"), stored, &mut Workspace::default()), Ok(true));
}

#[test]
fn what_is_no_hash_or_asks_for_too_much_is_an_error() {
    let mut workspace = Workspace::default();
    for bad in ["", "plain", "$1$abc$def", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"] {
        assert!(verify(&password("x"), bad, &mut workspace).is_err(), "{bad}");
    }
    let greedy =
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(
        verify(&password("x"), greedy, &mut workspace),
        Err(PasswordError::TooCostly(Scheme::Argon2id))
    );
}

#[test]
fn outdated_parameters_are_recognised() {
    let stored = hash(&password("x"), &CHEAP).unwrap();
    assert!(!is_outdated(&stored, &CHEAP));
    assert!(is_outdated(&stored, &HashParams::default()));
    let dear = HashParams { m_kib: CHEAP.m_kib * 2, t: CHEAP.t + 1, p: CHEAP.p };
    let dear = hash(&password("x"), &dear).unwrap();
    assert!(!is_outdated(&dear, &CHEAP), "what cost more is not made weaker");
    assert!(is_outdated(&stored.replace("v=19", "v=16"), &CHEAP));
    assert!(is_outdated("$1$abc$def", &CHEAP));
}

/// Whether one of the older schemes takes a password.
fn is_right(secret: &[u8], stored: &str) -> Result<bool, PasswordError> {
    verify(&Password::from(secret), stored, &mut Workspace::default())
}

/// Published with the schemes themselves.
const PUBLISHED: &[(&[u8], &str)] = &[
    // crypt_blowfish's wrapper.c, the second one against its sign extension bug.
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
    // jBCrypt's TestBCrypt.java.
    (b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    (b"abcdefghijklmnopqrstuvwxyz", "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz."),
    // Drepper's specification of SHA-crypt; salt as it comes out, cut to 16.
    (
        b"Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        b"Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (b"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    // The documentation and the tests of passlib.
    (b"password", "$1$5pZSV9va$azfrPr6af3Fc7dLblQXVa0"),
    (
        "Ιωαννης".as_bytes(),
        "$pbkdf2-sha256$1212$3SABFJGDtyhrQMVt1uABPw$WyaUoqCLgvz97s523nF4iuOqZNbp5Nt8do/cuaa7AiI",
    ),
    (
        b"password",
        "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ",
    ),
    (
        b"not a password",
        "pbkdf2_sha256$10000$kjVJaVz6qsnJ$5yPHw3rwJGECpUf70daLGhOrQ5+AMxIJdz1c3bqK1Rs=",
    ),
    (
        b"password",
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
    ),
    // The manual of MySQL 5.7, PASSWORD().
    (b"mypass", "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"),
    // test.php of phpass.
    (b"test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    // RFC 7914, section 12.
    (
        b"pleaseletmein",
        "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
    ),
    // The digests of "password" that everybody knows.
    (b"password", "{MD5}5f4dcc3b5aa765d61d8327deb882cf99"),
    (b"password", "{SHA1}5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8"),
    (b"password", "{sha256}5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8"),
    (b"password", "{NT}8846F7EAEE8FB117AD06BDD830B7586C"),
];

const ASCII: &[u8] = b"password";
const UMLAUTS: &[u8] = "Grüße, Wärter!".as_bytes();
const RAW: &[u8] = b"\xff\xfe\x80raw";
const LONG: &[u8] = &[b'x'; 100];

/// Made with passlib 1.7.4 and bcrypt 4.0.1, those of Werkzeug with Werkzeug 3.1.9; those of
/// crypt(3) agree with glibc, md5-crypt with OpenSSL too.
#[rustfmt::skip]
const GENERATED: &[(&[u8], &str)] = &[
    (ASCII, "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
    (UMLAUTS, "$1$saltsalt$w9eWkXN19BqDTdKrsjTkl/"),
    (RAW, "$1$saltsalt$7w97.skiKKYisAFxUXbRk."),
    (LONG, "$1$saltsalt$AomvFEJYtItwDZI8JetzY0"),
    (ASCII, "$6$rounds=1000$saltstring$EzTqOEb9gQc3Va/4p4pnqWqp/wIh1Otyhg9H9E8sV0eDyHGbNBkoMxYIM0ODHPBfmDNWb6wRiAvTriYxeDgb9."),
    (UMLAUTS, "$6$rounds=1000$saltstring$DvTVOWlZ7cTmS1DYCiVPZwz8mCd75ISn2bakTgYd2ik6wMdSuStsQYfUY8twl51Z4TZ6P6loAK5t1VIwBeNdB1"),
    (RAW, "$6$rounds=1000$saltstring$617MFdc24Iy0SJD38XQSCzAfM3w039EqniaOTFs9OpNomJbw90SDRxS7TSUfBg/3vrpASvJss3eKjsDZ4iGK61"),
    (LONG, "$6$rounds=1000$saltstring$LO1z7YQ05760SM/x1NQX9Xm8HYp.ZqDwu48VKgbuhftoYrhh9AErew0YRsDuN/5SC0zlqbgzcrYXL.7Bd7mj70"),
    (ASCII, "$5$rounds=1000$saltstring$S2dlplsLzofRuJ/frAjtaYev58CdqEN6fUby2laILG1"),
    (UMLAUTS, "$5$rounds=1000$saltstring$1TV1luFY8XWXll22KLsxzSkZkEiHpRhwMvkXAX8Zvk6"),
    (RAW, "$5$rounds=1000$saltstring$2wWZFXTCipwQB0olk5pjl1Xq11Dg19BKEmRYRCvlq6C"),
    (LONG, "$5$rounds=1000$saltstring$hFNgc5RNEDlV/DhOTdzNGGGLOwkWMrQnrp6oYLN54l8"),
    (ASCII, "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"),
    (UMLAUTS, "*1BFAE7E14C36A3D70F0DFB1384378BA589428D3E"),
    (RAW, "*9C94A31BBF524B6C9BB6228AFCC19D1C08A0261A"),
    (LONG, "*5615FCF664CC628D3AED5FD5D5138B5DAE42D72C"),
    (ASCII, "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA=="),
    (UMLAUTS, "{SSHA}g1coUfzZSp2Pn72SL44RkOaacL8xMjM0NTY3OA=="),
    (RAW, "{SSHA}SJzyGLYaJsq07Sxnal3cJQklSn4xMjM0NTY3OA=="),
    (LONG, "{SSHA}7BapLcv9vUnvoLCnNJXilWAfxV4xMjM0NTY3OA=="),
    (ASCII, "{SSHA256}qv7rppWevuuWUZ1dzwvMBp+B5LtWwkbQSHLbkmZubUsxMjM0NTY3OA=="),
    (UMLAUTS, "{SSHA256}/1uX3DluPULNPo/vjATVQW3/GCZqtl25D2qnbQ6kjigxMjM0NTY3OA=="),
    (RAW, "{SSHA256}g4lzl5OhvkmEo4w67qxtmyh1wBdnarU6d6tz52YTRegxMjM0NTY3OA=="),
    (LONG, "{SSHA256}kaq6nOIabkaq5OhGxcXTlfZcjeZCpo3QuhMT84wTyWIxMjM0NTY3OA=="),
    (ASCII, "{SSHA512}o9FQwV8amk4H05j62UVoRg47BEVwtjK/Z+J9OiMaBOSTGq2ho772vZTQiAHODGhP7UUHBYZ99vB/oKOVxCVgcTEyMzQ1Njc4"),
    (UMLAUTS, "{SSHA512}lu0oKoWyPo165PmE3SHX4n4oyJG/wyaJp9eKYHhlMWiWixfuhvdznAG4/y1NOS4Eb/6OD7H9QtpYTG/gBnxnYjEyMzQ1Njc4"),
    (RAW, "{SSHA512}e5pg7dXT0JPlTnqJdLGexLqy72HArL/TAHfhRX28agAGmQ6Ekzi73Hxz0mv1qiFhWfDQkq3ekiddIqcO90JoLzEyMzQ1Njc4"),
    (LONG, "{SSHA512}PDS0r6yGBHjUGnMfcLoQbf97ajn8bl1RXmc4eFnc2pnNKMFyX3c7Yhs4hDfgqdJddkIrNy4z+Vsq6dbfhIucXDEyMzQ1Njc4"),
    (ASCII, "$P$6saltsaltRxaFvRrkynTitytVBZApo0"),
    (UMLAUTS, "$P$6saltsalthzAn8326YkRxsEAErc5P11"),
    (RAW, "$P$6saltsaltfV0ISCykz35L2y1d/Df9L."),
    (LONG, "$P$6saltsalt6QVGBqz0jUCam8SA.Rsgd0"),
    (ASCII, "$H$6saltsaltRxaFvRrkynTitytVBZApo0"),
    (UMLAUTS, "$H$6saltsalthzAn8326YkRxsEAErc5P11"),
    (RAW, "$H$6saltsaltfV0ISCykz35L2y1d/Df9L."),
    (LONG, "$H$6saltsalt6QVGBqz0jUCam8SA.Rsgd0"),
    (ASCII, "pbkdf2_sha256$1000$seasalt$YIWkt6M1JFXrHg5s0jZjBSc7C2Cz6QvchSJ0h8Y+i7c="),
    (UMLAUTS, "pbkdf2_sha256$1000$seasalt$QITAKh2eYwZr2JS8BOB6haSLR2qCz8DKc8U+00jxIM4="),
    (RAW, "pbkdf2_sha256$1000$seasalt$5YXkve2JQmOSYOuiA3poS2JEBi7HcjgptAbBpzS/Ep0="),
    (LONG, "pbkdf2_sha256$1000$seasalt$rMhp0x7qhZLPAcJb27n2IaTSduT5Ptn/blezHhNVRTo="),
    (ASCII, "$pbkdf2-sha256$1000$//sgc2FsdHNhbHQ$of4Ah.TRb/ZICtFyMkblU8UAKBTbQe8XLwJ80F6WSNE"),
    (UMLAUTS, "$pbkdf2-sha256$1000$//sgc2FsdHNhbHQ$j1sMG55PNBjFdxmbDeW9ZjU0oggomkUFJmdsAn9IYEU"),
    (RAW, "$pbkdf2-sha256$1000$//sgc2FsdHNhbHQ$XSlB73WL/VptXCS.Q8syKGog9Oxx8t5WnW965YcxuH0"),
    (LONG, "$pbkdf2-sha256$1000$//sgc2FsdHNhbHQ$gAg.PxAiQ.MgG/bp66QTU20yNIU0mkc5sfksCo35o5E"),
    (ASCII, "$scrypt$ln=10,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$A+7MVsuekqUkNw2xIiSlqIRTJIIWvgZ0CyM8diAnREs"),
    (UMLAUTS, "$scrypt$ln=10,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$N4xsk0g7WFABKIhs/nwAib7a+Sq15x58Xq8pfV5qyrI"),
    (RAW, "$scrypt$ln=10,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$+Z5PHDq6OH7DBDsIozkKntRShQx7UFjQ1M58B2AHzvY"),
    (LONG, "$scrypt$ln=10,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$uxvFImNz8swG5BQQr9nffVTA4PgWRd4XH1mEhfPJYiQ"),
    (ASCII, "{NT}8846f7eaee8fb117ad06bdd830b7586c"),
    (UMLAUTS, "{NT}b6fba023899642139e9131679f8e61a7"),
    (LONG, "{NT}c16e1f599bba2bab447a15fa2ca8aabb"),
    (ASCII, "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm"),
    (UMLAUTS, "$2b$04$abcdefghijklmnopqrstuuGVMwNu/fDaD.9JMFC6YFUrDVdE.oe1u"),
    (RAW, "$2b$04$abcdefghijklmnopqrstuuQ0xMB7R8nKxH628MRuOgMdciW9SlzTe"),
    (LONG, "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"),
    (ASCII, "pbkdf2:sha256:1000$SaltySalt$45b7cf172921646c81e0f4870ebeff158271dd66902d511a4af0299da2274d92"),
    (UMLAUTS, "pbkdf2:sha256:1000$SaltySalt$3a43d487d9a3251478029aff367f6d15c548771b77a308f6e22ff25d0ce7b6c0"),
    (LONG, "pbkdf2:sha256:1000$SaltySalt$df2f6b7ee99797567a62329776123271d79c3b92523e39a40542786771111a16"),
    (ASCII, "$pbkdf2$1000$//sgc2Vhc2FsdA$/Kv7wVrbqDXTnZ8zxXbUIgf1vEw"),
    (ASCII, "pbkdf2:sha1:1000$SaltySalt$37760a58fd20e036835871b624c9ac37bd2caef1"),
    (ASCII, "$pbkdf2-sha512$1000$//sgc2Vhc2FsdA$Qsj1Y.r2PWbF2I9vD.yCNaKZbLt6ptTtWIN7g9JKsHihdQUmg85sSxsNLOPnNpw7/ZDQUrJwAlS.ksY.OYsPFw"),
    (ASCII, "pbkdf2:sha512:1000$SaltySalt$de23ed1d3535f9b4c106e75241401f10496aea0763360d9d9071e1b722aa559a8df7383070681e23d62557d1d7058925e8af7edcb99a017f43ab2df3a630bd81"),
    (ASCII, "pbkdf2_sha1$1000$seasalt$C8KvRfPW529R7JpDHEDOP35Xr0g="),
];

#[test]
fn known_answers_are_given() {
    for (secret, stored) in PUBLISHED.iter().chain(GENERATED) {
        assert_eq!(is_right(secret, stored), Ok(true), "{stored}");
        assert_eq!(examine(stored), Ok(()), "{stored}");
        assert!(is_outdated(stored, &CHEAP), "{stored}: it is replaced by argon2id");
    }
}

#[test]
fn what_is_compared_faster_than_a_new_hash_is_known() {
    let wanted = HashParams::default();
    let argon = |m_kib, t| {
        format!(
            "$argon2id$v=19$m={m_kib},t={t},p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
        )
    };
    let bcrypt = |cost| format!("$2b${cost}$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm");
    for (stored, expected) in [
        (argon(19_456, 2), false),
        (argon(65_536, 2), false),
        (argon(9_728, 2), true),
        (argon(64, 1), true),
        (bcrypt("04"), true),
        (bcrypt("12"), false),
        ("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4".into(), true),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".into(), true),
        ("$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0".into(), true),
        ("{MD5}5f4dcc3b5aa765d61d8327deb882cf99".into(), true),
        // Not compared at all.
        ("!$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJ".into(), true),
        ("plain".into(), true),
    ] {
        assert_eq!(is_cheaper(&stored, &wanted), expected, "{stored}");
    }
    for (stored, expected) in
        [("!", true), ("!$6$a$b", true), ("*", true), ("*LK*", true), ("", true), ("$6$a$b", false)]
    {
        assert_eq!(is_locked(stored), expected, "{stored}");
    }
}

#[test]
fn every_scheme_has_a_known_answer() {
    for scheme in Scheme::ALL {
        let has_one =
            PUBLISHED.iter().chain(GENERATED).any(|(_, s)| Scheme::detect(s) == Some(*scheme));
        let is_argon = matches!(scheme, Scheme::Argon2id | Scheme::Argon2i | Scheme::Argon2d);
        assert!(has_one || is_argon, "{scheme}");
    }
}

#[test]
fn another_password_is_wrong() {
    for (secret, stored) in PUBLISHED.iter().chain(GENERATED) {
        let mut other = secret.to_vec();
        other[0] ^= 1;
        assert_eq!(is_right(&other, stored), Ok(false), "{stored}");
        assert_eq!(is_right(b"", stored), Ok(false), "{stored}");
        let counts = Scheme::detect(stored) != Some(Scheme::Bcrypt) || secret.len() < 72;
        other.clone_from(&secret.to_vec());
        other.push(b'x');
        assert_eq!(is_right(&other, stored), Ok(!counts), "{stored}: one byte more");
    }
}

#[test]
fn bcrypt_does_not_see_beyond_72_bytes() {
    let stored = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    for (length, right) in [(71, false), (72, true), (73, true), (4_096, true)] {
        assert_eq!(is_right(&vec![b'x'; length], stored), Ok(right), "{length}");
    }
}

#[test]
fn bits_of_bcrypt_that_stand_for_nothing_may_be_set() {
    // The last letter of the salt and of the hash, as old PHP and Python programs wrote them.
    let clean = "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm";
    let stored = "$2b$04$abcdefghijklmnopqrstuvghE8Ev8uGFaUgY2cNEySvxngrb/Jzdn";
    assert_eq!((is_right(ASCII, clean), is_right(ASCII, stored)), (Ok(true), Ok(true)));
    assert_eq!(is_right(b"other", stored), Ok(false));
}

#[test]
fn the_hash_of_nothing_lets_nobody_in() {
    for stored in [
        "{NT}31d6cfe0d16ae931b73c59d7e0c089c0",
        "{MD5}d41d8cd98f00b204e9800998ecf8427e",
        "$1$saltsalt$5Jhcit4zN9UlGiA0txPkO0",
        "$2b$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq",
        "*BE1BDEC0AA74B4DCB079943E70528096CCA985F8",
    ] {
        assert_eq!(is_right(b"", stored), Ok(false), "{stored}");
    }
}

#[test]
fn a_hash_cut_anywhere_or_longer_is_damaged() {
    for (secret, stored) in PUBLISHED.iter().chain(GENERATED) {
        let scheme = Scheme::detect(stored).unwrap();
        // The salt of SSHA ends where the hash ends: cut there it is another salt.
        let is_salted = matches!(scheme, Scheme::Ssha | Scheme::Ssha256 | Scheme::Ssha512);
        // A PHC string says nowhere how long its hash is.
        let is_phc = scheme == Scheme::Scrypt;
        for end in 0..stored.len() {
            let cut = &stored[..end];
            // Django's base64 may stand without its padding.
            if stored[end..] == *"=" {
                continue;
            }
            match examine(cut) {
                Err(PasswordError::Damaged(_) | PasswordError::UnknownScheme) => {}
                Ok(()) if is_salted || is_phc => {}
                other => panic!("{cut}: {other:?}"),
            }
        }
        let longer = format!("{stored}a");
        match examine(&longer) {
            Err(PasswordError::Damaged(_) | PasswordError::UnknownScheme) => {}
            Ok(()) if is_phc => assert_eq!(is_right(secret, &longer), Ok(false), "{longer}"),
            other => panic!("{longer}: {other:?}"),
        }
    }
}

#[test]
fn strange_hashes_are_damaged_and_no_panic() {
    for (stored, scheme) in [
        ("$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzd=", Scheme::Bcrypt),
        ("$2b$03$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", Scheme::Bcrypt),
        ("$2b$+4$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", Scheme::Bcrypt),
        ("$2b$04$äbcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzd", Scheme::Bcrypt),
        (
            "$5$rounds=999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            Scheme::Sha256Crypt,
        ),
        ("$5$$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", Scheme::Sha256Crypt),
        ("$5$saltstringsaltstr$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", Scheme::Sha256Crypt),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEcE", Scheme::Sha256Crypt),
        ("$1$saltsalts$qjXMvbEw8oaL.CzflDtaK/", Scheme::Md5Crypt),
        ("$P$4saltsaltRxaFvRrkynTitytVBZApo0", Scheme::Phpass),
        ("{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vM=", Scheme::Ssha),
        ("{MD5}5f4dcc3b5aa765d61d8327deb882cf9g", Scheme::Md5),
        ("{SHA1}5f4dcc3b5aa765d61d8327deb882cf99", Scheme::Sha1),
        ("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E1X", Scheme::Mysql),
        (
            "pbkdf2_sha256$0$seasalt$YIWkt6M1JFXrHg5s0jZjBSc7C2Cz6QvchSJ0h8Y+i7c=",
            Scheme::Pbkdf2Sha256,
        ),
        (
            "pbkdf2:sha256:$SaltySalt$45b7cf172921646c81e0f4870ebeff158271dd66902d511a4af0299da2274d92",
            Scheme::Pbkdf2Sha256,
        ),
        (
            "$scrypt$ln=0,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$A+7MVsuekqUkNw2xIiSlqIRTJIIWvgZ0CyM8diAnREs",
            Scheme::Scrypt,
        ),
        (
            "$scrypt$r=8,p=1$c2Vhc2FsdHNlYXNhbHQ$A+7MVsuekqUkNw2xIiSlqIRTJIIWvgZ0CyM8diAnREs",
            Scheme::Scrypt,
        ),
        ("$argon2id$", Scheme::Argon2id),
    ] {
        assert_eq!(is_right(ASCII, stored), Err(PasswordError::Damaged(scheme)), "{stored}");
    }
}

#[test]
fn a_hash_that_would_stall_the_pool_is_refused_at_once() {
    let clock = Clock::new();
    let started = clock.now().mono;
    let digest = "A+7MVsuekqUkNw2xIiSlqIRTJIIWvgZ0CyM8diAnREs";
    for (stored, scheme) in [
        ("$2b$16$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm".into(), Scheme::Bcrypt),
        ("$2b$99$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm".into(), Scheme::Bcrypt),
        (
            "$5$rounds=999999999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".into(),
            Scheme::Sha256Crypt,
        ),
        (format!("$6$rounds=2000000$salt${}", ".".repeat(86)), Scheme::Sha512Crypt),
        (format!("$6$rounds=99999999999$salt${}", ".".repeat(86)), Scheme::Sha512Crypt),
        ("$P$SsaltsaltRxaFvRrkynTitytVBZApo0".into(), Scheme::Phpass),
        (format!("$pbkdf2-sha256$4000001$c2FsdA${digest}"), Scheme::Pbkdf2Sha256),
        (format!("pbkdf2_sha256$99999999999$salt${digest}"), Scheme::Pbkdf2Sha256),
        (format!("$scrypt$ln=19,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ${digest}"), Scheme::Scrypt),
        (format!("$scrypt$ln=10,r=65,p=1$c2Vhc2FsdHNlYXNhbHQ${digest}"), Scheme::Scrypt),
        (format!("$scrypt$ln=10,r=8,p=4000000$c2Vhc2FsdHNlYXNhbHQ${digest}"), Scheme::Scrypt),
        (format!("$scrypt$ln=63,r=8,p=1$c2Vhc2FsdHNlYXNhbHQ${digest}"), Scheme::Scrypt),
        (format!("$argon2id$v=19$m=1048576,t=3,p=1$c29tZXNhbHQ${digest}"), Scheme::Argon2id),
        (format!("$argon2id$v=19$m=65536,t=65,p=1$c29tZXNhbHQ${digest}"), Scheme::Argon2id),
    ] {
        assert_eq!(is_right(ASCII, &stored), Err(PasswordError::TooCostly(scheme)), "{stored}");
        assert_eq!(examine(&stored), Err(PasswordError::TooCostly(scheme)), "{stored}");
    }
    let taken = clock.now().mono - started;
    assert!(taken < Duration::from_secs(2), "{taken:?}");
}

#[test]
fn a_long_password_cannot_stall_the_pool_either() {
    let clock = Clock::new();
    let started = clock.now().mono;
    let stored = format!("$6$rounds=1000000$salt${}", ".".repeat(86));
    assert_eq!(examine(&stored), Ok(()));
    assert_eq!(is_right(&[b'x'; 4_096], &stored), Ok(false));
    assert_eq!(is_right(&[b'x'; 4_096], "$P$IsaltsaltRxaFvRrkynTitytVBZApo0"), Ok(false));
    let taken = clock.now().mono - started;
    assert!(taken < Duration::from_secs(2), "{taken:?}");
}

#[test]
fn errors_name_the_scheme_and_nothing_of_the_hash() {
    for stored in ["$1$canary$x", "{MD5}canary", "$2b$99$canary", "canary", "$argon2id$canary"] {
        let text = is_right(ASCII, stored).unwrap_err().to_string();
        assert!(!text.contains("canary"), "{text}");
        let scheme = Scheme::detect(stored);
        assert!(scheme.is_none_or(|scheme| text.contains(scheme.as_str())), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_in_place_of_a_hash_makes_a_panic(
        known in prop::sample::select(PUBLISHED.iter().chain(GENERATED).map(|known| known.1).collect::<Vec<_>>()),
        at in any::<prop::sample::Index>(),
        put in "\\PC{0,4}",
        cut in 0usize..6,
    ) {
        let mut chars: Vec<char> = known.chars().collect();
        let at = at.index(chars.len());
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, put.chars());
        let text: String = chars.into_iter().collect();
        // Whatever it is now, it is told in one go and without its text.
        if let Err(error) = examine(&text) {
            prop_assert!(error.to_string().len() < 120);
        }
    }
}
