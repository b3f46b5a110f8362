//! `run --record DIR`: what each server says, without secrets, in files that `decode` reads.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use crate::types::{ServerName, Timestamp};

/// Longest capture of one connection, in bytes.
const MAX_CAPTURE: u64 = 256 << 20;
/// All captures of one server until the daemon ends, in bytes and in files: a link that breaks
/// again and again does not fill the disk.
const MAX_BYTES: u64 = 1 << 30;
const MAX_FILES: u32 = 100;

/// The captures of one server, one for each connection.
pub(super) struct Captures {
    dir: Arc<Path>,
    server: ServerName,
    bytes_left: u64,
    files_left: u32,
    current: Option<Capture>,
}

/// One connection's; a thread of its own writes it.
struct Capture {
    writer: NonBlocking,
    /// Writes the rest when it is dropped.
    guard: WorkerGuard,
    path: PathBuf,
    left: u64,
    /// What went wrong with the disk first.
    fault: Arc<OnceLock<String>>,
}

impl Captures {
    pub(super) fn new(dir: Arc<Path>, server: ServerName) -> Self {
        Self { dir, server, bytes_left: MAX_BYTES, files_left: MAX_FILES, current: None }
    }

    /// Begins `DIR/SERVER-TIME.raw`.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.end();
        if self.files_left == 0 || self.bytes_left == 0 {
            return;
        }
        let time = now.to_datetime().format("%Y%m%dT%H%M%S%.3fZ");
        let path = self.dir.join(format!("{}-{time}.raw", self.server));
        match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
            Ok(file) => {
                self.files_left -= 1;
                let fault = Arc::default();
                let disk = Disk { file, fault: Arc::clone(&fault) };
                let (writer, guard) = tracing_appender::non_blocking(disk);
                let left = MAX_CAPTURE.min(self.bytes_left);
                self.current = Some(Capture { writer, guard, path, left, fault });
            }
            Err(error) => self.tell(&path, &format!("cannot record: {error}")),
        }
        if self.files_left == 0 {
            self.tell(&self.dir, "this is the last capture: there are as many as may be");
        }
    }

    /// Keeps what was tapped, up to the bounds.
    pub(super) fn write(&mut self, tapped: &[u8]) {
        let Some(capture) = self.current.as_mut().filter(|_| !tapped.is_empty()) else { return };
        let length = tapped.len() as u64;
        let end = if let Some(fault) = capture.fault.get() {
            Some(fault.as_str())
        } else if capture.writer.error_counter().dropped_lines() > 0 {
            Some("the disk is too slow")
        } else if length > capture.left {
            Some("it is full")
        } else {
            None
        };
        if let Some(end) = end {
            let (path, end) = (capture.path.clone(), format!("the capture ends here: {end}"));
            self.tell(&path, &end);
            return self.end();
        }
        capture.left -= length;
        self.bytes_left -= length;
        // It only queues; what becomes of it is seen at the next.
        let _ = capture.writer.write_all(tapped);
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) {
        if let Some(capture) = self.current.take() {
            // It waits for the disk.
            tokio::task::spawn_blocking(move || drop(capture.guard));
        }
    }

    fn tell(&self, path: &Path, what: &str) {
        tracing::warn!(server = %self.server, path = %path.display(), "{what}");
    }
}

/// A file that remembers its first error, which the thread that writes has nobody to tell.
struct Disk {
    file: File,
    fault: Arc<OnceLock<String>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            // The first one tells.
            let _ = self.fault.set(error.to_string());
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn captures(dir: &Path) -> Captures {
        Captures::new(dir.into(), "udp".parse().unwrap())
    }

    async fn settled(captures: &mut Captures) {
        if let Some(capture) = captures.current.take() {
            tokio::task::spawn_blocking(move || drop(capture.guard)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_link_that_breaks_again_and_again_does_not_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut captures = captures(dir.path());
        let mut now = Timestamp::from_secs(1_795_435_003);
        for _ in 0..MAX_FILES + 20 {
            captures.begin(now);
            captures.write(b">INFO:x\r\n");
            now = now.saturating_add(Duration::from_millis(1));
        }
        settled(&mut captures).await;
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MAX_FILES as usize);
        captures.files_left = 1;
        captures.bytes_left = 12;
        captures.begin(now);
        captures.write(b"12345678");
        captures.write(b"12345678");
        captures.write(b"1234");
        assert!(captures.current.is_none());
        let name = format!("udp-{}.raw", now.to_datetime().format("%Y%m%dT%H%M%S%.3fZ"));
        let path = dir.path().join(name);
        for _ in 0..500 {
            if fs::read(&path).unwrap().len() == 8 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(fs::read(path).unwrap(), b"12345678", "no holes");
    }

    #[tokio::test]
    async fn a_full_disk_ends_the_capture() {
        let dir = tempfile::tempdir().unwrap();
        let mut captures = captures(dir.path());
        let now = Timestamp::from_secs(1_795_435_003);
        let name = format!("udp-{}.raw", now.to_datetime().format("%Y%m%dT%H%M%S%.3fZ"));
        std::os::unix::fs::symlink("/dev/full", dir.path().join(name)).unwrap();
        captures.begin(now);
        captures.write(b"lost");
        let fault = Arc::clone(&captures.current.as_ref().unwrap().fault);
        for _ in 0..500 {
            if fault.get().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        captures.write(b"not tried");
        assert!(captures.current.is_none());
    }
}
