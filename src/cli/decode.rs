//! `decode`: the server's side of a management connection, as the daemon would understand it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use tokio_util::codec::Decoder;

use crate::{
    auth::device::{self, DeviceSource},
    proto::{AuthEvent, AuthKind, Env, ManagementCodec, Message, Rejected, State, StatusClient},
    types::{Password, is_unsafe},
};

use super::{
    DecodeArgs, Globals, context,
    exit::{CliError, Exit},
};

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

pub(super) fn execute(globals: &Globals, args: &DecodeArgs) -> Result<Exit, CliError> {
    let options = Options {
        show_secrets: args.show_secrets,
        sources: context::config(globals)?.auth.device_sources,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match &args.file {
        None => decode(&mut io::stdin().lock(), &options, &mut out)?,
        Some(path) => {
            let mut file = File::open(path).map_err(|error| {
                CliError::usage(format!("cannot read {}: {error}", path.display()))
            })?;
            decode(&mut file, &options, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// How to decode.
#[derive(Debug, Clone)]
pub struct Options {
    /// Print passwords instead of `***`.
    pub show_secrets: bool,
    /// Where the device id is, in order.
    pub sources: Vec<DeviceSource>,
}

/// Reads management-port bytes and writes one JSON object a line. Memory is bounded, and no
/// content makes it fail.
///
/// # Errors
/// Those of reading and writing.
pub fn decode(input: &mut dyn Read, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut codec = ManagementCodec::default();
    let mut buffer = BytesMut::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match input.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(message) = codec.decode(&mut buffer)? {
            print(&message, options, out)?;
        }
    }
    while let Some(message) = codec.decode_eof(&mut buffer)? {
        print(&message, options, out)?;
    }
    Ok(())
}

fn print(message: &Message, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let json = serde_json::to_string(&Printed { message, options })?;
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // JSON leaves these as they are; a terminal does not.
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                line += &format!("\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

/// Bytes as a JSON string, or `{"base64": …}` when they are not UTF-8.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// The variables as one object, in their order; the last value of a name stands.
struct Variables<'a> {
    env: &'a Env,
    password: Option<&'a Password>,
    show_secrets: bool,
}

impl Serialize for Variables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last: HashMap<&[u8], usize> =
            self.env.iter().enumerate().map(|(index, (key, _))| (key, index)).collect();
        let mut map = serializer.serialize_map(None)?;
        for (index, (key, value)) in self.env.iter().enumerate() {
            if last.get(key) == Some(&index) {
                map.serialize_entry(&*String::from_utf8_lossy(key), &Bytes(value))?;
            }
        }
        if let Some(password) = self.password {
            let shown: &[u8] = if self.show_secrets { password.expose() } else { b"***" };
            map.serialize_entry("password", &Bytes(shown))?;
        }
        map.end()
    }
}

struct Printed<'a> {
    message: &'a Message,
    options: &'a Options,
}

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let event = |map: &mut S::SerializeMap, name: &str| map.serialize_entry("event", name);
        match self.message {
            Message::Prompt => event(&mut map, "prompt")?,
            Message::Info { .. } => event(&mut map, "info")?,
            Message::Hold => event(&mut map, "hold")?,
            Message::Fatal(_) => event(&mut map, "fatal")?,
            Message::Log => event(&mut map, "log")?,
            Message::State(_) => event(&mut map, "state")?,
            Message::Notify => event(&mut map, "notify")?,
            Message::Other(_) => event(&mut map, "other")?,
            Message::Auth(auth) => self.auth(&mut map, auth)?,
            Message::Established { cid, env } | Message::Disconnect { cid, env } => {
                let is_end = matches!(self.message, Message::Disconnect { .. });
                event(&mut map, if is_end { "disconnect" } else { "established" })?;
                map.serialize_entry("cid", &cid.0)?;
                map.serialize_entry("env", &self.variables(env, None))?;
            }
            Message::Address { cid, address, primary } => {
                event(&mut map, "address")?;
                map.serialize_entry("cid", &cid.0)?;
                map.serialize_entry("address", address)?;
                map.serialize_entry("primary", primary)?;
            }
            Message::ByteCount { cid, bytes_received, bytes_sent } => {
                event(&mut map, "bytecount")?;
                map.serialize_entry("cid", &cid.0)?;
                map.serialize_entry("bytes_received", bytes_received)?;
                map.serialize_entry("bytes_sent", bytes_sent)?;
            }
            Message::Success(text) => {
                event(&mut map, "success")?;
                map.serialize_entry("text", text)?;
            }
            Message::Error(text) => {
                event(&mut map, "error")?;
                map.serialize_entry("text", text)?;
            }
            Message::Version(version) => {
                event(&mut map, "version")?;
                map.serialize_entry("openvpn", &version.openvpn)?;
                map.serialize_entry("management", &version.management)?;
            }
            Message::Status(report) => {
                event(&mut map, "status")?;
                map.serialize_entry("clients", &Clients(&report.clients))?;
            }
            Message::StateHistory(states) => {
                event(&mut map, "state_history")?;
                map.serialize_entry("states", &States(states))?;
            }
            Message::End => event(&mut map, "end")?,
            Message::Rejected(Rejected { kind, client, .. }) => {
                event(&mut map, "rejected")?;
                map.serialize_entry("kind", kind.as_str())?;
                if let Some((cid, kid)) = client {
                    map.serialize_entry("cid", &cid.0)?;
                    map.serialize_entry("kid", &kid.0)?;
                }
            }
        }
        map.end()
    }
}

impl Printed<'_> {
    fn variables<'a>(&self, env: &'a Env, password: Option<&'a Password>) -> Variables<'a> {
        Variables { env, password, show_secrets: self.options.show_secrets }
    }

    fn auth<M: SerializeMap>(&self, map: &mut M, auth: &AuthEvent) -> Result<(), M::Error> {
        let name = match &auth.kind {
            AuthKind::Connect => "connect",
            AuthKind::Reauth => "reauth",
            AuthKind::CrResponse(_) => "cr_response",
        };
        map.serialize_entry("event", name)?;
        map.serialize_entry("cid", &auth.cid.0)?;
        map.serialize_entry("kid", &auth.kid.0)?;
        if let AuthKind::CrResponse(response) = &auth.kind {
            map.serialize_entry("response", &Bytes(response.expose()))?;
        }
        map.serialize_entry("env", &self.variables(&auth.env, auth.password.as_ref()))?;
        if matches!(auth.kind, AuthKind::CrResponse(_)) {
            return Ok(());
        }
        match device::claim(&auth.env, &self.options.sources) {
            Ok(None) => map.serialize_entry("device", &None::<()>),
            Ok(Some(claim)) => map.serialize_entry(
                "device",
                &Device {
                    source: claim.source.as_str(),
                    kind: claim.id.kind().as_str(),
                    value: &claim.id.to_string(),
                },
            ),
            Err(error) => {
                map.serialize_entry("device", &None::<()>)?;
                map.serialize_entry("device_error", &error.to_string())
            }
        }
    }
}

#[derive(Serialize)]
struct Device<'a> {
    source: &'a str,
    kind: &'a str,
    value: &'a str,
}

struct Clients<'a>(&'a [StatusClient]);

impl Serialize for Clients<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Client<'a> {
            cid: u32,
            username: Option<Bytes<'a>>,
            common_name: Bytes<'a>,
            real_address: &'a str,
            virtual_address: &'a str,
            bytes_received: u64,
            bytes_sent: u64,
            connected_since: i64,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for client in self.0 {
            list.serialize_element(&Client {
                cid: client.cid.0,
                username: client.username.as_deref().map(Bytes),
                common_name: Bytes(&client.common_name),
                real_address: &client.real_address,
                virtual_address: &client.virtual_address,
                bytes_received: client.bytes_received,
                bytes_sent: client.bytes_sent,
                connected_since: client.connected_since.as_secs(),
            })?;
        }
        list.end()
    }
}

struct States<'a>(&'a [State]);

impl Serialize for States<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry {
            at: i64,
            name: &'static str,
        }
        let entry = |state: &State| Entry { at: state.at.as_secs(), name: state.name.as_str() };
        serializer.collect_seq(self.0.iter().map(entry))
    }
}
