//! Answers that send the client elsewhere (reference sections 1.2 and 4.4).

use super::{Ask, Group, compare, ingress, pass};

const HOST: &str = "go.test";

#[test]
fn redirects() {
    let a = pass("a");
    compare(&Group {
        name: "redirects",
        manifests: ingress(
            "permanent",
            HOST,
            &[("permanent-redirect", "https://new.test/here?x=1")],
            &["Prefix /permanent a"],
        ) + &ingress(
            "code",
            HOST,
            &[("permanent-redirect", "https://new.test"), ("permanent-redirect-code", "308")],
            &["Prefix /code a"],
        ) + &ingress(
            "temporal",
            HOST,
            &[
                ("temporal-redirect", "https://new.test/t"),
                ("permanent-redirect", "https://no.test"),
            ],
            &["Prefix /temporal a"],
        ) + &ingress("root", HOST, &[("app-root", "/app")], &["Prefix / a"]),
        settings: &[],
        nginx: format!(
            "server {{ listen HTTP; server_name {HOST};\n\
             if ($uri = /) {{ return 302 $scheme://$http_host/app; }}\n\
             location /permanent/ {{ return 301 https://new.test/here?x=1; }}\n\
             location = /permanent {{ return 301 https://new.test/here?x=1; }}\n\
             location /code/ {{ return 308 https://new.test; }}\n\
             location = /code {{ return 308 https://new.test; }}\n\
             location /temporal/ {{ return 302 https://new.test/t; }}\n\
             location = /temporal {{ return 302 https://new.test/t; }}\n\
             location / {{ {a} }} }}\n"
        ),
        files: &[],
        asks: [
            "/",
            "/?q=1",
            "//",
            "/.",
            "/x/..",
            "/app",
            "/other",
            "/permanent",
            "/permanent/x?y=2",
            "/code",
            "/code/",
            "/temporal",
            "/temporal/deep",
        ]
        .iter()
        .flat_map(|target| [Ask::get(HOST, target), Ask::get(HOST, target).method("POST")])
        .collect(),
        fields: &["content-type"],
        differences: &[],
    });
}

/// The redirect to HTTPS as `rewrite.lua` of ingress-nginx decides it, here for a host with TLS and
/// for one that forces it.
#[test]
fn to_https() {
    let a = pass("a");
    // One final slash is cut off, unless preserve-trailing-slash.
    let lua = |cut: &str| {
        format!(
            "rewrite_by_lua_block {{ local scheme = ngx.var.http_x_forwarded_proto or ngx.var.scheme; \
             if scheme == 'http' then local uri = ngx.var.request_uri; {cut} \
             return ngx.redirect('https://' .. ngx.var.host .. uri, 308) end }}"
        )
    };
    let cut = lua(
        "if string.byte(uri, -1, -1) == string.byte('/') then uri = string.sub(uri, 1, -2) end;",
    );
    let kept = lua("");
    compare(&Group {
        name: "to_https",
        manifests: ingress("force", HOST, &[("force-ssl-redirect", "true")], &["Prefix / a"])
            + &ingress(
                "keep",
                HOST,
                &[("force-ssl-redirect", "true"), ("preserve-trailing-slash", "true")],
                &["Prefix /keep a"],
            )
            + &ingress("none", HOST, &[("ssl-redirect", "true")], &["Exact /none a"]),
        settings: &[("use-forwarded-headers", "true")],
        nginx: format!(
            "server {{ listen HTTP; server_name {HOST};\n\
             location /keep/ {{ {kept} {a} }}\nlocation = /keep {{ {kept} {a} }}\n\
             location = /none {{ {a} }}\nlocation / {{ {cut} {a} }} }}\n"
        ),
        files: &[],
        asks: ["/", "/a", "/a/", "/a//", "/a/?q=/", "/a?q=1", "/keep/", "/keep", "/none", "/%2f/"]
            .iter()
            .flat_map(|target| {
                let with = |scheme: &str| {
                    Ask::with(HOST, target, &format!("X-Forwarded-Proto: {scheme}\r\n"))
                };
                [Ask::get(HOST, target), with("https"), with("http")]
            })
            .collect(),
        fields: &[],
        differences: &[],
    });
}
