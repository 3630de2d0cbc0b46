//! A collector of traces: it takes what OpenTelemetry's exporters send, and remembers the spans.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;

use crate::support::backend::Backend;
use crate::support::wait::until;

/// A span, as a test wants to see it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) kind: i32,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) events: Vec<String>,
    /// Whether it says that something went wrong.
    pub(super) is_error: bool,
    /// How long it took, in nanoseconds.
    pub(super) took: u64,
    /// The service's name.
    pub(super) of: String,
}

/// Kinds of spans, as the protocol counts them.
pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;

/// Where spans arrive.
pub(super) enum Collector {
    /// By HTTP.
    Http(Backend),
    /// By gRPC.
    Grpc { port: u16, requests: Requests, serving: JoinHandle<()> },
}

type Requests = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

impl Drop for Collector {
    fn drop(&mut self) {
        if let Self::Grpc { serving, .. } = self {
            serving.abort();
        }
    }
}

struct Service(Requests);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().expect("the requests").push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(super) async fn http() -> Self {
        // An empty message is no bytes.
        Self::Http(
            Backend::replying(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
            )
            .await,
        )
    }

    pub(super) async fn grpc() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Requests::default();
        let service = TraceServiceServer::new(Service(requests.clone()));
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(TcpIncoming::from(listener)).await.expect("it serves");
        });
        Self::Grpc { port, requests, serving }
    }

    /// Where it is, and how it is spoken to.
    pub(super) fn flags(&self) -> [String; 2] {
        let (port, protocol) = match self {
            Self::Http(backend) => (backend.port, "http/protobuf"),
            Self::Grpc { port, .. } => (*port, "grpc"),
        };
        [format!("--otlp-endpoint=http://127.0.0.1:{port}"), format!("--otlp-protocol={protocol}")]
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Seen> {
        let requests = match self {
            Self::Http(backend) => {
                let requests = backend.requests().into_iter();
                requests
                    .map(|request| {
                        assert_eq!(request.line(), "POST /v1/traces HTTP/1.1");
                        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
                        ExportTraceServiceRequest::decode(&*request.body).expect("protobuf")
                    })
                    .collect()
            }
            Self::Grpc { requests, .. } => requests.lock().expect("the requests").clone(),
        };
        let of_resources = requests.into_iter().flat_map(|request| request.resource_spans);
        of_resources
            .flat_map(|spans| {
                let resource = spans.resource.map(|resource| texts(&resource.attributes)).unwrap_or_default();
                let of = resource.get("service.name").cloned().unwrap_or_default();
                let all = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
                all.map(move |span| seen(&span, &of)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// So many spans, when they are there.
    pub(super) async fn has(&self, count: usize) -> Vec<Seen> {
        until(&format!("{count} spans are there"), async || {
            Some(self.spans()).filter(|spans| spans.len() >= count)
        })
        .await
    }
}

fn seen(span: &Span, of: &str) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Seen {
        name: span.name.clone(),
        kind: span.kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        attributes: texts(&span.attributes),
        events: span.events.iter().map(|event| event.name.clone()).collect(),
        is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
        took: span
            .end_time_unix_nano
            .checked_sub(span.start_time_unix_nano)
            .expect("it ends behind its beginning"),
        of: of.to_owned(),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let all: BTreeMap<_, _> =
        attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect();
    assert_eq!(all.len(), attributes.len(), "each comes once: {attributes:?}");
    all
}
