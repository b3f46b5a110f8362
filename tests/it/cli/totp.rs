//! Second factors, as operators set them up.

use serde_json::Value;

use super::bench::Bench;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.run_with(b"correct horse", &["user", "add", "alice", "--password-stdin"]);
    bench
}

fn codes(view: &Value) -> Vec<&str> {
    view["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}

#[test]
fn a_person_sees_a_qr_code_the_key_and_the_recovery_codes() {
    let bench = bench();
    let shown = bench.ok(&["user", "totp", "alice", "--issuer", "Example VPN"]);
    let uri = shown.lines().find(|line| line.starts_with("otpauth://totp/")).unwrap();
    assert!(uri.starts_with("otpauth://totp/Example%20VPN:alice?secret="), "{uri}");
    assert!(uri.ends_with("&issuer=Example%20VPN"), "{uri}");
    let image: Vec<_> = shown.lines().filter(|line| line.contains(['█', '▀', '▄'])).collect();
    let width = image.iter().map(|line| line.chars().count()).max().unwrap();
    assert!(image.len() >= 20 && (40..=100).contains(&width), "{shown}");
    let is_code = |line: &&str| line.starts_with("    ") && line.trim().len() == 19;
    assert_eq!(shown.lines().filter(is_code).count(), 10, "{shown}");
    assert!(shown.ends_with("none of this is shown again\n"), "{shown}");
}

#[test]
fn the_story_of_a_second_factor() {
    let bench = bench();
    let second_factor = || bench.json(&["user", "show", "alice"])["second_factor"].clone();
    assert_eq!(second_factor(), Value::Null);
    assert!(bench.ok(&["user", "show", "alice"]).contains("none"));

    let first = bench.json(&["user", "totp", "alice"]);
    assert_eq!(first["user"], "alice");
    let secret = first["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    assert!(first["uri"].as_str().unwrap().contains(secret));
    assert_eq!(codes(&first).len(), 10);
    let shown = second_factor();
    assert_eq!((&shown["recovery_codes"], &shown["last_used_at"]), (&10.into(), &Value::Null));
    let text = bench.ok(&["user", "show", "alice"]);
    assert!(text.contains("not used yet; 10 recovery codes left"), "{text}");

    bench.run(&["user", "totp", "alice"]).fails(1, "has a second factor already");
    let renewed = bench.json(&["user", "totp", "alice", "--recovery-codes"]);
    assert_eq!((&renewed["secret"], codes(&renewed).len()), (&Value::Null, 10));
    assert_ne!(codes(&renewed), codes(&first));
    let second = bench.json(&["user", "totp", "alice", "--replace"]);
    assert_ne!(second["secret"], first["secret"]);

    // Nothing that can be looked at holds a secret.
    for args in [&["user", "show", "alice"][..], &["user", "list"], &["policy", "list"]] {
        for shown in [bench.ok(args), bench.json(args).to_string()] {
            let own = codes(&second);
            let secrets = own.iter().copied().chain(second["secret"].as_str());
            assert!(secrets.into_iter().all(|secret| !shown.contains(secret)), "{shown}");
        }
    }

    let ended = bench.ok(&["user", "totp", "alice", "--disable"]);
    assert_eq!(ended, "user `alice` has no second factor any more\n");
    assert_eq!(second_factor(), Value::Null);
    bench.run(&["user", "totp", "alice", "--disable"]).fails(1, "has no second factor");
    bench.run(&["user", "totp", "alice", "--recovery-codes"]).fails(1, "has no second factor");
    bench.run(&["user", "totp", "mallory"]).fails(1, "user `mallory` not found");
    assert_eq!(bench.json(&["user", "totp", "alice"])["user"], "alice", "and again");
    assert_eq!(bench.json(&["user", "totp", "alice", "--disable"])["second_factor"], false);
}

#[test]
fn explain_has_a_line_for_it() {
    let bench = bench();
    let explained = || {
        let args =
            ["--json", "explain", "alice", "--server", "udp", "--device", "02:1a:2b:3c:4d:5e"];
        let view: Value = serde_json::from_str(&bench.run(&args).out).unwrap();
        let rules = view["rules"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["rule"] == "second_factor").unwrap().clone();
        (rule["verdict"].as_str().unwrap().to_owned(), rule["reason"].clone(), view)
    };
    assert_eq!(explained().0, "pass");
    bench.ok(&["policy", "set", "default", "--second-factor", "required"]);
    let (verdict, reason, view) = explained();
    assert_eq!((&*verdict, &reason), ("deny", &"second_factor_required".into()));
    assert_eq!(view["reason"], "second_factor_required");
    assert!(view["client_sees"].as_str().unwrap().contains("second factor"));
    bench.ok(&["user", "totp", "alice"]);
    assert_eq!(explained().0, "not_checked");
    bench.ok(&["policy", "set", "default", "--second-factor", "off"]);
    assert_eq!(explained().0, "pass");
}

#[test]
fn explain_checks_a_code_and_does_not_use_it_up() {
    let bench = bench();
    bench.ok(&["policy", "set", "default", "--device-mode", "off"]);
    let secret = bench.json(&["user", "totp", "alice"])["secret"].as_str().unwrap().to_owned();
    let totp = |secret| {
        let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
        totp_rs::Builder::new().with_secret(secret).build().unwrap()
    };
    let at = 1_800_000_000;
    let explained = |code: &str| {
        let args = [
            "--json",
            "explain",
            "alice",
            "--server",
            "udp",
            "--at",
            "2027-01-15T08:00:00Z",
            "--code",
        ];
        let run = bench.run(&[&args[..], &[code]].concat());
        (run.code, serde_json::from_str::<Value>(&run.out).unwrap()["reason"].clone())
    };
    let right = totp(&secret).generate(at).to_string();
    for _ in 0..2 {
        assert_eq!(explained(&right), (0, Value::Null));
    }
    let wrong = totp(&secret).generate(at + 600).to_string();
    assert_eq!(explained(&wrong), (3, "bad_second_factor".into()));
    bench.run(&["explain", "alice", "--code", "12345"]).fails(2, "six digits");
}
