//! `user usage` and `user grant`: what is left of a user's quotas, and more of them.

use clap::Args;
use serde::Serialize;

use super::existing;
use crate::{
    auth::quota::Meter,
    cli::{
        Desk,
        exit::CliError,
        output::View,
        parse::{duration, moment},
    },
    config::Config,
    store::{Granted, PolicyRecord, QuotaGrant},
    types::{Bytes, Period, Timestamp, Username, Zone, parse_bytes},
};

/// Arguments of `user grant`.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// Login name
    name: Username,
    #[command(flatten)]
    amount: Amount,
    /// Until then it counts: 2026-12-31, 2026-12-31T18:00:00Z or +2h [default: the end of the
    /// shortest period for which the user's policy has such a quota]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// What is granted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Amount {
    /// So much time, as 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    time: Option<std::time::Duration>,
    /// So much data, both ways, as 5GiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    data: Option<u64>,
}

fn bytes(text: &str) -> Result<u64, String> {
    // What all grants of a user come to has to fit the databases' numbers.
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
    let what = match amount {
        Granted::Time(seconds) => format!("{seconds} s"),
        Granted::Data(bytes) => Bytes(bytes).to_string(),
    };
    let message = format!("user `{}` may use {what} more until {valid_until}", args.name);
    let rows = rows(desk, &args.name, &policy, zone).await?;
    desk.out.done(&message, &rows)
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
