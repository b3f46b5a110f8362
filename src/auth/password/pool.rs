//! The threads that hash. As many as configured, with one bounded queue in front of them.
//!
//! OpenVPN has one thread, through which all tunnels go. Of several hashing threads the last one only helps, once many
//! logins wait or one has waited long: a few leave a processor to OpenVPN. And where a few are hashed, there are pauses.
//!
//! A renegotiation of a live session goes before new logins: a late answer would evict it. Work
//! whose asker has gone is skipped, so that a flood that timed out is not hashed for nothing.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::types::{Clock, Mono, Password};

use super::{
    HashParams, PasswordError, Workspace, hash_with, pause::Pauses, share::yield_to_others, verify,
};

/// Which queue a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A live session's renegotiation.
    Live,
    /// A new login.
    Login,
    /// A hash nobody waits for, as an upgrade.
    Background,
}

/// Why a job was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PoolError {
    /// The queue is full.
    #[error("too many logins wait for a hashing thread")]
    Overloaded,
    /// The pool is shutting down or a thread has died.
    #[error("no hashing thread answers")]
    Gone,
    /// The hash itself failed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

enum Work {
    Verify(Password, Arc<str>, oneshot::Sender<Result<(bool, Duration), PasswordError>>),
    Hash(Password, HashParams, oneshot::Sender<Result<String, PasswordError>>),
    /// Panics.
    #[cfg(test)]
    Fault(oneshot::Sender<()>),
    /// Says on which thread it is, by name and number, and keeps it until it is told to go on.
    #[cfg(test)]
    Hold(std::sync::mpsc::Receiver<()>, oneshot::Sender<(String, i32)>),
}

impl Work {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Verify(_, _, asker) => !asker.is_closed(),
            Self::Hash(_, _, asker) => !asker.is_closed(),
            #[cfg(test)]
            Self::Fault(asker) => !asker.is_closed(),
            #[cfg(test)]
            Self::Hold(_, asker) => !asker.is_closed(),
        }
    }

    fn run(self, workspace: &mut Workspace, clock: Clock) {
        // The asker may have gone meanwhile: nobody to tell.
        match self {
            Self::Verify(password, stored, asker) => {
                let begun = clock.now().mono;
                let compared = verify(&password, &stored, workspace);
                let took = clock.now().mono - begun;
                let _ = asker.send(compared.map(|is_right| (is_right, took)));
            }
            Self::Hash(password, params, asker) => {
                let salt: [u8; 16] = rand::random();
                let _ = asker.send(hash_with(&password, &params, &salt, workspace));
            }
            #[cfg(test)]
            Self::Fault(_) => panic!("as asked"),
            #[cfg(test)]
            Self::Hold(until, asker) => {
                let name = thread::current().name().unwrap_or_default().to_owned();
                let _ = asker.send((name, super::pause::this_thread()));
                let _ = until.recv();
            }
        }
    }
}

/// Waits since then.
struct Job(Work, Mono);

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Takes whatever waits.
    Works,
    /// Takes logins, from when help is needed until none waits.
    Helps,
}

/// What the thread that helps is to do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Help {
    /// Nothing: no login waits that is nobody's yet.
    #[default]
    No,
    /// To look whether one waits for long.
    Watch,
    /// To help until none waits.
    Yes,
}

/// Help is needed where more logins wait than this, or than half of what a queue takes beside those that are being hashed,
const MANY: usize = 16;
/// or where one has waited for so long.
const LONG: Duration = Duration::from_millis(500);

/// How many logins wait in front of the pool, until it is their turn: told by who lets them come, counted with those that
/// wait in it.
#[derive(Debug, Clone, Default)]
pub struct Crowd(Arc<AtomicUsize>);

impl Crowd {
    /// So many are there now.
    pub fn is(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Queues {
    live: VecDeque<Job>,
    login: VecDeque<Job>,
    background: VecDeque<Job>,
    closed: bool,
    /// Threads that wait for work, or have been woken for it: only these have to be woken, which asks the system each time.
    idle: usize,
    help: Help,
}

impl Queues {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Login => &mut self.login,
            Priority::Background => &mut self.background,
        }
    }

    /// Those of live and new sessions.
    fn logins(&self) -> usize {
        self.live.len() + self.login.len()
    }

    /// Since when the first of them waits.
    fn oldest(&self) -> Option<Mono> {
        let first = [self.live.front(), self.login.front()];
        first.into_iter().flatten().map(|Job(_, since)| *since).min()
    }

    fn pop(&mut self) -> Option<Next> {
        let is_one_of_few = self.help != Help::Yes;
        let job = self.live.pop_front().or_else(|| self.login.pop_front());
        let job = job.or_else(|| self.background.pop_front());
        if self.logins() == 0 {
            self.help = Help::No;
        }
        job.map(|Job(work, _)| Next { work, is_one_of_few })
    }

    /// Asks for help with what is left once all who are idle have one, `crowd` to come behind it; whether the thread that
    /// helps has to be told.
    fn call(&mut self, crowd: usize, many: usize) -> bool {
        let help = match self.logins().saturating_sub(self.idle) {
            0 => Help::No,
            left if left.saturating_add(crowd) <= many => Help::Watch,
            _ => Help::Yes,
        };
        let is_more = help > self.help;
        self.help = self.help.max(help);
        is_more
    }
}

/// What a thread is to do.
struct Next {
    work: Work,
    /// No help is needed: there is time for pauses.
    is_one_of_few: bool,
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
    /// For the thread that helps.
    help: Condvar,
    /// What is many, and what is long.
    many: usize,
    long: Duration,
    crowd: Crowd,
    clock: Clock,
}

impl Shared {
    fn new(queue: usize, long: Duration) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            ready: Condvar::new(),
            help: Condvar::new(),
            many: MANY.min(queue / 2),
            long,
            crowd: Crowd::default(),
            clock: Clock::new(),
        })
    }

    /// A thread that panicked inside a hash leaves the queues whole: go on.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread is to do, as soon as there is something; `None`: it ends.
    fn next(&self, part: Part) -> Option<Next> {
        match part {
            Part::Works => self.next_work(),
            Part::Helps => self.next_help(),
        }
    }

    fn next_work(&self) -> Option<Next> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(next) = queues.pop() {
                return Some(next);
            }
            queues.idle += 1;
            queues = self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
            queues.idle -= 1;
        }
    }

    fn next_help(&self) -> Option<Next> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            let since = queues.oldest().filter(|_| queues.help != Help::No);
            let rest = since.map(|since| self.long.saturating_sub(self.clock.now().mono - since));
            if rest == Some(Duration::ZERO) {
                queues.help = Help::Yes;
            }
            queues = match rest {
                // A login: one waits.
                Some(_) if queues.help == Help::Yes => return queues.pop(),
                Some(rest) => {
                    let woken = self.help.wait_timeout(queues, rest);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.help.wait(queues).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The hashing threads. Dropping it ends them once their present hash is done.
pub struct HashPool {
    shared: Arc<Shared>,
    capacity: usize,
}

impl HashPool {
    /// Starts `workers` threads; each of the queues holds at most `capacity` jobs.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub fn new(workers: NonZeroUsize, capacity: usize) -> std::io::Result<Self> {
        Self::with_patience(workers, capacity, LONG)
    }

    fn with_patience(
        workers: NonZeroUsize,
        capacity: usize,
        long: Duration,
    ) -> std::io::Result<Self> {
        let queue = capacity.saturating_sub(workers.get());
        let pool = Self { shared: Shared::new(queue, long), capacity };
        for number in 0..workers.get() {
            let shared = Arc::clone(&pool.shared);
            let is_last = number > 0 && number + 1 == workers.get();
            let part = if is_last { Part::Helps } else { Part::Works };
            let name = format!("hash-{number}");
            thread::Builder::new().name(name).spawn(move || work(&shared, part))?;
        }
        Ok(pool)
    }

    /// Compares a password with a stored hash on a hashing thread; what it says, and how long it took there.
    ///
    /// # Errors
    /// [`PoolError`]; `Overloaded` at once when the queue is full.
    pub async fn verify(
        &self,
        password: Password,
        stored: Arc<str>,
        priority: Priority,
    ) -> Result<(bool, Duration), PoolError> {
        let (asker, answer) = oneshot::channel();
        self.enqueue(Work::Verify(password, stored, asker), priority)?;
        Ok(answer.await.map_err(|_| PoolError::Gone)??)
    }

    /// Makes a new hash on a hashing thread.
    ///
    /// # Errors
    /// [`PoolError`]; `Overloaded` at once when the queue is full.
    pub async fn hash(
        &self,
        password: Password,
        params: HashParams,
        priority: Priority,
    ) -> Result<String, PoolError> {
        let (asker, answer) = oneshot::channel();
        self.enqueue(Work::Hash(password, params, asker), priority)?;
        Ok(answer.await.map_err(|_| PoolError::Gone)??)
    }

    /// To tell it of those that wait elsewhere.
    pub fn crowd(&self) -> Crowd {
        self.shared.crowd.clone()
    }

    /// Jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        let queues = self.shared.lock();
        queues.logins() + queues.background.len()
    }

    fn enqueue(&self, work: Work, priority: Priority) -> Result<(), PoolError> {
        let mut queues = self.shared.lock();
        let queue = queues.of(priority);
        if queue.len() >= self.capacity {
            queue.retain(|Job(work, _)| work.is_wanted());
            if queue.len() >= self.capacity {
                return Err(PoolError::Overloaded);
            }
        }
        queue.push_back(Job(work, self.shared.clock.now().mono));
        let is_awaited = queues.idle > 0;
        let calls = queues.call(self.shared.crowd.count(), self.shared.many);
        drop(queues);
        if is_awaited {
            self.shared.ready.notify_one();
        }
        if calls {
            self.shared.help.notify_one();
        }
        Ok(())
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
        self.shared.help.notify_all();
    }
}

fn work(shared: &Shared, part: Part) {
    yield_to_others();
    let pauses = Pauses::of_this_thread();
    let mut workspace = Workspace::default();
    while let Some(Next { work, is_one_of_few }) = shared.next(part) {
        if work.is_wanted() {
            // A fault in a hash costs its asker an answer, and not all others a thread.
            let run = || work.run(&mut workspace, shared.clock);
            let run = || catch_unwind(AssertUnwindSafe(run));
            let done = if is_one_of_few { pauses.during(run) } else { run() };
            if done.is_err() {
                workspace = Workspace::default();
            }
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
