//! `>CLIENT:` blocks: a head, its variables, END.
//!
//! A block that cannot be trusted is refused once and skipped to its end. What is not part of a
//! block never ends it: OpenVPN writes other notifications in between.

use crate::types::{Cid, Kid};

use super::{
    Env,
    grammar::{self, Head, VARIABLE},
    limits::{MAX_BLOCK_BYTES, MAX_VARIABLES},
    message::{AuthEvent, AuthKind, Message, RefusedBlock, RejectKind, Rejected},
};

/// Variables that say who a client is, each with a bit. OpenVPN writes each once; a second one can
/// only be forged (protocol notes, 2.5). So are [`is_of_certificate`]'s.
const fn identity(key: &[u8]) -> Option<u16> {
    Some(match key {
        b"username" => 1,
        b"password" => 1 << 1,
        b"common_name" => 1 << 2,
        b"session_id" => 1 << 3,
        b"session_state" => 1 << 4,
        b"untrusted_ip" => 1 << 5,
        b"untrusted_ip6" => 1 << 6,
        b"untrusted_port" => 1 << 7,
        b"trusted_ip" => 1 << 8,
        b"trusted_ip6" => 1 << 9,
        b"trusted_port" => 1 << 10,
        b"ifconfig_pool_remote_ip" => 1 << 11,
        b"time_unix" => 1 << 12,
        _ => return None,
    })
}

/// The variable that is a secret.
const PASSWORD: &[u8] = b"password";

/// Whether [`identity`] or [`is_of_certificate`] may know the name, by its first byte: most names are
/// done with then.
const fn may_be_single(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'u' | b'p' | b'c' | b's' | b't' | b'i' | b'X'))
}

/// Whether OpenVPN takes a variable of this name from the certificate, once each.
fn is_of_certificate(key: &[u8]) -> bool {
    key.starts_with(b"tls_") || key.starts_with(b"X509_")
}

/// One of 64 bits, always the same for a name: of two with different bits nothing has to be compared. Names of a
/// certificate differ in length, at their end and behind `tls_` or `X509_`; real ones of two certificates have bits of
/// their own.
fn trait_of(key: &[u8]) -> u64 {
    let byte = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
    1 << ((7 * key.len() + byte(key.last()) + 2 * byte(key.get(5))) % 64)
}

/// Gathers the lines of one block at a time.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Outside of a block.
    #[default]
    Idle,
    /// Variables without a head came: said once.
    Orphans,
    /// Inside a block that was refused.
    Skipping,
    /// Inside a block.
    Open(Block),
}

#[derive(Debug)]
struct Block {
    head: OwnedHead,
    /// Whether what it says of the client is believed.
    is_login: bool,
    env: Env,
    /// The bits of [`identity`] that have come.
    seen: u16,
    /// Index of the first variable of the certificate: none before it can be one.
    certificate: Option<usize>,
    /// The bits of [`trait_of`] that variables of the certificate have shown.
    traits: u64,
}

#[derive(Debug)]
enum OwnedHead {
    Auth(AuthKind, Cid, Kid),
    Established(Cid),
    Disconnect(Cid),
}

impl Block {
    /// The block, once it is refused.
    const fn refused(&self) -> RefusedBlock {
        match &self.head {
            OwnedHead::Auth(AuthKind::Connect | AuthKind::Reauth, cid, kid) => {
                RefusedBlock::Login(*cid, *kid)
            }
            OwnedHead::Auth(AuthKind::CrResponse(_), cid, kid) => {
                RefusedBlock::Response(*cid, *kid)
            }
            OwnedHead::Established(cid) | OwnedHead::Disconnect(cid) => RefusedBlock::Notice(*cid),
        }
    }

    /// Whether a variable may come; `unkept` are the lines of others that have been noted.
    #[inline]
    fn admit(&mut self, key: &[u8], value: &[u8], unkept: &[u8]) -> Result<(), RejectKind> {
        let is_single = self.is_login && may_be_single(key);
        if is_single && self.is_forged(key, unkept) {
            return Err(RejectKind::DuplicateKey);
        }
        let is_full = self.env.len() >= MAX_VARIABLES
            || self.env.byte_len() + key.len() + value.len() > MAX_BLOCK_BYTES;
        if is_full && key != PASSWORD {
            return Err(RejectKind::BlockTooLarge);
        }
        Ok(())
    }

    /// Whether this variable may not come, because it has come already. Apart from [`Self::take`]'s loop, which most names
    /// pass without it.
    #[inline(never)]
    fn is_forged(&mut self, key: &[u8], unkept: &[u8]) -> bool {
        if is_of_certificate(key) {
            let first = *self.certificate.get_or_insert(self.env.len());
            let bit = trait_of(key);
            let is_like_another = self.traits & bit != 0;
            self.traits |= bit;
            return is_like_another && self.env.has_since(first, key, unkept);
        }
        let bit = identity(key).unwrap_or(0);
        let seen = self.seen & bit != 0;
        self.seen |= bit;
        seen
    }

    /// See [`Assembler::take`].
    #[inline(never)]
    fn take(&mut self, buffer: &[u8]) -> (usize, Result<(), RejectKind>) {
        let (mut at, mut admitted) = (0, Ok(()));
        while let Some((key, value, octets)) = grammar::variable(&buffer[at..]) {
            if key == PASSWORD {
                break;
            }
            admitted = self.admit(key, value, &buffer[..at]);
            if admitted.is_err() {
                break;
            }
            self.env.note(at + VARIABLE.len(), key, value);
            at += octets;
        }
        self.env.keep(&buffer[..at]);
        (at, admitted)
    }

    fn finish(self) -> Message {
        match self.head {
            OwnedHead::Auth(kind, cid, kid) => {
                Message::Auth(AuthEvent { kind, cid, kid, env: self.env })
            }
            OwnedHead::Established(cid) => Message::Established { cid, env: self.env },
            OwnedHead::Disconnect(cid) => Message::Disconnect { cid, env: self.env },
        }
    }
}

impl Assembler {
    /// A new head. An open block that it cuts off is refused.
    pub(super) fn head(&mut self, head: Head<'_>, offset: u64) -> Option<Message> {
        let interrupted = self.reject(RejectKind::InterruptedBlock, offset);
        let head = match head {
            Head::Connect(cid, kid) => OwnedHead::Auth(AuthKind::Connect, cid, kid),
            Head::Reauth(cid, kid) => OwnedHead::Auth(AuthKind::Reauth, cid, kid),
            Head::CrResponse(cid, kid, response) => {
                OwnedHead::Auth(AuthKind::CrResponse(response.into()), cid, kid)
            }
            Head::Established(cid) => OwnedHead::Established(cid),
            Head::Disconnect(cid) => OwnedHead::Disconnect(cid),
        };
        let env = Env::with_room();
        let is_login = matches!(head, OwnedHead::Auth(..));
        let block = Block { head, is_login, env, seen: 0, certificate: None, traits: 0 };
        self.state = State::Open(block);
        interrupted
    }

    /// A head that is refused; its variables are skipped. Returns the refusal of a block that it
    /// cuts off.
    pub(super) fn bad_head(&mut self, offset: u64) -> Option<Message> {
        let interrupted = self.reject(RejectKind::InterruptedBlock, offset);
        self.state = State::Skipping;
        interrupted
    }

    /// An event that is not known. Inside a block it is a stray line; elsewhere it may be the head
    /// of a block of its own, whose variables are skipped.
    pub(super) fn unknown_event(&mut self) {
        match self.state {
            State::Open(_) | State::Skipping => {}
            State::Idle | State::Orphans => self.state = State::Skipping,
        }
    }

    /// Takes the lines of variables at the start of `buffer`, as far as they are whole, may come and
    /// hold no secret: in one go, because they come by the dozen. Their octets, and the refusal of the
    /// block where the next one may not come. What follows is to be told line by line.
    pub(super) fn take(&mut self, buffer: &[u8], offset: u64) -> (usize, Option<Message>) {
        let State::Open(block) = &mut self.state else { return (0, None) };
        let (octets, admitted) = block.take(buffer);
        let refusal = admitted.err().and_then(|kind| self.reject(kind, offset + octets as u64));
        (octets, refusal)
    }

    /// A variable.
    pub(super) fn variable(&mut self, key: &[u8], value: &[u8], offset: u64) -> Option<Message> {
        match &mut self.state {
            State::Open(block) => match block.admit(key, value, &[]) {
                Ok(()) if key == PASSWORD => {
                    block.env.set_password(value.into());
                    None
                }
                Ok(()) => {
                    block.env.push(key, value);
                    None
                }
                Err(kind) => self.reject(kind, offset),
            },
            State::Orphans | State::Skipping => None,
            State::Idle => {
                self.state = State::Orphans;
                let kind = RejectKind::Malformed;
                Some(Message::Rejected(Rejected { kind, block: None, offset }))
            }
        }
    }

    /// `ENV,END`.
    pub(super) fn end(&mut self) -> Option<Message> {
        match std::mem::take(&mut self.state) {
            State::Open(block) => Some(block.finish()),
            State::Idle | State::Orphans | State::Skipping => None,
        }
    }

    /// Refuses the open block, if there is one, and skips the rest of it.
    pub(super) fn reject(&mut self, kind: RejectKind, offset: u64) -> Option<Message> {
        let State::Open(block) = &self.state else { return None };
        let block = Some(block.refused());
        self.state = State::Skipping;
        Some(Message::Rejected(Rejected { kind, block, offset }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::proto::ManagementCodec;

    /// What a block with these variables is refused for, and the offset of the line at fault, read in
    /// pieces of `step` bytes.
    fn refusal(names: &[String], step: usize) -> Option<(RejectKind, usize)> {
        let mut text = ">CLIENT:CONNECT,1,2\r\n".to_owned();
        names.iter().for_each(|name| text += &format!(">CLIENT:ENV,{name}=x\r\n"));
        text += ">CLIENT:ENV,END\r\n";
        let (mut codec, mut buffer, mut found) =
            (ManagementCodec::default(), BytesMut::new(), vec![]);
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(message) = codec.decode(&mut buffer).unwrap() {
                found.push(message);
            }
        }
        let [message] = found.as_slice() else { panic!("{found:?}") };
        let Message::Rejected(rejected) = message else { return None };
        assert_eq!(rejected.due(), Some((Cid(1), Kid(2))));
        Some((rejected.kind, usize::try_from(rejected.offset).unwrap()))
    }

    #[test]
    fn of_the_names_of_two_certificates_none_is_compared_with_another() {
        let (mut traits, names) = (0, ["id", "serial", "serial_hex", "digest", "digest_sha256"]);
        for depth in 0..2 {
            let of_tls = names.map(|name| format!("tls_{name}_{depth}"));
            let fields = ["C", "ST", "L", "O", "OU", "CN", "emailAddress"];
            let of_subject = fields.map(|field| format!("X509_{depth}_{field}"));
            for name in of_tls.iter().chain(&of_subject) {
                assert_eq!(traits & trait_of(name.as_bytes()), 0, "{name}");
                traits |= trait_of(name.as_bytes());
            }
        }
    }

    #[test]
    fn what_a_block_is_refused_for_does_not_depend_on_how_it_was_read() {
        let names = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>();
        let with = |count: usize, more: &[&str]| {
            [names(count), more.iter().map(|name| (*name).to_owned()).collect()].concat()
        };
        let full = MAX_VARIABLES - 1;
        assert_eq!(trait_of(b"tls_id_0"), trait_of(b"tls_ad_0"), "these two are compared");
        type Refused = Option<(RejectKind, &'static str)>;
        let table: [(Vec<String>, Refused); 9] = [
            (with(full, &["username", "password"]), None),
            (with(full, &["a", "username"]), Some((RejectKind::BlockTooLarge, "username"))),
            (with(full, &["a", "X509_0_CN"]), Some((RejectKind::BlockTooLarge, "X509_0_CN"))),
            (with(full, &["username", "username"]), Some((RejectKind::DuplicateKey, "username"))),
            (with(3, &["tls_id_0", "tls_id_1", "X509_0_CN"]), None),
            (with(3, &["tls_id_0", "tls_ad_0"]), None),
            (with(3, &["tls_", "X509_", "tls_"]), Some((RejectKind::DuplicateKey, "tls_"))),
            (
                with(3, &["tls_id_0", "password", "tls_id_0"]),
                Some((RejectKind::DuplicateKey, "tls_id_0")),
            ),
            (with(3, &["password", "a", "password"]), Some((RejectKind::DuplicateKey, "password"))),
        ];
        for (names, expected) in table {
            let lines = |names: &[String]| names.iter().map(|name| name.len() + 16).sum::<usize>();
            let expected = expected.map(|(kind, name)| {
                let at = names.iter().rposition(|known| known == name).unwrap();
                (kind, ">CLIENT:CONNECT,1,2\r\n".len() + lines(&names[..at]))
            });
            for step in [1, 7, 16, 1_000, usize::MAX] {
                assert_eq!(refusal(&names, step), expected, "{:?} {step}", names.last());
            }
        }
    }
}
