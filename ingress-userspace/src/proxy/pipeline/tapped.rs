//! What is remembered of a request that somebody watches, since stages change it on its way.

use std::time::{Duration, SystemTime};

use super::{authority::without_port, origin::Origin};
use crate::{
    model::{Settings, Target},
    proxy::{
        balance::View,
        client::Client,
        counters::Subject,
        message::{Known, RequestHead, Version},
        sides::Traffic,
        taps::{Answered, LONGEST, Phases},
    },
};

/// A request as it came.
pub(super) struct Tapped {
    time: SystemTime,
    client: String,
    method: String,
    host: String,
    path: String,
    has_query: bool,
}

impl Tapped {
    /// Its client is who it is said to be where that is believed.
    pub(super) fn begin(client: &Client, head: &RequestHead, settings: &Settings) -> Box<Self> {
        let named = match head.authority.as_str() {
            "" => head.fields.get(Known::Host).unwrap_or_default(),
            own => own.as_bytes(),
        };
        let named = String::from_utf8_lossy(named);
        Box::new(Self {
            time: SystemTime::now(),
            client: Origin::of(client, &head.fields, settings).address.into_owned(),
            method: cut(head.method.as_str()),
            host: cut(without_port(&named)).to_ascii_lowercase(),
            path: cut(head.path()),
            has_query: head.query().is_some(),
        })
    }

    /// The same, answered.
    pub(super) fn end(
        self,
        client: &Client,
        view: &View,
        head: &RequestHead,
        subject: &Subject<'_>,
        status: u16,
        traffic: Traffic,
    ) -> Answered {
        let route = subject.route.filter(|route| route.ingress.kind == "Ingress");
        let main = subject.route.and_then(|route| match route.target {
            Target::Backend(id) => view.backend(id),
            _ => None,
        });
        let journal = head.journal.as_deref();
        let (endpoint, attempts) = journal.map(|own| own.last_endpoint()).unwrap_or_default();
        let request_id = head.fields.get(Known::XRequestId).unwrap_or_default();
        Answered {
            time: self.time,
            client: self.client,
            method: self.method,
            tls: client.tls,
            version: match head.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
                Version::Http2 => "HTTP/2.0",
            },
            host: self.host,
            path: self.path,
            has_query: self.has_query,
            status,
            ingress: route.map(|route| route.ingress.clone()),
            service: subject.canary.or(main).map(|own| own.key.clone()),
            endpoint,
            attempts,
            request_id: cut(&String::from_utf8_lossy(request_id)),
            phases: phases(head),
            received: u64::from(traffic.head_received) + traffic.body_received,
            sent: u64::from(traffic.head_sent) + traffic.body_sent,
        }
    }
}

fn phases(head: &RequestHead) -> Phases {
    let Some(took) = head.timing.durations() else { return Phases::default() };
    let between = |from: Option<u64>, to: Option<u64>| {
        from.zip(to).map(|(from, to)| Duration::from_micros(to.saturating_sub(from)))
    };
    Phases {
        total: Some(Duration::from_micros(took.request)),
        before: between(took.response, Some(took.request)),
        connect: took.connect.map(Duration::from_micros),
        wait: between(took.connect, took.header),
        answer: between(took.header, took.response),
    }
}

/// As much of a text as is told.
fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
