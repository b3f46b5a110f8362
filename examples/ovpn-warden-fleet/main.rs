//! A fleet of OpenVPN servers that are none: they speak the management protocol, as recorded, and
//! nothing else. It starts a daemon of its own, makes it work, and says how well it did.
//!
//! `cargo run --release --example ovpn-warden-fleet -- connect-storm --servers 4 --clients 250`

#![expect(clippy::print_stdout, reason = "the result is what it is for")]

mod args;
mod bare;
mod chaos;
mod fairness;
mod measure;
mod population;
mod rig;
mod scenario;
mod script;
mod stand_in;
mod world;

use std::process::ExitCode;

use clap::Parser;

use args::Args;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        if args.scenario == args::Scenario::Chaos {
            chaos::run::run(&args).await
        } else {
            scenario::run(&args).await
        }
    })?;
    println!("{}", result.table());
    println!("{}", result.json());
    let mut is_right = true;
    for bound in args.expect.iter().map(String::as_str).chain(["wrong_answers<=0"]) {
        let (line, is_met) = result.verdict(bound)?;
        println!("{line}");
        is_right &= is_met || !bound.starts_with("wrong_answers");
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
