//! `report …`: who used how much, and what is about to end.

mod usage;
mod view;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    Desk,
    exit::{CliError, warn},
    parse,
    progress::Progress,
};
use crate::{
    auth::decide::enforced,
    store::{DeviceStatus, SpanCursor},
    types::{Timestamp, Username},
};
use usage::{By, Period, Usage};
use view::{EndView, LockoutView, UsageView};

/// `report …`.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Time and bytes of each user in each period (UTC)
    ///
    /// A session that crosses the end of a period is cut there: its time exactly, its bytes in
    /// proportion to the time. Open sessions count up to what was last stored of them.
    Usage(UsageArgs),
    /// Open sessions, accounts and devices that are about to end, soonest first
    Expiring(ExpiringArgs),
    /// Who would be refused if devices were enforced
    ///
    /// From the sessions of the last while: on what each user was connected that is not an
    /// approved device of that user.
    Lockout(LockoutArgs),
}

/// Arguments of `report usage`.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Of this user
    #[arg(long)]
    user: Option<Username>,
    /// From this time on: 2026-12-31, "2026-12-31 18:00" (UTC) or -24h
    #[arg(long, value_name = "TIME", default_value = "-30d", allow_hyphen_values = true)]
    since: String,
    /// Until before this time [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Length of the periods
    #[arg(long, value_enum, value_name = "PERIOD", default_value_t = By::Total)]
    by: By,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

/// Arguments of `report expiring`.
#[derive(Debug, Args)]
pub struct ExpiringArgs {
    /// Within so much time from now: 90s, 15m, 8h, 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse::duration)]
    within: Duration,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

/// Arguments of `report lockout`.
#[derive(Debug, Args)]
pub struct LockoutArgs {
    /// Sessions that began from this time on: 2026-12-31, "2026-12-31 18:00" (UTC) or -24h
    #[arg(long, value_name = "TIME", default_value = "-30d", allow_hyphen_values = true)]
    since: String,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

/// The most sessions that are listed.
const MOST: u32 = 10_000;
/// Users read at once.
const USERS: u32 = 1_000;

pub async fn execute(desk: &mut Desk, command: ReportCommand) -> Result<(), CliError> {
    match command {
        ReportCommand::Usage(args) => usage(desk, args).await,
        ReportCommand::Expiring(args) => expiring(desk, &args).await,
        ReportCommand::Lockout(args) => lockout(desk, &args).await,
    }
}

/// For a report that may take a while.
fn waiting(desk: &Desk, what: &'static str) -> Progress {
    Progress::new(desk.clock, what, None, desk.out.is_quiet())
}

async fn lockout(desk: &mut Desk, args: &LockoutArgs) -> Result<(), CliError> {
    desk.out.want_csv(args.csv)?;
    let since = parse::past_moment("--since", &args.since, desk.now())?;
    let progress = waiting(desk, "looking at sessions");
    let uses = progress.watch(desk.store.device_uses(since, MOST)).await?;
    drop(progress);
    if uses.len() >= MOST as usize {
        warn("there are more: only the first 10000 users and devices were looked at");
    }
    let views: Vec<_> = uses
        .iter()
        .filter_map(|used| {
            let reason = enforced(used.device.is_some(), used.registered)?;
            Some(LockoutView::new(used, reason))
        })
        .collect();
    desk.out.list(&views)
}

async fn usage(desk: &mut Desk, args: UsageArgs) -> Result<(), CliError> {
    let now = desk.now();
    let from = parse::past_moment("--since", &args.since, now)?;
    let until = match &args.until {
        Some(text) => parse::past_moment("--until", text, now)?,
        None => now,
    };
    if until <= from {
        return Err(CliError::usage(format!("--until ({until}) is not after --since ({from})")));
    }
    desk.out.want_csv(args.csv)?;
    let mut usage = Usage::new(Period { from, until }, args.by);
    let mut next = Some(SpanCursor::default());
    let (progress, mut read) = (waiting(desk, "reading sessions"), 0);
    while let Some(cursor) = next {
        let page = desk.store.spans(args.user.as_ref(), from, until, cursor);
        let page = progress.watch(page).await?;
        page.spans.iter().for_each(|span| usage.add(span));
        read += page.spans.len();
        progress.tell(read);
        next = page.next;
    }
    drop(progress);
    let views: Vec<_> = usage
        .amounts()
        .map(|(user, period, amount)| UsageView::new(user, args.by, period, amount))
        .collect();
    desk.out.list(&views)
}

async fn expiring(desk: &mut Desk, args: &ExpiringArgs) -> Result<(), CliError> {
    desk.out.want_csv(args.csv)?;
    let now = desk.now();
    let until = now.saturating_add(args.within);
    let progress = waiting(desk, "looking at sessions, accounts and devices");
    let sessions = progress.watch(desk.store.expiring_sessions(until, MOST)).await?;
    if sessions.len() >= MOST as usize {
        warn("only the 10000 sessions that end first are listed");
    }
    let mut views: Vec<_> =
        sessions.iter().filter_map(|session| EndView::session(session, now)).collect();
    views.extend(progress.watch(expiring_accounts(desk, now, until)).await?);
    let devices = progress.watch(desk.store.devices(None, MOST)).await?;
    if devices.len() >= MOST as usize {
        warn("only the first 10000 devices were looked at");
    }
    views.extend(devices.iter().filter_map(|device| {
        let at = device.valid_until.filter(|at| *at >= now && *at <= until)?;
        (device.status == DeviceStatus::Approved).then(|| EndView::device(device, at, now))
    }));
    drop(progress);
    views.sort_by_key(EndView::ends);
    desk.out.list(&views)
}

/// Accounts that are on and whose last moment is yet to come. Read page by page: `users` may be
/// a view of tables that have no index by that.
async fn expiring_accounts(
    desk: &Desk,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<EndView>, CliError> {
    let mut views = Vec::new();
    let mut after: Option<Username> = None;
    loop {
        let users = desk.store.users(after.as_ref(), USERS).await?;
        let ending = users.iter().filter_map(|user| {
            let at = user.valid_until.filter(|at| *at >= now && *at <= until)?;
            user.enabled.then(|| EndView::account(user, at, now))
        });
        views.extend(ending);
        let last = users.last().map(|user| user.name.clone());
        if users.len() < USERS as usize || last == after {
            return Ok(views);
        }
        after = last;
    }
}
