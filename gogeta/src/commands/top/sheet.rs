//! The rows of a view: what is known as cells, filtered and sorted.

use std::cmp::Ordering;

use super::model::{Model, View};
use crate::commands::client::answers::{Change, Domain, Instance, Service};
use crate::commands::measures::{number, percent, seconds, span};
use crate::commands::output::{Tone, clean};

/// A column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// How wide it is; or, where it takes of what is left, its share of that.
    pub(super) width: Width,
    /// Whether it has numbers, which stand on the right and are sorted with the greatest first.
    pub(super) is_number: bool,
    /// It is left out on a terminal with fewer columns.
    pub(super) from: u16,
}

#[derive(Clone, Copy)]
pub(super) enum Width {
    Is(u16),
    Share(u16),
}

const fn text(title: &'static str, width: Width, from: u16) -> Column {
    Column { title, width, is_number: false, from }
}

const fn figure(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width: Width::Is(width), is_number: true, from }
}

const SERVICES: &[Column] = &[
    text("SERVICE", Width::Share(3), 0),
    text("STATE", Width::Is(10), 0),
    figure("UP", 5, 0),
    figure("REQ/S", 7, 40),
    figure("ERRORS", 7, 50),
    figure("P99", 8, 60),
    text("WHY", Width::Share(4), 60),
];
const INSTANCES: &[Column] = &[
    text("SERVICE", Width::Share(2), 0),
    text("INDEX", Width::Is(6), 0),
    text("LOCATION", Width::Is(21), 60),
    text("STATE", Width::Is(10), 0),
    figure("OPEN", 5, 50),
    text("WHY", Width::Share(3), 70),
];
const DOMAINS: &[Column] = &[
    text("HOST", Width::Share(3), 0),
    text("TYPE", Width::Is(7), 60),
    text("VALUE", Width::Share(2), 50),
    text("STATE", Width::Is(10), 0),
    figure("REQ/S", 7, 70),
    text("WHY", Width::Share(3), 70),
];
const CHANGES: &[Column] = &[
    figure("AGE", 7, 0),
    text("LEVEL", Width::Is(7), 50),
    text("WHAT", Width::Is(8), 60),
    text("NAME", Width::Share(2), 0),
    text("HAPPENED", Width::Share(4), 0),
];
const WRONG: &[Column] =
    &[text("WHAT", Width::Is(8), 60), text("NAME", Width::Share(2), 0), text("WRONG", Width::Share(3), 0)];

pub(super) fn columns(view: View) -> &'static [Column] {
    match view {
        View::Services => SERVICES,
        View::Instances => INSTANCES,
        View::Domains => DOMAINS,
        View::Changes => CHANGES,
        View::Wrong => WRONG,
    }
}

/// A cell: what it shows, and by which number it is sorted if it has one.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    number: Option<f64>,
}

fn plain(text: &str) -> Cell {
    Cell { text: clean(text).into_owned(), tone: Tone::Plain, number: None }
}

fn faint(text: &str) -> Cell {
    Cell { tone: Tone::Faint, ..plain(text) }
}

fn state(text: &str) -> Cell {
    Cell { tone: Tone::of(text), ..plain(text) }
}

/// A number, or a dash where it is not known.
fn counted(value: Option<f64>, show: impl Fn(f64) -> String) -> Cell {
    let text = value.map_or_else(|| "-".to_owned(), show);
    Cell { text, tone: Tone::Plain, number: Some(value.unwrap_or(-1.0)) }
}

/// A row.
pub(super) struct Row {
    /// Which one it is.
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

/// The rows of a view.
pub(super) struct Sheet {
    pub(super) rows: Vec<Row>,
    /// How many there are in all, whatever is searched for.
    pub(super) total: usize,
    /// How many more there are behind these.
    pub(super) more: usize,
}

/// The rows of the model's view.
pub(super) fn of(model: &Model) -> Sheet {
    let choice = model.choice();
    let mut sheet = match model.view {
        View::Services => {
            let page = &model.services;
            let more = page.matched.saturating_sub(choice.offset + page.items.len());
            Sheet { rows: page.items.iter().map(service).collect(), total: page.total, more }
        }
        View::Instances => instances(model),
        View::Domains => {
            let page = &model.domains;
            let more = page.matched.saturating_sub(choice.offset + page.items.len());
            Sheet { rows: page.items.iter().map(domain).collect(), total: page.total, more }
        }
        View::Changes => changes(model),
        View::Wrong => wrong(model),
    };
    if let Some((column, falling)) = choice.sort {
        sheet.rows.sort_by(|one, other| {
            let order = compare(&one.cells[column], &other.cells[column]);
            if falling { order.reverse() } else { order }
        });
    }
    sheet
}

fn compare(one: &Cell, other: &Cell) -> Ordering {
    match (one.number, other.number) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.text.cmp(&other.text),
    }
}

/// Keeps rows that have what is searched for, and are in the state that is asked for.
fn keep(model: &Model, mut rows: Vec<Row>, in_state: impl Fn(&Row, &str) -> bool) -> Sheet {
    let (choice, total) = (model.choice(), rows.len());
    let searched = choice.search.to_lowercase();
    rows.retain(|row| {
        (searched.is_empty() || row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&searched)))
            && choice.state.is_none_or(|state| in_state(row, state))
    });
    Sheet { rows, total, more: 0 }
}

fn service(service: &Service) -> Row {
    let up = service.instances.iter().filter(|instance| is_up(instance)).count();
    let all = service.instances.len();
    let ratio = service.error_ratio;
    let errors = counted(ratio, percent);
    let tone = if ratio.is_some_and(|ratio| ratio > 0.0) { Tone::Bad } else { Tone::Plain };
    let cells = vec![
        plain(&service.name),
        state(&service.state),
        Cell { text: format!("{up}/{all}"), tone: Tone::Plain, number: Some(up as f64) },
        counted(service.requests_per_second, number),
        Cell { tone, ..errors },
        Cell { text: seconds(service.p99_seconds), ..counted(service.p99_seconds, number) },
        faint(&service.why),
    ];
    Row { name: service.name.clone(), cells }
}

fn is_up(instance: &Instance) -> bool {
    instance.state == "started" && instance.location.is_some() && !instance.resting && !instance.drained
}

/// What an instance is doing, in a word.
fn doing(instance: &Instance) -> (&str, Tone) {
    match (instance.drained, instance.resting) {
        (true, _) => ("drained", Tone::Busy),
        (false, true) => ("resting", Tone::Bad),
        (false, false) => (&instance.state, Tone::of(&instance.state)),
    }
}

fn instances(model: &Model) -> Sheet {
    let row = |service: &Service, instance: &Instance| {
        let (word, tone) = doing(instance);
        let cells = vec![
            plain(&service.name),
            plain(&instance.index),
            plain(instance.location.as_deref().unwrap_or("-")),
            Cell { tone, ..plain(word) },
            counted(instance.open_requests.map(|open| open as f64), number),
            faint(&instance.why),
        ];
        Row { name: format!("{}/{}", service.name, instance.index), cells }
    };
    let services = model.services.items.iter();
    let rows = services
        .flat_map(|service| service.instances.iter().map(|instance| row(service, instance)))
        .collect();
    keep(model, rows, |row, state| row.cells[3].text == state)
}

fn domain(domain: &Domain) -> Row {
    let cells = vec![
        plain(&domain.host),
        plain(domain.kind.as_deref().unwrap_or("-")),
        plain(domain.value.as_deref().unwrap_or("-")),
        state(&domain.state),
        counted(domain.requests_per_second, number),
        faint(&domain.why),
    ];
    Row { name: domain.host.clone(), cells }
}

/// The newest first.
fn changes(model: &Model) -> Sheet {
    let now = model.now();
    let row = |change: &Change| {
        let tone = level(&change.level);
        let age = now - change.at;
        let cells = vec![
            Cell { text: span(age), tone: Tone::Faint, number: Some(age) },
            Cell { tone, ..plain(&change.level) },
            plain(&change.kind),
            plain(&change.name),
            plain(&change.text),
        ];
        Row { name: change.seq.to_string(), cells }
    };
    keep(model, model.changes.iter().rev().map(row).collect(), |row, state| row.cells[1].text == state)
}

pub(super) fn level(level: &str) -> Tone {
    match level {
        "error" => Tone::Bad,
        "warning" => Tone::Busy,
        _ => Tone::Faint,
    }
}

/// What is wrong now, the worst first, and behind that all keys with wrong values.
fn wrong(model: &Model) -> Sheet {
    let row = |what: &str, name: &str, text: &str| Row {
        name: format!("{what} {name}"),
        cells: vec![Cell { tone: Tone::Bad, ..plain(what) }, plain(name), plain(text)],
    };
    let worst = &model.status.worst;
    let mut rows: Vec<Row> = worst.iter().map(|worst| row(&worst.kind, &worst.name, &worst.what)).collect();
    let is_told = |key: &str| worst.iter().any(|worst| worst.name == key);
    let others = model.problems.iter().filter(|wrong| !is_told(&wrong.key));
    rows.extend(others.map(|wrong| row("key", &wrong.key, &wrong.problem)));
    keep(model, rows, |_, _| true)
}
