//! The command line: arguments in, text or JSON out, and an exit code.

mod args;
mod audit;
mod check;
mod client_config;
mod context;
pub mod decode;
mod device;
mod exit;
mod explain;
mod gate;
mod hash;
mod import;
mod input;
mod lockout;
mod manual;
mod migrate;
mod output;
mod parse;
mod policy;
mod progress;
mod report;
mod run;
mod session;
mod top;
mod user;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::{
    config::Config,
    store::{Actor, Store},
    types::{Clock, Timestamp},
};
use args::Command;
pub use args::{CheckArgs, DecodeArgs, Globals, RunArgs};
pub use exit::{CliError, Exit};
pub use import::{Plan, Raw, Refused, Rules, parse as parse_csv, plan};
use output::Output;

/// Runs the command that `args` (with the program's name first) ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads is no failure.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return exit.into();
        }
    };
    keep_memory_private();
    match dispatch(&cli.globals, cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.report();
            error.exit().into()
        }
    }
}

/// Passwords pass through this memory, whatever the command: it goes into no core dump, and no process of the same
/// user may look into it or its environment. Where that cannot be had, going on is worth more.
fn keep_memory_private() {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, nothing);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable).and(limited) {
        exit::warn(&format!("core dumps cannot be switched off: {error}"));
    }
}

fn dispatch(globals: &Globals, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Run(args) => return run::execute(globals, args),
        Command::Check(args) => return check::execute(globals, args),
        Command::Top(args) => return top::execute(globals, args),
        Command::Decode(args) => return decode::execute(globals, &args),
        Command::Completions(args) => return manual::completions(&args),
        Command::Man(args) => return manual::man(&args),
        Command::Hash => hash::execute(globals)?,
        Command::Migrate(args) => migrate::execute(globals, &args)?,
        Command::AuditHashes => {
            admin(globals, async |desk, config| audit::execute(desk, config).await)?;
        }
        Command::User(command) => {
            admin(globals, async |desk, config| user::execute(desk, config, command).await)?;
        }
        Command::Device(command) => {
            admin(globals, async |desk, _| device::execute(desk, command).await)?;
        }
        Command::Policy(command) => {
            admin(globals, async |desk, config| policy::execute(desk, config, command).await)?;
        }
        Command::Lockout(command) => {
            admin(globals, async |desk, _| lockout::execute(desk, command).await)?;
        }
        Command::Session(command) => {
            admin(globals, async |desk, _| session::execute(desk, command).await)?;
        }
        Command::Report(command) => {
            admin(globals, async |desk, _| report::execute(desk, command).await)?;
        }
        Command::Import(command) => {
            return admin(globals, async |desk, config| {
                import::execute(desk, config, command).await
            });
        }
        Command::Explain(args) => {
            return admin(globals, async |desk, config| explain::execute(desk, config, args).await);
        }
    }
    Ok(Exit::Done)
}

/// What an admin command works with.
struct Desk {
    store: Arc<dyn Store>,
    out: Output,
    clock: Clock,
}

impl Desk {
    fn now(&self) -> Timestamp {
        self.clock.now().utc
    }

    fn actor(&self) -> Actor {
        input::actor(self.now())
    }
}

/// Runs an admin command on a store whose schema is right.
fn admin<T, F>(globals: &Globals, command: F) -> Result<T, CliError>
where
    F: AsyncFnOnce(&mut Desk, &Config) -> Result<T, CliError>,
{
    let config = context::config(globals)?;
    runtime()?.block_on(async {
        let store = context::open_ready(&config).await?;
        let mut desk = Desk {
            store: Arc::clone(&store),
            out: Output::new(globals.json, globals.quiet > 0),
            clock: Clock::new(),
        };
        let done = command(&mut desk, &config).await;
        store.close().await;
        done
    })
}

/// One thread is enough for a command that asks a question or two.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("starting the async runtime: {error}")))
}
