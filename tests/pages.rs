//! The pages, their pictures, and what else gogeta answers itself: robots and redirects.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::client::{Reply, get, request};
use crate::support::echo::Echo;
use crate::support::gogeta::Gogeta;
use crate::support::wait::within;

const STOPPED: &str = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
    [services.web.1]\nstatus = { current = \"stopped\", expected = \"stopped\" }\n";

async fn ask(gogeta: &Gogeta, line: &str, fields: &str) -> Reply {
    request(gogeta.proxy, &format!("{line} HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n"))
        .await
}

fn uri(port: u16) -> String {
    format!("[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{port}\"\n")
}

#[tokio::test]
async fn everyone_gets_the_form_that_they_asked_for() {
    let gogeta = Gogeta::routes(STOPPED).start().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let html = "text/html; charset=utf-8";
    let json = "application/problem+json";
    let text = "text/plain; charset=utf-8";
    for (accept, kind) in [
        (None, html),
        (Some(browser), html),
        (Some("application/json"), json),
        (Some("application/json, text/plain, */*"), json),
        (Some("application/problem+json"), json),
        (Some("*/*"), text),
        (Some("text/plain"), text),
        (Some("text/html;q=0.5, application/json"), json),
    ] {
        let field = accept.map_or_else(String::new, |accept| format!("Accept: {accept}\r\n"));
        let reply = ask(&gogeta, "GET /x", &field).await;
        assert_eq!((reply.status, reply.header("content-type")), (503, Some(kind)), "{accept:?}");
        assert_eq!(reply.header("vary"), Some("Accept"));
        assert_eq!(reply.header("x-gogeta-page"), Some("stopped"));
    }
    let reply = ask(&gogeta, "GET /x", "Accept: application/json\r\n").await;
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!((problem["status"].as_u64(), problem["page"].as_str()), (Some(503), Some("stopped")));
    assert_eq!((problem["domain"].as_str(), problem["service"].as_str()), (Some("a.test"), Some("web")));
    let reply = ask(&gogeta, "GET /x", "Accept: */*\r\n").await;
    assert!(reply.text().starts_with("503 Service Unavailable\n"), "{}", reply.text());
}

#[tokio::test]
async fn what_a_client_sends_is_escaped() {
    let gogeta = Gogeta::routes(STOPPED).start().await;
    for host in ["<script>alert(1)</script>", "a\"onload=x", "a&b.test"] {
        let reply = get(gogeta.proxy, host, "/<script>alert(2)</script>").await;
        assert!(reply.status == 400 || reply.status == 404, "{host}: {}", reply.status);
        let text = reply.text();
        assert!(!text.contains("alert(") && !text.contains(host), "{host}: {text}");
    }
}

#[tokio::test]
async fn head_gives_the_head_of_the_page() {
    let gogeta = Gogeta::routes(STOPPED).start().await;
    let (get, head) = (ask(&gogeta, "GET /", "").await, ask(&gogeta, "HEAD /", "").await);
    assert_eq!((get.status, head.status), (503, 503));
    assert!(!get.body.is_empty() && head.body.is_empty());
    assert_eq!(get.header("content-length"), Some(&*get.body.len().to_string()));
    assert_eq!(get.header("content-length"), head.header("content-length"));
    assert_eq!(get.header("content-type"), head.header("content-type"));
}

#[tokio::test]
async fn pictures_are_embedded() {
    let gogeta = Gogeta::routes("").start().await;
    let page = get(gogeta.proxy, "nobody.test", "/").await.text();
    let sources: Vec<&str> = page.split('"').filter(|text| text.starts_with("/__static__/")).collect();
    assert!(sources.len() >= 2, "{page}");
    // Each on whatever host: the page is anyone's.
    for source in sources {
        let reply = get(gogeta.proxy, "nobody.test", source).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/svg+xml")), "{source}");
        assert!(reply.text().contains("<svg") && reply.header("cache-control").is_some());
        let head = format!("HEAD {source} HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n");
        let head = request(gogeta.proxy, &head).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        let post = format!(
            "POST {source} HTTP/1.1\r\nHost: x.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(request(gogeta.proxy, &post).await.status, 404);
    }
}

#[tokio::test]
async fn nobody_walks_out_of_the_pictures() {
    let builder = Gogeta::routes("");
    let file = builder.file("templates/__static__/mine.svg", "<svg>mine</svg>");
    builder.file("templates/secret.html", "secret");
    builder.file("secret.txt", "secret");
    let folder = file.parent().and_then(|folder| folder.parent()).expect("a folder").to_owned();
    let gogeta = builder.arg("--template-dir").arg(folder).start().await;
    let mine = get(gogeta.proxy, "a.test", "/__static__/mine.svg").await;
    assert_eq!((mine.status, mine.text().as_str()), (200, "<svg>mine</svg>"));
    for path in [
        "/__static__/../layout.html",
        "/__static__/../secret.html",
        "/__static__/../../secret.txt",
        "/__static__/%2e%2e/secret.html",
        "/__static__/%2e%2e%2fsecret.html",
        "/__static__/..%2fsecret.html",
        "/__static__/%252e%252e/secret.html",
        "/__static__/..\\secret.html",
        "/__static__/./../secret.html",
        "/__static__//etc/passwd",
        "/__static__/%2fetc%2fpasswd",
        "/__static__/../../../../../../etc/passwd",
        "/__static__/mine.svg/../../secret.html",
        "/__static__/mine.svg%00.html",
        "/__static__/",
        "/__static__",
    ] {
        let reply = get(gogeta.proxy, "a.test", path).await;
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        let text = reply.text();
        assert!(!text.contains("secret") && !text.contains("root:"), "{path}: {text}");
    }
}

#[tokio::test]
async fn templates_are_read_anew_when_they_are_saved() {
    let builder = Gogeta::routes(STOPPED);
    let file = builder.file("templates/stopped.html", "mine: {{ service }}");
    let picture = builder.file("templates/__static__/mine.svg", "<svg>1</svg>");
    let gogeta = builder.arg("--template-dir").arg(file.parent().expect("a folder")).start().await;
    let write = |text: &str| std::fs::write(&file, text).expect("it is written");
    let shows = async |text: &str| {
        within(Duration::from_secs(2), text, async || {
            (get(gogeta.proxy, "a.test", "/").await.text() == text).then_some(())
        })
        .await;
    };
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "mine: web");
    assert!(get(gogeta.proxy, "nobody.test", "/").await.text().contains("<html"), "the others are embedded");
    write("new: {{ domain }}");
    shows("new: a.test").await;
    // A mistake is told, and the last good one stays.
    write("{% if %}");
    gogeta.log_has("the pages stay as they were").await;
    assert!(gogeta.lines_with("the pages stay as they were")[0].contains("stopped.html"));
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "new: a.test");
    write("mended");
    shows("mended").await;
    // Pictures as well.
    std::fs::write(picture, "<svg>2</svg>").expect("it is written");
    within(Duration::from_secs(2), "the new picture", async || {
        (get(gogeta.proxy, "a.test", "/__static__/mine.svg").await.text() == "<svg>2</svg>").then_some(())
    })
    .await;
    // Without its own, the page is the embedded one.
    std::fs::remove_file(&file).expect("it is gone");
    within(Duration::from_secs(2), "the embedded page", async || {
        get(gogeta.proxy, "a.test", "/").await.text().contains("<html").then_some(())
    })
    .await;
}

#[tokio::test]
async fn legacy_codes() {
    let routes = format!(
        "{STOPPED}[domains.\"b.test\"]\ntype = \"service\"\nvalue = \"up\"\n\
         [services.up.1]\nstatus = {{ current = \"starting\", expected = \"started\" }}\n"
    );
    let gogeta = Gogeta::routes(&routes).arg("--legacy-codes").start().await;
    let reply = get(gogeta.proxy, "a.test", "/").await;
    assert_eq!((reply.status, reply.header("x-gogeta-page")), (500, Some("stopped")));
    assert_eq!(get(gogeta.proxy, "b.test", "/").await.status, 503);
    assert_eq!(get(gogeta.proxy, "nobody.test", "/").await.status, 404);
}

#[tokio::test]
async fn robots() {
    let web = Backend::named("web").await;
    let routes = format!(
        "[domains.\"own.test\"]\ntype = \"service\"\nvalue = \"own\"\n\
         [domains.\"none.test\"]\ntype = \"service\"\nvalue = \"none\"\n\
         [services.own.1]\nlocation = {{ host = \"127.0.0.1\", port = {0} }}\nconfig = {{ robots = \"User-agent: me\" }}\n\
         [services.none.1]\nlocation = {{ host = \"127.0.0.1\", port = {0} }}\n",
        web.port
    );
    let off = Gogeta::routes(&routes).start().await;
    let own = get(off.proxy, "own.test", "/robots.txt").await;
    assert_eq!((own.status, own.text().as_str()), (200, "User-agent: me"));
    assert_eq!(own.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(get(off.proxy, "none.test", "/robots.txt").await.text(), "web", "the backend's own");
    assert_eq!(get(off.proxy, "own.test", "/robots.txt.html").await.text(), "web");
    assert_eq!(get(off.proxy, "own.test", "/robots.txt?x=1").await.text(), "User-agent: me");
    let head = "HEAD /robots.txt HTTP/1.1\r\nHost: own.test\r\nConnection: close\r\n\r\n";
    let head = request(off.proxy, head).await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("14"), 0));

    let disallow = Gogeta::routes(&routes).arg("--default-robots=disallow").start().await;
    assert_eq!(get(disallow.proxy, "none.test", "/robots.txt").await.text(), "User-agent: *\nDisallow: /");
    assert_eq!(get(disallow.proxy, "own.test", "/robots.txt").await.text(), "User-agent: me");
    assert_eq!(get(disallow.proxy, "none.test", "/").await.text(), "web");
}

/// Where a request is redirected to.
async fn redirected(gogeta: &Gogeta, host: &str, target: &str, fields: &str) -> Option<String> {
    let raw = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    let reply = request(gogeta.proxy, &raw).await;
    match reply.status {
        301 => reply.header("location").map(str::to_owned),
        200 => None,
        status => panic!("{status} for {host}{target}"),
    }
}

#[tokio::test]
async fn https_is_enforced_for_all() {
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&uri(web.port)).arg("-forceFwSsl").start().await;
    let to = |text: &str| Some(text.to_owned());
    assert_eq!(redirected(&gogeta, "a.test", "/x?y=1&z", "").await, to("https://a.test/x?y=1&z"));
    assert_eq!(redirected(&gogeta, "a.test:7777", "/", "").await, to("https://a.test/"));
    assert_eq!(
        redirected(&gogeta, "a.test", "/", "X-Forwarded-Proto: http\r\n").await,
        to("https://a.test/")
    );
    assert_eq!(redirected(&gogeta, "a.test", "/", "X-Forwarded-Proto: https\r\n").await, None);
}

#[tokio::test]
async fn https_is_enforced_for_one_domain() {
    let web = Backend::named("web").await;
    let routes = format!(
        "{}config = {{ forceSsl = true }}\n[domains.\"b.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{1}\"\n\
         [domains.\"c.test\"]\ntype = \"service\"\nvalue = \"web\"\nconfig = {{ forceSsl = true }}\n\
         [services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = {1} }}\n",
        uri(web.port),
        web.port
    );
    let gogeta = Gogeta::routes(&routes).start().await;
    for host in ["a.test", "c.test"] {
        assert_eq!(redirected(&gogeta, host, "/x", "").await, Some(format!("https://{host}/x")));
        assert_eq!(redirected(&gogeta, host, "/x", "X-Forwarded-Proto: https\r\n").await, None);
    }
    assert_eq!(redirected(&gogeta, "b.test", "/x", "").await, None);
}

#[tokio::test]
async fn the_original_url_is_told_in_a_header() {
    let echo = Echo::start().await;
    let routes = format!(
        "{}[domains.\"service.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
         [services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = {} }}\n",
        uri(echo.port),
        echo.port
    );
    let gogeta = Gogeta::routes(&routes).args(["-UrlHeaderParam", "nuxeo-virtual-host"]).start().await;
    let head = get(gogeta.proxy, "service.test:81", "/x").await.text().to_lowercase();
    assert!(head.contains("nuxeo-virtual-host: http://service.test:81/\r\n"), "{head}");
    for (fields, root) in [
        ("", "http://a.test/"),
        ("X-Forwarded-Proto: https\r\n", "https://a.test/"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n", "https://a.test:8443/"),
        // The client's own is not believed.
        ("Nuxeo-Virtual-Host: http://evil.test/\r\n", "http://a.test/"),
    ] {
        let head = ask(&gogeta, "GET /x", fields).await.text().to_lowercase();
        let told: Vec<&str> =
            head.lines().filter_map(|line| line.strip_prefix("nuxeo-virtual-host: ")).collect();
        assert_eq!(told, [root], "{fields}: {head}");
    }
    // A target in absolute form names the host, whatever the field says.
    let raw = "GET http://a.test/x HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
    let head = request(gogeta.proxy, raw).await.text().to_lowercase();
    assert!(head.contains("nuxeo-virtual-host: http://a.test/\r\n") && !head.contains("evil"), "{head}");
    // Without the flag, there is no such header.
    let plain = Gogeta::routes(&uri(echo.port)).start().await;
    let head = ask(&plain, "GET /x", "").await.text().to_lowercase();
    assert!(head.contains("x-forwarded-host: a.test\r\n") && !head.contains("nuxeo"), "{head}");
}
