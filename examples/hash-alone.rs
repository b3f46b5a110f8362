//! How long one password takes to be compared, with nothing else to do: what a login cannot be faster than.
//! For each line that it reads it compares once, and prints the milliseconds that this took; `benches/peers/bench.py`, which
//! holds the time to the tunnel against it, asks before each client that connects, so that both meet the same moments.
//!
//! `yes '' | head -20 | cargo run --release --example hash-alone`

#![expect(clippy::print_stdout, reason = "the result is what it is for")]

use ovpn_warden::{
    auth::password::{HashParams, Workspace, hash, verify},
    types::{Clock, Password},
};

fn main() -> anyhow::Result<()> {
    let password = Password::from(&b"correct horse battery staple"[..]);
    let stored = hash(&password, &HashParams::default())?;
    let mut workspace = Workspace::default();
    // The memory is there from the first time on.
    verify(&password, &stored, &mut workspace)?;
    let clock = Clock::new();
    for line in std::io::stdin().lines() {
        line?;
        let begun = clock.now().mono;
        anyhow::ensure!(verify(&password, &stored, &mut workspace)?, "it is the right password");
        println!("{:.2}", (clock.now().mono - begun).as_secs_f64() * 1e3);
    }
    Ok(())
}
