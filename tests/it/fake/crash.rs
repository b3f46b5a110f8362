//! The daemon ends as by SIGKILL at every place of the writer and of the journal that matters, and its
//! successor has to find everything.

use sqlx::Connection as _;

use super::{outage::Program, *};

/// Each place, and whether it is reached only while the database takes nothing, or right after that.
const POINTS: [(&str, bool); 8] = [
    ("writer.taken", false),
    ("writer.written", false),
    ("journal.marked", false),
    ("journal.begun", false),
    ("journal.appending", true),
    ("journal.appended", true),
    ("journal.replayed", true),
    ("journal.removed", true),
];

/// One client leaves and one stays; the daemon ends at `point` the `turn`th time that it gets there.
async fn crash_at(point: &str, turn: u32, is_in_outage: bool) {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let more = format!("[journal]\npath = \"{}\"\n", bed.folder().join("journal.db").display());
    let port = listener.address().port();
    let mut program = Program::start_with(
        bed.folder(),
        port,
        &more,
        &[("WARDEN_FAIL_POINT", format!("{point}:{turn}"))],
    );
    let what = format!("{point}:{turn}");
    let (mut in_0, mut in_1) = (false, false);
    let life = async {
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[]).await;
        log_in(&mut controller, 0).await?;
        in_0 = true;
        log_in(&mut controller, 1).await?;
        in_1 = true;
        if is_in_outage {
            // Both are in the table before it takes nothing any more.
            while bed.sessions().await.iter().filter(|s| s.state == SessionState::Active).count()
                < 2
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let url = format!("sqlite://{}", bed.database().display());
            let mut holder = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
            controller.disconnect(0).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        } else {
            controller.disconnect(0).await;
        }
        // The connection breaks when the daemon ends.
        while controller.try_line().await.is_some() {}
        Some(())
    };
    let aborted = async {
        while !program.has_aborted() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        // It notices as well, and says what has become of the clients.
        _ = async { tokio::join!(life, tokio::time::sleep(Duration::from_secs(12))) } => {}
        () = aborted => {}
    }
    assert!(program.has_aborted(), "{what} was not reached:\n{}", program.log());
    drop(program);
    let program = Program::start(bed.folder(), port, &more);
    let mut controller = listener.accept().await;
    // The server knows who is still there, whatever its controller got to hear.
    let rows: Vec<_> = if in_1 { vec![client_row(1, "alice", "10.8.0.6")] } else { Vec::new() };
    controller.attach(RUN, &rows).await;
    let is_right = async || {
        let sessions = bed.sessions().await;
        let of = |cid: u32| sessions.iter().filter(move |s| s.cid.0 == cid).collect::<Vec<_>>();
        let (left, stayed) = (of(0), of(1));
        // Who had left before anything of it was stored, nobody can know of.
        let is_left = left.iter().all(|s| s.state == SessionState::Closed) && left.len() <= 1;
        let is_in = stayed.iter().filter(|s| s.state == SessionState::Active).count();
        is_left
            && is_in == usize::from(in_1)
            && stayed.len() == usize::from(in_1)
            && (!is_in_outage || left.len() == usize::from(in_0))
    };
    for _ in 0..200 {
        if is_right().await {
            let log = program.log();
            assert!(
                !log.contains("journal.failed") && !log.contains("store.refused"),
                "{what}:\n{log}"
            );
            return;
        }
        // It asks whether the server is there.
        if let Some(line) = controller.line_within(Duration::from_millis(50)).await
            && line == "state"
        {
            controller.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
        }
    }
    panic!("{what}: {:?}\n{}", bed.sessions().await, program.log());
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
    for (point, is_in_outage) in POINTS {
        crash_at(point, 1, is_in_outage).await;
    }
    // Also in the middle of the life of a session.
    for (point, turn) in [("writer.taken", 2), ("writer.written", 2)] {
        crash_at(point, turn, false).await;
    }
}
