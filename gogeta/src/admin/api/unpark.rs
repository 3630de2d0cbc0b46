//! Taking connections back from the kernel.

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::Said;
use super::fault::Fault;
use crate::admin::operator::Operator;
use crate::admin::{Admin, blocking};
use crate::splice::Name;

/// Which pairs are wanted back: those of a host, those of a service, those of both; all where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// The host that requests ask for, without a port.
    pub host: Option<String>,
    /// The service that they go to.
    pub service: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unparked {
    /// Pairs that come back, at the end of their request at the latest.
    pub unparked: usize,
}

impl Wanted {
    fn is(&self, pair: &Name) -> bool {
        let host = pair.host.split_once(':').map_or(&*pair.host, |(host, _)| host);
        self.host.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
            && self.service.as_ref().is_none_or(|wanted| *wanted == pair.service)
    }

    fn name(&self) -> String {
        let parts = [self.host.as_deref(), self.service.as_deref()];
        let name: Vec<&str> = parts.into_iter().flatten().collect();
        if name.is_empty() { "all".to_owned() } else { name.join(" ") }
    }
}

/// Takes pairs of connections back from the kernel, at the end of the request that is on its way. They may be parked
/// again when their next request was answered.
#[utoipa::path(
    post,
    path = "/api/unpark",
    tag = "actions",
    security(("token" = [])),
    request_body = Wanted,
    responses(
        (status = 200, body = Unparked),
        (status = 400, response = inline(Fault)),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 413, response = inline(Fault)),
        (status = 415, response = inline(Fault)),
    )
)]
pub(super) async fn unpark(
    State(admin): State<Admin>,
    operator: Operator,
    Said(wanted): Said<Wanted>,
) -> Result<Json<Unparked>, Fault> {
    let name = wanted.name();
    let shared = admin.shared.clone();
    let unparked = blocking(move || {
        let engine = shared.splice.as_ref().map(|splice| &splice.engine);
        engine.map_or(0, |engine| engine.recall_those(|pair| wanted.is(pair)))
    });
    let unparked = unparked.await?;
    operator.did(&admin, &name, &format!("{unparked} parked pairs taken back"));
    Ok(Json(Unparked { unparked }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_chosen_by_host_and_service() {
        let pair = |host: &str, service: &str| Name {
            client: ([127, 0, 0, 1], 1).into(),
            host: host.to_owned(),
            service: service.to_owned(),
            upstream: String::new(),
            engine: "wire",
        };
        let wanted = |host: Option<&str>, service: Option<&str>| Wanted {
            host: host.map(str::to_owned),
            service: service.map(str::to_owned),
        };
        for (wanted, takes) in [
            (wanted(None, None), [true, true, true]),
            (wanted(Some("A.test"), None), [true, true, false]),
            (wanted(None, Some("web")), [true, false, true]),
            (wanted(Some("a.test"), Some("web")), [true, false, false]),
        ] {
            let pairs = [pair("a.test:7777", "web"), pair("a.test", "other"), pair("b.test", "web")];
            assert_eq!(pairs.map(|pair| wanted.is(&pair)), takes, "{wanted:?}");
        }
    }
}
