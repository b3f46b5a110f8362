//! What holds for any bytes and any text.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{Command, ConfigLine, KillMessage, Parameter, limits},
    types::{Cid, Kid},
};
use proptest::prelude::*;

use super::{messages, whole};

/// Lines as a server, or a client through it, could cause them.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![Just("0".to_owned()), "[0-9]{1,11}", "[-+a-z0-9,]{0,6}"];
    let head = (
        prop_oneof![
            Just("CONNECT"),
            Just("REAUTH"),
            Just("CR_RESPONSE"),
            Just("ESTABLISHED"),
            Just("DISCONNECT"),
            Just("ADDRESS"),
            Just("NONSENSE")
        ],
        id.clone(),
        id,
    )
        .prop_map(|(word, cid, kid)| match word {
            "ESTABLISHED" | "DISCONNECT" => format!(">CLIENT:{word},{cid}").into_bytes(),
            _ => format!(">CLIENT:{word},{cid},{kid}").into_bytes(),
        });
    let env = ("(username|password|common_name|IV_HWADDR|UV_[A-Z]{1,3}|END)", any::<Vec<u8>>())
        .prop_map(|(key, value)| {
            let value: Vec<u8> = value.into_iter().filter(|b| *b != b'\n').collect();
            [b">CLIENT:ENV,", key.as_bytes(), b"=", &value].concat()
        });
    prop_oneof![
        3 => head,
        8 => env,
        4 => Just(b">CLIENT:ENV,END".to_vec()),
        1 => Just(b"SUCCESS: client-auth command succeeded".to_vec()),
        1 => Just(b"ERROR: no".to_vec()),
        1 => Just(b"END".to_vec()),
        1 => Just(b"HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tBytes Received\tBytes Sent\tConnected Since (time_t)\tUsername\tClient ID".to_vec()),
        1 => "CLIENT_LIST\tcn\t1.2.3.4:5\t10.8.0.2\t1\t2\t3\talice\t[0-9]{1,2}".prop_map(String::into_bytes),
        1 => Just(b"1795435003,CONNECTED,SUCCESS,10.8.0.1,,,,".to_vec()),
        1 => Just(b"ENTER PASSWORD:".to_vec()),
        1 => any::<Vec<u8>>(),
        1 => (limits::MAX_LINE - 20..limits::MAX_LINE + 20).prop_map(|n| vec![b'x'; n]),
    ]
}

fn session() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((line(), any::<bool>()), 0..40).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(mut line, crlf)| {
                line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
                line
            })
            .collect()
    })
}

/// OpenVPN's own lexer for one command line (options_parse.c): the words, or why not.
fn lex(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let (mut words, mut word): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
    let (mut quote, mut escaped) = (None, false);
    for byte in line.iter().copied().filter(|b| *b >= 32 && *b != 127) {
        if escaped {
            if !matches!(byte, b'\\' | b'"' | b' ') {
                return Err("bad backslash");
            }
            word.get_or_insert_default().push(byte);
            escaped = false;
        } else if byte == b'\\' && quote != Some(b'\'') {
            escaped = true;
            word.get_or_insert_default();
        } else if quote == Some(byte) {
            quote = None;
        } else if quote.is_some() {
            word.get_or_insert_default().push(byte);
        } else if matches!(byte, b'"' | b'\'') {
            quote = Some(byte);
            word.get_or_insert_default();
        } else if byte == b' ' {
            words.extend(word.take());
        } else if matches!(byte, b'#' | b';') && word.is_none() {
            break;
        } else {
            word.get_or_insert_default().push(byte);
        }
    }
    if quote.is_some() || escaped {
        return Err("unfinished");
    }
    words.extend(word);
    if words.iter().any(|word| word.len() > limits::MAX_PARAMETER) {
        return Err("parameter too long");
    }
    Ok(words)
}

fn lines(command: &Command) -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    command.encode(&mut out);
    assert_eq!(out.last(), Some(&b'\n'));
    let lines: Vec<Vec<u8>> = out[..].split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines[..lines.len() - 1].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic_and_in_bounded_memory(bytes: Vec<u8>) {
        whole(&bytes);
    }

    #[test]
    fn pieces_change_nothing(bytes in session(), cuts: Vec<prop::sample::Index>) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(messages(pieces), whole(&bytes));
    }

    #[test]
    fn one_block_gives_at_most_one_verdict(bytes in session()) {
        use ovpn_warden::proto::Message;
        let heads = bytes.split(|b| *b == b'\n')
            .filter(|l| l.starts_with(b">CLIENT:CONNECT") || l.starts_with(b">CLIENT:REAUTH")).count();
        let verdicts = whole(&bytes).iter().filter(|m| match m {
            Message::Auth(_) => true,
            Message::Rejected(r) => r.client.is_some(),
            _ => false,
        }).count();
        let responses = bytes.split(|b| *b == b'\n').filter(|l| l.starts_with(b">CLIENT:CR_")).count();
        prop_assert!(verdicts <= heads + responses);
    }

    #[test]
    fn every_command_is_read_back_as_it_was_meant(cid: u32, kid: u32, a: String, b: String) {
        let (reason, text) = (Parameter::new(&a), Parameter::new(&b));
        let deny = Command::ClientDeny {
            cid: Cid(cid), kid: Kid(kid), reason: reason.clone(), client_reason: Some(text.clone()),
        };
        let (id, key) = (cid.to_string().into_bytes(), kid.to_string().into_bytes());
        let sent = lines(&deny);
        prop_assert_eq!(sent.len(), 1);
        prop_assert!(sent[0].len() < limits::MAX_COMMAND_LINE);
        let mut words = vec![b"client-deny".to_vec(), id.clone(), key.clone()];
        words.extend([reason.as_str(), text.as_str()].map(|t| t.as_bytes().to_vec()));
        prop_assert_eq!(lex(&sent[0]), Ok(words));

        let kill = Command::ClientKill { cid: Cid(cid), message: KillMessage::Halt(text) };
        let words = lex(&lines(&kill)[0]).unwrap();
        prop_assert_eq!(&words[..2], &[b"client-kill".to_vec(), id.clone()]);
        prop_assert!(words.len() == 3 && words[2].starts_with(b"HALT,"));

        let allow = Command::ClientAuth {
            cid: Cid(cid), kid: Kid(kid), config: vec![ConfigLine::session_timeout(kid)],
        };
        let sent = lines(&allow);
        prop_assert_eq!(sent.len(), 3);
        prop_assert_eq!(lex(&sent[0]), Ok(vec![b"client-auth".to_vec(), id, key]));
        prop_assert!(sent[1].starts_with(b"session-timeout ") && sent[1].len() <= 255);
        prop_assert_eq!(&sent[2], b"END");
    }

    #[test]
    fn text_without_control_characters_that_fits_is_kept_as_it_is(text in "[ -~é€]{0,80}") {
        let parameter = Parameter::new(&text);
        prop_assert_eq!(parameter.as_str(), text.as_str());
    }
}
