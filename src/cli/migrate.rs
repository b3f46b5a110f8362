//! `migrate`: brings the schema up to date.

use serde::Serialize;

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Migration {
    number: i64,
    name: String,
    applied: bool,
}

pub(super) fn execute(globals: &Globals, args: &Args, output: Output) -> Result<Outcome, CliError> {
    let config = context::config(globals)?;
    let migrated = context::block_on(async {
        let store = context::open(&config)?;
        let migrated = store.migrate(args.dry_run).await;
        store.close().await;
        Ok::<_, CliError>(migrated?)
    })??;
    let migrations: Vec<Migration> = migrated
        .applied
        .into_iter()
        .map(|(number, name)| Migration { number, name, applied: !args.dry_run })
        .collect();
    if migrations.is_empty() && !globals.json {
        output.done("the schema is up to date")?;
        return Ok(Outcome::Done);
    }
    let verb = if args.dry_run { "would apply" } else { "applied" };
    output.lines(&migrations, |m| format!("{verb} {} {}", m.number, m.name))?;
    Ok(Outcome::Done)
}
