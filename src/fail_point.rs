//! Named places at which a test ends the process as a crash would, or has it panic.
//!
//! Only builds with debug assertions have them: `WARDEN_FAIL_POINT=journal.appended:2` aborts the second
//! time that place is reached, `link.persisting:2:panic` panics then. In a release build there is nothing.

#[cfg(debug_assertions)]
pub fn fail_point(name: &str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };
    static WANTED: LazyLock<Option<(String, AtomicU32, bool)>> = LazyLock::new(|| {
        let text = std::env::var("WARDEN_FAIL_POINT").ok()?;
        let (name, turns) = text.split_once(':')?;
        let (turns, is_panic) =
            turns.strip_suffix(":panic").map_or((turns, false), |turns| (turns, true));
        Some((name.to_owned(), AtomicU32::new(turns.parse().ok()?), is_panic))
    });
    let Some((wanted, turns, is_panic)) = &*WANTED else { return };
    if wanted == name && turns.fetch_sub(1, Ordering::Relaxed) == 1 {
        assert!(!is_panic, "as a test wants it");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub const fn fail_point(_: &str) {}
