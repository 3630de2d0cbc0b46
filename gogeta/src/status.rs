//! What the three status keys of an instance mean together.
//!
//! Somebody else (systemd units, a container manager) writes `current`, `expected` and `alive`; gogeta reads
//! them and decides whether the instance gets requests or which page is shown in its place.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The computed state of an instance.
///
/// The order is that of usefulness to a visitor: of several instances that cannot answer, the page shown is
/// that of the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = InstanceState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The keys contradict each other, or one is missing.
    Error,
    /// Stopped on purpose.
    Stopped,
    /// Asleep until the next request wakes it.
    Passivated,
    /// On its way up.
    Starting,
    /// Takes requests.
    Started,
}

impl State {
    /// The state's name, as in etcd.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Stopped => "stopped",
            Self::Passivated => "passivated",
            Self::Starting => "starting",
            Self::Started => "started",
        }
    }
}

/// The texts under `…/status/`, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// `status/current`: what the instance is doing.
    pub current: Option<Box<str>>,
    /// `status/expected`: what it is meant to be doing.
    pub expected: Option<Box<str>>,
    /// `status/alive`: any text while its heart beats.
    pub alive: Option<Box<str>>,
}

impl Status {
    /// Whether there is no status directory at all: such an instance is not supervised, and counts as started.
    pub fn is_absent(&self) -> bool {
        self.current.is_none() && self.expected.is_none() && self.alive.is_none()
    }

    /// The state that the three texts amount to.
    pub fn state(&self) -> State {
        if self.is_absent() {
            return State::Started;
        }
        let alive = self.alive.as_deref().is_some_and(|text| !text.is_empty());
        match (self.current.as_deref(), self.expected.as_deref()) {
            (Some("started"), Some("started")) if alive => State::Started,
            (Some("starting"), Some("started")) => State::Starting,
            // A wake-up in progress is no error, though the original took it for one.
            (Some("stopped" | "passivated"), Some("started")) => State::Starting,
            (Some("stopping" | "stopped"), Some("stopped")) => State::Stopped,
            (Some("stopping" | "stopped" | "passivated"), Some("passivated")) => State::Passivated,
            _ => State::Error,
        }
    }

    /// Why the state is what it is, in one sentence for an operator.
    pub fn why(&self) -> String {
        if self.is_absent() {
            return "it has no status, so it counts as started".to_owned();
        }
        let text = |field: &Option<Box<str>>| field.as_deref().unwrap_or("").to_owned();
        let (current, expected) = (text(&self.current), text(&self.expected));
        match self.state() {
            State::Started => "current and expected are started, and it is alive".to_owned(),
            State::Error if current == "started" && expected == "started" => {
                "it is started, but status/alive is empty: its heartbeat is gone".to_owned()
            }
            State::Error if current.is_empty() => "status/current is not set".to_owned(),
            State::Error if expected.is_empty() => "status/expected is not set".to_owned(),
            _ => format!("current is {current}, expected is {expected}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(current: &str, expected: &str, alive: &str) -> Status {
        let text = |text: &str| (text != "-").then(|| text.into());
        Status { current: text(current), expected: text(expected), alive: text(alive) }
    }

    #[test]
    fn the_table() {
        #[rustfmt::skip]
        let rows = [
            ("-",          "-",          "-", State::Started),
            ("started",    "started",    "1", State::Started),
            ("started",    "started",    "",  State::Error),
            ("started",    "started",    "-", State::Error),
            ("started",    "stopped",    "1", State::Error),
            ("started",    "passivated", "1", State::Error),
            ("started",    "-",          "1", State::Error),
            ("starting",   "started",    "-", State::Starting),
            ("starting",   "started",    "1", State::Starting),
            ("starting",   "stopped",    "-", State::Error),
            ("starting",   "passivated", "-", State::Error),
            ("stopping",   "stopped",    "1", State::Stopped),
            ("stopping",   "passivated", "-", State::Passivated),
            ("stopping",   "started",    "-", State::Error),
            ("stopped",    "stopped",    "-", State::Stopped),
            ("stopped",    "passivated", "-", State::Passivated),
            ("passivated", "passivated", "-", State::Passivated),
            ("stopped",    "started",    "-", State::Starting),
            ("passivated", "started",    "-", State::Starting),
            ("passivated", "stopped",    "-", State::Error),
            ("nonsense",   "started",    "1", State::Error),
            ("-",          "-",          "1", State::Error),
            ("-",          "started",    "-", State::Error),
            ("",           "",           "",  State::Error),
        ];
        for (current, expected, alive, state) in rows {
            assert_eq!(status(current, expected, alive).state(), state, "{current} / {expected} / {alive}");
            assert!(!status(current, expected, alive).why().is_empty());
        }
    }

    #[test]
    fn the_page_shown_is_that_of_the_most_hopeful() {
        assert!(State::Starting > State::Passivated);
        assert!(State::Passivated > State::Stopped);
        assert!(State::Stopped > State::Error);
    }
}
