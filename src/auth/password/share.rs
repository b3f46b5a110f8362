//! What a hashing thread gets of a processor that others want, too: shell.
//!
//! OpenVPN and the database, which others wait for as well, come first. Where the system does not allow that, nothing else
//! is lost.
//!
//! Unsafe code, as in `pause` and nowhere else in the crate: no library has a safe call for the length of a slice.

use std::io;

/// By how much less than others it gets: about a third of what they do.
const NICE: i32 = 5;

/// Its slice, in ns: what it is to get in one go. Since 6.12 Linux lets whoever wakes with a shorter one (0.7 to 2.8 ms, unless
/// it was told otherwise) go before it at once, and not when the slice of whoever runs is over; what each gets in all stays
/// the same. With 100 ms nobody else waited less.
const SLICE: u64 = 10_000_000;

/// Lets others go before this thread.
pub(super) fn yield_to_others() {
    let _ = rustix::process::nice(NICE);
    let _ = set_slice();
}

/// `struct sched_attr` of sched_setattr(2), as it was first.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Attributes {
    /// Whether `runtime` is a slice; under the operator's other choices it is something else.
    fn has_slice(&self) -> bool {
        matches!(i32::try_from(self.policy), Ok(libc::SCHED_OTHER | libc::SCHED_BATCH))
    }
}

const SIZE: u32 = size_of::<Attributes>() as u32;

/// Those of this thread.
fn attributes() -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let this_thread: libc::pid_t = 0;
    #[expect(unsafe_code, reason = "no safe call")]
    // SAFETY: the kernel writes at most SIZE bytes, all of which may have any value.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getattr, this_thread, &raw mut attributes, SIZE, 0_u32)
    };
    if done == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// Gives this thread its slice. An older Linux takes no notice of it.
fn set_slice() -> io::Result<()> {
    let mut attributes = Attributes { size: SIZE, runtime: SLICE, ..attributes()? };
    if !attributes.has_slice() {
        return Ok(());
    }
    let this_thread: libc::pid_t = 0;
    #[expect(unsafe_code, reason = "no safe call")]
    // SAFETY: the kernel reads as many bytes as `size` says, and writes to `size` where it knows no such structure.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw mut attributes, 0_u32) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn others_go_before_it_and_it_gets_less() {
        // Of a thread of its own, as it cannot be taken back.
        let of_a_thread = || (attributes(), yield_to_others(), attributes());
        let (before, (), after) = std::thread::spawn(of_a_thread).join().unwrap();
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (refused, _) => {
                // Where a container forbids it, nothing else goes wrong.
                let kind = refused.unwrap_err().kind();
                return assert!(
                    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported),
                    "{kind}"
                );
            }
        };
        assert_eq!(after.nice, (before.nice + NICE).min(19));
        assert_eq!((after.policy, after.flags), (before.policy, before.flags));
        // Before 6.12 there is no slice to be read.
        let can = before.has_slice() && before.runtime != 0;
        assert_eq!(after.runtime, if can { SLICE } else { before.runtime }, "{before:?}");
    }
}
