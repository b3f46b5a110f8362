//! `user usage`, `user grant` and `user grants`: what is left of a user's quotas, and more of them.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::existing;
use crate::{
    auth::quota::Meter,
    cli::{
        Desk,
        exit::CliError,
        output::{View, short_time},
        parse::{duration, moment},
    },
    config::Config,
    store::{GrantRecord, Granted, PolicyRecord, QuotaGrant},
    types::{Bytes, Period, Periods, Quotas, Timestamp, Username, Zone, parse_bytes},
};

/// Arguments of `user grant`.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// Login name
    name: Username,
    #[command(flatten)]
    amount: Amount,
    /// Until then it counts: 2026-12-31, "2026-12-31 18:00" (UTC) or +2h [default: the end of the
    /// shortest period for which the user's policy has such a quota]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Arguments of `user grants`.
#[derive(Debug, Args)]
pub struct GrantsArgs {
    /// Login name
    name: Username,
    /// Take the grant of this number back
    #[arg(long, value_name = "ID")]
    revoke: Option<i64>,
}

/// What is granted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Amount {
    /// So much time, as 2h, at most ten years
    #[arg(long, value_name = "DURATION", value_parser = time)]
    time: Option<Duration>,
    /// So much data, both ways, as 5GiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    data: Option<u64>,
}

/// More is no grant that anybody means, but a slip.
const MOST_TIME: Duration = Duration::from_secs(10 * 365 * 86_400);

fn time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time > MOST_TIME => Err("more than ten years; without a time quota in the policy \
                                         nobody's time is limited"
            .into()),
        time => Ok(time),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text)
        .filter(|bytes| (1..=1 << 50).contains(bytes))
        .ok_or_else(|| "not an amount of data: use 500MiB or 20GB, at most 1PiB".into())
}

/// Grants time or data beside the quotas.
pub(super) async fn grant(
    desk: &mut Desk,
    config: &Config,
    args: GrantArgs,
) -> Result<(), CliError> {
    let now = desk.now();
    let (policy, zone) = policy_of(desk, config, &args.name).await?;
    let (amount, quotas) = match (args.amount.time, args.amount.data) {
        (Some(time), _) => (Granted::Time(time.as_secs()), policy.time_quota),
        (None, data) => (Granted::Data(data.unwrap_or(0)), policy.data_quota),
    };
    let valid_until = match &args.until {
        Some(text) => moment("--until", text, now)?,
        None => {
            let ends = zone.ends(now);
            match quotas.iter().next().map(|(period, _)| period) {
                Some(Period::Day) => ends.day,
                Some(Period::Week) => ends.week,
                Some(Period::Month) => ends.month,
                Some(Period::Total) => Timestamp::MAX,
                None => {
                    return Err(CliError::failed(format!(
                        "policy `{}` of user `{}` has no such quota",
                        policy.name, args.name
                    ))
                    .or_next("nothing is to be granted; `policy show` tells the quotas"));
                }
            }
        }
    };
    if valid_until <= now {
        return Err(CliError::usage("--until: it is over already"));
    }
    let grant = QuotaGrant { user: args.name.clone(), amount, valid_until };
    desk.store.grant_quota(&grant, &desk.actor()).await?;
    let each = each_period(quotas, zone.ends(now), valid_until);
    let message =
        format!("user `{}` may use {} more{each} until {valid_until}", args.name, shown(amount));
    let rows = rows(desk, &args.name, &policy, zone).await?;
    desk.out.done(&message, &rows)
}

fn shown(amount: Granted) -> String {
    match amount {
        Granted::Time(seconds) => format!("{seconds} s"),
        Granted::Data(bytes) => Bytes(bytes).to_string(),
    }
}

/// A quota that begins anew before the grant ends has it again.
fn each_period(quotas: Quotas, ends: Periods, until: Timestamp) -> &'static str {
    match quotas.iter().next().map(|(period, _)| period) {
        Some(Period::Day) if ends.day < until => " each day",
        Some(Period::Week) if ends.week < until => " each week",
        Some(Period::Month) if ends.month < until => " each month",
        Some(Period::Day | Period::Week | Period::Month | Period::Total) | None => "",
    }
}

/// Shows what is granted, or takes one back.
pub(super) async fn grants(desk: &mut Desk, args: GrantsArgs) -> Result<(), CliError> {
    let GrantsArgs { name, revoke } = args;
    existing(desk, &name).await?;
    let Some(id) = revoke else {
        let grants = desk.store.grants(&name, desk.now()).await?;
        return desk.out.list(&grants.iter().map(GrantView::from).collect::<Vec<_>>());
    };
    let see = format!("`ovpn-warden user grants {name}` shows them");
    desk.store
        .revoke_grant(&name, id, &desk.actor())
        .await
        .map_err(|error| CliError::from(error).or_next(see))?;
    let grants = desk.store.grants(&name, desk.now()).await?;
    let left: Vec<_> = grants.iter().map(GrantView::from).collect();
    desk.out.done(&format!("grant {id} of user `{name}` is taken back"), &left)
}

/// Shows what is used and left.
pub(super) async fn usage(
    desk: &mut Desk,
    config: &Config,
    name: &Username,
) -> Result<(), CliError> {
    let (policy, zone) = policy_of(desk, config, name).await?;
    let rows = rows(desk, name, &policy, zone).await?;
    desk.out.list(&rows)
}

async fn policy_of(
    desk: &Desk,
    config: &Config,
    name: &Username,
) -> Result<(PolicyRecord, Zone), CliError> {
    let user = existing(desk, name).await?;
    let policy =
        desk.store.policy(&user.policy).await?.ok_or_else(|| super::no_policy(&user.policy))?;
    let zone = policy.time_zone.unwrap_or(config.session.time_zone);
    Ok((policy, zone))
}

async fn rows(
    desk: &Desk,
    name: &Username,
    policy: &PolicyRecord,
    zone: Zone,
) -> Result<Vec<UsageRow>, CliError> {
    let now = desk.now();
    let users = [(name.clone(), zone.began(now))];
    let usage = desk.store.usage(&users, now).await?.into_iter().next().unwrap_or_default();
    let meter = Meter::new(policy, &usage, zone, now);
    let row = |period: &Period| UsageRow {
        period: period.as_str(),
        time_used_s: meter.time(*period).as_secs(),
        time_quota_s: policy.time_quota.of(*period),
        time_left_s: policy.time_quota.of(*period).map(|_| meter.time_left(*period).as_secs()),
        data_used_bytes: meter.data(*period),
        data_quota_bytes: policy.data_quota.of(*period),
        data_left_bytes: policy.data_quota.of(*period).map(|_| meter.data_left(*period)),
    };
    Ok(Period::ALL.iter().map(row).collect())
}

#[derive(Serialize)]
struct UsageRow {
    period: &'static str,
    time_used_s: u64,
    time_quota_s: Option<u64>,
    time_left_s: Option<u64>,
    data_used_bytes: u64,
    data_quota_bytes: Option<u64>,
    data_left_bytes: Option<u64>,
}

impl View for UsageRow {
    const COLUMNS: &'static [&'static str] =
        &["PERIOD", "TIME USED", "QUOTA", "LEFT", "DATA USED", "QUOTA", "LEFT"];

    fn row(&self) -> Vec<String> {
        let seconds = |s: Option<u64>| s.map_or_else(|| "-".into(), |s| format!("{s} s"));
        let bytes = |n: Option<u64>| n.map_or_else(|| "-".into(), |n| Bytes(n).to_string());
        vec![
            self.period.into(),
            seconds(Some(self.time_used_s)),
            seconds(self.time_quota_s),
            seconds(self.time_left_s),
            bytes(Some(self.data_used_bytes)),
            bytes(self.data_quota_bytes),
            bytes(self.data_left_bytes),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

#[derive(Serialize)]
struct GrantView {
    id: i64,
    kind: &'static str,
    amount: u64,
    valid_until: String,
    created_at: String,
    actor: String,
    #[serde(skip)]
    shown: [String; 3],
}

impl From<&GrantRecord> for GrantView {
    fn from(grant: &GrantRecord) -> Self {
        let (kind, amount) = match grant.amount {
            Granted::Time(seconds) => ("time", seconds),
            Granted::Data(bytes) => ("data", bytes),
        };
        Self {
            id: grant.id,
            kind,
            amount,
            valid_until: grant.valid_until.to_string(),
            created_at: grant.created_at.to_string(),
            actor: grant.actor.clone(),
            shown: [
                shown(grant.amount),
                short_time(Some(grant.valid_until)),
                short_time(Some(grant.created_at)),
            ],
        }
    }
}

impl View for GrantView {
    const COLUMNS: &'static [&'static str] = &["ID", "GRANTED", "UNTIL", "SINCE", "BY"];

    fn row(&self) -> Vec<String> {
        let [amount, until, since] = self.shown.clone();
        vec![self.id.to_string(), amount, until, since, self.actor.clone()]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}
