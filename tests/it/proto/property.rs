//! Random bytes, random protocol and random commands.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{Command, ConfigLine, KillMessage, ManagementCodec, Message, Parameter, limits},
    types::{Cid, Kid, Password, truncate_on_char},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use tokio_util::codec::Encoder;

use super::{cases, decoded, lexer, messages};
use crate::fuzz::check::command::{OPTIONS, kept};

/// A piece of the protocol, sound or spoilt.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = [
        "ENTER PASSWORD:",
        "\r\n",
        "END\r\n",
        ">CLIENT:ENV,END\r\n",
        ">CLIENT:CONNECT,",
        ">HOLD:Waiting for hold release:0\r\n",
        ">STATE:1795435060,RECONNECTING,SIGUSR1,,,,,\r\n",
        "1795435060,CONNECTED,SUCCESS,10.99.0.1,,,,\r\n",
        "OpenVPN Version: x\r\nManagement Version: 5\r\n",
        "TITLE\tx\r\n",
        "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tBytes Received\tBytes Sent\
         \tConnected Since (time_t)\tUsername\tClient ID\r\n",
        "CLIENT_LIST\tc\t1.2.3.4:5\t10.8.0.2\t1\t2\t3\talice\t7\r\n",
        "SUCCESS: x\r\n",
        "ERROR: x\r\n",
        ">BYTECOUNT_CLI:1,2,3\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let number = prop_oneof![
        4 => any::<u32>().prop_map(|n| n.to_string()),
        1 => select(vec!["", "-1", "+1", "007", "4294967296", "x"]).prop_map(str::to_owned),
    ];
    let head = (
        select(vec!["CONNECT", "REAUTH", "CR_RESPONSE", "ESTABLISHED", "DISCONNECT", "X"]),
        number.clone(),
        number,
    )
        .prop_map(|(event, cid, kid)| format!(">CLIENT:{event},{cid},{kid}\r\n").into_bytes());
    let variable = (
        select(vec!["username", "password", "IV_HWADDR", "UV_CLIENT_MAC", "X", "END", ""]),
        vec(any::<u8>().prop_filter("a line end", |b| *b != b'\n'), 0..40),
    )
        .prop_map(|(key, value)| [b">CLIENT:ENV,", key.as_bytes(), b"=", &value, b"\r\n"].concat());
    let long = (0..3 * limits::MAX_LINE, any::<bool>()).prop_map(|(length, is_ended)| {
        let mut line = b">CLIENT:ENV,X=".to_vec();
        line.resize(line.len() + length, b'a');
        if is_ended {
            line.push(b'\n');
        }
        line
    });
    prop_oneof![
        6 => select(known),
        6 => head,
        8 => variable,
        1 => long,
        1 => vec(any::<u8>(), 0..60),
    ]
}

fn protocol() -> impl Strategy<Value = Vec<u8>> {
    vec(fragment(), 0..40).prop_map(|fragments| fragments.concat())
}

/// `input` cut at these places.
fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|range| &input[range[0]..range[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    // `messages` asserts that never more than a line waits in the buffer.
    #[test]
    fn random_bytes_read_the_same_however_they_are_cut(
        input in vec(any::<u8>(), 0..2_000),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let whole = messages([input.as_slice()]);
        prop_assert_eq!(&messages(pieces(&input, &cuts)), &whole);
        prop_assert_eq!(messages(input.chunks(1)), whole);
    }

    #[test]
    fn random_protocol_reads_the_same_however_it_is_cut(
        input in protocol(),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let whole = messages([input.as_slice()]);
        prop_assert_eq!(messages(pieces(&input, &cuts)), whole);
    }

    #[test]
    fn random_protocol_decodes_to_valid_lines_with_no_password_shown(input in protocol()) {
        for line in decoded(&input) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let password = &value["env"]["password"];
            prop_assert!(password.is_null() || password == "***", "{}", line);
        }
    }

    #[test]
    fn a_block_after_random_protocol_and_a_line_end_is_delivered_unmixed(input in protocol()) {
        let mut input = input;
        input.extend(b"\n>CLIENT:CONNECT,4000000077,9\r\n>CLIENT:ENV,z=1\r\n>CLIENT:ENV,END\r\n");
        let found = messages([input.as_slice()]);
        let blocks: Vec<_> = found.iter().filter_map(|message| {
            let Message::Auth(event) = message else { return None };
            (event.cid == Cid(4_000_000_077)).then_some(event)
        }).collect();
        prop_assert_eq!(blocks.len(), 1);
        prop_assert_eq!(blocks[0].env.iter().collect::<Vec<_>>(), [(&b"z"[..], &b"1"[..])]);
        prop_assert_eq!(blocks[0].env.password(), None);
    }

    #[test]
    fn no_spoilt_byte_in_a_case_makes_it_panic_or_depend_on_cuts(
        case in any::<Index>(), at in any::<Index>(), byte in any::<u8>(), cut in any::<Index>(),
    ) {
        thread_local!(static CASES: Vec<cases::Case> = cases::all());
        let mut input = CASES.with(|cases| case.get(cases).input.clone());
        let at = at.index(input.len());
        input[at] = byte;
        prop_assert_eq!(messages(pieces(&input, &[cut])), messages([input.as_slice()]));
    }

    #[test]
    fn every_command_reads_back_as_the_words_that_were_meant(
        command in command(),
    ) {
        let (command, words) = command;
        let shown = format!("{command:?}");
        let mut out = BytesMut::new();
        ManagementCodec::default().encode(command, &mut out).unwrap();
        prop_assert!(out[..].split(|b| *b == b'\n').all(|l| l.len() < limits::MAX_COMMAND_LINE));
        let read: Result<Vec<Vec<String>>, _> = lexer::commands(&out).into_iter().collect();
        prop_assert_eq!(read, Ok(words), "{}", shown);
    }

    #[test]
    fn a_config_line_that_is_taken_is_one_line_and_one_option(text in config_text()) {
        let Ok(line) = ConfigLine::parse(&text) else { return Ok(()) };
        let mut out = BytesMut::new();
        let config = vec![line.clone()];
        Command::ClientAuth { cid: Cid(1), kid: Kid(2), config }.encode(&mut out);
        let read: Result<Vec<Vec<String>>, _> = lexer::commands(&out).into_iter().collect();
        let read = read.unwrap();
        prop_assert_eq!(read.len(), 3, "{:?}", line);
        prop_assert_eq!(&read[2], &["END"]);
        prop_assert!(OPTIONS.contains(&read[1][0].as_str()), "{:?}", line);
        prop_assert!(line.as_str().len() <= limits::MAX_CONFIG_LINE);
        prop_assert!(!line.as_str().chars().any(char::is_control));
        // Nothing is lost on the way: neither a comment nor words over the most.
        let blanks = |text: &str| text.trim_matches(' ').to_owned();
        prop_assert_eq!(line.as_str(), blanks(&text));
    }

    #[test]
    fn every_other_option_is_refused(word in "[a-z-]{1,24}", rest in config_text()) {
        prop_assume!(!OPTIONS.contains(&word.as_str()));
        for line in [[word.as_str(), &rest].join(" "), word] {
            let taken = ConfigLine::parse(&line);
            prop_assert!(taken.is_err(), "{:?}", taken);
        }
    }

    #[test]
    fn a_password_is_always_one_short_line(bytes in vec(any::<u8>(), 0..2_000)) {
        let mut out = BytesMut::new();
        Command::Password(Password::new(bytes)).encode(&mut out);
        prop_assert!(out.len() <= limits::MAX_COMMAND_LINE);
        prop_assert_eq!(out.iter().position(|b| *b == b'\n'), Some(out.len() - 1));
    }
}

/// A line of a `client-auth` body, often a sound one.
fn config_text() -> impl Strategy<Value = String> {
    let argument = prop_oneof![
        4 => select(vec!["10.8.0.1", "255.255.0.0", "fd00::/64", "fd00::1", "7", "0", "END", "name"])
            .prop_map(str::to_owned),
        2 => text().prop_map(|text| format!("\"{}\"", text.replace('"', ""))),
        1 => text(),
    ];
    let option = prop_oneof![
        9 => select(OPTIONS.to_vec()).prop_map(str::to_owned),
        1 => text(),
    ];
    let pushed = (text(), select(vec!['"', '\''])).prop_map(|(text, quote)| {
        let text: String = text.chars().filter(|c| !c.is_control() && *c != ',').collect();
        let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\'', "");
        format!("push {quote}{}{quote}", truncate_on_char(&text, 240))
    });
    let any = (option, vec(argument, 0..4))
        .prop_map(|(option, arguments)| [vec![option], arguments].concat().join(" "));
    prop_oneof![any, pushed]
}

/// Text that a lexer could stumble over.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        select(vec!["\"", "\\", "'", "#", ";", " ", "\n", "\r", "\t", "\0", "\u{7f}", "END", "€"])
            .prop_map(str::to_owned),
        select(vec!["\\", "\"", "x", "é"]).prop_map(|c| c.repeat(150)),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

type Words = Vec<Vec<String>>;

fn one(words: &[&str]) -> Words {
    vec![words.iter().map(|word| (*word).to_owned()).collect()]
}

/// A command and the lines of words that the server is to read.
fn command() -> impl Strategy<Value = (Command, Words)> {
    prop_oneof![
        select(vec![
            (Command::Version, one(&["version"])),
            (Command::EnvFilterOff, one(&["env-filter", "0"])),
            (Command::StateOn, one(&["state", "on"])),
            (Command::State, one(&["state"])),
            (Command::Status, one(&["status", "3"])),
            (Command::HoldRelease, one(&["hold", "release"])),
        ]),
        any::<u32>().prop_map(|n| (Command::ByteCount(n), one(&["bytecount", &n.to_string()]))),
        (any::<u32>(), any::<u32>(), vec(1..1_u32 << 31, 0..3)).prop_map(|(cid, kid, timeouts)| {
            let mut words = one(&["client-auth", &cid.to_string(), &kid.to_string()]);
            words.extend(timeouts.iter().flat_map(|n| one(&["session-timeout", &n.to_string()])));
            words.extend(one(&["END"]));
            let config = timeouts.into_iter().map(ConfigLine::session_timeout).collect();
            (Command::ClientAuth { cid: Cid(cid), kid: Kid(kid), config }, words)
        }),
        (any::<u32>(), any::<u32>()).prop_map(|(cid, kid)| {
            let words = one(&["client-auth-nt", &cid.to_string(), &kid.to_string()]);
            (Command::ClientAuthNt { cid: Cid(cid), kid: Kid(kid) }, words)
        }),
        (any::<u32>(), proptest::option::of((any::<u32>(), any::<u32>())), text()).prop_map(
            |(cid, wait, text)| {
                let mut words = one(&["client-pending-auth", &cid.to_string()]);
                words[0].extend(wait.map(|(kid, _)| kid.to_string()));
                words[0].push(kept(&text));
                words[0].extend(wait.map(|(_, seconds)| seconds.to_string()));
                let wait = wait.map(|(kid, seconds)| (Kid(kid), seconds));
                let text = Parameter::new(&text);
                (Command::ClientPendingAuth { cid: Cid(cid), wait, text }, words)
            }
        ),
        (any::<u32>(), any::<u32>(), text(), proptest::option::of(text())).prop_map(
            |(cid, kid, reason, told)| {
                let mut words = one(&["client-deny", &cid.to_string(), &kid.to_string()]);
                words[0].push(kept(&reason));
                words[0].extend(told.as_deref().map(kept));
                let command = Command::ClientDeny {
                    cid: Cid(cid),
                    kid: Kid(kid),
                    reason: Parameter::new(&reason),
                    client_reason: told.as_deref().map(Parameter::new),
                };
                (command, words)
            }
        ),
        (any::<u32>(), text(), any::<bool>()).prop_map(|(cid, text, is_halt)| {
            let parameter = Parameter::new(&text);
            let word = if is_halt { "HALT," } else { "RESTART," };
            let words = one(&["client-kill", &cid.to_string(), &kept(&format!("{word}{text}"))]);
            let message = if is_halt {
                KillMessage::Halt(parameter)
            } else {
                KillMessage::Restart(parameter)
            };
            (Command::ClientKill { cid: Cid(cid), message }, words)
        }),
    ]
}
