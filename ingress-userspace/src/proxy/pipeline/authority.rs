//! Which host a request is for, said once: routing, redirects and the upstream all use this one.

use crate::proxy::{
    message::{Known, RequestHead, Version},
    respond::Failure,
};

/// Makes `head.authority` the request's host with its port, if it names one, as the client wrote
/// it: the target's (absolute-form, HTTP/2), else the `Host` field's.
///
/// # Errors
/// None or several of them in HTTP/1.1 (RFC 9112, section 3.2), two that differ in HTTP/2
/// (RFC 9113, section 8.3.1), or one that is no host.
pub(super) fn settle(head: &mut RequestHead) -> Result<(), Failure> {
    let RequestHead { authority, fields, version, .. } = head;
    let mut hosts = fields.get_all(Known::Host);
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err(Failure::BadRequest);
    }
    match (authority.is_empty(), field) {
        // In HTTP/1 the target counts and the field is to be ignored.
        (false, Some(field))
            if *version == Version::Http2 && !field.eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            return Err(Failure::BadRequest);
        }
        // A target that names the host does not stand for the field.
        (false, None) if *version == Version::Http11 => return Err(Failure::BadRequest),
        (false, _) => {}
        (true, Some(field)) => {
            let text = std::str::from_utf8(field).map_err(|_no_text| Failure::BadRequest)?;
            if text.is_empty() && *version == Version::Http2 {
                return Err(Failure::BadRequest);
            }
            authority.push_str(text);
        }
        // HTTP/1.0 need not name a host.
        (true, None) if *version == Version::Http10 => {}
        (true, None) => return Err(Failure::BadRequest),
    }
    if is_authority(authority) { Ok(()) } else { Err(Failure::BadRequest) }
}

/// `host`, `host:port` or `host:`, the host being a name, an IPv4 address or an IPv6 address in
/// brackets (RFC 3986, section 3.2), or nothing. No `@`: `user@` is no part of a host, and nothing
/// but an attempt to confuse whoever compares it.
pub(super) fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, ""),
            Some((address, after)) => match after.strip_prefix(':') {
                Some(port) => (address, port),
                None => return false,
            },
            None => return false,
        },
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let in_brackets = authority.starts_with('[');
    let is_host = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte) || in_brackets && byte == b':'
    };
    host.bytes().all(is_host) && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host without its port.
pub(in crate::proxy) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(version: Version, target: &str, hosts: &[&str]) -> Result<String, Failure> {
        let mut head =
            RequestHead { version, authority: target.to_owned(), ..RequestHead::default() };
        for host in hosts {
            head.fields.push(b"host", host.as_bytes());
        }
        settle(&mut head).map(|()| head.authority)
    }

    #[test]
    fn a_request_names_one_host() {
        let v1 = Version::Http11;
        assert_eq!(authority(v1, "", &["a.example:8080"]).as_deref(), Ok("a.example:8080"));
        assert_eq!(authority(v1, "", &[]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "", &["a", "a"]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "", &["a/b"]), Err(Failure::BadRequest));
        for bad in ["a b", "a:80:80", "a:http", "[::1", "::1]", "[::1]x", "u@a", "a:123456"] {
            assert_eq!(authority(v1, "", &[bad]), Err(Failure::BadRequest), "{bad}");
        }
        for good in ["a.", "a:", "[::1]", "[::1]:8080", "[fe80::1%eth0]", "1.2.3.4:80", "A_b-c~d"] {
            assert_eq!(authority(v1, "", &[good]).as_deref(), Ok(good));
        }
        assert_eq!(authority(Version::Http10, "", &[]).as_deref(), Ok(""));
    }

    #[test]
    fn the_target_counts_before_the_field() {
        let v1 = Version::Http11;
        assert_eq!(authority(v1, "a.example", &["b.example"]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v1, "a.example", &[]), Err(Failure::BadRequest));
        assert_eq!(authority(v1, "u@a.example", &["a.example"]), Err(Failure::BadRequest));
        let v2 = Version::Http2;
        assert_eq!(authority(v2, "a.example", &[]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v2, "a.example", &["A.example"]).as_deref(), Ok("a.example"));
        assert_eq!(authority(v2, "a.example", &["b"]), Err(Failure::BadRequest));
    }

    #[test]
    fn a_port_is_not_part_of_an_address() {
        assert_eq!(without_port("a.example:80"), "a.example");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a.example"), "a.example");
    }
}
