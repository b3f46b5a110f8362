//! The web console behind a real nginx that is configured as `docs/console.md` says.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{
    Bed, Listener,
    console::{Answer, get, post, speak},
    metrics::{beside_with, free_port},
};

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM: its workers go with it.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The blocks of the documentation: with a password file, and with single sign-on.
fn documented() -> [String; 2] {
    let text = fs::read_to_string("docs/console.md").unwrap();
    let blocks = text.split("```nginx\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

async fn ask(port: u16, request: &str) -> Answer {
    speak(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), &closing(request)).await
}

/// nginx keeps connections open.
fn closing(request: &str) -> String {
    request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

#[tokio::test]
async fn nobody_names_himself_behind_nginx() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let folder = bed.folder().display().to_string();
    let more = format!(
        "[console]\nlisten = \"unix://{folder}/console.sock\"\nproxy_header = \"X-Forwarded-User\"\n"
    );
    let (_daemon, _controller, _) = beside_with(&bed, &listener, &more).await;

    let (with_password, with_sso) = (free_port().await, free_port().await);
    let [password, sso] = documented().map(|block| {
        block
            .replace("/run/ovpn-warden-console/console.sock", &format!("{folder}/console.sock"))
            .replace("/etc/nginx/vpn.htpasswd", &format!("{folder}/htpasswd"))
    });
    fs::write(bed.folder().join("htpasswd"), "anna:{PLAIN}secret\n").unwrap();
    let configuration = format!(
        "daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}
        http {{
            access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{ listen 127.0.0.1:{with_password}; {password} }}
            server {{
                listen 127.0.0.1:{with_sso}; {sso}
                location = /sso {{
                    internal; proxy_pass http://unix:{folder}/sso.sock; proxy_pass_request_body off;
                    proxy_set_header Content-Length \"\";
                }}
            }}
            server {{
                listen unix:{folder}/sso.sock;
                location / {{
                    if ($cookie_visit != good) {{ return 401; }}
                    add_header X-User anna; return 204;
                }}
            }}
        }}"
    );
    let file = bed.folder().join("nginx.conf");
    let user =
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) { "user root;" } else { "" };
    fs::write(&file, format!("{user} {configuration}")).unwrap();
    let nginx = Command::new(crate::watching::tools().join("usr/sbin/nginx"))
        .arg("-c")
        .arg(&file)
        .args(["-p", &folder, "-e", "stderr"])
        .stderr(Stdio::from(fs::File::create(bed.folder().join("nginx.log")).unwrap()))
        .spawn()
        .unwrap();
    let _nginx = Nginx(nginx);
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", with_sso)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let claims = "X-Forwarded-User: root\r\n";
    let (good, wrong, root) = (
        "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n", // anna:secret
        "Authorization: Basic YW5uYTp4\r\n",         // anna:x
        "Authorization: Basic cm9vdDp4\r\n",         // root:x
    );
    let visit = "Cookie: visit=good\r\n";
    for (port, headers) in [
        (with_password, claims.to_owned()),
        (with_password, format!("{wrong}{claims}")),
        (with_password, format!("{root}{claims}")),
        (with_sso, claims.to_owned()),
        (with_sso, format!("{good}{claims}")),
    ] {
        let answer = ask(port, &get("/", &headers)).await;
        assert_eq!(answer.status, 401, "{headers}: {answer:?}");
    }
    for (port, headers) in [
        (with_password, format!("{good}{claims}")),
        (with_sso, visit.to_owned()),
        (with_sso, format!("{visit}{claims}{root}")),
    ] {
        let page = ask(port, &get("/user?name=alice", &headers)).await;
        assert!(page.body.contains("Signed in: <b>anna</b>"), "{headers}: {page:?}");
        let form = format!("user=alice&enabled=false&signature={}", page.signature());
        let answer = ask(port, &post("/user/enabled", &headers, &form)).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let audit = bed.store.audit_of("alice", 1).await.unwrap();
        assert_eq!(audit[0].actor, "console:anna");
    }
}
