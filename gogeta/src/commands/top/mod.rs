//! `gogeta top`: a running gogeta in a terminal, as it is now.
//!
//! What is seen is a pure function of a [`model`]: keys and news go in, a frame comes out, so tests need no terminal.
//!
//! - `feed`: asks gogeta, again and again, and tells what came of it
//! - `model`: all that is known and chosen
//! - `keys`: what a key does to it
//! - `sheet`: the rows of a view, sorted and filtered
//! - `draw`: the frame; `charts`, `detail` and `help` are its parts
//! - `screen`: the terminal, taken over and given back

mod charts;
mod detail;
mod draw;
mod feed;
mod help;
mod keys;
mod model;
mod screen;
mod sheet;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use self::feed::{Feed, News};
use self::keys::Act;
use self::model::Model;
use self::screen::Screen;
use super::Failure;
use super::client::Client;
use crate::cli::{Cli, TopOptions};

/// The shortest time between two questions: each costs gogeta a little.
const SHORTEST: Duration = Duration::from_millis(100);
/// Ages on the screen are renewed so often.
const AGES: Duration = Duration::from_secs(1);
/// Keys that may wait to be handled.
const KEYS: usize = 64;

pub(super) async fn run(cli: &Cli, options: &TopOptions) -> Result<u8, Failure> {
    if options.interval.0 < SHORTEST {
        return Err(Failure::Usage(format!(
            "--interval must be {SHORTEST:?} at least, not {}",
            options.interval
        )));
    }
    let mut client = Client::of(cli, &options.at)?;
    if !std::io::stdout().is_terminal() || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Failure::Usage(
            "gogeta top needs a terminal; gogeta status shows the same once, and gogeta status --json to programs"
                .to_owned(),
        ));
    }
    let status = client.get("/api/status").await?;
    let mut model = Model::new(client.url(), options.interval.0, status);
    model.coloured = super::output::coloured();
    model.ascii = !speaks_unicode();
    let ends = Ends::new().map_err(|error| Failure::No(format!("cannot catch signals: {error}")))?;
    let screen = Screen::enter().map_err(|error| Failure::No(format!("cannot use the terminal: {error}")))?;
    watch(client, model, screen, ends).await
}

/// Draws until the end, and gives the exit code.
async fn watch(client: Client, mut model: Model, mut screen: Screen, mut ends: Ends) -> Result<u8, Failure> {
    let lost = |error: std::io::Error| Failure::No(format!("cannot draw: {error}"));
    let (mut feed, mut news) = Feed::start(client, model.wants());
    let mut events = events();
    let mut ages = tokio::time::interval(AGES);
    loop {
        screen.draw(&mut model).map_err(lost)?;
        fail_if_asked();
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Key(key)) => match model.key(key) {
                    Act::Nothing => {}
                    Act::Quit => return Ok(0),
                    Act::Suspend => screen.suspend().map_err(lost)?,
                    Act::Redraw => screen.clear().map_err(lost)?,
                },
                // The next frame has the new size.
                Some(_) => {}
                None => return Err(Failure::No("the terminal is gone".to_owned())),
            },
            told = news.recv() => match told {
                Some(told) => hear(&mut model, told),
                None => return Err(Failure::No("nobody asks gogeta any more".to_owned())),
            },
            code = ends.next() => return Ok(code),
            _ = ages.tick() => {}
        }
        feed.want(model.wants());
    }
}

/// A panic, for whoever tries what becomes of the terminal then.
fn fail_if_asked() {
    assert!(std::env::var_os("GOGETA_FAIL_TOP").is_none(), "GOGETA_FAIL_TOP is set");
}

fn hear(model: &mut Model, news: News) {
    match news {
        News::Fresh(fresh) => model.hear(*fresh),
        News::Away(away) => model.link = Err(away),
    }
}

/// What the terminal has to say, by way of a thread: reading it blocks.
fn events() -> Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether the terminal is told to be one of UTF-8.
fn speaks_unicode() -> bool {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The signals that end it.
struct Ends {
    hang_up: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The exit code that tells of the signal.
    async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.hang_up.recv() => 1,
            _ = self.interrupt.recv() => 2,
            _ = self.quit.recv() => 3,
            _ = self.terminate.recv() => 15,
        };
        128 + number
    }
}

#[cfg(test)]
mod tests;
