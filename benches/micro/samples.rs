//! Heads that are judged and changed.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The host that they are for.
pub(crate) const HOST: &str = "shop.example.com";

/// As of curl.
pub(crate) fn get() -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n")
}

/// As of a browser, with 1 KB of cookies.
pub(crate) fn browser() -> String {
    let cookies =
        ["session", "tracking", "consent", "basket"].map(|name| format!("{name}={}", "0a1b2c3d".repeat(32)));
    format!(
        "GET /shoes?size=42 HTTP/1.1\r\nHost: {HOST}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Referer: https://{HOST}/\r\n\
         Connection: keep-alive\r\n\
         Cookie: {}\r\n\
         Sec-Fetch-Dest: document\r\n\
         Sec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Site: same-origin\r\n\r\n",
        cookies.join("; ")
    )
}

/// With a body of 1 KB.
pub(crate) fn post() -> String {
    let body = "x".repeat(1024);
    format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Two lengths: refused.
pub(crate) fn smuggler() -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
}

/// What an instance answers.
pub(crate) fn response() -> String {
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 04:00:00 GMT\r\nContent-Type: text/html\r\n\
     Connection: keep-alive\r\nETag: \"5f3c-12\"\r\nContent-Length: 12\r\n\r\nHello world!"
        .to_owned()
}

/// The same in chunks.
pub(crate) fn chunked() -> String {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(4)
    )
}

/// A request's fields, as the HTTP library has them.
pub(crate) fn fields(head: &str) -> HeaderMap {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head.as_bytes()).expect("a head");
    collect(request.headers)
}

/// A response's.
pub(crate) fn response_fields(head: &str) -> HeaderMap {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(head.as_bytes()).expect("a head");
    collect(response.headers)
}

fn collect(fields: &[httparse::Header<'_>]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("a name");
    let value = |value: &[u8]| HeaderValue::from_bytes(value).expect("a value");
    fields.iter().map(|field| (name(field.name), value(field.value))).collect()
}
