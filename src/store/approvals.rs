//! Sessions that were approved just now and that no database may have heard of: shell.
//!
//! Whatever is approved stands here before OpenVPN hears of it, so that a daemon that is killed in the
//! next moment leaves no session without a row. The file is written and not synced: it outlives the
//! process, and a machine that loses its power has no sessions either. Each process has files of its own
//! beside the journal and holds them locked; whoever finds one that nobody holds takes its rows over. A line
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

/// From this size on there is to be another one, in bytes: whoever takes it over looks each of its some hundred
/// sessions up.
const LARGE: u64 = 64 << 10;
/// Ends of their names, before the process's own.
const APPROVED: &str = ".approved-";
const BEGUN: &str = ".begun-";
const UNREADABLE: &str = ".unreadable-";
/// The file grows no larger: so much more than waits in memory at most.
const LARGEST: u64 = 64 << 20;

/// A file of this process, made when something is added for the first time.
#[derive(Debug)]
pub struct Approvals {
    path: PathBuf,
    /// Where it is until it is held.
    unnamed: PathBuf,
    file: Option<File>,
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
    /// Whole lines that say nothing to this program, as of a newer one.
    pub unreadable: usize,
}

impl Approvals {
    /// For this process, beside that journal; `own` and `turn` make its name.
    pub fn new(journal: &Path, own: SessionId, turn: u64) -> Self {
        let path = |word| beside(journal, &format!("{word}{own}-{turn}"));
        Self { path: path(APPROVED), unnamed: path(BEGUN), file: None, bytes: 0 }
    }

    /// Whether the next session is to stand in another file, so that this one may go when all of it is stored.
    pub const fn is_large(&self) -> bool {
        self.bytes >= LARGE
    }

    /// Held from the moment when it has its name: nobody finds it and takes it for one that was left.
    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let file =
                OpenOptions::new().append(true).create(true).mode(0o600).open(&self.unnamed)?;
            file.try_lock()?;
            std::fs::rename(&self.unnamed, &self.path)?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What sessions look like there.
    pub fn lines<'a>(sessions: impl IntoIterator<Item = &'a SessionRecord>) -> Vec<u8> {
        let mut lines = Vec::new();
        sessions.into_iter().for_each(|session| encode_session(session, &mut lines));
        lines
    }

    /// Adds [`Self::lines`], all with one write.
    ///
    /// # Errors
    /// Of the file system; [`io::ErrorKind::FileTooLarge`] at its bound.
    pub fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(lines.len() as u64);
        if bytes > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fail_point("approvals.adding");
        let before = self.bytes;
        let file = self.file()?;
        let written = file.write_all(lines);
        fail_point("approvals.added");
        match &written {
            Ok(()) => self.bytes = bytes,
            // Of a full disk: what comes next is not to be the end of a line that was cut.
            Err(_) => {
                let _ = file.set_len(before);
            }
        }
        written
    }

    /// Whether it takes a page more, which is given back.
    pub fn has_room(&mut self) -> bool {
        let bytes = self.bytes;
        let Ok(file) = self.file() else { return false };
        let is_written = file.write_all(&[b'\n'; 4 << 10]).is_ok();
        file.set_len(bytes).is_ok() && is_written
    }

    /// All that was added is stored elsewhere; more may come.
    ///
    /// # Errors
    /// Of the file system.
    pub fn forget(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.bytes > 0) else {
            return Ok(());
        };
        fail_point("approvals.forgetting");
        file.set_len(0)?;
        fail_point("approvals.forgotten");
        self.bytes = 0;
        Ok(())
    }

    /// All that was added is stored elsewhere.
    ///
    /// # Errors
    /// Of the file system.
    pub fn remove(self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        fail_point("approvals.removing");
        let removed = std::fs::remove_file(self.path);
        fail_point("approvals.removed");
        removed
    }

    /// What processes that are gone have left beside that journal. One file that cannot be read hides no other:
    /// it is found again.
    ///
    /// # Errors
    /// Of the folder.
    pub fn left(journal: &Path) -> io::Result<Vec<Left>> {
        let (Some(folder), Some(name)) = (journal.parent(), journal.file_name()) else {
            return Ok(Vec::new());
        };
        let start = [name.as_encoded_bytes(), APPROVED.as_bytes()].concat();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(&start) {
                let path = entry.path();
                match take_over(&path) {
                    Ok(left) => found.extend(left),
                    Err(error) => tracing::debug!(%error, path = %path.display(), "approvals"),
                }
            }
        }
        Ok(found)
    }
}

impl Left {
    /// Its sessions are stored. What says nothing to this program is kept, under another name: where it is then.
    ///
    /// # Errors
    /// Of the file system.
    pub fn remove(self) -> io::Result<Option<PathBuf>> {
        fail_point("left.removing");
        let kept = (self.unreadable > 0).then(|| {
            let name = self.path.to_string_lossy().replacen(APPROVED, UNREADABLE, 1);
            PathBuf::from(name)
        });
        let removed = match &kept {
            Some(kept) => std::fs::rename(&self.path, kept),
            None => std::fs::remove_file(&self.path),
        };
        fail_point("left.removed");
        removed.map(|()| kept)
    }
}

fn beside(journal: &Path, end: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// `None`: somebody holds it, or has just removed it.
fn take_over(path: &Path) -> io::Result<Option<Left>> {
    let file = match File::open(path) {
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
    let (mut sessions, mut unreadable) = (Vec::new(), 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match decode_session(line) {
            Ok(session) => sessions.push(session),
            Err(_) if line == b"\n" || !line.ends_with(b"\n") => {}
            Err(_) => unreadable += 1,
        }
    }
    Ok(Some(Left { path: path.to_owned(), _file: file, sessions, unreadable }))
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
        let mut approvals = Approvals::new(&journal, own(1), 0);
        let rows = [session(1, 1, SessionState::Pending), session(2, 1, SessionState::Pending)];
        approvals.add(&Approvals::lines(&rows)).unwrap();
        assert!(Approvals::left(&journal).unwrap().is_empty(), "somebody holds it");
        // A line that was cut, and one of nobody.
        approvals.file.as_mut().unwrap().write_all(b"\n[1,2").unwrap();
        drop(approvals);
        // Nobody can read this one, and it hides no other.
        std::fs::create_dir(folder.path().join("journal.db.approved-a-folder")).unwrap();
        let left = Approvals::left(&journal).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!((&left[0].sessions[..], left[0].unreadable), (&rows[..], 0));
        assert!(Approvals::left(&journal).unwrap().is_empty(), "it is being taken over");
        for left in left {
            assert_eq!(left.remove().unwrap(), None);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_says_nothing_to_this_program_is_kept_beside() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let mut approvals = Approvals::new(&journal, own(1), 0);
        let rows = [session(1, 1, SessionState::Pending), session(2, 1, SessionState::Pending)];
        approvals.add(&Approvals::lines(&rows[..1])).unwrap();
        approvals.file().unwrap().write_all(b"[\"of a newer one\"]\n").unwrap();
        approvals.add(&Approvals::lines(&rows[1..])).unwrap();
        drop(approvals);
        let mut left = Approvals::left(&journal).unwrap();
        assert_eq!((&left[0].sessions[..], left[0].unreadable), (&rows[..], 1));
        let kept = left.pop().unwrap().remove().unwrap().unwrap();
        assert!(std::fs::read_to_string(kept).unwrap().contains("of a newer one"));
        assert!(Approvals::left(&journal).unwrap().is_empty(), "it is not found again");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("later/journal.db");
        let mut approvals = Approvals::new(&journal, own(1), 0);
        let row = session(1, 1, SessionState::Pending);
        let line = Approvals::lines([&row]);
        assert_eq!(approvals.add(&line).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!approvals.has_room());
        std::fs::create_dir(folder.path().join("later")).unwrap();
        approvals.add(&line).unwrap();
        drop(approvals);
        assert_eq!(Approvals::left(&journal).unwrap()[0].sessions, [row]);
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
    fn it_is_large_after_some_hundred_sessions_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let mut approvals = Approvals::new(&journal, own(1), 0);
        let line = Approvals::lines([&session(1, 1, SessionState::Pending)]);
        let mut count = 0;
        while !approvals.is_large() {
            approvals.add(&line).unwrap();
            count += 1;
        }
        assert!((100..1_000).contains(&count), "{count}");
        let mut other = Approvals::new(&journal, own(1), 1);
        other.add(&line).unwrap();
        approvals.bytes = LARGEST;
        assert_eq!(approvals.add(&line).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        approvals.remove().unwrap();
        other.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
