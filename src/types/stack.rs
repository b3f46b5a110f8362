//! What handling a secret leaves on the stack of the thread that did it.

/// Deeper than anything goes that handles a secret, in bytes.
const DEPTH: usize = 64 << 10;
/// Deeper than the reading of a line goes: what is overwritten after each login of a storm is not to cost more than its
/// reading. Without optimizations frames are many times as large.
const READ_DEPTH: usize = if cfg!(debug_assertions) { DEPTH } else { 4 << 10 };

/// Computes something of a secret, and overwrites what that has left on the stack. Crates wipe their states, but neither
/// the copies that a compiler makes on the way nor all buffers of SHA-crypt, PBKDF2 and older digests; and what is on the
/// stack gets into the unused bytes of the next value there, and with it to the heap.
pub fn wiped<T>(compute: impl FnOnce() -> T) -> T {
    let result = apart(compute);
    overwrite::<DEPTH>();
    result
}

/// [`wiped`] of the reading of what was sent, where the result says that there was a secret.
pub fn wiped_if<T>(compute: impl FnOnce() -> T, had_secret: impl FnOnce(&T) -> bool) -> T {
    let result = apart(compute);
    if had_secret(&result) {
        overwrite::<READ_DEPTH>();
    }
    result
}

/// In a frame that begins where [`overwrite`]'s does.
#[inline(never)]
fn apart<T>(compute: impl FnOnce() -> T) -> T {
    compute()
}

#[inline(never)]
fn overwrite<const DEPTH: usize>() {
    let mut room = [0u8; DEPTH];
    // Anybody may look at it now: it has to be there, and to be zeros.
    std::hint::black_box(&mut room);
}
