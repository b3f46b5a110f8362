//! Sessions, on every backend.

use std::sync::{Arc, LazyLock};

use ovpn_warden::{
    store::{
        Claim, CommandAction, DeviceStatus, OnLimit, Place, SessionFilter, SessionRecord,
        SessionState, StoreError, UserPatch,
    },
    types::{Cause, Cid, DeviceId, ExpiryAction, ServerName, SessionId, Timestamp, Username},
};

use super::bed::{Backend, Bed, MAC, UUID, at, by, id, name, session};
use super::claims::claims_become;

async fn read(bed: &Bed, number: u32) -> SessionRecord {
    bed.store.session(session(number).id).await.unwrap().unwrap()
}

fn closed(number: u32, version: u32) -> SessionRecord {
    SessionRecord {
        version,
        state: SessionState::Closed,
        updated_at: at(5_000),
        ended_at: Some(at(5_000)),
        cause: Some(Cause::UserRequest),
        bytes_received: 17,
        ..session(number)
    }
}

pub async fn a_session_comes_back_as_it_was(bed: Arc<Bed>) {
    let sparse = SessionRecord {
        state: SessionState::Pending,
        device: None,
        client_ip: None,
        client_port: None,
        vpn_ip: None,
        client_version: None,
        client_platform: None,
        deadline: None,
        deadline_reason: None,
        expiry_action: ExpiryAction::Restart,
        ..session(2)
    };
    let sessions = [session(1), sparse, closed(3, 9)];
    bed.store.persist(&sessions).await.unwrap();
    bed.store.persist(&[]).await.unwrap();
    for known in &sessions {
        assert_eq!(bed.store.session(known.id).await, Ok(Some(known.clone())));
    }
    assert_eq!(bed.store.session(session(4).id).await, Ok(None));
    let seconds = bed.texts("SELECT CAST(duration_s AS CHAR(20)) FROM sessions ORDER BY id").await;
    assert_eq!(seconds, ["0", "0", "4"], "a person can read how long a session was");
}

pub async fn extremes_are_kept(bed: Arc<Bed>) {
    let most = if bed.backend == Backend::Sqlite { i64::MAX as u64 } else { u64::MAX };
    let known = SessionRecord {
        version: u32::MAX,
        cid: Cid(u32::MAX),
        server: "x".repeat(64).parse().unwrap(),
        user: name(&"\u{1f9d1}".repeat(32)),
        common_name: Some("CN with 'quotes' \\ and \u{0} and \u{202e}".into()),
        device: Some(id(UUID)),
        client_ip: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        client_port: Some(u16::MAX),
        deadline: Some(Timestamp::MAX),
        run_started: Timestamp::from_millis(0),
        started_at: Timestamp::from_millis(1),
        bytes_received: u64::MAX,
        bytes_sent: u64::MAX,
        ..session(1)
    };
    bed.store.persist(std::slice::from_ref(&known)).await.unwrap();
    let expected = SessionRecord { bytes_received: most, bytes_sent: most, ..known };
    assert_eq!(read(&bed, 1).await, expected);
    let past = SessionRecord { deadline: Some(Timestamp::from_millis(i64::MIN)), ..session(2) };
    bed.store.persist(&[past]).await.unwrap();
    let deadline = read(&bed, 2).await.deadline.map(|at| at.to_string());
    assert_eq!(deadline.as_deref(), Some("1000-01-01T00:00:00.000Z"));
}

pub async fn texts_too_long_are_cut_on_a_character(bed: Arc<Bed>) {
    let long = SessionRecord {
        common_name: Some("\u{1f9d1}".repeat(100).into()),
        client_version: Some("v".repeat(1_000).into()),
        client_platform: Some(format!("{}\u{e4}", "p".repeat(63)).into()),
        vpn_ip: Some("1".repeat(46).into()),
        ..session(1)
    };
    bed.store.persist(&[long]).await.unwrap();
    let read = read(&bed, 1).await;
    assert_eq!(read.common_name, Some("\u{1f9d1}".repeat(63).into()));
    assert_eq!(read.client_version, Some("v".repeat(64).into()));
    assert_eq!(read.client_platform, Some("p".repeat(63).into()));
    assert_eq!(read.vpn_ip, Some("1".repeat(45).into()));
}

pub async fn a_lower_or_equal_version_changes_nothing(bed: Arc<Bed>) {
    let version = |version, bytes_sent| SessionRecord {
        version,
        bytes_sent,
        deadline: Some(at(i64::from(version))),
        ..session(1)
    };
    for (written, kept) in
        [((5, 50), 50), ((4, 99), 50), ((5, 99), 50), ((6, 60), 60), ((6, 60), 60)]
    {
        bed.store.persist(&[version(written.0, written.1)]).await.unwrap();
        let read = read(&bed, 1).await;
        assert_eq!(read, version(read.version, kept));
    }
    // An equal version of another hand does not close it either.
    bed.store.persist(&[closed(1, 6)]).await.unwrap();
    assert_eq!(read(&bed, 1).await, version(6, 60));
}

pub async fn a_closed_session_stays_as_it_is(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    bed.store.persist(&[closed(1, 2)]).await.unwrap();
    for later in [
        SessionRecord { version: 3, ..session(1) },
        SessionRecord { ended_at: Some(at(9_000)), cause: Some(Cause::Unknown), ..closed(1, 4) },
        SessionRecord { version: 1, ..closed(1, 1) },
    ] {
        bed.store.persist(&[later]).await.unwrap();
        assert_eq!(read(&bed, 1).await, closed(1, 2));
    }
}

pub async fn a_thousand_sessions_are_written_in_one_call(bed: Arc<Bed>) {
    let sessions: Vec<_> = (0..1_000).map(session).collect();
    bed.store.persist(&sessions).await.unwrap();
    bed.store.persist(&sessions).await.unwrap();
    let open = bed.store.open_sessions(&session(0).server).await.unwrap().sessions;
    assert_eq!(open, sessions);
}

pub async fn of_one_session_twice_in_a_call_the_newer_counts(bed: Arc<Bed>) {
    let version = |version| SessionRecord { version, ..session(1) };
    bed.store.persist(&[version(1), version(3), version(2)]).await.unwrap();
    assert_eq!(read(&bed, 1).await, version(3));
}

pub async fn another_id_for_a_known_instance_is_refused_and_the_rest_is_written(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    let twin = SessionRecord {
        id: SessionId::new(at(1), [255; 10]),
        version: 9,
        bytes_sent: 9,
        ..session(1)
    };
    let changed = SessionRecord { version: 2, ..session(1) };
    let batch = [twin.clone(), session(2), session(3), changed.clone()];
    let written = bed.store.persist(&batch).await;
    let text = format!(
        "a session of server `udp-1194` with client id 1 that started at {} (not {})",
        twin.started_at, twin.id
    );
    assert_eq!(written, Err(StoreError::Exists(text)));
    assert_eq!(bed.store.session(twin.id).await, Ok(None));
    assert_eq!(read(&bed, 1).await, changed, "history is not overwritten");
    for number in [2, 3] {
        assert_eq!(read(&bed, number).await, session(number));
    }
}

pub async fn two_daemons_write_at_once_and_the_highest_versions_stay(bed: Arc<Bed>) {
    let sessions = |version: u32| -> Vec<SessionRecord> {
        let record =
            |number| SessionRecord { version, bytes_sent: version.into(), ..session(number) };
        // Each version in another order.
        let mut records: Vec<_> = (0..60).map(record).collect();
        records.rotate_left(version as usize * 7 % 60);
        records
    };
    let write = |store: Arc<dyn ovpn_warden::store::Store>, versions: Vec<u32>| async move {
        for version in versions {
            store.persist(&sessions(version)).await.unwrap();
        }
    };
    tokio::join!(
        write(bed.second(), (1..=20).collect()),
        write(bed.second(), (1..=20).rev().collect()),
        write(bed.second(), vec![21, 3, 17, 2]),
        write(Arc::clone(&bed.store), (5..=15).collect()),
    );
    let open = bed.store.open_sessions(&session(0).server).await.unwrap().sessions;
    let mut expected = sessions(21);
    expected.sort_by_key(|session| session.id);
    assert_eq!(open, expected);
}

pub async fn open_sessions_are_those_of_the_server_that_have_not_ended(bed: Arc<Bed>) {
    let elsewhere = SessionRecord { server: "tcp-443".parse().unwrap(), ..session(3) };
    let closing = SessionRecord {
        state: SessionState::Closing,
        cause: Some(Cause::SessionLimit),
        ..session(4)
    };
    let all = [session(1), closed(2, 1), elsewhere, closing.clone()];
    bed.store.persist(&all).await.unwrap();
    let open = bed.store.open_sessions(&session(1).server).await.unwrap().sessions;
    assert_eq!(open, [session(1), closing]);
}

pub async fn standings_are_what_live_sessions_are_judged_by(bed: Arc<Bed>) {
    let (store, server) = (&bed.store, session(1).server);
    let bob = SessionRecord { user: name("bob"), device: None, ..session(3) };
    let elsewhere = SessionRecord { server: "tcp-443".parse().unwrap(), ..session(4) };
    store.persist(&[session(1), closed(2, 1), bob, elsewhere]).await.unwrap();
    let standings = async || {
        let mut all = store.standings(std::slice::from_ref(&server)).await.unwrap();
        all.sort_by_key(|standing| standing.session);
        let mut many = store.many_standings(std::slice::from_ref(&server)).await.unwrap();
        many.sort_by_key(|standing| standing.session);
        assert_eq!(many, all, "with the policies apart");
        all
    };
    let found = standings().await;
    let [of_alice, of_bob] = &found[..] else { panic!("{found:?}") };
    assert_eq!((of_alice.session, of_alice.started_at), (session(1).id, session(1).started_at));
    assert!(of_alice.deadline.is_some() && of_alice.deadline == session(1).deadline);
    assert_eq!((&of_alice.account, of_alice.device), (&None, Some(None)), "there is no alice");
    assert_eq!((&of_bob.account, of_bob.device), (&None, None));

    bed.add_user("alice").await;
    bed.add_device("alice", MAC).await;
    let found = standings().await;
    let account = found[0].account.as_ref().unwrap();
    assert!(account.enabled && account.valid_until.is_none());
    assert_eq!(account.policy.name, "default");
    assert_eq!(found[0].device, Some(Some(DeviceStatus::Approved)));
    let blocked = DeviceStatus::Blocked;
    store.set_device_status(&name("alice"), &id(MAC), blocked, &by()).await.unwrap();
    let disabled = UserPatch { enabled: Some(false), ..UserPatch::default() };
    store.patch_user(&name("alice"), &disabled, &by()).await.unwrap();
    bed.sql("UPDATE sessions SET deadline = NULL").await;
    let found = standings().await;
    assert!(!found[0].account.as_ref().unwrap().enabled && found[0].deadline.is_none());
    assert_eq!(found[0].device, Some(Some(blocked)));
    bed.sql("UPDATE policies SET session_limit_s = 60").await;
    let hours = "('default', 6, '08:00', '18:00'), ('default', 7, '08:00', '12:00')";
    bed.sql(&format!("INSERT INTO allowed_hours (policy, weekday, opens, closes) VALUES {hours}"))
        .await;
    let policy = standings().await[0].account.take().unwrap().policy;
    assert_eq!((policy.session_limit_s, policy.hours.ranges().len()), (Some(60), 2));
    // A name that the database may take for the same is another.
    store.persist(&[SessionRecord { user: name("alice "), ..session(5) }]).await.unwrap();
    assert_eq!(standings().await[2].account, None);
    // One whose policy cannot be read is left out.
    bed.sql("UPDATE allowed_hours SET opens = '8:00'").await;
    let left: Vec<_> = standings().await.iter().map(|standing| standing.session).collect();
    assert_eq!(left, [session(3).id, session(5).id]);
}

pub async fn facts_tell_whose_time_was_over(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let facts = async |now| store.facts(&name("alice"), None, None, now).await.unwrap().unwrap();
    assert_eq!(facts(at(9)).await.expired_at, None);
    let over = SessionRecord { cause: Some(Cause::SessionLimit), ..closed(1, 2) };
    let left = SessionRecord {
        ended_at: Some(at(6_000)),
        cause: Some(Cause::UserRequest),
        ..closed(2, 2)
    };
    store.persist(&[over, left]).await.unwrap();
    assert_eq!(facts(at(7_000)).await.expired_at, Some(at(5_000)));
    assert_eq!(facts(at(5_000 + 86_401_000)).await.expired_at, None, "too long ago");
    let ending = SessionRecord {
        state: SessionState::Closing,
        cause: Some(Cause::SessionLimit),
        updated_at: at(6_500),
        ..session(3)
    };
    store.persist(&[ending]).await.unwrap();
    assert_eq!(facts(at(7_000)).await.expired_at, Some(at(6_500)), "until it was last seen");
    // An operator's extension ran out, or he ended it himself.
    for (number, deadline, expected) in [(4, 8_001, 6_500), (5, 8_000, 8_000)] {
        let extended = SessionRecord {
            ended_at: Some(at(8_000)),
            cause: Some(Cause::Admin),
            deadline: Some(at(deadline)),
            deadline_reason: Some(Cause::Admin),
            ..closed(number, 2)
        };
        store.persist(&[extended]).await.unwrap();
        assert_eq!(facts(at(9_000)).await.expired_at, Some(at(expected)));
    }
}

fn claim<'a>(number: u32, user: &'a Username, device: Option<&'a DeviceId>, max: u32) -> Claim<'a> {
    static SERVER: LazyLock<ServerName> = LazyLock::new(|| "udp-1194".parse().unwrap());
    let on_limit = OnLimit::ReplaceSameDevice;
    Claim { session: session(number).id, server: &SERVER, user, device, max, on_limit, code: None }
}

pub async fn places_are_claimed_over_all_servers_and_claims_grow_old(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let (alice, mac) = (name("alice"), id(MAC));
    let elsewhere =
        SessionRecord { server: "tcp-443".parse().unwrap(), device: Some(id(UUID)), ..session(1) };
    store.persist(&[elsewhere, closed(2, 1)]).await.unwrap();
    assert_eq!(store.claim(&claim(3, &alice, Some(&mac), 1), at(0)).await, Ok(Place::Full));
    assert_eq!(store.claim(&claim(3, &alice, Some(&mac), 2), at(0)).await, Ok(Place::Taken));
    let other = id("0a:1a:2b:3c:4d:5e");
    let second = claim(4, &alice, Some(&other), 2);
    assert_eq!(store.claim(&second, at(30_000)).await, Ok(Place::Full), "the place is taken");
    assert_eq!(store.claim(&second, at(61_000)).await, Ok(Place::Taken), "it never came");
    // Its row is there: it counts once.
    store.persist(&[SessionRecord { device: None, ..session(4) }]).await.unwrap();
    assert_eq!(store.claim(&claim(5, &alice, Some(&mac), 3), at(62_000)).await, Ok(Place::Taken));

    let all = (10..30).map(|number| {
        let (store, alice) = (Arc::clone(store), alice.clone());
        tokio::spawn(async move { store.claim(&claim(number, &alice, None, 6), at(63_000)).await })
    });
    let mut taken = 0;
    for one in all.collect::<Vec<_>>() {
        taken += u32::from(one.await.unwrap().unwrap() == Place::Taken);
    }
    assert_eq!(taken, 3, "two sessions, one claim and three more");
}

pub async fn a_login_that_came_to_nothing_is_not_in_the_way_of_the_next(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let (alice, mac) = (name("alice"), id(MAC));
    let denying =
        |number| Claim { on_limit: OnLimit::Deny, ..claim(number, &alice, Some(&mac), 1) };
    assert_eq!(store.claim(&denying(1), at(1)).await, Ok(Place::Taken));
    // Its session is on the way to the table, whoever else comes with the same device.
    assert_eq!(store.claim(&denying(2), at(2)).await, Ok(Place::Full));
    store.forget_claim(session(1).id).await.unwrap();
    assert_eq!(store.claim(&denying(3), at(3)).await, Ok(Place::Taken));
    store.forget_claim(session(1).id).await.unwrap();
    assert_eq!(store.claim(&denying(4), at(4)).await, Ok(Place::Full), "that was another's");
    let asked = store.pending_commands(&["udp-1194".parse().unwrap()]).await.unwrap().commands;
    assert!(asked.is_empty(), "nobody is asked to leave: {asked:?}");
}

pub async fn a_session_that_asks_once_more_has_its_place(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let (alice, mac) = (name("alice"), id(MAC));
    let claims = async || bed.texts("SELECT session_id FROM session_claims").await.len();
    for on_limit in [OnLimit::Deny, OnLimit::ReplaceSameDevice, OnLimit::ReplaceOldest] {
        let one = Claim { on_limit, ..claim(1, &alice, Some(&mac), 1) };
        assert_eq!(store.claim(&one, at(1)).await, Ok(Place::Taken), "{on_limit}");
        assert_eq!(store.claim(&one, at(2)).await, Ok(Place::Own), "{on_limit}");
        store.persist(&[session(1)]).await.unwrap();
        assert_eq!(store.claim(&one, at(3)).await, Ok(Place::Own), "{on_limit}, with its row");
        assert_eq!(claims().await, 1, "{on_limit}");
        bed.sql("DELETE FROM session_claims; DELETE FROM sessions").await;
    }
    // It was let in so long ago that it has to find a place like another.
    let denying =
        |number, max| Claim { on_limit: OnLimit::Deny, ..claim(number, &alice, Some(&mac), max) };
    assert_eq!(store.claim(&denying(1, 1), at(0)).await, Ok(Place::Taken));
    assert_eq!(store.claim(&denying(1, 1), at(60_000)).await, Ok(Place::Taken));
    assert_eq!(store.claim(&denying(2, 1), at(119_000)).await, Ok(Place::Full));
    assert_eq!(store.claim(&denying(2, 1), at(121_000)).await, Ok(Place::Taken));
    assert_eq!(store.claim(&denying(1, 1), at(121_001)).await, Ok(Place::Full));
    // Those that have not counted for long are removed beside the logins; not of others who may have slow clocks.
    bed.add_user("bob").await;
    let bob = name("bob");
    let of_bob = Claim { on_limit: OnLimit::Deny, ..claim(4, &bob, Some(&mac), 1) };
    assert_eq!(store.claim(&of_bob, at(600_000)).await, Ok(Place::Taken));
    assert_eq!(store.claim(&denying(3, 1), at(722_000)).await, Ok(Place::Taken));
    claims_become(&bed, 2).await;
    let asked = store.pending_commands(&[session(1).server]).await.unwrap().commands;
    assert!(asked.is_empty(), "nobody is asked to leave: {asked:?}");
}

pub async fn sessions_make_room_for_a_newer_one(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let (alice, mac) = (name("alice"), id(MAC));
    store.persist(&[session(1)]).await.unwrap();
    let newer = claim(2, &alice, Some(&mac), 1);
    assert_eq!(store.claim(&newer, at(100)).await, Ok(Place::Taken));
    let asked = store.pending_commands(&[session(1).server]).await.unwrap().commands;
    let [replace] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((replace.session, &replace.action), (session(1).id, &CommandAction::Replace));
}

pub async fn sessions_are_filtered_newest_first(bed: Arc<Bed>) {
    let bob = SessionRecord {
        user: name("bob"),
        server: "tcp-443".parse().unwrap(),
        device: Some(id(UUID)),
        ..session(3)
    };
    let all = [session(1), closed(2, 1), bob, session(4)];
    bed.store.persist(&all).await.unwrap();
    let list = async |filter: SessionFilter| {
        let sessions = bed.store.sessions(&filter).await.unwrap();
        sessions.iter().map(|session| session.cid.0).collect::<Vec<_>>()
    };
    let all = || SessionFilter { ended: true, limit: 100, ..SessionFilter::default() };
    assert_eq!(list(all()).await, [4, 3, 2, 1]);
    assert_eq!(list(SessionFilter { limit: 2, ..all() }).await, [4, 3]);
    assert!(list(SessionFilter { limit: 0, ..all() }).await.is_empty());
    assert_eq!(list(SessionFilter { ended: false, ..all() }).await, [4, 3, 1]);
    let of = |text: &str| SessionFilter { user: Some(name(text)), ..all() };
    assert_eq!(list(of("bob")).await, [3]);
    assert!(list(of("Bob")).await.is_empty());
    assert!(list(of("bob ")).await.is_empty());
    let server = "tcp-443".parse().ok();
    assert_eq!(list(SessionFilter { server, ..all() }).await, [3]);
    let device = Some(UUID.to_owned());
    assert_eq!(list(SessionFilter { device, ..all() }).await, [3]);
    let cause = Some(Cause::UserRequest);
    assert_eq!(list(SessionFilter { cause, ..all() }).await, [2]);
    let (since, until) = (Some(at(2)), Some(at(4)));
    assert_eq!(list(SessionFilter { since, until, ..all() }).await, [3, 2]);
    assert!(list(SessionFilter { since, until, ended: false, ..of("alice") }).await.is_empty());
}

pub async fn sessions_are_found_by_the_start_of_their_id(bed: Arc<Bed>) {
    bed.store.persist(&[session(1), session(2), session(3)]).await.unwrap();
    let find = async |prefix: &str| {
        let sessions = bed.store.sessions_by_prefix(prefix).await.unwrap();
        sessions.iter().map(|session| session.cid.0).collect::<Vec<_>>()
    };
    let id = session(2).id.to_string();
    assert_eq!(find(&id).await, [2]);
    assert_eq!(find(&id.to_uppercase()).await, [2]);
    assert_eq!(find(&id[..6]).await, [1, 2], "more than one is all one needs to know");
    for none in ["ffff", "%", "_", "g", "01' OR 1=1"] {
        assert!(find(none).await.is_empty());
    }
}

pub async fn bad_session_rows_are_named(bed: Arc<Bed>) {
    let other = SessionRecord { id: session(2).id, cid: Cid(77), ..session(1) };
    bed.store.persist(&[session(1), other.clone()]).await.unwrap();
    let id = session(1).id;
    for (spoil, mend, column) in [
        ("state = 'canary'", "state = 'active'", "state"),
        ("client_ip = '1.2.3'", "client_ip = NULL", "client_ip"),
        ("device_kind = 'opaque'", "device_kind = 'mac'", "device"),
        ("device = 'ff:ff'", "device = NULL", "device"),
    ] {
        bed.sql(&format!("UPDATE sessions SET {spoil} WHERE id = '{id}'")).await;
        let read = bed.store.open_sessions(&session(1).server).await.unwrap();
        assert_eq!(read.sessions.iter().map(|row| row.id).collect::<Vec<_>>(), [other.id]);
        let [StoreError::Corrupt(text)] = &read.unreadable[..] else { panic!("{spoil}: {read:?}") };
        let place = format!("sessions.{column} where id is `{id}`");
        assert!(text.starts_with(&place) && !text.contains("canary"), "{text}");
        bed.sql(&format!("UPDATE sessions SET {mend} WHERE id = '{id}'")).await;
    }
    assert!(bed.store.session(id).await.unwrap().is_some());
}

pub async fn a_session_that_nobody_holds_is_closed_by_hand(bed: Arc<Bed>) {
    let store = &bed.store;
    let lost = SessionRecord { bytes_sent: 7, ..session(1) };
    store.persist(std::slice::from_ref(&lost)).await.unwrap();
    let close = async |before| store.close_session(lost.id, before, &by()).await;
    let held = close(lost.updated_at).await;
    assert!(matches!(held, Err(StoreError::InUse(_))), "{held:?}");
    let later = at(i64::from(u32::MAX));
    let closed = close(later).await.unwrap();
    assert_eq!((closed.state, closed.cause), (SessionState::Closed, Some(Cause::Unknown)));
    assert_eq!((closed.ended_at, closed.version), (Some(lost.updated_at), lost.version + 1));
    assert_eq!(store.session(lost.id).await.unwrap().unwrap(), closed);
    assert_eq!(close(later).await, Err(StoreError::Ended));
    let unknown = store.close_session(session(2).id, later, &by()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    let used = bed.texts("SELECT session_id FROM usage_periods").await;
    assert_eq!(used, [lost.id.to_string()], "it counts for quotas, once");
    let audit = bed.texts("SELECT target FROM admin_audit WHERE action = 'session.close'").await;
    assert_eq!(audit, [lost.id.to_string()]);
}
