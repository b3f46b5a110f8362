//! The threads that hash. As many as configured, with one bounded queue in front of them.
//!
//! OpenVPN has one thread, through which all tunnels go. Of several hashing threads the last one only helps, once many
//! logins wait or one has waited long: a few leave a processor to OpenVPN.
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

use super::{HashParams, PasswordError, Workspace, hash_with, share::yield_to_others, verify};

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

/// Help is needed where more logins wait than this, or than half of what a queue takes,
const MANY: usize = 16;
/// or where one has waited for so long.
const LONG: Duration = Duration::from_millis(500);

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

    fn pop(&mut self, part: Part) -> Option<Work> {
        let job = self.live.pop_front().or_else(|| self.login.pop_front());
        let job = match part {
            Part::Works => job.or_else(|| self.background.pop_front()),
            Part::Helps => job,
        };
        if self.logins() == 0 {
            self.help = Help::No;
        }
        job.map(|Job(work, _)| work)
    }

    /// Asks for help with what is left once all who are idle have one; whether the thread that helps has to be told.
    fn call(&mut self, many: usize) -> bool {
        let help = match self.logins().saturating_sub(self.idle) {
            0 => Help::No,
            left if left <= many => Help::Watch,
            _ => Help::Yes,
        };
        let is_more = help > self.help;
        self.help = self.help.max(help);
        is_more
    }
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
    /// For the thread that helps.
    help: Condvar,
    /// What is many, and what is long.
    many: usize,
    long: Duration,
    clock: Clock,
}

impl Shared {
    fn new(capacity: usize, long: Duration) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            ready: Condvar::new(),
            help: Condvar::new(),
            many: MANY.min(capacity / 2),
            long,
            clock: Clock::new(),
        })
    }

    /// A thread that panicked inside a hash leaves the queues whole: go on.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread is to do, as soon as there is something; `None`: it ends.
    fn next(&self, part: Part) -> Option<Work> {
        match part {
            Part::Works => self.next_work(),
            Part::Helps => self.next_help(),
        }
    }

    fn next_work(&self) -> Option<Work> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(work) = queues.pop(Part::Works) {
                return Some(work);
            }
            queues.idle += 1;
            queues = self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
            queues.idle -= 1;
        }
    }

    fn next_help(&self) -> Option<Work> {
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
                Some(_) if queues.help == Help::Yes => return queues.pop(Part::Helps),
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
        let pool = Self { shared: Shared::new(capacity, long), capacity };
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
        let calls = queues.call(self.shared.many);
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
    let mut workspace = Workspace::default();
    while let Some(work) = shared.next(part) {
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
        assert!(of_threads.iter().any(|nice| *nice > own || own == 19), "{of_threads:?}, {own}");
    }

    /// A job that says on which thread it is, until `go` is dropped.
    fn hold(pool: &HashPool) -> (oneshot::Receiver<Option<String>>, std::sync::mpsc::Sender<()>) {
        let (asker, answer) = oneshot::channel();
        let (go, until) = std::sync::mpsc::channel();
        pool.enqueue(Work::Hold(until, asker), Priority::Login).unwrap();
        (answer, go)
    }

    /// Of two threads, the first of which is held until what is returned is dropped.
    async fn two(capacity: usize, long: Duration) -> (HashPool, std::sync::mpsc::Sender<()>) {
        let two = NonZeroUsize::new(2).unwrap();
        let pool = HashPool::with_patience(two, capacity, long).unwrap();
        while pool.shared.lock().idle == 0 {
            tokio::task::yield_now().await;
        }
        let (first, go) = hold(&pool);
        assert_eq!(first.await.unwrap().as_deref(), Some("hash-0"));
        (pool, go)
    }

    const NEVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn the_last_thread_helps_only_where_many_wait() {
        for (capacity, many) in [(99, MANY), (10, 5)] {
            let (pool, go) = two(capacity, NEVER).await;
            let mut few: Vec<_> = (0..many).map(|_| hold(&pool)).collect();
            assert_eq!((pool.queued(), pool.shared.lock().help), (many, Help::Watch));
            // One more, and the other thread has them all until none waits.
            few.push(hold(&pool));
            for (at, (answer, go)) in few.into_iter().enumerate() {
                assert_eq!(answer.await.unwrap().as_deref(), Some("hash-1"), "{at}");
                drop(go);
            }
            assert_eq!(pool.shared.lock().help, Help::No);
            drop(go);
            let (again, _go) = hold(&pool);
            assert_eq!(again.await.unwrap().as_deref(), Some("hash-0"));
        }
    }

    #[tokio::test]
    async fn the_last_thread_helps_where_one_waits_for_long() {
        let (pool, _go) = two(99, Duration::from_millis(20)).await;
        for _ in 0..2 {
            let (answer, _go) = hold(&pool);
            assert_eq!(answer.await.unwrap().as_deref(), Some("hash-1"));
        }
    }

    #[tokio::test]
    async fn whoever_is_idle_needs_no_help_with_one() {
        let pool = HashPool { shared: Shared::new(2, LONG), capacity: 9 };
        // As if a thread had been woken and has not come yet.
        pool.shared.lock().idle = 1;
        let mut waiting = Vec::new();
        for help in [Help::No, Help::Watch, Help::Yes] {
            waiting.push(hold(&pool));
            assert_eq!(pool.shared.lock().help, help);
        }
        for help in [Help::Yes, Help::Yes, Help::No] {
            assert!(pool.shared.next(Part::Works).is_some());
            assert_eq!(pool.shared.lock().help, help);
        }
    }

    #[tokio::test]
    async fn threads_end_with_their_pool() {
        let pool = HashPool::new(NonZeroUsize::new(3).unwrap(), 4).unwrap();
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        let ended = async {
            while shared.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), ended).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_helps_with_what_nobody_waits_for() {
        let (pool, go) = two(2, Duration::ZERO).await;
        let new = || pool.hash(Password::default(), CHEAP, Priority::Background);
        let mut upgrades = [Box::pin(new()), Box::pin(new())];
        for upgrade in &mut upgrades {
            assert!(futures_poll(upgrade).await.is_none());
        }
        assert_eq!((pool.queued(), pool.shared.lock().help), (2, Help::No));
        drop(go);
        for upgrade in upgrades {
            assert!(upgrade.await.is_ok());
        }
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
        let pool = HashPool { shared: Shared::new(2, LONG), capacity: 2 };
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
        let pool = HashPool { shared: Shared::new(2, LONG), capacity: 2 };
        let mut login = Box::pin(pool.verify(Password::default(), "login".into(), Priority::Login));
        let mut live = Box::pin(pool.verify(Password::default(), "live".into(), Priority::Live));
        assert!(
            futures_poll(&mut login).await.is_none() && futures_poll(&mut live).await.is_none()
        );
        let first = pool.shared.lock().pop(Part::Works);
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
