//! The exporter: takes spans out of the queue, in batches, and gives them to the collector.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::SpanCounts;
use crate::config::Traces;

/// Spans that are exported at once.
const BATCH: usize = 512;
/// How long a span waits for others to go with.
const WAIT: Duration = Duration::from_secs(1);
/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what is left may take at the end.
const END: Duration = Duration::from_secs(2);

/// What the tracer has to say.
#[derive(Debug)]
pub struct Outbox {
    pub(super) spans: mpsc::Receiver<SpanData>,
    pub(super) counts: Arc<SpanCounts>,
}

/// A running exporter.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    over: oneshot::Sender<()>,
}

impl Exporter {
    /// Exports what is left, for a moment at most.
    pub async fn finish(self) {
        let _ = self.over.send(());
        let _ = tokio::time::timeout(END, self.task).await;
    }
}

/// Exports what comes out of a queue from now on.
///
/// # Errors
///
/// Where the endpoint cannot be used.
pub fn export(traces: &Traces, outbox: Outbox) -> Result<Exporter, ExporterBuildError> {
    let mut exporter = exporter(traces)?;
    // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before what we call ourselves.
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name("gogeta");
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    exporter.set_resource(&resource.with_attribute(version).build());
    let (over, ending) = oneshot::channel();
    Ok(Exporter { task: tokio::spawn(run(exporter, outbox, ending)), over })
}

fn exporter(traces: &Traces) -> Result<SpanExporter, ExporterBuildError> {
    if traces.is_grpc {
        let builder = SpanExporter::builder().with_tonic().with_timeout(PATIENCE);
        let builder = builder.with_endpoint(traces.endpoint.as_str());
        return match traces.endpoint.starts_with("https:") {
            true => builder.with_tls_config(ClientTlsConfig::new().with_native_roots()).build(),
            false => builder.build(),
        };
    }
    SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE)
        .with_endpoint(traces.endpoint.as_str())
        .build()
}

async fn run(exporter: SpanExporter, outbox: Outbox, mut ending: oneshot::Receiver<()>) {
    let Outbox { mut spans, counts } = outbox;
    let mut is_failing = false;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let is_over = tokio::select! {
            count = spans.recv_many(&mut batch, BATCH) => count == 0,
            _ = &mut ending => true,
        };
        if !is_over && batch.len() < BATCH {
            // Others come while this one waits; at the end nobody waits.
            let more = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            tokio::select! {
                () = more => {}
                () = tokio::time::sleep(WAIT) => {}
                _ = &mut ending => {
                    finish(&exporter, batch, spans, &counts).await;
                    return;
                }
            }
        }
        if is_over {
            return finish(&exporter, batch, spans, &counts).await;
        }
        is_failing = send(&exporter, batch, &counts, is_failing).await;
    }
}

/// What is left.
async fn finish(
    exporter: &SpanExporter,
    mut batch: Vec<SpanData>,
    mut spans: mpsc::Receiver<SpanData>,
    counts: &SpanCounts,
) {
    while let Ok(span) = spans.try_recv() {
        batch.push(span);
    }
    if !batch.is_empty() {
        send(exporter, batch, counts, false).await;
    }
}

/// Exports a batch; whether that failed, which is logged when it begins.
async fn send(exporter: &SpanExporter, batch: Vec<SpanData>, counts: &SpanCounts, was_failing: bool) -> bool {
    let count = batch.len() as u64;
    match exporter.export(batch).await {
        Ok(()) => {
            counts.exported.fetch_add(count, Ordering::Relaxed);
            if was_failing {
                tracing::info!("the collector takes spans again");
            }
            false
        }
        Err(error) => {
            counts.failed.fetch_add(count, Ordering::Relaxed);
            if !was_failing {
                tracing::warn!(%error, "the collector (--otlp-endpoint) takes no spans; they are dropped and counted");
            }
            true
        }
    }
}
