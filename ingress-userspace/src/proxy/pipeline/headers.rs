//! What belongs to one connection does not go over the next (RFC 9110, section 7.6.1), and what an
//! upstream could read differently than we do does not go to it.

use crate::{
    model::FieldPolicy,
    proxy::message::{Field, Fields, Known, RequestHead, ResponseHead, Version, fold},
};

/// Removes what must not reach the upstream. True: the client asks to switch protocols, and the
/// upstream is asked too.
pub(super) fn clean_request(head: &mut RequestHead, policy: &FieldPolicy) -> bool {
    let upgrade = wants_upgrade(head);
    remove_listed(&mut head.fields);
    head.fields.retain(|field| match field.known {
        Some(Known::Upgrade) => upgrade,
        Some(
            Known::Connection
            | Known::ContentLength
            | Known::Expect
            | Known::Host
            | Known::Http2Settings
            | Known::KeepAlive
            // Some upstreams take it for the variable HTTP_PROXY ("httpoxy").
            | Known::Proxy
            | Known::ProxyAuthorization
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::TransferEncoding
            // What these say is only ours to say.
            | Known::XForwardedPort
            | Known::XForwardedProto
            | Known::XForwardedScheme
            | Known::XOriginalForwardedFor
            | Known::XOriginalForwardedHost
            | Known::XRealIp
            | Known::XScheme,
        ) => false,
        Some(_) => true,
        None => is_plain(&field) || may_be_odd(policy) && is_allowed(&field, policy),
    });
    if head.version == Version::Http2 {
        join_cookies(&mut head.fields);
    }
    upgrade
}

/// Removes what must not reach the client; `Upgrade` stays in a 101.
pub(super) fn clean_response(head: &mut ResponseHead) {
    remove_listed(&mut head.fields);
    let switches = head.status == 101;
    head.fields.retain(|field| match field.known {
        Some(Known::Upgrade) => switches,
        Some(
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Server
            | Known::TransferEncoding,
        ) => false,
        _ => true,
    });
}

/// Removes the fields that `Connection` names.
fn remove_listed(fields: &mut Fields) {
    let usual = |item: &[u8]| {
        [&b"close"[..], b"keep-alive", b"upgrade"].iter().any(|own| item.eq_ignore_ascii_case(own))
    };
    // The usual options name no field of their own.
    if fields.items(Known::Connection).all(usual) {
        return;
    }
    // Sorted, for a client can name thousands, and send hundreds of fields.
    let mut named: Vec<_> = fields
        .items(Known::Connection)
        .filter(|item| !usual(item) && !is_essential(item))
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    named.sort_unstable();
    let in_order = |name: &[u8], field: &[u8]| {
        name.iter().copied().cmp(field.iter().map(u8::to_ascii_lowercase))
    };
    fields.retain(|field| named.binary_search_by(|name| in_order(name, field.name)).is_err());
}

/// Removes the fields that `Connection` names now, so that it cannot name those that are set from here
/// on.
pub(super) fn settle_connection(fields: &mut Fields) {
    remove_listed(fields);
    let usual = |item: &&[u8]| {
        [&b"close"[..], b"keep-alive", b"upgrade"].iter().any(|own| item.eq_ignore_ascii_case(own))
    };
    if !fields.items(Known::Connection).all(|item| usual(&item)) {
        let kept: Vec<_> = fields.items(Known::Connection).filter(usual).collect();
        let kept = kept.join(&b", "[..]);
        fields.set(Known::Connection, &kept);
    }
}

/// Letters, digits and dashes: what upstreams of every kind read as the same name. nginx drops the
/// others too (reference section 2, step 3): CGI-like upstreams cannot tell an underscore from a
/// dash, PHP not even a dot.
pub(super) fn is_plain(field: &Field<'_>) -> bool {
    field.name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// The settings let names through that are not plain.
fn may_be_odd(policy: &FieldPolicy) -> bool {
    policy.underscores || !policy.drop_invalid
}

/// A name that is not plain may pass all the same (`enable-underscores-in-headers`,
/// `ignore-invalid-headers`), unless an upstream may take it for one that is.
fn is_allowed(field: &Field<'_>, policy: &FieldPolicy) -> bool {
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    (!policy.drop_invalid || field.name.iter().all(is_valid)) && !is_reserved(field.name)
}

/// Folded, it is a name that the proxy goes by, replaces or removes, or one of a kind that only a
/// proxy says: beside ours, `X_Real_Ip` would be as good as `X-Real-IP` to many upstreams, and
/// `Content_Length` as good as the length.
fn is_reserved(name: &[u8]) -> bool {
    const KINDS: [&[u8]; 4] = [b"x-forwarded-", b"x-original-", b"x-auth-request-", b"ssl-client-"];
    const NAMES: [&[u8]; 8] = [
        b"x-code",
        b"x-format",
        b"x-namespace",
        b"x-ingress-name",
        b"x-service-name",
        b"x-service-port",
        b"x-sent-from",
        b"true-client-ip",
    ];
    let folded: Vec<u8> = name.iter().map(fold).collect();
    Known::of(&folded).is_some()
        || NAMES.contains(&&*folded)
        || KINDS.iter().any(|kind| folded.starts_with(kind))
}

/// Fields that no client can have us remove: the request would become another one.
fn is_essential(name: &[u8]) -> bool {
    matches!(
        Known::of(name),
        Some(
            Known::ContentLength
                | Known::TransferEncoding
                | Known::Host
                | Known::Authorization
                | Known::Cookie
        )
    )
}

/// The client asks for another protocol. Not for `h2c`: what an upstream would then carry could not
/// be routed, nor cleaned, by us.
fn wants_upgrade(head: &RequestHead) -> bool {
    head.version == Version::Http11
        && head.fields.contains(Known::Upgrade)
        && head.fields.items(Known::Connection).any(|item| item.eq_ignore_ascii_case(b"upgrade"))
        && !head
            .fields
            .items(Known::Upgrade)
            .any(|item| item.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"h2c")))
}

/// HTTP/2 splits cookies for compression; HTTP/1.1 has one field (RFC 9113, section 8.2.3).
fn join_cookies(fields: &mut Fields) {
    if fields.get_all(Known::Cookie).nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = fields.get_all(Known::Cookie).collect();
    let joined = crumbs.join(&b"; "[..]);
    fields.set(Known::Cookie, &joined);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead { version, ..RequestHead::default() };
        for (name, value) in fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn names(fields: &Fields) -> Vec<String> {
        let mut names: Vec<_> =
            fields.iter().map(|field| String::from_utf8_lossy(field.name).to_lowercase()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_one_connection_do_not_reach_the_upstream() {
        let mut head = head(
            Version::Http11,
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Secret"),
                ("connection", "x-other, content-length, authorization"),
                ("x-secret", "1"),
                ("x-other", "2"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("proxy", "evil:80"),
                ("proxy-connection", "keep-alive"),
                ("x_under", "1"),
                ("x.real.ip", "1"),
                ("x~tilde", "1"),
                ("trailer", "x-real-ip"),
                ("expect", "100-continue"),
                ("content-length", "3"),
                ("authorization", "Basic eA=="),
                ("accept", "*/*"),
            ],
        );
        assert!(!clean_request(&mut head, &FieldPolicy::default()));
        // The length is written by the connection, from what the body really is.
        assert_eq!(names(&head.fields), ["accept", "authorization"]);
    }

    #[test]
    fn a_websocket_request_keeps_its_upgrade() {
        let fields = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        let mut request = head(Version::Http11, &fields);
        assert!(clean_request(&mut request, &FieldPolicy::default()));
        assert_eq!(names(&request.fields), ["upgrade"]);
        assert!(!clean_request(&mut head(Version::Http10, &fields), &FieldPolicy::default()));
    }

    #[test]
    fn an_upgrade_to_cleartext_http2_is_not_passed_on() {
        let mut head = head(
            Version::Http11,
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ],
        );
        assert!(!clean_request(&mut head, &FieldPolicy::default()));
        assert!(head.fields.is_empty());
    }

    #[test]
    fn unusual_names_pass_where_the_settings_say_so() {
        let fields = [("x_under", "1"), ("x.dot", "1")];
        let passing = |policy: FieldPolicy| {
            let mut head = head(Version::Http11, &fields);
            clean_request(&mut head, &policy);
            names(&head.fields)
        };
        let policy = FieldPolicy::default;
        assert_eq!(passing(FieldPolicy { underscores: true, ..policy() }), ["x_under"]);
        let all = ["x.dot", "x_under"];
        assert_eq!(passing(FieldPolicy { drop_invalid: false, ..policy() }), all);
    }

    #[test]
    fn no_name_passes_that_can_be_taken_for_one_of_ours() {
        let fields = [
            "X_Forwarded_For",
            "X_Forwarded-Anything",
            "x_real_ip",
            "X_Request_Id",
            "Ssl_Client_Verify",
            "ssl_client-i_dn",
            "X_Original_Url",
            "X_Auth_Request_User",
            "X_Code",
            "Content_Length",
            "Transfer_Encoding",
            "Content_Type",
            "if_none_match",
            "api_key",
            "x_forwarded",
        ]
        .map(|name| (name, "1"));
        let dotted =
            ["x.real.ip", "x-real_ip", "x.other", "ssl.client.cert"].map(|name| (name, "1"));
        let passing = |fields: &[(&str, &str)], policy: FieldPolicy| {
            let mut head = head(Version::Http11, fields);
            clean_request(&mut head, &policy);
            names(&head.fields)
        };
        let policy = FieldPolicy::default;
        let odd = FieldPolicy { underscores: true, ..policy() };
        assert_eq!(passing(&fields, odd), ["api_key", "x_forwarded"]);
        let any = || FieldPolicy { drop_invalid: false, ..policy() };
        assert_eq!(passing(&fields, any()), ["api_key", "x_forwarded"]);
        assert_eq!(passing(&dotted, any()), ["x.other"]);
    }

    #[test]
    fn cookies_of_http2_become_one() {
        let mut head = head(Version::Http2, &[("cookie", "a=1"), ("cookie", "b=2")]);
        clean_request(&mut head, &FieldPolicy::default());
        assert_eq!(head.fields.get(Known::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(head.fields.len(), 1);
    }
}
