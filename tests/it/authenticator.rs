//! Whole decisions on a real store: hashes of older schemes, and that nobody learns by the clock
//! which accounts exist.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use ovpn_warden::{
    auth::{
        decide::Defaults,
        imprint::Imprint,
        password::{self, HashParams, Scheme, Schemes, pool::HashPool},
        request::{AuthRequest, Claimed, Decision, RequestKind},
        second_factor::response::Response,
        service::{Answer, Authenticator, Reserved},
        throttle::Limits,
    },
    store::{
        Actor, DeviceMode, NewUser, OnLimit, Options, PolicyRecord, SecondFactorMode, Store,
        StoreError, UserPatch, open,
    },
    types::{Clock, DenyReason, ExpiryAction, Password, Timestamp, Zone},
};

const PARAMS: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };
/// All of "password".
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm";
const SHA512: &str = "$6$rounds=1000$saltstring$EzTqOEb9gQc3Va/4p4pnqWqp/wIh1Otyhg9H9E8sV0eDyHGbNBkoMxYIM0ODHPBfmDNWb6wRiAvTriYxeDgb9.";
const MYSQL: &str = "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4";
const SSHA: &str = "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==";

struct Bed {
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
}

impl Bed {
    /// Users named `u` and a number, with these hashes.
    async fn new(hashes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/warden.db", folder.path().display());
        let store = open(&Options {
            url: Password::from(url.as_bytes()),
            max_connections: 2,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            ..Options::new(Password::from(url.as_bytes()))
        })
        .unwrap();
        store.migrate(false).await.unwrap();
        for (number, hash) in hashes.iter().enumerate() {
            let user = NewUser {
                name: format!("u{number}").parse().unwrap(),
                password_hash: Some((*hash).to_owned()),
                policy: None,
                valid_from: None,
                valid_until: None,
            };
            let actor = Actor { name: "test".into(), at: Clock::new().now().utc };
            store.add_user(&user, &actor).await.unwrap();
        }
        Self { store, folder }
    }

    fn authenticator(&self) -> Authenticator {
        self.authenticator_of(PARAMS)
    }

    fn authenticator_of(&self, params: HashParams) -> Authenticator {
        let limits =
            Limits { window: Duration::from_secs(9), address_failures: 10, ..Limits::default() };
        let defaults = Defaults {
            device_mode: DeviceMode::Off,
            session_limit: None,
            expiry_action: ExpiryAction::Halt,
            match_common_name: false,
            require_fingerprint: false,
            time_zone: Zone::default(),
            idle: None,
            second_factor: SecondFactorMode::Optional,
        };
        Authenticator::new(
            Arc::clone(&self.store),
            Arc::new(HashPool::new(NonZeroUsize::MIN, 16).unwrap()),
            limits,
            defaults,
            params,
            Clock::new(),
        )
        .unwrap()
    }

    async fn sql(&self, text: &'static str) {
        let file = self.folder.path().join("warden.db");
        let options = SqliteConnectOptions::new().filename(file);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(text).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }

    async fn hash(&self, name: &str) -> String {
        let user = self.store.user(&name.parse().unwrap()).await.unwrap().unwrap();
        user.password_hash.unwrap()
    }

    /// Waits until the hash of a user is another.
    async fn upgraded(&self, name: &str, old: &str) -> String {
        for _ in 0..500 {
            let hash = self.hash(name).await;
            if hash != old {
                return hash;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the hash of {name} stays {old}");
    }
}

async fn login(authenticator: &Authenticator, name: &str, password: &[u8]) -> Decision {
    login_with(authenticator, name, Some(password)).await
}

async fn login_with(
    authenticator: &Authenticator,
    name: &str,
    password: Option<&[u8]>,
) -> Decision {
    told(authenticator, request(name, password)).await
}

fn request(name: &str, password: Option<&[u8]>) -> AuthRequest {
    AuthRequest {
        holds: None,
        proven: None,
        is_other: false,
        server: "udp".parse().unwrap(),
        kind: RequestKind::Connect,
        user: Claimed::Valid(name.parse().unwrap()),
        password: password.map(Password::from),
        token: None,
        response: Response::None,
        common_name: None,
        device: Ok(None),
        certificate: None,
        client_ip: None,
    }
}

/// The decision when it may be told.
async fn told(authenticator: &Authenticator, request: AuthRequest) -> Decision {
    let Answer { decision, hold, reserved, .. } = authenticator.authenticate(request).await;
    tokio::time::sleep(hold).await;
    reserved.into_iter().for_each(Reserved::keep);
    decision
}

/// Why it was refused, by no fault of ours.
fn reason(decision: &Decision) -> Option<DenyReason> {
    match decision {
        Decision::Deny(denial) if denial.fault.is_none() => Some(denial.reason),
        Decision::Deny(_) | Decision::Allow(_) | Decision::Challenge(_) => None,
    }
}

#[tokio::test]
async fn an_allowed_scheme_is_replaced_by_argon2id_at_the_first_success() {
    let bed = Bed::new(&[BCRYPT, SHA512]).await;
    let authenticator = bed.authenticator();
    for (name, old) in [("u0", BCRYPT), ("u1", SHA512)] {
        let wrong = login(&authenticator, name, b"passwort").await;
        assert_eq!(reason(&wrong), Some(DenyReason::BadCredentials));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(bed.hash(name).await, old, "a failure changes nothing");
        let right = login(&authenticator, name, b"password").await;
        assert!(matches!(right, Decision::Allow(_)), "{right:?}");
        let new = bed.upgraded(name, old).await;
        assert!(new.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{new}");
        let again = login(&authenticator, name, b"password").await;
        assert!(matches!(again, Decision::Allow(_)), "{again:?}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_or_unreadable_is_denied_for_a_moment_with_its_scheme() {
    let bed = Bed::new(&[SSHA, &BCRYPT[..40], "canary", "$6$rounds=999999999$a$b"]).await;
    let authenticator = bed.authenticator();
    for (name, words) in [
        ("u0", "ssha, which auth.password_schemes does not allow"),
        ("u1", "bcrypt password hash is damaged"),
        ("u2", "no known scheme"),
        ("u3", "sha512-crypt password hash is damaged"),
    ] {
        let Decision::Deny(denial) = login(&authenticator, name, b"password").await else {
            panic!("{name} is let in");
        };
        assert_eq!(denial.reason, DenyReason::BackendUnavailable, "{name}");
        let fault = denial.fault.unwrap();
        assert!(fault.contains(words), "{name}: {fault}");
        assert!(!fault.contains("canary") && !fault.contains("Ixeq"), "{fault}");
    }
    assert_eq!(bed.hash("u0").await, SSHA);
}

#[tokio::test]
async fn the_list_widens_and_narrows_what_is_taken() {
    let bed = Bed::new(&[SSHA, BCRYPT]).await;
    let listed = Schemes::from_iter([Scheme::Argon2id, Scheme::Ssha]);
    let authenticator = bed.authenticator().allowing(listed);
    let right = login(&authenticator, "u0", b"password").await;
    assert!(matches!(right, Decision::Allow(_)), "{right:?}");
    assert!(bed.upgraded("u0", SSHA).await.starts_with("$argon2id$"));
    let denied = login(&authenticator, "u1", b"password").await;
    assert!(matches!(&denied, Decision::Deny(denial) if denial.fault.is_some()), "{denied:?}");
}

/// Rounds of the measurement.
const ROUNDS: usize = 100;
/// By how much the cases may differ, relative to the whole.
const TOLERANCE: f64 = 0.15;

/// What each case takes relative to the first of the same round, by the median: what the machine does beside strikes
/// one round, and what all wait for may become more from one round to the next.
fn ratios<const CASES: usize>(times: &[Vec<Duration>; CASES]) -> [f64; CASES] {
    std::array::from_fn(|case| {
        let pairs = times[case].iter().zip(&times[0]);
        let mut ratios: Vec<f64> = pairs.map(|(it, first)| it.div_duration_f64(*first)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    })
}

/// The cases take turns, so that whatever else the machine does strikes all of them.
#[tokio::test]
async fn nobody_learns_by_the_clock_which_accounts_exist() {
    let params = HashParams { m_kib: 4_096, t: 2, p: 1 };
    let hash = password::hash(&Password::from(&b"right"[..]), &params).unwrap();
    let locked = format!("!{hash}");
    let bed = Bed::new(&[&hash, &hash, MYSQL, SSHA, &locked]).await;
    let actor = Actor { name: "test".into(), at: Clock::new().now().utc };
    let disabled = UserPatch { enabled: Some(false), ..UserPatch::default() };
    for name in ["u1", "u3"] {
        bed.store.patch_user(&name.parse().unwrap(), &disabled, &actor).await.unwrap();
    }
    let listed = Schemes::from_iter([Scheme::Argon2id, Scheme::Mysql]);
    let authenticator = bed.authenticator_of(params).allowing(listed);
    let cases: [(&str, &[u8], DenyReason); 8] = [
        ("u0", b"wrong", DenyReason::BadCredentials),
        ("nobody", b"wrong", DenyReason::UnknownUser),
        ("u1", b"wrong", DenyReason::BadCredentials),
        ("u1", b"right", DenyReason::AccountDisabled),
        // Compared in no time, not allowed, and locked.
        ("u2", b"wrong", DenyReason::BadCredentials),
        ("u3", b"password", DenyReason::BadCredentials),
        ("u4", b"right", DenyReason::BadCredentials),
        // Nothing to compare: the measurement has to tell it from the others.
        ("u0", b"", DenyReason::MissingCredentials),
    ];
    let clock = Clock::new();
    let mut times = [const { Vec::new() }; 8];
    for round in 0..ROUNDS {
        for turn in 0..cases.len() {
            let case = (round + turn) % cases.len();
            let (name, secret, reason) = cases[case];
            let secret = Some(secret).filter(|secret| !secret.is_empty());
            let start = clock.now().mono;
            let decision = login_with(&authenticator, name, secret).await;
            times[case].push(clock.now().mono - start);
            assert_eq!(self::reason(&decision), Some(reason), "{name}");
        }
    }
    let ratios = ratios(&times);
    let [hashed @ .., unhashed] = ratios;
    for ratio in hashed {
        assert!((ratio - 1.0).abs() < TOLERANCE, "{ratios:?}");
    }
    assert!(unhashed < 0.5, "{ratios:?}");
}

/// A table that came in from elsewhere: what is stored for some takes longer than what an unknown user costs.
#[tokio::test]
async fn nobody_learns_by_the_clock_whose_hash_takes_longer() {
    let params = HashParams { m_kib: 4_096, t: 2, p: 1 };
    let argon2 = password::hash(&Password::from(&b"right"[..]), &params).unwrap();
    // Of no password that is known.
    let bcrypt = BCRYPT.replace("$04$", "$08$");
    let sha512 = SHA512.replace("=1000$", "=20000$");
    let pbkdf2 = format!("pbkdf2_sha256$60000$salt$4{}=", "A".repeat(42));
    let bed = Bed::new(&[&bcrypt, &argon2, &sha512, &pbkdf2, &bcrypt]).await;
    let actor = Actor { name: "test".into(), at: Clock::new().now().utc };
    let disabled = UserPatch { enabled: Some(false), ..UserPatch::default() };
    bed.store.patch_user(&"u4".parse().unwrap(), &disabled, &actor).await.unwrap();
    let listed = [Scheme::Argon2id, Scheme::Bcrypt, Scheme::Sha512Crypt, Scheme::Pbkdf2Sha256];
    let authenticator = bed.authenticator_of(params).allowing(Schemes::from_iter(listed));
    let clock = Clock::new();
    let timed = async |name, secret: &[u8]| {
        let start = clock.now().mono;
        let decision = login(&authenticator, name, secret).await;
        (reason(&decision), clock.now().mono - start)
    };
    // Before anybody has logged in. Nothing but a survey can know.
    let unknown = || AuthRequest { kind: RequestKind::Connect, ..reauth("nobody", b"wrong", None) };
    assert!(authenticator.authenticate(unknown()).await.hold.is_zero());
    let fresh = bed.authenticator_of(params).allowing(Schemes::from_iter(listed));
    fresh.survey().await.unwrap();
    assert!(!fresh.authenticate(unknown()).await.hold.is_zero());
    authenticator.survey().await.unwrap();

    let cases: [(&str, &[u8], DenyReason); 7] = [
        ("u0", b"wrong", DenyReason::BadCredentials),
        ("nobody", b"wrong", DenyReason::UnknownUser),
        ("u1", b"wrong", DenyReason::BadCredentials),
        ("u2", b"wrong", DenyReason::BadCredentials),
        ("u2", &[b'x'; 100], DenyReason::BadCredentials),
        ("u3", b"wrong", DenyReason::BadCredentials),
        ("u4", b"wrong", DenyReason::BadCredentials),
    ];
    let mut times = [const { Vec::new() }; 7];
    for round in 0..ROUNDS / 4 {
        for turn in 0..cases.len() {
            let case = (round + turn) % cases.len();
            let (name, secret, expected) = cases[case];
            let (reason, took) = timed(name, secret).await;
            times[case].push(took);
            assert_eq!(reason, Some(expected), "{name}");
        }
    }
    let ratios = ratios(&times);
    for ratio in ratios {
        assert!((ratio - 1.0).abs() < TOLERANCE, "{ratios:?}");
    }
    // What a longer password takes was not surveyed: it waits for as long as anybody does.
    for name in ["u2", "nobody"] {
        let long = AuthRequest { kind: RequestKind::Connect, ..reauth(name, &[b'x'; 200], None) };
        let Answer { hold, .. } = authenticator.authenticate(long).await;
        assert!(hold > Duration::from_secs(1), "{name}: {hold:?}");
    }
    // Who is in is known, and hears at once.
    let refused = authenticator.authenticate(reauth("u1", b"wrong", None)).await;
    assert_eq!(
        (reason(&refused.decision), refused.hold),
        (Some(DenyReason::BadCredentials), Duration::ZERO)
    );
    // Who is let in waits for nobody.
    let decision = authenticator
        .authenticate(AuthRequest { kind: RequestKind::Connect, ..reauth("u1", b"right", None) });
    let Answer { decision, hold, .. } = decision.await;
    assert!(matches!(decision, Decision::Allow(_)) && hold.is_zero(), "{decision:?} {hold:?}");
}

#[tokio::test]
async fn a_place_is_given_back_when_nobody_hears_that_he_has_it() {
    let hash = password::hash(&Password::from(&b"right"[..]), &PARAMS).unwrap();
    let bed = Bed::new(&[&hash]).await;
    let limits = PolicyRecord {
        name: "default".into(),
        max_sessions: Some(1),
        on_limit: Some(OnLimit::Deny),
        ..PolicyRecord::default()
    };
    let actor = Actor { name: "test".into(), at: Clock::new().now().utc };
    bed.store.put_policy(&limits, true, &actor).await.unwrap();
    let authenticator = bed.authenticator();
    let request = || AuthRequest { kind: RequestKind::Connect, ..reauth("u0", b"right", None) };
    let unheard = authenticator.authenticate(request()).await;
    assert!(matches!(unheard.decision, Decision::Allow(_)), "{unheard:?}");
    let second = told(&authenticator, request()).await;
    assert_eq!(reason(&second), Some(DenyReason::TooManySessions));
    drop(unheard);
    let mut tries = 0;
    while !matches!(told(&authenticator, request()).await, Decision::Allow(_)) {
        tries += 1;
        assert!(tries < 500, "the place is still taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It was heard of: it is kept, until a shell that can do nothing with it says so.
    let Decision::Deny(denial) = told(&authenticator, request()).await else { panic!() };
    assert_eq!(denial.reason, DenyReason::TooManySessions);
}

#[tokio::test]
async fn one_row_that_cannot_be_read_hides_no_slow_hash() {
    let bcrypt = BCRYPT.replace("$04$", "$08$");
    let bed = Bed::new(&[BCRYPT, BCRYPT, &bcrypt]).await;
    bed.sql(
        "UPDATE users SET password_hash = CAST(X'ff' AS TEXT) WHERE name = 'u0'; \
         UPDATE users SET enabled = 7, created_at = 'once' WHERE name = 'u1'",
    )
    .await;
    let authenticator = bed.authenticator();
    let place = "users.password_hash where name is `u0`: is not UTF-8";
    let unreadable = StoreError::Corrupt(place.to_owned());
    assert_eq!(authenticator.survey().await, Ok(vec![unreadable]));
    let unknown = AuthRequest { kind: RequestKind::Connect, ..reauth("nobody", b"wrong", None) };
    assert!(!authenticator.authenticate(unknown).await.hold.is_zero());
}

/// A renegotiation of a client that is up.
fn reauth(name: &str, sent: &[u8], proven: Option<Imprint>) -> AuthRequest {
    let (password, response) = Response::read(Password::from(sent));
    let now = Clock::new().now().utc;
    AuthRequest {
        holds: None,
        proven,
        is_other: false,
        server: "udp".parse().unwrap(),
        kind: RequestKind::Reauth { connected_since: now, is_extended: false },
        user: Claimed::Valid(name.parse().unwrap()),
        password,
        token: None,
        response,
        common_name: None,
        device: Ok(None),
        certificate: None,
        client_ip: None,
    }
}

#[tokio::test]
async fn a_renegotiation_is_hashed_only_if_what_was_sent_or_stored_has_changed() {
    let hash = password::hash(&Password::from(&b"right"[..]), &PARAMS).unwrap();
    let bed = Bed::new(&[&hash]).await;
    let authenticator = bed.authenticator();
    let Decision::Allow(grant) = login(&authenticator, "u0", b"right").await else { panic!() };
    assert!(grant.proven.is_some());
    // A wrong password shows that it is not compared: that it is the same has been seen before.
    let again = told(&authenticator, reauth("u0", b"wrong", grant.proven)).await;
    assert!(matches!(&again, Decision::Allow(new) if new.proven == grant.proven), "{again:?}");
    for (sent, allowed) in [(&b"wrong"[..], false), (b"right", true)] {
        let compared = told(&authenticator, reauth("u0", sent, None)).await;
        assert_eq!(matches!(compared, Decision::Allow(_)), allowed, "{sent:?}: {compared:?}");
    }
    // At a login it counts for nothing.
    let connect =
        AuthRequest { kind: RequestKind::Connect, ..reauth("u0", b"wrong", grant.proven) };
    let refused = told(&authenticator, connect).await;
    assert_eq!(reason(&refused), Some(DenyReason::BadCredentials));

    let new = password::hash(&Password::from(&b"new"[..]), &PARAMS).unwrap();
    let patch = UserPatch { password_hash: Some(new), ..UserPatch::default() };
    let actor = Actor { name: "test".into(), at: Clock::new().now().utc };
    bed.store.patch_user(&"u0".parse().unwrap(), &patch, &actor).await.unwrap();
    let old = told(&authenticator, reauth("u0", b"right", grant.proven)).await;
    assert_eq!(reason(&old), Some(DenyReason::BadCredentials), "the password was changed since");
}

#[tokio::test]
async fn a_renegotiation_is_not_hashed_for_a_hash_that_its_own_login_has_replaced() {
    let bed = Bed::new(&[BCRYPT]).await;
    let authenticator = bed.authenticator();
    let Decision::Allow(grant) = login(&authenticator, "u0", b"password").await else { panic!() };
    let new = bed.upgraded("u0", BCRYPT).await;
    // A wrong password shows that it is not compared. The daemon knows of the new hash a moment after the table.
    for tries_left in (0..100).rev() {
        let again = told(&authenticator, reauth("u0", b"wrong", grant.proven)).await;
        match again {
            Decision::Allow(next) => {
                assert!(next.proven.is_some() && next.proven != grant.proven);
                break;
            }
            other @ (Decision::Deny(_) | Decision::Challenge(_)) => {
                assert!(tries_left > 0, "{other:?} with {new}");
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nobody_goes_on_by_an_answer_to_a_challenge_that_was_never_asked() {
    let hash = password::hash(&Password::from(&b"right"[..]), &PARAMS).unwrap();
    let bed = Bed::new(&[&hash]).await;
    let authenticator = bed.authenticator();
    let forged = told(&authenticator, reauth("u0", b"CRV1::abc::123456", None)).await;
    assert_eq!(reason(&forged), Some(DenyReason::BadSecondFactor));
    let Decision::Allow(grant) = login(&authenticator, "u0", b"right").await else { panic!() };
    let known = told(&authenticator, reauth("u0", b"CRV1::abc::123456", grant.proven)).await;
    assert!(matches!(known, Decision::Allow(_)), "what let it in: {known:?}");
}

#[tokio::test]
async fn what_is_refused_without_being_looked_at_is_no_work_and_need_not_wait() {
    let bed = Bed::new(&[]).await;
    let authenticator = bed.authenticator();
    let unseen = request("nobody", None);
    let reason = Some(DenyReason::MissingCredentials);
    assert_eq!(authenticator.refuses_at_once(&unseen), reason);
    let answer = authenticator.authenticate(unseen).await;
    assert!(!answer.is_work && self::reason(&answer.decision) == reason);

    // Compared, then throttled: each guess is work until it is known that it is one too many.
    let guess = || AuthRequest {
        client_ip: Some("192.0.2.1".parse().unwrap()),
        ..request("nobody", Some(b"guess"))
    };
    let mut was_work = Vec::new();
    while authenticator.refuses_at_once(&guess()).is_none() {
        was_work.push(authenticator.authenticate(guess()).await.is_work);
        assert!(was_work.len() < 100, "never throttled");
    }
    assert_eq!(was_work, vec![true; was_work.len()]);
    assert_eq!(authenticator.refuses_at_once(&guess()), Some(DenyReason::Throttled));
    assert!(!authenticator.authenticate(guess()).await.is_work);
    // Who has a session is not refused for other people's guesses.
    let since = Timestamp::from_secs(0);
    let kind = RequestKind::Reauth { connected_since: since, is_extended: false };
    assert_eq!(authenticator.refuses_at_once(&AuthRequest { kind, ..guess() }), None);
}
