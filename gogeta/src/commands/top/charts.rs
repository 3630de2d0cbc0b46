//! The last minutes: requests, errors, latency, and who carried the bytes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::symbols::bar::{NINE_LEVELS, Set};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::draw::style;
use super::model::Model;
use crate::commands::client::answers::Point;
use crate::commands::measures::{bytes, number, percent, seconds};
use crate::commands::output::Tone;

/// Bars for terminals that have no others.
const ASCII: Set<'static> = Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

/// Who carries bytes, and under which name.
const ENGINES: [&str; 3] = ["userspace", "sockmap", "wire"];

/// Bars are whole numbers: so many of them to one of what is shown.
const FINE: f64 = 1e6;
/// Heights of a bar within a line.
const EIGHTHS: u64 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [requests, errors, latency, carried] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Fill(2),
    ])
    .spacing(1)
    .areas(area);
    let traffic = &model.status.traffic;
    chart(frame, requests, model, "req/s", number(traffic.requests_per_second), Tone::Good, |point| {
        point.requests_per_second
    });
    chart(frame, errors, model, "err/s", number(traffic.errors_per_second), Tone::Bad, |point| {
        point.errors_per_second
    });
    chart(frame, latency, model, "p99", seconds(traffic.p99_seconds), Tone::Busy, |point| {
        point.p99_seconds.unwrap_or(0.0)
    });
    by_engine(frame, carried, model);
}

/// A title with what is so now, above the bars of what was.
fn chart(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    title: &'static str,
    now: String,
    tone: Tone,
    value: impl Fn(&Point) -> f64,
) {
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let line = Line::from(vec![
        Span::styled(format!("{title} "), style(Tone::Faint, model.coloured)),
        Span::styled(now, ratatui::style::Style::new().add_modifier(Modifier::BOLD)),
    ]);
    frame.render_widget(Paragraph::new(line), above);
    bars(frame, below, model, (tone, None), value);
}

/// As many of the last points as there are columns.
fn last(model: &Model, columns: u16) -> &[Point] {
    &model.history[model.history.len().saturating_sub(usize::from(columns))..]
}

fn height(value: f64) -> u64 {
    (value.max(0.0) * FINE) as u64
}

/// The newest on the right; the highest is as high as there is room, or `most` is.
fn bars(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    (tone, most): (Tone, Option<u64>),
    value: impl Fn(&Point) -> f64,
) {
    let points = last(model, area.width);
    let missing = usize::from(area.width).saturating_sub(points.len());
    let heights = || points.iter().map(|point| height(value(point)));
    let most = most.or_else(|| heights().max()).unwrap_or(0).max(1);
    // Little is not nothing: it is as high as the lowest bar.
    let least = most.div_ceil(u64::from(area.height).max(1) * EIGHTHS);
    let heights = heights().map(|height| if height == 0 { 0 } else { height.max(least) });
    let data: Vec<u64> = std::iter::repeat_n(0, missing).chain(heights).collect();
    let set = if model.ascii { ASCII } else { NINE_LEVELS };
    let line = Sparkline::default().data(&data).max(most).bar_set(set);
    frame.render_widget(line.style(style(tone, model.coloured)), area);
}

/// A line for each engine: its share of the bytes, and the bars of all that it carried.
fn by_engine(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let lines = Layout::vertical([Constraint::Length(1); 4]).split(area);
    let all = model.status.traffic.bytes_per_second;
    let title = Line::from(vec![
        Span::styled("bytes/s ", style(Tone::Faint, model.coloured)),
        Span::styled(bytes(all), ratatui::style::Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(" by engine", style(Tone::Faint, model.coloured)),
    ]);
    frame.render_widget(Paragraph::new(title), lines[0]);
    for (at, name) in ENGINES.into_iter().enumerate() {
        let engine = model.status.engines.iter().find(|engine| engine.engine == name);
        let share = match engine {
            Some(engine) if engine.loaded => percent(engine.share_of_bytes),
            _ => "none".to_owned(),
        };
        let [label, line] =
            Layout::horizontal([Constraint::Length(17), Constraint::Fill(1)]).areas(lines[at + 1]);
        frame.render_widget(Paragraph::new(format!("{name:<9} {share:>6}")), label);
        let carried = |point: &Point| point.bytes.get(name).copied().unwrap_or(0.0);
        // One measure for all, so that they can be compared.
        let all = last(model, line.width).iter().flat_map(|point| point.bytes.values());
        let most = all.map(|value| height(*value)).max().unwrap_or(0).max(1);
        bars(frame, line, model, (Tone::Good, Some(most)), carried);
    }
}
