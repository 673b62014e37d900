//! Who may look: a person who opened the page, and scripts of this machine. Not a page of somebody
//! else in the same browser, which reaches the port as well: by a name of its own that stands for
//! this address (DNS rebinding), or by requests to another site than its own.

use http::{HeaderMap, HeaderName, Request, header, uri::Uri};

use crate::admin::is_local_name;

/// What a browser says about who asks (Fetch Metadata Request Headers, section 2).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether a request is answered.
///
/// # Errors
/// Why not, for people.
pub(super) fn judge<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    if !is_local_name(headers) {
        return Err("ask for this page by an address or as localhost, not by another name");
    }
    if headers.contains_key(header::ORIGIN) && !is_own_origin(headers) {
        return Err("this page answers no script of another site");
    }
    let is_foreign = match headers.get(SITE).map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => false,
        // A link to the page that is followed.
        Some(_) => {
            let is_link = headers.get(MODE).is_some_and(|mode| mode == "navigate");
            !(is_link && request.uri().path() == "/")
        }
    };
    if is_foreign {
        return Err("this page answers no other site");
    }
    Ok(())
}

/// The only origin is what the request is for. TLS may end in front of us.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let Some(authority) = origin.as_ref().and_then(Uri::authority) else { return false };
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_answered(target: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).expect("a request")).is_ok()
    }

    #[test]
    fn only_pages_of_our_own_are_answered() {
        let host = ("host", "localhost:10244");
        let own = "http://localhost:10244";
        for (target, fields, wanted) in [
            ("/", vec![host], true),
            ("/api/v1/status", vec![host], true),
            ("/api/v1/status", vec![host, ("origin", own)], true),
            ("/api/v1/status", vec![host, ("sec-fetch-site", "same-origin")], true),
            ("/api/v1/status", vec![host, ("sec-fetch-site", "none")], true),
            (
                "/",
                vec![host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
                true,
            ),
            // Another name that stands for this address.
            ("/", vec![("host", "rebound.example:10244")], false),
            ("/", vec![], false),
            ("/", vec![host, host], false),
            // Other sites.
            ("/api/v1/status", vec![host, ("origin", "http://evil.example")], false),
            ("/api/v1/status", vec![host, ("origin", "null")], false),
            ("/api/v1/status", vec![host, ("origin", "http://localhost:8080")], false),
            ("/api/v1/status", vec![host, ("origin", own), ("origin", own)], false),
            ("/api/v1/status", vec![host, ("sec-fetch-site", "cross-site")], false),
            ("/api/v1/status", vec![host, ("sec-fetch-site", "same-site")], false),
            ("/page.js", vec![host, ("sec-fetch-site", "cross-site")], false),
            (
                "/api/v1/status",
                vec![host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
                false,
            ),
            (
                "/",
                vec![host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
                false,
            ),
        ] {
            assert_eq!(is_answered(target, &fields), wanted, "{target} {fields:?}");
        }
    }
}
