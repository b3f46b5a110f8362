//! From the global flags to a configuration and a store.

use std::sync::Arc;

use super::{
    Globals,
    exit::{self, CliError},
};
use crate::{
    config::{self, Config},
    store::{self, Location, Store},
    telemetry,
};

/// Loads the configuration: files, environment, flags; warnings go to standard error.
pub fn config(globals: &Globals) -> Result<Config, CliError> {
    let loaded = config::load(&globals.config, std::env::vars_os(), &globals.overrides())
        .map_err(|errors| CliError::configuration(&errors))?;
    for warning in &loaded.warnings {
        exit::warn(warning);
    }
    Ok(loaded.config)
}

/// A store that need not have a schema yet.
pub fn open(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    Ok(store::open(&options(config))?)
}

/// A store that is only asked: no file is made for it.
pub fn open_to_look(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    Ok(store::open_to_look(&options(config))?)
}

fn options(config: &Config) -> store::Options {
    store::Options {
        url: config.database.url.clone(),
        max_connections: config.database.max_connections,
        connect_timeout: config.database.timeout,
        statement_timeout: config.database.timeout,
        observe: telemetry::store_took,
    }
}

/// A store with the schema that this build needs.
pub async fn open_ready(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    let store = open(config)?;
    super::gate::make_ready(&*store, is_embedded(config)).await?;
    Ok(store)
}

/// SQLite: nobody but us looks after that database.
pub fn is_embedded(config: &Config) -> bool {
    !matches!(store::location(&config.database.url), Ok(Location::Server) | Err(_))
}
