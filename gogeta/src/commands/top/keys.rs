//! What a key does.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::SHORTEST;
use super::model::{Model, View};
use super::sheet;

/// How far the interval can be made longer.
const SLOWEST: Duration = Duration::from_secs(60);

/// What is for the terminal to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Nothing,
    /// Give it back, and end.
    Quit,
    /// Give it back for a while.
    Suspend,
    /// Draw everything anew.
    Redraw,
}

impl Model {
    /// What a key does to the model; gives what is left to do.
    pub(super) fn key(&mut self, key: KeyEvent) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Act::Quit,
                KeyCode::Char('z') => return Act::Suspend,
                KeyCode::Char('l') => return Act::Redraw,
                KeyCode::Char('u') if self.typing => self.search(|text| text.clear()),
                _ => {}
            }
            return Act::Nothing;
        }
        if self.typing {
            self.type_in(key.code);
            return Act::Nothing;
        }
        if self.help {
            self.help = false;
            return if key.code == KeyCode::Char('q') { Act::Quit } else { Act::Nothing };
        }
        let page = isize::try_from(self.page().max(2) - 1).unwrap_or(isize::MAX);
        match key.code {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('+') => self.interval = (self.interval * 2).min(SLOWEST),
            KeyCode::Char('-') => self.interval = (self.interval / 2).max(SHORTEST),
            KeyCode::Char(digit @ '1'..='5') => {
                if let Some(view) = View::ALL.get(digit as usize - '1' as usize) {
                    self.look_at(*view);
                }
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::PageDown => self.go(page),
            KeyCode::PageUp => self.go(-page),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN + 1),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Enter if !self.sheet().rows.is_empty() => {
                // From here on this row is meant, wherever it moves.
                self.move_by(0);
                self.detail = if self.detail.is_some() { None } else { Some(0) };
            }
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Char('/') => {
                self.detail = None;
                self.typing = true;
            }
            KeyCode::Char('f') => self.filter(),
            KeyCode::Char('s') => self.sort(1),
            KeyCode::Char('S') => self.sort(-1),
            KeyCode::Char('r') => {
                let choice = self.choice_mut();
                if let Some((_, falling)) = &mut choice.sort {
                    *falling = !*falling;
                }
            }
            _ => {}
        }
        self.settle();
        Act::Nothing
    }

    fn type_in(&mut self, code: KeyCode) {
        match code {
            KeyCode::Esc => {
                self.typing = false;
                self.search(String::clear);
            }
            KeyCode::Enter | KeyCode::Down | KeyCode::Up => self.typing = false,
            KeyCode::Backspace => self.search(|text| {
                let _ = text.pop();
            }),
            KeyCode::Char(letter) if !letter.is_control() => self.search(|text| text.push(letter)),
            _ => {}
        }
        self.settle();
    }

    /// Something else is searched for: from the first of it.
    fn search(&mut self, edit: impl FnOnce(&mut String)) {
        let choice = self.choice_mut();
        edit(&mut choice.search);
        (choice.row, choice.top, choice.offset) = ((None, 0), 0, 0);
    }

    fn look_at(&mut self, view: View) {
        self.view = view;
        self.detail = None;
    }

    fn turn(&mut self, by: usize) {
        self.look_at(View::ALL[(self.view as usize + by) % View::ALL.len()]);
    }

    /// Up or down: in the rows, or in the lines of one.
    fn go(&mut self, by: isize) {
        match &mut self.detail {
            Some(line) => *line = line.saturating_add_signed(by),
            None => self.move_by(by),
        }
    }

    /// Back to the rows, or to all of them.
    fn back(&mut self) {
        if self.detail.take().is_none() {
            self.search(String::clear);
            self.choice_mut().state = None;
        }
    }

    /// The next state that rows must be in, and at the end any.
    fn filter(&mut self) {
        let states = self.view.states();
        let choice = self.choice_mut();
        choice.state = match choice.state {
            None => states.first().copied(),
            Some(now) => {
                states.iter().position(|state| *state == now).and_then(|at| states.get(at + 1)).copied()
            }
        };
        (choice.row, choice.top, choice.offset) = ((None, 0), 0, 0);
    }

    /// The next column to sort by, in the order that one wants to see first.
    fn sort(&mut self, by: isize) {
        let columns = sheet::columns(self.view);
        let now = self.choice().sort.map_or(-1, |(column, _)| column as isize);
        let all = columns.len() as isize + 1;
        // One place is gogeta's own order.
        let next = (now + 1 + by).rem_euclid(all) - 1;
        self.choice_mut().sort =
            usize::try_from(next).ok().and_then(|at| Some((at, columns.get(at)?.is_number)));
    }
}
