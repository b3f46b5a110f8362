//! Commands of other tools, between our own.

use crate::{
    proto::{Command, RelayedCommand},
    types::Now,
};

use super::{Engine, LinkFault, Output, RelayId, replies::Expect};

impl Engine {
    /// Another tool asks something. Every line of the reply comes out as [`Output::Relayed`].
    pub fn handle_relay(&mut self, id: RelayId, command: RelayedCommand, now: Now) {
        if self.is_ready() {
            let is_list = command.is_list();
            self.send(Command::Relayed(command), Expect::Relayed { id, is_list }, now);
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
        let is_last = !is_list || &*line == b"END" || line.starts_with(b"ERROR:");
        if is_last {
            self.replies.pop(now.mono);
        } else {
            self.replies.go_on(now.mono);
        }
        self.outputs.push_back(Output::Relayed(id, line, is_last));
    }
}
