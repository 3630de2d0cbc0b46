//! Draining an instance: it gets no new requests from this gogeta. The store knows nothing of it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use tokio::sync::oneshot;

use super::asked::Named;
use super::fault::Fault;
use super::services::Instance;
use crate::admin::Admin;
use crate::admin::operator::Operator;
use crate::control::Order;

/// Takes an instance out: no new requests go there, and pairs that the kernel has are taken back at the end of their
/// request. It lasts until the instance is gone from the store, or gogeta ends. Tunnels go on.
#[utoipa::path(
    post,
    path = "/api/services/{name}/instances/{index}/drain",
    tag = "actions",
    security(("token" = [])),
    params(
        ("name" = String, Path, description = "The service's name"),
        ("index" = String, Path, description = "The instance's index"),
    ),
    responses(
        (status = 200, body = Instance),
        (status = 400, response = inline(Fault)),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 404, response = inline(Fault)),
    )
)]
pub(super) async fn drain(
    State(admin): State<Admin>,
    operator: Operator,
    Named(named): Named<(String, String)>,
) -> Result<Json<Instance>, Fault> {
    set(&admin, operator, named, true).await
}

/// Puts an instance back that was drained.
#[utoipa::path(
    post,
    path = "/api/services/{name}/instances/{index}/undrain",
    tag = "actions",
    security(("token" = [])),
    params(
        ("name" = String, Path, description = "The service's name"),
        ("index" = String, Path, description = "The instance's index"),
    ),
    responses(
        (status = 200, body = Instance),
        (status = 400, response = inline(Fault)),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 404, response = inline(Fault)),
    )
)]
pub(super) async fn undrain(
    State(admin): State<Admin>,
    operator: Operator,
    Named(named): Named<(String, String)>,
) -> Result<Json<Instance>, Fault> {
    set(&admin, operator, named, false).await
}

async fn set(
    admin: &Admin,
    operator: Operator,
    (name, index): (String, String),
    drained: bool,
) -> Result<Json<Instance>, Fault> {
    let (done, told) = oneshot::channel();
    let order = Order::Drain { service: name.as_str().into(), index: index.clone(), drained, done };
    // The controller is gone only where gogeta is about to be.
    let ending = || Fault::new(StatusCode::SERVICE_UNAVAILABLE, "gogeta is stopping");
    admin.orders.send(order).await.map_err(|_| ending())?;
    let nobody = || Fault::not_found(format!("there is no instance {name}/{index}"));
    if !told.await.map_err(|_| ending())? {
        return Err(nobody());
    }
    let what = if drained { "drained" } else { "drained no longer" };
    operator.did(admin, &format!("{name}/{index}"), what);
    let table = admin.shared.routes.load();
    let instances = table.service(&name).map_or(&[][..], |service| &service.instances);
    let instance = instances.iter().find(|instance| *instance.index == *index).ok_or_else(nobody)?;
    Ok(Json(Instance::of(instance)))
}
