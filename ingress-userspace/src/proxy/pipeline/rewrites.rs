//! What becomes of the redirects and cookies of an endpoint's answer: `proxy-redirect-from`,
//! `proxy-redirect-to`, `proxy-cookie-domain` and `proxy-cookie-path` (reference section 1.7).

use crate::{
    model::{RedirectRewrite, Replacement, Route},
    proxy::message::{Fields, Known},
};

/// Rewrites them as the route says. `host`: the one that the endpoint was asked for.
pub(super) fn apply(route: &Route, https: bool, host: &[u8], fields: &mut Fields) {
    let proxying = &*route.proxying;
    match &proxying.redirect {
        RedirectRewrite::Off => {}
        RedirectRewrite::Replace(Replacement { from, to }) => {
            redirects(fields, from.as_bytes(), to.as_bytes());
        }
        RedirectRewrite::Default => {
            let https = proxying.protocol.uses_tls(https);
            let scheme: &[u8] = if https { b"https://" } else { b"http://" };
            // Without a rewrite the endpoint's paths are the client's.
            let to = match &route.rewrite {
                Some(_) if !route.use_regex => route.path.trim_end_matches('/'),
                _ => "",
            };
            redirects(fields, &[scheme, host, b"/"].concat(), format!("{to}/").as_bytes());
        }
    }
    if proxying.cookie_domain.is_some() || proxying.cookie_path.is_some() {
        cookies(fields, proxying.cookie_domain.as_ref(), proxying.cookie_path.as_ref());
    }
}

fn redirects(fields: &mut Fields, from: &[u8], to: &[u8]) {
    let replaced = |url: &[u8]| url.strip_prefix(from).map(|rest| [to, rest].concat());
    if let Some(location) = fields.get(Known::Location).and_then(replaced) {
        fields.set(Known::Location, &location);
    }
    let refresh = fields.get_named(b"refresh").and_then(|value| {
        let url = value.windows(4).position(|word| word.eq_ignore_ascii_case(b"url="))? + 4;
        let (before, url) = value.split_at_checked(url)?;
        Some([before, &*replaced(url)?].concat())
    });
    if let Some(refresh) = refresh {
        fields.set_named(b"Refresh", &refresh);
    }
}

fn cookies(fields: &mut Fields, domain: Option<&Replacement>, path: Option<&Replacement>) {
    let lines: Vec<_> =
        fields.get_all(Known::SetCookie).map(|line| cookie(line, domain, path)).collect();
    fields.remove(Known::SetCookie);
    for line in lines {
        fields.push_known(Known::SetCookie, &line);
    }
}

/// One cookie with its attributes replaced; everything else stays as it was written.
fn cookie(line: &[u8], domain: Option<&Replacement>, path: Option<&Replacement>) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 32);
    for (index, part) in line.split(|byte| *byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        match replaced(part, domain, path).filter(|_| index > 0) {
            Some(part) => out.extend_from_slice(&part),
            None => out.extend_from_slice(part),
        }
    }
    out
}

fn replaced(
    part: &[u8],
    domain: Option<&Replacement>,
    path: Option<&Replacement>,
) -> Option<Vec<u8>> {
    let mark = part.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (part.get(..mark)?, part.get(mark + 1..)?.trim_ascii());
    let value = if name.trim_ascii().eq_ignore_ascii_case(b"domain") {
        let Replacement { from, to } = domain?;
        // A dot before it means nothing (RFC 6265, section 4.1.2.3), and stays, as in nginx.
        let (dot, rest) = match value.strip_prefix(b".") {
            Some(rest) => (&b"."[..], rest),
            None => (&b""[..], value),
        };
        let from = from.strip_prefix('.').unwrap_or(from);
        let same = rest.eq_ignore_ascii_case(from.as_bytes());
        same.then(|| [dot, to.as_bytes()].concat())?
    } else if name.trim_ascii().eq_ignore_ascii_case(b"path") {
        let Replacement { from, to } = path?;
        [to.as_bytes(), value.strip_prefix(from.as_bytes())?].concat()
    } else {
        return None;
    };
    Some([name, b"=", &*value].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacement(from: &str, to: &str) -> Replacement {
        Replacement { from: from.into(), to: to.into() }
    }

    #[test]
    fn redirects_that_begin_with_the_text_begin_with_the_other() {
        let mut fields = Fields::default();
        fields.push(b"Location", b"http://inner/a/b?c");
        fields.push(b"Refresh", b"5; URL=http://inner/a");
        redirects(&mut fields, b"http://inner/", b"/");
        assert_eq!(fields.get(Known::Location), Some(&b"/a/b?c"[..]));
        assert_eq!(fields.get_named(b"refresh"), Some(&b"5; URL=/a"[..]));
        redirects(&mut fields, b"http://inner/", b"/x/");
        assert_eq!(fields.get(Known::Location), Some(&b"/a/b?c"[..]));
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn attributes_of_cookies_are_replaced_and_values_are_not() {
        let domain = replacement("inner.example", "outer.example");
        let path = replacement("/two/", "/");
        for (line, expected) in [
            ("a=1; Domain=INNER.example; Path=/two/x", "a=1; Domain=outer.example; Path=/x"),
            ("a=1; domain=.inner.example", "a=1; domain=.outer.example"),
            ("path=/two/; Secure; domain=other", "path=/two/; Secure; domain=other"),
            ("a=1;Path=/three/", "a=1;Path=/three/"),
        ] {
            let out = cookie(line.as_bytes(), Some(&domain), Some(&path));
            assert_eq!(String::from_utf8(out).expect("it is text"), expected);
        }
    }
}
