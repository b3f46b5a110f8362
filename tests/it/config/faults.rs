//! What is wrong is told with file, key and mend.

use super::*;

#[test]
fn errors_name_file_key_and_mend_in_one_line_each() {
    for (text, line) in [
        (
            "[auth]\ntimeuot_ms = 1\n",
            "config.toml: auth.timeuot_ms: no such key; did you mean `timeout_ms`?",
        ),
        ("[sesion]\n", "config.toml: sesion: no such section; did you mean `session`?"),
        ("[http]\nport = 1\n", "config.toml: http.port: no such key; there are listen"),
        (
            "port = 1\n",
            "config.toml: port: no such section; there are database, servers, auth, session, throttle, retention, journal, webhook, log, http and console",
        ),
        (
            "[auth]\ntimeout_ms = \"8s\"\n",
            "config.toml: auth.timeout_ms: text stands where a whole number is expected",
        ),
        (
            "[auth]\ntimeout_ms = 30001\n",
            "config.toml: auth.timeout_ms: 30001 is out of range; use 100 to 30000",
        ),
        (
            "[throttle]\nuser_failures = -1\n",
            "config.toml: throttle.user_failures: -1 is out of range; use 0 to 1000000",
        ),
        (
            "[log]\nformat = \"yaml\"\n",
            "config.toml: log.format: `yaml` is not one of the permitted words; use json, pretty or compact",
        ),
        (
            "[auth]\ndevice_mode = true\n",
            "config.toml: auth.device_mode: true or false stands where text in quotes is expected",
        ),
        (
            "[auth]\nmatch_common_name = \"yes\"\n",
            "config.toml: auth.match_common_name: text stands where true or false is expected",
        ),
        (
            "[auth]\ndevice_sources = [\"MAC\"]\n",
            "config.toml: auth.device_sources: `MAC` carries no device: use IV_HWADDR, UV_… or tls_digest_sha256_0",
        ),
        (
            "[auth]\ndevice_sources = []\n",
            "config.toml: auth.device_sources: it is empty, so nobody could connect; name UV_CLIENT_MAC or IV_HWADDR, or set device_mode = \"off\"",
        ),
        (
            "[auth]\nargon2_m_kib = 8\nargon2_p = 4\n",
            "config.toml: auth.argon2_m_kib: argon2_p = 4 needs at least 32 KiB; raise it or lower argon2_p",
        ),
        (
            "[auth]\nargon2_m_kib = 1048576\nargon2_t = 3\n",
            "config.toml: auth.argon2_m_kib: argon2_t = 3 times so much memory is over 2097152 KiB, which is too slow for a login; lower one of the two",
        ),
        (
            "[auth]\npassword_schemes = \"bcrypt\"\n",
            "config.toml: auth.password_schemes: text stands where a list of texts is expected",
        ),
        (
            "[auth]\npassword_schemes = [\"argon2id\", \"des\"]\n",
            "config.toml: auth.password_schemes: `des` is not one of the permitted words; use argon2id, argon2i, argon2d, bcrypt, sha512-crypt, sha256-crypt, md5-crypt, phpass, pbkdf2-sha256, pbkdf2-sha1, pbkdf2-sha512, scrypt, mysql, ssha, ssha256, ssha512, nt, md5, sha1 or sha256",
        ),
        (
            "[auth]\npassword_schemes = [\"bcrypt\"]\n",
            "config.toml: auth.password_schemes: it leaves out argon2id, which new hashes are made with; add it",
        ),
        (
            "[auth]\npassword_schemes = []\n",
            "config.toml: auth.password_schemes: it leaves out argon2id, which new hashes are made with; add it",
        ),
        (
            "[auth]\ndevice_mode = \"strict\"\n",
            "config.toml: auth.device_mode: `strict` is not one of the permitted words; use off, log, learn, approve or enforce",
        ),
        (
            "[auth]\ntimeout = 8000\n",
            "config.toml: auth.timeout: no such key; did you mean `timeout_ms`?",
        ),
        (
            "\"servers[9999999999]\" = { name = \"a\" }\n",
            "config.toml: servers[9999999999]: no such section; write a key below its section, as [auth] and then timeout_ms = 8000",
        ),
        (
            "[database]\nurl = 2026-12-31\n",
            "config.toml: database.url: a date stands where text in quotes is expected",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = 7\n",
            "config.toml: servers[0].password: a number stands where text in quotes is expected",
        ),
        ("[auth]\nargon2_m_kib = 8 8\n", "config.toml:2: auth.argon2_m_kib: not valid TOML: "),
        (
            "[session]\nlimit_s = 99999999999999999999\n",
            "config.toml:2: session.limit_s: no key takes a number so far from 0; use at most 9223372036854775807",
        ),
        (
            "[session]\nlimit_s = -999999999999999999999999999999999999999999999999\n",
            "config.toml:2: session.limit_s: no key takes a number so far from 0; use at most 9223372036854775807",
        ),
        (
            "[database]\nurl = \"postgres://canary@h/x\"\n",
            "config.toml: database.url: it has to begin with sqlite:// or mysql://; write sqlite:///var/lib/ovpn-warden/warden.db or mysql://user:password@host/name",
        ),
        ("auth = 7\n", "config.toml: auth: a number stands where a section is expected"),
        (
            "[servers]\nname = \"a\"\n",
            "config.toml: servers: a section stands where a list of sections, each begun by [[servers]], is expected",
        ),
        (
            "[[servers]]\nname = \"a\"\n",
            "config.toml: servers[0].management: missing; say where OpenVPN's `management` line listens, as management = \"tcp://127.0.0.1:7505\"",
        ),
        (
            "[[servers]]\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[0].name: missing; give each server a name, as name = \"udp-1194\"",
        ),
        (
            "[[servers]]\nname = \"a b\"\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[0].name: `a b` is no server name; use 1 to 64 of A-Z a-z 0-9 . _ -",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"localhost\"\n",
            "config.toml: servers[0].management: `localhost`: not the address of a management interface; use tcp://host:port, unix:///path or listen://address:port",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"listen://7600\"\n",
            "config.toml: servers[0].management: `listen://7600`: no address and port to listen on; use listen://127.0.0.1:7600 (IPv6 in brackets)",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npeer = \"127.0.0.1\"\n",
            "config.toml: servers[0].peer: only a server that dials in (management = \"listen://…\") has a peer",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"listen://127.0.0.1:1\"\n[[servers]]\nname = \"b\"\nmanagement = \"listen://127.0.0.1:1\"\n",
            "config.toml: servers[1].management: server `b` cannot be told from `a`, which dials in to 127.0.0.1:1 too; give each a password_file of its own, or a peer",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\nrelay = \"tcp://0.0.0.0:7600\"\n",
            "config.toml: servers[0].relay: everybody could read there who is connected; use unix:///path or tcp://127.0.0.1:port",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://127.0.0.1:1\"\nrelay = \"tcp://127.0.0.1:1\"\n",
            "config.toml: servers[0].relay: servers[0] has the same address; correct one of them",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\n[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:2\"\n",
            "config.toml: servers[1].name: servers[0] is named `a` too; give each server its own name",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\n[[servers]]\nname = \"b\"\nmanagement = \"tcp://h:1\"\n",
            "config.toml: servers[1].management: servers[0] has the same address, and OpenVPN serves one client at a time; correct one of them",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = \"x\"\npassword_file = \"/x\"\n",
            "config.toml: servers[0].password: given beside password_file; keep one of the two",
        ),
        (
            "[database]\nurl = \"sqlite:///x\"\nurl_file = \"/x\"\n",
            "config.toml: database.url: given beside url_file; keep one of the two",
        ),
        (
            "[database]\nurl_file = \"/nonexistent/url\"\n",
            "config.toml: database.url_file: /nonexistent/url: cannot read it: there is no such file; correct the path or make it",
        ),
        (
            "[database]\nurl_file = \"mysql://u@h/d\"\n",
            "config.toml: database.url_file: not the absolute path of a file, as /etc/ovpn-warden/url; a secret itself belongs in `url`",
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://u@h:1\"\n",
            "config.toml: servers[0].management: no user or password belongs in it: the password has keys of its own; use tcp://host:port or unix:///path",
        ),
        (
            "[http]\nlisten = \"9176\"\n",
            "config.toml: http.listen: `9176` is no address with a port; use one as 127.0.0.1:9176, or \"\" to switch it off",
        ),
    ] {
        let lines = Bed::new(text).lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(line), "\n{}\n{line}", lines[0]);
        assert!(lines[0] == line || line.ends_with(' '), "\n{}\n{line}", lines[0]);
    }
}

#[test]
fn faults_are_told_all_together() {
    let mut bed = Bed::new("[auth]\ntimeout_ms = 1\nhash_que = 3\n[log]\nformat = \"xml\"\n");
    bed.add("broken.toml", "[http\n");
    bed.add("absent.toml", "");
    fs::remove_file(&bed.files[2]).unwrap();
    let bed = bed.env("OVPN_WARDEN__AUTH__ARGON2_T", "many").env("OVPN_WARDEN__HTTP", "x");
    let lines = bed.lines();
    for part in [
        "config.toml: auth.timeout_ms: ",
        "config.toml: auth.hash_que: ",
        "config.toml: log.format: ",
        "broken.toml:1: not valid TOML: ",
        "absent.toml: cannot read the configuration: there is no such file",
        "environment variable OVPN_WARDEN__AUTH__ARGON2_T: auth.argon2_t: text stands where",
        "environment variable OVPN_WARDEN__HTTP: http: no such key; use OVPN_WARDEN__SECTION__KEY",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part}\n{lines:#?}");
    }
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

#[test]
fn a_gap_between_servers_of_the_environment_is_named() {
    let bed = Bed::new("")
        .env("OVPN_WARDEN__SERVERS__1__NAME", "a")
        .env("OVPN_WARDEN__SERVERS__1__MANAGEMENT", "tcp://h:1");
    assert_eq!(
        bed.lines(),
        ["environment: servers[0]: missing; number the servers from 0 without a gap"]
    );
}

#[test]
fn what_can_be_no_configuration_file_is_told_so() {
    let mut bed = Bed::new("");
    bed.add("big.toml", &"#".repeat((1 << 20) + 1));
    assert_eq!(
        bed.lines(),
        [
            "big.toml: cannot read the configuration: it is larger than 1 MiB; is this the right file?"
        ]
    );
    bed.files = vec!["/".into()];
    assert_eq!(bed.lines(), ["/: cannot read the configuration: it is a folder; name a file"]);
}

#[test]
fn terminal_escapes_in_a_configuration_do_not_reach_the_terminal() {
    let lines = Bed::new("[log]\nformat = \"\\u001b[31m\\n\"\n").lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("\\u{1b}[31m\\u{a}"), "{}", lines[0]);

    let mut bed = Bed::new("");
    bed.add("a\nb.toml", "[log]\nlevel = 3\n");
    bed.add("c\nd.toml", "[log\n");
    assert_eq!(bed.lines().len(), 2, "{:#?}", bed.lines());
}

#[test]
fn secrets_are_in_no_error_and_no_debug_output() {
    let server = "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = \"canary\"\n";
    let database = "[database]\nurl = \"mysql://u:canary@h/d\"\n";
    let good = Bed::new(&format!("{database}{server}"));
    assert!(!format!("{:?}", good.load().unwrap()).contains("canary"));
    let long = "canary".repeat(1_000);
    for text in [
        format!("{database}{server}password_file = \"/x\"\n"),
        format!("{database}url_file = \"/x\"\n"),
        "[database]\nurl = [\"canary\"]\n".into(),
        "[database]\nurl = \"canary\\ncanary\"\n".into(),
        format!("[database]\nurl = \"{long}\"\n"),
        "[database]\nurl = \"canary\n".into(),
        "[database]\nurl = canary\n".into(),
        "[database]\nurl = \"a\" canary\n".into(),
        format!("{server}password = \"canary2\"\n"),
        "[database]\nurl_file = \"mysql://u:canary@h/d\"\n".into(),
        server.replace("password = ", "password_file = "),
        server.replace("tcp://h:1", "tcp://u:canary@h:1"),
    ] {
        let lines = Bed::new(&text).lines();
        assert!(!lines.join("\n").contains("canary"), "{lines:#?}");
    }
}
