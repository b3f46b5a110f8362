//! The columns of the session list: those that the width has room for. Core.

use super::{
    state::{Row, Sort, State},
    text::{bytes_a_second, left, pad, safe},
};
use crate::{
    cli::output::or_dash,
    store::SessionState,
    types::{short_bytes, short_duration},
};

/// One column.
pub struct Column {
    name: &'static str,
    sort: Option<Sort>,
    width: usize,
    to_the_right: bool,
    cell: fn(&Row, &State) -> String,
}

/// The first column takes what the others leave, but not less than this.
const LEAST: usize = 16;

/// In the order in which they are given room.
const COLUMNS: [(usize, Column); 10] = [
    (0, column("USER", Some(Sort::User), LEAST, false, |row, _| row.session.user.to_string())),
    (
        5,
        column("LEFT", Some(Sort::Left), 7, true, |row, state| match row.session.state {
            SessionState::Closing => "ending".into(),
            SessionState::Pending | SessionState::Active | SessionState::Closed => {
                left(row.left(state.now.utc))
            }
        }),
    ),
    (
        8,
        column("TRAFFIC", Some(Sort::Rate), 13, true, |row, _| {
            row.rate.map_or_else(|| "-".into(), |rate| bytes_a_second(rate.both()))
        }),
    ),
    (9, column("TOTAL", Some(Sort::Bytes), 10, true, |row, _| short_bytes(row.bytes()))),
    (1, column("SERVER", Some(Sort::Server), 10, false, |row, _| row.session.server.to_string())),
    (2, column("DEVICE", Some(Sort::Device), 17, false, |row, _| row.device())),
    (
        6,
        column("UP", Some(Sort::Started), 7, true, |row, state| {
            short_duration(state.now.utc.saturating_since(row.session.started_at))
        }),
    ),
    (
        3,
        column("FROM", None, 15, false, |row, _| {
            row.session.client_ip.map_or_else(|| "-".into(), |ip| ip.to_string())
        }),
    ),
    (4, column("ADDRESS", None, 15, false, |row, _| or_dash(row.session.vpn_ip.as_deref()))),
    (
        7,
        column("ENDS BY", None, 14, false, |row, _| {
            or_dash(row.session.deadline_reason.map(|reason| reason.as_str()))
        }),
    ),
];

const fn column(
    name: &'static str,
    sort: Option<Sort>,
    width: usize,
    to_the_right: bool,
    cell: fn(&Row, &State) -> String,
) -> Column {
    Column { name, sort, width, to_the_right, cell }
}

/// The columns for so many cells, from left to right.
pub fn columns(cells: usize) -> Vec<Column> {
    let mut room = cells.saturating_sub(LEAST);
    let mut chosen: Vec<(usize, Column)> = Vec::new();
    for (place, column) in COLUMNS {
        if place > 0 {
            match room.checked_sub(column.width + 1) {
                Some(rest) => room = rest,
                None => break,
            }
        }
        chosen.push((place, column));
    }
    chosen.sort_by_key(|(place, _)| *place);
    let mut columns: Vec<_> = chosen.into_iter().map(|(_, column)| column).collect();
    columns[0].width = (LEAST + room).min(cells);
    columns
}

/// The line above the rows; the column by which they are sorted has a mark.
pub fn heading(columns: &[Column], state: &State) -> String {
    let mark = match (state.is_reversed, state.setup.look.unicode) {
        (false, true) => '▾',
        (true, true) => '▴',
        (false, false) => 'v',
        (true, false) => '^',
    };
    line(columns, state, |column| {
        if column.sort == Some(state.sort) {
            format!("{}{mark}", column.name)
        } else {
            column.name.to_owned()
        }
    })
}

/// The line of a session.
pub fn row(columns: &[Column], row: &Row, state: &State) -> String {
    line(columns, state, |column| safe(&(column.cell)(row, state), state.setup.look))
}

fn line(columns: &[Column], state: &State, cell: impl Fn(&Column) -> String) -> String {
    let cells: Vec<_> = columns
        .iter()
        .map(|column| pad(&cell(column), column.width, column.to_the_right, state.setup.look))
        .collect();
    cells.join(" ")
}
