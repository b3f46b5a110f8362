//! The picture in the documentation is a frame: `BLESS=1 cargo test --lib top::` draws it anew.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::cli::top::snapshot::draw;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/top.svg");
/// Of a cell, in pixels.
const WIDTH: usize = 9;
const HEIGHT: usize = 18;
const PAPER: &str = "#16181d";
const INK: &str = "#d7dae0";

#[expect(clippy::wildcard_enum_match_arm, reason = "the screen uses no other")]
fn color(color: Color) -> &'static str {
    match color {
        Color::Reset => INK,
        Color::Green => "#7fc77f",
        Color::Red => "#f07a78",
        Color::Yellow => "#e5c07b",
        other => panic!("{other:?} has no place in the picture"),
    }
}

fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * WIDTH + 20, rows * HEIGHT + 20);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>ovpn-warden top</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"15\" xml:space=\"preserve\">\n"
    );
    for (y, cells) in buffer.content.chunks(columns).enumerate() {
        let mut x = 0;
        for run in cells.chunk_by(|a, b| a.style() == b.style()) {
            draw_run(&mut svg, run, 10 + x * WIDTH, 10 + y * HEIGHT);
            x += run.len();
        }
    }
    svg + "</g>\n</svg>\n"
}

fn draw_run(svg: &mut String, run: &[Cell], x: usize, y: usize) {
    let text: String = run.iter().map(Cell::symbol).collect();
    let has = |modifier| run[0].modifier.contains(modifier);
    let (mut ink, length) = (color(run[0].fg), run.len() * WIDTH);
    if has(Modifier::REVERSED) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{HEIGHT}\" fill=\"{ink}\"/>"
        );
        ink = PAPER;
    }
    let blank = text.len() - text.trim_start().len();
    let shown = text.trim();
    if shown.is_empty() {
        return;
    }
    let x = x + blank * WIDTH;
    let length = shown.width() * WIDTH;
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let bold = if has(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let line = if has(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
    let dim = if has(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" \
         fill=\"{ink}\"{bold}{line}{dim}>{escaped}</text>",
        y + 14
    );
}

/// A working day.
fn crowd() -> State {
    let mut state = watched(COLOR);
    let names = [
        "alice",
        "bob",
        "carol",
        "dave@example.org",
        "erin",
        "frank",
        "grace",
        "heidi",
        "ivan",
        "judy",
        "mallory",
    ];
    let sessions = (1u8..).zip(names).map(|(number, name)| {
        let server = if number % 3 == 1 { "tcp-443" } else { "udp-1194" };
        let left = (number != 7).then_some(400 + 3_100 * u64::from(number));
        session(number, name, server, left)
    });
    let sessions: Vec<_> = sessions.collect();
    state.handle_sessions(found(sessions.clone()), now(90));
    let sessions = (1u64..).zip(&sessions).map(|(number, session)| {
        later(session, 30, number * number * 31_000, number % 4 * number * 1_700_000)
    });
    state.handle_sessions(found(sessions.collect()), now(120));
    let links = ["tcp-443", "udp-1194"].map(|name| (name.parse().unwrap(), true));
    state.scrape.links = links.into();
    state.cursor = 2;
    state
}

#[test]
fn the_picture_is_what_is_drawn() {
    let drawn = draw(&crowd(), 100, 22);
    let picture = svg(drawn.backend().buffer());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(FILE, &picture).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(kept == picture, "docs/top.svg is another frame: BLESS=1 cargo test --lib top::");
}
