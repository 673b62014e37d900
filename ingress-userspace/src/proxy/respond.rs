//! The only place that picks a status for what goes wrong, and that writes bodies of our own. They
//! are nginx's stock pages: people compare them, and they tell nothing about us or the upstream.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};

use super::{body::ResponseBody, client::InFlight};

/// Why a request is not answered by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request is not one that can be understood the same way by all: no or several hosts, a
    /// path out of the root.
    BadRequest,
    /// CONNECT: we are no forward proxy.
    Connect,
    /// The client's certificate is not one that the host wants.
    BadCertificate,
    /// The host wants a certificate.
    NoCertificate,
    /// The connection was made for another host, and this one looks at certificates.
    Misdirected,
    /// Not for this client.
    Forbidden,
    /// No rule for the host or path.
    NoRoute,
    /// The route must not be served as it stands.
    Denied,
    /// The Service is missing or has no ready endpoint.
    NoEndpoint,
    /// The client stopped in the middle of its body.
    ClientTimeout,
    /// Refused, reset, or not HTTP.
    Upstream,
    /// Too long to connect or to answer.
    UpstreamTimeout,
    /// A rewrite made a target that is none.
    BadTarget,
}

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadTarget | Self::BadCertificate | Self::NoCertificate => {
                StatusCode::BAD_REQUEST
            }
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Denied | Self::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// As nginx does, so that a browser asks its user again for a certificate.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::BadCertificate | Self::NoCertificate)
    }

    /// What nginx says beyond the status.
    fn detail(self) -> Option<&'static str> {
        match self {
            Self::BadCertificate => Some("The SSL certificate error"),
            Self::NoCertificate => Some("No required SSL certificate was sent"),
            _ => None,
        }
    }
}

/// The answer to what went wrong.
pub(crate) fn failure(failure: Failure, in_flight: InFlight) -> Response<ResponseBody> {
    let status = failure.status();
    match failure.detail() {
        Some(sentence) => with_body(status, html_400(sentence), in_flight),
        None => page(status, in_flight),
    }
}

/// The answer to a balancer's health check: 200 and nothing else.
pub(crate) fn healthy(in_flight: InFlight) -> Response<ResponseBody> {
    Response::new(ResponseBody::own(Bytes::new(), in_flight))
}

/// An answer that sends the client elsewhere.
pub(crate) fn redirect(
    status: StatusCode,
    location: HeaderValue,
    in_flight: InFlight,
) -> Response<ResponseBody> {
    let mut response = page(status, in_flight);
    response.headers_mut().insert(LOCATION, location);
    response
}

fn page(status: StatusCode, in_flight: InFlight) -> Response<ResponseBody> {
    with_body(status, html(status), in_flight)
}

fn with_body(status: StatusCode, body: Bytes, in_flight: InFlight) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(body, in_flight));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// nginx's text of a status line.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        302 => "Moved Temporarily",
        401 => "Authorization Required",
        405 => "Not Allowed",
        408 => "Request Time-out",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => status.canonical_reason().unwrap_or(""),
    }
}

fn html(status: StatusCode) -> Bytes {
    let line = format!("{} {}", status.as_str(), reason(status));
    html_titled(&line, &line, "")
}

fn html_titled(title: &str, heading: &str, detail: &str) -> Bytes {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{heading}</h1></center>\r\n{detail}<hr><center>nginx</center>\r\n</body>\r\n\
         </html>\r\n"
    )
    .into()
}

/// nginx's page of the 400s that say more.
fn html_400(sentence: &str) -> Bytes {
    html_titled(
        &format!("400 {sentence}"),
        "400 Bad Request",
        &format!("<center>{sentence}</center>\r\n"),
    )
}

/// The whole answer, head included, to plain HTTP on the TLS port.
pub(crate) fn plain_to_tls() -> Vec<u8> {
    let body = html_400("The plain HTTP request was sent to HTTPS port");
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_nginx() {
        assert_eq!(
            html(StatusCode::SERVICE_UNAVAILABLE),
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
