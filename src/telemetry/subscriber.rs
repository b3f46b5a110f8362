//! Where log lines go: to stdout, over a bounded queue and one thread, so that a pipe that
//! nobody reads never stalls a login.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Registry, filter::Targets, prelude::*, reload};

use crate::config::{Log, LogFormat};

use super::{
    events::Event,
    line::{Form, Line},
    metrics,
};

/// Lines that may wait for a slow reader; beyond it they are dropped and counted.
const QUEUE: usize = 8_192;

/// How often lost lines are told.
const TELL_DROPPED: Duration = Duration::from_secs(10);

/// Why logging cannot start.
#[derive(Debug, Error)]
pub enum LogError {
    /// It runs already.
    #[error("a logger is installed already")]
    Installed,
    /// There is no standard output.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// The metrics recorder cannot be made.
    #[error(transparent)]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// What waits at the end is written if somebody reads it in this time: as long as the writer itself allows
/// for it, which then, being told to end, waits for the reader, too.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Keeps logging alive; dropping it writes what waits, and gives up a reader that does not come.
pub struct Logging {
    dropped: Dropped,
    filter: reload::Handle<Targets, Registry>,
    /// For `/metrics`.
    pub metrics: PrometheusHandle,
    guard: Option<WorkerGuard>,
}

impl Logging {
    /// Changes the least level of the lines, while running.
    pub fn set_level(&self, level: LevelFilter) {
        // It fails only when the subscriber is gone, and then nothing is logged any more.
        let _ = self.filter.reload(filter(level));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.dropped.tell();
        let Some(guard) = self.guard.take() else { return };
        let (sender, written) = mpsc::channel();
        let end = move || {
            drop(guard);
            // Nobody waits any more.
            let _ = sender.send(());
        };
        // Without a thread it is dropped here and now, with the error.
        if std::thread::Builder::new().name("last-lines".into()).spawn(end).is_ok() {
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

/// Lines that were lost, and how many of them were told.
#[derive(Clone)]
struct Dropped {
    counter: ErrorCounter,
    /// Those that were not taken, as by a full disk.
    refused: Arc<AtomicUsize>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    lines: AtomicUsize,
    /// What was told before the last time, and how many had been refused by then.
    before: AtomicUsize,
    refused: AtomicUsize,
}

impl Dropped {
    fn lines(&self) -> usize {
        self.counter.dropped_lines().saturating_add(self.refused.load(Ordering::Relaxed))
    }

    fn tell(&self) {
        let get = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let set = |number: &AtomicUsize, to| number.store(to, Ordering::Relaxed);
        let refused = get(&self.refused);
        // Where a line was refused since, it may have been the last one of these.
        if refused > get(&self.told.refused) {
            set(&self.told.lines, get(&self.told.before));
        }
        let (lost, told) = (self.lines(), get(&self.told.lines));
        if lost <= told {
            return;
        }
        set(&self.told.before, told);
        set(&self.told.refused, refused);
        Event::LogDropped { lines: lost - told }.emit();
        // Where a line was lost meanwhile, it may have been this one: the next tells of these, too.
        if self.lines() == lost {
            set(&self.told.lines, lost);
        }
    }

    /// Tells now and then for as long as the runtime turns.
    fn watch(&self) {
        let (dropped, runtime) = (self.clone(), tokio::runtime::Handle::try_current());
        let Ok(runtime) = runtime else { return };
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(TELL_DROPPED).await;
                dropped.tell();
            }
        });
    }
}

/// Lines that are there together are written together, up to so many bytes.
const TOGETHER: usize = 16 << 10;

/// Takes each line whole or counts it: what comes after one that was cut begins a line of its own. Lines wait here until
/// there is no other one in the queue.
struct Whole<W> {
    out: W,
    waiting: Vec<u8>,
    is_cut: bool,
    refused: Arc<AtomicUsize>,
}

impl<W: Write> Whole<W> {
    const fn new(out: W, refused: Arc<AtomicUsize>) -> Self {
        Self { out, waiting: Vec::new(), is_cut: false, refused }
    }

    /// The first error; the lines after it are tried all the same.
    fn lines(&mut self) -> io::Result<()> {
        let (mut result, waiting) = (Ok(()), std::mem::take(&mut self.waiting));
        let (mut rest, mut is_begun) = (&waiting[..], false);
        while !rest.is_empty() {
            let text = if self.is_cut { b"\n" } else { rest };
            let error = match self.out.write(text) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(_) if self.is_cut => {
                    self.is_cut = false;
                    continue;
                }
                Ok(written) => {
                    is_begun = rest[..written].last() != Some(&b'\n');
                    rest = &rest[written..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.refused.fetch_add(1, Ordering::Relaxed);
            result = result.and(Err(error));
            self.is_cut |= std::mem::take(&mut is_begun);
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            rest = &rest[end..];
        }
        self.waiting = waiting;
        self.waiting.clear();
        result
    }
}

impl<W: Write> Write for Whole<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(line);
        if self.waiting.len() >= TOGETHER {
            self.lines()?;
        }
        Ok(line.len())
    }

    /// What is refused is counted, and nobody is to wait for it at the end.
    fn flush(&mut self) -> io::Result<()> {
        let _ = self.lines();
        self.out.flush()
    }
}

/// A writer that keeps so many lines for a slow reader and loses what comes beyond.
fn bounded(out: impl Write + Send + 'static, room: usize) -> (NonBlocking, Dropped, WorkerGuard) {
    let refused = Arc::<AtomicUsize>::default();
    let out = Whole::new(out, Arc::clone(&refused));
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(room).lossy(true).finish(out);
    let dropped = Dropped { counter: writer.error_counter(), refused, told: Arc::default() };
    (writer, dropped, guard)
}

/// Our own lines from `level` on. Of dependencies only warnings: what they say at lower levels is
/// not ours to answer for, and might hold a secret.
fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_target("ovpn_warden", level).with_default(level.min(LevelFilter::WARN))
}

/// A fault of ours is a line like all others: where it was, and not its text, which may quote what
/// a client sent.
pub(super) fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, "a fault of ovpn-warden itself: please report it");
}

/// Starts logging and counting for the whole process.
///
/// # Errors
/// [`LogError`] when either runs already.
pub fn init(log: &Log) -> Result<Logging, LogError> {
    let metrics = metrics::install()?;
    let stdout = io::stdout();
    let form = match log.format {
        LogFormat::Json => Form::Json,
        LogFormat::Pretty => {
            // Whatever it is set to, unless to nothing: https://no-color.org
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|word| !word.is_empty());
            Form::Pretty(stdout.is_terminal() && !is_unwanted)
        }
        LogFormat::Compact => Form::Compact,
    };
    // Not by way of `Stdout`: whoever waits for a reader there holds its lock, also against the end of the process.
    let out = File::from(stdout.as_fd().try_clone_to_owned()?);
    let (writer, dropped, guard) = bounded(out, QUEUE);
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let layer = tracing_subscriber::fmt::layer().event_format(Line::new(form)).with_writer(writer);
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|_| LogError::Installed)?;
    dropped.watch();
    std::panic::set_hook(Box::new(tell_panic));
    Ok(Logging { dropped, filter: handle, metrics, guard: Some(guard) })
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex, MutexGuard};

    use super::*;

    #[derive(Default)]
    struct State {
        is_read: bool,
        is_waited_for: bool,
        text: Vec<u8>,
    }

    /// Takes nothing until somebody reads.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(Mutex<State>, Condvar)>);

    impl Pipe {
        fn read_on(&self) {
            self.0.0.lock().unwrap().is_read = true;
            self.0.1.notify_all();
        }

        fn until(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
            let guard = self.0.0.lock().unwrap();
            let waited =
                self.0.1.wait_timeout_while(guard, Duration::from_secs(10), |state| !is_so(state));
            waited.unwrap().0
        }

        /// The thread that writes: what comes now stays in its queue.
        fn is_waited_for(&self) {
            assert!(self.until(|state| state.is_waited_for).is_waited_for);
        }

        /// Once there are so many.
        fn lines(&self, count: usize) -> Vec<serde_json::Value> {
            let is_there =
                |state: &State| state.text.iter().filter(|byte| **byte == b'\n').count() >= count;
            let text = String::from_utf8(self.until(is_there).text.clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let mut guard = self.0.0.lock().unwrap();
            guard.is_waited_for = true;
            self.0.1.notify_all();
            let mut state = self.0.1.wait_while(guard, |state| !state.is_read).unwrap();
            state.text.extend_from_slice(line);
            self.0.1.notify_all();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk that has room for so much.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let (room, text) = &mut *self.0.lock().unwrap();
            let taken = line.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken;
            text.extend_from_slice(&line[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_the_lines_for_which_it_has_no_room_and_no_other() {
        let disk = Disk::default();
        let refused = Arc::<AtomicUsize>::default();
        let mut whole = Whole::new(disk.clone(), Arc::clone(&refused));
        let mut write = |lines: &[&str], room| {
            disk.0.lock().unwrap().0 += room;
            lines.iter().for_each(|line| whole.write_all(line.as_bytes()).unwrap());
            whole.flush().unwrap();
        };
        // Of each of those that come together, too.
        write(&["first\n", "second\n", "third\n"], 10);
        write(&["fourth\n"], 0);
        write(&["fifth\n", "sixth\n"], 100);
        let text = String::from_utf8(disk.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "first\nseco\nfifth\nsixth\n");
        assert_eq!(refused.load(Ordering::Relaxed), 3);
    }

    /// Each write of its own.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<usize>>>);

    impl Write for Writes {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(lines.len());
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_are_there_together_are_one_write_and_many_wait_for_no_end() {
        let writes = Writes::default();
        let mut whole = Whole::new(writes.clone(), Arc::default());
        (0..3).for_each(|_| whole.write_all(b"a line\n").unwrap());
        whole.flush().unwrap();
        whole.flush().unwrap();
        assert_eq!(*writes.0.lock().unwrap(), [21]);
        (0..TOGETHER).for_each(|_| whole.write_all(b"a line\n").unwrap());
        let most = *writes.0.lock().unwrap().iter().max().unwrap();
        assert!((TOGETHER..TOGETHER + 7).contains(&most), "{most}");
    }

    #[test]
    fn lines_that_were_not_taken_are_told_when_a_line_is_taken_again() {
        let disk = Disk::default();
        let (writer, dropped, guard) = bounded(disk.clone(), QUEUE);
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line::new(Form::Json))
            .with_writer(writer);
        let refused = |count| {
            while dropped.refused.load(Ordering::Relaxed) < count {
                std::thread::yield_now();
            }
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..5 {
                tracing::warn!("a line");
            }
            refused(5);
            // Nor are these.
            dropped.tell();
            refused(6);
            dropped.tell();
            refused(7);
            disk.0.lock().unwrap().0 = 10_000;
            dropped.tell();
            dropped.tell();
            drop(guard);
        });
        let text = String::from_utf8(disk.0.lock().unwrap().1.clone()).unwrap();
        let told: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(told.len(), 1, "{text}");
        assert_eq!((&told[0]["event"], &told[0]["lines"]), (&"log.dropped".into(), &7.into()));
    }

    #[test]
    fn lines_that_are_lost_are_told_also_when_that_line_is_lost_itself() {
        const ROOM: usize = 4;
        let pipe = Pipe::default();
        let (writer, dropped, guard) = bounded(pipe.clone(), ROOM);
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line::new(Form::Json))
            .with_writer(writer);
        let told =
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::warn!("a line");
                pipe.is_waited_for();
                for _ in 0..ROOM + 95 {
                    tracing::warn!("a line");
                }
                // Nobody reads that either.
                dropped.tell();
                dropped.tell();
                assert_eq!(dropped.counter.dropped_lines(), 97);
                pipe.read_on();
                // Until the queue is empty.
                assert_eq!(pipe.lines(1 + ROOM).len(), 1 + ROOM);
                // Once is enough.
                dropped.tell();
                dropped.tell();
                drop(guard);
                pipe.lines(1 + ROOM + 1)
            });
        assert_eq!(told.len(), 1 + ROOM + 1, "{told:?}");
        let last = told.last().unwrap();
        assert_eq!((&last["event"], &last["lines"]), (&"log.dropped".into(), &97.into()));
        assert!(told[..=ROOM].iter().all(|line| line["event"] != "log.dropped"), "{told:?}");
    }
}
