//! The files of what is approved, of which the one before is kept until nothing of it waits any more.

use std::path::{Path, PathBuf};

use crate::{
    store::{Approvals, SessionRecord},
    telemetry::events::Event,
    types::SessionId,
};

/// Where what is approved stands before OpenVPN hears of it.
#[derive(Default)]
pub(super) struct Approved {
    /// The journal, and what names this process.
    beside: Option<(PathBuf, SessionId)>,
    /// How many files there have been.
    turn: u64,
    present: Option<Approvals>,
    /// The one before, and how many rows have to be taken before none of it waits any more.
    before: Option<(u64, Approvals)>,
    /// It could not be written; that was told.
    is_fault_told: bool,
}

impl Approved {
    pub(super) fn new(journal: Option<&Path>, own: SessionId) -> Self {
        Self { beside: journal.map(|journal| (journal.to_owned(), own)), ..Self::default() }
    }

    /// What is to be noted of them: those that begin.
    pub(super) fn lines(records: &[SessionRecord]) -> Vec<u8> {
        Approvals::lines(records.iter().filter(|record| record.version == 1))
    }

    /// [`Self::lines`] are on disk when this returns, if they can be.
    pub(super) fn note(&mut self, lines: &[u8]) {
        let Some((journal, own)) = &self.beside else { return };
        let fresh = || Approvals::new(journal, *own, self.turn);
        let approvals = self.present.get_or_insert_with(fresh);
        match approvals.add(lines) {
            // A short line may still go where a longer one does not.
            Ok(()) if self.is_fault_told && approvals.has_room() => {
                self.is_fault_told = false;
                Event::JournalUsable { file: "approvals" }.emit();
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_fault_told, true) {
                    Event::JournalFailed { error: format!("approvals: {error}") }.emit();
                }
            }
        }
    }

    /// Begins another file, if the one before has gone. `end`: when none of this one waits any more.
    pub(super) fn turn(&mut self, end: u64) {
        if self.before.is_none()
            && let Some(large) = self.present.take_if(|present| present.is_large())
        {
            self.before = Some((end, large));
            self.turn += 1;
        }
    }

    /// So many rows have been taken, and written.
    pub(super) fn release(&mut self, taken: u64) {
        if let Some((_, before)) = self.before.take_if(|(end, _)| *end <= taken) {
            told(before.remove());
        }
    }

    /// Nothing waits: what a killed process leaves is not to bring back what has long been stored, and perhaps removed.
    pub(super) fn empty(&mut self) {
        if let Some(present) = &mut self.present {
            told(present.forget());
        }
    }

    /// Nothing waits, and nothing more comes.
    pub(super) fn end(&mut self) {
        let before = self.before.take().map(|(_, before)| before);
        before.into_iter().chain(self.present.take()).for_each(|file| told(file.remove()));
        self.beside = None;
    }
}

/// It is found again, and written again, which changes nothing.
pub(super) fn told(removed: std::io::Result<()>) {
    if let Err(error) = removed {
        tracing::debug!(%error, "approvals are not forgotten");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{SessionState, tests::session as row},
        types::Timestamp,
    };

    #[test]
    fn where_something_always_waits_two_files_are_there_and_neither_grows() {
        let folder = tempfile::tempdir().unwrap();
        let own = SessionId::new(Timestamp::default(), [1; 10]);
        let mut approved = Approved::new(Some(&folder.path().join("journal.db")), own);
        let mut most = (0, 0);
        for number in 1..=5_000 {
            approved.note(&Approved::lines(&[row(number, 1, SessionState::Pending)]));
            let number = u64::from(number);
            approved.turn(number);
            // A hundred wait at each moment.
            approved.release(number.saturating_sub(100));
            let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
            let bytes = files.iter().map(|file| file.as_ref().unwrap().metadata().unwrap().len());
            most = (most.0.max(files.len()), most.1.max(bytes.max().unwrap()));
        }
        assert_eq!(most.0, 2);
        assert!(most.1 < 80 << 10, "{most:?}");
        let left: Vec<_> = Approvals::left(&folder.path().join("journal.db")).unwrap();
        assert!(left.is_empty(), "both are held");
        approved.end();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
