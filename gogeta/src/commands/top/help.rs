//! The keys, over everything else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols::border;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::model::Model;

/// All keys.
const KEYS: [(&str, &str); 15] = [
    ("1 - 5", "services, instances, domains, changes, what is wrong"),
    ("Tab, left, right", "the next view, the one before"),
    ("up, down, j, k", "the next row; PgUp, PgDn, Home, End, g, G too"),
    ("Enter", "all of a row: why it is so, and how it is routed"),
    ("Esc", "back; and no search and no filter"),
    ("/", "search in this view"),
    ("f", "only rows in one state, then in the next"),
    ("s, S", "sort by the next column, by the one before"),
    ("r", "sort the other way round"),
    ("p, space", "pause"),
    ("+, -", "ask half as often, twice as often"),
    ("Ctrl-L", "draw everything anew"),
    ("Ctrl-Z", "back to the shell for a while"),
    ("?", "this"),
    ("q, Ctrl-C", "end"),
];

const PLAIN: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let lines: Vec<String> = KEYS.iter().map(|(key, what)| format!(" {key:<17} {what}")).collect();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = u16::try_from(longest + 3).unwrap_or(area.width).min(area.width);
    let height = u16::try_from(KEYS.len() + 2).unwrap_or(area.height).min(area.height);
    let window =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let set = if model.ascii { PLAIN } else { border::PLAIN };
    let block = Block::bordered().border_set(set).title(" keys ").title_bottom(" any key goes back ");
    frame.render_widget(Clear, window);
    frame.render_widget(Paragraph::new(lines.join("\n")).block(block), window);
}
