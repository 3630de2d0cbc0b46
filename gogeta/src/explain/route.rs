//! Which domain matches, and what it leads to.

use http::{Method, Request};

use super::{Outcome, Question, Verdict, Way, sentence};
use crate::proxy::error::ProxyError;
use crate::proxy::local;
use crate::routes::host::HostPort;
use crate::routes::key::{DomainField, Key};
use crate::routes::model::{Domain, UriTarget};
use crate::routes::table::{Resolver, Route};

impl Way<'_> {
    /// Where the table leads, and what becomes of the request there.
    pub(super) fn route(
        &mut self,
        question: &Question,
        request: &Request<()>,
        host: &HostPort<'_>,
    ) -> Verdict {
        let table = self.around.table;
        match table.resolver() {
            Resolver::Domains => {
                self.info("resolver", "IoEtcd: the store's domains say where a host goes");
                self.pending(&host.host);
            }
            Resolver::Env => {
                self.info("resolver", "Env: the first label of the host, without www., is the service")
            }
            Resolver::Fixed(_) => self.info("resolver", "Dummy: everything goes to one place"),
        }
        let (domain, service) = match table.resolve(&host.host) {
            Route::Unknown => {
                let error = if self.around.loaded { ProxyError::UnknownDomain } else { ProxyError::NoRoutes };
                let why = match (&error, table.resolver()) {
                    (ProxyError::NoRoutes, _) => sentence(&error),
                    (_, Resolver::Env) => {
                        format!("no service has the name of the first label of {}", host.host)
                    }
                    _ => format!(
                        "no domain that is complete matches {}: not exactly, not without www., and by no wildcard",
                        host.host
                    ),
                };
                self.add(Outcome::Stop, "domain", why);
                return self.page(request, &error);
            }
            Route::NoService { domain, service } => {
                self.matched(domain, &host.host);
                let error = ProxyError::NoService(service.as_str().into());
                self.by(&key(domain, DomainField::Value), Outcome::Stop, "service", sentence(&error));
                return self.page(request, &error);
            }
            Route::Service { domain, service } => (domain, service),
            Route::Uri { domain, target } => return self.uri(question, request, host, domain, target),
        };
        if let Some(domain) = domain {
            self.matched(domain, &host.host);
        } else {
            self.ok("service", format!("the host leads to the service {}", service.name));
        }
        if let Some(verdict) = self.https_of(domain, request, host) {
            return verdict;
        }
        self.service(question, request, host, domain, service)
    }

    /// To a fixed place.
    fn uri(
        &mut self,
        question: &Question,
        request: &Request<()>,
        host: &HostPort<'_>,
        domain: Option<&Domain>,
        target: &UriTarget,
    ) -> Verdict {
        if let Some(domain) = domain {
            self.matched(domain, &host.host);
        }
        if let Some(verdict) = self.https_of(domain, request, host) {
            return verdict;
        }
        let secure = if target.upstream.tls.is_some() { " by TLS, whose certificate is checked" } else { "" };
        self.ok("target", format!("{} is asked at {}{secure}", target.text, target.upstream.location));
        self.info(
            "kernel",
            "connections to a fixed place are userspace's: the kernel carries those to instances",
        );
        if *request.method() == Method::CONNECT {
            return self.tunnel(&target.upstream);
        }
        let uri = request.uri();
        // OPTIONS for the server as a whole.
        let path = if uri.path() == "*" { String::new() } else { target.join(uri.path(), uri.query()) };
        let scheme = if target.upstream.tls.is_some() { "https" } else { "http" };
        let authority = target.authority.to_str().unwrap_or_default();
        self.headers(question, request, host, Some(&target.authority));
        self.sent(format!("{scheme}://{authority}{path}"))
    }

    /// Those that match the host and would go before the one that is taken, if they were complete.
    fn pending(&mut self, host: &str) {
        let table = self.around.table;
        for domain in table.matches(host) {
            let Some((field, why)) = domain.pending() else { break };
            let text = format!("{} matches, but is pending, and passed over: {why}", domain.host);
            self.by(&key(domain, field), Outcome::Warn, "domain", text);
            self.domain_problems(domain);
        }
    }

    /// The domain that is taken.
    fn matched(&mut self, domain: &Domain, host: &str) {
        let how = match &*domain.host {
            name if name == host => "exactly".to_owned(),
            name if name.starts_with("*.") => format!("{host} as a wildcard"),
            _ => format!("{host} without its www."),
        };
        self.by(
            &key(domain, DomainField::Type),
            Outcome::Ok,
            "domain",
            format!("{} matches {how}", domain.host),
        );
        let (kind, value) = (domain.kind.as_deref().unwrap_or("-"), domain.value.as_deref().unwrap_or("-"));
        self.by(
            &key(domain, DomainField::Value),
            Outcome::Ok,
            "target",
            format!("its type is {kind}, its value {value}"),
        );
        self.domain_problems(domain);
    }

    /// What is wrong with a domain's keys; the last good values are in force.
    fn domain_problems(&mut self, domain: &Domain) {
        self.problems(|key| matches!(key, Key::Domain { host, .. } if *host == domain.host));
    }

    /// Keys with wrong values.
    pub(super) fn problems(&mut self, concerns: impl Fn(&Key) -> bool) {
        let table = self.around.table;
        for (key, problem) in table.problems().filter(|(key, _)| concerns(key)) {
            self.by(
                key,
                Outcome::Warn,
                "problem",
                format!("{problem}; the last good value counts, if there was one"),
            );
        }
    }

    /// The way to https, if the domain insists on it.
    fn https_of(
        &mut self,
        domain: Option<&Domain>,
        request: &Request<()>,
        host: &HostPort<'_>,
    ) -> Option<Verdict> {
        let domain = domain.filter(|_| local::insists_on_https(false, domain, request))?;
        let why = "the domain's requests have to come by https (forceSsl), and no X-Forwarded-Proto says so";
        Some(self.redirect(host, request, why, Some(&key(domain, DomainField::Config))))
    }
}

/// A key of a domain.
pub(super) fn key(domain: &Domain, field: DomainField) -> Key {
    Key::Domain { host: domain.host.clone(), field }
}
