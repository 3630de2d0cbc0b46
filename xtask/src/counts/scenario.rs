//! What is asked of gogeta while its instructions are counted.

/// One kind of request, asked over and over.
pub(crate) struct Scenario {
    /// Its name in the record.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// What the client sends, byte for byte.
    pub(crate) request: fn() -> String,
    /// What the backend answers; `None` where gogeta has to answer by itself.
    pub(crate) answer: Option<fn() -> String>,
    /// What the response begins with.
    pub(crate) status: &'static str,
    /// Whether each request has a connection of its own.
    pub(crate) connects: bool,
    /// Whether there is an access log.
    pub(crate) logs: bool,
}

/// Where the backend's service is.
pub(crate) const HOST: &str = "a.test";

/// Each a way that requests go, or a cost that grows on its own.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "get", what: "GET, 12 bytes", ..GET },
    Scenario { name: "cookies", what: "GET as of a browser, with 1 KB of cookies", request: cookies, ..GET },
    Scenario { name: "post", what: "POST of 1 KB", request: post, ..GET },
    Scenario { name: "large", what: "GET, 16 KB", answer: Some(large), ..GET },
    Scenario { name: "logged", what: "GET, 12 bytes, with an access log", logs: true, ..GET },
    Scenario { name: "connection", what: "GET, 12 bytes, on a new connection", connects: true, ..GET },
    Scenario {
        name: "page",
        what: "GET for a host that is not known: a page of gogeta's",
        request: unknown,
        answer: None,
        status: "HTTP/1.1 404 ",
        ..GET
    },
];

const GET: Scenario = Scenario {
    name: "",
    what: "",
    request: get,
    answer: Some(small),
    status: "HTTP/1.1 200 ",
    connects: false,
    logs: false,
};

fn get() -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: counted/1\r\nAccept: */*\r\n\r\n")
}

fn unknown() -> String {
    get().replace(HOST, "b.test")
}

fn cookies() -> String {
    let cookie =
        ["session", "tracking", "consent", "basket"].map(|name| format!("{name}={}", "0a1b2c3d".repeat(32)));
    format!(
        "GET /shop/shoes?size=42 HTTP/1.1\r\nHost: {HOST}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Referer: http://{HOST}/shop\r\n\
         Connection: keep-alive\r\n\
         Cookie: {}\r\n\
         Upgrade-Insecure-Requests: 1\r\n\
         Sec-Fetch-Dest: document\r\n\
         Sec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Site: same-origin\r\n\r\n",
        cookie.join("; ")
    )
}

fn post() -> String {
    let body = "x".repeat(1024);
    format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: counted/1\r\nAccept: */*\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn small() -> String {
    answer("Hello world!")
}

fn large() -> String {
    answer(&"x".repeat(16 << 10))
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(
            names.iter().all(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()))
        );
    }
}
