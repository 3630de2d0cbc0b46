//! Where the proxy listens, as people write it.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place to listen at: an address, or a socket that somebody else has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// An address of our own: `127.0.0.1:80`.
    Address(SocketAddr),
    /// A listening socket that whoever started gogeta left open for it: `fd:3`.
    Inherited(RawFd),
    /// Every socket that systemd opened for gogeta (sd_listen_fds(3)): `systemd`.
    Systemd,
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        match text.strip_prefix("fd:").map(|number| (number, number.parse())) {
            // "-1" is a number too, and no descriptor.
            Some((_, Ok(number @ 0..))) => Ok(Self::Inherited(number)),
            Some((number, _)) => Err(format!("{number:?} is no descriptor's number; write fd:3, say")),
            None => text.parse().map(Self::Address).map_err(|error| {
                format!("{error}; write an address such as 0.0.0.0:80 or [::]:80, or fd:3, or systemd")
            }),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Inherited(number) => write!(f, "fd:{number}"),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_as_it_is_written() {
        for (text, listen) in [
            ("127.0.0.1:80", Listen::Address(([127, 0, 0, 1], 80).into())),
            ("fd:0", Listen::Inherited(0)),
            ("fd:17", Listen::Inherited(17)),
            ("systemd", Listen::Systemd),
        ] {
            assert_eq!(text.parse(), Ok(listen));
            assert_eq!(listen.to_string(), text);
        }
    }

    #[test]
    fn a_mistake_says_what_to_write() {
        for text in ["fd:", "fd:-1", "fd:x", "fd:3 ", "fd:99999999999", "fd3", "Systemd", "nowhere", ""] {
            let error = text.parse::<Listen>().expect_err(text);
            assert!(error.contains("fd:3"), "{text}: {error}");
        }
    }
}
