//! `migrate`: brings the schema up to date.

use clap::Args;
use serde_json::json;

use super::{Globals, context, exit::CliError, output::Output, progress::Progress, runtime};
use crate::{store::Migrated, types::Clock};

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub fn execute(globals: &Globals, args: &MigrateArgs) -> Result<(), CliError> {
    let config = context::config(globals)?;
    let migrated = runtime()?.block_on(async {
        let store =
            if args.dry_run { context::open_to_look(&config) } else { context::open(&config) }?;
        let migrated = match store.schema().await {
            Ok(schema) => match super::gate::allow_migration(schema) {
                Ok(()) => {
                    let quiet = globals.quiet > 0;
                    let progress = Progress::new(Clock::new(), "applying migrations", None, quiet);
                    let migrated = progress.watch(store.migrate(args.dry_run)).await;
                    migrated.map_err(CliError::from)
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error.into()),
        };
        store.close().await;
        migrated
    })?;
    report(&mut Output::new(globals.json, globals.quiet > 0), &migrated, args.dry_run)
}

fn report(out: &mut Output, migrated: &Migrated, dry_run: bool) -> Result<(), CliError> {
    if out.is_json() {
        let applied: Vec<_> = migrated
            .applied
            .iter()
            .map(|(version, name)| json!({ "version": version, "name": name }))
            .collect();
        return out.json(&json!({ "dry_run": dry_run, "applied": applied }));
    }
    // What would be done is what was asked for; what was done, `--quiet` does not say.
    let mut say = |text: &str| if dry_run { out.line(text) } else { out.done(text, &()) };
    if migrated.applied.is_empty() {
        return say("the schema is up to date");
    }
    let verb = if dry_run { "would apply" } else { "applied" };
    for (version, name) in &migrated.applied {
        say(&format!("{verb} {version} {name}"))?;
    }
    Ok(())
}
