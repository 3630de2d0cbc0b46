//! All that `gogeta top` knows and that was chosen in it. Pure: keys and news in, nothing out but what is asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::draw;
use super::feed::{Fresh, ROWS, Wants};
use super::sheet::{self, Sheet};
use crate::commands::client::answers::{Change, Domain, Page, Point, Service, Status, WrongKey};
use crate::explain::Explanation;

/// So many changes are kept.
const CHANGES: usize = 1000;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Services,
    Instances,
    Domains,
    Changes,
    Wrong,
}

impl View {
    pub(super) const ALL: [Self; 5] =
        [Self::Services, Self::Instances, Self::Domains, Self::Changes, Self::Wrong];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Instances => "Instances",
            Self::Domains => "Domains",
            Self::Changes => "Changes",
            Self::Wrong => "Wrong",
        }
    }

    /// The states that its rows can be in.
    pub(super) fn states(self) -> &'static [&'static str] {
        match self {
            Self::Services | Self::Instances => &["error", "stopped", "passivated", "starting", "started"],
            Self::Domains => &["error", "pending", "stopped", "passivated", "starting", "started", "uri"],
            Self::Changes => &["error", "warning", "info"],
            Self::Wrong => &[],
        }
    }
}

/// Why gogeta cannot be asked, and when it will be asked again.
#[derive(Debug, Clone)]
pub(super) struct Away {
    pub(super) why: String,
    pub(super) again: Instant,
}

/// What was chosen in one view.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    pub(super) search: String,
    pub(super) state: Option<&'static str>,
    /// The column that rows are sorted by, and whether the greatest comes first; as gogeta sorts them where none.
    pub(super) sort: Option<(usize, bool)>,
    /// The row that is chosen: its name, and its place where that name is gone.
    pub(super) row: (Option<String>, usize),
    /// The first row on the screen.
    pub(super) top: usize,
    /// Where in all of gogeta's rows those begin that are here.
    pub(super) offset: usize,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) url: String,
    pub(super) interval: Duration,
    pub(super) status: Status,
    /// Whether the last question was answered.
    pub(super) link: Result<(), Away>,
    pub(super) history: Vec<Point>,
    pub(super) services: Page<Service>,
    pub(super) domains: Page<Domain>,
    pub(super) problems: Vec<WrongKey>,
    pub(super) changes: VecDeque<Change>,
    pub(super) explanation: Option<(String, Explanation)>,
    pub(super) view: View,
    pub(super) choices: [Choice; View::ALL.len()],
    /// Whether what is typed is searched for.
    pub(super) typing: bool,
    /// Whether all of the chosen row is shown, and from which line on.
    pub(super) detail: Option<usize>,
    pub(super) help: bool,
    pub(super) paused: bool,
    pub(super) coloured: bool,
    /// No letters but those of ASCII.
    pub(super) ascii: bool,
    /// Columns and lines.
    pub(super) size: (u16, u16),
    /// The time of day, in seconds since 1970; that of the clock where none is set, as tests do.
    pub(super) clock: Option<f64>,
}

impl Model {
    pub(super) fn new(url: String, interval: Duration, status: Status) -> Self {
        Self {
            url,
            interval,
            status,
            link: Ok(()),
            history: Vec::new(),
            services: Page::default(),
            domains: Page::default(),
            problems: Vec::new(),
            changes: VecDeque::new(),
            explanation: None,
            view: View::Services,
            choices: Default::default(),
            typing: false,
            detail: None,
            help: false,
            paused: false,
            coloured: false,
            ascii: false,
            size: (80, 24),
            clock: None,
        }
    }

    /// What gogeta says now.
    pub(super) fn hear(&mut self, fresh: Fresh) {
        self.link = Ok(());
        self.status = fresh.status;
        self.history = fresh.history.points;
        if fresh.reborn {
            self.changes.clear();
        }
        self.changes.extend(fresh.changes.items);
        while self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
        if let Some(services) = fresh.services {
            self.services = services;
        }
        if let Some(domains) = fresh.domains {
            self.domains = domains;
        }
        if let Some(problems) = fresh.problems {
            self.problems = problems.problems;
        }
        if fresh.explanation.is_some() {
            self.explanation = fresh.explanation;
        }
        self.settle();
    }

    /// What is asked for next.
    pub(super) fn wants(&self) -> Wants {
        let choice = self.choice();
        let explains = self.detail.is_some() && self.view == View::Domains;
        let host =
            |row: &String| row.strip_prefix("*.").map_or_else(|| row.clone(), |rest| format!("any.{rest}"));
        Wants {
            view: self.view,
            search: choice.search.clone(),
            state: choice.state,
            offset: choice.offset,
            explain: choice.row.0.as_ref().filter(|_| explains).map(host),
            paused: self.paused,
            interval: self.interval,
        }
    }

    /// What was chosen in this view.
    pub(super) fn choice(&self) -> &Choice {
        &self.choices[self.view as usize]
    }

    pub(super) fn choice_mut(&mut self) -> &mut Choice {
        &mut self.choices[self.view as usize]
    }

    /// The rows of this view, as they are shown.
    pub(super) fn sheet(&self) -> Sheet {
        sheet::of(self)
    }

    /// The terminal has this size now.
    pub(super) fn resize(&mut self, columns: u16, lines: u16) {
        if self.size != (columns, lines) {
            self.size = (columns, lines);
            self.settle();
        }
    }

    /// How many rows fit.
    pub(super) fn page(&self) -> usize {
        draw::rows(self.size)
    }

    /// Moves the choice by so many rows, and to those behind the last or before the first where there are more.
    pub(super) fn move_by(&mut self, rows: isize) {
        let sheet = self.sheet();
        let at = self.place(&sheet);
        let last = sheet.rows.len().saturating_sub(1);
        if rows > 0 && at == last && sheet.more > 0 {
            let choice = self.choice_mut();
            (choice.offset, choice.row) = (choice.offset + ROWS, (None, 0));
        } else if rows < 0 && at == 0 && self.choice().offset > 0 {
            let choice = self.choice_mut();
            (choice.offset, choice.row) = (choice.offset.saturating_sub(ROWS), (None, ROWS - 1));
        } else {
            let to = at.saturating_add_signed(rows).min(last);
            self.choose(&sheet, to);
        }
        self.settle();
    }

    /// Chooses a row by its place.
    fn choose(&mut self, sheet: &Sheet, at: usize) {
        let name = sheet.rows.get(at).map(|row| row.name.clone());
        self.choice_mut().row = (name, at);
    }

    /// Where the chosen row is.
    pub(super) fn place(&self, sheet: &Sheet) -> usize {
        let (name, at) = &self.choice().row;
        let found = name.as_ref().and_then(|name| sheet.rows.iter().position(|row| row.name == *name));
        found.unwrap_or_else(|| (*at).min(sheet.rows.len().saturating_sub(1)))
    }

    /// Sees to it that the chosen row is one, and on the screen.
    pub(super) fn settle(&mut self) {
        let (sheet, page) = (self.sheet(), self.page().max(1));
        let at = self.place(&sheet);
        // Where nothing was chosen the first row is, whatever comes to be the first.
        if self.choice().row != (None, 0) {
            self.choose(&sheet, at);
        }
        let choice = self.choice_mut();
        choice.top =
            choice.top.clamp((at + 1).saturating_sub(page), at).min(sheet.rows.len().saturating_sub(page));
        if let Some(line) = self.detail {
            let lines = super::detail::lines(self, usize::from(self.size.0)).len();
            self.detail = Some(line.min(lines.saturating_sub(page)));
        }
    }

    /// The time of day, in seconds since 1970.
    pub(super) fn now(&self) -> f64 {
        self.clock.unwrap_or_else(|| crate::clock::since_1970().as_secs_f64())
    }
}
