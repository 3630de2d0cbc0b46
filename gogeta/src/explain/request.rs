//! The request that is asked about, as its bytes pass the gate.

use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{Outcome, Question, Verdict, Way, answered};
use crate::proxy::error::ProxyError;
use crate::proxy::gate::{Gate, Refusal, Verdict as Passes};

impl Way<'_> {
    /// The request, if it passes the gate.
    pub(super) fn request(&mut self, question: &Question) -> Result<Request<()>, Verdict> {
        let fields = || {
            let host = ("Host", question.host.as_str());
            let others = question.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            std::iter::once(host).chain(others)
        };
        let is_connect = question.method == "CONNECT";
        let target = if is_connect { question.host.as_str() } else { question.path.as_str() };
        // What would end its line would be another request.
        let breaks = |text: &str| text.contains(['\r', '\n']);
        if breaks(target)
            || breaks(&question.method)
            || fields().any(|(name, value)| breaks(name) || breaks(value))
        {
            let why = "a part of it has an end of line, which ends a field or begins a request";
            self.add(Outcome::Stop, "gate", why);
            return Err(answered(http::StatusCode::BAD_REQUEST, "a page: it is no request"));
        }
        let mut bytes = format!("{} {target} HTTP/1.1\r\n", question.method).into_bytes();
        for (name, value) in fields() {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if let Passes::Refuse(_, refusal) | Passes::Break(_, refusal) =
            Gate::new(self.around.config.limits).judge(&bytes)
        {
            return Err(self.refused(refusal));
        }
        let request = build(&question.method, target, fields());
        let Some(request) = request else {
            self.add(Outcome::Stop, "gate", "the target is no URI");
            return Err(answered(http::StatusCode::BAD_REQUEST, "no page: it cannot be read"));
        };
        self.ok("gate", format!("{} {target} passes: its line, its fields and its size", question.method));
        Ok(request)
    }

    fn refused(&mut self, refusal: Refusal) -> Verdict {
        self.add(Outcome::Stop, "gate", refusal.why);
        let error = ProxyError::Refused(refusal);
        let (page, status) = error.page(false);
        self.info(
            "page",
            format!("the page {:?} with {}, as text; the connection ends", page.name(), status.as_u16()),
        );
        let page = Some(page.name().to_owned());
        Verdict { page, ..answered(status, &format!("a page: {}", error.detail())) }
    }
}

fn build<'a>(
    method: &str,
    target: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = target.parse::<Uri>().ok()?;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}
