//! What becomes of blocks.

use ovpn_warden::{
    proto::{
        AuthEvent, AuthKind, Env, Message, RefusedBlock, RejectKind, Rejected,
        limits::{MAX_BLOCK_BYTES, MAX_VARIABLES},
    },
    types::{Cid, Kid, Password},
};

use super::{line::Head, refusal};

/// What OpenVPN says once in a block that asks for an answer, beside what it takes from the
/// certificate.
const ONCE: [&[u8]; 13] = [
    b"username",
    b"password",
    b"common_name",
    b"session_id",
    b"session_state",
    b"untrusted_ip",
    b"untrusted_ip6",
    b"untrusted_port",
    b"trusted_ip",
    b"trusted_ip6",
    b"trusted_port",
    b"ifconfig_pool_remote_ip",
    b"time_unix",
];

#[derive(Default)]
pub(super) enum Assembly {
    #[default]
    None,
    /// Variables without a head came.
    Orphans,
    /// What comes belongs to a block that was refused.
    Skipped,
    Open(Block),
}

pub(super) struct Block {
    event: Event,
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

enum Event {
    Auth(AuthKind, Cid, Kid),
    Established(Cid),
    Disconnect(Cid),
}

impl Assembly {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(super) fn begin(&mut self, head: Head<'_>, offset: u64) -> Option<Message> {
        let interrupted = self.refuse(RejectKind::InterruptedBlock, offset);
        let event = match head {
            Head::Connect(cid, kid) => Event::Auth(AuthKind::Connect, cid, kid),
            Head::Reauth(cid, kid) => Event::Auth(AuthKind::Reauth, cid, kid),
            Head::CrResponse(cid, kid, answer) => {
                Event::Auth(AuthKind::CrResponse(Password::from(answer)), cid, kid)
            }
            Head::Established(cid) => Event::Established(cid),
            Head::Disconnect(cid) => Event::Disconnect(cid),
        };
        *self = Self::Open(Block { event, variables: Vec::new() });
        interrupted
    }

    pub(super) fn variable(&mut self, name: &[u8], value: &[u8], offset: u64) -> Option<Message> {
        let block = match self {
            Self::Open(block) => block,
            Self::Orphans | Self::Skipped => return None,
            Self::None => {
                *self = Self::Orphans;
                return Some(refusal(RejectKind::Malformed, offset));
            }
        };
        if block.is_forged(name) {
            return self.refuse(RejectKind::DuplicateKey, offset);
        }
        let others = || block.variables.iter().filter(|(name, _)| name != b"password");
        let bytes: usize = others().map(|(name, value)| name.len() + value.len()).sum();
        let is_full =
            others().count() == MAX_VARIABLES || bytes + name.len() + value.len() > MAX_BLOCK_BYTES;
        if is_full && name != b"password" {
            return self.refuse(RejectKind::BlockTooLarge, offset);
        }
        block.variables.push((name.to_vec(), value.to_vec()));
        None
    }

    pub(super) fn end(&mut self) -> Option<Message> {
        match std::mem::take(self) {
            Self::Open(block) => Some(block.finish()),
            Self::None | Self::Orphans | Self::Skipped => None,
        }
    }

    /// The refusal of an open block, the rest of which is skipped.
    pub(super) fn refuse(&mut self, kind: RejectKind, offset: u64) -> Option<Message> {
        let Self::Open(block) = self else { return None };
        let block = Some(block.event.refused());
        *self = Self::Skipped;
        Some(Message::Rejected(Rejected { kind, block, offset }))
    }
}

impl Block {
    fn is_forged(&self, name: &[u8]) -> bool {
        let is_single =
            ONCE.contains(&name) || name.starts_with(b"tls_") || name.starts_with(b"X509_");
        matches!(self.event, Event::Auth(..))
            && is_single
            && self.variables.iter().any(|(known, _)| known == name)
    }

    fn finish(self) -> Message {
        let mut env = Env::default();
        for (name, value) in &self.variables {
            match name.as_slice() {
                b"password" => env.set_password(Password::from(value.as_slice())),
                name => env.push(name, value),
            }
        }
        match self.event {
            Event::Auth(kind, cid, kid) => Message::Auth(AuthEvent { kind, cid, kid, env }),
            Event::Established(cid) => Message::Established { cid, env },
            Event::Disconnect(cid) => Message::Disconnect { cid, env },
        }
    }
}

impl Event {
    /// The block, once it is refused.
    const fn refused(&self) -> RefusedBlock {
        match self {
            Self::Auth(AuthKind::CrResponse(_), cid, kid) => RefusedBlock::Response(*cid, *kid),
            Self::Auth(AuthKind::Connect | AuthKind::Reauth, cid, kid) => {
                RefusedBlock::Login(*cid, *kid)
            }
            Self::Established(cid) | Self::Disconnect(cid) => RefusedBlock::Notice(*cid),
        }
    }
}
