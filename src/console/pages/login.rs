//! Where one logs in.

use axum::extract::State;
use maud::{Markup, html};

use crate::console::{
    Shared,
    answer::{Fault, inside},
};

use super::{Asked, frame};

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    if !desk.access.has_token() {
        return Err(Fault::Missing("one comes in here by the proxy in front of it".into()));
    }
    Ok(page(inside(fields.get("next")), None))
}

/// The form, after a fault with what was wrong.
pub(in crate::console) fn page(next: &str, fault: Option<&str>) -> Markup {
    frame(
        "Log in",
        html! {},
        html! {
            @if let Some(fault) = fault { p.fault role="alert" { (fault) } }
            form.sheet method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input #token type="password" name="token" required autocomplete="current-password" autofocus;
                p.quiet { "It is in the file that " code { "[console] token_file" } " names." }
                button { "Log in" }
            }
        },
    )
}
