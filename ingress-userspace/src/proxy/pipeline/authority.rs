//! Which host a request is for, said once: routing, redirects and the upstream all use this one.

use http::{HeaderValue, header::HOST, request, uri};

use crate::proxy::respond::Failure;

/// The request's host with its port, if it names one, as the client wrote it.
#[derive(Clone, Debug)]
pub(super) struct Authority(HeaderValue);

impl Authority {
    /// The target's authority (absolute-form, HTTP/2), else the `Host` field.
    ///
    /// # Errors
    /// None or several of them in HTTP/1.1 (RFC 9112, section 3.2), two that differ in HTTP/2
    /// (RFC 9113, section 8.3.1), or one that is no host.
    pub(super) fn of(head: &request::Parts) -> Result<Self, Failure> {
        let mut fields = head.headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Failure::BadRequest);
        }
        let value = match (head.uri.authority(), field) {
            (Some(target), field) => {
                let same = field.is_none_or(|field| {
                    field.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes())
                });
                // In HTTP/1 the target counts and the field is to be ignored.
                if head.version >= http::Version::HTTP_2 && !same {
                    return Err(Failure::BadRequest);
                }
                from_target(target)?
            }
            (None, Some(field)) => field.clone(),
            // HTTP/1.0 need not name a host.
            (None, None) if head.version < http::Version::HTTP_11 => HeaderValue::from_static(""),
            (None, None) => return Err(Failure::BadRequest),
        };
        if value.as_bytes().iter().copied().all(is_host_byte) {
            Ok(Self(value))
        } else {
            Err(Failure::BadRequest)
        }
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

fn from_target(target: &uri::Authority) -> Result<HeaderValue, Failure> {
    // `user@` is no part of a host, and nothing but an attempt to confuse whoever compares it.
    HeaderValue::from_str(target.as_str()).map_err(|_not_visible| Failure::BadRequest)
}

/// What names, addresses in brackets and ports are written with (RFC 3986, section 3.2.2), less the
/// delimiters that no real host name has.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte)
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::*;

    fn authority(version: Version, target: &str, hosts: &[&str]) -> Result<String, Failure> {
        let mut builder = Request::builder().version(version).uri(target);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        let (head, ()) = builder.body(()).expect("a request").into_parts();
        Authority::of(&head).map(|authority| authority.as_str().to_owned())
    }

    #[test]
    fn a_request_names_one_host() {
        let v1 = Version::HTTP_11;
        assert_eq!(authority(v1, "/", &["a.example:8080"]).as_deref(), Ok("a.example:8080"));
        assert_eq!(authority(v1, "/", &[]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "/", &["a", "a"]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "/", &["a/b"]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "/", &["a b"]), Err(Failure::BadRequest));
        assert_eq!(authority(Version::HTTP_10, "/", &[]).as_deref(), Ok(""));
    }

    #[test]
    fn the_target_counts_before_the_field() {
        let v1 = Version::HTTP_11;
        assert_eq!(authority(v1, "http://a.example/x", &["b.example"]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v1, "http://u@a.example/x", &["a.example"]), Err(Failure::BadRequest));
        let v2 = Version::HTTP_2;
        assert_eq!(authority(v2, "http://a.example/x", &[]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v2, "http://a.example/x", &["A.example"]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v2, "http://a.example/x", &["b"]), Err(Failure::BadRequest));
    }

    #[test]
    fn a_port_is_not_part_of_an_address() {
        assert_eq!(without_port("a.example:80"), "a.example");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a.example"), "a.example");
    }
}
