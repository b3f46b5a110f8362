//! What a login takes before it is answered: a place, and a code.

use super::record::OnLimit;
use crate::types::{DeviceId, Password, ServerName, SessionId, Username};

/// A place among a user's sessions, to be taken before a login is answered.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The session to be, or one that has its place already and keeps it.
    pub session: SessionId,
    /// On which server.
    pub server: &'a ServerName,
    /// Whose.
    pub user: &'a Username,
    /// On which device.
    pub device: Option<&'a DeviceId>,
    /// Sessions at once.
    pub max: u32,
    /// What happens when there are as many.
    pub on_limit: OnLimit,
    /// The code that is used up with it.
    pub code: Option<&'a UsedCode>,
}

/// A code of a second factor that a login uses up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsedCode {
    /// A one-time code.
    Step {
        /// The key that it was made with.
        secret: Password,
        /// Its time step.
        step: u64,
    },
    /// A recovery code, by its digest.
    Recovery(String),
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is taken, and the code with it.
    Taken,
    /// It was this session's before; the code is used up.
    Own,
    /// There is none; the code was not used up.
    Full,
    /// The code was used before; nothing has changed.
    CodeUsed,
}
