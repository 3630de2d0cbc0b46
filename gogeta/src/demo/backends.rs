//! The demo's backends: small servers on loopback, on a thread of their own.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;

/// Where they listen.
pub(super) struct Ports {
    /// Two instances of one service.
    pub(super) hello: [u16; 2],
    /// One that answers too late.
    pub(super) slow: u16,
}

/// Starts them; they live as long as the process.
///
/// # Errors
///
/// Where the system gives no port or thread.
pub(super) fn start() -> io::Result<Ports> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, two, slow) = (bind()?, bind()?, bind()?);
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    let ports = Ports { hello: [port(&one)?, port(&two)?], slow: port(&slow)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("demo-backends".to_owned()).spawn(move || {
        runtime.block_on(async {
            let hello = |name| {
                Router::new()
                    .route("/events", axum::routing::get(events))
                    .fallback(move |request| greet(name, request))
            };
            let late = Router::new().fallback(async || {
                tokio::time::sleep(Duration::from_secs(60)).await;
                "at last\n"
            });
            tokio::join!(serve(one, hello("1")), serve(two, hello("2")), serve(slow, late));
        });
    })?;
    Ok(ports)
}

async fn serve(listener: TcpListener, router: Router) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    match listener {
        Ok(listener) => drop(axum::serve(listener, router).await),
        Err(error) => tracing::error!(%error, "a backend of the demo cannot listen"),
    }
}

/// Says who answers, and what it was asked.
async fn greet(name: &'static str, request: Request) -> Response {
    let field = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
    };
    let (asked, host, client) =
        (request.uri().to_string(), field("x-forwarded-host"), field("x-forwarded-for"));
    if !field("accept").contains("text/html") {
        return format!("Hello from instance {name}: {host}{asked}, for {client}\n").into_response();
    }
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    Html(format!(
        "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>Instance {name}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.6 system-ui;max-width:34rem;margin:15vh auto;padding:0 1.5rem}}</style>\
         <h1>Hello from instance {name}</h1><p>You asked for <b>{}{}</b>. Reload this page: the instances take turns.",
        escape(&host),
        escape(&asked)
    ))
    .into_response()
}

/// Ten server-sent events, two a second.
async fn events() -> Response {
    let (mut tell, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for number in 1..=10 {
            if tell.send_data(format!("data: event {number} of 10\n\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], Body::new(body))
        .into_response()
}
