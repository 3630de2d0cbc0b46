//! The pages that gogeta serves in a backend's place. The only user of the template engine.
//!
//! Every template and picture is embedded in the binary; a directory may replace any of them. A set of pages is
//! loaded whole, each page rendered once for trial, so that a broken template is found when it is saved and not
//! when a visitor needs it.

pub mod negotiate;

use std::collections::HashMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use tera::{Context, Tera};

use crate::sandbox;

use self::negotiate::Format;

/// The pages that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Page {
    /// No such domain.
    NotFound,
    /// The instance is on its way up.
    Starting,
    /// The instance was asleep and is being woken.
    Passivated,
    /// Stopped on purpose.
    Stopped,
    /// The service is broken, or what is written about it is.
    Error,
    /// The instance did not answer properly.
    BadGateway,
    /// The instance did not answer in time.
    Timeout,
    /// The request is at fault.
    BadRequest,
    /// Too many requests.
    TooMany,
    /// gogeta itself cannot, for now.
    Unavailable,
}

impl Page {
    const ALL: [Self; 10] = [
        Self::NotFound,
        Self::Starting,
        Self::Passivated,
        Self::Stopped,
        Self::Error,
        Self::BadGateway,
        Self::Timeout,
        Self::BadRequest,
        Self::TooMany,
        Self::Unavailable,
    ];

    /// The page's name: that of its template, and of the `X-Gogeta-Page` header.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "notfound",
            Self::Starting => "starting",
            Self::Passivated => "passivated",
            Self::Stopped => "stopped",
            Self::Error => "error",
            Self::BadGateway => "badgateway",
            Self::Timeout => "timeout",
            Self::BadRequest => "badrequest",
            Self::TooMany => "toomany",
            Self::Unavailable => "unavailable",
        }
    }

    fn template(self) -> String {
        format!("{}.html", self.name())
    }
}

/// What a page can tell.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Facts<'a> {
    /// The status code.
    pub status: u16,
    /// Its reason phrase.
    pub reason: &'a str,
    /// The host that was asked for.
    pub domain: &'a str,
    /// The service that it belongs to.
    pub service: &'a str,
    /// The index of the instance that the page is about.
    pub instance: &'a str,
    /// When to come again, in seconds; 0 where that says nothing.
    pub retry_after: u64,
    /// The request's id, where it has one.
    pub request_id: &'a str,
    /// What happened, in a sentence.
    pub detail: &'a str,
}

/// Why a set of pages cannot be used. Names the file, and the line where the engine knows it.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A directory that cannot be read.
    #[error("cannot read {path} (--template-dir): {}", sandbox::explained(.error))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The templates of the original gogeta.
    #[error(
        "{path} is a template of the original gogeta, in Go's template language, which gogeta cannot read. Point \
         --template-dir at Tera templates (gogeta's own are in templates/), or leave it out for the embedded pages"
    )]
    Legacy {
        /// The file found.
        path: PathBuf,
    },
    /// A template that the engine refuses.
    #[error("a template is broken: {0}")]
    Broken(String),
}

/// A picture under `/__static__/`.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub kind: &'static str,
}

/// A set of pages and pictures, ready to be rendered.
#[derive(Debug)]
pub struct Pages {
    tera: Tera,
    pictures: HashMap<String, Picture>,
}

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../templates/", $name)).as_slice())),*]
    };
}

const TEMPLATES: &[(&str, &[u8])] = &embed![
    "layout.html",
    "wake.html",
    "notfound.html",
    "starting.html",
    "passivated.html",
    "stopped.html",
    "error.html",
    "badgateway.html",
    "timeout.html",
    "badrequest.html",
    "toomany.html",
    "unavailable.html",
];

const PICTURES: &[(&str, &[u8])] = &embed![
    "__static__/badgateway.svg",
    "__static__/badrequest.svg",
    "__static__/error.svg",
    "__static__/favicon.svg",
    "__static__/notfound.svg",
    "__static__/passivated.svg",
    "__static__/starting.svg",
    "__static__/stopped.svg",
    "__static__/timeout.svg",
    "__static__/toomany.svg",
    "__static__/unavailable.svg",
];

impl Pages {
    /// The embedded pages.
    ///
    /// # Errors
    ///
    /// None: a test renders them all.
    pub fn embedded() -> Result<Self, PagesError> {
        Self::assemble(HashMap::new(), HashMap::new())
    }

    /// The embedded pages, but for those that the directory has.
    ///
    /// # Errors
    ///
    /// [`PagesError`] names the file at fault.
    pub fn load(directory: &Path) -> Result<Self, PagesError> {
        let mut templates = HashMap::new();
        for (name, path) in list(directory)? {
            if name.ends_with(".tpl") {
                return Err(PagesError::Legacy { path });
            }
            if name.ends_with(".html") {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| PagesError::Unreadable { path, error })?;
                templates.insert(name, text);
            }
        }
        let mut pictures = HashMap::new();
        let folder = directory.join("__static__");
        if folder.is_dir() {
            for (name, path) in list(&folder)? {
                let bytes = std::fs::read(&path).map_err(|error| PagesError::Unreadable { path, error })?;
                let kind = media_type(&name);
                pictures.insert(name, Picture { bytes: bytes.into(), kind });
            }
        }
        Self::assemble(templates, pictures)
    }

    fn assemble(
        own: HashMap<String, String>,
        own_pictures: HashMap<String, Picture>,
    ) -> Result<Self, PagesError> {
        let embedded = TEMPLATES
            .iter()
            .map(|(name, text)| ((*name).to_owned(), String::from_utf8_lossy(text).into_owned()));
        let mut templates: HashMap<String, String> = embedded.collect();
        templates.extend(own);
        let mut tera = Tera::default();
        tera.add_raw_templates(templates).map_err(|error| PagesError::Broken(chain(&error)))?;
        let mut pictures: HashMap<String, Picture> = PICTURES
            .iter()
            .map(|(name, bytes)| {
                let picture = Picture { bytes: Bytes::from_static(bytes), kind: media_type(name) };
                ((*name).trim_start_matches("__static__/").to_owned(), picture)
            })
            .collect();
        pictures.extend(own_pictures);
        let pages = Self { tera, pictures };
        for page in Page::ALL {
            pages.try_html(page, &Facts::sample()).map_err(|error| PagesError::Broken(chain(&error)))?;
        }
        Ok(pages)
    }

    /// Renders a page; gives the body and its media type.
    pub fn render(&self, page: Page, format: Format, facts: &Facts<'_>) -> (Bytes, &'static str) {
        match format {
            Format::Html => match self.try_html(page, facts) {
                Ok(text) => (text.into(), "text/html; charset=utf-8"),
                Err(error) => {
                    // The trial at loading did not meet these facts; say it plainly rather than not at all.
                    tracing::error!(
                        template = page.template(),
                        error = chain(&error),
                        "cannot render the page"
                    );
                    (plain(facts).into(), "text/plain; charset=utf-8")
                }
            },
            Format::Json => (problem(page, facts).into(), "application/problem+json"),
            Format::Text => (plain(facts).into(), "text/plain; charset=utf-8"),
        }
    }

    /// The picture under `/__static__/` with that name.
    pub fn picture(&self, name: &str) -> Option<&Picture> {
        self.pictures.get(name)
    }

    fn try_html(&self, page: Page, facts: &Facts<'_>) -> Result<String, tera::Error> {
        self.tera.render(&page.template(), &Context::from_serialize(facts)?)
    }
}

impl Facts<'_> {
    fn sample() -> Self {
        Facts {
            status: 503,
            reason: "Service Unavailable",
            domain: "a.test",
            service: "web",
            instance: "1",
            retry_after: 5,
            request_id: "0",
            detail: "A sentence.",
        }
    }
}

/// RFC 9457: a problem that has no type of its own.
fn problem(page: Page, facts: &Facts<'_>) -> String {
    let mut problem = serde_json::json!({
        "type": "about:blank", "title": facts.reason, "status": facts.status, "detail": facts.detail, "page": page.name(),
    });
    let optional = [
        ("domain", facts.domain),
        ("service", facts.service),
        ("serviceInstance", facts.instance),
        ("requestId", facts.request_id),
    ];
    for (name, text) in optional.into_iter().filter(|(_, text)| !text.is_empty()) {
        problem[name] = text.into();
    }
    if facts.retry_after > 0 {
        problem["retryAfter"] = facts.retry_after.into();
    }
    format!("{problem}\n")
}

fn plain(facts: &Facts<'_>) -> String {
    let mut text = format!("{} {}\n{}\n", facts.status, facts.reason, facts.detail);
    if facts.retry_after > 0 {
        text.push_str(&format!("Try again in {} s.\n", facts.retry_after));
    }
    text
}

fn list(directory: &Path) -> Result<Vec<(String, PathBuf)>, PagesError> {
    let unreadable = |error| PagesError::Unreadable { path: directory.to_owned(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && path.is_file()
            && !name.starts_with('.')
        {
            files.push((name.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// An error and what caused it, in one line.
fn chain(error: &tera::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The reason phrase that belongs to a status.
pub fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_templates_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        let names = |folder: &Path, prefix: &str| -> Vec<String> {
            list(folder)
                .expect("it is there")
                .into_iter()
                .map(|(name, _)| format!("{prefix}{name}"))
                .collect()
        };
        let sorted = |embedded: &[(&str, &[u8])]| {
            let mut names: Vec<String> = embedded.iter().map(|(name, _)| (*name).to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&folder, ""), sorted(TEMPLATES));
        assert_eq!(names(&folder.join("__static__"), "__static__/"), sorted(PICTURES));
    }

    #[test]
    fn every_page_renders_in_every_format_and_escapes() {
        let pages = Pages::embedded().expect("the embedded pages are sound");
        let facts = Facts { domain: "<script>alert(1)</script>", detail: "<b>", ..Facts::sample() };
        for page in Page::ALL {
            let (html, _) = pages.render(page, Format::Html, &facts);
            let html = String::from_utf8_lossy(&html).into_owned();
            assert!(
                html.contains("503") && !html.contains("<script>alert") && !html.contains("<b>"),
                "{page:?}"
            );
            assert!(
                !html.contains("//fonts.") && !html.contains("http://") && !html.contains("https://"),
                "{page:?}"
            );
            let (json, kind) = pages.render(page, Format::Json, &facts);
            let json: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
            assert_eq!((json["status"].as_u64(), kind), (Some(503), "application/problem+json"));
            assert!(pages.render(page, Format::Text, &facts).0.starts_with(b"503 Service Unavailable\n"));
        }
    }

    #[test]
    fn a_directory_replaces_what_it_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
        write("stopped.html", "mine: {{ service }}");
        let pages = Pages::load(directory.path()).expect("it is sound");
        let html = |page| {
            String::from_utf8_lossy(&pages.render(page, Format::Html, &Facts::sample()).0).into_owned()
        };
        assert_eq!(html(Page::Stopped), "mine: web");
        assert!(html(Page::Starting).contains("<html"));
        for (text, why) in [
            ("{% if %}", "stopped.html"),
            ("{{ nonsense }}", "nonsense"),
            ("{% extends \"nowhere\" %}", "nowhere"),
        ] {
            write("stopped.html", text);
            let error = Pages::load(directory.path()).expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("stopped.html"), "{error}");
        }
        write("body_stopped.tpl", "{{define \"body\"}}");
        let error = Pages::load(directory.path()).expect_err("Go templates").to_string();
        assert!(error.contains("original gogeta") && error.contains("body_stopped.tpl"), "{error}");
        assert!(Pages::load(Path::new("/nowhere/at/all")).is_err());
    }
}
