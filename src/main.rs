//! The `ovpn-warden` binary: arguments in, exit code out.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Many small values of few sizes, from several threads, for months: docs/decisions/allocator.md.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    ovpn_warden::cli::run(std::env::args_os())
}
