//! Who is connected, and who was.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    console::{Shared, access::Visitor, answer::Fault},
    store::SessionFilter,
};

use super::{Asked, filter, page, plain, session_table};

/// Sessions of one page.
const MOST: u32 = 500;

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let ended = fields.get("ended").is_some();
    let wanted = SessionFilter {
        user: fields.parsed("user")?,
        server: fields.parsed("server")?,
        cause: fields.parsed("cause")?,
        ended,
        limit: MOST,
        ..SessionFilter::default()
    };
    let sessions = desk.store().sessions(&wanted).await?;
    let value = |name| fields.get(name).map(plain);
    let main = html! {
        form.search method="get" action="/sessions" {
            label { "User " input type="text" name="user" value=[value("user")] maxlength="128"; }
            label { "Server "
                select name="server" {
                    option value="" { "all" }
                    @for server in &desk.console.servers {
                        option value=(server) selected[wanted.server.as_ref() == Some(server)] { (server) }
                    }
                }
            }
            label { input type="checkbox" name="ended" value="yes" checked[ended]; " ended ones too" }
            button { "Show" }
        }
        @if sessions.is_empty() {
            p.quiet { "There is no such session." }
        } @else {
            div.bar {
                p { b { (sessions.len()) } (if sessions.len() == 1 { " session" } else { " sessions" })
                    @if sessions.len() >= MOST as usize { "; older ones are not shown: narrow it down" } }
                (filter("sessions"))
            }
            (session_table(&sessions, true, desk.now()))
        }
    };
    Ok(page(&visitor, "/sessions", "Sessions", main))
}
