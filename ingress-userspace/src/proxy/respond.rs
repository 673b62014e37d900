//! The only place that picks a status for what goes wrong, and that writes bodies of our own. They
//! are nginx's stock pages: people compare them, and they tell nothing about us or the upstream.

use std::future::poll_fn;

use super::{
    message::{BodyLength, Known, ResponseHead},
    sides::{ClientError, Downstream},
};

/// Why a request is not answered by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request is not one that can be understood the same way by all: no or several hosts, a
    /// path out of the root, a framing that can be read in two ways.
    BadRequest,
    /// The request line is too long.
    TargetTooLong,
    /// The head is too long.
    HeadTooLarge,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// A version of HTTP that the connection does not speak.
    UnknownVersion,
    /// `Expect` says something else than `100-continue`.
    Expectation,
    /// CONNECT, TRACE: we are no forward proxy, and show nobody what a request becomes.
    Method,
    /// The client's certificate is not one that the host wants.
    BadCertificate,
    /// The host wants a certificate.
    NoCertificate,
    /// The connection was made for another host, and this one looks at certificates.
    Misdirected,
    /// Not for this client.
    Forbidden,
    /// Too many clients say at once who they are.
    Busy,
    /// No rule for the host or path.
    NoRoute,
    /// The route must not be served as it stands.
    Denied,
    /// The Service is missing or has no ready endpoint.
    NoEndpoint,
    /// The client stopped in the middle of its head or body.
    ClientTimeout,
    /// The client left: nobody hears the answer.
    ClientGone,
    /// The client is to hear nothing: nginx's 444.
    Silence,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// Refused, reset, or not HTTP.
    Upstream,
    /// Too long to connect or to answer.
    UpstreamTimeout,
    /// A rewrite made a target that is none.
    BadTarget,
    /// Who is asked whether a request may pass cannot be reached, or says neither yes nor no.
    NoVerdict,
    /// Rewrites send the request in circles, or nowhere.
    RewriteLoop,
}

impl Failure {
    /// The status that says so; 499 is nginx's for a client that left.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::BadTarget
            | Self::HeadTooLarge
            | Self::BadCertificate
            | Self::NoCertificate => 400,
            Self::Forbidden => 403,
            Self::NoRoute => 404,
            Self::Method => 405,
            Self::ClientTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::Silence => 444,
            Self::ClientGone => 499,
            Self::Misdirected => 421,
            Self::NoVerdict => 500,
            Self::RewriteLoop => 500,
            Self::UnknownCoding => 501,
            Self::Upstream => 502,
            Self::Busy | Self::Denied | Self::NoEndpoint => 503,
            Self::UpstreamTimeout => 504,
            Self::UnknownVersion => 505,
        }
    }

    /// The connection ends with the answer: as nginx does, so that a browser asks its user again
    /// for a certificate.
    fn closes(self) -> bool {
        matches!(self, Self::BadCertificate | Self::NoCertificate)
    }

    fn page(self) -> String {
        match self {
            Self::HeadTooLarge => detailed(400, "Request Header Or Cookie Too Large"),
            Self::BadCertificate => detailed(400, "The SSL certificate error"),
            Self::NoCertificate => detailed(400, "No required SSL certificate was sent"),
            other => page(other.status()),
        }
    }
}

/// An answer of our own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: String,
    /// The connection ends with it.
    pub(crate) closes: bool,
    /// It is no page: a snippet's own words.
    pub(crate) is_worded: bool,
    /// What stands in its place.
    pub(crate) instead: Option<Box<Instead>>,
}

/// Another request of the same host, whose answer stands in the place of a page (`error_page`).
#[derive(Clone, Debug)]
pub(crate) struct Instead {
    /// A path with its query, or `@name`.
    pub(crate) target: String,
    /// The status that the client gets; `None`: that of the answer.
    pub(crate) status: Option<u16>,
}

/// The answer to what went wrong.
pub(crate) fn failure(failure: Failure) -> Answer {
    Answer { closes: failure.closes(), ..html(failure.status(), failure.page()) }
}

/// The answer to a balancer's health check: 200 and nothing else.
pub(crate) fn healthy() -> Answer {
    let mut answer = Answer::default();
    answer.head.status = 200;
    answer.head.body = BodyLength::Exact(0);
    answer
}

/// The answer to a browser that asks whether it may ask (reference section 1.6). Without the length
/// that ingress-nginx writes, which a 204 must not have (RFC 9110, section 8.6).
pub(crate) fn preflight() -> Answer {
    let mut answer = Answer::default();
    answer.head.status = 204;
    answer.head.fields.push_known(Known::ContentType, b"text/plain charset=UTF-8");
    answer
}

/// The answer of a status, with nginx's page for it.
pub(crate) fn status(status: u16) -> Answer {
    html(status, page(status))
}

/// An answer that sends the client elsewhere.
pub(crate) fn redirect(status: u16, location: &str) -> Answer {
    let mut answer = html(status, page(status));
    answer.head.fields.push_known(Known::Location, location.as_bytes());
    answer
}

/// nginx's own answer of a status; one that it has no page for has no body.
pub(crate) fn stock(status: u16) -> Answer {
    match status {
        301..=303 | 307 | 308 | 400..=406 | 408..=416 | 421 | 429 | 500..=505 | 507 => {
            html(status, page(status))
        }
        _ => {
            let mut answer = Answer::default();
            answer.head.status = status;
            answer.head.body = match status {
                304 => BodyLength::None,
                _ => BodyLength::Exact(0),
            };
            answer
        }
    }
}

/// The answer to a client that is to say who it is, and how (RFC 9110, section 11.6.1).
pub(crate) fn unauthorized<'c>(challenges: impl IntoIterator<Item = &'c [u8]>) -> Answer {
    let mut answer = html(401, page(401));
    for challenge in challenges {
        answer.head.fields.push_known(Known::WwwAuthenticate, challenge);
    }
    answer
}

fn html(status: u16, body: String) -> Answer {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    head.body = BodyLength::Exact(body.len() as u64);
    head.fields.push_known(Known::ContentType, b"text/html");
    Answer { head, body, ..Answer::default() }
}

/// Sends an answer of our own, to its last byte.
pub(crate) async fn send<D: Downstream>(down: &mut D, answer: &Answer) -> Result<(), ClientError> {
    if answer.closes {
        down.close();
    }
    down.start(&answer.head);
    let mut rest = answer.body.as_bytes();
    while !rest.is_empty() {
        let written = poll_fn(|cx| down.poll_write(cx, rest)).await?;
        if written == 0 {
            // HEAD: no body is sent.
            break;
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    down.finish(None);
    poll_fn(|cx| down.poll_flush(cx)).await
}

/// The words of a status line, nginx's where it has its own.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        302 => "Moved Temporarily",
        401 => "Authorization Required",
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        416 => "Requested Range Not Satisfiable",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or(""),
    }
}

/// nginx's page for a status. Of 302 it does not say what its status line says.
fn page(status: u16) -> String {
    let words = if status == 302 { "Found" } else { reason(status) };
    let line = format!("{status} {words}");
    titled(&line, &line, "")
}

/// nginx's page for a status that has several causes.
fn detailed(status: u16, sentence: &str) -> String {
    titled(
        &format!("{status} {sentence}"),
        &format!("{status} {}", reason(status)),
        &format!("<center>{sentence}</center>\r\n"),
    )
}

fn titled(title: &str, heading: &str, detail: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{heading}</h1></center>\r\n{detail}<hr><center>nginx</center>\r\n</body>\r\n\
         </html>\r\n"
    )
}

/// The whole answer, head included, to plain HTTP on the TLS port.
pub(crate) fn plain_to_tls() -> Vec<u8> {
    let body = detailed(400, "The plain HTTP request was sent to HTTPS port");
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_nginx() {
        assert_eq!(
            page(503),
            "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n\
             <body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        let plain = String::from_utf8(plain_to_tls()).expect("it is text");
        assert!(plain.contains(
            "<title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n\
             <center><h1>400 Bad Request</h1></center>\r\n\
             <center>The plain HTTP request was sent to HTTPS port</center>\r\n"
        ));
    }
}
