//! `Via`: which proxies a request has come by (RFC 9110, 7.6.3), and whether it runs in circles.

use http::Version;
use http::header::{HeaderMap, HeaderValue, VIA};

/// How often a request may have come by us: once is a chain of two proxies of one name, twice a circle.
const TIMES: usize = 2;

/// Whether a request has come by the proxy of that name too often.
pub fn is_a_circle(headers: &HeaderMap, name: &str) -> bool {
    times(headers, name) >= TIMES
}

fn times(headers: &HeaderMap, name: &str) -> usize {
    // Bytes, not text: a comment may have any, and a proxy between may have made one line of several.
    let entries =
        headers.get_all(VIA).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    // received-protocol RWS received-by [ RWS comment ]
    let by = |entry: &[u8]| {
        let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(name.as_bytes()))
    };
    entries.filter(|entry| by(entry)).count()
}

/// What we add to `Via`: how a message came to us, and what we are called.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What we are called.
    pub name: String,
    by_1_1: HeaderValue,
    by_1_0: HeaderValue,
}

impl Entry {
    /// The entry of a proxy of that name; none where that is no name.
    pub fn new(name: &str) -> Option<Self> {
        let token = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        let value = |version| HeaderValue::from_str(&format!("{version} {name}")).ok();
        if token {
            Some(Self { name: name.to_owned(), by_1_1: value("1.1")?, by_1_0: value("1.0")? })
        } else {
            None
        }
    }

    /// Adds it to a message that came to us by `version`.
    pub fn append(&self, headers: &mut HeaderMap, version: Version) {
        let entry = if version == Version::HTTP_10 { &self.by_1_0 } else { &self.by_1_1 };
        headers.append(VIA, entry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles() {
        let rows: [(&[&'static str], bool); 7] = [
            (&[], false),
            (&["1.1 gogeta"], false),
            (&["1.1 gogeta, 1.1 gogeta"], true),
            (&["1.1 gogeta", "1.0 Gogeta (comment)"], true),
            (&["1.1 gogeta, HTTP/1.1 other", "1.1 gogeta2"], false),
            (&["gogeta gogeta"], false),
            (&[",,", "1.1"], false),
        ];
        let beside_others =
            HeaderValue::from_bytes(b"1.1 a (\xe4), 1.1 gogeta,1.1\tgogeta").expect("a value");
        assert!(is_a_circle(&HeaderMap::from_iter([(VIA, beside_others)]), "gogeta"));
        for (lines, circle) in rows {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VIA, HeaderValue::from_static(line));
            }
            assert_eq!(is_a_circle(&headers, "gogeta"), circle, "{lines:?}");
        }
    }

    #[test]
    fn entries() {
        let added = |name, version| {
            let mut headers = HeaderMap::new();
            headers.append(VIA, HeaderValue::from_static("1.1 first"));
            Entry::new(name)?.append(&mut headers, version);
            Some(headers.get_all(VIA).iter().map(|line| line.to_str().expect("text").to_owned()).collect())
        };
        let lines = |last: &str| Some(vec!["1.1 first".to_owned(), last.to_owned()]);
        assert_eq!(added("gogeta", Version::HTTP_11), lines("1.1 gogeta"));
        assert_eq!(added("gogeta", Version::HTTP_10), lines("1.0 gogeta"));
        assert_eq!(added("edge-1.example.com:80", Version::HTTP_11), lines("1.1 edge-1.example.com:80"));
        for wrong in ["", "a b", "a,b", "a(b)", "\u{e4}"] {
            assert_eq!(added(wrong, Version::HTTP_11), None, "{wrong:?}");
        }
    }
}
