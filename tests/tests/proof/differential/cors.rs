//! CORS as ingress-nginx's template writes it (reference section 1.6).

use super::{Ask, Group, compare, ingress, pass};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                       Content-Type,Range,Authorization";
/// Without `Content-Length` and `Content-Type`: nginx writes the former into its 204, which RFC 9110,
/// section 8.6, forbids, and loses the latter; here it is the other way round.
const FIELDS: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// What is said to an origin that may ask.
fn says(origin: &str, credentials: bool, expose: &str, age: &str) -> String {
    let mut text = format!("more_set_headers 'Access-Control-Allow-Origin: {origin}';\n");
    if credentials {
        text += "more_set_headers 'Access-Control-Allow-Credentials: true';\n";
    }
    text += &format!(
        "more_set_headers 'Access-Control-Allow-Methods: {METHODS}';\n\
         more_set_headers 'Access-Control-Allow-Headers: {HEADERS}';\n"
    );
    if !expose.is_empty() {
        text += &format!("more_set_headers 'Access-Control-Expose-Headers: {expose}';\n");
    }
    text + &format!("more_set_headers 'Access-Control-Max-Age: {age}';\n")
}

/// A location for origins that match.
fn location(matches: &str, says: &str, service: &str) -> String {
    let pass = pass(service);
    format!(
        "set $cors 'false';\n{matches}\n\
         if ($request_method = 'OPTIONS') {{ set $cors ${{cors}}options; }}\n\
         if ($cors = \"true\") {{ {says} }}\n\
         if ($cors = \"trueoptions\") {{ {says} \
         more_set_headers 'Content-Type: text/plain charset=UTF-8'; \
         more_set_headers 'Content-Length: 0'; return 204; }}\n{pass}"
    )
}

#[test]
fn cors() {
    let everyone = location("set $cors 'true';", &says("*", true, "", "1728000"), "a");
    let some = location(
        "if ($http_origin ~* ((https://app\\.test)|(http://[A-Za-z0-9\\-]+\\.wild\\.test:8080))$) \
         { set $cors 'true'; }",
        &says("$http_origin", false, "X-One, X-Two", "60"),
        "b",
    );
    let origins = [
        "",
        "Origin: https://app.test\r\n",
        "Origin: HTTPS://APP.TEST\r\n",
        "Origin: http://app.test\r\n",
        "Origin: https://app.test.evil\r\n",
        "Origin: http://one.wild.test:8080\r\n",
        "Origin: http://one.two.wild.test:8080\r\n",
        "Origin: http://wild.test:8080\r\n",
        "Origin: null\r\n",
        "Origin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n",
        "Origin: https://evilhttps://app.test\r\n",
    ];
    let asks = |host: &str| -> Vec<Ask> {
        let both = |origin: &&str| {
            let ask = Ask::with(host, "/", origin);
            [ask.clone(), ask.method("OPTIONS")]
        };
        origins.iter().flat_map(both).collect()
    };
    compare(&Group {
        name: "cors",
        manifests: ingress("all", "all.test", &[("enable-cors", "true")], &["Prefix / a"])
            + &ingress(
                "some",
                "some.test",
                &[
                    ("enable-cors", "true"),
                    ("cors-allow-origin", "https://app.test, http://*.wild.test:8080"),
                    ("cors-allow-credentials", "false"),
                    ("cors-expose-headers", "X-One, X-Two"),
                    ("cors-max-age", "60"),
                ],
                &["Prefix / b"],
            ),
        settings: &[],
        nginx: format!(
            "server {{ listen HTTP; server_name all.test; location / {{ {everyone} }} }}\n\
             server {{ listen HTTP; server_name some.test; location / {{ {some} }} }}\n"
        ),
        files: &[],
        asks: [asks("all.test"), asks("some.test")].concat(),
        fields: FIELDS,
        differences: &[(
            "some.test/ Origin: https://evilhttps://app.test",
            "ingress-nginx does not anchor the beginning of an origin; here both ends are",
        )],
    });
}
