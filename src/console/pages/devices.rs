//! Devices of everybody, those that wait for approval first.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    console::{
        Shared,
        access::Visitor,
        answer::{Fault, note},
        fields::link,
    },
    store::DeviceStatus,
};

use super::{Asked, device_forms, filter, or_dash, page, plain, time, user_link};

/// Devices that are read, and devices of one page.
const MOST_READ: u32 = 10_000;
const MOST: usize = 500;

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let wanted: Option<DeviceStatus> = fields.parsed("status")?;
    let mut devices = desk.store().devices(None, MOST_READ).await?;
    let is_all = devices.len() < MOST_READ as usize;
    let waiting = devices.iter().filter(|d| d.status == DeviceStatus::Pending).count();
    devices.retain(|device| wanted.is_none_or(|wanted| device.status == wanted));
    devices.sort_by_key(|device| device.status != DeviceStatus::Pending);
    let found = devices.len();
    devices.truncate(MOST);
    let choices = [
        (None, "all"),
        (Some(DeviceStatus::Pending), "pending"),
        (Some(DeviceStatus::Approved), "approved"),
        (Some(DeviceStatus::Blocked), "blocked"),
    ];
    let main = html! {
        (note(fields.get("note")))
        p { b { (waiting) } (if waiting == 1 { " waits for approval." } else { " wait for approval." }) }
        ul.choice aria-label="Devices shown" {
            @for (choice, text) in choices {
                @let to = link("/devices", &[("status", choice.map_or("", DeviceStatus::as_str))]);
                li { a href=(to) aria-current=[(choice == wanted).then_some("true")] { (text) } }
            }
        }
        @if devices.is_empty() { p.quiet { "There is none." } }
        @else {
            div.bar {
                p { b { (devices.len()) } " shown"
                    @if found > MOST || !is_all { "; there are more: look at a user's own page" } }
                (filter("devices"))
            }
            div.scroll { table #devices {
                caption.hidden { "Devices" }
                thead { tr {
                    th scope="col" { "User" } th scope="col" { "Device" } th scope="col" { "Kind" }
                    th scope="col" { "Label" } th scope="col" { "Status" } th scope="col" { "Since" }
                    th scope="col" { "Change" }
                } }
                tbody { @for device in &devices { tr {
                    th scope="row" { (user_link(&device.user)) }
                    td { code { (plain(&device.identifier)) } }
                    td { (device.kind.as_str()) }
                    td { (or_dash(device.label.as_deref())) }
                    td { span class=(format!("status {}", device.status)) { (device.status) } }
                    td { (time(device.created_at)) }
                    td { (device_forms(device, &visitor, "devices")) }
                } } }
            } }
        }
    };
    Ok(page(&visitor, "/devices", "Devices", main))
}
