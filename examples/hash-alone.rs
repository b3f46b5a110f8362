//! How long one password takes to be compared, with nothing else to do: what a login cannot be faster than.
//! Prints the median in ms; `benches/peers/bench.py` holds the time to the tunnel against it.
//!
//! `cargo run --release --example hash-alone`

#![expect(clippy::print_stdout, reason = "the result is what it is for")]

use std::time::Duration;

use ovpn_warden::{
    auth::password::{HashParams, Workspace, hash, verify},
    types::{Clock, Password},
};

const TIMES: usize = 21;
/// As long as between two clients that connect one after the other.
const PAUSE: Duration = Duration::from_millis(150);

fn main() -> anyhow::Result<()> {
    let password = Password::from(&b"correct horse battery staple"[..]);
    let stored = hash(&password, &HashParams::default())?;
    let mut workspace = Workspace::default();
    // The memory is there from the first time on.
    verify(&password, &stored, &mut workspace)?;
    let clock = Clock::new();
    let mut took = Vec::new();
    for _ in 0..TIMES {
        std::thread::park_timeout(PAUSE);
        let begun = clock.now().mono;
        anyhow::ensure!(verify(&password, &stored, &mut workspace)?, "it is the right password");
        took.push(clock.now().mono - begun);
    }
    took.sort_unstable();
    println!("{:.1}", took[TIMES / 2].as_secs_f64() * 1e3);
    Ok(())
}
