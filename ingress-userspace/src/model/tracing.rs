//! Spans of requests (reference sections 1.10 and 9.1).

use std::{sync::Arc, time::Duration};

use super::Text;

/// What is done about spans, where somebody takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// `enable-opentelemetry`: of requests whose Ingress does not say otherwise.
    pub enabled: bool,
    /// `opentelemetry-trust-incoming-span`: a client's span is the parent of ours.
    pub trust: bool,
    /// `opentelemetry-operation-name`: what a request's span is called; `None`: method and path of the
    /// route.
    pub name: Option<Arc<Text>>,
    /// `opentelemetry-location-operation-name`: what the span of an attempt at an endpoint is called;
    /// `None`: the method.
    pub attempt_name: Option<Arc<Text>>,
    /// `otel-sampler` and `otel-sampler-ratio`.
    pub sampler: Sampler,
    /// `otel-sampler-parent-based`: what the client's span says precedes the sampler.
    pub parent_based: bool,
    /// `otel-propagators`: the fields that are read, the first that has something counts, and written.
    /// `None`: all are read; W3C's are written, and those of B3 in the form in which they came.
    pub propagators: Option<Box<[Propagator]>>,
    /// Who takes spans.
    pub export: Arc<Export>,
}

/// Which requests have spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None; identifiers are passed on all the same.
    AlwaysOff,
    /// Those whose trace's lowest 63 bits but one are below this: each service comes to the same
    /// decision.
    Ratio(u64),
}

impl Sampler {
    /// `TraceIdRatioBased` with a share of 0 to 1, as OpenTelemetry's SDKs do it.
    #[must_use]
    pub fn ratio(share: f64) -> Self {
        const ALL: f64 = (1_u64 << 63) as f64;
        if share >= 1.0 {
            return Self::AlwaysOn;
        }
        // A float that is out of the range of integers becomes the nearest one.
        Self::Ratio((share.max(0.0) * ALL) as u64)
    }

    /// A request of this trace has spans.
    #[must_use]
    pub fn takes(self, trace: u128) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::Ratio(below) => (trace as u64) >> 1 < below,
        }
    }
}

/// Fields that carry a span from one process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagator {
    /// `tracecontext`: W3C's `traceparent` and `tracestate`.
    TraceContext,
    /// `b3`: Zipkin's one field.
    B3,
    /// `b3multi`: Zipkin's `X-B3-*`.
    B3Multi,
}

/// Where spans go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// `otlp-protocol`.
    pub protocol: OtlpProtocol,
    /// `https`: TLS, with a certificate that the machine's authorities vouch for.
    pub tls: bool,
    /// `otlp-collector-host`: a name or an address.
    pub host: Arc<str>,
    /// `otlp-collector-port`.
    pub port: u16,
    /// The path that requests go to.
    pub path: Arc<str>,
    /// `otel-service-name`.
    pub service: Arc<str>,
    /// `otel-max-queuesize`: spans that wait; those beyond are lost.
    pub queue: usize,
    /// `otel-schedule-delay-millis`: how long a span waits for others.
    pub delay: Duration,
    /// `otel-max-export-batch-size`: spans of one request. At least one.
    pub batch: usize,
}

/// How spans are handed over (OTLP 1.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    Http,
}

/// What an Ingress says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracePolicy {
    /// `enable-opentelemetry`.
    pub enabled: Option<bool>,
    /// `opentelemetry-trust-incoming-span`.
    pub trust: Option<bool>,
    /// `opentelemetry-operation-name`.
    pub name: Option<Arc<Text>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_takes_its_share() {
        let taken = |share| {
            let sampler = Sampler::ratio(share);
            (0..1000_u128).filter(|n| sampler.takes(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).count()
        };
        assert_eq!((taken(0.0), taken(1.0), taken(7.0), taken(-1.0)), (0, 1000, 1000, 0));
        assert!((220..280).contains(&taken(0.25)), "{}", taken(0.25));
        // Only the lower half counts, and not its lowest bit, as in other implementations.
        let half = Sampler::ratio(0.5);
        assert!(half.takes(0x7FFF_FFFF_FFFF_FFFF) && half.takes(u128::MAX << 64));
        assert!(!half.takes(0x8000_0000_0000_0000));
    }
}
