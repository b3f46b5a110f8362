//! Named places at which a test ends the process as a crash would.
//!
//! Only builds with debug assertions have them: `WARDEN_FAIL_POINT=journal.appended:2` aborts the second
//! time that place is reached. In a release build there is nothing.

#[cfg(debug_assertions)]
pub fn fail_point(name: &str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };
    static WANTED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let text = std::env::var("WARDEN_FAIL_POINT").ok()?;
        let (name, turns) = text.split_once(':')?;
        Some((name.to_owned(), AtomicU32::new(turns.parse().ok()?)))
    });
    let Some((wanted, turns)) = &*WANTED else { return };
    if wanted == name && turns.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub const fn fail_point(_: &str) {}
