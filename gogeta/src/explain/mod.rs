//! How a request would be routed now, step by step.
//!
//! A pure function: what is asked, the routes and what gogeta runs with in, and what would happen out. Each step asks
//! the function that a real request goes through (the gate, `vet`, the route table, `balance`, the header rules,
//! `tenancy`), so what is explained is what is done; `tests/explain.rs` compares the two.
//!
//! - `request`: the request that is asked about, as its bytes pass the gate
//! - `route`: which domain matches, and what it leads to
//! - `service`: whose turn it is, or the page that tells why nobody's
//! - `onward`: what is sent on, and whether the kernel may carry what follows

mod onward;
mod request;
mod route;
mod service;

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Config;
use crate::pages::Pages;
use crate::pages::negotiate;
use crate::proxy::error::ProxyError;
use crate::proxy::error_page::retry_after;
use crate::proxy::headers::{Survey, via};
use crate::proxy::{local, vet};
use crate::routes::host::HostPort;
use crate::routes::key::Key;
use crate::routes::table::RouteTable;
use crate::splice::Kinds;
use crate::store::Names;

/// The request that is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its Host, as it would be sent.
    pub host: String,
    /// Its target: a path with its query, as it would be sent. With CONNECT it is the host.
    pub path: String,
    /// Its method.
    pub method: String,
    /// Who sends it.
    pub client: IpAddr,
    /// Its other fields.
    pub headers: Vec<(String, String)>,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            host: String::new(),
            path: "/".to_owned(),
            method: "GET".to_owned(),
            client: Ipv4Addr::LOCALHOST.into(),
            headers: Vec::new(),
        }
    }
}

/// What it is answered from.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The routes.
    pub table: &'a RouteTable,
    /// What gogeta runs with.
    pub config: &'a Config,
    /// Its pages.
    pub pages: &'a Pages,
    /// How keys are named.
    pub names: &'a Names,
    /// Whether routes have been read at all.
    pub loaded: bool,
    /// The engines that are there; none where that is not known, since no running gogeta is asked.
    pub engines: Option<Kinds>,
    /// The workers' clock, in milliseconds.
    pub now: u64,
}

/// What would happen, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The revision of the routes.
    pub revision: i64,
    /// What comes of it.
    pub verdict: Verdict,
    /// How, in the order of the request's way.
    pub steps: Vec<Step>,
}

/// What comes of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Whether it is sent on.
    pub forwarded: bool,
    /// The status of gogeta's own answer; none where the answer is a backend's.
    pub status: Option<u16>,
    /// The URL that is asked for instead, where it is sent on.
    pub goes_to: Option<String>,
    /// The page that is served, if one is.
    pub page: Option<String>,
    /// All of that in a sentence.
    pub text: String,
}

/// How a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The request goes on.
    Ok,
    /// Worth knowing.
    Info,
    /// It goes on, but somebody should look at this.
    Warn,
    /// It ends here.
    Stop,
}

/// A step of a request's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What is looked at, in a word.
    pub step: String,
    /// How it ends.
    pub outcome: Outcome,
    /// What was found, in a sentence.
    pub text: String,
    /// The key in the store that says so, if one does.
    pub key: Option<String>,
}

/// Tells how a request would be routed.
pub fn explain(question: &Question, around: Circumstances<'_>) -> Explanation {
    let mut way = Way { around, steps: Vec::new() };
    let verdict = way.walk(question);
    Explanation { revision: around.table.revision(), verdict, steps: way.steps }
}

/// The way so far.
struct Way<'a> {
    around: Circumstances<'a>,
    steps: Vec<Step>,
}

impl Way<'_> {
    fn add(&mut self, outcome: Outcome, step: &str, text: impl Into<String>) {
        self.steps.push(Step { step: step.to_owned(), outcome, text: text.into(), key: None });
    }

    fn ok(&mut self, step: &str, text: impl Into<String>) {
        self.add(Outcome::Ok, step, text);
    }

    fn info(&mut self, step: &str, text: impl Into<String>) {
        self.add(Outcome::Info, step, text);
    }

    /// The same with the key that says so.
    fn by(&mut self, key: &Key, outcome: Outcome, step: &str, text: impl Into<String>) {
        let key = Some(self.around.names.of(key));
        self.steps.push(Step { step: step.to_owned(), outcome, text: text.into(), key });
    }

    /// The request's way, in the order of `proxy::service`.
    fn walk(&mut self, question: &Question) -> Verdict {
        let request = match self.request(question) {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        let host = match self.vet(&request) {
            Ok(host) => host,
            Err(error) => {
                self.add(Outcome::Stop, "host", sentence(&error));
                return self.page(&request, &error);
            }
        };
        let port = host.port.map_or_else(String::new, |port| format!(", port {port}"));
        self.ok("host", format!("{:?} is the host {}{port}", question.host, host.host));
        if let Some(name) = local::picture_name(&request) {
            return self.picture(name, request.method());
        }
        if local::insists_on_https(self.around.config.force_ssl, None, &request) {
            let why = "all requests have to come by https (--force-fw-ssl), and no X-Forwarded-Proto says so";
            return self.redirect(&host, &request, why, None);
        }
        self.route(question, &request, &host)
    }

    fn vet<'r>(&self, request: &'r Request<()>) -> Result<HostPort<'r>, ProxyError> {
        let config = self.around.config;
        let survey = Survey::of(request.headers());
        if survey.expect {
            vet::expectation(request.headers())?;
        }
        let host = if request.method() == Method::CONNECT {
            vet::tunnel_to(request, &config.connect)?
        } else {
            vet::host_of(request)?
        };
        if survey.via && via::is_a_circle(request.headers(), &config.headers.via.name) {
            return Err(ProxyError::Circle);
        }
        Ok(host)
    }

    fn picture(&mut self, name: &str, method: &Method) -> Verdict {
        let is_there = local::find_picture(self.around.pages, name, method).is_some();
        let status = if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let what = if is_there { "a picture of its pages" } else { "that its pages have no such picture" };
        self.add(Outcome::Stop, "picture", "such paths are for the pictures of gogeta's pages, on any host");
        answered(status, what)
    }

    fn redirect(
        &mut self,
        host: &HostPort<'_>,
        request: &Request<()>,
        why: &str,
        key: Option<&Key>,
    ) -> Verdict {
        match key {
            Some(key) => self.by(key, Outcome::Stop, "https", why),
            None => self.add(Outcome::Stop, "https", why),
        }
        let location = local::by_https(host, request.uri());
        answered(StatusCode::MOVED_PERMANENTLY, &format!("the way to {location}"))
    }

    /// The page that tells of an error, and the verdict that it is.
    fn page(&mut self, request: &Request<()>, error: &ProxyError) -> Verdict {
        let (page, status) = error.page(self.around.config.legacy_codes);
        let accept = request.headers().get(http::header::ACCEPT).map(http::HeaderValue::as_bytes);
        let form = match negotiate::format(accept) {
            negotiate::Format::Html => "HTML",
            negotiate::Format::Json => "problem+json",
            negotiate::Format::Text => "text",
        };
        let again = match retry_after(page) {
            0 => String::new(),
            seconds => format!(", Retry-After: {seconds}"),
        };
        let close = if error.must_close() { ", and the connection ends" } else { "" };
        let text = format!(
            "the page {:?} with {}, as {form} by its Accept{again}{close}",
            page.name(),
            status.as_u16()
        );
        self.info("page", text);
        Verdict {
            page: Some(page.name().to_owned()),
            ..answered(status, &format!("the page {:?}: {}", page.name(), error.detail()))
        }
    }
}

/// gogeta's own answer.
fn answered(status: StatusCode, what: &str) -> Verdict {
    let text = format!("gogeta itself answers {} with {what}", status.as_u16());
    Verdict { status: Some(status.as_u16()), text, ..Verdict::default() }
}

/// An error as it is told beside the others.
fn sentence(error: &ProxyError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
