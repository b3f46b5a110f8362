//! The arguments of every command.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

use super::{
    device::DeviceCommand,
    explain::ExplainArgs,
    import::ImportCommand,
    lockout::LockoutCommand,
    manual::{CompletionsArgs, ManArgs},
    migrate::MigrateArgs,
    policy::PolicyCommand,
    report::ReportCommand,
    session::SessionCommand,
    top::TopArgs,
    user::UserCommand,
};

/// OpenVPN management-interface controller: users, devices and session limits.
#[derive(Debug, Parser)]
#[command(name = "ovpn-warden", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage or invalid configuration, \
                        3 the answer is \"no\", 4 database unreachable.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Reads a command line, the program's name first.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.globals.config = config_files(&matches);
    Ok(cli)
}

const CONFIG: &str = "config";

/// The parser. `--config` is added to every level by hand: of a global argument that is given
/// both before and after a subcommand's name, clap keeps only one half, in silence.
pub fn command() -> clap::Command {
    fn add_below(command: clap::Command, arg: &clap::Arg) -> clap::Command {
        command.mut_subcommands(|below| add_below(below.arg(arg.clone()), arg))
    }
    let command = Cli::command();
    let config = command.get_arguments().find(|arg| arg.get_id() == CONFIG).cloned();
    match config {
        Some(arg) => add_below(command, &arg),
        None => command,
    }
}

fn config_files(matches: &ArgMatches) -> Vec<PathBuf> {
    let here = matches.get_many(CONFIG).into_iter().flatten().cloned();
    let below = matches.subcommand().map(|(_, below)| config_files(below));
    here.chain(below.into_iter().flatten()).collect()
}

/// Flags that every command takes, before or after its name.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Configuration file; may be repeated, later ones win
    /// [default: /etc/ovpn-warden/config.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Form of the log lines
    #[arg(long, value_enum, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// Log more; twice for everything
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log warnings and errors only, and say nothing about what was done; twice for errors only
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub quiet: u8,
}

impl Globals {
    /// What these flags override in the configuration.
    pub fn overrides(&self) -> Vec<(&'static str, String)> {
        let format = self.log_format.map(|format| match format {
            LogFormat::Json => "json",
            LogFormat::Pretty => "pretty",
            LogFormat::Compact => "compact",
        });
        let level = match (self.verbose, self.quiet) {
            (0, 0) => None,
            (0, 1) => Some("warn"),
            (0, _) => Some("error"),
            (1, _) => Some("debug"),
            (_, _) => Some("trace"),
        };
        [("log.format", format), ("log.level", level)]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?.to_owned())))
            .collect()
    }
}

/// Value of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people, with colour on a terminal
    Pretty,
    /// For people, short
    Compact,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run(RunArgs),
    /// Bring the database schema up to date
    Migrate(MigrateArgs),
    /// Validate the configuration, the schema and OpenVPN server configurations
    Check(CheckArgs),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the devices of users
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Manage policies: named limits
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// See who is held back after failed logins, and let them try again
    #[command(subcommand)]
    Lockout(LockoutCommand),
    /// Look at sessions, end or extend them
    #[command(subcommand)]
    Session(SessionCommand),
    /// Who used how much, and what is about to end
    #[command(subcommand)]
    Report(ReportCommand),
    /// Say what would be decided on a login, rule by rule; exit code 3 where it is refused
    Explain(ExplainArgs),
    /// Bring users in from a file or from tables of other programs; writes nothing without --apply
    #[command(subcommand)]
    Import(ImportCommand),
    /// Count the schemes of the stored password hashes, and name the users whose hash cannot be used
    AuditHashes,
    /// Read a password (prompt or standard input) and print its PHC string
    Hash,
    /// Watch links, logins and sessions live in the terminal; end and extend sessions
    Top(TopArgs),
    /// Print what the daemon would understand of management-port bytes, as lines of JSON
    Decode(DecodeArgs),
    /// Print what a shell needs to complete commands
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// Arguments of `run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Keep what each server says, without secrets, as a file below DIR that `decode` reads
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArgs {
    /// Also connect to the database and to every management port
    #[arg(long)]
    pub connect: bool,
    /// Check this OpenVPN server configuration too; may be repeated
    #[arg(long, value_name = "FILE")]
    pub openvpn_conf: Vec<PathBuf>,
}

/// Arguments of `decode`.
#[derive(Debug, Clone, Default, Args)]
pub struct DecodeArgs {
    /// A capture of the server's side of a management connection [default: standard input]
    pub file: Option<PathBuf>,
    /// Print passwords instead of "***"
    #[arg(long)]
    pub show_secrets: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for line in [
            "w -c a.toml --json user list",
            "w user -c a.toml list --json",
            "w user list --json --config a.toml",
        ] {
            let cli = parsed(line).unwrap();
            assert_eq!(cli.globals.config, [PathBuf::from("a.toml")], "{line}");
            assert!(cli.globals.json, "{line}");
        }
        let cli = parsed("w -c a user -c b -cc list --config=d -c e").unwrap();
        assert_eq!(cli.globals.config, ["a", "b", "c", "d", "e"].map(PathBuf::from));
    }

    #[test]
    fn flags_override_the_log_section() {
        let overrides = |line: &str| parsed(line).map(|cli| cli.globals.overrides()).unwrap();
        assert_eq!(overrides("w run"), []);
        assert_eq!(
            overrides("w run --log-format pretty -vv"),
            [("log.format", "pretty".into()), ("log.level", "trace".into())]
        );
        assert_eq!(overrides("w run -q"), [("log.level", "warn".into())]);
        assert!(parsed("w run -q -v").is_err());
    }

    #[test]
    fn a_password_is_never_an_argument() {
        for line in ["w user add a secret", "w user add a --password x", "w hash secret"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
