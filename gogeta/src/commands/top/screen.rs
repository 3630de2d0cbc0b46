//! The terminal, taken over and given back: at the end, on a panic, and while it is suspended.

use std::io::{self, Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;
use rustix::process::{Signal, getpid, kill_process};

use super::draw;
use super::model::Model;

/// A terminal that is ours until the drop.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// The system's; the terminal is as it was then.
    pub(super) fn enter() -> io::Result<Self> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // What the panic says belongs on the screen that stays.
                leave();
                before(panic);
            }));
        });
        take()?;
        match Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }

    /// Shows the model as it is now.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        let size = self.terminal.size()?;
        model.resize(size.width, size.height);
        self.terminal.draw(|frame| draw::draw(frame, model)).map(drop)
    }

    /// Draws all of it anew with the next frame.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Not by its clear(), which asks the terminal for its cursor: the answer would go to whoever reads the keys.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Gives the terminal back to the shell until that sends us on.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::TSTP)?;
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Whether the terminal is ours: a panic gives it back, and the drop behind it must not do so again.
static IS_OURS: AtomicBool = AtomicBool::new(false);

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    IS_OURS.store(true, Ordering::Relaxed);
    execute!(stdout(), EnterAlternateScreen, Hide).inspect_err(|_| leave())
}

/// Gives it back if it is ours, as far as that is possible: there is nobody left to tell.
fn leave() {
    if !IS_OURS.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
