//! What is going on.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    console::{
        Desk, Shared,
        access::Visitor,
        answer::Fault,
        charts::{Range, charts},
        fields::link,
    },
    store::AuditRecord,
};

use super::{Asked, page, plain, time};

/// Changes that are shown.
const CHANGES: u32 = 10;

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let range = Range::of(fields.get("range"));
    let now = desk.now();
    let (activity, changes) =
        tokio::join!(desk.store().activity(range.since(now)), desk.store().audit(CHANGES));
    let main = html! {
        (links(&desk))
        (ranges(range))
        // The database may be away: then that is what there is to see.
        @match activity {
            Ok(sums) => {
                div.charts { @for chart in charts(&sums, range, now) { (chart.show(range)) } }
                p.quiet { "Of all daemons, counted up to a minute ago. Times are UTC." }
            }
            Err(error) => p.fault role="alert" { (plain(&error.to_string())) }
        }
        @if let Ok(changes) = changes {
            h2 { "Last changes" }
            (change_table(&changes))
        }
    };
    Ok(page(&visitor, "/", "Overview", main))
}

/// The servers that this daemon is attached to.
fn links(desk: &Desk) -> Markup {
    let console = &desk.console;
    html! {
        @if let Some(missing) = console.readiness.missing() {
            p.fault role="alert" { (missing.trim_end()) }
        }
        h2 { "Servers" }
        ul.servers {
            @for server in &console.servers {
                @let is_up = console.readiness.is_link_up(server);
                li class=(if is_up { "up" } else { "down" }) {
                    a href=(link("/sessions", &[("server", server.as_str())])) { (server) }
                    span { (if is_up { "attached" } else { "not attached" }) }
                    @if let Some(count) = console.readiness.sessions(server) {
                        span { b { (count) } (if count == 1 { " session" } else { " sessions" }) }
                    }
                }
            }
        }
    }
}

fn ranges(range: Range) -> Markup {
    let choices = [(Range::Day, "/", "24 hours"), (Range::Month, "/?range=month", "30 days")];
    html! {
        h2 { "Activity" }
        ul.choice aria-label="Time shown" {
            @for (choice, to, text) in choices {
                li { a href=(to) aria-current=[(choice == range).then_some("true")] { (text) } }
            }
        }
    }
}

fn change_table(changes: &[AuditRecord]) -> Markup {
    html! {
        @if changes.is_empty() { p.quiet { "Nobody has changed anything yet." } }
        @else {
            div.scroll { table {
                caption.hidden { "Last changes" }
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                    th scope="col" { "To" } th scope="col" { "How" }
                } }
                tbody { @for change in changes { tr {
                    td { (time(change.at)) }
                    td { (plain(&change.actor)) }
                    td { (change.action) }
                    td { (plain(&change.target)) }
                    td { (plain(change.detail.as_deref().unwrap_or(""))) }
                } } }
            } }
        }
    }
}
