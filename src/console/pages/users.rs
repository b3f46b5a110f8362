//! Everybody who has an account.

use axum::extract::State;
use maud::{Markup, html};

use crate::console::{Shared, access::Visitor, answer::Fault, fields::link};

use super::{Asked, filter, page, time_or_dash, user_link};

/// Users of one page.
const MOST: u32 = 200;

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let after = fields.parsed("after")?;
    let users = desk.store().users(after.as_ref(), MOST).await?;
    let next = users.last().filter(|_| users.len() >= MOST as usize);
    let main = html! {
        form.search method="get" action="/user" {
            label { "Name " input type="text" name="name" required maxlength="128"; }
            button { "Show" }
        }
        @if users.is_empty() {
            p.quiet { "There is nobody" @if after.is_some() { " more" } "." }
        } @else {
            div.bar { p { b { (users.len()) } " on this page" } (filter("users")) }
            div.scroll { table #users {
                caption.hidden { "Users" }
                thead { tr {
                    th scope="col" { "User" } th scope="col" { "Policy" } th scope="col" { "Account" }
                    th scope="col" { "From" } th scope="col" { "Until" }
                } }
                tbody { @for user in &users { tr {
                    th scope="row" { (user_link(&user.name)) }
                    td { (user.policy) }
                    td { (if user.enabled { "on" } else { "off" }) }
                    td { (time_or_dash(user.valid_from)) }
                    td { (time_or_dash(user.valid_until)) }
                } } }
            } }
        }
        @if let Some(last) = next {
            p { a href=(link("/users", &[("after", last.name.as_str())])) rel="next" { "Next page" } }
        }
    };
    Ok(page(&visitor, "/users", "Users", main))
}
