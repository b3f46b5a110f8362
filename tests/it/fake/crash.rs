//! The daemon ends as by SIGKILL at every place of the writer, the journal and the file of approvals that matters, and
//! its successor has to find everything.

use std::collections::BTreeSet;

use sqlx::Connection as _;

use super::{outage::Program, *};

/// What happens after two clients have come and one of them has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nothing.
    Calm,
    /// The database took nothing when the first one left, and takes everything 4 s later.
    Outage,
    /// The daemon is told to stop.
    Stop,
    /// Others come and go, until the file of approvals is large.
    Crowd,
}

/// Each place, and how it is reached.
const POINTS: [(&str, Life); 8] = [
    ("writer.taken", Life::Calm),
    ("writer.written", Life::Calm),
    ("journal.marked", Life::Calm),
    ("journal.begun", Life::Calm),
    ("journal.appending", Life::Outage),
    ("journal.appended", Life::Outage),
    ("journal.replayed", Life::Outage),
    ("journal.removed", Life::Outage),
];

const OF_APPROVALS: [(&str, Life); 8] = [
    ("approvals.adding", Life::Calm),
    ("approvals.added", Life::Calm),
    ("approvals.forgetting", Life::Calm),
    ("approvals.forgotten", Life::Calm),
    ("approvals.removing", Life::Crowd),
    ("approvals.removed", Life::Crowd),
    ("approvals.removing", Life::Stop),
    ("approvals.removed", Life::Stop),
];

/// Clients that were let in, as far as OpenVPN has heard.
type Came = BTreeSet<u32>;

/// Until the daemon has ended by SIGABRT.
async fn aborted(program: &mut Program) {
    while !program.has_aborted() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn rows(bed: &Bed) -> Vec<SessionRecord> {
    let filter = SessionFilter { ended: true, limit: 10_000, ..SessionFilter::default() };
    bed.store.sessions(&filter).await.unwrap()
}

/// Clients come and go, until the daemon has gone.
async fn live(
    bed: &Bed,
    listener: &Listener,
    life: Life,
    came: &mut Came,
    stop: impl Fn(),
) -> Option<()> {
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    for cid in [0, 1] {
        log_in(&mut controller, cid).await?;
        came.insert(cid);
    }
    if life == Life::Outage || life == Life::Stop {
        // Both are in the table before it takes nothing any more.
        while rows(bed).await.iter().filter(|s| s.state == SessionState::Active).count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    match life {
        Life::Calm => controller.disconnect(0).await,
        Life::Outage => {
            let url = format!("sqlite://{}", bed.database().display());
            let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
            controller.disconnect(0).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        }
        Life::Stop => {
            controller.disconnect(0).await;
            while !rows(bed).await.iter().any(|s| s.state == SessionState::Closed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop();
        }
        Life::Crowd => {
            controller.disconnect(0).await;
            for first in (2..).step_by(AT_ONCE as usize) {
                crowd(&mut controller, first..first + AT_ONCE, came).await?;
            }
        }
    }
    while controller.try_line().await.is_some() {}
    Some(())
}

/// So many come at once: while some are written, others wait.
const AT_ONCE: u32 = 200;

/// They come and go. `None` when the daemon has gone.
async fn crowd(
    controller: &mut Controller,
    cids: std::ops::Range<u32>,
    came: &mut Came,
) -> Option<()> {
    for cid in cids.clone() {
        controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    }
    let mut unanswered = cids.len();
    while unanswered > 0 {
        let line = controller.try_line().await?;
        if let Some(rest) = line.strip_prefix("client-auth ") {
            let cid = rest.split(' ').next()?.parse().ok()?;
            while controller.try_line().await? != "END" {}
            controller.establish(cid).await;
            came.insert(cid);
            controller.disconnect(cid).await;
            unanswered -= 1;
        } else if line.starts_with("client-deny ") {
            controller.say("SUCCESS: client-deny command succeeded\n").await;
            unanswered -= 1;
        }
    }
    Some(())
}

/// One client leaves and one stays; the daemon ends at `point` the `turn`th time that it gets there, and its successor
/// at `then`, if anywhere.
async fn crash_at(point: &str, turn: u32, life: Life, then: Option<&str>) {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let port = listener.address().port();
    let start = |point: &str, turn: u32| {
        let variable = ("WARDEN_FAIL_POINT", format!("{point}:{turn}"));
        Program::start_with(bed.folder(), port, &more, &[variable])
    };
    let what = format!("{point}:{turn}, {then:?}");
    let mut program = start(point, turn);
    let (stop, mut came) = (program.terminator(), Came::new());
    tokio::select! {
        // It notices as well, and says what has become of the clients.
        () = tokio::time::sleep(Duration::from_secs(30)) => {}
        () = async {
            live(&bed, &listener, life, &mut came, stop).await;
            std::future::pending().await
        } => {}
        () = aborted(&mut program) => {}
    }
    assert!(program.has_aborted(), "{what} was not reached:\n{}", program.log());
    drop(program);
    if let Some(point) = then {
        let there: Vec<_> =
            came.get(&1).map(|_| client_row(1, "alice", "10.8.0.6")).into_iter().collect();
        let mut program = start(point, 1);
        let mut controller = listener.accept().await;
        let lived = async {
            controller.attach(RUN, &there).await;
            while controller.try_line().await.is_some() {}
            tokio::time::sleep(Duration::from_secs(30)).await;
        };
        tokio::select! {
            () = lived => {}
            () = aborted(&mut program) => {}
        }
        assert!(program.has_aborted(), "{what} was not reached:\n{}", program.log());
    }
    let program = Program::start(bed.folder(), port, &more);
    let controller = listener.accept().await;
    are_right(&bed, &program, controller, &came, &what).await;
    let log = program.log();
    assert!(!log.contains("journal.failed") && !log.contains("store.refused"), "{what}:\n{log}");
}

/// Octets both ways of whoever has ended.
fn ended(rows: &[SessionRecord]) -> (u64, u64) {
    let closed = rows.iter().filter(|row| row.state == SessionState::Closed);
    closed.fold((0, 0), |all, row| (all.0 + row.bytes_received, all.1 + row.bytes_sent))
}

/// What quotas count.
async fn used(bed: &Bed) -> (u64, u64) {
    let url = format!("sqlite://{}", bed.database().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sum =
        "SELECT COALESCE(SUM(bytes_received), 0), COALESCE(SUM(bytes_sent), 0) FROM usage_periods";
    let (received, sent): (i64, i64) =
        sqlx::query_as(sum).fetch_one(&mut connection).await.unwrap();
    (received.try_into().unwrap(), sent.try_into().unwrap())
}

/// Who is in and who has left has one row each, once a daemon has compared them with the server.
async fn are_right(
    bed: &Bed,
    program: &Program,
    mut controller: Controller,
    came: &Came,
    what: &str,
) {
    // The server knows who is still there, whatever its controller got to hear.
    let there: Vec<_> =
        came.get(&1).map(|_| client_row(1, "alice", "10.8.0.6")).into_iter().collect();
    controller.attach(RUN, &there).await;
    let wrong = async || {
        let mut rows = rows(bed).await;
        rows.retain(|row| row.server.as_str() == "udp");
        let count = |cid: u32, state| {
            rows.iter().filter(|row| row.cid.0 == cid && row.state == state).count()
        };
        // Whoever was let in has a row, and one. Who was not told may have one.
        let mut wrong =
            rows.iter().map(|row| row.cid.0).chain(came.iter().copied()).filter(|cid| {
                let (all, open) =
                    (count(*cid, SessionState::Closed), count(*cid, SessionState::Active));
                let is_in = *cid == 1 && came.contains(cid);
                let is_missing = all == 0 && came.contains(cid);
                if is_in { (all, open) != (0, 1) } else { all > 1 || open > 0 || is_missing }
            });
        wrong.next()
    };
    let mut found = None;
    for _ in 0..200 {
        found = wrong().await;
        // A line that was written is of a session, whoever has heard of it.
        let is_short = what.starts_with("approvals.added") && rows(bed).await.is_empty();
        if found.is_none() && !is_short {
            assert_eq!(used(bed).await, ended(&rows(bed).await), "{what}: written twice");
            return;
        }
        // It asks whether the server is there.
        if let Some(line) = controller.line_within(Duration::from_millis(50)).await
            && line == "state"
        {
            controller.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
        }
    }
    panic!("{what}: client {found:?} of {came:?} in {:?}\n{}", rows(bed).await, program.log());
}

/// `None` when the daemon has gone.
async fn log_in(controller: &mut Controller, cid: u32) -> Option<()> {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    loop {
        let line = controller.try_line().await?;
        if line == "END" {
            break;
        }
        if line == "state" {
            controller.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
        }
        assert!(!line.starts_with("client-deny"), "{line}");
    }
    controller.establish(cid).await;
    Some(())
}

#[tokio::test]
async fn the_end_at_any_place_of_the_writer_and_the_journal_loses_and_doubles_no_row() {
    for (point, life) in POINTS {
        crash_at(point, 1, life, None).await;
    }
    // Also in the middle of the life of a session.
    for (point, turn) in [("writer.taken", 2), ("writer.written", 2)] {
        crash_at(point, turn, Life::Calm, None).await;
    }
}

#[tokio::test]
async fn the_end_at_any_place_of_the_file_of_approvals_loses_and_doubles_no_row() {
    for (point, life) in OF_APPROVALS {
        crash_at(point, 1, life, None).await;
    }
    // Its successor ends when it has taken over what the first one has left.
    for then in ["left.removing", "left.removed"] {
        crash_at("writer.taken", 1, Life::Calm, Some(then)).await;
    }
}

/// A session is taken down three times: when it is let in, when it is up, and when it ends.
const PERSISTED: u32 = 5;

#[tokio::test]
async fn a_panic_between_an_answer_and_its_row_disturbs_no_other_server_and_loses_no_row() {
    for turn in 1..=PERSISTED {
        let (listener, beside) = (Listener::tcp().await, Listener::tcp().await);
        let bed = Bed::new(&listener).await;
        let more = format!(
            "[journal]\npath = \"{}\"\n[[servers]]\nname = \"other\"\nmanagement = \"tcp://{}\"\n",
            bed.folder().join("journal.db").display(),
            beside.address()
        );
        let point = ("WARDEN_FAIL_POINT", format!("link.persisting:{turn}:panic"));
        let program = Program::start_with(bed.folder(), listener.address().port(), &more, &[point]);
        let mut other = beside.accept().await;
        other.attach(RUN, &[]).await;
        let mut came = Came::new();
        let lived = live(&bed, &listener, Life::Calm, &mut came, || {});
        let lived = tokio::time::timeout(Duration::from_secs(30), lived).await;
        assert!(lived.is_ok(), "turn {turn} was not reached:\n{}", program.log());
        // Its client was not there before, and comes meanwhile.
        log_in(&mut other, 7).await.unwrap();
        let again = listener.accept().await;
        are_right(&bed, &program, again, &came, &format!("turn {turn}")).await;
        assert!(
            rows(&bed).await.iter().any(|row| row.cid.0 == 7 && row.state == SessionState::Active)
        );
        let log = program.log();
        assert_eq!(log.matches("a fault of ovpn-warden itself: please report it").count(), 1);
        assert!(!log.contains("as a test wants it"), "its text may quote what a client sent");
    }
}

#[tokio::test]
async fn a_panic_of_what_serves_all_links_ends_the_daemon_for_its_supervisor_and_loses_no_row() {
    for point in ["writer.taken:1:panic", "writer.written:2:panic", "poller.asked:2:panic"] {
        let listener = Listener::tcp().await;
        let bed = Bed::new(&listener).await;
        let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
        let port = listener.address().port();
        let point_of = ("WARDEN_FAIL_POINT", point.to_owned());
        let mut program = Program::start_with(bed.folder(), port, &more, &[point_of]);
        let mut came = Came::new();
        let ended = async {
            while !program.has_failed() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let lived = async {
            live(&bed, &listener, Life::Calm, &mut came, || {}).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = lived => {}
            () = ended => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
        }
        assert!(program.has_failed(), "{point}: it goes on:\n{}", program.log());
        drop(program);
        let program = Program::start(bed.folder(), port, &more);
        let controller = listener.accept().await;
        are_right(&bed, &program, controller, &came, point).await;
    }
}
