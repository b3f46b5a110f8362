//! What becomes of blocks.

use ovpn_warden::{
    proto::{
        AuthEvent, AuthKind, Env, Message, RefusedBlock, RejectKind, Rejected,
        limits::{MAX_BLOCK_BYTES, MAX_VARIABLES},
    },
    types::Password,
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
    refused: RefusedBlock,
    /// Empty of variables.
    message: Message,
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Assembly {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(super) fn begin(&mut self, head: Head<'_>, offset: u64) -> Option<Message> {
        let interrupted = self.refuse(RejectKind::InterruptedBlock, offset);
        let auth = |kind, cid, kid| {
            Message::Auth(Box::new(AuthEvent { kind, cid, kid, env: Env::default() }))
        };
        let (refused, message) = match head {
            Head::Connect(cid, kid) => {
                (RefusedBlock::Login(cid, kid), auth(AuthKind::Connect, cid, kid))
            }
            Head::Reauth(cid, kid) => {
                (RefusedBlock::Login(cid, kid), auth(AuthKind::Reauth, cid, kid))
            }
            Head::CrResponse(cid, kid, answer) => {
                let kind = AuthKind::CrResponse(Password::from(answer));
                (RefusedBlock::Response(cid, kid), auth(kind, cid, kid))
            }
            Head::Established(cid) => {
                let env = Env::default();
                (RefusedBlock::Notice(cid), Message::Established { cid, env })
            }
            Head::Disconnect(cid) => {
                let env = Env::default();
                (RefusedBlock::Notice(cid), Message::Disconnect { cid, env })
            }
        };
        *self = Self::Open(Block { refused, message, variables: Vec::new() });
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
        let block = Some(block.refused);
        *self = Self::Skipped;
        Some(Message::Rejected(Rejected { kind, block, offset }))
    }
}

impl Block {
    fn is_forged(&self, name: &[u8]) -> bool {
        let is_single =
            ONCE.contains(&name) || name.starts_with(b"tls_") || name.starts_with(b"X509_");
        matches!(self.message, Message::Auth(_))
            && is_single
            && self.variables.iter().any(|(known, _)| known == name)
    }

    fn finish(self) -> Message {
        let mut filled = Env::default();
        for (name, value) in &self.variables {
            match name.as_slice() {
                b"password" => filled.set_password(Password::from(value.as_slice())),
                name => filled.push(name, value),
            }
        }
        match self.message {
            Message::Auth(mut event) => {
                event.env = filled;
                Message::Auth(event)
            }
            Message::Established { cid, .. } => Message::Established { cid, env: filled },
            Message::Disconnect { cid, .. } => Message::Disconnect { cid, env: filled },
            other => other,
        }
    }
}
