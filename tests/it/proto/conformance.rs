//! Every case, whole and in pieces.

use ovpn_warden::proto::{AuthEvent, Message};

use super::{cases, data, decode_to, decoded, messages, messages_however_cut};

/// A sound block, to send behind a case.
const AFTER: &[u8] = b">CLIENT:CONNECT,77,7\r\n>CLIENT:ENV,username=after\r\n>CLIENT:ENV,END\r\n";
/// Stands for every password where a leak is searched.
const CANARY: &[u8] = b"canary-4711";

fn case(name: &str) -> Vec<Message> {
    messages([data(&format!("conformance/{name}.raw")).as_slice()])
}

fn auth(message: &Message) -> &AuthEvent {
    let Message::Auth(event) = message else { panic!("{message:?}") };
    event
}

#[test]
fn every_case_decodes_to_its_expected_lines() {
    let wrong: Vec<String> = cases::all()
        .into_iter()
        .filter_map(|case| {
            let lines = decoded(&case.input);
            (lines != case.expected)
                .then(|| format!("{}\n want {:#?}\n  got {lines:#?}", case.name, case.expected))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_reads_the_same_however_it_is_cut() {
    for case in cases::all() {
        messages_however_cut(&case.input);
    }
}

#[test]
fn a_sound_block_behind_any_case_is_delivered_unless_a_line_is_open() {
    for case in cases::all() {
        let expected = case.input.ends_with(b"\n");
        let mut input = case.input;
        input.extend(AFTER);
        let found = messages_however_cut(&input);
        let delivered = found.iter().any(|message| {
            matches!(message, Message::Auth(event)
            if event.cid.0 == 77 && event.kid.0 == 7
                && event.env.len() == 1 && event.env.text(b"username") == Some("after"))
        });
        assert_eq!(delivered, expected, "{}", case.name);
    }
}

#[test]
fn no_password_is_in_debug_output_or_in_decode_without_show_secrets() {
    let mut passwords = 0;
    for case in cases::all() {
        let (input, count) = with_canary(&case.input);
        passwords += count;
        let shown = format!("{:?}", messages([input.as_slice()]));
        assert!(!shown.contains("canary-4711"), "{}: {shown}", case.name);
        assert!(!decode_to(&input, false).contains("canary-4711"), "{}", case.name);
    }
    assert!(passwords > 40, "only {passwords} passwords were searched");
}

#[test]
fn show_secrets_shows_the_password_where_it_stood() {
    let (input, _) = with_canary(&data("conformance/h04-env-key-END-with-value.raw"));
    assert!(decode_to(&input, true).contains(r#""END":"1","password":"canary-4711"},"device""#));
}

/// The bytes with every password replaced, and how many there were.
fn with_canary(input: &[u8]) -> (Vec<u8>, usize) {
    let (mut out, mut count) = (Vec::new(), 0);
    for line in input.split_inclusive(|b| *b == b'\n') {
        let name = b"CLIENT:ENV,password=";
        match line.windows(name.len()).position(|window| window == name) {
            Some(at) => {
                out.extend(&line[..at + name.len()]);
                out.extend(CANARY);
                out.extend(b"\r\n");
                count += 1;
            }
            None => out.extend(line),
        }
    }
    (out, count)
}

#[test]
fn passwords_arrive_byte_by_byte_as_they_were_sent() {
    let table: [(&str, Option<&[u8]>); 6] = [
        ("h02-password-is-END", Some(b"END")),
        ("g22-invalid-utf8-in-password", Some(b"p\xff\xe9w")),
        ("h40-password-max-128", Some(&[b'p'; 127])),
        ("d12-status3-interleaved-connect", Some(b"pw,with=all")),
        ("g30-fixture-client-connect-tls-rich", Some(b"")),
        ("b02-connect-username-no-cn", None),
    ];
    for (name, expected) in table {
        let found = case(name);
        let password = auth(&found[0]).env.password().map(|password| password.expose());
        assert_eq!(password, expected, "{name}");
    }
}

#[test]
fn the_password_is_never_among_the_variables() {
    for case in cases::all() {
        for message in messages([case.input.as_slice()]) {
            if let Message::Auth(event) = message {
                assert_eq!(event.env.get(b"password"), None, "{}", case.name);
            }
        }
    }
}

#[test]
fn variables_are_counted_and_kept_exactly() {
    let table = [
        ("a01-connect-after-address", 1, 6),
        ("g29-fixture-client-connect-full-env", 0, 19),
        ("g30-fixture-client-connect-tls-rich", 0, 21),
    ];
    for (name, index, count) in table {
        assert_eq!(auth(&case(name)[index]).env.len(), count, "{name}");
    }
    let rich = case("g30-fixture-client-connect-tls-rich");
    assert_eq!(
        auth(&rich[0]).env.text(b"tls_id_0"),
        Some("C=DE, ST=foo, O=bar, OU=batz, CN=client_two")
    );
    let Message::Disconnect { env, .. } = &case("h30-disconnect-accounting")[0] else {
        panic!("no disconnect")
    };
    assert_eq!(env.number(b"bytes_sent"), Some(5_368_709_120));
    assert_eq!(env.number(b"common_name"), None);
}

#[test]
fn a_signed_counter_is_no_number() {
    let found = messages([&b">CLIENT:DISCONNECT,1\r\n>CLIENT:ENV,bytes_sent=+5\r\n\
        >CLIENT:ENV,bytes_received=\r\n>CLIENT:ENV,END\r\n"[..]]);
    let Message::Disconnect { env, .. } = &found[0] else { panic!("no disconnect") };
    assert_eq!((env.number(b"bytes_sent"), env.number(b"bytes_received")), (None, None));
}

#[test]
fn a_refusal_points_at_the_line_at_fault() {
    let found = case("h06-duplicate-username-injection");
    let Message::Rejected(rejected) = &found[0] else { panic!("no refusal") };
    let input = data("conformance/h06-duplicate-username-injection.raw");
    assert!(input[rejected.offset as usize..].starts_with(b">CLIENT:ENV,username=alice\r\n"));
    assert_eq!(found.len(), 1);
}

/// A `status` list with this many clients, whose names are so long.
fn status_list(clients: usize, name: usize) -> Vec<u8> {
    let mut list =
        b"HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tBytes Received\
        \tBytes Sent\tConnected Since (time_t)\tUsername\tClient ID\r\n"
            .to_vec();
    let name = "n".repeat(name);
    for cid in 0..clients {
        list.extend(format!("CLIENT_LIST\t{name}\ta\tv\t1\t2\t3\tu\t{cid}\r\n").bytes());
    }
    list.extend(b"END\r\n");
    list
}

#[test]
fn a_status_list_has_a_bound_on_clients_and_on_bytes() {
    for (clients, name, is_delivered) in
        [(65_536, 0, true), (65_537, 0, false), (2_000, 16_000, true), (2_100, 16_000, false)]
    {
        let found = messages([status_list(clients, name).as_slice()]);
        match found.as_slice() {
            [Message::Status(report)] if is_delivered => assert_eq!(report.clients.len(), clients),
            [Message::Rejected(_)] if !is_delivered => {}
            _ => panic!("{clients} clients with names of {name}: {} messages", found.len()),
        }
    }
}
