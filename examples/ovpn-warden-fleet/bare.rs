//! What the machine can do without any of this program: argon2 alone, on every core.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use ovpn_warden::types::Clock;

/// Hashes a second on `threads` threads; measured for `time`.
pub fn argon2(m_kib: u32, t: u32, threads: usize, time: Duration) -> anyhow::Result<f64> {
    let params = Params::new(m_kib, t, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let clock = Clock::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut memory = vec![Block::new(); params.block_count()];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut out = [0; 32];
                while !stop.load(Ordering::Relaxed) {
                    let done = argon2.hash_password_into_with_memory(
                        b"correct horse battery staple",
                        b"0123456789abcdef",
                        &mut out,
                        &mut memory,
                    );
                    if done.is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::park_timeout(time);
        stop.store(true, Ordering::Relaxed);
    });
    let took = clock.now().mono;
    Ok(count.load(Ordering::Relaxed) as f64 / took.0.as_secs_f64())
}
