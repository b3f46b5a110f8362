//! One frame: the state drawn into any size of terminal. Core.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Sparkline, Widget, Wrap},
};

use super::{
    dialog::{Dialog, Intent},
    history::Rates,
    keys::HELP,
    metrics::OTHER,
    state::{Look, Mode, Source, State, plain},
    symbols,
    table::{columns, heading, row},
    text::{a_second, bytes_a_second, pad, safe},
};
use crate::{
    cli::{
        output::{View, short_time},
        session::view::{OpenView, SessionView},
    },
    store::CommandAction,
    types::{DenyReason, short_duration},
};

/// Draws everything.
pub fn render(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut pen = Pen { frame, area, y: area.top(), look: state.setup.look };
    head(state, &mut pen);
    sources(state, &mut pen);
    logins(state, &mut pen);
    let bottom = area.bottom().saturating_sub(1);
    sessions(state, &mut pen, bottom);
    pen.y = bottom.max(pen.y);
    foot(state, &mut pen);
    match &state.mode {
        Mode::List | Mode::Filter => {}
        Mode::Help => help(state, frame),
        Mode::Details => details(state, frame),
        Mode::Dialog(dialog) => ask(dialog, state, frame),
    }
}

/// Draws line by line, and nothing beyond the edges.
struct Pen<'a, 'b> {
    frame: &'a mut Frame<'b>,
    area: Rect,
    y: u16,
    look: Look,
}

impl Pen<'_, '_> {
    fn row(&self) -> Option<Rect> {
        let is_inside = self.y < self.area.bottom();
        is_inside.then_some(Rect { y: self.y, height: 1, ..self.area })
    }

    fn line(&mut self, line: impl Into<Line<'static>>) {
        if let Some(row) = self.row() {
            line.into().render(row, self.frame.buffer_mut());
        }
        self.y = self.y.saturating_add(1);
    }

    fn style(&self, color: Color, modifier: Modifier) -> Style {
        styled(self.look, color, modifier)
    }

    fn good(&self) -> Style {
        self.style(Color::Green, Modifier::empty())
    }

    fn bad(&self) -> Style {
        self.style(Color::Red, Modifier::BOLD)
    }
}

fn styled(look: Look, color: Color, modifier: Modifier) -> Style {
    let style = Style::new().add_modifier(modifier);
    if look.color { style.fg(color) } else { style }
}

fn head(state: &State, pen: &mut Pen<'_, '_>) {
    let (listed, all) = (state.listed().len(), state.rows.len());
    let of = if listed == all { String::new() } else { format!(" of {all}") };
    let only = state.setup.server.as_ref().map(|name| format!("server {name}  "));
    let rate = state.total_rate();
    let text = format!(
        "ovpn-warden  {}{listed}{of} sessions  {} in  {} out  {}",
        only.unwrap_or_default(),
        bytes_a_second(rate.received),
        bytes_a_second(rate.sent),
        short_time(Some(state.now.utc)),
    );
    let width = usize::from(pen.area.width);
    let style = Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED);
    pen.line(Span::styled(pad(&text, width, false, pen.look), style));
}

/// Links and database, and which source does not answer.
fn sources(state: &State, pen: &mut Pen<'_, '_>) {
    let mut spans = vec![Span::raw("links     ")];
    let (links, look) = (&state.scrape.links, state.setup.look);
    let known = state.setup.servers.iter().filter(|name| {
        state.setup.server.as_ref().is_none_or(|only| only == *name) && !links.contains_key(name)
    });
    // Old news is no state of a link.
    let is_fresh = state.metrics.error.is_none();
    for (name, is_up) in
        links.iter().map(|(name, up)| (name, Some(*up))).chain(known.map(|n| (n, None)))
    {
        let (word, style) = match is_up.filter(|_| is_fresh) {
            Some(true) => ("up", pen.good()),
            Some(false) => ("DOWN", pen.bad()),
            None => ("?", pen.style(Color::Yellow, Modifier::empty())),
        };
        spans.push(Span::raw(format!("{} ", safe(name.as_str(), look))));
        spans.push(Span::styled(word, style));
        spans.push(Span::raw("   "));
    }
    pen.line(spans);
    let count = |n: Option<f64>| n.map_or_else(|| "?".into(), |n| format!("{n:.0}"));
    let (word, style) = match (&state.database.error, state.database.at) {
        (Some(_), _) => ("DOWN", pen.bad()),
        (None, Some(_)) => ("up", pen.good()),
        (None, None) => ("?", Style::new()),
    };
    let mut spans = vec![Span::raw("database  "), Span::styled(word, style)];
    if is_fresh {
        if state.scrape.database_up == Some(false) {
            spans.push(Span::styled("   the daemon does not reach it", pen.bad()));
        }
        spans.push(Span::raw(format!(
            "   waiting: {} rows, {} passwords",
            count(state.scrape.backlog),
            count(state.scrape.hash_queue)
        )));
    }
    pen.line(spans);
    for (name, source) in [("database", &state.database), ("metrics", &state.metrics)] {
        if let Some(error) = &source.error {
            let text = format!("{name} away{}: {error}", since(state, source));
            pen.line(Span::styled(pad(&text, pen.area.width.into(), false, look), pen.bad()));
        }
    }
    if let Some(error) = &state.unreadable {
        let text = format!("some sessions are not shown: {error}");
        pen.line(Span::styled(pad(&text, pen.area.width.into(), false, look), pen.bad()));
    }
}

fn since(state: &State, source: &Source) -> String {
    match (source.at, state.age(source)) {
        (Some(at), Some(age)) => {
            let time = at.utc.to_datetime().format("%H:%M:%SZ");
            format!(", shown as of {time} ({} ago)", short_duration(age))
        }
        _ => String::new(),
    }
}

/// Answers a second, all in all and by reason.
fn logins(state: &State, pen: &mut Pen<'_, '_>) {
    let answers = &state.scrape.answers;
    rates(state, pen, "logins allowed", answers.allowed, Color::Green, |rates| rates.allowed);
    rates(state, pen, "logins denied", answers.all_denied(), Color::Red, Rates::all_denied);
    let most = match usize::from(pen.area.height) {
        0..16 => 0,
        16..32 => 3,
        height => (height / 6).min(DenyReason::ALL.len()),
    };
    for reason in state.history.reasons(answers).into_iter().take(most) {
        let total = answers.denied.get(reason).copied().unwrap_or_default();
        let shown = if reason == OTHER { "other reasons" } else { reason };
        rates(state, pen, &format!("  {shown}"), total, Color::Red, |rates| {
            rates.denied.get(reason).copied().unwrap_or_default()
        });
    }
}

fn rates(
    state: &State,
    pen: &mut Pen<'_, '_>,
    name: &str,
    total: f64,
    color: Color,
    of: impl Fn(&Rates) -> f64,
) {
    let look = pen.look;
    let now = state.history.now().map_or_else(|| "-".into(), |rates| a_second(of(rates)));
    let total = if state.metrics.at.is_some() { format!("{total:.0}") } else { "?".into() };
    let text = format!(
        "{} {} of {} ",
        pad(name, 24, false, look),
        pad(&now, 8, true, look),
        pad(&total, 8, false, look)
    );
    let left = u16::try_from(text.len()).unwrap_or(u16::MAX);
    if let Some(row) = pen.row().filter(|row| row.width > left) {
        let area = Rect { x: row.x + left, width: row.width - left, ..row };
        let series = state.history.series(area.width.into(), &of);
        // Thousandths: the bars are whole numbers.
        let data: Vec<_> =
            series.into_iter().map(|rate| rate.map(|rate| (rate * 1000.0) as u64)).collect();
        let bars = Sparkline::default()
            .data(&data)
            .bar_set(symbols::bars(look))
            .absent_value_symbol(" ")
            .style(pen.style(color, Modifier::empty()));
        bars.render(area, pen.frame.buffer_mut());
    }
    // Its own cells only: the bars stay.
    if let Some(row) = pen.row() {
        pen.frame.buffer_mut().set_stringn(row.x, row.y, &text, row.width.into(), Style::new());
    }
    pen.y = pen.y.saturating_add(1);
}

fn sessions(state: &State, pen: &mut Pen<'_, '_>, bottom: u16) {
    let width = usize::from(pen.area.width);
    let columns = columns(width);
    let style = Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD);
    pen.line(Span::styled(heading(&columns, state), style));
    let room = usize::from(bottom.saturating_sub(pen.y));
    if room == 0 {
        return;
    }
    if state.listed().len() == 0 {
        let text = match (state.database.at, state.rows.is_empty()) {
            (None, _) => "",
            (Some(_), true) => "nobody is connected",
            (Some(_), false) => "the filter lets no session through; Esc takes it away",
        };
        pen.line(text);
        return;
    }
    // Whole pages, so that the list stands still while the cursor moves.
    let from = state.cursor / room * room;
    for (index, session) in state.listed().enumerate().skip(from).take(room) {
        let text = row(&columns, session, state);
        let is_selected = index == state.cursor;
        let modifier = if is_selected { Modifier::REVERSED } else { Modifier::empty() };
        let ends = session.left(state.now.utc).is_some_and(|left| left < SOON);
        let style = if ends {
            pen.style(Color::Yellow, modifier)
        } else {
            Style::new().add_modifier(modifier)
        };
        pen.line(Span::styled(text, style));
    }
}

/// Less time left than this is worth a colour.
const SOON: Duration = Duration::from_secs(300);

fn foot(state: &State, pen: &mut Pen<'_, '_>) {
    let width = usize::from(pen.area.width);
    let filter = || safe(&state.filter, pen.look);
    let (text, style) = match (&state.mode, &state.note) {
        (Mode::Filter, _) => (format!("filter: {}_", filter()), Style::new()),
        (_, Some(note)) if note.is_bad => (safe(&note.text, pen.look), pen.bad()),
        (_, Some(note)) => (safe(&note.text, pen.look), pen.good()),
        (_, None) if !state.filter.is_empty() => {
            (format!("filter: {}   Esc takes it away", filter()), Style::new())
        }
        (_, None) => (
            "q quit  / filter  s sort  r reverse  Enter details  k kill  e extend  ? help".into(),
            Style::new().add_modifier(Modifier::DIM),
        ),
    };
    pen.line(Span::styled(pad(&text, width, false, pen.look), style));
}

fn help(state: &State, frame: &mut Frame<'_>) {
    let lines = HELP.iter().map(|(key, what)| format!("{key:<8} {what}")).collect();
    window("Keys", lines, state.setup.look, frame);
}

fn details(state: &State, frame: &mut Frame<'_>) {
    let Some(selected) = state.selected() else { return };
    let look = state.setup.look;
    let lines = OpenView(SessionView::from(&selected.session))
        .details()
        .into_iter()
        .map(|(name, value)| format!("{name:<16} {}", safe(&value, look)))
        .collect();
    window("Session", lines, look, frame);
}

fn ask(dialog: &Dialog, state: &State, frame: &mut Frame<'_>) {
    let look = state.setup.look;
    let user = safe(&plain(&dialog.user), look);
    let mut lines = vec![
        format!("user     {user}"),
        format!("server   {}", safe(dialog.server.as_str(), look)),
        format!("session  {}", dialog.id),
        String::new(),
    ];
    let (title, field) = match dialog.intent {
        Intent::Kill => ("End this session", "reason shown to the client, if any"),
        Intent::Extend => ("Extend this session", "by how much, as 30m, 8h or 1d2h"),
    };
    match &dialog.ready {
        None => {
            lines.push(format!("{field}:"));
            lines.push(format!("> {}_", safe(&dialog.text, look)));
            let hint = "Enter goes on, Esc leaves";
            lines.push(dialog.error.as_deref().map_or_else(|| hint.into(), |e| safe(e, look)));
        }
        Some(action) => {
            lines.push(match action {
                CommandAction::Extend { deadline } => {
                    format!("It may last until {}.", short_time(Some(*deadline)))
                }
                CommandAction::Kill { reason: Some(reason) } => {
                    format!("The client sees: {}", safe(reason, look))
                }
                CommandAction::Kill { reason: None } | CommandAction::Replace => {
                    "The client sees the usual text.".into()
                }
            });
            lines.push(String::new());
            lines.push("y does it, n leaves".into());
        }
    }
    window(title, lines, look, frame);
}

/// A framed text in the middle, as large as there is room.
fn window(title: &'static str, lines: Vec<String>, look: Look, frame: &mut Frame<'_>) {
    let whole = frame.area();
    let width = whole.width.min(66);
    // A line that does not fit goes on below.
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let needed: usize = lines
        .iter()
        .map(|line| unicode_width::UnicodeWidthStr::width(line.as_str()) / inner + 1)
        .sum();
    let height = u16::try_from(needed + 2).unwrap_or(u16::MAX).min(whole.height);
    let area = Rect {
        x: whole.x + (whole.width - width) / 2,
        y: whole.y + (whole.height - height) / 2,
        width,
        height,
    };
    Clear.render(area, frame.buffer_mut());
    let block = Block::bordered()
        .border_set(symbols::border(look))
        .title(format!(" {title} "))
        .padding(ratatui::widgets::Padding::horizontal(1));
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).block(block);
    text.render(area, frame.buffer_mut());
}
