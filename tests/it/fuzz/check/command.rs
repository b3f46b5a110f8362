//! Commands: whatever text is in them, the server reads one command with the parameters meant.

use bytes::BytesMut;
use ovpn_warden::{
    proto::{
        Asked, Command, ConfigLine, KillMessage, ManagementCodec, Parameter, asked, lexer,
        limits::{MAX_COMMAND_LINE, MAX_CONFIG_LINE, MAX_ESCAPED, MAX_PARAMETER},
    },
    types::{Cid, Kid, Password},
};
use tokio_util::codec::Encoder;

use super::wire::{self, Run};

/// Most lines of one body.
const MAX_BODY: usize = 16;

/// What a `client-auth` body may set.
pub(crate) const OPTIONS: [&str; 13] = [
    "push",
    "push-reset",
    "push-remove",
    "ifconfig-push",
    "ifconfig-ipv6-push",
    "iroute",
    "iroute-ipv6",
    "session-timeout",
    "inactive",
    "ping",
    "ping-restart",
    "max-routes-per-client",
    "disable",
];

/// How commands begin that another tool may pass on.
const READING: [&str; 10] =
    ["version", "help", "pid", "load-stats", "verb", "mute", "status", "state", "log", "echo"];

/// Checks one input: texts with FF between them. Its first bytes are the numbers too.
pub(crate) fn check(input: &[u8]) {
    let number = |at: usize| {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(input.iter().skip(at)) {
            *to = *from;
        }
        u32::from_be_bytes(bytes)
    };
    let texts: Vec<&[u8]> = input.split(|byte| *byte == 0xFF).take(MAX_BODY).collect();
    texts_are_safe(Cid(number(0)), Kid(number(4)), number(8), &texts);
}

/// Puts texts into every command and reads back what the server would.
pub(super) fn texts_are_safe(cid: Cid, kid: Kid, seconds: u32, texts: &[&[u8]]) {
    let mut config = vec![ConfigLine::session_timeout(seconds)];
    let mut commands = vec![
        Command::Version,
        Command::EnvFilterOff,
        Command::StateOn,
        Command::State,
        Command::ByteCount(seconds),
        Command::Status,
        Command::HoldRelease,
        Command::ClientAuthNt { cid, kid },
    ];
    let mut before = Parameter::new("");
    for bytes in texts {
        password_is_one_line(bytes);
        let text = String::from_utf8_lossy(bytes);
        let parameter = Parameter::new(&text);
        assert_eq!(parameter.as_str(), kept(&text));
        commands.extend(relayed(bytes));
        config.extend(ConfigLine::parse(&text));
        config.extend(pushed(&text));
        commands.extend([
            Command::ClientDeny { cid, kid, reason: parameter.clone(), client_reason: None },
            Command::ClientDeny {
                cid,
                kid,
                reason: before,
                client_reason: Some(parameter.clone()),
            },
            Command::ClientPendingAuth { cid, wait: None, text: parameter.clone() },
            Command::ClientPendingAuth { cid, wait: Some((kid, seconds)), text: parameter.clone() },
            Command::ClientKill { cid, message: KillMessage::Halt(parameter.clone()) },
            Command::ClientKill { cid, message: KillMessage::Restart(parameter.clone()) },
        ]);
        before = parameter;
    }
    config.truncate(MAX_BODY);
    commands.push(Command::ClientAuth { cid, kid, config });
    commands.push(Command::ClientAuth { cid, kid, config: Vec::new() });
    are_read_as_meant(&commands);
}

/// The server runs these commands one by one, as meant.
pub(super) fn are_read_as_meant(commands: &[Command]) {
    let mut out = BytesMut::new();
    for command in commands {
        ManagementCodec::default().encode(command.clone(), &mut out).unwrap();
    }
    let meant: Vec<Run> = commands.iter().map(meant).collect();
    assert_eq!(wire::runs(&out), Ok(meant), "{}", String::from_utf8_lossy(&out));
}

/// What another tool may say with this line: only what reads.
fn relayed(line: &[u8]) -> Option<Command> {
    let (Asked::Pass(command) | Asked::Switch { history: Some(command), .. }) = asked(line) else {
        return None;
    };
    let mut words = command.as_str().split(' ');
    let first = words.next().unwrap_or_default();
    assert!(READING.contains(&first), "{command:?}");
    assert!(words.clone().count() <= 1 && words.all(|word| !word.is_empty()), "{command:?}");
    Some(Command::Relayed(command))
}

/// A password, which is no command, is one line: its first.
pub(super) fn password_is_one_line(bytes: &[u8]) {
    let mut out = BytesMut::new();
    Command::Password(Password::from(bytes)).encode(&mut out);
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line = &line[..line.len().min(MAX_COMMAND_LINE - 1)];
    assert_eq!(out, [line, b"\n"].concat());
}

/// `push` of a text, where that is possible; then it pushes just that text.
fn pushed(text: &str) -> Option<ConfigLine> {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    let line = format!("push \"{escaped}\"");
    let is_possible = line.len() <= MAX_CONFIG_LINE
        && !text.trim().is_empty()
        && !text.chars().any(|c| c == ',' || c.is_control());
    // The client reads it again.
    let read = lexer::words(text.as_bytes()).ok().filter(|lexed| !lexed.has_comment);
    let first = read.and_then(|lexed| lexed.words.into_iter().next()).unwrap_or_default();
    let is_possible = is_possible && !first.is_empty();
    let has_addresses = [&b"route"[..], b"route-ipv6", b"dhcp-option"].contains(&&*first);
    let parsed = ConfigLine::parse(&line);
    assert!(parsed.is_ok() == is_possible || is_possible && has_addresses, "{line:?}: {parsed:?}");
    let taken = parsed.ok()?;
    assert_eq!(
        lexer::words(taken.as_str().as_bytes()).unwrap().words,
        [b"push", text.as_bytes()],
        "{line:?}"
    );
    Some(taken)
}

/// The parameters that a command stands for.
fn meant(command: &Command) -> Run {
    let mut body = Vec::new();
    let words = match command {
        Command::Password(_) => panic!("a password is no command"),
        Command::Version => vec!["version".into()],
        Command::EnvFilterOff => vec!["env-filter".into(), "0".into()],
        Command::StateOn => vec!["state".into(), "on".into()],
        Command::State => vec!["state".into()],
        Command::ByteCount(seconds) => vec!["bytecount".into(), seconds.to_string()],
        Command::Status => vec!["status".into(), "3".into()],
        Command::HoldRelease => vec!["hold".into(), "release".into()],
        Command::Log(is_on) => vec!["log".into(), if *is_on { "on" } else { "off" }.into()],
        Command::Relayed(command) => command.as_str().split(' ').map(Into::into).collect(),
        Command::ClientAuth { cid, kid, config } => {
            body = config.iter().map(config_line).collect();
            vec!["client-auth".into(), cid.0.to_string(), kid.0.to_string()]
        }
        Command::ClientAuthNt { cid, kid } => {
            vec!["client-auth-nt".into(), cid.0.to_string(), kid.0.to_string()]
        }
        Command::ClientPendingAuth { cid, wait, text } => {
            let mut words = vec!["client-pending-auth".into(), cid.0.to_string()];
            words.extend(wait.map(|(kid, _)| kid.0.to_string()));
            words.push(text.as_str().into());
            words.extend(wait.map(|(_, seconds)| seconds.to_string()));
            words
        }
        Command::ClientDeny { cid, kid, reason, client_reason } => {
            let mut words = vec![
                "client-deny".into(),
                cid.0.to_string(),
                kid.0.to_string(),
                reason.as_str().into(),
            ];
            words.extend(client_reason.as_ref().map(|reason| reason.as_str().into()));
            words
        }
        Command::ClientKill { cid, message } => {
            let text = match message {
                KillMessage::Halt(text) => format!("HALT,{}", text.as_str()),
                KillMessage::Restart(text) => format!("RESTART,{}", text.as_str()),
            };
            vec!["client-kill".into(), cid.0.to_string(), kept(&text)]
        }
    };
    Run { words, body }
}

/// A line of a body is one option for one client, whole.
fn config_line(line: &ConfigLine) -> String {
    let text = line.as_str();
    assert!(text.len() <= MAX_CONFIG_LINE, "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let lexed = lexer::words(text.as_bytes()).unwrap();
    assert!(!lexed.has_comment, "{text:?}");
    let option = lexed.words.first().map(Vec::as_slice).unwrap_or_default();
    assert!(OPTIONS.iter().any(|known| known.as_bytes() == option), "{text:?}");
    text.to_owned()
}

/// What is left of `text` as one parameter: the rule written a second time.
pub(crate) fn kept(text: &str) -> String {
    let (mut kept, mut escaped) = (String::new(), 0);
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        escaped += c.len_utf8() + usize::from(c == '"' || c == '\\');
        if kept.len() + c.len_utf8() > MAX_PARAMETER || escaped > MAX_ESCAPED {
            break;
        }
        kept.push(c);
    }
    kept
}
