//! Allowed hours: what is written reads the same again, and whether they are open is what a look
//! at the clock on the wall says.

use std::time::Duration;

use ovpn_warden::types::{HourRange, Hours, Opening, Timestamp, Zone};

const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Zones whose clocks never change, and such whose do.
const ZONES: [(&str, i64); 8] = [
    ("UTC", 0),
    ("Asia/Kolkata", 330),
    ("Etc/GMT+12", -720),
    ("Asia/Kathmandu", 345),
    ("Europe/Berlin", 0),
    ("America/St_Johns", 0),
    ("Pacific/Apia", 0),
    ("Australia/Lord_Howe", 0),
];
/// How many of them have the same time all year, and had it since 2000.
const STEADY: usize = 4;
/// 2000-01-03, a Monday.
const MONDAY: i64 = 946_857_600;

thread_local! {
    static PARSED: [Zone; 8] = ZONES.map(|(name, _)| name.parse().unwrap());
}

/// Checks one input: a zone, a moment in eight bytes, and the hours. A server may tell any moment;
/// hours are asked for in this century.
pub(crate) fn check(input: &[u8]) {
    let Some(([zone, moment @ ..], text)) = input.split_first_chunk::<9>() else { return };
    let which = usize::from(*zone) % ZONES.len();
    let zone = PARSED.with(|zones| zones[which]);
    let moment = i64::from_be_bytes(*moment);
    far(zone, Timestamp::from_secs(moment));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(hours) = text.parse::<Hours>() else { return };
    assert!((1..=Hours::MOST).contains(&hours.ranges().len()), "{text:?}");
    let shown = hours.to_string();
    assert_eq!(shown.parse::<Hours>().as_ref(), Ok(&hours), "{text:?} is shown as {shown:?}");
    for range in hours.ranges() {
        let (day, opens, closes) = (range.weekday(), range.opens(), range.closes());
        assert_eq!(HourRange::new(day, &opens, &closes), Ok(*range));
    }
    let now = Timestamp::from_secs(MONDAY + moment.rem_euclid(3_000_000_000));
    let opening = hours.at(now, zone);
    if let Opening::Until(end) = opening {
        assert!(end > now && end.saturating_since(now) < WEEK, "{text:?} at {now}: {end}");
    }
    if which < STEADY {
        steady(&hours, now, ZONES[which].1, opening);
    } else {
        days(zone, now);
        changing(&hours, now, zone, opening);
    }
}

/// Whether a range covers a moment, in minutes of the week from Monday on.
fn is_open(hours: &Hours, minute: i64) -> bool {
    hours.ranges().iter().any(|range| {
        let clock = |text: &str| -> i64 {
            let (hours, minutes) = text.split_once(':').unwrap();
            hours.parse::<i64>().unwrap() * 60 + minutes.parse::<i64>().unwrap()
        };
        let (opens, closes) = (clock(&range.opens()), clock(&range.closes()));
        let begin = (i64::from(range.weekday()) - 1) * 1_440 + opens;
        let length = if closes > opens { closes - opens } else { closes + 1_440 - opens };
        (minute - begin).rem_euclid(7 * 1_440) < length
    })
}

/// Where the clocks are never changed, the week is a ring of minutes.
fn steady(hours: &Hours, now: Timestamp, offset: i64, opening: Opening) {
    let minute =
        |at: Timestamp| ((at.as_secs() - MONDAY).div_euclid(60) + offset).rem_euclid(10_080);
    let is_now = is_open(hours, minute(now));
    match opening {
        Opening::Closed => assert!(!is_now, "{hours} at {now} is closed"),
        // To say so it looks at some days only, and they have to be without a gap.
        Opening::Always => assert!((0..10_080).all(|minute| is_open(hours, minute)), "{hours}"),
        Opening::Until(end) => {
            assert!(is_now, "{hours} at {now} is open");
            assert!(!is_open(hours, minute(end)), "{hours} at {now} until {end}");
            assert_eq!(end.as_millis() % 60_000, 0);
            // A look at some moments until then, the last minute among them.
            let length = end.saturating_since(now);
            for part in 1..8 {
                assert!(is_open(hours, minute(now.saturating_add(length / 8 * part))));
            }
            assert!(is_open(hours, minute(end.saturating_sub(MINUTE))));
        }
    }
}

/// Where they are changed, far from a change the same holds by the clock on the wall.
fn changing(hours: &Hours, now: Timestamp, zone: Zone, opening: Opening) {
    let offset =
        |at: Timestamp| (zone.local(at).and_utc().timestamp_millis() - at.as_millis()) / 60_000;
    let here = offset(now);
    let days = |count: u64| Duration::from_secs(count * 86_400);
    let around = (1..=10).all(|count| {
        offset(now.saturating_add(days(count))) == here
            && (count > 3 || offset(now.saturating_sub(days(count))) == here)
    });
    if around {
        steady(hours, now, here, opening);
    }
}

/// However far away, there is a day, and it ends.
fn far(zone: Zone, at: Timestamp) {
    let (began, ends) = (zone.began(at), zone.ends(at));
    assert!(began.day <= at && began.week <= at && began.month <= at);
    if at < Timestamp::MAX {
        assert!(ends.day > at && ends.week > at && ends.month > at, "{zone} at {}", at.as_millis());
    }
}

/// Days, weeks and months begin before and end after each of their moments.
fn days(zone: Zone, now: Timestamp) {
    let (began, ends) = (zone.began(now), zone.ends(now));
    for (from, to, most) in
        [(began.day, ends.day, 2), (began.week, ends.week, 8), (began.month, ends.month, 32)]
    {
        assert!(from <= now && now < to, "{zone} at {now}: {from} to {to}");
        assert!(to.saturating_since(from) <= Duration::from_secs(most * 86_400), "{from} to {to}");
    }
    assert_eq!(zone.day_start(now), began.day);
    assert_eq!(zone.next_day(now), ends.day);
}
