//! The dashboard: one page with its own scripts and styles, embedded, that asks nobody but this gogeta.
//!
//! `app.js` begins; what it needs of the API it reads as everybody could. No part of the page is built: what is in this
//! folder is what the browser gets.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing from elsewhere, nothing inline, in nobody's frame; and no markup is made of text, by any script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
#[derive(Debug)]
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($name:literal, $kind:expr) => {
        File { name: $name, kind: $kind, bytes: include_bytes!($name) }
    };
}

const INDEX: File = file!("index.html", HTML);

/// What the page loads, below `/page/`.
const FILES: &[File] = &[
    file!("style.css", CSS),
    file!("parts.css", CSS),
    file!("app.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("changes.js", SCRIPT),
    file!("chart.js", SCRIPT),
    file!("control.js", SCRIPT),
    file!("detail.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("explain.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("lists.js", SCRIPT),
    file!("live.js", SCRIPT),
    file!("overview.js", SCRIPT),
    file!("table.js", SCRIPT),
    file!("tables.js", SCRIPT),
    File {
        name: "favicon.svg",
        kind: "image/svg+xml",
        bytes: include_bytes!("../../../../templates/__static__/favicon.svg"),
    },
];

/// The page at `/`, and what it is made of below `/page/`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| serve(&INDEX, &headers)))
        .route("/page/{name}", get(part))
}

async fn part(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => serve(file, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// RFC 9110, 13.1.2: who has these very bytes already gets none.
fn serve(file: &File, headers: &HeaderMap) -> Response {
    let tag = format!("\"{:08x}-{:x}\"", crc32fast::hash(file.bytes), file.bytes.len());
    let fields = [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|field| has(field.as_bytes(), tag.as_bytes()));
    if is_known {
        return (StatusCode::NOT_MODIFIED, fields, [(ETAG, tag)]).into_response();
    }
    (fields, [(ETAG, tag)], [(CONTENT_TYPE, file.kind)], file.bytes).into_response()
}

/// Whether a list of tags has this one, weak or strong.
fn has(list: &[u8], tag: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| {
        let one = one.trim_ascii();
        one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.bytes).expect("it is text")
    }

    #[test]
    fn everything_in_this_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/page");
        let here =
            std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("a file").file_name());
        let here: BTreeSet<String> =
            here.filter_map(|name| name.into_string().ok()).filter(|name| name != "mod.rs").collect();
        let embedded = [&INDEX].into_iter().chain(FILES).map(|file| file.name.to_owned());
        assert_eq!(embedded.filter(|name| name != "favicon.svg").collect::<BTreeSet<_>>(), here);
    }

    #[test]
    fn what_is_loaded_is_there() {
        let names: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        for file in [&INDEX].into_iter().chain(FILES) {
            for (before, after) in [("\"/page/", '"'), ("from './", '\'')] {
                for (at, _) in text(file).match_indices(before) {
                    let name = text(file)[at + before.len()..].split(after).next().unwrap_or_default();
                    assert!(names.contains(&name), "{} loads {name:?}", file.name);
                }
            }
        }
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere_or_made_of_markup() {
        for file in [&INDEX].into_iter().chain(FILES).filter(|file| file.kind != "image/svg+xml") {
            // A namespace is a name, and an example is a text.
            let text = text(file).replace("http://www.w3.org/", "").replace("http://shop.example.com", "");
            for word in [
                "://",
                "<style",
                "style=\"",
                "onclick=",
                "javascript:",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "localStorage",
                "@import",
                "url(",
            ] {
                let text = text.replace("`http://${", "").replace("http://host", "").replace(":\\/\\/", "");
                assert!(!text.contains(word), "{} has {word:?}", file.name);
            }
        }
        assert_eq!(
            text(&INDEX).matches("<script").count(),
            text(&INDEX).matches("<script type=\"module\" src=").count()
        );
    }

    #[test]
    fn a_tag_is_found_in_a_list() {
        assert!(has(b"\"a\", W/\"b\"", b"\"b\"") && has(b"*", b"\"b\""));
        assert!(!has(b"\"a\"", b"\"b\"") && !has(b"", b"\"b\""));
    }
}
