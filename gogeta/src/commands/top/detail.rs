//! All of one row: every field of it, and why it is as it is.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::draw::style;
use super::model::{Model, View};
use super::sheet;
use crate::commands::client::answers::{Domain, Instance, Service};
use crate::commands::measures::{number, percent, seconds, span};
use crate::commands::output::{Tone, clean};
use crate::explain::Outcome;

/// Where values begin.
const INDENT: usize = 11;

/// Lines of text, as wide as the terminal.
struct Text {
    lines: Vec<(String, Tone)>,
    width: usize,
}

impl Text {
    /// A name and its value, which may take several lines.
    fn field(&mut self, name: &str, value: &str, tone: Tone) {
        let width = self.width.saturating_sub(INDENT).max(20);
        let mut line = format!("{:<INDENT$}", clean(name));
        let mut left = width;
        for word in clean(value).split(' ') {
            let length = word.chars().count();
            if left < width && length + 1 > left {
                self.lines.push((std::mem::replace(&mut line, " ".repeat(INDENT)), tone));
                left = width;
            }
            if left < width {
                line.push(' ');
                left -= 1;
            }
            line.push_str(word);
            left = left.saturating_sub(length);
        }
        self.lines.push((line, tone));
    }

    fn gap(&mut self) {
        self.lines.push((String::new(), Tone::Plain));
    }
}

/// The chosen row as lines of so many columns.
pub(super) fn lines(model: &Model, width: usize) -> Vec<(String, Tone)> {
    let mut text = Text { lines: Vec::new(), width };
    let sheet = model.sheet();
    let Some(row) = sheet.rows.get(model.place(&sheet)) else {
        return vec![("it is gone".to_owned(), Tone::Faint)];
    };
    match model.view {
        View::Services => {
            if let Some(found) = model.services.items.iter().find(|service| service.name == row.name) {
                service(&mut text, found);
            }
        }
        View::Instances => {
            let found = model.services.items.iter().find_map(|service| {
                let instances = service.instances.iter();
                let is_it = |instance: &&Instance| format!("{}/{}", service.name, instance.index) == row.name;
                Some((service, instances.clone().find(is_it)?))
            });
            if let Some((service, found)) = found {
                text.field("service", &service.name, Tone::Plain);
                instance(&mut text, found);
            }
        }
        View::Domains => {
            if let Some(found) = model.domains.items.iter().find(|domain| domain.host == row.name) {
                domain(&mut text, found);
            }
            explained(&mut text, model);
        }
        View::Changes => {
            if let Some(change) = model.changes.iter().find(|change| change.seq.to_string() == row.name) {
                text.field("age", &span(model.now() - change.at), Tone::Plain);
                text.field("level", &change.level, sheet::level(&change.level));
                text.field("what", &format!("{} {}", change.kind, change.name), Tone::Plain);
                text.field("happened", &change.text, Tone::Plain);
            }
        }
        View::Wrong => {
            for (column, cell) in sheet::columns(model.view).iter().zip(&row.cells) {
                text.field(&column.title.to_lowercase(), &cell.text, cell.tone);
            }
        }
    }
    text.lines
}

fn service(text: &mut Text, service: &Service) {
    text.field("service", &service.name, Tone::Plain);
    text.field("state", &service.state, Tone::of(&service.state));
    text.field("why", &service.why, Tone::Plain);
    let rate = service.requests_per_second.map_or_else(|| "-".to_owned(), number);
    let errors = service.error_ratio.map_or_else(|| "-".to_owned(), percent);
    let p99 = seconds(service.p99_seconds);
    text.field("traffic", &format!("{rate} requests/s, {errors} errors, p99 {p99}"), Tone::Plain);
    for one in &service.instances {
        text.gap();
        instance(text, one);
    }
}

fn instance(text: &mut Text, instance: &Instance) {
    let at = instance.location.as_deref().unwrap_or("no location");
    text.field("instance", &format!("{} at {at}", instance.index), Tone::Plain);
    text.field("state", &instance.state, Tone::of(&instance.state));
    text.field("why", &instance.why, Tone::Plain);
    if instance.drained {
        text.field("drained", "it gets no new requests from this gogeta", Tone::Busy);
    }
    if instance.resting {
        text.field("resting", "it could not be connected to, and others are asked for a while", Tone::Bad);
    }
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let status = [&instance.current, &instance.expected, &instance.alive];
    if status.iter().any(|text| text.is_some()) {
        let [current, expected, alive] = status.map(said);
        let status = format!("current {current}, expected {expected}, alive {alive}");
        text.field("status", &status, Tone::Plain);
    }
    if let Some(open) = instance.open_requests {
        text.field("open", &format!("{open} requests"), Tone::Plain);
    }
    config(text, &instance.config);
}

fn domain(text: &mut Text, domain: &Domain) {
    text.field("host", &domain.host, Tone::Plain);
    let (kind, value) = (domain.kind.as_deref().unwrap_or("-"), domain.value.as_deref().unwrap_or("-"));
    text.field("goes to", &format!("{kind} {value}"), Tone::Plain);
    text.field("state", &domain.state, Tone::of(&domain.state));
    text.field("why", &domain.why, Tone::Plain);
    if let Some(rate) = domain.requests_per_second {
        text.field("traffic", &format!("{} requests/s", number(rate)), Tone::Plain);
    }
    config(text, &domain.config);
}

fn config(text: &mut Text, config: &serde_json::Value) {
    if config.as_object().is_some_and(|fields| !fields.is_empty()) {
        text.field("config", &config.to_string(), Tone::Plain);
    }
}

/// How a request for the chosen host would be routed.
fn explained(text: &mut Text, model: &Model) {
    let wanted = model.wants().explain;
    let Some((host, explanation)) = &model.explanation else { return };
    if wanted.as_ref() != Some(host) {
        return;
    }
    text.gap();
    let tone = if explanation.verdict.forwarded { Tone::Good } else { Tone::Bad };
    text.field(&format!("GET {host}"), "", Tone::Faint);
    text.field("verdict", &explanation.verdict.text, tone);
    for step in &explanation.steps {
        let tone = match step.outcome {
            Outcome::Ok => Tone::Plain,
            Outcome::Info => Tone::Faint,
            Outcome::Warn => Tone::Busy,
            Outcome::Stop => Tone::Bad,
        };
        let key = step.key.as_ref().map_or_else(String::new, |key| format!(" ({key})"));
        text.field(&step.step, &format!("{}{key}", step.text), tone);
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, from: usize) {
    let shown = lines(model, usize::from(area.width));
    let shown = shown.into_iter().skip(from).take(usize::from(area.height));
    let shown: Vec<Line<'_>> =
        shown.map(|(text, tone)| Line::styled(text, style(tone, model.coloured))).collect();
    frame.render_widget(Paragraph::new(shown), area);
}
