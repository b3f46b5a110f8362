//! Configuration files, the environment, and what a stranger reads when something is wrong.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ovpn_warden::config::{Config, Endpoint, LogFormat, load};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn config(text: &str) -> Result<Config, String> {
    let files = Files::new();
    with(&[files.write("config.toml", text)], &[])
}

fn with(files: &[PathBuf], environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(files, environment, &[]).map(|loaded| loaded.config).map_err(|errors| errors.to_string())
}

#[test]
fn the_defaults_are_valid_and_name_every_key() {
    let config = config("").unwrap();
    assert_eq!(config.database.url.expose(), b"sqlite:///var/lib/ovpn-warden/warden.db");
    assert_eq!(config.auth.timeout.as_secs(), 8);
    assert_eq!(config.session.limit.map(|limit| limit.as_secs()), Some(28_800));
    // No section's type has a default of its own and none takes an unknown key: that this loads
    // at all means that the file names each key, and nothing else.
}

#[test]
fn every_file_in_conf_loads() {
    let files = Files::new();
    let secret = files.write("secret", "mysql://warden:x@localhost/vpn\n");
    for name in ["conf/default.toml", "conf/example.toml", "conf/docker/warden.toml"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = fs::read_to_string(path).unwrap();
        let text: String = text
            .lines()
            .map(|line| match line.split_once("_file = ") {
                Some((key, _)) if !line.starts_with('#') => format!("{key}_file = {secret:?}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(config(&text).is_ok(), "{name}: {:?}", config(&text).err());
    }
}

#[test]
fn the_interfaces_example_loads() {
    let files = Files::new();
    let password = files.write("mgmt.pw", "s3cret\n");
    let text = format!(
        r#"
[database]
url = "sqlite:///var/lib/ovpn-warden/warden.db"
max_connections = 10
[[servers]]
name = "udp-1194"
management = "tcp://127.0.0.1:7505"
password_file = {password:?}
[auth]
timeout_ms = 8000
device_mode = "enforce"
device_sources = ["UV_CLIENT_MAC", "IV_HWADDR"]
hash_workers = 0
hash_queue = 256
[session]
limit_s = 28800
expiry_action = "halt"
accounting_interval_s = 30
[throttle]
user_failures = 5
address_failures = 20
window_s = 900
[log]
format = "json"
[http]
listen = "127.0.0.1:9176"
"#
    );
    let config = config(&text).unwrap();
    assert_eq!(config.servers[0].password.as_ref().unwrap().expose(), b"s3cret");
    assert_eq!(
        config.servers[0].management,
        Endpoint::Tcp { host: "127.0.0.1".into(), port: 7505 }
    );
}

#[test]
fn later_files_win_and_the_environment_wins_over_files() {
    let files = Files::new();
    let first = files.write("a.toml", "[session]\nlimit_s = 1\n[log]\nformat = \"pretty\"\n");
    let second = files.write("b.toml", "[session]\nlimit_s = 2\n");
    let config = with(&[first.clone(), second.clone()], &[]).unwrap();
    assert_eq!(config.session.limit.map(|l| l.as_secs()), Some(2));
    assert_eq!(config.log.format, LogFormat::Pretty);
    let environment = [
        ("OVPN_WARDEN__SESSION__LIMIT_S", "3"),
        ("OVPN_WARDEN__AUTH__MATCH_COMMON_NAME", "true"),
        ("OVPN_WARDEN__AUTH__DEVICE_SOURCES", "UV_A, IV_HWADDR"),
        ("OVPN_WARDEN__DATABASE__URL", "mysql://w:007@localhost/007"),
        ("PATH", "/bin"),
    ];
    let config = with(&[first, second], &environment).unwrap();
    assert_eq!(config.session.limit.map(|l| l.as_secs()), Some(3));
    assert!(config.auth.match_common_name);
    assert_eq!(config.auth.device_sources.len(), 2);
    assert_eq!(config.database.url.expose(), b"mysql://w:007@localhost/007");
}

#[test]
fn a_password_that_looks_like_a_number_stays_text() {
    let text = "[[servers]]\nname = \"a\"\nmanagement = \"unix:///m\"\npassword = \"007\"\n";
    let config = config(text).unwrap();
    assert_eq!(config.servers[0].password.as_ref().unwrap().expose(), b"007");
    assert_eq!(config.servers[0].management, Endpoint::Unix("/m".into()));
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let files = Files::new();
    let secret = files.write("url", "sqlite::memory:\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let main = files.write("config.toml", &format!("[database]\nurl_file = {secret:?}\n"));
    let loaded = load(&[main], std::iter::empty(), &[]).unwrap();
    assert_eq!(loaded.config.database.url.expose(), b"sqlite::memory:");
    assert!(loaded.warnings[0].contains("chmod o="), "{:?}", loaded.warnings);
}

#[test]
fn every_fault_is_one_line_that_says_where_what_and_the_mend() {
    let server = "[[servers]]\nname = \"a\"\nmanagement = \"tcp://127.0.0.1:7505\"\n";
    let cases: &[(&str, &[&str])] = &[
        (
            "[sesion]\nlimit_s = 1\n",
            &["config.toml", "`sesion.limit_s`", "do you mean `session.limit_s`?"],
        ),
        ("[session]\nlimit = 1\n", &["`session.limit`", "do you mean"]),
        ("[session]\nlimit_s = \n", &["config.toml: line 2:"]),
        ("[session]\nlimit_s = \"long\"\n", &["session.limit_s", "has to be"]),
        ("[session]\nlimit_s = 99999999999\n", &["session.limit_s", "use 0 to 31536000"]),
        ("[session]\nexpiry_action = \"stop\"\n", &["session.expiry_action", "halt or restart"]),
        (
            "[auth]\ndevice_mode = \"learn\"\n",
            &["auth.device_mode", "not available", "off, log or enforce"],
        ),
        ("[auth]\ndevice_sources = [\"username\"]\n", &["auth.device_sources", "UV_"]),
        ("[auth]\ndevice_sources = []\n", &["auth.device_sources", "nobody could connect"]),
        ("[auth]\nargon2_p = 64\nargon2_m_kib = 64\n", &["auth.argon2_m_kib", "too small"]),
        ("[log]\nlevel = \"loud\"\n", &["log.level", "error, warn, info"]),
        ("[http]\nlisten = \"9176\"\n", &["http.listen", "127.0.0.1:9176"]),
        ("[database]\nurl = \"a\"\nurl_file = \"/b\"\n", &["database.url", "keep one of the two"]),
        ("[database]\nurl_file = \"/nonexistent/x\"\n", &["database.url_file", "/nonexistent/x"]),
        ("[[servers]]\nname = \"a b\"\nmanagement = \"tcp://h:1\"\n", &["servers[0].name", "A-Z"]),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"127.0.0.1:7505\"\n",
            &["servers[0].management", "tcp://"],
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"listen://127.0.0.1:7600\"\n",
            &["not available in this version"],
        ),
        (
            "[[servers]]\nname = \"a\"\nmanagement = \"tcp://h:1\"\npassword = \"x\"\npassword_file = \"/y\"\n",
            &["servers[0].password", "keep one"],
        ),
    ];
    for (text, wanted) in cases {
        let error = config(text).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in *wanted {
            assert!(error.contains(part), "`{error}` does not say `{part}`");
        }
    }
    let twice = config(&format!("{server}{server}")).unwrap_err();
    assert!(twice.contains("stands twice"), "{twice}");
    let two = config("[log]\nlevel = \"loud\"\nformat = \"x\"\n").unwrap_err();
    assert_eq!(two.lines().count(), 2, "both are told: {two}");
    let missing = with(&["/nonexistent/config.toml".into()], &[]).unwrap_err();
    assert!(missing.contains("/nonexistent/config.toml: cannot read it"), "{missing}");
    let variable = with(&[], &[("OVPN_WARDEN__SESSION__LIMIT", "1")]).unwrap_err();
    assert!(variable.contains("OVPN_WARDEN__SESSION__LIMIT: there is no key"), "{variable}");
    let servers = with(&[], &[("OVPN_WARDEN__SERVERS__0__NAME", "a")]).unwrap_err();
    assert!(servers.contains("in a file only"), "{servers}");
}

#[test]
fn no_error_shows_a_secret() {
    let canary = "canary-81d2";
    for text in [
        format!("[database]\nurl = [\"{canary}\"]\n"),
        format!("[database]\nurl = \"{canary}\"\nmax_connections = \"{canary}\"\n"),
        format!("[[servers]]\nname = \"a\"\nmanagement = \"x\"\npassword = \"{canary}\"\n"),
        format!(
            "[[servers]]\nname = \"a\"\nmanagement = \"unix:///x\"\npassword = [\"{canary}\"]\n"
        ),
    ] {
        let error = config(&text).unwrap_err();
        assert!(!error.contains(canary), "{error}");
    }
}
