//! What another tool asks at the relay: it reads, or it does not reach the server.

use std::str::from_utf8;

use ovpn_warden::proto::{Asked, Command, Stream, asked};

use super::{command::are_read_as_meant, lexer::parse_line};

/// Commands that are passed on as they stand: with a list for an answer, or with one line.
const LISTS: [&str; 7] = ["version", "help", "status", "status 1", "status 2", "status 3", "state"];
const LINES: [&str; 4] = ["pid", "load-stats", "verb", "mute"];
/// What a tool may switch for itself.
const STREAMS: [(&str, Stream); 3] =
    [("state", Stream::State), ("log", Stream::Log), ("echo", Stream::Echo)];

/// Checks one input: a line, as the relay cuts it.
pub(crate) fn check(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let said = asked(line);
    let Ok(lexed) = parse_line(line) else {
        let Asked::Answer(answer) = said else { panic!("unreadable, and {said:?}") };
        return is_refusal(&answer);
    };
    let words: Vec<&str> = lexed.words.iter().map(|word| from_utf8(word).unwrap_or("?")).collect();
    let name = words.first().copied().unwrap_or_default();
    let stream = STREAMS.iter().find(|(known, _)| *known == name).map(|(_, stream)| *stream);
    match &said {
        Asked::Nothing => assert!(words.is_empty()),
        Asked::Leave => assert!(matches!(name, "exit" | "quit")),
        Asked::ByteCount { is_on } => {
            let [_, seconds] = words[..] else { panic!("{words:?}") };
            assert!(name == "bytecount" && seconds.parse::<u32>().is_ok_and(|s| (s > 0) == *is_on));
        }
        Asked::Pass(command) => {
            let text = command.as_str();
            assert_eq!(text, words.join(" "));
            let is_list = LISTS.contains(&text) || stream.is_some() && is_amount(&words[1..]);
            assert!(is_list || LINES.contains(&text), "{text:?} is passed on");
            assert_eq!(command.is_list(), is_list);
            are_read_as_meant(&[Command::Relayed(command.clone())]);
        }
        Asked::Switch { stream: switched, is_on, history } => {
            assert_eq!(stream, Some(*switched));
            let list = history.as_ref().map(|command| command.as_str().to_owned());
            match &words[1..] {
                ["on"] => assert!(*is_on && list.is_none()),
                ["on", "all"] => assert!(*is_on && list == Some(format!("{name} all"))),
                ["off"] => assert!(!is_on && list.is_none()),
                other => panic!("{other:?} switches something"),
            }
        }
        Asked::Block(answer) => {
            assert!(matches!(name, "client-auth" | "client-pf"));
            is_refusal(answer);
        }
        Asked::Answer(answer) => {
            let joined = words.join(" ");
            // A word may have a blank in it.
            let is_same = joined.split(' ').eq(words.iter().copied());
            assert!(!is_same || !LISTS.contains(&&*joined) && !LINES.contains(&&*joined));
            is_refusal(answer);
        }
    }
}

fn is_amount(words: &[&str]) -> bool {
    let is_number = |text: &&str| {
        (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(words, [amount] if *amount == "all" || is_number(amount))
}

/// One line, of our own words.
fn is_refusal(answer: &str) {
    assert!(answer.starts_with("ERROR: ") && answer.len() < 200, "{answer:?}");
    assert!(answer.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{answer:?}");
}
