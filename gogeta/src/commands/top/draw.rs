//! The frame: header, charts, the rows of a view or one of them, and a line of help.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::model::{Model, View};
use super::sheet::{self, Sheet, Width};
use super::{charts, detail, help};
use crate::commands::measures::{count, number, percent, seconds, span};
use crate::commands::output::{Tone, clean};

/// Lines of the header, and those of the charts where there is room.
const HEADER: u16 = 3;
const CHARTS: u16 = 4;
/// Fewer lines have no charts.
const ROOM: u16 = 18;
/// The views' names, the columns' names, the last line.
const FRAME: u16 = 3;

/// How many rows fit into a terminal of so many columns and lines.
pub(super) fn rows((_, lines): (u16, u16)) -> usize {
    usize::from(lines.saturating_sub(HEADER + charts_of(lines) + FRAME))
}

fn charts_of(lines: u16) -> u16 {
    if lines < ROOM { 0 } else { CHARTS }
}

/// A tone as a style.
pub(super) fn style(tone: Tone, coloured: bool) -> Style {
    let style = Style::new();
    match tone {
        Tone::Faint => style.add_modifier(Modifier::DIM),
        Tone::Bad if !coloured => style.add_modifier(Modifier::BOLD),
        _ if !coloured => style,
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Busy => style.fg(Color::Yellow),
        Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let [header, charts_area, views, body, last] = Layout::vertical([
        Constraint::Length(HEADER),
        Constraint::Length(charts_of(area.height)),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let sheet = model.sheet();
    frame.render_widget(Paragraph::new(head(model, usize::from(area.width))), header);
    if charts_area.height > 0 {
        charts::draw(frame, charts_area, model);
    }
    frame.render_widget(names(model), views);
    match model.detail {
        Some(from) => detail::draw(frame, body, model, from),
        None => table(frame, body, model, &sheet),
    }
    frame.render_widget(footer(model, &sheet), last);
    if model.help {
        help::draw(frame, area, model);
    }
}

/// What it is, how it is, and what it does.
fn head(model: &Model, width: usize) -> Vec<Line<'static>> {
    let status = &model.status;
    let tone = |tone| style(tone, model.coloured);
    let (word, how) = match (&model.link, status.ready.ready, status.ready.draining) {
        (Err(_), ..) => ("away", Tone::Bad),
        (Ok(()), true, _) => ("ready", Tone::Good),
        (Ok(()), false, true) => ("on its way out", Tone::Bad),
        (Ok(()), false, false) => ("not ready", Tone::Bad),
    };
    let place = model.url.trim_start_matches("http://");
    let name = format!("gogeta {} at {place}, up {}, ", clean(&status.version), span(status.uptime_seconds));
    let every = humantime::format_duration(model.interval);
    let every = if model.paused { "paused".to_owned() } else { format!("every {every}") };
    let gap = width.saturating_sub(name.chars().count() + word.len() + every.len()).max(1);
    let first = Line::from(vec![
        Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(word, tone(how)),
        Span::raw(" ".repeat(gap)),
        Span::styled(every, tone(if model.paused { Tone::Busy } else { Tone::Faint })),
    ]);
    let store = &status.store;
    let (store_word, store_tone) = match (store.connected, store.from_disk) {
        (true, false) => ("connected", Tone::Plain),
        (_, true) => ("routes from disk", Tone::Bad),
        (false, false) => ("away", Tone::Bad),
    };
    let age = store.config_age_seconds.map_or_else(String::new, |age| format!(", {} old", span(age)));
    let worst = status.worst.first().map_or_else(String::new, |worst| {
        format!("   {} {}: {}", clean(&worst.kind), clean(&worst.name), clean(&worst.what))
    });
    let second = Line::from(vec![
        Span::styled(format!("{} {store_word}", clean(&store.kind)), tone(store_tone)),
        Span::raw(format!(", revision {}{age}", store.revision)),
        Span::styled(worst, tone(Tone::Bad)),
    ]);
    let traffic = &status.traffic;
    let errors = if traffic.error_ratio > 0.0 { Tone::Bad } else { Tone::Plain };
    let third = Line::from(vec![
        Span::raw(format!("{} req/s, ", number(traffic.requests_per_second))),
        Span::styled(format!("{} errors", percent(traffic.error_ratio)), tone(errors)),
        Span::raw(format!(
            ", p50 {}, p99 {}, {} clients, {} idle",
            seconds(traffic.p50_seconds),
            seconds(traffic.p99_seconds),
            number(traffic.connections_open),
            number(traffic.connections_idle_upstream)
        )),
    ]);
    vec![first, second, third]
}

/// The views' names.
fn names(model: &Model) -> Line<'static> {
    let counts = &model.status.counts;
    let mut spans = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let number = match view {
            View::Services => Some(counts.services),
            View::Instances => Some(counts.instances),
            View::Domains => Some(counts.domains),
            View::Changes => None,
            View::Wrong => Some((model.status.worst.len() as u64).max(counts.problems)),
        };
        let number = number.map_or_else(String::new, |number| format!(" {}", count(number)));
        let is_bad = view == View::Wrong && !model.status.worst.is_empty();
        let tone = style(if is_bad { Tone::Bad } else { Tone::Plain }, model.coloured);
        let tone = if view == model.view { tone.add_modifier(Modifier::REVERSED) } else { tone };
        spans.push(Span::styled(format!(" {} {}{number} ", at + 1, view.title()), tone));
    }
    Line::from(spans)
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model, sheet: &Sheet) {
    let all = sheet::columns(model.view);
    let shown: Vec<usize> = (0..all.len()).filter(|at| all[*at].from <= area.width).collect();
    let widths = shown.iter().map(|at| match all[*at].width {
        Width::Is(width) => Constraint::Length(width),
        Width::Share(share) => Constraint::Fill(share),
    });
    let choice = model.choice();
    let title = |at: &usize| {
        let mark = match choice.sort {
            Some((column, true)) if column == *at => "v",
            Some((column, false)) if column == *at => "^",
            _ => "",
        };
        aligned(format!("{}{mark}", all[*at].title), all[*at].is_number)
    };
    let head = Row::new(shown.iter().map(title))
        .style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let place = model.place(sheet);
    let rows = sheet.rows.iter().enumerate().skip(choice.top).take(model.page()).map(|(at, row)| {
        let cell = |column: &usize| {
            let cell = &row.cells[*column];
            aligned(cell.text.clone(), all[*column].is_number).style(style(cell.tone, model.coloured))
        };
        let chosen = if at == place { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        Row::new(shown.iter().map(cell)).style(chosen)
    });
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), area);
    if sheet.rows.is_empty() {
        let choice = model.choice();
        let why = match (model.view, choice.search.is_empty() && choice.state.is_none()) {
            (View::Wrong, true) => "nothing is wrong",
            (View::Changes, true) => "nothing has changed yet",
            (_, true) => "there are none",
            (_, false) => "nothing is like that; Esc shows all",
        };
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        frame.render_widget(Paragraph::new(why).style(style(Tone::Faint, model.coloured)), below);
    }
}

fn aligned(text: String, right: bool) -> Cell<'static> {
    let line = Line::from(text);
    Cell::from(if right { line.alignment(Alignment::Right) } else { line })
}

/// What is typed, why nothing is new, or which keys there are.
fn footer(model: &Model, sheet: &Sheet) -> Line<'static> {
    if model.typing {
        let choice = model.choice();
        return Line::from(vec![
            Span::styled(format!("/{}", choice.search), Style::new().add_modifier(Modifier::BOLD)),
            Span::styled("_", Style::new().add_modifier(Modifier::SLOW_BLINK)),
            Span::styled("   Enter keeps it, Esc shows all", style(Tone::Faint, model.coloured)),
        ]);
    }
    if let Err(away) = &model.link {
        let left = away.again.saturating_duration_since(std::time::Instant::now()).as_secs_f64().ceil();
        let when =
            if left > 0.0 { format!("asking again in {}", span(left)) } else { "asking again".to_owned() };
        let text = format!("{when}: {}", clean(&away.why));
        return Line::styled(text, style(Tone::Bad, model.coloured));
    }
    let keys = match model.detail {
        Some(_) => "Esc back  up/down scroll  1-5 views  p pause  ? help  q quit",
        None => "Enter why  / search  f filter  s sort  1-5 views  p pause  ? help  q quit",
    };
    Line::from(vec![
        Span::styled(part(model, sheet), style(Tone::Busy, model.coloured)),
        Span::styled(keys, style(Tone::Faint, model.coloured)),
    ])
}

/// Which part of all rows is shown, where it is one.
fn part(model: &Model, sheet: &Sheet) -> String {
    let choice = model.choice();
    let mut chosen = Vec::new();
    if !choice.search.is_empty() {
        chosen.push(format!("/{}", clean(&choice.search)));
    }
    chosen.extend(choice.state.map(str::to_owned));
    let (from, to) = (choice.offset, choice.offset + sheet.rows.len());
    if from > 0 || sheet.more > 0 {
        chosen.push(format!("{}-{to} of {}", from + 1, count((to + sheet.more) as u64)));
    } else if !chosen.is_empty() {
        chosen.push(format!("{to} of {}", count(sheet.total as u64)));
    }
    if chosen.is_empty() { String::new() } else { format!("[{}] ", chosen.join(" ")) }
}
