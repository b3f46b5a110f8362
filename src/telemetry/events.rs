//! One variant per operational event. An event is plain data, so that cores can report it;
//! `emit` writes its one log line and counts it once.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::types::{
    Cause, Cid, DenyReason, DeviceId, ExpiryAction, Factor, Kid, LockoutScope, ServerName,
    SessionId, ShortText, Timestamp,
};

/// The names of all events, as log lines carry them.
pub const NAMES: &[&str] = &[
    "daemon.started",
    "daemon.stopping",
    "config.reloaded",
    "config.rejected",
    "link.up",
    "link.lost",
    "link.waiting",
    "link.refused",
    "auth.allowed",
    "auth.challenged",
    "auth.denied",
    "auth.error",
    "session.opened",
    "session.adopted",
    "session.extended",
    "session.renewing",
    "session.ending",
    "session.expired",
    "session.kill_sent",
    "session.kill_retried",
    "session.closed",
    "throttle.held",
    "store.down",
    "store.up",
    "store.backlog",
    "store.refused",
    "store.unreadable",
    "journal.written",
    "journal.replayed",
    "journal.failed",
    "journal.usable",
    "webhook.failed",
    "webhook.dropped",
    "retention.removed",
    "retention.failed",
    "protocol.rejected",
    "protocol.unexpected",
    "server.fatal",
    "server.restarted",
    "hold.released",
    "admin.action",
    "console.denied",
    "log.dropped",
];

/// Who an event is about. Text from the network is kept as it came (invalid UTF-8 replaced);
/// the log writer escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRef {
    /// The client id.
    pub cid: Cid,
    /// The key id, in answers to CONNECT and REAUTH.
    pub kid: Option<Kid>,
    /// The username, at most 256 characters.
    pub user: Option<Arc<str>>,
    /// The certificate's common name, at most 256 characters.
    pub common_name: Option<ShortText>,
    /// The device id, normalised.
    pub device: Option<DeviceId>,
    /// Where it connects from.
    pub client_ip: Option<IpAddr>,
    /// Its port.
    pub client_port: Option<u16>,
}

/// An operational event of one server's link, or of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `daemon.started`.
    DaemonStarted {
        /// Names of the servers.
        servers: Vec<ServerName>,
    },
    /// `daemon.stopping`.
    DaemonStopping {
        /// Names of the servers.
        servers: Vec<ServerName>,
        /// `SIGTERM`, `SIGINT`.
        signal: &'static str,
    },
    /// `config.reloaded`: the level of the log is as the configuration says now; other keys are
    /// read at the next start.
    ConfigReloaded {
        /// Names of the servers.
        servers: Vec<ServerName>,
    },
    /// `config.rejected`: SIGHUP came, but the configuration is invalid; all stays as it was.
    ConfigRejected {
        /// What is wrong with it.
        error: String,
    },
    /// `link.up`: attached; sessions are compared.
    LinkUp {
        /// Server.
        server: ServerName,
        /// As configured.
        address: Arc<str>,
        /// The server's own words.
        openvpn_version: Arc<str>,
    },
    /// `link.lost`.
    LinkLost {
        /// Server.
        server: ServerName,
        /// As configured.
        address: Arc<str>,
        /// Until the next attempt.
        retry_in: Duration,
        /// What happened and what to do.
        error: String,
    },
    /// `link.waiting`: the port is there but not ours yet.
    LinkWaiting {
        /// Server.
        server: ServerName,
        /// As configured.
        address: Arc<str>,
        /// Until the next attempt; zero while the attempt goes on.
        retry_in: Duration,
        /// What we wait for.
        error: String,
    },
    /// `link.refused`: something dialled in that is no server of ours.
    LinkRefused {
        /// From where.
        address: Arc<str>,
        /// Why not.
        error: String,
    },
    /// `auth.allowed`.
    AuthAllowed {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// A renegotiation.
        reauth: bool,
        /// From the server's request to our answer.
        latency: Duration,
        /// The session; `None` for a renegotiation whose session is still being looked up.
        session_id: Option<SessionId>,
        /// When it has to end.
        deadline: Option<Timestamp>,
        /// The database was away: by a recent login and the rules of then.
        offline: bool,
        /// The second factor that was shown.
        second_factor: Option<Factor>,
    },
    /// `auth.challenged`: the password is right, and a one-time code is asked for.
    AuthChallenged {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// From the server's request to the question.
        latency: Duration,
        /// How it is asked: `cr_text` or `crv1`.
        way: &'static str,
    },
    /// `auth.denied`.
    AuthDenied {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// A renegotiation.
        reauth: bool,
        /// From the server's request to our answer.
        latency: Duration,
        /// The session, for a renegotiation.
        session_id: Option<SessionId>,
        /// When it has to end.
        deadline: Option<Timestamp>,
        /// Why.
        reason: DenyReason,
    },
    /// `auth.error`: an internal fault, never a user's mistake.
    AuthError {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// A renegotiation.
        reauth: bool,
        /// From the server's request to our answer.
        latency: Duration,
        /// The session, for a renegotiation.
        session_id: Option<SessionId>,
        /// When it has to end.
        deadline: Option<Timestamp>,
        /// What was decided for want of better; `None` where there was nothing to decide.
        reason: Option<DenyReason>,
        /// The fault.
        error: String,
    },
    /// `session.opened`.
    SessionOpened {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// Address in the tunnel.
        vpn_ip: Option<Arc<str>>,
        /// When it has to end.
        deadline: Option<Timestamp>,
        /// What sets that.
        deadline_reason: Option<Cause>,
    },
    /// `session.adopted`: found alive after a reconnect or restart.
    SessionAdopted {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// Address in the tunnel.
        vpn_ip: Option<Arc<str>>,
        /// When it has to end.
        deadline: Option<Timestamp>,
        /// What sets that.
        deadline_reason: Option<Cause>,
    },
    /// `session.extended`: its deadline was moved.
    SessionExtended {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// The new deadline.
        deadline: Option<Timestamp>,
        /// What sets it: `admin` where an operator did.
        deadline_reason: Option<Cause>,
    },
    /// `session.renewing`: its client has to connect again, because OpenVPN, told of the deadline of its login, would
    /// end it before the new one.
    SessionRenewing {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// The deadline that it will not reach.
        deadline: Option<Timestamp>,
        /// What sets it.
        deadline_reason: Option<Cause>,
    },
    /// `session.ending`: its deadline is near. Told once for a deadline.
    SessionEnding {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// When it ends.
        deadline: Timestamp,
        /// What sets that.
        deadline_reason: Cause,
        /// What the client will be told.
        action: ExpiryAction,
        /// Until then.
        left: Duration,
    },
    /// `session.expired`: its deadline has come, or an operator ends it.
    SessionExpired {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// What ended it.
        deadline_reason: Cause,
        /// What the client is told.
        action: ExpiryAction,
        /// How late after the deadline.
        lateness: Duration,
    },
    /// `session.kill_sent`, and `session.kill_retried` from the second attempt on.
    SessionKill {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session, if the client had one.
        session_id: Option<SessionId>,
        /// From 1.
        attempt: u32,
    },
    /// `session.closed`.
    SessionClosed {
        /// Server.
        server: ServerName,
        /// Who.
        client: ClientRef,
        /// The session.
        session_id: SessionId,
        /// Why.
        cause: Cause,
        /// Seconds.
        duration_s: u64,
        /// Octets from the client.
        bytes_received: u64,
        /// Octets to the client.
        bytes_sent: u64,
    },
    /// `throttle.held`: too many failed logins; who has to wait from now on.
    ThrottleHeld {
        /// Who; `None`: everybody at the address.
        user: Option<Arc<str>>,
        /// From what.
        scope: LockoutScope,
        /// Where: an IPv4 address, or the first of an IPv6 /64.
        network: Option<IpAddr>,
        /// After so many failures, on all daemons.
        failures: u32,
        /// Until then.
        until: Timestamp,
    },
    /// `store.down`.
    StoreDown {
        /// What happened.
        error: String,
    },
    /// `store.up`.
    StoreUp {
        /// Session changes that waited.
        pending: usize,
    },
    /// `store.backlog`: session changes wait for the database.
    StoreBacklog {
        /// How many.
        pending: usize,
        /// What the database says.
        error: String,
    },
    /// `store.refused`: the database will never take this row; the line is all that is left of it.
    StoreRefused {
        /// The session.
        session_id: SessionId,
        /// Server.
        server: ServerName,
        /// Whose.
        user: Arc<str>,
        /// Where it was in its life.
        state: &'static str,
        /// When it was approved.
        started_at: Timestamp,
        /// Octets from the client.
        bytes_received: u64,
        /// Octets to the client.
        bytes_sent: u64,
        /// What the database says.
        error: String,
    },
    /// `store.unreadable`: a row is not understood and is passed over.
    StoreUnreadable {
        /// Of whose sessions it is; `None`: of none.
        server: Option<ServerName>,
        /// Which column of which row, and what is wrong with it.
        error: String,
    },
    /// `journal.written`: session changes wait on disk for the database. Told once in an outage.
    JournalWritten {
        /// How many sessions are the first.
        rows: usize,
        /// What the database says.
        error: String,
    },
    /// `journal.replayed`: the database has all that waited on disk.
    JournalReplayed {
        /// How many rows.
        rows: usize,
    },
    /// `journal.failed`: the journal cannot be used; what waits stays in memory. Told once.
    JournalFailed {
        /// What happened, with the path.
        error: String,
    },
    /// `journal.usable`: it can be used again.
    JournalUsable {
        /// Which of its files: `journal` or `approvals`.
        file: &'static str,
    },
    /// `webhook.failed`: the receiver does not take notices; tried again. Told once.
    WebhookFailed {
        /// What happened.
        error: String,
        /// Notices that wait.
        pending: usize,
    },
    /// `webhook.dropped`: notices that nobody will get. Told at most once a minute.
    WebhookDropped {
        /// How many since the last such line.
        dropped: u64,
        /// Why the last one of them.
        error: String,
    },
    /// `retention.removed`: sessions that ended long ago were removed.
    RetentionRemoved {
        /// How many.
        rows: u64,
        /// They had ended before this moment.
        before: Timestamp,
    },
    /// `retention.failed`: old sessions could not be removed; tried again later.
    RetentionFailed {
        /// What the database says.
        error: String,
    },
    /// `protocol.rejected`.
    ProtocolRejected {
        /// Server.
        server: ServerName,
        /// Closed set of words.
        kind: &'static str,
        /// Octets from the start of the connection.
        offset: u64,
    },
    /// `protocol.unexpected`: a sound message that does not fit what we know; a line for experts.
    ProtocolUnexpected {
        /// Server.
        server: ServerName,
        /// What, in words of ours.
        what: &'static str,
        /// The client it names.
        cid: Option<Cid>,
    },
    /// `server.log`: the server said FATAL.
    ServerFatal {
        /// Server.
        server: ServerName,
        /// Its words.
        text: Box<str>,
    },
    /// `server.restarted`: a new run of the server has begun; client ids count from 0 again.
    ServerRestarted {
        /// Server.
        server: ServerName,
        /// Clients that were live.
        clients: usize,
    },
    /// `hold.released`.
    HoldReleased {
        /// Server.
        server: ServerName,
    },
    /// `log.dropped`: nobody read the lines fast enough.
    LogDropped {
        /// How many were lost since the last such line.
        lines: usize,
    },
    /// `console.denied`: somebody gave the web console a wrong token.
    ConsoleDenied {
        /// What is wrong.
        reason: &'static str,
    },
    /// `admin.action`.
    AdminAction {
        /// Who.
        actor: String,
        /// What.
        action: &'static str,
        /// On what.
        target: String,
        /// Whom it concerns, where it is one user.
        user: Option<String>,
    },
}
