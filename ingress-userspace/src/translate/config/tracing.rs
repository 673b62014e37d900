//! The keys of spans (reference section 9.1): `enable-opentelemetry`, `opentelemetry-*`, `otlp-*`,
//! `otel-*`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::Uri;

use super::{Reader, list};
use crate::{
    model::{Export, OtlpProtocol, Propagator, Sampler, Text, Tracing},
    translate::{annotations::Invalid, text},
};

/// IANA's ports for OTLP.
const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;
/// Where requests of OTLP over gRPC go.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Where those over HTTP go, below the path that the operator names.
const HTTP_PATH: &str = "/v1/traces";
/// The most spans that may wait: some hundred MiB.
const MOST_WAITING: usize = 100_000;

/// The number of that kind, in the range.
fn within<T: std::str::FromStr + PartialOrd>(value: &str, least: T, most: T) -> Option<T> {
    value.parse().ok().filter(|number| (least..=most).contains(number))
}

impl Reader<'_, '_> {
    /// What is done about spans; `None`: there is nobody who takes them.
    pub(super) fn tracing(&mut self) -> Option<Arc<Tracing>> {
        let (mut enabled, mut trust, mut parent_based) = (false, true, true);
        self.boolean("enable-opentelemetry", &mut enabled);
        self.boolean("opentelemetry-trust-incoming-span", &mut trust);
        self.boolean("otel-sampler-parent-based", &mut parent_based);
        let sampler = self.sampler();
        let name = self.operation("opentelemetry-operation-name");
        let attempt_name = self.operation("opentelemetry-location-operation-name");
        let propagators = self.propagators();
        let export = self.export();
        if export.is_none() && enabled {
            self.report.error(
                "data.enable-opentelemetry".to_owned(),
                "needs otlp-collector-host, a host or URL; nothing is traced",
            );
        }
        Some(Arc::new(Tracing {
            enabled,
            trust,
            name,
            attempt_name,
            sampler,
            parent_based,
            propagators,
            export: Arc::new(export?),
        }))
    }

    fn sampler(&mut self) -> Sampler {
        let mut share = 0.01;
        self.value("otel-sampler-ratio", &mut share, |value| {
            within(value, 0.0, 1.0).ok_or(Invalid("a number, 0 to 1"))
        });
        let mut kind = "AlwaysOn";
        self.value("otel-sampler", &mut kind, |value| match value {
            "AlwaysOn" => Ok("AlwaysOn"),
            "AlwaysOff" => Ok("AlwaysOff"),
            "TraceIdRatioBased" => Ok("TraceIdRatioBased"),
            _ => Err(Invalid("`AlwaysOn`, `AlwaysOff` or `TraceIdRatioBased`")),
        });
        match kind {
            "AlwaysOff" => Sampler::AlwaysOff,
            "TraceIdRatioBased" => Sampler::ratio(share),
            _ => Sampler::AlwaysOn,
        }
    }

    fn operation(&mut self, key: &str) -> Option<Arc<Text>> {
        let value = self.get(key).filter(|value| !value.is_empty())?;
        match text::parse(value) {
            Ok(name) => Some(Arc::new(name)),
            Err(why) => {
                let message = format!("has a variable: {why}; the default applies");
                self.report.error(format!("data.{key}"), message);
                None
            }
        }
    }

    fn propagators(&mut self) -> Option<Box<[Propagator]>> {
        let mut propagators = None;
        self.value("otel-propagators", &mut propagators, |value| {
            let named = |name: &String| match name.as_str() {
                "tracecontext" => Some(Propagator::TraceContext),
                "b3" => Some(Propagator::B3),
                "b3multi" => Some(Propagator::B3Multi),
                _ => None,
            };
            let all: Option<Box<[_]>> = list(value).iter().map(named).collect();
            match all {
                Some(all) if !all.is_empty() => Ok(Some(all)),
                _ => Err(Invalid("a list of `tracecontext`, `b3` and `b3multi`")),
            }
        });
        propagators
    }

    fn export(&mut self) -> Option<Export> {
        let mut protocol = OtlpProtocol::Grpc;
        self.value("otlp-protocol", &mut protocol, |value| match value {
            "grpc" => Ok(OtlpProtocol::Grpc),
            "http/protobuf" => Ok(OtlpProtocol::Http),
            _ => Err(Invalid("`grpc` or `http/protobuf`")),
        });
        let mut port = None;
        self.value("otlp-collector-port", &mut port, |value| {
            within(value, 1, u16::MAX).map(Some).ok_or(Invalid("a port, 1 to 65535"))
        });
        let (mut queue, mut millis, mut batch) = (2048, 5000, 512);
        self.value("otel-max-queuesize", &mut queue, |value| {
            within(value, 1, MOST_WAITING).ok_or(Invalid("a number, 1 to 100000"))
        });
        self.value("otel-schedule-delay-millis", &mut millis, |value| {
            within(value, 1, 3_600_000).ok_or(Invalid("milliseconds, 1 to 3600000"))
        });
        self.value("otel-max-export-batch-size", &mut batch, |value| {
            within(value, 1, MOST_WAITING).ok_or(Invalid("a number, 1 to 100000"))
        });
        let mut service: Arc<str> = "nginx".into();
        if let Some(name) = self.get("otel-service-name").filter(|name| !name.is_empty()) {
            service = name.into();
        }
        let key = "otlp-collector-host";
        let value = self.get(key).filter(|value| !value.is_empty())?;
        let Some(collector) = Collector::parse(value) else {
            let message = "is no host, and no URL of `http` or `https`; nothing is traced";
            self.report.error(format!("data.{key}"), message);
            return None;
        };
        let usual = match protocol {
            OtlpProtocol::Grpc => GRPC_PORT,
            OtlpProtocol::Http => HTTP_PORT,
        };
        Some(Export {
            protocol,
            tls: collector.tls,
            host: collector.host.into(),
            port: port.or(collector.port).unwrap_or(usual),
            path: match protocol {
                OtlpProtocol::Grpc => GRPC_PATH.into(),
                OtlpProtocol::Http => format!("{}{HTTP_PATH}", collector.path).into(),
            },
            service,
            queue,
            delay: Duration::from_millis(millis),
            // More than may wait never come together.
            batch: batch.min(queue),
        })
    }
}

/// What `otlp-collector-host` names.
#[derive(Debug, PartialEq, Eq)]
struct Collector {
    tls: bool,
    host: String,
    port: Option<u16>,
    /// Without slash at its end.
    path: String,
}

impl Collector {
    fn parse(text: &str) -> Option<Self> {
        // An address of IPv6 needs no brackets where nothing else stands.
        if let Ok(address) = text.parse::<IpAddr>() {
            let (host, path) = (address.to_string(), String::new());
            return Some(Self { tls: false, host, port: None, path });
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // Passwords have no place in a ConfigMap.
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() {
            return None;
        }
        let port = authority.port_u16();
        if port.is_none() && authority.as_str().rsplit(']').next()?.contains(':') {
            return None;
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Some(Self { tls, host: host.to_owned(), port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(bool, String, Option<u16>, String)> {
        Collector::parse(text).map(|own| (own.tls, own.host, own.port, own.path))
    }

    #[test]
    fn a_collector_is_a_host_or_a_url() {
        let is = |text, tls, host: &str, port, path: &str| {
            assert_eq!(parsed(text), Some((tls, host.to_owned(), port, path.to_owned())), "{text}");
        };
        is("otel-collector.observability.svc", false, "otel-collector.observability.svc", None, "");
        is("192.0.2.1", false, "192.0.2.1", None, "");
        is("2001:db8::1", false, "2001:db8::1", None, "");
        is("http://[2001:db8::1]:99", false, "2001:db8::1", Some(99), "");
        is("collector:4320", false, "collector", Some(4320), "");
        is("https://a.example/otlp/", true, "a.example", None, "/otlp");
        for wrong in [
            "ftp://a",
            "https://",
            "http://u:p@a",
            "a b",
            "http://a?x",
            "a:99999",
            "http://a:b",
            ":1",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
