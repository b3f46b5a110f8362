//! From layers to the validated whole.

use std::{ffi::OsString, path::PathBuf};

use config::{Map, Value};

use super::{
    Config,
    error::{ConfigError, ConfigErrors, Place},
    exposure,
    layer::Layer,
    reader::Report,
    sections,
};

/// Read when no file is named, if it exists.
const DEFAULT_FILE: &str = "/etc/ovpn-warden/config.toml";

/// A configuration, and what an operator should be told about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Loads the configuration: defaults, `files` in order (or `/etc/ovpn-warden/config.toml` if it exists), the
/// variables `OVPN_WARDEN__SECTION__KEY` of `environment`, then `flags` as `("log.format", "json")`.
///
/// # Errors
/// [`ConfigErrors`] with everything that was found wrong.
pub fn load(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(&str, String)],
) -> Result<Loaded, ConfigErrors> {
    let (config, report) = read(files, environment, flags)?;
    if report.errors.is_empty() {
        let mut warnings = report.warnings;
        warnings.extend(exposure::warnings(&report.files, &report.inline, &config));
        return Ok(Loaded { config, warnings });
    }
    Err(ConfigErrors(report.errors))
}

fn read(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(&str, String)],
) -> Result<(Config, Report), ConfigErrors> {
    let default = [PathBuf::from(DEFAULT_FILE)];
    // A file that cannot be looked at is not taken for absent: the defaults name another database.
    let has_default = || default[0].try_exists().unwrap_or(true);
    let files = if files.is_empty() && has_default() { &default[..] } else { files };
    let mut errors = Vec::new();
    let mut layers = Vec::new();
    let read = std::iter::once(Layer::defaults()).chain(files.iter().map(|path| Layer::file(path)));
    for layer in read {
        match layer {
            Ok(layer) => layers.push(layer),
            Err(error) => errors.push(error),
        }
    }
    layers.push(Layer::environment(environment, &mut errors));
    layers.push(Layer::flags(flags));
    for layer in &layers {
        sections::refuse_unknown(layer, &mut errors);
    }
    let tree = merge(layers).map_err(|error| ConfigErrors(vec![error]))?;
    let mut report = Report { errors, files: files.to_vec(), ..Report::default() };
    let config = sections::validate(tree, &mut report);
    Ok((config, report))
}

fn merge(layers: Vec<Layer>) -> Result<Map<String, Value>, ConfigError> {
    let builder = layers
        .into_iter()
        .fold(config::Config::builder(), |builder, layer| builder.add_source(layer));
    // The layers are in memory and have no way to fail; the crate's own words if they do.
    let refused = |error: config::ConfigError| ConfigError::Invalid {
        at: Place { origin: "configuration".into(), key: "all".into() },
        problem: error.to_string(),
    };
    builder.build().and_then(|merged| merged.cache.into_table()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_toml_names_every_key_that_is_read() {
        // A server, so that its keys are asked for as well.
        let server = [("OVPN_WARDEN__SERVERS__0__NAME".into(), "a".into())];
        let (_, report) = read(&["conf/default.toml".into()], server, &[]).unwrap();
        assert!(report.keys.len() > 25, "{:?}", report.keys);
        let mut section = String::new();
        let mut named = Vec::new();
        for line in super::super::layer::DEFAULTS.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            } else if let Some((key, _)) = line.split_once(" = ")
                && !key.contains(' ')
            {
                named.push(format!("{section}.{key}"));
            }
        }
        let mut asked = report.keys;
        asked.sort();
        asked.dedup();
        named.sort();
        assert_eq!(asked, named);
    }
}
