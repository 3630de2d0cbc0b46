//! What is measured.

use serde::{Deserialize, Serialize};

use crate::contender::Kind;
use crate::wrk::Asked;

/// How many hosts gogeta knows besides those that the rest uses.
pub(crate) const HOSTS: u32 = 1000;

/// What the load is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// As many requests as can be.
    Most(Asked),
    /// As many echoes as can be, of so many bytes each.
    Echo(usize),
    /// So many percent of what the slowest can.
    Share(u32),
}

/// One row of the tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) title: String,
    pub(crate) load: Load,
    /// The length of a response's body.
    pub(crate) body: usize,
    pub(crate) connections: usize,
    /// Whether contenders write access logs.
    pub(crate) logs: bool,
    /// Whether it is about what it costs to watch gogeta.
    #[serde(default)]
    pub(crate) watched: bool,
}

impl Scenario {
    fn new(title: &str, load: Load, body: usize, connections: usize) -> Self {
        Self { title: title.to_owned(), load, body, connections, logs: false, watched: false }
    }

    fn most(body: usize, connections: usize) -> Self {
        Self::new(&title(body, connections), Load::Most(Asked::Plain), body, connections)
    }

    /// gogeta with more or less that is told of it.
    fn watched() -> Self {
        Self { watched: true, ..Self::new("12 B, watched", Load::Most(Asked::Plain), 12, 64) }
    }

    /// The path that is asked for.
    pub(crate) fn path(&self) -> String {
        match self.load {
            Load::Most(Asked::Upload(_)) => "/upload".to_owned(),
            _ => format!("/{}", self.body),
        }
    }

    /// Whether that contender can take part.
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        if self.watched {
            return kind == Kind::GogetaOff || kind.is_watched();
        }
        match kind {
            _ if kind.is_watched() => false,
            Kind::BareHyper => !matches!(self.load, Load::Echo(_)) && !self.logs,
            // It writes no lines for requests that it does not know, and without a proxy nobody does; Caddy is not
            // tried.
            Kind::HaproxyTcp | Kind::Direct | Kind::Caddy => !self.logs,
            _ => true,
        }
    }
}

/// The name of a row of plain requests.
fn title(body: usize, connections: usize) -> String {
    format!("{}, {connections} connection{}", bytes(body), if connections == 1 { "" } else { "s" })
}

/// So many bytes, for people.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KB", count >> 10),
        1_048_576..1_073_741_824 => format!("{} MB", count >> 20),
        _ => format!("{} GB", count >> 30),
    }
}

/// What is done, and how often.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: u32,
    /// How long each measurement is.
    pub(crate) seconds: f64,
}

impl Plan {
    /// All of it: about half an hour.
    pub(crate) fn whole() -> Self {
        let mut scenarios = Vec::new();
        for body in [12, 1 << 10, 16 << 10, 64 << 10] {
            scenarios.extend([16, 64].map(|connections| Scenario::most(body, connections)));
        }
        // What one client alone sees, and what a crowd does.
        scenarios
            .extend([(12, 1), (12, 512), (16 << 10, 512)].map(|(body, count)| Scenario::most(body, count)));
        scenarios.extend([Scenario::most(1 << 20, 16), Scenario::most(1 << 30, 2)]);
        let most = |title, asked, body| Scenario::new(title, Load::Most(asked), body, 64);
        scenarios.extend([
            most("1 KB of cookies", Asked::Cookies, 12),
            most("a connection for each request", Asked::Alone, 12),
            most("1,000 hosts in turn", Asked::Hosts(HOSTS), 12),
            most("POST of 1 KB", Asked::Upload(1 << 10), 12),
            most("POST of 1 MB", Asked::Upload(1 << 20), 12),
            Scenario { logs: true, ..most("12 B, access log on", Asked::Plain, 12) },
            Scenario::new("WebSocket echo of 128 B", Load::Echo(128), 12, 64),
            Scenario::new("WebSocket echo of 16 KB", Load::Echo(16 << 10), 12, 64),
            Scenario::watched(),
        ]);
        for body in [12, 16 << 10] {
            scenarios.extend([25, 50, 75].map(|share| Self::at(share, body)));
        }
        Self { scenarios, rounds: 3, seconds: 2.0 }
    }

    /// A look at what matters most: three minutes.
    pub(crate) fn quick() -> Self {
        let mut scenarios: Vec<_> = [12, 1 << 10, 16 << 10, 64 << 10]
            .map(|body| Scenario::most(body, 64))
            .into_iter()
            .chain([Scenario::new("WebSocket echo of 128 B", Load::Echo(128), 12, 64)])
            .collect();
        scenarios.extend([Self::at(50, 12), Scenario::watched()]);
        Self { scenarios, rounds: 3, seconds: 1.0 }
    }

    fn at(share: u32, body: usize) -> Scenario {
        Scenario::new(&format!("{} at {share} %", bytes(body)), Load::Share(share), body, 64)
    }

    /// Only rows whose title has this in it, if something is given; with what they rest on.
    pub(crate) fn only(mut self, part: Option<&str>) -> Self {
        if let Some(part) = part {
            let is_rate = |row: &&Scenario| matches!(row.load, Load::Share(_)) && row.title.contains(part);
            let bases: Vec<_> =
                self.scenarios.iter().filter(is_rate).map(|row| title(row.body, 64)).collect();
            self.scenarios.retain(|row| row.title.contains(part) || bases.contains(&row.title));
        }
        self
    }
}
