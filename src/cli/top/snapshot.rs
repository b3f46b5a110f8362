//! What scripts get: a frame as text, or everything as JSON. Core.

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::{
    screen::render,
    state::{Row, Source, State},
    table::{columns, heading, row},
};
use crate::cli::session::view::SessionView;

/// One look at everything.
#[derive(Serialize)]
pub struct Snapshot<'a> {
    at: String,
    database: SourceView<'a>,
    metrics: SourceView<'a>,
    version: Option<&'a str>,
    links: Vec<LinkView<'a>>,
    logins: LoginsView,
    /// Why some sessions are not below.
    unreadable: Option<&'a str>,
    sessions: Vec<SessionRow>,
}

#[derive(Serialize)]
struct SourceView<'a> {
    available: bool,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct LinkView<'a> {
    server: &'a str,
    up: bool,
}

#[derive(Serialize)]
struct LoginsView {
    allowed_total: u64,
    allowed_per_s: Option<f64>,
    denied_total: u64,
    denied_per_s: Option<f64>,
    denials: Vec<DenialView>,
}

#[derive(Serialize)]
struct DenialView {
    reason: &'static str,
    total: u64,
    per_s: Option<f64>,
}

#[derive(Serialize)]
struct SessionRow {
    #[serde(flatten)]
    session: SessionView,
    left_s: Option<u64>,
    received_per_s: Option<f64>,
    sent_per_s: Option<f64>,
}

impl<'a> From<&'a State> for Snapshot<'a> {
    fn from(state: &'a State) -> Self {
        let source = |source: &'a Source| SourceView {
            available: source.error.is_none() && source.at.is_some(),
            error: source.error.as_deref(),
        };
        let (answers, rates) = (&state.scrape.answers, state.history.now());
        let denials = state.history.reasons(answers).into_iter().map(|reason| DenialView {
            reason,
            total: answers.denied.get(reason).copied().unwrap_or_default() as u64,
            per_s: rates.map(|rates| rates.denied.get(reason).copied().unwrap_or_default()),
        });
        let links = &state.scrape.links;
        Self {
            at: state.now.utc.to_string(),
            database: source(&state.database),
            metrics: source(&state.metrics),
            version: state.scrape.version.as_deref(),
            links: links.iter().map(|(s, up)| LinkView { server: s.as_str(), up: *up }).collect(),
            logins: LoginsView {
                allowed_total: answers.allowed as u64,
                allowed_per_s: rates.map(|rates| rates.allowed),
                denied_total: answers.all_denied() as u64,
                denied_per_s: rates.map(super::history::Rates::all_denied),
                denials: denials.collect(),
            },
            unreadable: state.unreadable.as_deref(),
            sessions: state.listed().map(|row| SessionRow::new(row, state)).collect(),
        }
    }
}

impl SessionRow {
    fn new(row: &Row, state: &State) -> Self {
        Self {
            session: SessionView::from(&row.session),
            left_s: row.left(state.now.utc).map(|left| left.as_secs()),
            received_per_s: row.rate.map(|rate| rate.received),
            sent_per_s: row.rate.map(|rate| rate.sent),
        }
    }
}

/// A frame so wide, with every session in it and without the keys.
pub fn frame(state: &State, width: u16) -> Vec<String> {
    let drawn = draw(state, width, HEAD);
    let mut lines = lines(drawn.backend().buffer());
    let columns = columns(width.into());
    let heading = heading(&columns, state);
    if state.listed().len() > 0
        && let Some(at) = lines.iter().position(|line| line == heading.trim_end())
    {
        // Cells take more memory than text, and there may be ten thousand rows.
        lines.truncate(at + 1);
        let rows = state.listed().map(|session| row(&columns, session, state));
        lines.extend(rows.map(|row| row.trim_end().to_owned()));
    } else {
        // The last line tells keys.
        lines.pop();
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Room for everything that stands above the list.
const HEAD: u16 = 60;

/// Draws into memory.
pub fn draw(state: &State, width: u16, height: u16) -> Terminal<TestBackend> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| render(state, frame));
    terminal
}

/// The text of each line, without blanks at its end.
pub fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    buffer.content.chunks(width).map(|cells| line(cells).trim_end().to_owned()).collect()
}

fn line(cells: &[Cell]) -> String {
    let (mut text, mut hidden) = (String::new(), 0);
    for cell in cells {
        if hidden > 0 {
            hidden -= 1;
            continue;
        }
        text.push_str(cell.symbol());
        // What is behind a wide character is not shown.
        hidden = cell.symbol().width().saturating_sub(1);
    }
    text
}
