//! From the global flags to a configuration and a store.

use std::sync::Arc;

use super::{
    Globals,
    exit::{self, CliError},
};
use crate::{
    config::{self, Config},
    store::{self, Store, StoreError},
    telemetry,
};

/// Loads the configuration: files, environment, flags; warnings go to standard error.
pub fn config(globals: &Globals) -> Result<Config, CliError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = config::load(&globals.config, environment, &globals.overrides())
        .map_err(|errors| CliError::configuration(&errors))?;
    for warning in &loaded.warnings {
        exit::warn(warning);
    }
    Ok(loaded.config)
}

/// A store that need not have a schema yet.
pub fn open(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    let options = store::Options {
        url: config.database.url.clone(),
        max_connections: config.database.max_connections,
        connect_timeout: config.database.timeout,
        statement_timeout: config.database.timeout,
        observe: telemetry::store_took,
    };
    store::open(&options).map_err(|error| {
        if matches!(error, StoreError::Url(_)) {
            CliError::configuration(&error)
        } else {
            error.into()
        }
    })
}

/// A store with the schema that this build needs.
pub async fn open_ready(config: &Config) -> Result<Arc<dyn Store>, CliError> {
    let store = open(config)?;
    super::gate::make_ready(&*store, is_embedded(config)).await?;
    Ok(store)
}

/// SQLite: nobody but us looks after that database.
pub fn is_embedded(config: &Config) -> bool {
    config.database.url.expose().starts_with(b"sqlite:")
}
