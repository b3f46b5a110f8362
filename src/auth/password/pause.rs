//! How a hashing thread pauses: shell.
//!
//! Whoever sleeps leaves its processor, at once, to who waits there; where nobody does, Linux fetches somebody who waits
//! behind others elsewhere. While it hashes, all that is looked at with each tick of the kernel's clock only (4 ms at 250 Hz),
//! and OpenVPN can wait for two or three of them. Where the system does not allow it, nothing else is lost.

use std::{cell::Cell, io, mem, num::NonZeroU64, ptr, time::Duration};

/// After so many ns of a hash there is a pause, if it had a processor for half of them since the last one: where others want all
/// there are, it has few of its own and loses none of them to pauses,
const EACH: libc::c_long = 3_000_000;
/// of so many: that it leaves its processor counts, and not for how long.
const PAUSE: libc::c_long = 10_000;

/// Those of the thread that made it, while it hashes: a timer of its own sends it a signal, whose handler sleeps. No hash of
/// a library has a place to do that between its parts.
#[derive(Debug)]
pub(super) struct Pauses {
    timer: Option<libc::timer_t>,
}

impl Pauses {
    pub(super) fn of_this_thread() -> Self {
        // Of the sleep above it would else be five times that.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        // A signal without its handler would end the process.
        Self { timer: handle().and_then(|()| timer()).ok() }
    }

    /// Does that, which does not panic, with pauses. On the thread that made them.
    pub(super) fn during<T>(&self, hash: impl FnOnce() -> T) -> T {
        self.set(EACH);
        let hashed = hash();
        self.set(0);
        hashed
    }

    /// From now on after each so many ns; 0: never.
    fn set(&self, each: libc::c_long) {
        let Some(timer) = self.timer else { return };
        let each = libc::itimerspec { it_interval: of_ns(each), it_value: of_ns(each) };
        #[expect(unsafe_code, reason = "no safe call")]
        // SAFETY: the timer is deleted when this is dropped.
        unsafe {
            libc::timer_settime(timer, 0, &raw const each, ptr::null_mut());
        }
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        let Some(timer) = self.timer else { return };
        #[expect(unsafe_code, reason = "no safe call")]
        // SAFETY: nobody has it after this.
        unsafe {
            libc::timer_delete(timer);
        }
    }
}

/// Less than a second.
fn of_ns(tv_nsec: libc::c_long) -> libc::timespec {
    libc::timespec { tv_sec: 0, tv_nsec }
}

/// The first of the signals that are free.
fn signal() -> libc::c_int {
    libc::SIGRTMIN()
}

thread_local! {
    /// What this thread had of a processor when its last pause ended.
    static LAST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What this thread has had of a processor.
fn had() -> Duration {
    let mut had = of_ns(0);
    #[expect(unsafe_code, reason = "rustix panics where it fails")]
    // SAFETY: it writes there.
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut had);
    }
    Duration::new(had.tv_sec.cast_unsigned(), had.tv_nsec as u32)
}

/// Two or three calls of the kernel, by functions that do nothing else and keep no state; a thread-local of a constant, which
/// nothing drops.
extern "C" fn pause(_signal: libc::c_int) {
    if had().saturating_sub(LAST.get()) < Duration::from_nanos(EACH as u64 / 2) {
        return;
    }
    let pause = of_ns(PAUSE);
    #[expect(unsafe_code, reason = "no safe call")]
    // SAFETY: it reads the one and writes nowhere, `errno` neither.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const pause, ptr::null_mut());
    }
    LAST.set(had());
}

/// Makes that what the signal does. What it interrupts goes on as if nothing had been.
fn handle() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no safe call")]
    // SAFETY: zero is a valid action, of no flags and no mask; the handler does nothing that a handler must not.
    let done = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = pause as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal(), &raw const action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number of this thread in the kernel.
pub(super) fn this_thread() -> libc::pid_t {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// A timer, which does not run yet, for this thread.
fn timer() -> io::Result<libc::timer_t> {
    let mut timer = ptr::null_mut();
    #[expect(unsafe_code, reason = "no safe call")]
    // SAFETY: zero is a valid event; the kernel reads it, and writes the timer.
    let done = unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        event.sigev_notify_thread_id = this_thread();
        libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
    };
    if done == 0 { Ok(timer) } else { Err(io::Error::last_os_error()) }
}

/// How often that thread of this process has left its processor by itself, by proc(5).
#[cfg(test)]
pub(super) fn left(thread: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        thread,
    };

    use super::*;

    /// Of ten pauses.
    const LONG: Duration = Duration::from_millis(30);

    /// Works for so long, as a hash does.
    fn work(long: Duration) {
        let begun = had();
        while had() - begun < long {
            std::hint::spin_loop();
        }
    }

    /// What a thread of its own says.
    fn of_a_thread<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(what).join().unwrap()
    }

    #[test]
    fn who_hashes_leaves_its_processor_again_and_again_and_not_after_that() {
        of_a_thread(|| {
            let before = left(this_thread());
            let pauses = Pauses::of_this_thread();
            assert!(pauses.timer.is_some(), "this system allows no timer");
            pauses.during(|| {
                while left(this_thread()) - before < 5 {
                    work(LONG);
                }
            });
            let before = left(this_thread());
            work(2 * LONG);
            assert!(left(this_thread()) - before < 3);
        });
    }

    #[test]
    fn who_has_had_little_of_a_processor_keeps_it() {
        of_a_thread(|| {
            for (each, leaves) in [(LONG, true), (Duration::ZERO, false)] {
                let before = left(this_thread());
                for _ in 0..20 {
                    work(each);
                    pause(0);
                }
                assert_eq!(left(this_thread()) - before >= 5, leaves, "{each:?}");
            }
        });
    }

    #[tokio::test]
    async fn what_it_interrupts_goes_on() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let read = move || reader.read(&mut [0; 1]);
        let thread = thread::spawn(|| Pauses::of_this_thread().during(read));
        tokio::time::sleep(LONG).await;
        writer.write_all(b"x").unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 1);
    }
}
