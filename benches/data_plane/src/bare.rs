//! The least that a proxy made of hyper does: no routes, no checks, no headers, no pages. What gogeta takes more than
//! this is gogeta's; what this takes more than others is hyper's.
//!
//! It has gogeta's shape: one runtime of one thread per worker, and idle upstream connections of its own in each.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

type Sender = client::SendRequest<Incoming>;

/// Upstream connections that nobody uses just now.
type Idle = Rc<RefCell<Vec<Sender>>>;

/// Serves for ever.
///
/// # Errors
/// When it cannot listen there.
pub(crate) fn serve(listen: SocketAddr, upstream: SocketAddr, workers: usize) -> Result<()> {
    let listener = std::net::TcpListener::bind(listen).with_context(|| listen.to_string())?;
    let workers: Vec<_> = (0..workers).map(|_| worker(upstream)).collect();
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        worker.send(stream).ok().context("a worker is gone")?;
    }
    Ok(())
}

/// Starts a worker, and gives what it takes connections from.
fn worker(upstream: SocketAddr) -> mpsc::UnboundedSender<std::net::TcpStream> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<std::net::TcpStream>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async move {
            let idle = Idle::default();
            while let Some(stream) = receiver.recv().await {
                let stream = TcpStream::from_std(stream).expect("registered");
                tokio::task::spawn_local(connection(stream, upstream, idle.clone()));
            }
        });
    });
    sender
}

/// Serves a client's connection, with an upstream connection that is its own meanwhile.
async fn connection(stream: TcpStream, upstream: SocketAddr, idle: Idle) {
    let mine = Rc::new(RefCell::new(None));
    let service = service_fn(|request| {
        let (idle, mine) = (idle.clone(), mine.clone());
        async move { Ok::<_, Infallible>(forward(request, upstream, &idle, &mine).await) }
    });
    // A client may go away at any time.
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    idle.borrow_mut().extend(mine.take());
}

async fn forward(
    request: Request<Incoming>,
    upstream: SocketAddr,
    idle: &RefCell<Vec<Sender>>,
    mine: &RefCell<Option<Sender>>,
) -> Response<Incoming> {
    let mut sender = loop {
        let Some(mut idle) = mine.take().or_else(|| idle.borrow_mut().pop()) else {
            break connect(upstream).await.expect("the upstream is there");
        };
        // One whose client went away in the midst of a response is closed.
        if idle.ready().await.is_ok() {
            break idle;
        }
    };
    let response = sender.send_request(request).await;
    mine.replace(Some(sender));
    response.unwrap_or_else(|error| panic!("the upstream does not answer: {error}"))
}

async fn connect(upstream: SocketAddr) -> Result<Sender> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
