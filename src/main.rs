//! The `ovpn-warden` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ovpn_warden::cli::run(std::env::args_os())
}
