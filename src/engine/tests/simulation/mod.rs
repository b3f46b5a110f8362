//! Years of chance: the engine between a model of OpenVPN and a model of the database, under
//! every fault at once, watched by a shadow model that knows what each client deserves.
//!
//! `WARDEN_TEST_SEED=N` runs one seed, `WARDEN_TEST_SEEDS=N` so many; a failure names its seed.

mod openvpn;
mod world;

use world::{Tally, World};

const SEEDS: u64 = 256;
const STEPS: usize = 2_000;
/// After so many steps the faults rest, and everything has to be in order.
const PEACE_EVERY: usize = 400;

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for step in 1..=STEPS {
        world.step();
        if step % PEACE_EVERY == 0 {
            world.rest_and_audit();
        }
    }
    world.tally
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs the seeds that are left over `core` when divided by `cores`.
fn run_share(seeds: u64, core: u64, cores: u64) -> Tally {
    let mut sum = Tally::default();
    for seed in (core..seeds).step_by(usize::try_from(cores).unwrap()) {
        let tally = std::panic::catch_unwind(|| run(seed));
        let tally = tally.unwrap_or_else(|_| panic!("seed {seed}"));
        sum = sum.plus(tally);
    }
    sum
}

#[test]
fn nobody_is_wrongly_admitted_dropped_forgotten_or_left_in() {
    if let Some(seed) = number("WARDEN_TEST_SEED") {
        run(seed);
        return;
    }
    let seeds = number("WARDEN_TEST_SEEDS").unwrap_or(SEEDS);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let sum = std::thread::scope(|scope| {
        let shares: Vec<_> =
            (0..cores).map(|core| scope.spawn(move || run_share(seeds, core, cores))).collect();
        let tallies = shares.into_iter().map(|share| share.join().expect("no seed fails"));
        tallies.fold(Tally::default(), Tally::plus)
    });
    // A simulation in which little happens proves little.
    for count in sum.counts() {
        assert!(count >= seeds, "{sum:?}");
    }
}
