//! `Via`: which proxies a request has come by (RFC 9110, 7.6.3), and whether it runs in circles.

use http::header::{HeaderMap, HeaderValue, VIA};

/// How often a request may have come by us: once is a chain of two proxies of one name, twice a circle.
const TIMES: usize = 2;

/// Whether a request has come by the proxy of that name too often.
pub fn is_a_circle(headers: &HeaderMap, name: &str) -> bool {
    times(headers, name) >= TIMES
}

fn times(headers: &HeaderMap, name: &str) -> usize {
    let lines = headers.get_all(VIA).into_iter().filter_map(|line| line.to_str().ok());
    // received-protocol RWS received-by [ RWS comment ]
    let by = |entry: &str| entry.split_whitespace().nth(1).is_some_and(|by| by.eq_ignore_ascii_case(name));
    lines.flat_map(|line| line.split(',')).filter(|entry| by(entry)).count()
}

/// What a proxy of that name adds to a request that came by HTTP/1.1.
pub fn entry(name: &str) -> Option<HeaderValue> {
    let token =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    if token { HeaderValue::from_str(&format!("1.1 {name}")).ok() } else { None }
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
        assert_eq!(entry("gogeta"), Some(HeaderValue::from_static("1.1 gogeta")));
        assert_eq!(
            entry("edge-1.example.com:80"),
            Some(HeaderValue::from_static("1.1 edge-1.example.com:80"))
        );
        assert_eq!((entry(""), entry("a b"), entry("a,b")), (None, None, None));
    }
}
