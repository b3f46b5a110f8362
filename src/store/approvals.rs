//! Sessions that were approved just now and that no database may have heard of: shell.
//!
//! Whatever is approved stands here before OpenVPN hears of it, so that a daemon that is killed in the
//! next moment leaves no session without a row. The file is written and not synced: it outlives the
//! process, and a machine that loses its power has no sessions either. Each process has a file of its own
//! beside the journal and holds it locked; whoever finds one that nobody holds takes its rows over. A line
//! that a crash cut in two is of a session that OpenVPN never heard of.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    SessionRecord,
    sql::{decode_session, encode_session},
};
use crate::{fail_point::fail_point, types::SessionId};

/// From this size on the file is emptied when nothing of it is needed, in bytes: whoever takes it over looks each of
/// its some hundred sessions up.
const LARGE: u64 = 64 << 10;
/// The file grows no larger: so much more than waits in memory at most.
const LARGEST: u64 = 64 << 20;

/// The file of this process.
#[derive(Debug)]
pub struct Approvals {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// A file that another process has left.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    /// Held, so that no other process takes it over as well.
    _file: File,
    /// What was approved, oldest first.
    pub sessions: Vec<SessionRecord>,
}

impl Approvals {
    /// A file for this process beside that journal; `own` makes its name.
    ///
    /// # Errors
    /// Of the file system, with nothing made.
    pub fn begin(journal: &Path, own: SessionId) -> io::Result<Self> {
        let path = named(journal, &own.to_string());
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(Self { path, file, bytes: 0 })
    }

    /// Adds sessions, all with one write.
    ///
    /// # Errors
    /// Of the file system; [`io::ErrorKind::FileTooLarge`] at its bound.
    pub fn add<'a>(
        &mut self,
        sessions: impl IntoIterator<Item = &'a SessionRecord>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        sessions.into_iter().for_each(|session| encode_session(session, &mut lines));
        if lines.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(lines.len() as u64);
        if bytes > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fail_point("approvals.adding");
        let written = self.file.write_all(&lines);
        fail_point("approvals.added");
        match &written {
            Ok(()) => self.bytes = bytes,
            // Of a full disk: what comes next is not to be the end of a line that was cut.
            Err(_) => {
                let _ = self.file.set_len(self.bytes);
            }
        }
        written
    }

    /// Whether it takes a page more, which is given back.
    pub fn has_room(&mut self) -> bool {
        let is_written = self.file.write_all(&[b'\n'; 4 << 10]).is_ok();
        self.file.set_len(self.bytes).is_ok() && is_written
    }

    /// All that was added is stored elsewhere.
    ///
    /// # Errors
    /// Of the file system.
    pub fn forget(&mut self) -> io::Result<()> {
        if self.bytes < LARGE {
            return Ok(());
        }
        fail_point("approvals.forgetting");
        self.file.set_len(0)?;
        fail_point("approvals.forgotten");
        self.bytes = 0;
        Ok(())
    }

    /// The process ends, and all that was added is stored elsewhere.
    ///
    /// # Errors
    /// Of the file system.
    pub fn remove(self) -> io::Result<()> {
        fail_point("approvals.removing");
        let removed = std::fs::remove_file(self.path);
        fail_point("approvals.removed");
        removed
    }

    /// What processes that are gone have left beside that journal.
    ///
    /// # Errors
    /// Of the file system.
    pub fn left(journal: &Path) -> io::Result<Vec<Left>> {
        let (Some(folder), Some(name)) = (journal.parent(), journal.file_name()) else {
            return Ok(Vec::new());
        };
        let start = [name.as_encoded_bytes(), b".approved-"].concat();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(&start) {
                found.extend(take_over(entry.path())?);
            }
        }
        Ok(found)
    }
}

impl Left {
    /// Its sessions are stored.
    ///
    /// # Errors
    /// Of the file system.
    pub fn remove(self) -> io::Result<()> {
        fail_point("left.removing");
        let removed = std::fs::remove_file(self.path);
        fail_point("left.removed");
        removed
    }
}

fn named(journal: &Path, own: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".approved-");
    name.push(own);
    PathBuf::from(name)
}

/// `None`: somebody holds it, or has just removed it.
fn take_over(path: PathBuf) -> io::Result<Option<Left>> {
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = Vec::new();
    (&file).take(LARGEST).read_to_end(&mut text)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let sessions = lines.filter_map(|line| decode_session(line).ok()).collect();
    Ok(Some(Left { path, _file: file, sessions }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{SessionState, tests::session},
        types::{Cause, DeviceId, Fingerprint, Timestamp},
    };

    fn own(number: u8) -> SessionId {
        SessionId::new(Timestamp::from_secs(1), [number; 10])
    }

    #[test]
    fn what_a_process_leaves_is_found_by_the_next_and_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let mut approvals = Approvals::begin(&journal, own(1)).unwrap();
        let rows = [session(1, 1, SessionState::Pending), session(2, 1, SessionState::Pending)];
        approvals.add(&rows).unwrap();
        assert!(Approvals::left(&journal).unwrap().is_empty(), "somebody holds it");
        // A line that was cut, and one of nobody.
        approvals.file.write_all(b"[]\n[1,2").unwrap();
        drop(approvals);
        let left = Approvals::left(&journal).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].sessions, rows);
        assert!(Approvals::left(&journal).unwrap().is_empty(), "it is being taken over");
        for left in left {
            left.remove().unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_session_comes_back_as_it_was() {
        let full = SessionRecord {
            common_name: Some("CN \"quoted\"\n\u{202e}".into()),
            device: Some(DeviceId::parse("02:1a:2b:3c:4d:5e").unwrap()),
            certificate: Some(Box::new("aa:".repeat(32)[..95].parse::<Fingerprint>().unwrap())),
            client_ip: Some("2001:db8::7".parse().unwrap()),
            client_port: Some(40_000),
            deadline: Some(Timestamp::from_secs(1_795_440_000)),
            deadline_reason: Some(Cause::SessionLimit),
            session_timeout_s: std::num::NonZeroU32::new(5_030),
            bytes_received: i64::MAX as u64,
            ..session(1, 1, SessionState::Pending)
        };
        for row in [full, session(2, 7, SessionState::Closing)] {
            let mut line = Vec::new();
            encode_session(&row, &mut line);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(decode_session(&line).unwrap(), row);
        }
        // Of a program that did not know the last column.
        let mut line = Vec::new();
        encode_session(&session(3, 1, SessionState::Pending), &mut line);
        let line = String::from_utf8(line).unwrap();
        let older = line.replace(",null]\n", "]\n");
        assert_ne!(older, line);
        assert_eq!(decode_session(older.as_bytes()).unwrap(), session(3, 1, SessionState::Pending));
        assert!(
            decode_session(line.replace("]\n", ",null]\n").as_bytes()).is_err(),
            "of a newer one"
        );
    }

    #[test]
    fn it_is_emptied_only_when_it_is_large_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let mut approvals = Approvals::begin(&journal, own(1)).unwrap();
        let row = session(1, 1, SessionState::Pending);
        approvals.add([&row]).unwrap();
        approvals.forget().unwrap();
        assert!(approvals.bytes > 0, "not for each session");
        while approvals.bytes < LARGE {
            approvals.add([&row]).unwrap();
        }
        approvals.forget().unwrap();
        assert_eq!((approvals.bytes, approvals.file.metadata().unwrap().len()), (0, 0));
        approvals.bytes = LARGEST;
        assert_eq!(approvals.add([&row]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        approvals.remove().unwrap();
    }
}
