//! Canaries: what is secret is nowhere that people or other programs read, at the loudest level and through faults.

use std::{fmt::Write as _, fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ovpn_warden::{
    store::{NewSecondFactor, UserPatch},
    types::Password,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Bed, Listener, MAC,
    metrics::{beside_with, free_port},
};

/// Each is sent, stored or configured below.
const PASSWORD: &str = "canary-right-password-Zq7";
const WRONG: &str = "canary-wrong-password-Zq7";
const CODE: &str = "731902";
const RECOVERY: &str = "canary00zq7canaryxx";
const TOTP: &str = "NB2W45DFOIZA2345NB2W45DFOIZA2345";
const CHALLENGE_KEY: &str = "canary-challenge-key-Zq7-0123456789abcdef";
const WEBHOOK_SECRET: &str = "canary-webhook-secret-Zq7";
const WEBHOOK_PATH: &str = "canary-webhook-path-Zq7";
const CONSOLE_TOKEN: &str = "canary-console-token-Zq7-0123456789";
const SESSION_TOKEN: &str = "canary-session-token-Zq7";

/// A text as it may appear: as it is, base64, hexadecimal, per cent.
fn forms(secret: &str) -> Vec<String> {
    let hex = |open: &str| {
        secret.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{open}{byte:02x}");
            text
        })
    };
    // Base64 of a part: cut where its groups begin.
    let core = STANDARD.encode(&secret.as_bytes()[..secret.len() / 3 * 3]);
    vec![secret.to_owned(), core, hex(""), hex("%"), secret.replace('-', "%2D")]
}

fn search(place: &str, bytes: &[u8], hash: &str) {
    let text = String::from_utf8_lossy(bytes);
    let secrets = [
        PASSWORD,
        WRONG,
        RECOVERY,
        TOTP,
        CHALLENGE_KEY,
        WEBHOOK_SECRET,
        WEBHOOK_PATH,
        CONSOLE_TOKEN,
        SESSION_TOKEN,
        hash,
    ];
    for secret in secrets {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{place} holds {form}, a form of {secret}");
        }
    }
}

async fn page(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn no_secret_is_in_log_metrics_journal_arguments_or_pages() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    bed.add_user("bob", PASSWORD).await;
    let bob = "bob".parse().unwrap();
    let factor = NewSecondFactor {
        secret: Password::from(TOTP.as_bytes()),
        recovery_codes: vec!["0".repeat(64)],
        replace: false,
    };
    bed.store.put_second_factor(&bob, &factor, &bed.actor()).await.unwrap();
    // A hash that cannot be used is told, and not shown.
    bed.add_user("carol", PASSWORD).await;
    let hash = "$argon2id$v=19$m=8,t=1,p=1$Y2FuYXJ5LXNhbHQ$canaryHashThatIsDamagedZq7";
    let patch = UserPatch { password_hash: Some(hash.into()), ..UserPatch::default() };
    bed.store.patch_user(&"carol".parse().unwrap(), &patch, &bed.actor()).await.unwrap();
    let (console, receiver) = (free_port().await, free_port().await);
    let journal = bed.folder().join("journal.db");
    let key = bed.folder().join("challenge.key");
    fs::write(&key, CHALLENGE_KEY).unwrap();
    let more = format!(
        "challenge_key_file = \"{}\"\n[log]\nlevel = \"trace\"\n[journal]\npath = \"{}\"\n\
         [webhook]\nurl = \"http://127.0.0.1:{receiver}/{WEBHOOK_PATH}\"\nsecret = \"{WEBHOOK_SECRET}\"\n\
         [console]\nlisten = \"127.0.0.1:{console}\"\ntoken = \"{CONSOLE_TOKEN}\"\n",
        key.display(),
        journal.display()
    );
    let (daemon, mut controller, http) = beside_with(&bed, &listener, &more).await;
    let mut cid = 0;
    let scrv1 = |password: &str, code: &str| {
        format!("SCRV1:{}:{}", STANDARD.encode(password), STANDARD.encode(code))
    };
    for (user, password) in [
        ("bob", PASSWORD.to_owned()),
        ("bob", WRONG.to_owned()),
        ("bob", scrv1(PASSWORD, CODE)),
        ("bob", scrv1(WRONG, CODE)),
        ("bob", scrv1(PASSWORD, RECOVERY)),
        ("bob", format!("CRV1::made-up::{WRONG}")),
        ("bob", format!("SESS_ID_AT_{SESSION_TOKEN}")),
        ("carol", PASSWORD.to_owned()),
        ("nobody", WRONG.to_owned()),
        (PASSWORD, WRONG.to_owned()),
    ] {
        cid += 1;
        controller.connect(cid, user, &password, Some(MAC)).await;
        let line = controller.command().await;
        // By mistake in place of the name it is in the log: nobody can know that.
        assert!(user == PASSWORD || !line.contains("canary"), "{line}");
        if line.starts_with("client-auth") {
            while controller.line().await != "END" {}
        }
        controller.say("SUCCESS: done\n").await;
    }
    // Blocks that are cut short, hold the password twice, or more than a line may have.
    controller
        .say(&format!(
            ">CLIENT:CONNECT,90,1\n>CLIENT:ENV,password={PASSWORD}\n>CLIENT:ENV,password={WRONG}\n\
             >CLIENT:ENV,username=bob\n>CLIENT:ENV,END\n>CLIENT:ENV,password={PASSWORD}\n\
             >CLIENT:CONNECT,91\n>CLIENT:ENV,password={PASSWORD}{}\n>CLIENT:ENV,END\n\
             >PASSWORD:Need 'Auth' username/password {WRONG}\n>ECHO:{SESSION_TOKEN}\n",
            "x".repeat(70_000)
        ))
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (place, port, path) in [
        ("/metrics", http, "/metrics"),
        ("/readyz", http, "/readyz"),
        ("the login page", console, "/login"),
    ] {
        search(place, &page(port, path).await, hash);
    }
    let id = daemon.id().unwrap();
    search("the arguments", &fs::read(format!("/proc/{id}/cmdline")).unwrap(), hash);
    search("the environment", &fs::read(format!("/proc/{id}/environ")).unwrap(), hash);
    let log = fs::read(bed.folder().join("log")).unwrap();
    // By mistake a password came as a name: that one is said.
    let text = String::from_utf8(log).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains(PASSWORD)).collect();
    assert!(told.iter().all(|line| line.contains(&format!("\"user\":\"{PASSWORD}\""))), "{told:?}");
    let rest: Vec<&str> = text.lines().filter(|line| !line.contains(PASSWORD)).collect();
    assert!(rest.len() > 15, "{text}");
    search("the log", rest.join("\n").as_bytes(), hash);
    for file in fs::read_dir(bed.folder()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("journal") {
            search(name, &fs::read(&file).unwrap(), hash);
        }
    }
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_refused_without_its_secrets() {
    use std::process::Command;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    for text in [
        format!("[database]\nurl = \"mysql://warden:{PASSWORD}@127.0.0.1:1/x\"\n"),
        format!("[database]\nurl = \"mysq://warden:{PASSWORD}@127.0.0.1:1/x\"\n"),
        format!("[database]\nurl = \"{PASSWORD}\"\n"),
        format!("[database]\nurl_file = \"{PASSWORD}\"\n"),
        format!("[[servers]]\nname = \"a\"\npassword = \"{PASSWORD}\"\n"),
        format!("[[servers]]\nname = \"a\"\nmanagement = \"tcp://u:{PASSWORD}@h:1\"\n"),
        format!("[webhook]\nurl = \"https://u:{PASSWORD}@h/\"\nsecret = \"{WEBHOOK_SECRET}\"\n"),
        format!("[console]\nlisten = \"x\"\ntoken = \"{PASSWORD}\"\n"),
        format!("[auth]\nchallenge_key = \"{}\"\n", &PASSWORD[..20]),
        format!("[auth\nchallenge_key = \"{PASSWORD}\"\n"),
    ] {
        fs::write(&file, &text).unwrap();
        for command in ["check", "run", "migrate"] {
            let output = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
                .env_clear()
                .arg("-c")
                .arg(&file)
                .arg(command)
                .output()
                .unwrap();
            assert!(!output.status.success(), "{command}: {text}");
            let told = [output.stdout, output.stderr].concat();
            assert!(!told.is_empty());
            search(&format!("{command} of {text}"), &told, "canary-Zq7-none");
        }
    }
}
