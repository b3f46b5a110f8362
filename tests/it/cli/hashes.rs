//! `audit-hashes`.

use serde_json::json;

use super::bench::Bench;

const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm";

fn set(bench: &Bench, rows: &[(&str, Option<&str>)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, hash) in rows {
        bench.add_user(name);
        let hash = hash.map_or("NULL".into(), |hash| format!("'{hash}'"));
        let sql = format!("UPDATE users SET password_hash = {hash} WHERE name = '{name}'");
        runtime.block_on(bench.sql(&sql));
    }
}

#[test]
fn schemes_are_counted_and_unusable_rows_named() {
    let bench = Bench::new();
    bench.add_user("alice");
    set(
        &bench,
        &[
            ("bert", Some(BCRYPT)),
            ("cora", Some(BCRYPT)),
            ("dora", Some(&BCRYPT[..40])),
            ("emil", Some("{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==")),
            ("fred", Some("canary")),
            ("gina", Some("$2b$31$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm")),
            ("hans", None),
            (
                "ines",
                Some(
                    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                ),
            ),
        ],
    );
    let count = |scheme, users, allowed, unusable, outdated| {
        json!({
            "scheme": scheme, "users": users, "allowed": allowed, "unusable": unusable,
            "outdated": outdated,
        })
    };
    let row = |user, scheme, problem| json!({"user": user, "scheme": scheme, "problem": problem});
    assert_eq!(
        bench.json(&["audit-hashes"]),
        json!({
            "users": 9,
            "without_password": 1,
            "schemes": [
                count("bcrypt", 4, true, 2, 2),
                count("argon2id", 2, true, 0, 1),
                count("ssha", 1, false, 1, 0),
                count("unknown", 1, false, 1, 0),
            ],
            "unusable": [
                row("dora", "bcrypt", "damaged"),
                row("emil", "ssha", "not_allowed"),
                row("fred", "unknown", "unknown"),
                row("gina", "bcrypt", "too_costly"),
            ],
        })
    );
    let text = bench.ok(&["audit-hashes"]);
    assert!(text.contains("9 users, 1 without a password, 4 with a hash that cannot be used"));
    assert!(text.contains(" emil  ssha     not allowed"), "{text}");
    assert!(!text.contains("canary") && !text.contains("abcdef"), "no hash is shown: {text}");

    let url = format!("sqlite://{}", bench.path("warden.db"));
    bench.configure(&format!(
        "[database]\nurl = \"{url}\"\n[auth]\npassword_schemes = [\"argon2id\", \"ssha\"]\n"
    ));
    let audit = bench.json(&["audit-hashes"]);
    assert_eq!(audit["unusable"].as_array().unwrap().len(), 5, "{audit}");
}

#[test]
fn explain_says_the_scheme_of_a_hash_that_cannot_be_used() {
    let bench = Bench::new();
    set(&bench, &[("emil", Some("{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA=="))]);
    let args = ["explain", "emil", "--server", "udp", "--password-stdin"];
    let told = bench.run_with(b"password", &args);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.out.contains("scheme ssha, which auth.password_schemes"), "{told:?}");
    let listed = format!(
        "[database]\nurl = \"sqlite://{}\"\n[auth]\ndevice_mode = \"off\"\npassword_schemes = [\"argon2id\", \"ssha\"]\n",
        bench.path("warden.db")
    );
    bench.configure(&listed);
    bench.run_with(b"password", &args).ok(&args);
}

#[test]
fn an_empty_table_is_no_fault() {
    let bench = Bench::new();
    bench.ok(&["migrate"]);
    assert_eq!(
        bench.json(&["audit-hashes"]),
        json!({"users": 0, "without_password": 0, "schemes": [], "unusable": []})
    );
    assert!(bench.ok(&["audit-hashes"]).contains("0 users"));
}
