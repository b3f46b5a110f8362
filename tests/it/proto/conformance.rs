//! Every `.raw` case: what its README wants, however the bytes arrive.

use ovpn_warden::{
    auth::device::{self, DeviceSource},
    proto::{AuthKind, Env, Message},
};

use super::{messages, read, whole};

/// One message in short: what matters of it.
fn short(message: &Message) -> String {
    let text = |env: &Env, key: &str| {
        env.get(key.as_bytes()).map_or("-".to_owned(), |v| String::from_utf8_lossy(v).into_owned())
    };
    match message {
        Message::Auth(auth) => {
            let name = match &auth.kind {
                AuthKind::Connect => "connect",
                AuthKind::Reauth => "reauth",
                AuthKind::CrResponse(_) => "cr_response",
            };
            format!(
                "{name} {},{} env={} user={} cn={} password={}",
                auth.cid,
                auth.kid,
                auth.env.len(),
                text(&auth.env, "username"),
                text(&auth.env, "common_name"),
                auth.password
                    .as_ref()
                    .map_or("-".to_owned(), |p| p.expose().escape_ascii().to_string()),
            )
        }
        Message::Established { cid, env } => format!("established {cid} env={}", env.len()),
        Message::Disconnect { cid, env } => format!(
            "disconnect {cid} env={} bytes={},{}",
            env.len(),
            text(env, "bytes_received"),
            text(env, "bytes_sent")
        ),
        Message::Address { cid, address, primary } => format!("address {cid} {address} {primary}"),
        Message::ByteCount { cid, bytes_received, bytes_sent } => {
            format!("bytecount {cid} {bytes_received} {bytes_sent}")
        }
        Message::Rejected(rejected) => {
            let ids = rejected.client.map(|(cid, kid)| format!(" {cid},{kid}")).unwrap_or_default();
            format!("rejected {}{ids}", rejected.kind)
        }
        Message::Status(report) => {
            let clients: Vec<String> = report
                .clients
                .iter()
                .map(|c| {
                    let name =
                        c.username.as_ref().map_or("-".into(), |n| String::from_utf8_lossy(n));
                    format!("{}:{name}", c.cid)
                })
                .collect();
            format!("status {}", clients.join(" ")).trim_end().to_owned()
        }
        Message::Version(version) => format!("version {:?}", version.management),
        Message::Info { management_version } => format!("info {management_version:?}"),
        Message::Hold => "hold".into(),
        Message::Fatal(text) => format!("fatal {text}"),
        Message::Success(text) => format!("success {text}"),
        Message::Error(text) => format!("error {}", &text[..text.len().min(40)]),
        other => format!("{other:?}"),
    }
}

fn shorts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(short).collect()
}

const MALFORMED: &str = "rejected malformed";

/// File, wanted messages, and whether the case leaves a line or block open.
#[rustfmt::skip]
const CASES: &[(&str, &[&str])] = &[
    ("a01-connect-after-address", &["address 0 127.0.1.1 true", "connect 0,1 env=6 user=username cn=common_name password=-"]),
    ("a03-connect-username-and-cn", &["connect 0,1 env=4 user=username cn=common_name password=-"]),
    ("a04-connect-bad-cid", &["rejected bad_id"]),
    ("a05-connect-bad-kid", &["rejected bad_id"]),
    ("a06-reauth", &["reauth 1,2 env=2 user=- cn=common_name password=-"]),
    ("a07-established-empty-env", &["established 1 env=0"]),
    ("a09-cr-response", &["cr_response 1,2 env=1 user=- cn=- password=-"]),
    ("a10-address-missing-fields", &[MALFORMED, "cr_response 1,2 env=1 user=- cn=- password=-"]),
    ("a11-address-no-args", &[MALFORMED, "cr_response 1,2 env=1 user=- cn=- password=-"]),
    ("b02-connect-username-no-cn", &["connect 1,2 env=3 user=test cn=- password=-"]),
    ("b03-connect-only-daemon", &["connect 0,1 env=1 user=- cn=- password=-"]),
    ("b05-env-line-without-marker-bare-lf", &[MALFORMED, "connect 0,1 env=1 user=- cn=bypass password=-"]),
    ("b06-established-with-env", &["established 0 env=1"]),
    ("b07-disconnect-with-env", &["disconnect 0 env=1 bytes=-,-"]),
    ("b12-reauth-session-authenticated-empty-user", &["reauth 1,3 env=5 user=- cn=test password=-"]),
    ("b13-connect-session-authenticated", &["connect 10,3 env=5 user=- cn=test password=-"]),
    ("c14-x12-empty-lines", &[]),
    ("c15-x12-short-marker", &[MALFORMED; 12]),
    ("c16-x12-short-hold", &[MALFORMED; 12]),
    ("c18-x12-short-notify", &[MALFORMED; 12]),
    ("c19-x12-short-line", &[MALFORMED; 12]),
    ("c21-unsolicited-empty-error", &["error "]),
    ("c25-notification-inside-reply", &["bytecount 4 100 200", "version Some(5)"]),
    ("d01-status3-dup-and-case", &["status 7:alice 8:Alice 10:alice 12:alice"]),
    ("d02-status3-missing-header", &["rejected status"]),
    ("d03-status3-missing-columns", &["rejected status"]),
    ("d04-status3-short-record", &["rejected status"]),
    ("d08-status3-no-clients", &["status"]),
    ("d09-status3-undef-user", &["status 0:-"]),
    ("d11-status3-tab-in-cn-like-field", &["status 5:a,b c;d"]),
    ("d12-status3-interleaved-connect", &["connect 9,1 env=1 user=bob cn=- password=pw,with=all", "status 7:alice 8:carol"]),
    ("g05-ids-one-token", &["rejected bad_id"]),
    ("g06-ids-kid-garbage", &["rejected bad_id"]),
    ("g08-ids-multi-digit", &["connect 1152,237 env=1 user=u1 cn=- password=p1"]),
    ("g09-env-before-header", &[MALFORMED, "rejected truncated 3,1"]),
    ("g12-reauth-extra-field", &["rejected bad_id"]),
    ("g15-disconnect-no-id", &["rejected bad_id"]),
    ("g22-invalid-utf8-in-password", &["connect 8,1 env=1 user=u2 cn=- password=p\\xff\\xe9w"]),
    ("g23-invalid-utf8-in-username-then-valid", &["connect 8,1 env=1 user=\u{fffd}( cn=- password=-", "connect 9,1 env=1 user=u3 cn=- password=-"]),
    ("g26-bytecount-cli", &["bytecount 42 1024 2048", MALFORMED, MALFORMED, "bytecount 42 18446744073709551615 18446744073709551615"]),
    ("g27-fatal-notification", &["fatal cannot allocate TUN/TAP dev dynamically"]),
    ("g29-fixture-client-connect-full-env", &["connect 0,1 env=19 user=jdoe cn=client1.example.com password=-"]),
    ("g30-fixture-client-connect-tls-rich", &["connect 1,2 env=21 user= cn=client_two password="]),
    ("g31-fixture-client-connect-sequential", &["connect 0,1 env=1 user=- cn=alice password=-", "connect 1,1 env=1 user=- cn=bob password=-"]),
    ("g32-fixture-client-reauth", &["reauth 0,2 env=3 user=- cn=client1.example.com password=-"]),
    ("g33-fixture-client-established", &["established 0 env=3"]),
    ("g34-fixture-client-disconnect", &["disconnect 5 env=5 bytes=15485760,9843200"]),
    ("g35-fixture-client-cr-response", &["cr_response 1,2 env=3 user=- cn=test password=-"]),
    ("h02-password-is-END", &["connect 30,1 env=4 user=alice cn=alice password=END"]),
    ("h04-env-key-END-with-value", &["connect 30,1 env=5 user=alice cn=alice password=pw"]),
    ("h05-env-END-with-suffix", &["connect 30,1 env=5 user=alice cn=alice password=pw"]),
    ("h06-duplicate-username-injection", &["rejected duplicate_key 30,1"]),
    ("h08-hwaddr-duplicate-same", &["connect 30,1 env=6 user=alice cn=alice password=pw"]),
    ("h10-hwaddr-lower-colon", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h11-hwaddr-upper-dash", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h14-hwaddr-64-chars", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h15-hwaddr-empty", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h16-hwaddr-zero", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h17-hwaddr-broadcast", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h18-hwaddr-11-digits", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h20-hwaddr-underscores", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h21-hwaddr-nonhex", &["connect 31,1 env=6 user=alice cn=alice password=pw"]),
    ("h23-ids-max-u32", &["connect 4294967295,4294967295 env=1 user=u9 cn=- password=-"]),
    ("h26-ids-negative", &["rejected bad_id"]),
    ("h27-ids-plus-sign", &["rejected bad_id"]),
    ("h29-ids-leading-zeros", &["connect 7,1 env=1 user=u9 cn=- password=-"]),
    ("h30-disconnect-accounting", &["disconnect 31 env=7 bytes=104857600,5368709120"]),
    ("h31-disconnect-twice", &["disconnect 31 env=1 bytes=-,-", "disconnect 31 env=1 bytes=-,-"]),
    ("h34-connect-while-open-block", &["rejected interrupted_block 41,1", "connect 42,1 env=1 user=bob cn=- password=pw"]),
    ("h35-eof-inside-block", &["rejected truncated 41,1"]),
    ("h36-real-time-line-inside-block", &["bytecount 3 1 2", "connect 41,1 env=1 user=alice cn=- password=pw"]),
    ("h37-env-4096-lines", &["rejected block_too_large 43,1"]),
    ("h38-line-70000-bytes", &["rejected line_too_long 44,1", "connect 45,1 env=1 user=bob cn=- password=-"]),
    ("h39-line-without-end", &["rejected line_too_long"]),
    ("h40-password-max-128", &["connect 46,1 env=1 user=alice cn=- password=ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"]),
    ("h43-reauth-unknown-cid", &["reauth 999,2 env=4 user=alice cn=alice password=pw"]),
    ("h44-username-log-injection", &["connect 47,1 env=1 user=x\" level=error msg=\"forged cn=- password=pw"]),
    ("h45-username-bidi-and-escape", &["connect 48,1 env=1 user=\u{202e}\u{fffd}31mroot cn=- password=pw"]),
    ("h46-peer-info-shell-bytes", &["connect 49,1 env=6 user=alice cn=alice password=pw"]),
    ("h47-two-blocks-chunked-anywhere", &["connect 50,1 env=1 user=alice cn=- password=pw1", "connect 51,1 env=1 user=bob cn=- password=pw2"]),
    ("i02-greeting-version-hold-2.5.11", &["success password is correct", "info Some(3)", "version Some(3)", "hold"]),
    ("i03-greeting-version-hold-2.6.22", &["success password is correct", "info Some(5)", "version Some(5)", "hold"]),
    ("i04-greeting-version-hold-2.7.6", &["success password is correct", "info Some(6)", "version Some(6)", "hold"]),
    ("i05-error-parameter-too-long", &["error Options error: Parameter at TCP:0 is too"]),
    ("i06-error-no-closing-quote", &["error Options error: No closing quotation (\") "]),
    ("i07-error-bad-backslash", &["error Options warning: Bad backslash ('\\') usag"]),
    ("i09-error-unsupported-2.6-wording", &["error The 'client-deny' command is not support"]),
];

/// Cases that end inside a line or block.
const OPEN: [&str; 3] = ["g09-env-before-header", "h35-eof-inside-block", "h39-line-without-end"];

#[test]
fn every_case_means_what_its_readme_wants() {
    for (name, wanted) in CASES {
        let found = shorts(&whole(&read(&format!("conformance/{name}.raw"))));
        assert_eq!(found, *wanted, "{name}");
    }
}

#[test]
fn no_case_is_left_out() {
    let files: Vec<String> = std::fs::read_dir(super::data("conformance"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".raw").map(str::to_owned))
        .collect();
    for name in &files {
        assert!(CASES.iter().any(|(case, _)| case == name), "{name} is not asserted");
    }
    assert_eq!(files.len(), CASES.len());
}

#[test]
fn the_pieces_in_which_bytes_arrive_change_nothing() {
    for (name, _) in CASES {
        let bytes = read(&format!("conformance/{name}.raw"));
        let wanted = shorts(&whole(&bytes));
        assert_eq!(shorts(&messages(bytes.chunks(1))), wanted, "{name} byte by byte");
        let step = (bytes.len() / 200).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(shorts(&messages([head, tail])), wanted, "{name} cut at {at}");
        }
    }
}

#[test]
fn a_sound_block_after_each_case_is_still_delivered() {
    let sound = b">CLIENT:CONNECT,77,1\r\n>CLIENT:ENV,username=after\r\n>CLIENT:ENV,END\r\n";
    for (name, _) in CASES.iter().filter(|(name, _)| !OPEN.contains(name)) {
        let bytes = [&read(&format!("conformance/{name}.raw"))[..], sound].concat();
        let last = shorts(&whole(&bytes)).pop();
        let wanted = "connect 77,1 env=1 user=after cn=- password=-";
        assert_eq!(last.as_deref(), Some(wanted), "{name}");
    }
}

#[test]
fn no_debug_form_shows_a_password_or_a_value() {
    let canary = "canary-7f3a";
    let bytes = format!(
        ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,password={canary}\r\n>CLIENT:ENV,UV_X={canary}\r\n>CLIENT:ENV,END\r\n\
         >CLIENT:CONNECT,2,1\r\n>CLIENT:ENV,password={canary}\r\n>CLIENT:ENV,password={canary}\r\n>CLIENT:ENV,END\r\n\
         >CLIENT:CR_RESPONSE,1,1,{canary}\r\n>CLIENT:ENV,END\r\n\
         CLIENT:ENV,password={canary}\r\n>CLIENT:ENV,password={canary}"
    );
    let shown = format!("{:?}", whole(bytes.as_bytes()));
    assert!(!shown.contains(canary), "{shown}");
    assert!(shown.contains("***"));
}

/// The device rule on each hwaddr case: the normalised id, `none`, or `error`.
#[test]
fn device_ids_are_normalised_or_refused() {
    let sources: Vec<DeviceSource> =
        ["UV_CLIENT_MAC", "IV_HWADDR"].iter().map(|name| name.parse().unwrap()).collect();
    let cases = [
        ("h08-hwaddr-duplicate-same", "00:11:22:33:44:55"),
        ("h10-hwaddr-lower-colon", "02:1a:2b:3c:4d:5e"),
        ("h11-hwaddr-upper-dash", "02:1a:2b:3c:4d:5e"),
        ("h14-hwaddr-64-chars", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        ("h15-hwaddr-empty", "none"),
        ("h16-hwaddr-zero", "error"),
        ("h17-hwaddr-broadcast", "error"),
        ("h18-hwaddr-11-digits", "error"),
        ("h20-hwaddr-underscores", "error"),
        ("h21-hwaddr-nonhex", "error"),
    ];
    for (name, wanted) in cases {
        let messages = whole(&read(&format!("conformance/{name}.raw")));
        let [Message::Auth(auth)] = &messages[..] else { panic!("{name}: {messages:?}") };
        let found = match device::claim(&auth.env, &sources) {
            Ok(None) => "none".to_owned(),
            Ok(Some(claim)) => claim.id.to_string(),
            Err(_) => "error".to_owned(),
        };
        assert_eq!(found, wanted, "{name}");
    }
}

/// Neighbours of the recorded cases, by the same rules.
#[test]
fn neighbours_of_the_cases_follow_the_same_rules() {
    let block = |head: &str, lines: &[&str]| {
        let mut text = format!(">CLIENT:{head}\r\n");
        for line in lines {
            text += &format!(">CLIENT:ENV,{line}\r\n");
        }
        text + ">CLIENT:ENV,END\r\n"
    };
    let long = "x".repeat(15_000);
    let cases: &[(String, &[&str])] = &[
        (block("CONNECT,4294967296,1", &["a=b"]), &["rejected bad_id"]),
        (block("CONNECT,1,4294967296", &["a=b"]), &["rejected bad_id"]),
        (block("CONNECT, 1,1", &["a=b"]), &["rejected bad_id"]),
        (block("CONNECT,1,1 ", &["a=b"]), &["rejected bad_id"]),
        (block("CONNECT,0x1,1", &["a=b"]), &["rejected bad_id"]),
        (block("CONNECTED,1,1", &["a=b"]), &["rejected unknown_event"]),
        (block("connect,1,1", &["a=b"]), &["rejected unknown_event"]),
        (block("REAUTH,1,1", &["password=a", "password=a"]), &["rejected duplicate_key 1,1"]),
        (block("CONNECT,1,1", &["session_state=Initial", "session_state=Authenticated"]), &["rejected duplicate_key 1,1"]),
        (block("CONNECT,1,1", &["common_name=a", "username=b", "common_name=a"]), &["rejected duplicate_key 1,1"]),
        (block("DISCONNECT,1", &["username=a", "username=b", "bytes_sent=1"]), &["disconnect 1 env=3 bytes=-,1"]),
        (block("CONNECT,1,1", &["=x", "a", "a b=c=d"]), &["connect 1,1 env=3 user=- cn=- password=-"]),
        (block("CONNECT,1,1", &[&format!("UV_X={long}")]), &["connect 1,1 env=1 user=- cn=- password=-"]),
        (block("CONNECT,1,1", &[format!("UV_X={long}").as_str(); 9]), &["rejected block_too_large 1,1"]),
        (block("ESTABLISHED,1", &[&format!("UV_X={long}{long}")]), &["rejected line_too_long"]),
        (">CLIENT:CONNECT,1,1\n>CLIENT:ENV,username=a\n>CLIENT:ENV,END\n".into(), &["connect 1,1 env=1 user=a cn=- password=-"]),
        (">CLIENT:CONNECT,1,1\r\nSUCCESS: x\r\n>LOG:1,I,y\r\n>CLIENT:ENV,username=a\r\n>CLIENT:ENV,END\r\n".into(), &["success x", "Log", "connect 1,1 env=1 user=a cn=- password=-"]),
        (">CLIENT:CONNECT,1,1\r\n>CLIENT:DISCONNECT,1\r\n>CLIENT:ENV,END\r\n".into(), &["rejected interrupted_block 1,1", "disconnect 1 env=0 bytes=-,-"]),
        (">CLIENT:CONNECT,1,1\r\n>CLIENT:CONNECT,x,1\r\n>CLIENT:ENV,END\r\n".into(), &["rejected interrupted_block 1,1", "rejected bad_id"]),
        (">CLIENT:DISCONNECT,1\r\n>CLIENT:ENV,a=".into(), &["rejected truncated"]),
        ("ENTER PASSWORD:ENTER PASSWORD:SUCCESS: ok\r\n".into(), &["Prompt", "Prompt", "success ok"]),
        ("HEADER\tCLIENT_LIST\tClient ID\r\nERROR: no\r\n".into(), &["rejected status", "error no"]),
        ("TITLE\tx\r\nEND\r\n".into(), &["rejected status"]),
        ("END\r\n".into(), &["End"]),
        (">FOO:bar\r\n".into(), &["Other(\"FOO\")"]),
    ];
    for (bytes, wanted) in cases {
        assert_eq!(shorts(&whole(bytes.as_bytes())), *wanted, "{bytes:.120}");
    }
}
