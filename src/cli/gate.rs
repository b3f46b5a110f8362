//! No command works on a schema that this build does not know.

use super::exit::CliError;
use crate::store::{Schema, Store};

/// What to do about a schema before a command may use it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Ready,
    Migrate,
    Refuse(CliError),
}

fn judge(schema: Schema, embedded: bool) -> Verdict {
    let refuse = |what: String, next: &str| Verdict::Refuse(CliError::failed(what).or_next(next));
    match schema {
        Schema::Current => Verdict::Ready,
        // The embedded default works without any preparation.
        Schema::Missing if embedded => Verdict::Migrate,
        Schema::Missing => {
            refuse("the database has no tables yet".into(), "run `ovpn-warden migrate`")
        }
        Schema::Behind(count) => refuse(
            format!("the database schema is {count} migration(s) behind this program"),
            "run `ovpn-warden migrate`",
        ),
        Schema::Ahead(last) => refuse(
            format!("this program is older than the database, whose last migration is {last}"),
            "use the version of ovpn-warden that migrated the database, or a newer one",
        ),
        Schema::Broken(number) => refuse(
            format!("migration {number} failed half way, or was changed after it was applied"),
            "restore the database from a backup, or mend what that migration left and run \
             `ovpn-warden migrate`",
        ),
    }
}

/// Lets a store pass whose schema is right, making the embedded one where there is none.
pub async fn make_ready(store: &dyn Store, embedded: bool) -> Result<(), CliError> {
    match judge(store.schema().await?, embedded) {
        Verdict::Ready => Ok(()),
        Verdict::Migrate => {
            store.migrate(false).await?;
            Ok(())
        }
        Verdict::Refuse(error) => Err(error),
    }
}

/// Refuses what `migrate` cannot mend.
pub fn allow_migration(schema: Schema) -> Result<(), CliError> {
    match judge(schema, false) {
        Verdict::Refuse(error) if matches!(schema, Schema::Ahead(_) | Schema::Broken(_)) => {
            Err(error)
        }
        Verdict::Ready | Verdict::Migrate | Verdict::Refuse(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: Schema, embedded: bool) -> String {
        match judge(schema, embedded) {
            Verdict::Refuse(error) => {
                assert_eq!(error.exit(), super::super::Exit::Failed);
                error.to_string()
            }
            other @ (Verdict::Ready | Verdict::Migrate) => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_an_empty_embedded_database_is_migrated_unasked() {
        assert_eq!(judge(Schema::Current, false), Verdict::Ready);
        assert_eq!(judge(Schema::Missing, true), Verdict::Migrate);
        assert!(refused(Schema::Missing, false).contains("ovpn-warden migrate"));
        assert!(refused(Schema::Behind(2), true).contains("2 migration(s) behind"));
    }

    #[test]
    fn newer_and_broken_schemas_are_left_alone() {
        assert!(refused(Schema::Ahead(7), true).contains("older than the database"));
        assert!(refused(Schema::Broken(5), true).contains("migration 5"));
        assert!(allow_migration(Schema::Ahead(7)).is_err());
        assert!(allow_migration(Schema::Broken(5)).is_err());
        assert!(allow_migration(Schema::Behind(1)).is_ok());
        assert!(allow_migration(Schema::Missing).is_ok());
    }
}
