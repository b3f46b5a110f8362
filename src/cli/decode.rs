//! `decode`: management-port bytes to one JSON object a line, as the daemon would understand them.
//!
//! Works through the daemon's own codec, in chunks. What a client chose is escaped, so that the
//! output is safe on a terminal.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::ser::Formatter;
use tokio_util::codec::Decoder;

use crate::{
    auth::device::{DeviceSource, claim},
    proto::{
        AuthEvent, AuthKind, Env, ManagementCodec, Message, Rejected, State, StatusClient, Version,
    },
    types::{Cid, is_unsafe},
};

use super::{
    DecodeArgs, Globals, context,
    exit::{CliError, Exit},
};

pub(super) fn execute(globals: &Globals, args: &DecodeArgs) -> Result<Exit, CliError> {
    let options = Options {
        show_secrets: args.show_secrets,
        sources: context::config(globals)?.auth.device_sources,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        None => decode(&mut io::stdin().lock(), &options, &mut out)?,
        Some(path) => {
            let mut file = open(path).map_err(|error| {
                CliError::usage(format!("cannot read {}: {error}", path.display())).or_next(
                    "name a file that `run --record` wrote, or give the bytes on standard input",
                )
            })?;
            decode(&mut file, &options, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Octets read at once.
const CHUNK: usize = 8 << 10;

/// How to print.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Print passwords instead of `***`.
    pub show_secrets: bool,
    /// The variables that may carry a device id.
    pub sources: Vec<DeviceSource>,
}

/// Decodes all of `input` and prints one JSON object a message.
///
/// # Errors
/// When `input` cannot be read or `out` cannot be written. Content is never an error, and
/// neither is a reader of `out` that went away.
pub fn decode(input: &mut dyn Read, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let (mut codec, mut buffer) = (ManagementCodec::default(), BytesMut::new());
    loop {
        let is_end = fill(input, &mut buffer)? == 0;
        while let Some(message) = next(&mut codec, &mut buffer, is_end)? {
            match print(&message, options, out) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                printed => printed?,
            }
        }
        if is_end {
            return flush(out);
        }
    }
}

/// Appends at most [`CHUNK`] octets; 0 is the end of the input.
fn fill(input: &mut dyn Read, buffer: &mut BytesMut) -> io::Result<usize> {
    let start = buffer.len();
    buffer.resize(start + CHUNK, 0);
    let result = loop {
        match input.read(&mut buffer[start..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    buffer.truncate(start + result.as_ref().map_or(0, |n| *n));
    result
}

fn next(
    codec: &mut ManagementCodec,
    buffer: &mut BytesMut,
    is_end: bool,
) -> io::Result<Option<Message>> {
    if is_end { codec.decode_eof(buffer) } else { codec.decode(buffer) }
}

fn flush(out: &mut dyn Write) -> io::Result<()> {
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn print(message: &Message, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::with_capacity(256);
    let mut json = serde_json::Serializer::with_formatter(&mut line, TerminalSafe);
    Line { message, options }.serialize(&mut json).map_err(io::Error::from)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// Compact JSON in which no character can steer a terminal or reorder its text.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// One line of output.
struct Line<'a> {
    message: &'a Message,
    options: &'a Options,
}

/// `object!(serializer, "event", field: value, …)`
macro_rules! object {
    ($serializer:expr, $event:expr $(, $field:ident: $value:expr)* $(,)?) => {{
        let mut object = $serializer.serialize_struct("", 1)?;
        object.serialize_field("event", $event)?;
        $(object.serialize_field(stringify!($field), $value)?;)*
        object.end()
    }};
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.message {
            Message::Prompt => object!(serializer, "prompt"),
            Message::Info { .. } => object!(serializer, "info"),
            Message::Hold => object!(serializer, "hold"),
            Message::Fatal(_) => object!(serializer, "fatal"),
            Message::Log => object!(serializer, "log"),
            Message::State(_) => object!(serializer, "state"),
            Message::Notify => object!(serializer, "notify"),
            // `decode` relays for nobody.
            Message::Relayed(_) => object!(serializer, "other"),
            Message::Other(_) => object!(serializer, "other"),
            Message::Auth(event) => self.auth(event, serializer),
            Message::Established { cid, env } => self.block("established", *cid, env, serializer),
            Message::Disconnect { cid, env } => self.block("disconnect", *cid, env, serializer),
            Message::Address { cid, address, primary } => {
                object!(serializer, "address", cid: &cid.0, address: address, primary: primary)
            }
            Message::ByteCount { cid, bytes_received, bytes_sent } => object!(
                serializer, "bytecount",
                cid: &cid.0, bytes_received: bytes_received, bytes_sent: bytes_sent,
            ),
            Message::Success(text) => object!(serializer, "success", text: text),
            Message::Error(text) => object!(serializer, "error", text: text),
            Message::Version(Version { openvpn, management }) => {
                object!(serializer, "version", openvpn: openvpn, management: management)
            }
            Message::Status(report) => {
                let clients: Vec<Client<'_>> = report.clients.iter().map(Client).collect();
                object!(serializer, "status", clients: &clients)
            }
            Message::StateHistory(states) => {
                let states: Vec<StateLine<'_>> = states.iter().map(StateLine).collect();
                object!(serializer, "state_history", states: &states)
            }
            Message::End => object!(serializer, "end"),
            Message::Rejected(Rejected { kind, block, .. }) => {
                let kind = kind.as_str();
                match block.map(|block| (block.cid().0, block.kid())) {
                    Some((cid, Some(kid))) => {
                        object!(serializer, "rejected", kind: kind, cid: &cid, kid: &kid.0)
                    }
                    Some((cid, None)) => object!(serializer, "rejected", kind: kind, cid: &cid),
                    None => object!(serializer, "rejected", kind: kind),
                }
            }
        }
    }
}

impl Line<'_> {
    fn auth<S: Serializer>(&self, event: &AuthEvent, serializer: S) -> Result<S::Ok, S::Error> {
        let env = self.variables(&event.env);
        let (cid, kid) = (&event.cid.0, &event.kid.0);
        let word = match &event.kind {
            AuthKind::Connect => "connect",
            AuthKind::Reauth => "reauth",
            AuthKind::CrResponse(response) => {
                let response = Value(response.expose());
                return object!(
                    serializer, "cr_response", cid: cid, kid: kid, env: &env, response: &response
                );
            }
        };
        match claim(&event.env, &self.options.sources) {
            Ok(claim) => {
                let device = claim.map(|claim| Device {
                    source: claim.source.to_string(),
                    kind: claim.id.kind().as_str(),
                    value: claim.id.to_string(),
                });
                object!(serializer, word, cid: cid, kid: kid, env: &env, device: &device)
            }
            Err(error) => object!(
                serializer, word, cid: cid, kid: kid, env: &env,
                device: &None::<Device>, device_error: &error.to_string(),
            ),
        }
    }

    fn block<S: Serializer>(
        &self,
        word: &str,
        cid: Cid,
        env: &Env,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        object!(serializer, word, cid: &cid.0, env: &self.variables(env))
    }

    fn variables<'a>(&self, env: &'a Env) -> Variables<'a> {
        let password = env
            .password()
            .map(|password| if self.options.show_secrets { password.expose() } else { b"***" });
        Variables { env, password }
    }
}

#[derive(Serialize)]
struct Device {
    source: String,
    kind: &'static str,
    value: String,
}

/// A client's text: a string, or `{"base64":"…"}` where it is not UTF-8.
struct Value<'a>(&'a [u8]);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut object = serializer.serialize_struct("", 1)?;
                object.serialize_field("base64", &STANDARD.encode(self.0))?;
                object.end()
            }
        }
    }
}

/// A variable's name: a byte that is not UTF-8 as `\xNN`, a backslash as `\\`, so that two names
/// never become one.
fn name(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if !text.contains('\\') => Cow::Borrowed(text),
        Ok(_) | Err(_) => {
            let mut text = String::with_capacity(key.len() + 8);
            for chunk in key.utf8_chunks() {
                text.push_str(&chunk.valid().replace('\\', "\\\\"));
                for byte in chunk.invalid() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            }
            Cow::Owned(text)
        }
    }
}

/// Variables in the order they arrived; of several with one name, the last.
struct Variables<'a> {
    env: &'a Env,
    password: Option<&'a [u8]>,
}

impl Serialize for Variables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<Cow<'_, str>> = self.env.iter().map(|(key, _)| name(key)).collect();
        let last: HashMap<&str, usize> =
            names.iter().enumerate().map(|(index, name)| (name.as_ref(), index)).collect();
        let password = self.password.map(|value| (self.env.password_index(), Value(value)));
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, (_, value))) in names.iter().zip(self.env.iter()).enumerate() {
            if let Some((at, password)) = &password
                && *at == index
            {
                map.serialize_entry("password", password)?;
            }
            if last.get(name.as_ref()) == Some(&index) {
                map.serialize_entry(name, &Value(value))?;
            }
        }
        if let Some((at, password)) = &password
            && *at >= names.len()
        {
            map.serialize_entry("password", password)?;
        }
        map.end()
    }
}

struct Client<'a>(&'a StatusClient);

impl Serialize for Client<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let client = self.0;
        let mut object = serializer.serialize_struct("", 8)?;
        object.serialize_field("cid", &client.cid.0)?;
        object.serialize_field("username", &client.username.as_deref().map(Value))?;
        object.serialize_field("common_name", &Value(&client.common_name))?;
        object.serialize_field("real_address", &client.real_address)?;
        object.serialize_field("virtual_address", &client.virtual_address)?;
        object.serialize_field("bytes_received", &client.bytes_received)?;
        object.serialize_field("bytes_sent", &client.bytes_sent)?;
        object.serialize_field("connected_since", &client.connected_since.as_secs())?;
        object.end()
    }
}

struct StateLine<'a>(&'a State);

impl Serialize for StateLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("", 2)?;
        object.serialize_field("at", &self.0.at.as_secs())?;
        object.serialize_field("name", self.0.name.as_str())?;
        object.end()
    }
}
