use aws_lc_rs::constant_time::verify_slices_are_equal;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::{Digest as _, Md5};

use crate::model::HashedName;

/// A proof that the client knows a password (RFC 7616), with MD5 and `qop=auth`: without the latter
/// it could be sent again by whoever sees it.
pub(in crate::proxy) struct Digest<'h> {
    username: &'h [u8],
    realm: &'h [u8],
    nonce: &'h [u8],
    uri: &'h [u8],
    response: [u8; 16],
    cnonce: &'h [u8],
    /// The count as it is written.
    nc: &'h [u8],
    count: u32,
}

impl<'h> Digest<'h> {
    /// Reads `Authorization`. `None`: it is not of this scheme, or not as it should be.
    pub(in crate::proxy) fn of(value: &'h [u8]) -> Option<Self> {
        let params = params(super::credentials_of(value, b"digest")?)?;
        let param = |name: &str| {
            let mut own =
                params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
            // Said twice, it could mean either.
            own.next().map(|(_, value)| *value).filter(|_| own.next().is_none())
        };
        let is = |name: &str, value: &[u8]| param(name).map(|own| own.eq_ignore_ascii_case(value));
        if is("qop", b"auth") != Some(true)
            || is("algorithm", b"MD5") == Some(false)
            || is("userhash", b"true") == Some(true)
        {
            return None;
        }
        let is_hex = |nc: &&[u8]| nc.len() == 8 && nc.iter().all(u8::is_ascii_hexdigit);
        let nc = param("nc").filter(is_hex)?;
        let count = u32::from_str_radix(std::str::from_utf8(nc).ok()?, 16).ok()?;
        let response = HEXLOWER_PERMISSIVE.decode(param("response")?).ok()?;
        Some(Self {
            username: param("username")?,
            realm: param("realm")?,
            nonce: param("nonce")?,
            uri: param("uri")?,
            response: response.try_into().ok()?,
            cnonce: param("cnonce")?,
            nc,
            count,
        })
    }

    /// `name:realm`, by which the user is known.
    pub(super) fn name(&self) -> Vec<u8> {
        [&*unescaped(self.username), b":", &*unescaped(self.realm)].concat()
    }

    /// It is about this realm and target, not about others of which somebody saw it.
    pub(super) fn is_for(&self, realm: &str, target: &str) -> bool {
        unescaped(self.realm) == realm.as_bytes() && unescaped(self.uri) == target.as_bytes()
    }

    /// It was made by somebody who knows this, for a request of this method (RFC 7616, section
    /// 3.4.1).
    pub(super) fn proves(&self, stored: &HashedName, method: &str) -> bool {
        let asked = md5(&[method.as_bytes(), self.uri]);
        let HashedName(name) = stored;
        let (name, asked) = (HEXLOWER.encode(name), HEXLOWER.encode(&asked));
        let parts = [name.as_bytes(), self.nonce, self.nc, self.cnonce, b"auth", asked.as_bytes()];
        verify_slices_are_equal(&md5(&parts), &self.response).is_ok()
    }

    pub(super) fn nonce(&self) -> &[u8] {
        self.nonce
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

/// The MD5 of these with colons between them.
fn md5(parts: &[&[u8]]) -> [u8; 16] {
    Md5::digest(parts.join(&b':')).into()
}

/// Without the backslashes of a quoted string (RFC 9110, section 5.6.4).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter().copied();
    let next = || match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    };
    std::iter::from_fn(next).collect()
}

/// `name=value` or `name="value"`, with commas between them (RFC 9110, section 11.2). Values are
/// without their quotes, and with what is escaped in them.
fn params(mut rest: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut params = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if let Some(next) = rest.strip_prefix(b",") {
            rest = next;
            continue;
        }
        if rest.is_empty() {
            return Some(params);
        }
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, value) = rest.split_at_checked(equals)?;
        let value = value.get(1..)?.trim_ascii_start();
        let (value, next) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = end_of_quoted(quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            None => {
                let is_end = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
                value.split_at_checked(value.iter().position(is_end).unwrap_or(value.len()))?
            }
        };
        let name = name.trim_ascii_end();
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"*-_".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) {
            return None;
        }
        params.push((name, value));
        rest = next.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
}

/// Where the quote is that ends it.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in any::<Vec<u8>>(),
            text in "([a-z]{1,3}|username|nc|qop|=|\"|,| |\\\\|auth|0){0,40}",
        ) {
            for rest in [&*bytes, text.as_bytes()] {
                let _any = Digest::of(rest);
                let _any = Digest::of(&[&b"Digest "[..], rest].concat());
                let whole = [EXAMPLE.as_bytes(), b", ", rest].concat();
                if let Some(own) = Digest::of(&whole) {
                    prop_assert!(own.proves(&stored(), "GET"));
                }
            }
        }
    }

    /// The example of RFC 7616, section 3.9.1.
    const EXAMPLE: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", algorithm=MD5, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"8ca523f5e9506fed4657c9700eebdbec\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    fn stored() -> HashedName {
        HashedName(md5(&[b"Mufasa", b"http-auth@example.org", b"Circle of Life"]))
    }

    fn proves(text: &str) -> Option<bool> {
        Some(Digest::of(text.as_bytes())?.proves(&stored(), "GET"))
    }

    #[test]
    fn the_example_of_the_standard_proves_its_password() {
        let digest = Digest::of(EXAMPLE.as_bytes()).expect("it is right");
        assert!(digest.proves(&stored(), "GET"));
        assert!(!digest.proves(&stored(), "POST"));
        assert!(digest.is_for("http-auth@example.org", "/dir/index.html"));
        assert!(!digest.is_for("http-auth@example.org", "/dir/"));
        assert!(!digest.is_for("elsewhere", "/dir/index.html"));
        assert_eq!(digest.name(), b"Mufasa:http-auth@example.org");
        assert_eq!(digest.count(), 1);
    }

    #[test]
    fn whatever_differs_proves_nothing() {
        for (from, to, expected) in [
            ("nc=00000001", "nc=00000002", Some(false)),
            ("8ca523", "8ca524", Some(false)),
            ("/dir/", "/etc/", Some(false)),
            ("f2/w", "f3/w", Some(false)),
            ("7ypf", "8ypf", Some(false)),
            ("qop=auth", "qop=\"auth\"", Some(true)),
            ("algorithm=MD5, ", "", Some(true)),
            ("algorithm=MD5", "algorithm=SHA-256", None),
            ("qop=auth, ", "", None),
            ("qop=auth", "qop=auth-int", None),
            ("nc=00000001", "nc=1", None),
            ("nc=00000001", "nc=+0000001", None),
            ("nc=00000001", "nc=00000001, nc=00000001", None),
            ("username=\"Mufasa\", ", "", None),
            ("username=\"Mufasa\"", "username=\"Mufasa", None),
            ("cnonce=", "cnonce", None),
            ("Digest ", "Basic ", None),
            (", qop", " qop", None),
            ("8ca523f5e9506fed4657c9700eebdbec", "8ca5", None),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            assert_eq!(proves(&EXAMPLE.replace(from, to)), expected, "{from}: {to}");
        }
    }

    #[test]
    fn what_is_escaped_is_read() {
        let text = EXAMPLE.replace("Mufasa", "Mu\\\"fa\\\\sa, x=1");
        let digest = Digest::of(text.as_bytes()).expect("it is right");
        assert_eq!(digest.name(), b"Mu\"fa\\sa, x=1:http-auth@example.org");
    }
}
