//! Commands of other tools, between our own.

use crate::{
    proto::{Command, RelayedCommand},
    types::Now,
};

use super::{Engine, LinkFault, Output, RelayId, replies::Expect};

/// What OpenVPN says to `bytecount`, and what no row of a list can be.
const SENTINEL: &[u8] = b"SUCCESS: bytecount interval changed";

impl Engine {
    /// Another tool asks something. Every line of the reply comes out as [`Output::Relayed`].
    pub fn handle_relay(&mut self, id: RelayId, command: RelayedCommand, now: Now) {
        if self.is_ready() {
            let is_list = command.is_list();
            self.send(Command::Relayed(command), Expect::Relayed { id, is_list }, now);
            if is_list {
                // Its reply shows when the list before it had no end.
                self.send_byte_count(now);
            }
        } else {
            let line = b"ERROR: there is no connection to OpenVPN";
            self.outputs.push_back(Output::Relayed(id, Box::from(&line[..]), true));
        }
    }

    /// Whether somebody wants to read the server's log.
    pub fn handle_log_wanted(&mut self, is_wanted: bool, now: Now) {
        if self.wants_log != is_wanted {
            self.wants_log = is_wanted;
            if self.can_send() {
                self.send(Command::Log(is_wanted), Expect::Log, now);
            }
        }
    }

    /// Whether the next reply is another tool's; the codec has to be told before it reads on.
    pub fn is_relaying(&self) -> bool {
        matches!(self.replies.front(), Some(Expect::Relayed { .. }))
    }

    pub(super) fn on_relayed(&mut self, line: Box<[u8]>, now: Now) {
        let Some(Expect::Relayed { id, is_list }) = self.replies.front() else {
            self.fail(LinkFault::UnexpectedReply { command: "a relayed command" });
            return;
        };
        if is_list && &*line == SENTINEL {
            // OpenVPN breaks `status` off at a row that is too long.
            self.replies.pop(now.mono);
            self.replies.pop(now.mono);
            self.outputs.push_back(Output::Relayed(id, Box::from(&b"END"[..]), true));
            return;
        }
        let is_error = line.starts_with(b"ERROR:") && !self.replies.has_begun();
        let is_last = !is_list || &*line == b"END" || is_error;
        if is_last {
            self.replies.pop(now.mono);
        } else {
            self.replies.go_on(now.mono);
        }
        self.outputs.push_back(Output::Relayed(id, line, is_last));
    }
}
