//! `>CLIENT:` blocks: a head, its variables, END.
//!
//! A block that cannot be trusted is refused once and skipped to its end. What is not part of a
//! block never ends it: OpenVPN writes other notifications in between.

use crate::types::{Cid, Kid};

use super::{
    Env,
    grammar::Head,
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

/// Whether OpenVPN takes a variable of this name from the certificate, once each.
fn is_of_certificate(key: &[u8]) -> bool {
    key.starts_with(b"tls_") || key.starts_with(b"X509_")
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
    Open(Box<Block>),
}

#[derive(Debug)]
struct Block {
    head: OwnedHead,
    env: Env,
    /// The bits of [`identity`] that have come.
    seen: u16,
    /// Index of the first variable of the certificate: none before it can be one.
    certificate: Option<usize>,
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

    /// Whether this variable may not come, because it has come already.
    fn is_forged(&mut self, key: &[u8]) -> bool {
        if !matches!(self.head, OwnedHead::Auth(..)) {
            return false;
        }
        if let Some(bit) = identity(key) {
            let seen = self.seen & bit != 0;
            self.seen |= bit;
            return seen;
        }
        if !is_of_certificate(key) {
            return false;
        }
        let first = *self.certificate.get_or_insert(self.env.len());
        self.env.has_since(first, key)
    }

    fn finish(self) -> Message {
        match self.head {
            OwnedHead::Auth(kind, cid, kid) => {
                Message::Auth(Box::new(AuthEvent { kind, cid, kid, env: self.env }))
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
        let block = Block { head, env, seen: 0, certificate: None };
        self.state = State::Open(Box::new(block));
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

    /// A variable.
    pub(super) fn variable(&mut self, key: &[u8], value: &[u8], offset: u64) -> Option<Message> {
        let block = match &mut self.state {
            State::Open(block) => block,
            State::Orphans | State::Skipping => return None,
            State::Idle => {
                self.state = State::Orphans;
                let kind = RejectKind::Malformed;
                return Some(Message::Rejected(Rejected { kind, block: None, offset }));
            }
        };
        if block.is_forged(key) {
            return self.reject(RejectKind::DuplicateKey, offset);
        }
        if key == b"password" {
            block.env.set_password(value.into());
            return None;
        }
        let is_full = block.env.len() >= MAX_VARIABLES
            || block.env.byte_len() + key.len() + value.len() > MAX_BLOCK_BYTES;
        if is_full {
            return self.reject(RejectKind::BlockTooLarge, offset);
        }
        block.env.push(key, value);
        None
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
