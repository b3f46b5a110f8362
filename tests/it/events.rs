//! `docs/events.md` says what the code does: it is written by running every event.
//!
//! `BLESS=1 cargo test --test it events::` writes the file anew.

mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    sync::{Arc, LazyLock, Mutex},
};

use ovpn_warden::{
    telemetry::{
        Form, Line,
        events::{Event, NAMES},
    },
    types::{Cause, DenyReason},
};
use serde_json::Value;
use tracing_subscriber::{fmt::MakeWriter, prelude::*};

pub use samples::samples;

const FILE: &str = "docs/events.md";

/// What each event means to an operator.
const MEANINGS: &[(&str, &str)] = &[
    ("daemon.started", "The daemon runs."),
    ("daemon.stopping", "It was told to stop. VPN clients stay connected."),
    ("config.reloaded", "SIGHUP: the level of the log was read anew."),
    ("config.rejected", "SIGHUP, but the configuration is invalid. Everything stays as it was."),
    ("link.up", "Attached to a server's management port; sessions are compared."),
    ("link.lost", "The port is not reached, or was lost. Tried again for ever; told once."),
    ("link.waiting", "The port is there, but another client is served."),
    ("link.refused", "Something dialled in to a `listen://` address that is no server of ours."),
    ("auth.allowed", "A login or renegotiation was answered with yes."),
    ("auth.challenged", "The password is right, and the client is asked for a one-time code."),
    ("auth.denied", "It was answered with no; `reason` says why."),
    (
        "auth.error",
        "An internal fault, never a user's mistake. A denial follows if an answer was due.",
    ),
    ("session.opened", "The client is connected."),
    ("session.adopted", "A connected client was found again after a restart or an outage."),
    (
        "session.extended",
        "The deadline moved: by an operator, or by a change of policy or account.",
    ),
    (
        "session.renewing",
        "The deadline is later than the `session-timeout` that OpenVPN was given at the login: the client connects again.",
    ),
    ("session.ending", "The time is up soon (`session.warn_before_s`). Told once for a deadline."),
    ("session.expired", "The time is up."),
    ("session.kill_sent", "OpenVPN was told to end the client."),
    ("session.kill_retried", "It was told again, because the client is still there."),
    ("session.closed", "The client is gone."),
    (
        "throttle.held",
        "Too many failed logins, on all daemons together: further ones have to wait.",
    ),
    (
        "store.down",
        "The database does not answer. Logins are refused for a while, live clients stay.",
    ),
    ("store.up", "It answers again."),
    ("store.backlog", "Session changes wait in memory for the database."),
    ("store.refused", "The database will never take this row; the line is all that is left of it."),
    (
        "store.unreadable",
        "A row of a session, or of what its user may or has used, or the password hash of a user is not understood and passed over; mend or remove it.",
    ),
    ("journal.written", "Session changes wait on disk for the database. Told once an outage."),
    ("journal.replayed", "The database has all session changes that waited on disk."),
    (
        "journal.failed",
        "The journal cannot be used (full, not writable, damaged); changes wait in memory. Told once.",
    ),
    ("journal.usable", "It can be used again."),
    ("webhook.failed", "The webhook's receiver does not take notices. Tried again; told once."),
    ("webhook.dropped", "Notices that it will not get. Told at most once a minute."),
    (
        "retention.removed",
        "Sessions that ended longer ago than `retention.sessions_days` were removed.",
    ),
    ("retention.failed", "They could not be removed; tried again within an hour."),
    ("protocol.rejected", "Something from the management port cannot be trusted; never its bytes."),
    ("protocol.unexpected", "A sound message that does not fit what is known. For experts."),
    ("server.fatal", "OpenVPN says that it cannot go on."),
    ("server.restarted", "A new run of OpenVPN has begun; its clients come back by themselves."),
    ("hold.released", "OpenVPN was on hold and may serve now."),
    (
        "admin.action",
        "An operator's request was carried out, or somebody logged in to the web console.",
    ),
    ("console.denied", "Somebody gave the web console a wrong token."),
    (
        "log.dropped",
        "Nobody read the log fast enough, or it was not taken (a full disk); so many lines are missing. Told again with the next where this line may be among them.",
    ),
];

/// What each field means.
const FIELDS: &[(&str, &str)] = &[
    ("server", "name of the OpenVPN server, as configured"),
    ("address", "its management address, as configured"),
    ("openvpn_version", "the server's own words"),
    ("retry_in_ms", "until the next attempt; 0 while one goes on"),
    ("file", "which file of the journal: `journal`, or `approvals` (`journal.db.approved-…`)"),
    ("error", "what happened, and where possible what to do"),
    ("cid", "OpenVPN's client id; counts from 0 in every run of the server"),
    ("kid", "OpenVPN's key id"),
    ("user", "username as the client gave it; one user's whole story has it"),
    ("common_name", "common name of the client's certificate"),
    ("device", "device id, normalised"),
    ("client_ip", "where the client connects from"),
    ("client_port", "its port"),
    ("offline", "true: the database was away; by a recent login (`auth.offline_grace_s`)"),
    ("second_factor", "what was shown beside the password: `totp` or `recovery_code`"),
    (
        "way",
        "how it is asked: `cr_text` while the client connects, `crv1` by a denial after which it comes again",
    ),
    ("reauth", "true: a renegotiation of a connected client"),
    ("latency_ms", "from the question's arrival to the answer"),
    ("session_id", "as `ovpn-warden session show` takes it"),
    ("deadline", "when the session has to end; RFC 3339"),
    ("deadline_reason", "what sets that"),
    ("vpn_ip", "address in the tunnel"),
    ("action", "what the client is told (`halt`, `restart`), or what an operator did"),
    ("left_s", "seconds until the deadline"),
    ("late_ms", "how long after the deadline"),
    ("attempt", "from 1"),
    ("cause", "why the session ended"),
    ("duration_s", "seconds from approval to the end"),
    ("bytes_received", "octets from the client"),
    ("bytes_sent", "octets to the client"),
    ("reason", "why not"),
    ("temporary", "true: nothing is wrong with what the client sent; it is told to try again"),
    ("pending", "session changes, or notices, that wait"),
    ("dropped", "how many notices since the last such line"),
    ("kind", "what was refused, in a closed set of words"),
    ("offset", "octets from the start of the connection"),
    ("suppressed", "lines like this that were held back since the last one"),
    ("clients", "how many were connected"),
    ("actor", "who, as `cli:alice`"),
    ("target", "on what"),
    ("version", "of this program"),
    ("servers", "their names, with commas"),
    ("signal", "which"),
    ("lines", "how many"),
    ("rows", "how many rows of sessions"),
    ("before", "they had ended before this moment; RFC 3339"),
    ("state", "of the session"),
    ("network", "an IPv4 address, or the first one of an IPv6 /64"),
    (
        "scope",
        "from what: `login` at an address, `elsewhere` than where the user lately was, `code` (one-time codes there)",
    ),
    ("failures", "failed logins in `throttle.window_s`, on all daemons"),
    ("until", "until then; RFC 3339"),
    ("started_at", "when the session was approved"),
];

/// What to do about each reason.
const REASONS: &[(&str, &str)] = &[
    (
        "bad_credentials",
        "the password is wrong; for this, `unknown_user` and `account_disabled` the client sees one text",
    ),
    ("unknown_user", "`ovpn-warden user add NAME`; names are compared letter by letter"),
    ("account_disabled", "`ovpn-warden user enable NAME`"),
    ("account_not_yet_valid", "`ovpn-warden user set NAME --valid-from TIME`"),
    ("account_expired", "`ovpn-warden user set NAME --valid-until TIME`"),
    ("throttled", "wait for `throttle.window_s`"),
    ("device_missing", "add `push-peer-info` to the client's profile"),
    (
        "device_invalid",
        "the client sent what is no device id, or several: see `UV_CLIENT_MAC` in its profile",
    ),
    ("device_unknown", "`ovpn-warden device add USER ID` with the line's `device`"),
    ("device_pending", "`ovpn-warden device approve USER ID`"),
    ("device_blocked", "`ovpn-warden device approve USER ID`"),
    (
        "outside_hours",
        "`ovpn-warden policy set NAME --hours HOURS`; `explain USER --at TIME` tries another time",
    ),
    (
        "time_quota_used",
        "`ovpn-warden user usage NAME` shows it, `user grant NAME --time 2h` gives more",
    ),
    (
        "data_quota_used",
        "`ovpn-warden user usage NAME` shows it, `user grant NAME --data 1GiB` gives more",
    ),
    ("too_many_sessions", "`ovpn-warden session list`; `policy set NAME --max-sessions N`"),
    ("cooldown", "the last session ran into its limit: wait for the policy's `cooldown_s`"),
    ("common_name_mismatch", "the certificate is another user's (`auth.match_common_name`)"),
    (
        "second_factor_required",
        "the policy wants a second factor and the user has none: `ovpn-warden user totp NAME`",
    ),
    ("bad_second_factor", "the one-time code is wrong, was used before, or did not come in time"),
    ("missing_credentials", "no username or no password came"),
    ("protocol", "the server's question cannot be trusted; see the `protocol.rejected` beside it"),
    ("backend_unavailable", "temporary: see `store.down`"),
    (
        "overloaded",
        "temporary: more logins of its server wait than `auth.hash_queue`, or it cannot be decided in time",
    ),
    (
        "timeout",
        "temporary: no decision within `auth.timeout_ms`, or none that could be told OpenVPN while it lets a client wait: a minute, or for the question for a code; or the client is being ended",
    ),
];

/// Fields of every line.
const COMMON: &[&str] = &["timestamp", "level", "event", "message"];

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Each event's line, and the names of its fields in order.
type Lines = BTreeMap<String, (String, Vec<String>)>;

/// The lines of all samples. Written once: of some events repeats are held back.
static LINES: LazyLock<Lines> = LazyLock::new(lines);

/// What these events write.
pub fn written(events: impl IntoIterator<Item = Event>) -> String {
    let written = Written::default();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Line::new(Form::Json))
        .with_writer(written.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        events.into_iter().for_each(|event| event.emit());
    });
    let text = written.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

fn lines() -> Lines {
    let text = written(samples());
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        // Time stands still in documentation.
        let (_, rest) = line.split_once("\",\"level\"").unwrap();
        let line = format!("{{\"timestamp\":\"2026-11-23T11:56:43.048Z\",\"level\"{rest}");
        let value: Value = serde_json::from_str(&line).unwrap();
        let keys = fields(&line);
        lines.insert(value["event"].as_str().unwrap().to_owned(), (line, keys));
    }
    lines
}

/// The names of a flat object's members, in the order in which they stand.
fn fields(line: &str) -> Vec<String> {
    let object: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
    let mut names: Vec<(usize, String)> = object
        .keys()
        .map(|name| (line.find(&format!("\"{name}\":")).unwrap(), name.clone()))
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

fn document() -> String {
    let lines = &*LINES;
    let mut text = String::from(
        "# Log lines\n\n\
         <!-- Written by tests/it/events.rs from the code: BLESS=1 cargo test --test it events:: -->\n\n\
         One JSON object a line on stdout: `timestamp` (RFC 3339, UTC, ms), `level`, `event`, `message`, then the \
         fields below, flat and in this order. A field that does not apply is left out. Text from the network is \
         escaped: a line is always one line of harmless UTF-8. Lines of libraries have the event `log` and a `target`.\n\n\
         One user's story, whatever happened to him and what operators did: \
         `journalctl -t ovpn-warden -o cat | jq 'select(.user == \"alice\")'` (`-u` would bring systemd's own lines, which \
         are no JSON)\n\n\
         | event | level | meaning | fields |\n|---|---|---|---|\n",
    );
    for name in NAMES {
        let (line, keys) = &lines[*name];
        let value: Value = serde_json::from_str(line).unwrap();
        let keys: Vec<&str> =
            keys.iter().map(String::as_str).filter(|key| !COMMON.contains(key)).collect();
        let level = value["level"].as_str().unwrap();
        let (_, meaning) = MEANINGS.iter().find(|(event, _)| event == name).unwrap();
        writeln!(text, "| `{name}` | {level} | {meaning} | {} |", keys.join(", ")).unwrap();
    }
    text += "\n## Fields\n\n| field | meaning |\n|---|---|\n";
    for (field, meaning) in FIELDS {
        writeln!(text, "| `{field}` | {meaning} |").unwrap();
    }
    text += "\n## Reasons of `auth.denied`\n\n| reason | do |\n|---|---|\n";
    for (reason, mend) in REASONS {
        writeln!(text, "| `{reason}` | {mend} |").unwrap();
    }
    text += "\nAfter a temporary denial a client of OpenVPN 2.6 or later tries again by itself.\n";
    let causes: Vec<String> = Cause::ALL.iter().map(|cause| format!("`{cause}`")).collect();
    text += "\n## Causes\n\n";
    writeln!(text, "`deadline_reason` and `cause` are one of {}.", causes.join(", ")).unwrap();
    text += "\n## Examples\n\n```json\n";
    for name in NAMES {
        writeln!(text, "{}", lines[*name].0).unwrap();
    }
    text + "```\n"
}

#[test]
fn the_documentation_of_events_is_true() {
    // The version is part of an example, and no reason to be stale.
    let version = env!("CARGO_PKG_VERSION");
    let wanted = document().replace(&format!("\"{version}\""), "\"1.2.3\"");
    if std::env::var_os("BLESS").is_some() {
        fs::write(FILE, &wanted).unwrap();
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    for (number, (wanted, found)) in wanted.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, wanted, "{FILE}:{}: stale; BLESS=1 writes it anew", number + 1);
    }
    assert!(found == wanted, "{FILE} is stale; BLESS=1 writes it anew");
}

#[test]
fn every_event_and_field_is_explained_and_none_that_is_not_there() {
    let lines = &*LINES;
    let emitted: BTreeSet<&str> = lines.keys().map(String::as_str).collect();
    assert_eq!(emitted, NAMES.iter().copied().collect(), "samples against names");
    assert_eq!(
        emitted,
        MEANINGS.iter().map(|(name, _)| *name).collect(),
        "samples against meanings"
    );
    let used: BTreeSet<&str> = lines
        .values()
        .flat_map(|(_, keys)| keys.iter().map(String::as_str))
        .filter(|key| !COMMON.contains(key))
        .collect();
    // It stands only in lines that come after held-back ones.
    let explained: BTreeSet<&str> =
        FIELDS.iter().map(|(name, _)| *name).filter(|name| *name != "suppressed").collect();
    assert_eq!(used, explained);
    let reasons = DenyReason::ALL.iter().map(|reason| reason.as_str());
    let wanted: BTreeSet<&str> = reasons.collect();
    assert_eq!(wanted, REASONS.iter().map(|(reason, _)| *reason).collect());
}

#[test]
fn the_fields_of_the_interface_have_their_names() {
    let lines = &*LINES;
    let login = [
        "server",
        "cid",
        "kid",
        "user",
        "common_name",
        "device",
        "client_ip",
        "client_port",
        "reauth",
        "latency_ms",
    ];
    for (event, level, names) in [
        ("daemon.started", "info", &["version", "servers"][..]),
        ("link.up", "info", &["server", "address", "openvpn_version"]),
        ("link.lost", "warn", &["server", "address", "retry_in_ms", "error"]),
        ("link.waiting", "warn", &["server", "address", "retry_in_ms", "error"]),
        ("auth.allowed", "info", &[&login[..], &["session_id", "deadline"]].concat()),
        ("auth.denied", "warn", &[&login[..], &["reason", "temporary"]].concat()),
        ("auth.error", "error", &login),
        (
            "session.opened",
            "info",
            &[
                "server",
                "cid",
                "user",
                "device",
                "client_ip",
                "vpn_ip",
                "session_id",
                "deadline",
                "deadline_reason",
            ],
        ),
        ("session.adopted", "info", &["server", "cid", "user", "session_id"]),
        ("session.expired", "info", &["deadline_reason", "action", "user"]),
        ("session.ending", "info", &["deadline", "deadline_reason", "user", "session_id"]),
        ("session.kill_sent", "info", &["attempt", "user"]),
        ("session.kill_retried", "warn", &["attempt", "user"]),
        (
            "session.closed",
            "info",
            &["cause", "duration_s", "bytes_received", "bytes_sent", "user"],
        ),
        ("store.down", "error", &["error"]),
        ("store.up", "info", &[]),
        ("store.backlog", "warn", &["pending"]),
        ("protocol.rejected", "warn", &["server", "kind", "offset"]),
        ("admin.action", "info", &["actor", "action", "target", "user"]),
    ] {
        let (line, keys) = &lines[event];
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["level"], level, "{event}");
        assert_eq!(keys[..4], *COMMON, "{event}");
        for name in names {
            assert!(keys.iter().any(|key| key == name), "{event} has no {name}: {line}");
        }
    }
}
