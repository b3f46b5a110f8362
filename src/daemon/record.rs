//! `run --record DIR`: what each server says, without secrets, in files that `decode` reads.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use crate::types::{ServerName, Timestamp};

/// Longest capture of one connection, in bytes.
const MAX_CAPTURE: u64 = 256 << 20;

/// A capture of one connection; a thread of its own writes it.
pub(super) struct Recorder {
    writer: NonBlocking,
    /// Writes the rest when it is dropped.
    _guard: WorkerGuard,
    path: PathBuf,
    left: u64,
}

impl Recorder {
    /// Begins `DIR/SERVER-TIME.raw`.
    ///
    /// # Errors
    /// The system's error, with the path.
    pub(super) fn begin(dir: &Path, server: &ServerName, now: Timestamp) -> io::Result<Self> {
        let time = now.to_datetime().format("%Y%m%dT%H%M%S%.3fZ");
        let path = dir.join(format!("{server}-{time}.raw"));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let (writer, guard) = tracing_appender::non_blocking(file);
        Ok(Self { writer, _guard: guard, path, left: MAX_CAPTURE })
    }

    /// Keeps what was tapped, up to the bound.
    pub(super) fn write(&mut self, tapped: &[u8]) {
        let length = tapped.len() as u64;
        if tapped.is_empty() || self.left == 0 {
            return;
        }
        if length > self.left {
            tracing::warn!(path = %self.path.display(), "the capture is full and ends here");
            self.left = 0;
            return;
        }
        self.left -= length;
        // It only queues; an error of the disk shows in the file.
        let _ = self.writer.write_all(tapped);
    }
}
