//! Who is in renegotiates as ever while strangers flood both servers of a daemon: real argon2 at its default cost, the
//! throttle and all bounds as they are by default.

mod openvpn;
mod scene;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ovpn_warden::types::DenyReason;
use serde_json::Value;

use openvpn::{Answer, Asked};
use scene::{CODED, COSTLY, CROWD, HOME, LIVE, PASSWORDS, Scene, TINA, reasons, scrv1};

/// No renegotiation waits longer for its answer; OpenVPN gives it 60 s. It waits for a comparison that is under way: 1.8 s
/// of the costliest there may be, where nothing else ran.
const LONGEST: Duration = Duration::from_secs(12);
/// No more memory than this is taken, in MiB: 82 without, and 174 with two comparisons that take 64 each; a third
/// would be too many.
const MOST_MIB: u64 = 224;
/// What strangers send as password: in no line of the log.
const CANARY: &str = "flood-canary";

/// Names that are made to harm: how they are told, and as bytes.
const NAMES: [&str; 20] = [
    "' OR 1=1 -- ",
    "\"; DROP TABLE users; --",
    "'; DELETE FROM sessions WHERE ''='",
    "alice'--",
    "alice' #",
    "alice\\",
    "\\' UNION SELECT password_hash FROM users -- ",
    "ali%",
    "al_ce",
    "alice ",
    "ALICE",
    "END",
    ">CLIENT:ENV,END",
    "client-auth 0 1",
    "%s%n$(reboot)`id`",
    "\\r\\n{\"event\":\"auth.allowed\",\"user\":\"alice\"}",
    "\",\"event\":\"auth.allowed\",\"user\":\"alice",
    "alice\u{2028}auth.allowed\u{2029}",
    "\u{202e}ecila\u{2066}\u{200b}",
    "\\x00\\u0000%00",
];
/// Those that no user can have.
const IMPOSSIBLE: [&[u8]; 7] = [
    b"\x1b[2J\x1b]0;owned\x07",
    b"alice\rauth.allowed",
    b"alice\0",
    b"\x7f\x08\x08",
    b"\xff\xfe\x80",
    "alice\u{85}auth.allowed".as_bytes(),
    b"\xed\xa0\x80",
];

/// Of these reasons and no others.
fn are_of(answers: &[Answer], allowed: &[DenyReason]) -> BTreeMap<DenyReason, usize> {
    let found = reasons(answers);
    assert!(found.keys().all(|reason| allowed.contains(reason)), "{found:?}");
    found
}

/// Every second one on each server.
fn spread(logins: impl IntoIterator<Item = Asked>) -> Vec<(usize, Asked)> {
    logins.into_iter().enumerate().map(|(number, asked)| (number % 2, asked)).collect()
}

/// Existing users, also those who are in, and names that nobody has.
fn name(number: u32) -> String {
    match (number % 2, number / 2) {
        (0, number) => LIVE[number as usize % LIVE.len()].to_owned(),
        (_, number) => format!("nobody{number}"),
    }
}

async fn wrong_passwords_from_one_address(scene: &Scene, round: u32) {
    use DenyReason::{BadCredentials, Overloaded, Throttled, Timeout, UnknownUser};
    let logins = (0..300).map(|number| Asked::new(name(number), CANARY, HOME));
    let answers = scene.come(spread(logins)).await;
    let found = are_of(&answers, &[BadCredentials, UnknownUser, Throttled, Overloaded, Timeout]);
    // Twenty were compared, and those that were under way on either server meanwhile. On a machine that is full the last
    // are told to come again.
    let spared = [Throttled, Overloaded].map(|reason| found.get(&reason).copied().unwrap_or(0));
    assert!(spared.iter().sum::<usize>() >= 150, "{found:?}");
    assert!(round > 0 || found.contains_key(&BadCredentials), "{found:?}");
    let again = scene.come_alone(1, Asked::new("alice", PASSWORDS[0], HOME)).await;
    assert_eq!(again.reason(), Throttled, "with the right password, too");
}

async fn wrong_passwords_from_many_addresses(scene: &Scene, round: u32) {
    use DenyReason::{BadCredentials, Overloaded, Throttled, Timeout, UnknownUser};
    // More of one user than he may have from anywhere, and as many of others.
    let users = (0..140).flat_map(|number| ["alice".to_owned(), name(number)]);
    let logins = users.map(|user| Asked::new(user, CANARY, scene.address()));
    let answers = scene.come(spread(logins)).await;
    let found = are_of(&answers, &[BadCredentials, UnknownUser, Throttled, Overloaded, Timeout]);
    assert!(found.contains_key(&UnknownUser), "{found:?}");
    assert!(round > 0 || found.contains_key(&BadCredentials), "{found:?}");
    // Where nobody ever saw her she is held back from now on, unless too many were shed to count a hundred.
    let answer = scene.come_alone(0, Asked::new("alice", PASSWORDS[0], scene.address())).await;
    let is_held = !answer.is_in() && answer.reason() == Throttled;
    let is_shed = found.keys().any(|reason| reason.is_temporary());
    assert!(is_held || is_shed, "{} after {found:?}", answer.line);
    scene.clear().await;
}

/// More than may wait on one server, with passwords as long as a client can send, behind comparisons that take longest.
async fn argon2_at_its_limits(scene: &Scene, round: u32) {
    use DenyReason::{BadCredentials, Overloaded, Timeout, UnknownUser};
    let long = |length: usize| CANARY.repeat(length / CANARY.len());
    let mut logins = Vec::new();
    if round == 0 {
        scene.add_costly().await;
        logins = spread((0..6).map(|_| Asked::new(COSTLY, long(4_096), scene.address())));
    }
    logins.extend((0..400).map(|number| {
        let length = [127, 128, 129, 1_024, 4_096, 16_000][number as usize % 6];
        (0, Asked::new(format!("{}x", name(number)), long(length), scene.address()))
    }));
    logins.extend((0..40).map(|_| (1, Asked::new("ivan", long(4_096), scene.address()))));
    let answers = scene.come(logins).await;
    let found = are_of(&answers, &[BadCredentials, UnknownUser, Overloaded, Timeout]);
    assert!(found.get(&Overloaded).copied().unwrap_or_default() >= 40, "{found:?}");
}

async fn stuffed_peer_info(scene: &Scene, _: u32) {
    let stuffed = |count: u32| {
        let login = Asked::new("judy", CANARY, scene.address());
        (0..count).fold(login, |login, number| {
            login.with(
                &format!("UV_STUFF_{number}"),
                "x".repeat(if count > 1_024 { 100 } else { 9 }),
            )
        })
    };
    let answers = scene.come(spread((0..8).map(|_| stuffed(5_000)))).await;
    are_of(&answers, &[DenyReason::Protocol]);
    // As many as there may be beside the others.
    let answers = scene.come_until_judged(spread((0..8).map(|_| stuffed(1_000)))).await;
    are_of(&answers, &[DenyReason::BadCredentials]);
}

async fn huge_and_binary_values(scene: &Scene, _: u32) {
    use DenyReason::{BadCredentials, DeviceInvalid, Protocol, UnknownUser};
    // Whatever a line may hold; two hold more than one.
    let binary = |length: usize| {
        let bytes = (0..=255u8).filter(|byte| *byte != b'\n').cycle();
        bytes.take(length).collect::<Vec<u8>>()
    };
    let login = |user: &[u8], password: &[u8]| Asked::new(user, password, scene.address());
    let sane = || login(b"judy", CANARY.as_bytes());
    let full =
        (0..7).fold(sane(), |login, number| login.with(&format!("UV_{number}"), binary(16_000)));
    let cases = [
        (login(b"judy", &binary(16_000)), &[BadCredentials][..]),
        (login(b"judy", &[0xff; 4_096]), &[BadCredentials]),
        (sane().with("IV_GUI_VER", binary(16_000)), &[BadCredentials]),
        (sane().with("UV_", binary(300)), &[BadCredentials]),
        (full.clone(), &[BadCredentials]),
        (full.with("UV_8", binary(16_000)).with("UV_9", binary(16_000)), &[Protocol]),
        (sane().with("UV_CLIENT_MAC", binary(300)), &[BadCredentials, DeviceInvalid]),
        (sane().with("IV_PLAT", [b'x'; 20_000]), &[Protocol]),
        (login(b"judy", &[b'x'; 20_000]), &[Protocol]),
        (login(&[b'n'; 20_000], CANARY.as_bytes()), &[Protocol]),
        (login(&[b'n'; 300], CANARY.as_bytes()), &[Protocol]),
        (login(&[b'n'; 255], CANARY.as_bytes()), &[UnknownUser]),
        (login(&[b'n'; 129], CANARY.as_bytes()), &[UnknownUser]),
        (login(&[b'n'; 128], CANARY.as_bytes()), &[UnknownUser]),
        (login(&binary(250), CANARY.as_bytes()), &[UnknownUser]),
    ];
    let logins = cases.iter().flat_map(|(asked, _)| [(0, asked.clone()), (1, asked.clone())]);
    let answers = scene.come_until_judged(logins).await;
    for (answers, (_, reasons)) in answers.chunks(2).zip(&cases) {
        are_of(answers, reasons);
    }
}

async fn hostile_names(scene: &Scene, _: u32) {
    let names = NAMES.iter().map(|name| name.as_bytes()).chain(IMPOSSIBLE);
    let logins = names.flat_map(|name| {
        let asked = Asked::new(name, PASSWORDS[0], scene.address()).with("UV_NAME", name);
        [(0, asked.clone()), (1, asked)]
    });
    are_of(&scene.come_until_judged(logins).await, &[DenyReason::UnknownUser]);
}

/// Codes of somebody who is in, and one that is new, on both servers at once.
async fn replayed_codes(scene: &Scene, round: u32) {
    let code = scene.shown.get_or_init(|| scrv1(&scene.code()));
    let replay = || spread((0..40).map(|_| Asked::new(TINA, code, scene.address())));
    if round == 0 {
        let answers = scene.come_until_judged(replay()).await;
        let (is_in, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_in());
        assert_eq!(is_in.len(), 1, "a code lets one in");
        assert_eq!(reasons(others), BTreeMap::from([(DenyReason::BadSecondFactor, 39)]));
    }
    // That of one who is in may be too old by now: a wrong one then, and enough of these are held back.
    let of_live = (0..20).map(|_| Asked::new(CODED, &scene.spent, scene.address()));
    let replays = replay().into_iter().chain(spread(of_live));
    are_of(
        &scene.come_until_judged(replays).await,
        &[DenyReason::BadSecondFactor, DenyReason::Throttled],
    );
}

/// Everybody comes at once, each with the right password.
async fn a_storm_of_people(scene: &Scene, _: u32) {
    use DenyReason::{Overloaded, Timeout};
    let people = (0..420).map(|number| {
        let user = CROWD[number % CROWD.len()];
        (usize::from(number >= 400), Asked::new(user, PASSWORDS[0], scene.address()))
    });
    let answers = scene.come(people).await;
    let (is_in, shed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Answer::is_in);
    assert!(is_in.len() >= 20, "{}", is_in.len());
    let found = are_of(&shed, &[Overloaded, Timeout]);
    assert!(found.get(&Overloaded).copied().unwrap_or_default() >= 50, "{found:?}");
    scene.clear().await;
}

/// How each server was heard to decide, by its name, client and key, in its log or on its connection: a reason, and
/// whether it is to come again; or nothing.
type Decisions = BTreeMap<(String, u64, u64), Vec<Option<(String, bool)>>>;

fn as_logged(lines: &[Value]) -> Decisions {
    let mut decisions = Decisions::new();
    for line in lines {
        let denied = match line["event"].as_str().unwrap() {
            "auth.allowed" => None,
            "auth.denied" => {
                let reason = line["reason"].as_str().unwrap().to_owned();
                Some((reason, line["temporary"].as_bool().unwrap()))
            }
            _ => continue,
        };
        let [cid, kid] = ["cid", "kid"].map(|id| line[id].as_u64().unwrap());
        let server = line["server"].as_str().unwrap().to_owned();
        decisions.entry((server, cid, kid)).or_default().push(denied);
    }
    decisions
}

fn as_told(scene: &Scene) -> Decisions {
    let mut decisions = Decisions::new();
    for (name, server) in ["udp", "tcp"].into_iter().zip(&scene.servers) {
        for ((cid, kid), lines) in server.answers() {
            let decided = lines.iter().map(|line| {
                let words: Vec<_> = line.split('"').collect();
                (words.len() > 1).then(|| (words[1].to_owned(), words[3].starts_with("TEMP[")))
            });
            decisions.insert((name.to_owned(), cid.into(), kid.into()), decided.collect());
        }
    }
    decisions
}

/// Every line is one event, whatever strangers sent; what it says of them is what they were told.
fn judge_log(scene: &Scene, log: &str) {
    assert!(!log.contains(CANARY) && !PASSWORDS.iter().any(|password| log.contains(password)));
    let moves = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!log.chars().any(|c| c != '\n' && (c.is_control() || moves(c))));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (logged, told) = (as_logged(&lines), as_told(scene));
    assert!(logged == told, "{:?}", logged.iter().find(|(of, said)| told.get(of) != Some(said)));
    assert!(told.values().all(|decisions| decisions.len() == 1), "one answer each");
    let of = |event: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["event"] == event).collect()
    };
    let people: BTreeSet<_> = LIVE.iter().chain(&CROWD).chain([&TINA]).copied().collect();
    for line in of("auth.allowed") {
        assert!(people.contains(line["user"].as_str().unwrap()), "{line}");
    }
    let unknown: BTreeSet<_> = of("auth.denied")
        .iter()
        .filter(|line| line["reason"] == "unknown_user")
        .map(|line| line["user"].as_str().unwrap().to_owned())
        .collect();
    let impossible = IMPOSSIBLE.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    for name in NAMES.iter().map(|name| (*name).to_owned()).chain(impossible) {
        assert!(unknown.contains(&name), "{name:?} is not told as what it was");
    }
    assert!(!of("protocol.rejected").is_empty());
    // No renegotiation was let through unchecked, either.
    let faults: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_sessions_renegotiate_as_ever_under_every_flood() {
    let mut scene = Scene::new().await;
    let devices = scene.bed.store.devices(None, 100).await.unwrap();
    let begun = scene.bed.clock.now().mono;
    macro_rules! under {
        ($($flood:ident)+) => {$(
            let waits = scene.under($flood).await;
            let (flood, mib) = (stringify!($flood), scene.peak_mib());
            println!("{:.1?} {flood}: {waits:?}, {mib} MiB", scene.bed.clock.now().mono - begun);
            assert!(waits.known.max(waits.hashed) < LONGEST, "{flood}: {waits:?}");
            assert!(mib < MOST_MIB, "{flood}: {mib} MiB");
        )+};
    }
    under! {
        wrong_passwords_from_one_address
        wrong_passwords_from_many_addresses
        stuffed_peer_info
        huge_and_binary_values
        hostile_names
        replayed_codes
        argon2_at_its_limits
        a_storm_of_people
    }
    // Those who were in are, and nobody else.
    scene.clear().await;
    let live: BTreeSet<_> =
        scene.live.iter().map(|live| (live.user.to_owned(), live.cid)).collect();
    let mut open = BTreeSet::new();
    for _ in 0..200 {
        open = scene.open_sessions().await;
        if open == live {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(open, live);
    let [udp, tcp] = &scene.servers;
    assert_eq!((udp.connected().len(), tcp.connected().len()), (LIVE.len(), 0));
    assert!(udp.killed().iter().all(|cid| *cid >= 100), "{:?}", udp.killed());
    scene.an_old_password_ends_a_session().await;
    // The tables are what they were.
    let mut now = scene.bed.store.devices(None, 100).await.unwrap();
    now.retain(|device| device.user.as_str() != COSTLY);
    assert_eq!(now, devices);
    let users = scene.bed.store.users(None, 100).await.unwrap();
    let users: BTreeSet<_> = users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, LIVE.iter().chain(&CROWD).chain(&[TINA, COSTLY]).copied().collect());
    let log = scene.end().await;
    for server in &scene.servers {
        assert_eq!(server.odd(), [""; 0]);
    }
    judge_log(&scene, &log);
}
