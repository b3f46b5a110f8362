//! What bars and frames are drawn with, on terminals with and without Unicode. Core.

use ratatui::symbols::{bar, border};

use super::state::Look;

/// Eight heights; with ASCII, four.
pub const fn bars(look: Look) -> bar::Set<'static> {
    if look.unicode {
        return bar::NINE_LEVELS;
    }
    bar::Set {
        full: "#",
        seven_eighths: "#",
        three_quarters: "=",
        five_eighths: "=",
        half: "-",
        three_eighths: "-",
        one_quarter: ".",
        one_eighth: ".",
        empty: " ",
    }
}

/// Around a window.
pub const fn border(look: Look) -> border::Set<'static> {
    if look.unicode {
        return border::PLAIN;
    }
    border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    }
}
