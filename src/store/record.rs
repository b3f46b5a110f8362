//! Rows as the rest of the program sees them.

use super::{
    client_config::ClientConfig,
    error::StoreError,
    usage::{DayMarks, DayShare},
};
use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use crate::types::{
    Cause, Cid, DeviceId, DeviceKind, ExpiryAction, Fingerprint, Hours, Password, Quotas,
    ServerName, SessionId, ShortText, Timestamp, Username, Zone, words,
};

/// Who made a change, for `admin_audit`, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// As `cli:root`; at most 128 bytes.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// A row of `users`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Primary key.
    pub id: i64,
    /// Login name, compared byte by byte.
    pub name: Username,
    /// PHC string or another known scheme; `None`: nobody can log in with a password.
    pub password_hash: Option<String>,
    /// Name of the policy; `default` where the column is NULL.
    pub policy: String,
    /// Switched on.
    pub enabled: bool,
    /// First moment of validity.
    pub valid_from: Option<Timestamp>,
    /// Last moment of validity.
    pub valid_until: Option<Timestamp>,
    /// When the password was last set; session tokens of before are void. `None`: not known.
    pub password_changed_at: Option<Timestamp>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A user to add.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Login name.
    pub name: Username,
    /// PHC string.
    pub password_hash: Option<String>,
    /// Name of an existing policy; `None`: `default`.
    pub policy: Option<String>,
    /// First moment of validity.
    pub valid_from: Option<Timestamp>,
    /// Last moment of validity.
    pub valid_until: Option<Timestamp>,
}

/// Changes to a user; `None` leaves a value as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// New hash.
    pub password_hash: Option<String>,
    /// New policy.
    pub policy: Option<String>,
    /// On or off.
    pub enabled: Option<bool>,
    /// New first moment; `Some(None)` removes it.
    pub valid_from: Option<Option<Timestamp>>,
    /// New last moment; `Some(None)` removes it.
    pub valid_until: Option<Option<Timestamp>>,
}

/// All policies, and those that cannot be read, with why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// By name.
    pub policies: Vec<PolicyRecord>,
    /// By name.
    pub unreadable: Vec<(String, StoreError)>,
}

/// A change to a policy as it stands when it is made.
#[derive(Clone, Copy)]
pub struct PolicyChange<'a> {
    /// Changes what is to be changed; may be asked more than once.
    pub apply: &'a (dyn Fn(&mut PolicyRecord) + Send + Sync),
    /// It replaces the hours whatever they were, so that they need not be read.
    pub sets_hours: bool,
}

/// A row of `policies`: named limits. `None` leaves the configuration's value in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyRecord {
    /// Its name, 1 to 64 of `[A-Za-z0-9._-]`; `default` always exists.
    pub name: String,
    /// Longest session in seconds; 0: none.
    pub session_limit_s: Option<u32>,
    /// What a client is told at the end.
    pub expiry_action: Option<ExpiryAction>,
    /// How devices are judged.
    pub device_mode: Option<DeviceMode>,
    /// Devices that may be registered or recorded by themselves, all in all.
    pub max_devices: Option<u32>,
    /// Sessions at once, on all servers together; 0 and `None`: any number.
    pub max_sessions: Option<u32>,
    /// What happens to one more.
    pub on_limit: Option<OnLimit>,
    /// For how long a user whose time was over stays out, in seconds.
    pub cooldown_s: Option<u32>,
    /// By whose clocks hours and quotas count.
    pub time_zone: Option<Zone>,
    /// When its users may be connected.
    pub hours: Hours,
    /// For how long, in seconds.
    pub time_quota: Quotas,
    /// How much their sessions may carry both ways, in bytes.
    pub data_quota: Quotas,
    /// A session ends that carries less than `idle_bytes` in so many seconds; 0: none does.
    pub idle_s: Option<u32>,
    /// What a session has to carry in `idle_s`, in bytes both ways.
    pub idle_bytes: Option<u64>,
    /// Whether the certificate's fingerprint has to be registered, too.
    pub require_fingerprint: Option<bool>,
    /// Whether a second factor is asked for.
    pub second_factor: Option<SecondFactorMode>,
    /// For how many days sessions are kept after their end; 0: for ever.
    pub retention_days: Option<u32>,
}

impl PolicyRecord {
    /// Whether what a user has used counts.
    pub fn has_quotas(&self) -> bool {
        !self.time_quota.is_empty() || !self.data_quota.is_empty()
    }
}

words! {
    /// Whether a login needs a second factor.
    SecondFactorMode {
        /// Never.
        Off = "off",
        /// Of users who have one.
        Optional = "optional",
        /// Of everybody; who has none is refused.
        Required = "required",
    }
}

words! {
    /// What happens to a session that is one too many.
    OnLimit {
        /// It is refused.
        Deny = "deny",
        /// The oldest is ended.
        ReplaceOldest = "replace_oldest",
        /// Those of the same device are ended; without one, it is refused.
        ReplaceSameDevice = "replace_same_device",
    }
}

words! {
    /// How device identities are judged: `device_mode`.
    DeviceMode {
        /// Not at all.
        Off = "off",
        /// Judged and logged, never refused.
        Log = "log",
        /// The first device of a user is registered by itself.
        Learn = "learn",
        /// An unknown device is recorded and waits for approval.
        Approve = "approve",
        /// Only registered devices.
        Enforce = "enforce",
    }
}

words! {
    /// Standing of a device.
    DeviceStatus {
        /// May connect.
        Approved = "approved",
        /// Waits for approval.
        Pending = "pending",
        /// May not connect.
        Blocked = "blocked",
    }
}

/// A row of `devices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its owner.
    pub user: Username,
    /// What kind of identity.
    pub kind: DeviceKind,
    /// The identity, normalised.
    pub identifier: String,
    /// A person's name for it.
    pub label: Option<String>,
    /// Its standing.
    pub status: DeviceStatus,
    /// Last moment at which it may connect.
    pub valid_until: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A device to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its owner.
    pub user: Username,
    /// The identity.
    pub id: DeviceId,
    /// A person's name for it, at most 128 characters.
    pub label: Option<String>,
    /// Its standing.
    pub status: DeviceStatus,
    /// Last moment at which it may connect.
    pub valid_until: Option<Timestamp>,
}

/// What one login decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The user.
    pub user: UserRecord,
    /// The user's policy.
    pub policy: PolicyRecord,
    /// The standing of the presented device, if the user has it.
    pub device: Option<DeviceStatus>,
    /// The standing of the presented certificate's fingerprint, if the user has it.
    pub certificate: Option<DeviceStatus>,
    /// Last moment at which either may connect.
    pub ends: DeviceEnds,
    /// How many devices the user has of the presented one's kind, whatever their standing: certificates count
    /// apart from all others.
    pub devices: u32,
    /// Until when the next unknown device is registered by itself.
    pub enrolment_until: Option<Timestamp>,
    /// When a session of the user last ended because its time was over, within
    /// [`super::MAX_COOLDOWN`]; of one that is being ended, when it was last seen.
    pub expired_at: Option<Timestamp>,
    /// The second factor, if the user has one.
    pub second_factor: Option<SecondFactor>,
    /// What OpenVPN is told about the client.
    pub config: ClientConfig,
}

/// Last moments of a device and of the certificate beside it; `None`: they have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceEnds {
    /// Of the device.
    pub device: Option<Timestamp>,
    /// Of the certificate.
    pub certificate: Option<Timestamp>,
}

/// What a user's one-time codes are checked against: a row of `second_factors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// The key of the codes (RFC 6238), in base32.
    pub secret: Password,
    /// The time step of the last code that was taken; `None`: none was.
    pub last_step: Option<u64>,
    /// When it was set up.
    pub enrolled_at: Timestamp,
}

/// What operators may know of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondFactorStatus {
    /// When it was set up.
    pub enrolled_at: Timestamp,
    /// The time step of the last code that was taken; `None`: none was.
    pub last_step: Option<u64>,
    /// Recovery codes that are left.
    pub recovery_codes: u32,
}

/// A second factor to set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecondFactor {
    /// The key of the codes (RFC 6238), in base32.
    pub secret: Password,
    /// Digests of the recovery codes, 64 hexadecimal digits each.
    pub recovery_codes: Vec<String>,
    /// In place of one that is there; otherwise [`StoreError::Exists`].
    pub replace: bool,
}

/// Under what a device is registered that its user has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrolmentTerms {
    /// How many devices the user had when it was decided.
    pub known: u32,
    /// An open enrolment lets it in, and no rule else.
    pub by_window: bool,
}

/// On what a user was connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUse {
    /// The user.
    pub user: Username,
    /// The device, as it is in the sessions; `None` where none was sent, or none that can be used.
    pub device: Option<String>,
    /// Its standing now, if the user has it.
    pub registered: Option<DeviceStatus>,
    /// How many sessions.
    pub sessions: u64,
    /// When the last of them began.
    pub last: Timestamp,
}

/// What a session that runs is judged by again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The session.
    pub session: SessionId,
    /// On which server.
    pub server: ServerName,
    /// Whose it is.
    pub user: Username,
    /// When it began.
    pub started_at: Timestamp,
    /// When it is ended, as far as is stored.
    pub deadline: Option<Timestamp>,
    /// The account, if it is still there.
    pub account: Option<Account>,
    /// The standing of the session's certificate, in the same way as that of its device.
    pub certificate: Option<Option<DeviceStatus>>,
    /// The standing of the session's device: `None`, it has none; `Some(None)`, it is not
    /// registered any more.
    pub device: Option<Option<DeviceStatus>>,
    /// Last moment at which either may connect.
    pub ends: DeviceEnds,
}

/// What a running session needs to know of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Switched on.
    pub enabled: bool,
    /// First moment of validity.
    pub valid_from: Option<Timestamp>,
    /// Last moment of validity.
    pub valid_until: Option<Timestamp>,
    /// The policy.
    pub policy: PolicyRecord,
}

words! {
    /// Where a session is in its life.
    SessionState {
        /// Approved, not yet up.
        Pending = "pending",
        /// Up.
        Active = "active",
        /// Being ended by us.
        Closing = "closing",
        /// Ended; nothing changes any more.
        Closed = "closed",
    }
}

/// A row of `sessions`, whole. Only the daemon that holds the link writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Primary key.
    pub id: SessionId,
    /// Grows with every change; a lower one never overwrites a higher one.
    pub version: u32,
    /// Where it is in its life.
    pub state: SessionState,
    /// The server.
    pub server: ServerName,
    /// When the server's run began, to the second; names the run in which `cid` counts.
    pub run_started: Timestamp,
    /// The client id in that run.
    pub cid: Cid,
    /// Who.
    pub user: Username,
    /// From the certificate, at most 255 bytes.
    pub common_name: Option<ShortText>,
    /// The device that was accepted.
    pub device: Option<DeviceId>,
    /// The fingerprint of the client's certificate.
    pub certificate: Option<Box<Fingerprint>>,
    /// Where the client connects from.
    pub client_ip: Option<IpAddr>,
    /// Its port.
    pub client_port: Option<u16>,
    /// Address in the tunnel, at most 45 bytes.
    pub vpn_ip: Option<ShortText>,
    /// `IV_VER`, at most 64 bytes.
    pub client_version: Option<ShortText>,
    /// `IV_PLAT`, at most 64 bytes.
    pub client_platform: Option<ShortText>,
    /// When it was approved.
    pub started_at: Timestamp,
    /// When it was last seen alive (or ended).
    pub updated_at: Timestamp,
    /// When it has to end; `None`: no limit.
    pub deadline: Option<Timestamp>,
    /// What sets that end.
    pub deadline_reason: Option<Cause>,
    /// What the client is told then.
    pub expiry_action: ExpiryAction,
    /// When the end was announced, if that is near.
    pub warned_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended; while closing, why it is being ended.
    pub cause: Option<Cause>,
    /// Octets from the client.
    pub bytes_received: u64,
    /// Octets to the client.
    pub bytes_sent: u64,
    /// The counters at each midnight since it began.
    pub day_marks: DayMarks,
    /// After how many seconds OpenVPN ends it by itself (`session-timeout`); `None`: it was not told to.
    pub session_timeout_s: Option<NonZeroU32>,
}

impl SessionRecord {
    /// Seconds from the start to the end, or to the last sign of life.
    pub fn duration_s(&self) -> u64 {
        self.until().saturating_since(self.started_at).as_secs()
    }

    /// When it ended, or was last seen.
    pub fn until(&self) -> Timestamp {
        self.ended_at.unwrap_or(self.updated_at)
    }

    /// When OpenVPN ends it by itself.
    pub fn backstop(&self) -> Option<Timestamp> {
        let after = |seconds: NonZeroU32| Duration::from_secs(seconds.get().into());
        self.session_timeout_s.map(|seconds| self.started_at.saturating_add(after(seconds)))
    }

    /// What it carried on each day.
    pub fn shares(&self) -> Vec<DayShare> {
        let (received, sent) = (self.bytes_received, self.bytes_sent);
        self.day_marks.shares(self.started_at, self.until(), received, sent)
    }
}

/// Requests by operators that no daemon has handled.
#[derive(Debug, Default)]
pub struct PendingCommands {
    /// Those that can be read, oldest first.
    pub commands: Vec<SessionCommand>,
    /// Others, for which server, and why they cannot: [`StoreError::Corrupt`].
    pub unreadable: Vec<(CommandId, ServerName, StoreError)>,
}

/// Which sessions to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFilter {
    /// Of this user.
    pub user: Option<Username>,
    /// On this server.
    pub server: Option<ServerName>,
    /// Of this device, normalised.
    pub device: Option<String>,
    /// That ended for this cause.
    pub cause: Option<Cause>,
    /// Started at or after.
    pub since: Option<Timestamp>,
    /// Started before.
    pub until: Option<Timestamp>,
    /// Ended ones too; otherwise only open ones.
    pub ended: bool,
    /// At most so many; at most 10,000.
    pub limit: u32,
}

/// When a session was up and what it carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpan {
    /// Primary key.
    pub id: SessionId,
    /// Who.
    pub user: Username,
    /// When it was approved.
    pub started_at: Timestamp,
    /// When it ended; while it is open, when it was last seen alive.
    pub until: Timestamp,
    /// Whether it has not ended.
    pub is_open: bool,
    /// Octets from the client.
    pub bytes_received: u64,
    /// Octets to the client.
    pub bytes_sent: u64,
}

/// Where a page of spans begins: first come short sessions, then long ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanCursor {
    /// Sessions of less than a day, after this start and id.
    Short {
        /// `None`: from the first on.
        after: Option<(Timestamp, SessionId)>,
    },
    /// Sessions of a day or more, after this length in seconds and id.
    Long {
        /// `None`: from the first on.
        after: Option<(u64, SessionId)>,
    },
}

impl Default for SpanCursor {
    fn default() -> Self {
        Self::Short { after: None }
    }
}

/// A page of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanPage {
    /// In no particular order.
    pub spans: Vec<SessionSpan>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<SpanCursor>,
}

/// Primary key of a row of `session_commands`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub i64);

/// What an operator wants of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandAction {
    /// End it now; the text is shown to the client (at most 200 bytes).
    Kill {
        /// Shown to the client.
        reason: Option<String>,
    },
    /// End it for a newer one of its user.
    Replace,
    /// Move its deadline to this moment.
    Extend {
        /// The new deadline.
        deadline: Timestamp,
    },
}

/// A row of `session_commands`: an operator's request, handled by the daemon that holds the
/// session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCommand {
    /// Primary key.
    pub id: CommandId,
    /// The session.
    pub session: SessionId,
    /// Its server.
    pub server: ServerName,
    /// Whose it is, where that is known.
    pub user: Option<Username>,
    /// What to do.
    pub action: CommandAction,
    /// Who asks.
    pub actor: String,
}
