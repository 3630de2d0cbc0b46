//! Frames as they are drawn, and what keys do. `GOGETA_TEST_UPDATE=1` writes the frames anew.

use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use super::feed::{Fresh, ROWS};
use super::keys::Act;
use super::model::{Away, Model, View};
use super::*;
use crate::commands::client::answers::{Changes, Domain, History, Page, Point, Problems, Service, Status};
use crate::explain::Explanation;

const STATUS: &str = include_str!("../client/status.json");
const FIXTURE: &str = include_str!("fixture.json");

#[derive(Deserialize)]
struct Fixture {
    services: Page<Service>,
    domains: Page<Domain>,
    problems: Problems,
    changes: Changes,
    explanation: Explanation,
}

fn fixture() -> Fixture {
    serde_json::from_str(FIXTURE).expect("the fixture")
}

fn status() -> Status {
    serde_json::from_str(STATUS).expect("the fixture")
}

fn point(at: u32) -> Point {
    let height = f64::from(at % 12);
    let bytes = [("userspace", 1000.0), ("wire", 1000.0 * height)];
    Point {
        requests_per_second: 1000.0 * height,
        errors_per_second: if at.is_multiple_of(20) { 50.0 } else { 0.0 },
        p99_seconds: Some(0.001 * f64::from(at % 7)),
        bytes: bytes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn fresh() -> Fresh {
    let Fixture { services, domains, problems, changes, explanation } = fixture();
    Fresh {
        status: status(),
        history: History { points: (0..300).map(point).collect() },
        services: Some(services),
        domains: Some(domains),
        problems: Some(problems),
        changes,
        explanation: Some(("gone.test".to_owned(), explanation)),
        reborn: false,
    }
}

/// A model that has heard of everything, on a terminal of 80 columns and 24 lines.
fn model() -> Model {
    let mut model = Model::new("http://127.0.0.1:7778".to_owned(), Duration::from_secs(1), status());
    model.clock = Some(1_790_003_600.0);
    model.hear(fresh());
    model
}

/// Presses keys: letters, or names in angle brackets.
fn press(model: &mut Model, keys: &str) -> Act {
    let mut act = Act::Nothing;
    let mut rest = keys;
    while let Some(letter) = rest.chars().next() {
        let (code, length) = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((name, _)) => {
                let code = match name {
                    "Enter" => KeyCode::Enter,
                    "Esc" => KeyCode::Esc,
                    "Down" => KeyCode::Down,
                    "Up" => KeyCode::Up,
                    "PgDn" => KeyCode::PageDown,
                    "End" => KeyCode::End,
                    "Tab" => KeyCode::Tab,
                    "Back" => KeyCode::Backspace,
                    other => panic!("no key {other}"),
                };
                (code, name.len() + 2)
            }
            None => (KeyCode::Char(letter), letter.len_utf8()),
        };
        act = model.key(KeyEvent::new(code, KeyModifiers::NONE));
        rest = &rest[length..];
    }
    act
}

/// What a terminal of that size shows.
fn frame(model: &mut Model, (columns, lines): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("a terminal");
    model.resize(columns, lines);
    terminal.draw(|frame| draw::draw(frame, model)).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..lines).map(|y| format!("{}\n", row(y).trim_end())).collect()
}

/// The line of the frame that is chosen.
fn chosen(model: &mut Model) -> String {
    let sheet = model.sheet();
    sheet.rows.get(model.place(&sheet)).map(|row| row.name.clone()).unwrap_or_default()
}

#[test]
fn frames() {
    type Row = (&'static str, (u16, u16), &'static str, fn(&mut Model));
    let rows: [Row; 14] = [
        ("services", (80, 24), "", |_| {}),
        ("services_by_requests", (100, 24), "ssss", |_| {}),
        ("service", (80, 24), "<Down><Enter>", |_| {}),
        ("instances", (80, 24), "2", |_| {}),
        ("instances_found", (80, 24), "2/10.0.0.2<Enter>", |_| {}),
        ("domains", (80, 24), "3<Down>", |_| {}),
        ("domain", (80, 24), "3<Down><Down><Down><Enter>", |_| {}),
        ("domains_typing", (60, 12), "3/test", |_| {}),
        ("changes", (80, 24), "4", |_| {}),
        ("wrong", (80, 24), "5", |_| {}),
        ("help", (80, 24), "?", |_| {}),
        ("away", (80, 24), "", |model| {
            model.status.ready.ready = false;
            let why = "nothing answers at http://127.0.0.1:7778 (--admin): Connection refused".to_owned();
            model.link = Err(Away { why, again: Instant::now() });
        }),
        ("paused_ascii", (80, 24), "pf?", |model| model.ascii = true),
        ("small", (40, 10), "", |_| {}),
    ];
    for (name, size, keys, change) in rows {
        let mut model = model();
        frame(&mut model, size);
        press(&mut model, keys);
        change(&mut model);
        let seen = frame(&mut model, size);
        let path = format!("{}/src/commands/top/frames/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("GOGETA_TEST_UPDATE").is_some() {
            std::fs::write(&path, &seen).expect("the frame is written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(seen == wanted, "{name} is\n{seen}\nand should be\n{wanted}");
        assert!(!seen.contains('\u{1b}'), "what strangers wrote does nothing to the terminal");
        if model.ascii {
            assert!(seen.is_ascii(), "{seen}");
        }
    }
}

#[test]
fn it_can_be_of_any_size() {
    let mut model = model();
    for keys in ["", "<Enter>", "<Esc>3", "<Enter>", "?", "4", "/x", "<Esc>5"] {
        press(&mut model, keys);
        for columns in [1, 2, 7, 20, 39, 40, 61, 80, 200] {
            for lines in [1, 2, 3, 7, 10, 17, 18, 60] {
                frame(&mut model, (columns, lines));
            }
        }
    }
}

#[test]
fn rows_keep_being_chosen_while_they_move() {
    let mut model = model();
    assert_eq!(chosen(&mut model), "asleep");
    press(&mut model, "<Down>");
    assert_eq!(chosen(&mut model), "shop");
    press(&mut model, "ssss");
    assert_eq!((model.choice().sort, chosen(&mut model)), (Some((3, true)), "shop".to_owned()));
    let order =
        |model: &Model| -> Vec<String> { model.sheet().rows.into_iter().map(|row| row.name).collect() };
    assert_eq!(order(&model), ["web", "shop", "asleep"]);
    press(&mut model, "r");
    assert_eq!(order(&model), ["asleep", "shop", "web"]);
    let mut news = fresh();
    let services = news.services.as_mut().expect("services");
    services.items.remove(1);
    model.hear(news);
    assert_eq!(chosen(&mut model), "web", "what stands there now, where it is gone");
    press(&mut model, "S");
    assert_eq!(model.choice().sort, Some((2, true)));
    press(&mut model, "sssss");
    assert_eq!(model.choice().sort, None, "and at the end gogeta's own order");
}

#[test]
fn what_is_wanted_follows_the_keys() {
    let mut model = model();
    press(&mut model, "3/b.te?x<Back><Enter>");
    let wants = model.wants();
    assert_eq!((wants.view, wants.search.as_str(), wants.state), (View::Domains, "b.te?", None));
    press(&mut model, "fp++");
    let wants = model.wants();
    assert_eq!((wants.state, wants.paused, wants.interval), (Some("error"), true, Duration::from_secs(4)));
    press(&mut model, "<Esc>--<Enter>");
    let wants = model.wants();
    assert_eq!((wants.search.as_str(), wants.state), ("", None));
    assert_eq!(wants.explain.as_deref(), Some("any.shop.test"), "of a wildcard, some host below it");
    press(&mut model, "<Esc><Down><Enter>");
    assert_eq!(model.wants().explain.as_deref(), Some("a.test"));
    press(&mut model, "1");
    assert_eq!((model.wants().explain, model.wants().view), (None, View::Services));
    assert_eq!(press(&mut model, "<Tab><Tab>"), Act::Nothing);
    assert_eq!(model.view, View::Domains);
}

#[test]
fn behind_the_last_row_come_the_next_ones() {
    let mut model = model();
    press(&mut model, "3<End>");
    assert_eq!((model.wants().offset, chosen(&mut model).as_str()), (0, "www.test\u{1b}[2J"));
    press(&mut model, "<Down>");
    assert_eq!(model.wants().offset, ROWS);
    press(&mut model, "<Up>");
    assert_eq!(model.wants().offset, 0);
}

#[test]
fn it_ends_by_its_keys() {
    let mut model = model();
    assert_eq!(press(&mut model, "/q"), Act::Nothing, "what is typed is no key");
    assert_eq!(press(&mut model, "<Enter>q"), Act::Quit);
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    assert_eq!(model.key(control('c')), Act::Quit);
    assert_eq!(model.key(control('z')), Act::Suspend);
    assert_eq!(model.key(control('l')), Act::Redraw);
    press(&mut model, "?");
    assert!(model.help);
    assert_eq!(press(&mut model, "x"), Act::Nothing);
    assert!(!model.help, "any key goes back");
}

#[test]
fn changes_of_another_life_are_forgotten() {
    let mut model = model();
    assert_eq!(model.changes.len(), 4);
    let mut news = fresh();
    news.changes.items.truncate(1);
    news.reborn = true;
    model.hear(news);
    assert_eq!(model.changes.len(), 1);
}
