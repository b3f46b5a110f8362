//! Commands: arguments in, exit code out. One file each; `output` prints, `exit` ends.

mod check;
mod context;
pub mod decode;
mod device;
mod exit;
mod hash;
mod migrate;
mod output;
mod policy;
mod run;
mod session;
mod user;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use context::Globals;
use exit::Outcome;
use output::Output;

/// Decides, beside OpenVPN, who may connect, on which device and until when.
#[derive(Debug, Parser)]
#[command(name = "ovpn-warden", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run,
    /// Bring the database's schema up to date
    Migrate(migrate::Args),
    /// Check configuration, database, management ports and OpenVPN's configuration
    Check(check::Args),
    /// Add, show and change users
    #[command(subcommand)]
    User(user::Command),
    /// Register, approve and block devices
    #[command(subcommand)]
    Device(device::Command),
    /// Add, show and change named limits
    #[command(subcommand)]
    Policy(policy::Command),
    /// Show, end and extend sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Read a password on stdin and print its hash
    Hash(hash::Args),
    /// Show what the daemon would understand of a management port's bytes
    Decode(decode::Args),
    /// Print a shell's completions, as for /etc/bash_completion.d/ovpn-warden
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn completions(shell: clap_complete::Shell) -> Result<Outcome, exit::CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ovpn-warden", &mut script);
    output::write_text(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

/// Runs a command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` end here too, with 0; usage errors with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Arguments { globals, command } = arguments;
    let output = Output::new(globals.json);
    exit::finish(match command {
        Command::Run => run::execute(&globals).map(|()| Outcome::Done),
        Command::Migrate(args) => migrate::execute(&globals, &args, output),
        Command::Check(args) => check::execute(&globals, &args, output),
        Command::User(command) => user::execute(&globals, command, output),
        Command::Device(command) => device::execute(&globals, command, output),
        Command::Policy(command) => policy::execute(&globals, command, output),
        Command::Session(command) => session::execute(&globals, command, output),
        Command::Hash(args) => hash::execute(&globals, &args, output),
        Command::Decode(args) => decode::execute(&globals, &args),
        Command::Completions { shell } => completions(shell),
    })
}
