//! Traces of requests, for OpenTelemetry: which were sampled, and what is told of them.
//!
//! A request whose client belongs to a trace (W3C Trace Context) is a part of that, and sampled if its client was; of
//! the others a share is. What is sampled has a span for the client's side and one for the upstream's; it goes through
//! a bounded queue to the exporter, and is dropped and counted where that is full: no request waits for a collector.

mod export;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _, SpanData,
};
use tokio::sync::mpsc;

pub use export::{Exporter, Outbox, export};
pub use span::Trace;

/// Spans that may wait to be exported.
const QUEUE: usize = 4096;

/// The field that says what trace a request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What was exported, and what was not.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
}

impl SpanCounts {
    /// Spans that the collector has taken.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that were dropped, by reason: for want of room, and since the collector did not take them.
    pub fn dropped(&self) -> [(&'static str, u64); 2] {
        [("queue_full", &self.full), ("export_failed", &self.failed)]
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }
}

/// Who decides what is traced. All workers share it; what it writes to is a queue.
#[derive(Debug)]
pub struct Tracer {
    roots: Sampler,
    queue: mpsc::Sender<SpanData>,
    counts: Arc<SpanCounts>,
}

impl Tracer {
    /// One that samples such a share of the requests that belong to no trace yet, from 0 to 1; and what it has to say.
    pub fn new(ratio: f64, counts: Arc<SpanCounts>) -> (Self, Outbox) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let outbox = Outbox { spans, counts: counts.clone() };
        (Self { roots: Sampler::TraceIdRatioBased(ratio), queue, counts }, outbox)
    }

    /// Where a request belongs, by its header: a new span of its client's trace, or of a new one.
    fn context(&self, headers: &HeaderMap) -> (SpanContext, Option<SpanContext>) {
        let ids = RandomIdGenerator::default();
        if let Some(parent) = parent(headers) {
            let (trace, flags) = (parent.trace_id(), parent.trace_flags());
            let state = parent.trace_state().clone();
            return (SpanContext::new(trace, ids.new_span_id(), flags, false, state), Some(parent));
        }
        let trace = ids.new_trace_id();
        let sampled = self.roots.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        let flags = match sampled.decision {
            SamplingDecision::RecordAndSample => TraceFlags::SAMPLED,
            _ => TraceFlags::default(),
        };
        (SpanContext::new(trace, ids.new_span_id(), flags, false, TraceState::default()), None)
    }

    /// Hands a span to the exporter, if there is room.
    fn tell(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The span that a request was made in. Two of them are none (W3C Trace Context, 3.2).
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    if parents.next().is_none() || parents.next().is_some() {
        return None;
    }
    let context = TraceContextPropagator::new().extract(&Fields(headers));
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

/// The two fields of a trace.
struct Fields<'a>(&'a HeaderMap);

impl opentelemetry::propagation::Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// A `traceparent` (W3C Trace Context, 3.2.2).
fn traceparent(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    format!("00-{trace}-{span}-{:02x}", (flags & TraceFlags::SAMPLED).to_u8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn who_belongs_to_a_trace_is_a_part_of_it() {
        let (tracer, _outbox) = Tracer::new(0.0, Arc::default());
        let rows = [(PARENT, true), ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false)];
        for (line, sampled) in rows {
            let (context, parent) = tracer.context(&headers(&[("traceparent", line)]));
            let parent = parent.expect("it has one");
            assert_eq!(parent.span_id().to_string(), "b7ad6b7169203331");
            assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_ne!(context.span_id(), parent.span_id());
            assert_eq!(context.is_sampled(), sampled, "{line}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_the_beginning_of_a_trace() {
        let (tracer, _outbox) = Tracer::new(1.0, Arc::default());
        for lines in [
            &[][..],
            &[("traceparent", "nonsense")],
            &[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")],
            &[("traceparent", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
            &[("traceparent", PARENT), ("traceparent", PARENT)],
        ] {
            let (context, parent) = tracer.context(&headers(lines));
            assert!(parent.is_none() && context.is_valid() && context.is_sampled(), "{lines:?}");
        }
    }

    #[test]
    fn a_share_of_those_without_a_trace_is_sampled() {
        let share = |ratio| {
            let (tracer, _outbox) = Tracer::new(ratio, Arc::default());
            let sampled = (0..10_000).filter(|_| tracer.context(&HeaderMap::new()).0.is_sampled());
            sampled.count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        let tenth = share(0.1);
        assert!((800..1200).contains(&tenth), "{tenth}");
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let counts = Arc::<SpanCounts>::default();
        let (tracer, outbox) = Tracer::new(1.0, counts.clone());
        let tracer = Arc::new(tracer);
        let request = http::Request::get("/").body(()).expect("a request");
        for _ in 0..QUEUE + 3 {
            let mut trace = Trace::begin(&tracer, &request, ([127, 0, 0, 1], 1).into());
            trace.end(200, 0, None);
        }
        assert_eq!(counts.dropped(), [("queue_full", 3), ("export_failed", 0)]);
        drop(outbox);
    }
}
