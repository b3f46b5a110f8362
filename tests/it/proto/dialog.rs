//! The `.dialog` files: what both sides say in turn. Here as far as the codec goes; the daemon's
//! part (time-outs, retries, when to give up) is tested where the daemon is.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{Command, ConfigLine, KillMessage, ManagementCodec, Message, Parameter, Version},
    types::{Cid, Kid, Password},
};
use tokio_util::codec::Encoder;

use super::{data, files, messages_however_cut};

/// One line of a `.dialog` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `S> `: a line of the server, with its CR LF; `S! `: without one.
    Server(Vec<u8>),
    /// `C> `: a line that we are to send.
    Client(String),
    /// `S EOF`, `S SILENT`, `S CONNECTED`.
    Transport(String),
    /// `WAIT 1s`.
    Wait(u64),
    /// `EXPECT …`: the outcome.
    Expect(String),
}

pub(super) fn parse(text: &str) -> Vec<Step> {
    text.lines().map(step).collect()
}

fn step(line: &str) -> Step {
    if let Some(text) = line.strip_prefix("S> ") {
        Step::Server(format!("{text}\r\n").into_bytes())
    } else if let Some(text) = line.strip_prefix("S! ") {
        Step::Server(text.as_bytes().to_vec())
    } else if let Some(text) = line.strip_prefix("C>") {
        Step::Client(text.strip_prefix(' ').unwrap_or(text).to_owned())
    } else if let Some(text) = line.strip_prefix("EXPECT ") {
        Step::Expect(text.to_owned())
    } else if let Some(seconds) = line.strip_prefix("WAIT ").and_then(|s| s.strip_suffix('s')) {
        Step::Wait(seconds.parse().unwrap())
    } else if let Some(state) = line.strip_prefix("S ") {
        Step::Transport(state.to_owned())
    } else {
        panic!("no step: {line:?}")
    }
}

fn steps(name: &str) -> Vec<Step> {
    parse(&String::from_utf8(data(&format!("conformance/{name}.dialog"))).unwrap())
}

/// What the codec reads of the server's side.
fn heard(name: &str) -> Vec<Message> {
    let server = steps(name).into_iter().filter_map(|step| match step {
        Step::Server(bytes) => Some(bytes),
        Step::Client(_) | Step::Transport(_) | Step::Wait(_) | Step::Expect(_) => None,
    });
    messages_however_cut(&server.flatten().collect::<Vec<u8>>())
}

/// The lines that we are to send, each with its LF.
fn said(name: &str) -> String {
    let lines = steps(name).into_iter().filter_map(|step| match step {
        Step::Client(line) => Some(line + "\n"),
        Step::Server(_) | Step::Transport(_) | Step::Wait(_) | Step::Expect(_) => None,
    });
    lines.collect()
}

fn encoded(commands: impl IntoIterator<Item = Command>) -> String {
    let (mut codec, mut out) = (ManagementCodec::default(), BytesMut::new());
    for command in commands {
        codec.encode(command, &mut out).unwrap();
    }
    String::from_utf8(out.to_vec()).unwrap()
}

fn success(text: &str) -> Message {
    Message::Success(text.into())
}

fn error(text: &str) -> Message {
    Message::Error(text.into())
}

fn version(openvpn: &str, management: Option<u32>) -> Message {
    Message::Version(Version { openvpn: openvpn.into(), management })
}

#[test]
fn what_the_server_says_in_each_dialog_is_understood() {
    let held = Message::Hold;
    let released = || success("hold release succeeded");
    let table: Vec<(&str, Vec<Message>)> = vec![
        ("c03-password-bad-real", vec![Message::Prompt; 2]),
        ("c04-password-three-tries-real", vec![Message::Prompt; 3]),
        ("c06-version-two-lines", vec![version("OpenVPN Mock", None)]),
        ("c08-version-too-old", vec![version("OpenVPN Mock", Some(4))]),
        ("c09-version-no-suffix", vec![version("openvpn-auth-oauth2 2.0.0", Some(5))]),
        (
            "c10-version-management-version-wording",
            vec![version("OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]", Some(5))],
        ),
        ("c12-hold-release-reply-lags", vec![held.clone(), held, released(), released()]),
        ("c22-command-error-typed", vec![error("help command failed")]),
        (
            "c24-commands-serialised",
            vec![success("first command succeeded"), success("second command succeeded")],
        ),
        ("c26-client-auth-rejected", vec![error("client-auth command failed")]),
        (
            "d07-kill-one-gone",
            vec![success("client-kill command succeeded"), error("client-kill command failed")],
        ),
        ("i10-blank-command-no-reply", vec![success("pid=7")]),
    ];
    let names: Vec<String> = table.iter().map(|(name, _)| format!("{name}.dialog")).collect();
    assert_eq!(names, files("conformance", ".dialog"));
    for (name, expected) in table {
        assert_eq!(heard(name), expected, "{name}");
    }
}

#[test]
fn what_we_say_in_a_dialog_is_what_the_commands_encode() {
    let password = |text: &str| Command::Password(Password::from(text.as_bytes()));
    assert_eq!(encoded([password("wrong")]), said("c03-password-bad-real"));
    assert_eq!(encoded([Command::Version]), said("c06-version-two-lines"));
    assert_eq!(
        encoded([Command::HoldRelease, Command::HoldRelease]),
        said("c12-hold-release-reply-lags")
    );
}

#[test]
fn a_client_auth_is_one_command_of_several_lines() {
    let config = vec![ConfigLine::session_timeout(60)];
    let sent = encoded([Command::ClientAuth { cid: Cid(0), kid: Kid(1), config }]);
    let wanted = said("c26-client-auth-rejected");
    let frame = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| *line == "END" || line.starts_with("client-auth"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(frame(&sent), frame(&wanted));
    assert_eq!(sent.lines().count(), 3);
}

#[test]
fn a_kill_is_quoted_and_has_the_same_words() {
    let kill =
        |cid| Command::ClientKill { cid: Cid(cid), message: KillMessage::Halt(Parameter::new("")) };
    let read = |text: &str| {
        super::lexer::commands(text.as_bytes())
            .into_iter()
            .map(|words| {
                words.unwrap().into_iter().map(|w| w.trim_end_matches(',').to_owned()).collect()
            })
            .collect::<Vec<Vec<String>>>()
    };
    assert_eq!(read(&encoded([kill(7), kill(12)])), read(&said("d07-kill-one-gone")));
}

#[test]
fn no_command_is_a_blank_or_a_comment_that_would_never_be_answered() {
    let unanswered = |line: &str| super::lexer::commands(line.as_bytes()) == [Ok(vec![])];
    let said = said("i10-blank-command-no-reply");
    let lines: Vec<&str> = said.split_inclusive('\n').collect();
    assert_eq!(lines.iter().map(|line| unanswered(line)).collect::<Vec<_>>(), [true, true, false]);
    for command in [
        Command::Version,
        Command::EnvFilterOff,
        Command::StateOn,
        Command::State,
        Command::ByteCount(5),
        Command::Status,
        Command::HoldRelease,
        Command::ClientAuthNt { cid: Cid(0), kid: Kid(0) },
    ] {
        assert!(!unanswered(&encoded([command])));
    }
}

#[test]
fn a_dialog_has_the_steps_that_its_file_names() {
    let text = "S> >HOLD:x\nS! ENTER PASSWORD:\nC> a b\nC> \nWAIT 2s\nS EOF\nEXPECT error version";
    assert_eq!(
        parse(text),
        [
            Step::Server(b">HOLD:x\r\n".to_vec()),
            Step::Server(b"ENTER PASSWORD:".to_vec()),
            Step::Client("a b".into()),
            Step::Client(String::new()),
            Step::Wait(2),
            Step::Transport("EOF".into()),
            Step::Expect("error version".into()),
        ]
    );
}
