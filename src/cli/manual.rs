//! `completions` and `man`: what a shell and `man` know of the commands, made from their definitions.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use clap_complete::Shell;

use super::{
    args,
    exit::{CliError, Exit},
};

/// The program's name.
const NAME: &str = "ovpn-warden";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands there, one file each, and not the first page to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the completions of one shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), NAME, &mut script);
    if args.shell == Shell::Bash {
        // clap_complete has two names for the commands of a program whose own name has a dash, and then finds none.
        let text = String::from_utf8_lossy(&script);
        return print(text.replace("ovpn__subcmd__warden", "ovpn__warden").as_bytes());
    }
    print(&script)
}

/// Prints the first manual page, or writes all of them.
pub(super) fn man(args: &ManArgs) -> Result<Exit, CliError> {
    let mut command = args::command().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => print(&page(&command)?),
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| not_written(dir, &error))?;
            write_all(dir, NAME, &command)?;
            Ok(Exit::Done)
        }
    }
}

fn write_all(dir: &Path, name: &str, command: &clap::Command) -> Result<(), CliError> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| not_written(&path, &error))?;
    command
        .get_subcommands()
        .try_for_each(|below| write_all(dir, &format!("{name}-{}", below.get_name()), below))
}

fn page(command: &clap::Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| CliError::failed(format!("cannot make the manual page: {error}")))?;
    Ok(page)
}

fn print(bytes: &[u8]) -> Result<Exit, CliError> {
    match io::stdout().write_all(bytes) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        written => written
            .map(|()| Exit::Done)
            .map_err(|error| CliError::failed(format!("cannot print: {error}"))),
    }
}

fn not_written(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("cannot write {}: {error}", path.display()))
        .or_next("name a folder that you may write to with --dir")
}
