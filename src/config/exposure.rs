//! What others may read or write of what is secret: the modes of files.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Config, error::Place};
use crate::{
    store::{self, Location},
    types::Printable,
};

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

/// That everybody may read or write a file, and the mend.
pub(super) fn told(path: &Path, mode: u32, wanted: &str) -> Option<String> {
    let may = match (mode & OTHERS_READ != 0, mode & OTHERS_WRITE != 0) {
        (false, false) => return None,
        (true, false) => "readable",
        (false, true) => "writable",
        (true, true) => "readable and writable",
    };
    let path = Printable(path.as_os_str().as_encoded_bytes());
    Some(format!("{path} is {may} by every user of this machine; chmod {wanted} {path}"))
}

/// Of a file that need not be there yet.
fn of(path: &Path, wanted: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| told(path, metadata.mode(), wanted))?
}

/// What to say of the configuration's `files`, of which some hold secrets (`inline`), and of the files that it names.
/// Those that hold nothing but a secret are looked at where they are read.
pub(super) fn warnings(files: &[PathBuf], inline: &[Place], config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        // `/dev/null` is as it is.
        let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file);
        let Some(mode) = metadata.map(|metadata| metadata.mode()) else { continue };
        match inline.iter().find(|at| Path::new(&at.origin) == file) {
            Some(at) => found.extend(told(file, mode, "0640").map(|text| format!("{at}: {text}"))),
            None => found.extend(told(file, mode & OTHERS_WRITE, "o-w")),
        }
    }
    let mut named = |key: &str, path: &Path, wanted: &str| {
        found.extend(of(path, wanted).map(|text| format!("{key}: {text}")));
    };
    // SQLite keeps what was written last beside its file, with the mode that this had when they were made.
    let mut sqlite = |key: &str, path: &Path| {
        for more in ["", "-wal", "-shm"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(more);
            named(key, Path::new(&beside), "0600");
        }
    };
    let url = &config.database.url;
    if let Ok(Location::File(path)) = store::location(url) {
        sqlite("database.url", &path);
    }
    if let Some(path) = &config.journal.path {
        sqlite("journal.path", path);
    }
    if let Ok(Some(key)) = store::secrets(url).map(|secrets| secrets.key) {
        named("database.url: ssl-key", &key, "0640");
    }
    found
}
