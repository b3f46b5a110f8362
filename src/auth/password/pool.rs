//! The threads that hash. As many as configured, with one bounded queue in front of them.
//!
//! OpenVPN has one thread, through which all tunnels go. Of several hashing threads the last one only helps, while many
//! passwords wait or one has waited long: a few logins leave a processor to OpenVPN.
//!
//! A renegotiation of a live session goes before new logins: a late answer would evict it. Work
//! whose asker has gone is skipped, so that a flood that timed out is not hashed for nothing.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::types::{Clock, Mono, Password};

use super::{HashParams, PasswordError, Workspace, hash_with, verify};

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
    /// Says on which thread it is, and keeps it until it is told to go on.
    #[cfg(test)]
    Hold(std::sync::mpsc::Receiver<()>, oneshot::Sender<Option<String>>),
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
                let _ = asker.send(thread::current().name().map(str::to_owned));
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
    /// Takes what waits while help is needed.
    Helps,
}

/// Help is needed where more passwords wait than this,
const MANY: usize = 16;
/// or one has waited for so long, and then until none waits.
const LONG: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Queues {
    live: VecDeque<Job>,
    login: VecDeque<Job>,
    background: VecDeque<Job>,
    closed: bool,
    /// Threads that wait for work: only these have to be woken, which asks the system each time.
    idle: usize,
    needs_help: bool,
}

impl Queues {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Login => &mut self.login,
            Priority::Background => &mut self.background,
        }
    }

    fn len(&self) -> usize {
        self.live.len() + self.login.len() + self.background.len()
    }

    /// What a thread is to do `now`, if anything.
    fn next(&mut self, part: Part, now: Mono) -> Option<Work> {
        if part == Part::Helps && !self.needs_help {
            return None;
        }
        let queues = [&mut self.live, &mut self.login, &mut self.background];
        let next = queues.into_iter().find_map(VecDeque::pop_front);
        let waited = next.as_ref().map_or(Duration::ZERO, |Job(_, since)| now - *since);
        self.needs_help = self.len() > 0 && (self.needs_help || waited >= LONG);
        next.map(|Job(work, _)| work)
    }
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
    /// For the thread that helps.
    help: Condvar,
    clock: Clock,
}

impl Shared {
    fn new() -> Arc<Self> {
        let queues = Mutex::default();
        Arc::new(Self { queues, ready: Condvar::new(), help: Condvar::new(), clock: Clock::new() })
    }

    /// A thread that panicked inside a hash leaves the queues whole: go on.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread is to do, as soon as there is something; `None`: it ends.
    fn take(&self, part: Part) -> Option<Work> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            let needed_help = queues.needs_help;
            if let Some(work) = queues.next(part, self.clock.now().mono) {
                let calls = queues.needs_help && !needed_help;
                drop(queues);
                if calls {
                    self.help.notify_one();
                }
                return Some(work);
            }
            queues = match part {
                Part::Works => {
                    queues.idle += 1;
                    let mut queues = wait(&self.ready, queues);
                    queues.idle -= 1;
                    queues
                }
                Part::Helps => wait(&self.help, queues),
            };
        }
    }
}

fn wait<'a>(until: &Condvar, queues: MutexGuard<'a, Queues>) -> MutexGuard<'a, Queues> {
    until.wait(queues).unwrap_or_else(PoisonError::into_inner)
}

/// By how much less than others a hashing thread gets of a processor that is full: about a third of what they do.
const NICE: i32 = 5;

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
        let pool = Self { shared: Shared::new(), capacity };
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

    /// Jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        self.shared.lock().len()
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
        let calls = !queues.needs_help && queues.len() > MANY;
        queues.needs_help |= calls;
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
    // Of this thread alone: OpenVPN and the database, which others wait for as well, come first. Where it is not allowed,
    // nothing is lost but that.
    let _ = rustix::process::nice(NICE);
    let mut workspace = Workspace::default();
    while let Some(work) = shared.take(part) {
        if work.is_wanted() {
            // A fault in a hash costs its asker an answer, and not all others a thread.
            let done = catch_unwind(AssertUnwindSafe(|| work.run(&mut workspace, shared.clock)));
            if done.is_err() {
                workspace = Workspace::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };

    fn one() -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    #[tokio::test]
    async fn hashes_and_verifies_on_its_threads() {
        let pool = HashPool::new(one(), 4).unwrap();
        let password = Password::from(&b"pw"[..]);
        let stored = pool.hash(password.clone(), CHEAP, Priority::Background).await.unwrap();
        let (is_right, took) = pool.verify(password, stored.into(), Priority::Login).await.unwrap();
        assert!(is_right && !took.is_zero());
    }

    /// How nice the hashing threads of this process are, those of other tests among them.
    fn niceness() -> Vec<i32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
        // `number (name) state …`, by proc(5); threads come and go.
        let stats =
            tasks.filter_map(|task| stat(task.ok()?)).filter(|stat| stat.contains("(hash-"));
        let nice = |stat: String| stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok();
        stats.filter_map(nice).collect()
    }

    #[tokio::test]
    async fn whoever_else_needs_the_processor_comes_before_a_hash() {
        let pool = HashPool::new(one(), 4).unwrap();
        pool.hash(Password::default(), CHEAP, Priority::Login).await.unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        let of_threads = niceness();
        assert!(of_threads.contains(&(own + NICE).min(19)), "{of_threads:?} beside {own}");
    }

    /// A job that says on which thread it is, until `go` is dropped.
    fn hold(pool: &HashPool) -> (oneshot::Receiver<Option<String>>, std::sync::mpsc::Sender<()>) {
        let (asker, answer) = oneshot::channel();
        let (go, until) = std::sync::mpsc::channel();
        pool.enqueue(Work::Hold(until, asker), Priority::Login).unwrap();
        (answer, go)
    }

    #[tokio::test]
    async fn the_last_thread_helps_only_where_many_wait() {
        let pool = HashPool::new(NonZeroUsize::new(2).unwrap(), 99).unwrap();
        let (first, go) = hold(&pool);
        assert_eq!(first.await.unwrap().as_deref(), Some("hash-0"));
        let mut few: Vec<_> = (0..MANY).map(|_| hold(&pool)).collect();
        assert!(!pool.shared.lock().needs_help);
        assert_eq!(pool.queued(), MANY, "nobody takes them");
        // One more, and the other thread has them all until none waits.
        few.push(hold(&pool));
        for (at, (answer, go)) in few.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap().as_deref(), Some("hash-1"), "{at}");
            drop(go);
        }
        assert!(!pool.shared.lock().needs_help);
        drop(go);
        let (again, _go) = hold(&pool);
        assert_eq!(again.await.unwrap().as_deref(), Some("hash-0"));
    }

    #[tokio::test]
    async fn help_is_called_once_a_password_has_waited_long() {
        let pool = HashPool { shared: Shared::new(), capacity: 9 };
        let waiting: Vec<_> = (0..4).map(|_| hold(&pool)).collect();
        let mut queues = pool.shared.lock();
        let late = |at: Duration| pool.shared.clock.now().mono + at;
        assert!(queues.next(Part::Helps, late(LONG)).is_none());
        assert!(queues.next(Part::Works, late(Duration::ZERO)).is_some());
        assert!(queues.next(Part::Helps, late(LONG)).is_none(), "not called yet");
        assert!(queues.next(Part::Works, late(LONG)).is_some());
        assert!(queues.next(Part::Helps, late(Duration::ZERO)).is_some());
        assert!(queues.next(Part::Works, late(LONG)).is_some(), "the last one");
        drop(queues);
        drop(waiting);
        let _more = hold(&pool);
        assert!(
            pool.shared.lock().next(Part::Helps, late(LONG)).is_none(),
            "none has waited since"
        );
    }

    #[tokio::test]
    async fn a_thread_that_is_alone_waits_for_nobody() {
        let pool = HashPool::new(one(), 4).unwrap();
        let (answer, _go) = hold(&pool);
        assert_eq!(answer.await.unwrap().as_deref(), Some("hash-0"));
    }

    #[tokio::test]
    async fn a_fault_in_a_hash_costs_no_thread() {
        let pool = HashPool::new(one(), 4).unwrap();
        let (asker, answer) = oneshot::channel();
        pool.enqueue(Work::Fault(asker), Priority::Login).unwrap();
        assert!(answer.await.is_err());
        assert!(pool.hash(Password::default(), CHEAP, Priority::Login).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_forgets_work_nobody_waits_for() {
        // Without threads nothing is ever taken from the queue.
        let pool = HashPool { shared: Shared::new(), capacity: 2 };
        let job = || pool.verify(Password::default(), "x".into(), Priority::Login);
        let mut waiting = [Box::pin(job()), Box::pin(job())];
        for job in &mut waiting {
            assert!(futures_poll(job).await.is_none());
        }
        assert_eq!(job().await, Err(PoolError::Overloaded));
        assert_eq!(pool.queued(), 2);
        drop(waiting);
        let mut third = Box::pin(job());
        assert!(futures_poll(&mut third).await.is_none(), "there is room again");
        assert_eq!(pool.queued(), 1);
    }

    #[tokio::test]
    async fn renegotiations_of_live_sessions_go_first() {
        let pool = HashPool { shared: Shared::new(), capacity: 2 };
        let mut login = Box::pin(pool.verify(Password::default(), "login".into(), Priority::Login));
        let mut live = Box::pin(pool.verify(Password::default(), "live".into(), Priority::Live));
        assert!(
            futures_poll(&mut login).await.is_none() && futures_poll(&mut live).await.is_none()
        );
        let first = pool.shared.lock().next(Part::Works, Mono::default());
        assert!(matches!(first, Some(Work::Verify(_, stored, _)) if &*stored == "live"));
    }

    /// Polls a future once; `None` while it waits.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
