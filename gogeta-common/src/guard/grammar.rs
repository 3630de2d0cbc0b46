//! What may pass, as lists to read: methods, paths, fields, sets of bytes. `table` makes automata
//! of them.

/// Fields that gogeta sets, strips or goes by, or that delimit a body: a request with one of them is userspace's.
/// In lower case, as all names here.
pub const REFUSED_IN_REQUESTS: [&str; 12] = [
    // A body (RFC 9112, 6), or a wish that there be one (RFC 9110, 10.1.1).
    "content-length",
    "transfer-encoding",
    "expect",
    // For one hop only (RFC 9110, 7.6.1 and 10.1.4); `Connection` has a rule of its own.
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    // Who asked, and by whom the request came.
    "forwarded",
    "via",
    "x-real-ip",
    "x-request-id",
];

/// The same for all names that begin with one of these.
pub const REFUSED_PREFIXES_IN_REQUESTS: [&str; 2] = [
    // `Proxy` itself is what CGI takes for HTTP_PROXY.
    "proxy",
    "x-forwarded",
];

/// The same for responses: chunks, and what is for one hop only. `Connection` and `Content-Length` have rules of
/// their own, and `Keep-Alive` may pass: while a pair is parked, the hop is the backend's.
pub const REFUSED_IN_RESPONSES: [&str; 4] = ["te", "trailer", "transfer-encoding", "upgrade"];

/// The same for all names that begin with this.
pub const REFUSED_PREFIXES_IN_RESPONSES: [&str; 1] = ["proxy-"];

/// The only value of `Connection` that may pass, in any letter case, and once (RFC 9112, 9.3).
pub const CONNECTION: &str = "keep-alive";

/// Where the pictures of gogeta's own pages are: no backend is asked for what is below.
pub const PICTURES: &str = "/__static__/";

/// What gogeta may answer by itself.
pub const ROBOTS: &str = "/robots.txt";

/// The only version (RFC 9112, 2.3).
pub const VERSION: &str = "HTTP/1.1";

/// Most fields that a head may have: what gogeta takes by itself, for requests and responses.
pub const FIELDS_MAX: u8 = 100;

/// Most digits of a `Content-Length`.
pub const LENGTH_DIGITS: u8 = 15;

/// Sets of bytes. None of them tells the two cases of a letter apart.
#[derive(Debug, Clone, Copy)]
pub enum Set {
    /// Of a field's name in a response: `tchar` (RFC 9110, 5.6.2).
    Token,
    /// The same in a request, without the underscore, which CGI and its heirs take for a dash.
    Name,
    /// Of a field's value (RFC 9110, 5.5), and of a reason: visible ASCII, space and tab, and no `obs-text`.
    Value,
    /// Visible ASCII.
    Visible,
    /// Of a path and a query, but for escapes: `pchar`, `/` and `?` (RFC 3986, 3.3 and 3.4).
    Target,
    /// Of an escape behind its `%` (RFC 3986, 2.1).
    Hex,
    /// Digits.
    Digit,
    /// What the status of a final response begins with (RFC 9110, 15).
    Final,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Name,
        Self::Value,
        Self::Visible,
        Self::Target,
        Self::Hex,
        Self::Digit,
        Self::Final,
    ];

    /// Whether a byte is in it.
    pub const fn has(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || is_one_of(b"!#$%&'*+-.^_`|~", byte),
            Self::Name => byte != b'_' && Self::Token.has(byte),
            Self::Value => matches!(byte, b' '..=b'~' | b'\t'),
            Self::Visible => matches!(byte, b'!'..=b'~'),
            Self::Target => byte.is_ascii_alphanumeric() || is_one_of(b"-._~!$&'()*+,;=:@/?", byte),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Digit => byte.is_ascii_digit(),
            Self::Final => matches!(byte, b'2'..=b'5'),
        }
    }
}

/// Bytes that mean something by themselves: no other byte is like them. The capitals are those of methods and the
/// version, which have a letter case.
pub const ALONE: &[u8] = b"\r\n :/?%-_.12GETHADP";

/// Whether a byte is in a list.
pub const fn is_one_of(list: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < list.len() {
        if list[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}
