//! What OpenVPN is told about clients, as operators set it.

use serde_json::{Value, json};

use super::bench::Bench;

const ROUTE: &str = "push \"route 10.1.0.0 255.255.0.0\"";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.add_user("alice");
    bench.add_user("bob");
    bench
}

fn lines(view: &Value) -> Vec<String> {
    let text = |line: &Value| match (line["server"].as_str(), line["line"].as_str().unwrap()) {
        (None, text) => text.to_owned(),
        (Some(server), text) => format!("{server} {text}"),
    };
    view.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn the_story_of_a_users_client_configuration() {
    let bench = bench();
    assert_eq!(bench.json(&["user", "config", "alice"]), json!([]));
    let short = ["--address", "10.8.0.5/24", "--route", "10.1.0.0/16", "--dns", "10.0.0.53"];
    let said = bench.ok(&[&["user", "config", "alice"][..], &short].concat());
    assert!(said.contains("user `alice` changed; it counts from the next login on"), "{said}");
    let dns = "push \"dhcp-option DNS 10.0.0.53\"";
    let address = "ifconfig-push 10.8.0.5 255.255.255.0";
    let shown = || lines(&bench.json(&["user", "config", "alice"]));
    assert_eq!(shown(), [address, ROUTE, dns]);
    let other = ["--server", "udp", "--address", "10.9.0.5/24", "--add", "push-reset"];
    let done = bench.json(&[&["user", "config", "alice"][..], &other].concat());
    let of_udp = ["udp push-reset", "udp ifconfig-push 10.9.0.5 255.255.255.0"];
    assert_eq!(lines(&done), [&[address, ROUTE, dns][..], &of_udp].concat());
    let only = bench.json(&["user", "config", "alice", "--server", "udp"]);
    assert_eq!(lines(&only), of_udp);

    bench.ok(&["user", "config", "alice", "--remove", dns, "--address", "10.8.0.6/24"]);
    bench.ok(&["user", "config", "alice", "--server", "udp", "--clear"]);
    assert_eq!(shown(), [ROUTE, "ifconfig-push 10.8.0.6 255.255.255.0"]);
    for text in [bench.ok(&["user", "show", "alice"]), bench.ok(&["user", "config", "alice"])] {
        assert!(text.contains(ROUTE) && text.contains("10.8.0.6"), "{text}");
    }
    assert_eq!(lines(&bench.json(&["user", "show", "alice"])["config"]), shown());
}

#[test]
fn what_openvpn_would_ignore_is_not_stored_and_what_is_wrong_is_said() {
    let bench = bench();
    bench.ok(&["user", "config", "alice", "--address", "10.8.0.5/24"]);
    for (args, code, words) in [
        (
            &["user", "config", "alice", "--add", "push route 10.1.0.0"][..],
            2,
            "wrong arguments: use `push",
        ),
        (&["user", "config", "alice", "--add", "plugin x"], 2, "possible are push, "),
        (&["user", "config", "alice", "--add", "session-timeout 60"], 2, "--session-limit-s"),
        (&["user", "config", "alice", "--add", "disable"], 2, "`user disable`"),
        (&["user", "config", "alice", "--route", "10.1.0.5/16"], 2, "nothing beyond them"),
        (&["user", "config", "alice", "--remove", "push-reset"], 2, "there is no such line"),
        (
            &["user", "config", "bob", "--address", "10.8.0.5/24"],
            1,
            "address 10.8.0.5 of user `alice` is taken",
        ),
        (&["user", "config", "mallory"], 1, "user `mallory` not found"),
        (&["policy", "config", "default", "--address", "10.8.0.5/24"], 2, "set it for the user"),
        (&["policy", "config", "none-such", "--add", "push-reset"], 1, "not found"),
        (&["user", "config", "alice", "--file", "/nonexistent/ccd"], 1, "/nonexistent/ccd"),
    ] {
        bench.run(args).fails(code, words);
    }
    let shown = bench.json(&["user", "config", "alice"]);
    assert_eq!(lines(&shown), ["ifconfig-push 10.8.0.5 255.255.255.0"], "nothing came half");
}

#[test]
fn a_file_of_client_config_dir_is_taken_as_it_is() {
    let bench = bench();
    let ccd =
        b"# alice\n\nifconfig-push 10.8.0.7 10.8.0.8\n  push \"route 10.1.0.0 255.255.0.0\"\n";
    let args = ["user", "config", "alice", "--clear", "--file", "-"];
    bench.run_with(ccd, &args).ok(&args);
    let shown = lines(&bench.json(&["user", "config", "alice"]));
    assert_eq!(shown, ["ifconfig-push 10.8.0.7 10.8.0.8", ROUTE]);
    bench.run_with(b"\xff", &args).fails(2, "is no text of options");
    bench.run_with(b"push-reset\ndisable\n", &args).fails(2, "`disable`");
    assert_eq!(lines(&bench.json(&["user", "config", "alice"])), shown);
}

#[test]
fn explain_shows_what_the_client_would_get() {
    let bench = bench();
    bench.ok(&["policy", "set", "default", "--device-mode", "off"]);
    bench.ok(&["policy", "config", "default", "--route", "10.1.0.0/16"]);
    bench.ok(&["user", "config", "alice", "--server", "udp", "--address", "10.8.0.5/24"]);
    let explained = |server: &str| bench.json(&["explain", "alice", "--server", server]);
    assert_eq!(explained("udp")["config"], json!([ROUTE, "ifconfig-push 10.8.0.5 255.255.255.0"]));
    assert_eq!(explained("tcp")["config"], json!([ROUTE]));
    assert!(bench.ok(&["explain", "bob", "--server", "udp"]).contains(ROUTE));
    let policy = bench.json(&["policy", "show", "default"]);
    assert_eq!(lines(&policy["config"]), [ROUTE]);
    assert!(bench.ok(&["policy", "show", "default"]).contains(ROUTE));
}

#[test]
fn a_server_that_is_not_there_is_given_nothing_and_may_be_cleared() {
    let bench = bench();
    bench.ok(&["user", "config", "alice", "--server", "old", "--address", "10.8.0.5/24"]);
    let url = format!("sqlite://{}", bench.path("warden.db"));
    bench.configure(&format!(
        "[database]\nurl = \"{url}\"\n[[servers]]\nname = \"udp\"\nmanagement = \"tcp://127.0.0.1:9\"\n"
    ));
    for whose in [["user", "config", "alice"], ["policy", "config", "default"]] {
        let typo = [&whose[..], &["--server", "udb", "--route", "10.1.0.0/16"]].concat();
        let refused = bench.run(&typo);
        refused.fails(2, "server `udb` is not configured");
        assert!(refused.err.contains("configured are `udp`"), "{refused:?}");
    }
    bench.ok(&["user", "config", "alice", "--server", "udp", "--route", "::/0"]);
    bench.ok(&["user", "config", "alice", "--server", "old", "--clear"]);
    let shown = lines(&bench.json(&["user", "config", "alice"]));
    assert_eq!(shown, ["udp push \"route-ipv6 ::/0\""]);
}

#[test]
fn a_pipe_without_a_writer_is_not_waited_for() {
    let bench = bench();
    let pipe = bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    bench.run(&["user", "config", "alice", "--file", &pipe]).fails(2, "is not a regular file");
}
