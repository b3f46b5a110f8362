use std::collections::VecDeque;

use super::*;

const PATIENCE: Duration = Duration::from_secs(7);

/// A machine that decides one login each 10 ms, in the order in which they were begun, and these servers.
struct Scene {
    turns: Arc<Turns>,
    seats: Vec<Seat>,
    now: Mono,
    /// The server of each, and when it came.
    under_way: VecDeque<(usize, Mono)>,
    /// When those came that wait at each server.
    waiting: Vec<VecDeque<Mono>>,
    /// How many were decided of each server; when each came, and when it was decided who was not refused.
    decided: Vec<usize>,
    outcomes: Vec<(Mono, Option<Mono>)>,
    most_at_once: usize,
}

impl Scene {
    fn new(most: Most, servers: usize) -> Self {
        let turns = Arc::new(Turns::new(most, Crowd::default()));
        let seats: Vec<_> = (0..servers).map(|_| turns.seat()).collect();
        Self {
            turns,
            seats,
            now: Mono::default(),
            under_way: VecDeque::new(),
            waiting: vec![VecDeque::new(); servers],
            decided: vec![0; servers],
            outcomes: Vec::new(),
            most_at_once: 0,
        }
    }

    fn come(&mut self, server: usize) -> Come {
        let come = self.seats[server].come(true, PATIENCE, self.now);
        match come {
            Come::Now => self.under_way.push_back((server, self.now)),
            Come::Later => self.waiting[server].push_back(self.now),
            Come::Never => self.outcomes.push((self.now, None)),
        }
        self.most_at_once = self.most_at_once.max(self.under_way.len());
        come
    }

    /// How long one more would wait.
    fn wait(&self, server: usize) -> Duration {
        self.turns.state().wait(self.seats[server].number, PATIENCE, self.now)
    }

    /// What each server does when it is called: the last that wait in vain are refused. They look in the order in which
    /// they come up: whoever is last then is last each time.
    fn shed(&mut self) {
        for (server, seat) in self.seats.iter().enumerate() {
            while let Some(came) = self.waiting[server].back().copied()
                && seat.is_in_vain(came + PATIENCE, self.now, PATIENCE)
            {
                seat.leave();
                self.waiting[server].pop_back();
                self.outcomes.push((came, None));
            }
        }
    }

    /// What each server does when it is called, and sooner or later anyway.
    fn look(&mut self) {
        for (server, seat) in self.seats.iter().enumerate() {
            let due = self.waiting[server].drain(..seat.take());
            self.under_way.extend(due.map(|came| (server, came)));
        }
        self.most_at_once = self.most_at_once.max(self.under_way.len());
    }

    /// Decides so many; false when nothing was under way.
    fn decide(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some((server, came)) = self.under_way.pop_front() else { return false };
            self.now = self.now + Duration::from_millis(10);
            self.decided[server] += 1;
            self.outcomes.push((came, Some(self.now)));
            self.seats[server].done(true, self.now);
            self.look();
        }
        true
    }
}

/// Two hashing threads and the default queue.
fn usual(servers: usize) -> Most {
    Most::new(32, 258, servers)
}

#[test]
fn a_server_alone_has_what_one_may_have_and_the_others_find_room() {
    let mut scene = Scene::new(usual(4), 4);
    let came: Vec<_> = (0..100).map(|_| scene.come(0)).collect();
    assert_eq!(came.iter().filter(|come| **come == Come::Now).count(), 8);
    assert!(scene.decide(50));
    assert!((17..=32).contains(&scene.under_way.len()), "{}", scene.under_way.len());
    // Nobody else waits: it begins at once.
    assert_eq!(scene.come(1), Come::Now);
    assert!(scene.decide(51));
    assert!(!scene.decide(1));
    assert_eq!(scene.most_at_once, 33);
}

#[test]
fn what_is_under_way_has_one_bound_and_nobody_is_ahead_for_having_come_first() {
    let mut scene = Scene::new(usual(200), 200);
    // One server is heard after the other, and some logins are decided meanwhile.
    for server in 0..200 {
        for _ in 0..20 {
            scene.come(server);
        }
        if server % 10 == 9 {
            assert!(scene.decide(1));
        }
    }
    let due = Mono(PATIENCE);
    while scene.decide(10) {
        scene.shed();
        // It goes slower now and then.
        scene.now = scene.now + Duration::from_millis(scene.now.0.as_millis() as u64 % 50);
    }
    assert!(scene.most_at_once <= 128, "{}", scene.most_at_once);
    // An eighth of the time was left for that.
    let is_used = (due - scene.now) < PATIENCE / 20 && scene.now <= Mono(PATIENCE * 8 / 7);
    assert!(is_used, "over at {:?}", scene.now);
    let (least, most) = (scene.decided.iter().min().unwrap(), scene.decided.iter().max().unwrap());
    assert!(*least >= 3 && *most <= 5, "{least} to {most}");
}

#[test]
fn the_next_storm_knows_nothing_of_who_had_how_much_in_the_last_one() {
    let mut scene = Scene::new(usual(12), 12);
    for storm in 0..3 {
        for server in 0..12 {
            (0..50).for_each(|_| assert_ne!(scene.come(server), Come::Never, "storm {storm}"));
        }
        scene.decided = vec![0; 12];
        assert!(scene.decide(300));
        let (least, most) =
            (scene.decided.iter().min().unwrap(), scene.decided.iter().max().unwrap());
        assert!(*least >= 20 && *most <= 30, "storm {storm}: {:?}", scene.decided);
        while scene.decide(1) {}
    }
}

#[test]
fn who_looks_first_loses_no_more_than_the_others() {
    let mut scene = Scene::new(usual(40), 40);
    for _ in 0..100 {
        (0..40).for_each(|server| {
            scene.come(server);
        });
    }
    while scene.decide(10) {
        scene.shed();
        // Slower and slower.
        scene.now = scene.now + Duration::from_millis(scene.decided[0] as u64 * 4);
    }
    // An eighth of the time was left for that.
    assert!(scene.now <= Mono(PATIENCE * 8 / 7), "over at {:?}", scene.now);
    let (least, most) = (scene.decided.iter().min().unwrap(), scene.decided.iter().max().unwrap());
    assert!(least + 3 >= *most, "{least} to {most}");
}

#[test]
fn only_who_comes_up_after_all_others_waits_in_vain_whoever_looks_first() {
    const WAITING: [usize; 10] = [9, 4, 4, 4, 4, 3, 3, 3, 3, 3];
    let mut scene = Scene::new(Most::new(1, 1, 10), 10);
    assert_eq!(scene.come(0), Come::Now);
    for (server, waiting) in WAITING.into_iter().enumerate() {
        (0..waiting).for_each(|_| assert_eq!(scene.come(server), Come::Later));
    }
    (1..=300).for_each(|turn| scene.seats[0].decided(Mono(Duration::from_millis(10 * turn))));
    let each = scene.turns.state().pace.at_best(PATIENCE, scene.now);
    let mut in_vain = |turns: u32| -> Vec<usize> {
        let now = scene.now;
        scene.now = now + LOOK;
        let is = |seat: &Seat| seat.is_in_vain(now + each * turns, now, PATIENCE);
        (0..10).filter(|server| is(&scene.seats[*server])).collect()
    };
    // With the one that is under way they are 41.
    assert!(in_vain(41).is_empty());
    assert_eq!(in_vain(40), [0]);
    assert_eq!(in_vain(32), [0]);
    // Nor all of the fourth round; whoever is first within it has a turn before the others.
    assert_eq!(in_vain(31), [0, 3, 4]);
    assert_eq!(in_vain(30), [0, 1, 2, 3, 4]);
}

#[test]
fn while_more_come_than_can_be_decided_each_moment_has_the_same_chance() {
    // For 20 s three times as many, at a pace that wanders by a fifth.
    let mut scene = Scene::new(usual(4), 4);
    let end = Mono(Duration::from_secs(20));
    let mut came = 0;
    while scene.now < end {
        while Mono(Duration::from_micros(3_300) * came) < scene.now {
            scene.come(came as usize % 4);
            came += 1;
        }
        let seconds = scene.now.0.as_secs_f64();
        scene.now = scene.now + Duration::from_secs_f64(0.001 * (1.0 + seconds.sin()));
        scene.decide(1);
        scene.shed();
    }
    while scene.decide(1) {}
    let waits = scene.outcomes.iter().filter_map(|(came, decided)| Some((*decided)? - *came));
    let longest = waits.max().unwrap();
    assert!(longest < PATIENCE * 16 / 15, "{longest:?}");
    let refused = scene.outcomes.iter().filter(|(_, decided)| decided.is_none());
    let first = refused.map(|(came, _)| *came).min().unwrap();
    let shares: Vec<f64> = (0..10)
        .map(|part| {
            let part_of = |came: Mono| (came - first).as_secs_f64() / (end - first).as_secs_f64();
            let is_within = |came: Mono| came >= first && (part_of(came) * 10.0) as u32 == part;
            let of = scene.outcomes.iter().filter(|(came, _)| is_within(*came));
            of.clone().filter(|(_, decided)| decided.is_some()).count() as f64 / of.count() as f64
        })
        .collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    assert!(shares.iter().all(|share| *share >= most * 0.6), "{shares:.2?}");
}

#[test]
fn however_many_servers_there_are_what_is_under_way_finds_room() {
    // A queue of one place before one thread.
    let mut scene = Scene::new(Most::new(32, 2, 50), 50);
    for _ in 0..3 {
        (0..50).for_each(|server| {
            scene.come(server);
        });
    }
    while scene.decide(1) {}
    assert_eq!(scene.most_at_once, 2);
    assert_eq!(scene.decided, [3; 50]);
}

#[test]
fn half_of_them_come_up_together() {
    let mut scene = Scene::new(usual(8), 8);
    for _ in 0..100 {
        (0..8).for_each(|server| {
            scene.come(server);
        });
    }
    // Until there are as many as there may be.
    assert!(scene.decide(200));
    let mut begun = Vec::new();
    for _ in 0..64 {
        let before = scene.under_way.len();
        assert!(scene.decide(1));
        begun.push(scene.under_way.len() + 1 - before);
    }
    begun.retain(|count| *count > 0);
    assert_eq!(begun, [64]);
}

#[test]
fn who_wanted_nothing_for_a_while_is_not_ahead_for_long() {
    let mut scene = Scene::new(usual(2), 2);
    for _ in 0..500 {
        scene.come(0);
    }
    assert!(scene.decide(200));
    for _ in 0..200 {
        scene.come(1);
    }
    let before = scene.decided.clone();
    assert!(scene.decide(200));
    let had = scene.decided[1] - before[1];
    assert!((80..=110).contains(&had), "{had}");
}

#[test]
fn the_wait_is_that_of_those_before_at_the_pace_of_the_last_decisions() {
    let mut scene = Scene::new(usual(1), 2);
    for _ in 0..2_000 {
        scene.come(0);
    }
    assert!(scene.decide(100));
    assert_eq!(scene.wait(0), Duration::ZERO, "nothing is known");
    assert!(scene.decide(100));
    let (each, at_best) = {
        let pace = &scene.turns.state().pace;
        (pace.each(PATIENCE, scene.now), pace.at_best(PATIENCE, scene.now))
    };
    assert_eq!(scene.wait(0), each * 1801);
    // Who waits already is judged by the pace at best.
    assert!(at_best < each * 7 / 10);
    let is_in_vain =
        |turns| scene.seats[0].is_in_vain(scene.now + at_best * turns, scene.now, PATIENCE);
    assert!(is_in_vain(1799) && !is_in_vain(1800));
    assert_eq!(scene.come(0), Come::Never);
    // Servers take turns, and the other has had nothing.
    let under_way = scene.under_way.len() as u32;
    assert_eq!(scene.wait(1), each * (under_way + 2));
    assert_eq!(scene.come(1), Come::Now);
    assert_eq!(scene.wait(0), each * 1802);
    // What is no work says nothing of how fast it goes.
    for _ in 0..100 {
        let (server, _) = scene.under_way.pop_front().unwrap();
        scene.seats[server].done(false, scene.now);
        scene.look();
    }
    assert_eq!(scene.wait(0), each * 1702);
}

#[test]
fn a_slow_hour_lets_others_wait_again_a_minute_later() {
    let mut scene = Scene::new(usual(4), 4);
    for login in 0..400 {
        scene.come(login % 4);
    }
    // A second for each: the window is full and nobody may wait.
    while scene.decide(1) {
        scene.now = scene.now + Duration::from_secs(1);
        scene.shed();
    }
    let came = |scene: &mut Scene| {
        let came: Vec<_> = (0..100).map(|login| scene.come(login % 4)).collect();
        came.into_iter().filter(|come| *come == Come::Later).count()
    };
    assert_eq!(came(&mut scene), 0);
    while scene.decide(1) {}
    scene.now = scene.now + Duration::from_secs(70);
    assert!(came(&mut scene) > 50);
}

#[test]
fn who_leaves_makes_room_also_when_its_turn_has_just_come() {
    let mut scene = Scene::new(Most::new(1, 1, 1), 3);
    let came: Vec<_> = (0..3).map(|server| scene.come(server)).collect();
    assert_eq!(came, [Come::Now, Come::Later, Come::Later]);
    scene.seats[0].done(true, scene.now);
    // The second server's, which nobody has begun yet.
    scene.seats[1].leave();
    assert_eq!(scene.seats[1].take(), 0);
    assert_eq!(scene.seats[2].take(), 1);
    // A server that begins anew, as after a fault, holds nothing up.
    assert_eq!(scene.come(1), Come::Later);
    scene.seats[2] = scene.turns.seat();
    assert_eq!(scene.seats[1].take(), 1);
    scene.seats[1].done(true, scene.now);
    assert_eq!(scene.come(2), Come::Now);
}

#[tokio::test]
async fn a_server_hears_when_its_turn_comes_and_when_it_may_wait_in_vain() {
    use futures_util::FutureExt as _;

    let crowd = Crowd::default();
    let turns = Arc::new(Turns::new(Most::new(2, 2, 2), crowd.clone()));
    let seats = [turns.seat(), turns.seat()];
    let came =
        [0, 0, 0, 1].map(|server: usize| seats[server].come(true, PATIENCE, Mono::default()));
    assert_eq!(came, [Come::Now, Come::Now, Come::Later, Come::Later]);
    let is_called = |seat: &Seat| seat.called().now_or_never().is_some();
    assert!(!is_called(&seats[0]) && !is_called(&seats[1]));
    assert_eq!(crowd.count(), 2);
    seats[0].done(true, Mono(LOOK));
    // Less than half of its bound is under way; the other, which has had nothing, comes up first.
    assert!(is_called(&seats[1]) && seats[1].take() == 1 && seats[0].take() == 0);
    assert_eq!(crowd.count(), 1);
    seats[1].done(true, Mono(LOOK * 2));
    assert!(is_called(&seats[0]) && seats[0].take() == 1);
    assert_eq!(crowd.count(), 0);
}
