//! `gogeta status`, `gogeta explain` and `gogeta top` in a terminal, over a gogeta that serves.
//!
//! With `GOGETA_TEST_CAPTURES` set what is seen is written into docs/terminal.md: `cargo xtask captures` does so.

mod captures;
mod status;
mod top;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::backend::{Backend, refusing};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);

const BINARY: &str = env!("CARGO_BIN_EXE_gogeta");

/// A gogeta with something of everything, and clients that ask it again and again.
struct Scene {
    gogeta: Gogeta,
    backends: [Backend; 2],
    asking: JoinHandle<()>,
    _refusing: tokio::net::TcpSocket,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Routes with a domain in each state; the instances are at these ports, and nobody is at the last one.
fn routes([one, two, nobody]: [u16; 3]) -> String {
    let mut toml = String::new();
    for (host, kind, value) in [
        ("www.example.com", "service", "web".to_owned()),
        ("*.shop.example.com", "service", "shop".to_owned()),
        ("docs.example.com", "uri", format!("http://127.0.0.1:{one}/docs")),
        ("night.example.com", "service", "night".to_owned()),
        ("gone.example.com", "service", "gone".to_owned()),
        ("typo.example.com", "servcie", "web".to_owned()),
    ] {
        toml += &format!("[domains.{host:?}]\ntype = {kind:?}\nvalue = {value:?}\n");
    }
    let place = |port: u16| format!("location = {{ host = \"127.0.0.1\", port = {port} }}\n");
    toml += &format!("[services.web.1]\n{}[services.web.2]\n{}", place(one), place(two));
    toml += &format!("[services.shop.1]\n{}[services.shop.2]\n{}", place(two), place(nobody));
    toml += "[services.shop.3]\nstatus = { current = \"started\", expected = \"started\" }\n";
    toml += "[services.night.1]\nstatus = { current = \"passivated\", expected = \"passivated\" }\n";
    toml
}

impl Scene {
    async fn start() -> Self {
        let backends = [Backend::named("one").await, Backend::named("two").await];
        let (socket, nobody) = refusing();
        let ports = [backends[0].port, backends[1].port, nobody];
        let gogeta = Gogeta::routes(&routes(ports)).start().await;
        gogeta.ready().await;
        let proxy = gogeta.proxy;
        let asking = tokio::spawn(async move {
            let hosts = ["www.example.com", "www.example.com", "a.shop.example.com", "docs.example.com"];
            for round in 0_u32.. {
                let wrong = round.is_multiple_of(5).then_some("gone.example.com");
                for host in hosts.into_iter().chain(wrong) {
                    ask(proxy, host).await;
                }
            }
        });
        Self { gogeta, backends, asking, _refusing: socket }
    }

    fn ports(&self) -> [u16; 2] {
        [self.backends[0].port, self.backends[1].port]
    }
}

/// A request and its answer, if there is one: gogeta may be gone at any moment.
async fn ask(proxy: SocketAddr, host: &str) {
    let Ok(stream) = TcpStream::connect(proxy).await else { return tokio::time::sleep(PAUSE).await };
    let mut client = Client::new(stream);
    if client.try_send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.is_ok() {
        let _ = client.try_reply().await;
    }
    // Others want something of the processor, too.
    tokio::time::sleep(PAUSE).await;
}
