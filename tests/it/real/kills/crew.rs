//! The clients of the scenario: who comes, how they behave, when they leave.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::records::{ClientRecord, Millis, now};
use crate::lab::{Client, ClientOptions, PASSWORD, arguments};
use crate::real::Site;

/// Users whose sessions have no limit that matters here, and their devices.
pub const UNLIMITED: [(&str, &str); 2] =
    [("anna", "02:00:5e:10:01:01"), ("bert", "02:00:5e:10:01:02")];
/// Users with a short session, in seconds.
pub const LIMITED: [(&str, &str, u32); 3] = [
    ("kurt", "02:00:5e:10:02:01", 6),
    ("lena", "02:00:5e:10:02:02", 9),
    ("mara", "02:00:5e:10:02:03", 12),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Comes first and stays to the end.
    Stayer,
    /// Comes and leaves.
    Visitor,
    /// Has a session limit and does not come back after it.
    Short,
    /// A right user and device with a wrong password.
    WrongPassword,
    /// A right user and password with the device of another user, or an unknown one.
    WrongDevice,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Stayer, Self::Visitor, Self::Short, Self::WrongPassword, Self::WrongDevice];

    /// How many there are at a time.
    const fn crowd(self) -> usize {
        match self {
            Self::Stayer => 3,
            Self::Visitor | Self::Short => 3,
            Self::WrongPassword | Self::WrongDevice => 2,
        }
    }

    /// May be in, and whenever nothing is broken must be.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Stayer | Self::Visitor)
    }

    /// May never be in.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::WrongPassword | Self::WrongDevice)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Stayer => "stayer",
            Self::Visitor => "visitor",
            Self::Short => "short",
            Self::WrongPassword => "wrong-password",
            Self::WrongDevice => "wrong-device",
        }
    }
}

/// A client and what was done to it.
pub struct Member {
    pub kind: Kind,
    /// Its certificate's common name: its own.
    pub name: String,
    /// The limit of its sessions.
    pub limit: Option<Millis>,
    pub client: Client,
    leaves: Option<Millis>,
    /// When it was told to leave, or killed.
    pub left: Option<Millis>,
}

impl Member {
    pub fn record(&self) -> ClientRecord {
        ClientRecord::read(&self.client.log())
    }

    /// When it was certainly gone.
    pub fn gone(&self) -> Millis {
        self.left.unwrap_or(Millis::MAX)
    }
}

/// All clients, also those that are gone.
pub struct Crew {
    pub site: Site,
    pub members: Vec<Member>,
    next: [Millis; Kind::ALL.len()],
    random: StdRng,
    /// Nobody new comes.
    pub is_closed: bool,
    /// Some leave without a word.
    pub may_vanish: bool,
}

impl Crew {
    pub fn new(site: Site, random: StdRng) -> Self {
        Self {
            site,
            members: Vec::new(),
            next: [0; Kind::ALL.len()],
            random,
            is_closed: false,
            may_vanish: false,
        }
    }

    /// Lets clients come and leave until `end`.
    pub fn live_until(&mut self, end: Millis) {
        while now() < end {
            self.step();
            super::pause(Duration::from_millis(20));
        }
    }

    pub fn live(&mut self, millis: Millis) {
        self.live_until(now() + millis);
    }

    fn step(&mut self) {
        let present = now();
        let may_vanish = self.may_vanish;
        let random = &mut self.random;
        for member in &mut self.members {
            if member.left.is_none() && member.leaves.is_some_and(|at| at <= present) {
                leave(member, may_vanish && random.random_bool(0.15));
            }
        }
        if self.is_closed {
            return;
        }
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let there = self.there().filter(|m| m.kind == kind).count();
            if there < kind.crowd() && self.next[index] <= present {
                self.next[index] = present + self.random.random_range(200..1_500);
                self.admit(kind);
            }
        }
    }

    /// One to three more, to be in the middle of their logins a moment later.
    pub fn burst(&mut self) {
        for _ in 0..self.random.random_range(1..=3) {
            let kind = *Kind::ALL[1..].choose(&mut self.random).unwrap();
            self.admit(kind);
        }
    }

    fn admit(&mut self, kind: Kind) {
        let random = &mut self.random;
        let (user, mac) = *UNLIMITED.choose(random).unwrap();
        let mut options = ClientOptions {
            user: user.into(),
            password: PASSWORD.into(),
            mac: Some(mac.into()),
            extra: arguments(&[
                "--machine-readable-output",
                "--connect-retry",
                "1",
                "5",
                "--hand-window",
                "10",
            ]),
            ..Default::default()
        };
        let mut limit = None;
        let stay = match kind {
            Kind::Stayer => None,
            Kind::Visitor => Some(5_000..30_000),
            Kind::Short => {
                let (user, mac, seconds) = *LIMITED.choose(random).unwrap();
                (options.user, options.mac) = (user.into(), Some(mac.into()));
                limit = Some(Millis::from(seconds) * 1_000);
                Some(40_000..60_000)
            }
            Kind::WrongPassword => {
                options.password = format!("{PASSWORD}?");
                Some(3_000..15_000)
            }
            Kind::WrongDevice => {
                let other = UNLIMITED.iter().find(|(_, theirs)| *theirs != mac).unwrap().1;
                let unknown = format!("02:00:5e:99:00:{:02x}", random.random_range(0..=255));
                options.mac = Some(if random.random() { other.into() } else { unknown });
                Some(3_000..15_000)
            }
        };
        // Good clients come back as a user's would; half of the bad ones try again and again.
        if kind.is_good() || (kind.is_bad() && random.random()) {
            options.extra.extend(arguments(&["--auth-retry", "nointeract"]));
        }
        let leaves = stay.map(|range| now() + random.random_range(range));
        let name = format!("{}-{}", kind.word(), self.members.len());
        options.certificate = Some(name.clone());
        let client = self.site.client(options);
        self.members.push(Member { kind, name, limit, client, leaves, left: None });
    }

    /// The tunnels that are up, each by its client and its beginning.
    pub fn up(&mut self) -> Vec<(String, Millis)> {
        self.there().filter_map(|m| Some((m.name.clone(), m.record().up_since()?))).collect()
    }

    /// How many may be in, and are not yet.
    pub fn waiting(&mut self) -> usize {
        self.there().filter(|m| !m.kind.is_bad() && m.record().up_since().is_none()).count()
    }

    /// Those that have to be in, and are not.
    pub fn missing(&mut self) -> Vec<String> {
        self.there()
            .filter(|m| m.kind.is_good() && m.record().up_since().is_none())
            .map(|m| {
                let log = m.client.log();
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                format!(
                    "{}, whose log ends so, the newest line first:\n{}\n",
                    m.name,
                    tail.join("\n")
                )
            })
            .collect()
    }

    /// Who is there and has not been told to leave.
    fn there(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members
            .iter_mut()
            .filter_map(|m| (m.left.is_none() && m.client.is_running()).then_some(m))
    }

    /// Everybody leaves; those that cannot are killed.
    pub fn dismiss(&mut self) {
        for member in &mut self.members {
            if member.left.is_none() && member.client.is_running() {
                leave(member, false);
            }
        }
        let end = now() + 8_000;
        while now() < end && self.members.iter_mut().any(|m| m.client.is_running()) {
            super::pause(Duration::from_millis(50));
        }
        for member in &mut self.members {
            member.client.kill();
        }
    }
}

fn leave(member: &mut Member, vanish: bool) {
    member.left = Some(now());
    if vanish {
        member.client.kill();
    } else {
        member.client.signal("TERM");
    }
}
