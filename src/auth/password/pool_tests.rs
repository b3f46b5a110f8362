use super::{super::pause::left, *};

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

/// How nice a thread is, by its line in proc(5): `number (name) state …`.
fn nice(stat: &str) -> Option<i32> {
    stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()
}

/// How nice the hashing threads of this process are, those of other tests among them.
fn niceness() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
    // Threads come and go.
    let stats = tasks.filter_map(|task| stat(task.ok()?)).filter(|stat| stat.contains("(hash-"));
    stats.filter_map(|stat| nice(&stat)).collect()
}

#[tokio::test]
async fn whoever_else_needs_the_processor_comes_before_a_hash() {
    let pool = HashPool::new(one(), 4).unwrap();
    pool.hash(Password::default(), CHEAP, Priority::Login).await.unwrap();
    let own = nice(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
    let of_threads = niceness();
    assert!(of_threads.iter().any(|nice| *nice > own || own == 19), "{of_threads:?}, {own}");
}

/// What comes of it, and not after that.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

/// A job that says on which thread it is, until `go` is dropped.
fn hold(pool: &HashPool) -> (oneshot::Receiver<(String, i32)>, std::sync::mpsc::Sender<()>) {
    let (asker, answer) = oneshot::channel();
    let (go, until) = std::sync::mpsc::channel();
    pool.enqueue(Work::Hold(until, asker), Priority::Login).unwrap();
    (answer, go)
}

/// On which thread a job was, that is held no longer.
async fn thread_of(
    (answer, _go): (oneshot::Receiver<(String, i32)>, std::sync::mpsc::Sender<()>),
) -> String {
    soon(answer).await.unwrap().0
}

/// Of two threads, the first of which is held until what is returned is dropped.
async fn two(capacity: usize, long: Duration) -> (HashPool, std::sync::mpsc::Sender<()>) {
    let two = NonZeroUsize::new(2).unwrap();
    let pool = HashPool::with_patience(two, capacity, long).unwrap();
    while pool.shared.lock().idle == 0 {
        tokio::task::yield_now().await;
    }
    let (first, go) = hold(&pool);
    assert_eq!(soon(first).await.unwrap().0, "hash-0");
    (pool, go)
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_last_thread_helps_only_where_many_wait() {
    for (capacity, many) in [(99, MANY), (10, 4)] {
        let (pool, go) = two(capacity, NEVER).await;
        let mut few: Vec<_> = (0..many).map(|_| hold(&pool)).collect();
        assert_eq!((pool.queued(), pool.shared.lock().help), (many, Help::Watch));
        // One more, and the other thread has them all until none waits.
        few.push(hold(&pool));
        for (at, job) in few.into_iter().enumerate() {
            assert_eq!(thread_of(job).await, "hash-1", "{at}");
        }
        assert_eq!(pool.shared.lock().help, Help::No);
        drop(go);
        assert_eq!(thread_of(hold(&pool)).await, "hash-0");
    }
}

#[tokio::test]
async fn the_last_thread_helps_with_one_of_whom_many_are_to_come() {
    let (pool, _go) = two(99, NEVER).await;
    pool.crowd().is(MANY - 1);
    let (first, go) = hold(&pool);
    assert_eq!(pool.shared.lock().help, Help::Watch);
    drop(first);
    drop(go);
    pool.crowd().is(MANY);
    // None waits in between, as where the database takes its time.
    for _ in 0..2 {
        assert_eq!(thread_of(hold(&pool)).await, "hash-1");
    }
}

#[tokio::test]
async fn the_last_thread_helps_where_one_waits_for_long() {
    let (pool, _go) = two(99, Duration::from_millis(20)).await;
    for _ in 0..2 {
        assert_eq!(thread_of(hold(&pool)).await, "hash-1");
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

/// Whether that thread, which is held, is woken for pauses; not: for a while.
async fn pauses(thread: i32, expected: bool) -> bool {
    let before = left(thread);
    for _ in 0..if expected { 6_000 } else { 10 } {
        tokio::time::sleep(Duration::from_millis(10)).await;
        // Once to be held.
        if left(thread) - before > 3 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn who_hashes_for_few_pauses_and_for_many_does_not() {
    let (pool, go) = two(99, NEVER).await;
    // Of more than many the last is held on the thread that works.
    pool.crowd().is(MANY);
    let (helped, go_on) = hold(&pool);
    let (name, helper) = soon(helped).await.unwrap();
    assert_eq!((name.as_str(), pauses(helper, false).await), ("hash-1", false));
    let (many, go_many) = hold(&pool);
    drop(go);
    let (name, worker) = soon(many).await.unwrap();
    assert_eq!((name.as_str(), pauses(worker, false).await), ("hash-0", false));
    drop(go_many);
    drop(go_on);
    pool.crowd().is(0);
    let (few, _go) = hold(&pool);
    let (name, worker) = soon(few).await.unwrap();
    assert_eq!((name.as_str(), pauses(worker, true).await), ("hash-0", true));
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
        assert!(soon(upgrade).await.is_ok());
    }
}

#[tokio::test]
async fn a_thread_that_is_alone_waits_for_nobody() {
    let pool = HashPool::new(one(), 4).unwrap();
    assert_eq!(thread_of(hold(&pool)).await, "hash-0");
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
    assert!(futures_poll(&mut login).await.is_none() && futures_poll(&mut live).await.is_none());
    let first = pool.shared.lock().pop();
    assert!(
        matches!(first, Some(Next { work: Work::Verify(_, stored, _), .. }) if &*stored == "live")
    );
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
