//! What the server has said, and what follows from it.

use super::*;

impl Shadow {
    pub(in super::super) fn heard(&mut self, message: &Message, now: Now) {
        if !self.is_greeted && !matches!(message, Message::Prompt | Message::Info { .. }) {
            return;
        }
        match message {
            Message::Prompt => self.is_prompted = true,
            Message::Info { .. } => self.is_greeted = true,
            Message::State(state) => match state.name {
                StateName::Connected => self.serves_since(state.at, now),
                StateName::Reconnecting => {
                    self.end_run();
                    self.run = None;
                }
                StateName::Connecting
                | StateName::AssignIp
                | StateName::AddRoutes
                | StateName::Exiting
                | StateName::Other => {}
            },
            Message::Auth(event) => {
                let kind = match &event.kind {
                    AuthKind::Connect => Kind::Connect,
                    AuthKind::Reauth => Kind::Reauth,
                    AuthKind::CrResponse(_) => {
                        let question = self.questions.get_mut(&event.cid);
                        if let Some(Some(waits)) = question.map(|q| q.challenge.as_mut()) {
                            *waits = CodeAsked::Answered;
                        }
                        return;
                    }
                };
                if kind == Kind::Connect && self.up.contains(&event.cid) {
                    // An id comes twice: this is another run, and nobody knows which.
                    self.end_run();
                    self.run = None;
                } else if kind == Kind::Connect && self.clients.contains_key(&event.cid) {
                    // It may be one.
                    self.expect_no_answers();
                    self.forget_who_is_up();
                }
                let user = event.env.get(b"username").unwrap_or_default().to_vec();
                self.asked(event.cid, event.kid, kind, user, now);
            }
            Message::Established { cid, .. } => {
                if self.approved.contains(cid) {
                    self.up.insert(*cid);
                }
            }
            Message::Disconnect { cid, .. } => {
                self.questions.remove(cid);
                self.clients.remove(cid);
                self.approved.remove(cid);
                self.up.remove(cid);
            }
            Message::Rejected(rejected) => {
                if rejected.kind == RejectKind::Status
                    && self.commands.front() == Some(&Asked::Status)
                {
                    self.commands.pop_front();
                }
                // OpenVPN tells of no client before its greeting, and nobody could be denied then.
                let block = rejected.block.filter(|_| self.is_greeted);
                if let Some(RefusedBlock::Login(cid, kid)) = block {
                    self.asked(cid, kid, Kind::Refused, Vec::new(), now);
                }
            }
            Message::Success(_) => {
                self.commands.pop_front();
            }
            // No reply to a verdict: the connection is given up, and the verdict unconfirmed.
            Message::Version(_) | Message::End => {
                let asked = self.commands.pop_front();
                self.is_unconfirmed(asked);
            }
            Message::Error(_) => {
                self.commands.pop_front();
                self.forget_who_is_up();
            }
            Message::Status(report) => {
                let asked = self.commands.pop_front();
                self.is_unconfirmed(asked);
                self.forget_who_is_up();
                for (cid, question) in &mut self.questions {
                    // The list may say that the client is gone, or another.
                    question.is_due &= report.clients.iter().any(|client| {
                        client.cid == *cid
                            && client.username.as_deref() == Some(question.user.as_slice())
                    });
                }
                let listed = report.clients.iter().map(|client| (client.cid, self.connection));
                self.clients.extend(listed);
            }
            Message::StateHistory(history) => {
                let asked = self.commands.pop_front();
                self.is_unconfirmed(asked);
                let is_asked = asked == Some(Asked::State);
                if let Some(state) = history.last().filter(|_| is_asked)
                    && state.name == StateName::Connected
                {
                    self.serves_since(state.at, now);
                }
            }
            // The engine says which is the last, and the last only is its output.
            Message::Relayed(_)
            | Message::Hold
            | Message::Fatal(_)
            | Message::Log
            | Message::Notify
            | Message::Other(_)
            | Message::Address { .. }
            | Message::ByteCount { .. } => {}
        }
    }

    pub(super) fn asked(&mut self, cid: Cid, kid: Kid, kind: Kind, user: Vec<u8>, now: Now) {
        self.clients.insert(cid, self.connection);
        let question = Question {
            kind,
            kid,
            user,
            at: now.mono,
            connection: self.connection,
            ticket: None,
            patience: self.auth_timeout,
            challenge: None,
            is_answered: false,
            is_unfiltered: self.commands.contains(&Asked::EnvFilter),
            is_due: self.is_greeted,
        };
        self.questions.insert(cid, question);
    }

    /// The run that began then serves.
    pub(super) fn serves_since(&mut self, at: Timestamp, now: Now) {
        if self.run != Some(at) {
            let connection = self.connection;
            self.questions.retain(|_, question| question.connection == connection);
            self.clients.retain(|_, told| *told == connection);
        }
        if !self.is_confirmed {
            self.calm_since = now.mono;
        }
        self.run = Some(at);
        self.is_confirmed = true;
        if !self.is_greeted {
            self.expect_no_answers();
        }
    }

    /// The questions so far may be answered or not.
    pub(super) fn expect_no_answers(&mut self) {
        for question in self.questions.values_mut() {
            question.is_due = false;
        }
    }

    pub(super) fn end_run(&mut self) {
        self.questions.clear();
        self.clients.clear();
        self.forget_who_is_up();
    }

    /// Who is up is taken only where it is sure: it makes a CONNECT the end of a run.
    pub(super) fn forget_who_is_up(&mut self) {
        self.approved.clear();
        self.up.clear();
    }
}
