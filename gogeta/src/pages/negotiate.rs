//! Which form of a page a client gets (RFC 9110, 12.5.1, as far as three forms need it).
//!
//! HTML for whoever asks for it or for nothing; `application/problem+json` for JSON clients; plain text for
//! those that take anything, which is what curl and most libraries say.

/// The forms that every page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For browsers.
    Html,
    /// For programs: RFC 9457.
    Json,
    /// For terminals.
    Text,
}

/// The form for a client that sent this `Accept`, if it sent one.
pub fn format(accept: Option<&[u8]>) -> Format {
    let Some(accept) = accept.and_then(|accept| std::str::from_utf8(accept).ok()) else {
        return Format::Html;
    };
    let (mut html, mut json, mut text) = (0, 0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let of = match name.as_str() {
            "text/html" | "application/xhtml+xml" => &mut html,
            "application/json" | "application/problem+json" => &mut json,
            "text/plain" => &mut text,
            "text/*" => &mut html,
            _ if name.ends_with("+json") => &mut json,
            _ => continue,
        };
        *of = weight.max(*of);
    }
    match (html, json, text) {
        (0, 0, _) => Format::Text,
        _ if html >= json && html >= text => Format::Html,
        _ if json >= text => Format::Json,
        _ => Format::Text,
    }
}

/// A qvalue, in thousandths; one that is none counts as 0.
fn thousandths(text: &str) -> u32 {
    text.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).map_or(0, |q| (q * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_what() {
        let rows = [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Format::Html),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("application/json", Format::Json),
            ("application/json, text/plain, */*", Format::Json),
            ("application/vnd.api+json", Format::Json),
            ("text/html;q=0.5, application/json", Format::Json),
            ("application/json;q=0.5, text/html", Format::Html),
            ("text/plain", Format::Text),
            ("text/*", Format::Html),
            ("image/png", Format::Text),
            ("text/html;q=0, */*", Format::Text),
            ("TEXT/HTML", Format::Html),
            ("text/html;q=nonsense", Format::Text),
        ];
        for (accept, wanted) in rows {
            assert_eq!(format(Some(accept.as_bytes())), wanted, "{accept}");
        }
        assert_eq!(format(None), Format::Html);
        assert_eq!(format(Some(b"\xff")), Format::Html);
    }
}
