//! What the database holds, and the one trait through which everything else reaches it.
//!
//! Records and the trait are plain; all SQL lives in `mysql/` and `sqlite/`, and both pass one
//! contract suite. `now` is always an argument: SQL never asks the database for the time.

mod activity;
mod approvals;
mod claim;
mod client_config;
mod error;
mod failure;
mod foreign;
mod hand_over;
mod journal;
mod mysql;
mod open;
mod open_session;
mod plan;
mod record;
mod sql;
mod sqlite;
mod url;
mod usage;
mod watch;

use std::net::IpAddr;

use async_trait::async_trait;

use crate::types::{DeviceId, Fingerprint, Periods, ServerName, SessionId, Timestamp, Username};

pub use activity::{ActivityKey, ActivityKind, AuditRecord, Change, HourSum};
pub use approvals::{Approvals, Left};
pub use claim::{Claim, Place, UsedCode};
pub use client_config::{ClientConfig, ConfigOwner, MAX_CLIENT_LINES, NewLine, StoredLine};
pub use error::StoreError;
pub use failure::{AuthEvent, AuthEventKind, Lockout, NewAuthEvent};
pub use foreign::{ForeignRow, ForeignTable, ImportNote, Imported, ImportedUser};
pub use hand_over::{HandedOver, extended, hand_over};
pub use journal::Journal;
pub use open::{Location, Options, Secrets, location, open, open_to_look, secrets};
pub use open_session::{EndedCursor, EndedSession, OpenSession, OpenSessions, ServerRecord};
#[doc(hidden)]
pub use plan::hot_queries;
pub use record::{
    Account, Actor, CommandAction, CommandId, DeviceEnds, DeviceMode, DeviceRecord, DeviceStatus,
    DeviceUse, EnrolmentTerms, Facts, NewDevice, NewSecondFactor, NewUser, OnLimit,
    PendingCommands, Policies, PolicyChange, PolicyRecord, SecondFactor, SecondFactorMode,
    SecondFactorStatus, SessionCommand, SessionFilter, SessionRecord, SessionSpan, SessionState,
    SpanCursor, SpanPage, Standing, UserPatch, UserRecord,
};

pub use watch::Watch;

pub use usage::{
    DayMark, DayMarks, DayMarksError, DayShare, GrantRecord, Granted, OpenUse, QuotaGrant, Usage,
};

/// Longest cool-down that counts.
pub const MAX_COOLDOWN: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Most users of one call of [`Store::usage`].
pub const USERS_OF_USAGE: usize = 100;

/// Most sessions at once that a policy can allow and limit.
pub const MAX_SESSIONS: u32 = 1_000;

/// What changes leave behind, only to be compared with what was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traces {
    /// Of each of a database's files: its number, its size, and when it was written last, in nanoseconds. They change
    /// with whatever is written; two changes within one tick of the system's clock may look like one.
    Files([(u64, u64, i64); 2]),
    /// What a database server tells of all that it is asked for by the clock ([`Store::pulse`]).
    Told(String),
}

/// When the tables were written last by which the sessions that run are judged, in the words of the database; not the
/// same after whatever changed there, but only to be compared. Two changes within a second may look like one, and one
/// that took effect after it was seen may look as if it had been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactTrace(pub String);

/// The state of a database's schema against what this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Just what this build needs.
    Current,
    /// There is none yet: the database is empty.
    Missing,
    /// Older: this many migrations are to be applied.
    Behind(usize),
    /// Newer: made by a later version of the program, with this as its last migration.
    Ahead(i64),
    /// A migration failed half way, or was changed after it was applied; its number.
    Broken(i64),
}

/// What a migration run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Number and name of each migration, in order.
    pub applied: Vec<(i64, String)>,
}

/// A database of users, devices, policies and sessions.
///
/// Every call is one or few bounded statements and fails with a typed [`StoreError`]; a missing
/// row is `None` or [`StoreError::NotFound`]. Changes by a person carry an [`Actor`] and are
/// written to `admin_audit` in the same transaction.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// What the database leaves behind of each change, if that can be seen without asking it.
    fn traces(&self) -> Option<Traces>;

    /// Tells when [`Self::traces`] may be others from now on, so that nobody has to look; `None` where nothing can tell.
    /// `kept` is one of before, which is set anew.
    fn watch(&self, kept: Option<Watch>) -> Option<Watch>;

    /// What the database tells of changes to users, devices and policies by others than this store; `None` where it tells
    /// nothing that can be relied on: operators' own tables, servers that keep no such times, an SQLite file that this store is
    /// writing to.
    async fn fact_trace(&self) -> Result<Option<FactTrace>, StoreError>;

    /// The same of all that a daemon asks for by the clock, in one round trip: also of operators' requests and changes, and of
    /// failed logins; not of sessions, which daemons write all the time. `None` where it tells nothing that can be relied on,
    /// and where [`Self::traces`] tell it.
    async fn pulse(&self) -> Result<Option<Traces>, StoreError>;

    /// Compares the schema with what this build knows.
    async fn schema(&self) -> Result<Schema, StoreError>;

    /// Brings the schema up to date, or with `dry_run` only says what it would do.
    async fn migrate(&self, dry_run: bool) -> Result<Migrated, StoreError>;

    /// Closes all connections; waits for those in use.
    async fn close(&self);

    /// Everything that a login decision needs, in one round trip: the user, its policy (or the
    /// policy `default`), and the presented device and certificate if they are registered for that user.
    /// `None`: no such user.
    async fn facts(
        &self,
        user: &Username,
        device: Option<&DeviceId>,
        certificate: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<Option<Facts>, StoreError>;

    /// Registers a device that its user brought by himself; its standing, which is another than
    /// wanted when the device was registered meanwhile. `None` when the terms hold no longer:
    /// to be decided anew. An open enrolment is over with it.
    async fn enrol_device(
        &self,
        device: &NewDevice,
        terms: EnrolmentTerms,
        by: &Actor,
    ) -> Result<Option<DeviceStatus>, StoreError>;

    /// Lets the next unknown device of a user be registered by itself until then; `None` ends that.
    async fn open_enrolment(
        &self,
        user: &Username,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Until when the next unknown device of a user is registered by itself; `None`: it is not.
    async fn enrolment(
        &self,
        user: &Username,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Uses a code up: the time step of a one-time code, if it is later than the last one that was taken and
    /// the key is still this one (compare and swap), or a recovery code, if it is there. False when not: of two
    /// daemons one succeeds.
    async fn take_code(&self, user: i64, code: &UsedCode) -> Result<bool, StoreError>;

    /// Whether a user has this recovery code, by its digest.
    async fn has_recovery_code(&self, user: i64, digest: &str) -> Result<bool, StoreError>;

    /// Takes a place among a user's sessions, and uses a code up with it, in one transaction over all
    /// daemons. Sessions that have to make room are asked to end, as by an operator.
    async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<Place, StoreError>;

    /// Gives a place back of whose login nothing came. Nothing happens to one that is not there.
    async fn forget_claim(&self, session: SessionId) -> Result<(), StoreError>;

    /// Whether [`Self::claim`] would say yes; changes nothing.
    async fn has_place(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError>;

    /// What these users have used in the periods that began then, one for each in order. What was granted
    /// counts until its end. `Refused` for more than [`USERS_OF_USAGE`].
    async fn usage(
        &self,
        users: &[(Username, Periods)],
        now: Timestamp,
    ) -> Result<Vec<Usage>, StoreError>;

    /// Puts days before `before` together, for each user into one, at most `limit` rows (at most
    /// 10,000) in one transaction; how many.
    async fn fold_usage(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Grants time or data beside the quotas. `NotFound` without the user.
    async fn grant_quota(&self, grant: &QuotaGrant, by: &Actor) -> Result<(), StoreError>;

    /// What is granted to a user, at most 1,000, what ends first first.
    async fn grants(&self, user: &Username, now: Timestamp)
    -> Result<Vec<GrantRecord>, StoreError>;

    /// Takes a grant back. `NotFound` when the user has none of that number.
    async fn revoke_grant(&self, user: &Username, id: i64, by: &Actor) -> Result<(), StoreError>;

    /// Writes what happened to logins, signed by this process.
    async fn add_auth_events(
        &self,
        events: &[NewAuthEvent],
        origin: &str,
    ) -> Result<(), StoreError>;

    /// What others than `origin` have written since then, oldest first; of more than 10,000 the
    /// newest.
    async fn auth_events(
        &self,
        since: Timestamp,
        origin: &str,
    ) -> Result<Vec<AuthEvent>, StoreError>;

    /// Removes events of before `before`, oldest first, at most `limit` (at most 10,000); how many. Lockouts
    /// that are over go with them.
    async fn remove_auth_events(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Notes who is held back; one that is noted already is replaced.
    async fn add_lockouts(&self, lockouts: &[Lockout]) -> Result<(), StoreError>;

    /// Who is held back, at most 10,000, the longest first.
    async fn lockouts(&self, now: Timestamp) -> Result<Vec<Lockout>, StoreError>;

    /// Forgets the failures of a user, at an address, or of the user there; daemons hear of it. How
    /// many lockouts there were.
    async fn clear_lockouts(
        &self,
        user: Option<&Username>,
        network: Option<IpAddr>,
        by: &Actor,
    ) -> Result<u64, StoreError>;

    /// Replaces a password hash if it is still `old` (compare and swap); false when it is not.
    async fn upgrade_hash(
        &self,
        user: &Username,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Writes sessions whole, in one statement for many: a row is inserted, or replaced when
    /// `version` is higher than the stored one. Repeating a call changes nothing.
    async fn persist(&self, sessions: &[SessionRecord]) -> Result<(), StoreError>;

    /// Notes servers as they are; of a run that is noted already, `seen_at` never goes back. All rows of
    /// sessions that have changed until then have to be written before.
    async fn mark_servers(&self, servers: &[ServerRecord]) -> Result<(), StoreError>;

    /// Every session of a server that has not ended, with the zones of their users and the server's own
    /// row. A row that cannot be read does not hide the others.
    async fn open_sessions(&self, server: &ServerName) -> Result<OpenSessions, StoreError>;

    /// What each session of these servers that runs is judged by, in one round trip for up to 32
    /// servers. A session whose rows cannot be read is left out.
    async fn standings(&self, servers: &[ServerName]) -> Result<Vec<Standing>, StoreError>;

    /// The same, made for many sessions: policies are read once, after the sessions, so that those are known
    /// that somebody was given meanwhile.
    async fn many_standings(&self, servers: &[ServerName]) -> Result<Vec<Standing>, StoreError>;

    /// The same of all sessions of these users, on whatever server; at most 1,000 users.
    async fn standings_of(&self, users: &[Username]) -> Result<Vec<Standing>, StoreError>;

    /// What people have changed after the change `after`, oldest first, at most 1,000; without `after` only
    /// the last change. Numbers grow, but one of a longer transaction may come after a higher one.
    async fn changes(&self, after: Option<i64>) -> Result<Vec<Change>, StoreError>;

    /// Requests by operators for sessions of these servers that no daemon has handled, oldest
    /// first, at most 1,000. A row that cannot be read does not hide the others.
    async fn pending_commands(&self, servers: &[ServerName])
    -> Result<PendingCommands, StoreError>;

    /// Marks requests as handled.
    async fn complete_commands(&self, ids: &[CommandId], now: Timestamp) -> Result<(), StoreError>;

    /// Adds a user. [`StoreError::Exists`] when there is one of that name, `NotFound` when its
    /// policy is not there.
    async fn add_user(&self, user: &NewUser, by: &Actor) -> Result<(), StoreError>;

    /// A table of another program in this database, all of it: at most [`ForeignTable::MOST`] rows.
    async fn foreign(&self, table: ForeignTable) -> Result<Vec<ForeignRow>, StoreError>;

    /// Adds many users with their devices, all or none; who exists already stays as he is. `NotFound`
    /// when a policy is not there. `progress` is told how many are done; it counts anew when the
    /// transaction is run again.
    async fn import_users(
        &self,
        users: &[ImportedUser],
        note: ImportNote<'_>,
        by: &Actor,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Imported, StoreError>;

    /// One user.
    async fn user(&self, name: &Username) -> Result<Option<UserRecord>, StoreError>;

    /// All users by name, in pages: those after `after`, at most `limit`.
    async fn users(
        &self,
        after: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError>;

    /// The stored password hash of each user, by number, in pages: of those after `after`, at most `limit` (at most
    /// 10,000). A row that cannot be read does not hide the others.
    async fn password_hashes(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Result<Option<String>, StoreError>)>, StoreError>;

    /// Tables with rows of users that are not there, and how many: an operator's own table of users takes
    /// nothing with it, and who gets such an id later would have them.
    async fn nobodys_rows(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// Changes a user. [`StoreError::NotFound`] when there is none.
    async fn patch_user(
        &self,
        name: &Username,
        patch: &UserPatch,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Removes a user and its devices; its past sessions stay.
    async fn remove_user(&self, name: &Username, by: &Actor) -> Result<(), StoreError>;

    /// Sets up a user's second factor, with its recovery codes.
    async fn put_second_factor(
        &self,
        user: &Username,
        factor: &NewSecondFactor,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Gives a user new recovery codes, by their digests, in place of those that are left.
    /// `NotFound` without a second factor.
    async fn put_recovery_codes(
        &self,
        user: &Username,
        digests: &[String],
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Takes a user's second factor away, and the recovery codes. `NotFound` when there is none.
    async fn remove_second_factor(&self, user: &Username, by: &Actor) -> Result<(), StoreError>;

    /// What operators may know of a user's second factor; `None`: there is none, or no such user.
    async fn second_factor(
        &self,
        user: &Username,
    ) -> Result<Option<SecondFactorStatus>, StoreError>;

    /// Registers a device. `NotFound` without the user, `Exists` when the user has it already.
    async fn add_device(&self, device: &NewDevice, by: &Actor) -> Result<(), StoreError>;

    /// Devices of a user, or of all users, by user and age, at most `limit`.
    async fn devices(
        &self,
        user: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<DeviceRecord>, StoreError>;

    /// Approves or blocks a device.
    async fn set_device_status(
        &self,
        user: &Username,
        device: &DeviceId,
        status: DeviceStatus,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Sets the last moment at which a device may connect; `None` takes it away.
    async fn set_device_end(
        &self,
        user: &Username,
        device: &DeviceId,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Removes a device.
    async fn remove_device(
        &self,
        user: &Username,
        device: &DeviceId,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Adds a policy, or with `replace` puts it in the place of the one that is there.
    async fn put_policy(
        &self,
        policy: &PolicyRecord,
        replace: bool,
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Changes a policy as it stands, in one transaction: what somebody else changes at the same time stays.
    /// Returns what became of it.
    async fn change_policy(
        &self,
        name: &str,
        change: PolicyChange<'_>,
        by: &Actor,
    ) -> Result<PolicyRecord, StoreError>;

    /// One policy.
    async fn policy(&self, name: &str) -> Result<Option<PolicyRecord>, StoreError>;

    /// All policies by name. One that cannot be read does not hide the others.
    async fn policies(&self) -> Result<Policies, StoreError>;

    /// Removes a policy. [`StoreError::InUse`] while users have it or when it is `default`.
    async fn remove_policy(&self, name: &str, by: &Actor) -> Result<(), StoreError>;

    /// Sessions, newest first.
    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRecord>, StoreError>;

    /// One session.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError>;

    /// Sessions whose id starts with this text, at most 2: for ids typed by people.
    async fn sessions_by_prefix(&self, prefix: &str) -> Result<Vec<SessionRecord>, StoreError>;

    /// When sessions were up, and what they carried, of those that overlap `since` to `until`: a
    /// page, and where the next one begins. A session that is open may come twice, the second time
    /// as it is then.
    async fn spans(
        &self,
        user: Option<&Username>,
        since: Timestamp,
        until: Timestamp,
        from: SpanCursor,
    ) -> Result<SpanPage, StoreError>;

    /// Open sessions whose deadline is at `until` or earlier, soonest first.
    async fn expiring_sessions(
        &self,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError>;

    /// On which devices users that exist were connected in sessions that began at `since` or later, by
    /// user and device, at most `limit` (at most 10,000).
    async fn device_uses(&self, since: Timestamp, limit: u32)
    -> Result<Vec<DeviceUse>, StoreError>;

    /// For how many days policies keep sessions, those that say so, each number once; never 0.
    async fn retentions(&self) -> Result<Vec<u32>, StoreError>;

    /// Closed sessions that ended before `before`, in the order of their ends, `after` that one, at most `limit`
    /// (at most 10,000).
    async fn ended(
        &self,
        after: Option<&EndedCursor>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndedSession>, StoreError>;

    /// Removes closed sessions, at most 10,000; how many were there. Open ones are never touched.
    async fn remove_sessions(&self, sessions: &[SessionId]) -> Result<u64, StoreError>;

    /// Asks the daemon that holds a session to end or extend it. `NotFound` when there is none,
    /// [`StoreError::Ended`] when it has ended.
    async fn request(
        &self,
        session: SessionId,
        action: &CommandAction,
        by: &Actor,
    ) -> Result<CommandId, StoreError>;

    /// Closes the row of a session that nobody holds any more, at its last sign of life. `NotFound` when there is none,
    /// [`StoreError::Ended`] when it has ended, [`StoreError::InUse`] when it was seen at `seen_before` or later.
    async fn close_session(
        &self,
        session: SessionId,
        seen_before: Timestamp,
        by: &Actor,
    ) -> Result<SessionRecord, StoreError>;

    /// What OpenVPN is told about the clients of a user or policy, by server and in order.
    async fn client_config(&self, owner: &ConfigOwner) -> Result<Vec<StoredLine>, StoreError>;

    /// Replaces it, all or nothing. [`StoreError::InUse`] when it is no longer as `before`,
    /// [`StoreError::Exists`] when another user has one of the addresses.
    async fn put_client_config(
        &self,
        owner: &ConfigOwner,
        before: &[StoredLine],
        after: &[NewLine],
        by: &Actor,
    ) -> Result<(), StoreError>;

    /// Adds to what happened in its hours. Of sessions the greatest number is kept. Not to be repeated
    /// where it may have succeeded, unless counting twice does no harm.
    async fn add_activity(&self, counts: &[(ActivityKey, u64)]) -> Result<(), StoreError>;

    /// What happened in the hours that began then or later, on all servers together, in their order.
    async fn activity(&self, since: Timestamp) -> Result<Vec<HourSum>, StoreError>;

    /// Removes hours before `before`, oldest first, at most `limit` rows (at most 10,000); how many.
    async fn remove_activity(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// What people have changed, newest first, at most `limit` (at most 10,000).
    async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// The same of a user with his devices, or of a session by its id.
    async fn audit_of(&self, target: &str, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// A user's failed logins, newest first, at most `limit` (at most 10,000).
    async fn auth_events_of(
        &self,
        user: &Username,
        limit: u32,
    ) -> Result<Vec<AuthEvent>, StoreError>;

    /// When a request was handled; `None` while it waits.
    async fn command_handled(&self, id: CommandId) -> Result<Option<Timestamp>, StoreError>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{DayMarks, SessionRecord, SessionState};
    use crate::types::{Cid, ExpiryAction, SessionId, Timestamp};

    /// A session of alice's; `number` makes its id and client id.
    pub(crate) fn session(number: u32, version: u32, state: SessionState) -> SessionRecord {
        let at = Timestamp::from_secs(1_795_435_000);
        let mut random = [0; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        SessionRecord {
            id: SessionId::new(at, random),
            version,
            state,
            server: "udp".parse().unwrap(),
            run_started: at,
            cid: Cid(number),
            user: "alice".parse().unwrap(),
            common_name: None,
            device: None,
            client_ip: None,
            client_port: None,
            vpn_ip: None,
            client_version: None,
            client_platform: None,
            started_at: at,
            updated_at: at,
            deadline: None,
            deadline_reason: None,
            expiry_action: ExpiryAction::Halt,
            warned_at: None,
            ended_at: None,
            cause: None,
            bytes_received: 0,
            bytes_sent: 0,
            day_marks: DayMarks::default(),
            session_timeout_s: None,
            certificate: None,
        }
    }
}
