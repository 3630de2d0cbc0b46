//! Whom CONNECT may ask for.
//!
//! gogeta is a reverse proxy: a tunnel leads where the host's domain is routed, to an instance of its service or to
//! its fixed place, and nowhere else. The port only says what the client means to speak, so it has to be one that
//! is allowed, and is not connected to.

use std::fmt;
use std::str::FromStr;

use crate::routes::host::{self, HostPort};

/// `host:port`, where the host may be `*` or `*.` and a name, and the port `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    host: Name,
    /// Any, where there is none.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Any,
    /// All names that end so; it begins with a dot.
    Below(Box<str>),
    Is(Box<str>),
}

impl Allowed {
    /// Whether it allows a host and port.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let host = match &self.host {
            Name::Any => true,
            Name::Below(end) => host.len() > end.len() && host.ends_with(&**end),
            Name::Is(name) => *host == **name,
        };
        host && self.port.is_none_or(|allowed| allowed == port)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Name::Any => f.write_str("*")?,
            Name::Below(end) => write!(f, "*{end}")?,
            Name::Is(name) => f.write_str(name)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST:PORT, with * or *.NAME for hosts and * for any port");
        let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = match port {
            "*" => None,
            // By the rules of a host's port, which are stricter than those of numbers.
            port => match host::parse(&format!("a:{port}")) {
                Ok(HostPort { port: Some(port @ 1..), .. }) => Some(port),
                _ => return Err(wrong()),
            },
        };
        let host = match name {
            "*" => Name::Any,
            name => {
                let name = host::parse_pattern(name).map_err(|_| wrong())?;
                name.strip_prefix('*')
                    .map_or_else(|| Name::Is((&*name).into()), |end| Name::Below(end.into()))
            }
        };
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed() {
        let rows: [(&str, &str, u16, bool); 14] = [
            ("a.test:443", "a.test", 443, true),
            ("A.Test:443", "a.test", 443, true),
            ("a.test:443", "a.test", 80, false),
            ("a.test:443", "b.a.test", 443, false),
            ("a.test:*", "a.test", 1, true),
            ("*.a.test:443", "b.a.test", 443, true),
            ("*.a.test:443", "c.b.a.test", 443, true),
            ("*.a.test:443", "a.test", 443, false),
            ("*.a.test:443", ".a.test", 443, false),
            ("*.a.test:443", "ba.test", 443, false),
            ("*:22", "a.test", 22, true),
            ("*:22", "a.test", 23, false),
            ("*:*", "[::1]", 23, true),
            ("[::1]:23", "[::1]", 23, true),
        ];
        for (pattern, host, port, allowed) in rows {
            let pattern: Allowed = pattern.parse().expect(pattern);
            assert_eq!(pattern.allows(host, port), allowed, "{pattern:?} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in
            ["", "a.test", "a.test:", "a.test:0", "a.test:65536", "a.test:+1", ":443", "a b:1", "::1:1"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text:?}");
        }
        for text in ["a*.test:1", "*.:1", "a.*:1", "**:1", "a.test:443:443", "u@a.test:1", "http://a.test:1"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text:?}");
        }
    }
}
