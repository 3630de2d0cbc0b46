//! Times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time as people write it: `10` (seconds), `500ms`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SecondsText", into = "String")]
pub struct Seconds(pub Duration);

impl Seconds {
    /// A number of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SecondsText {
    Number(u64),
    Text(String),
}

impl TryFrom<SecondsText> for Seconds {
    type Error = String;

    fn try_from(text: SecondsText) -> Result<Self, String> {
        match text {
            SecondsText::Number(seconds) => Ok(Self::from_secs(seconds)),
            SecondsText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seconds) => Ok(Self::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text)
                .map(Self)
                .map_err(|error| format!("{error}; write a number of seconds, or 500ms, 10s, 5m, 1h")),
        }
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.to_string()
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}
