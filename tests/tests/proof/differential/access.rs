//! Who may ask: addresses, passwords, a service that is asked (reference sections 1.3 and 8).

use super::{Ask, Group, compare, ingress, pass};

const HOST: &str = "guard.test";

/// Users named after how their password, `secret`, is kept.
const USERS: &str = "\
md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n\
apr1:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n\
sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
plain:{PLAIN}secret\n";

fn authorization(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{user}:{password}");
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let there = place <= chunk.len();
            encoded.push(if there { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    format!("Authorization: Basic {encoded}\r\n")
}

#[test]
fn addresses() {
    let [a, b, c] = ["a", "b", "c"].map(pass);
    let clients = ["192.0.2.1", "192.0.2.77", "198.51.100.1", "2001:db8::1", "203.0.113.9"];
    let asks = ["/allowed", "/denied", "/both"].iter().flat_map(|target| {
        clients.map(|client| Ask::with(HOST, target, &format!("X-Forwarded-For: {client}\r\n")))
    });
    compare(&Group {
        name: "addresses",
        manifests: ingress(
            "allowed",
            HOST,
            &[("whitelist-source-range", "192.0.2.0/26, 2001:db8::/32,198.51.100.1")],
            &["Exact /allowed a"],
        ) + &ingress(
            "denied",
            HOST,
            &[("denylist-source-range", "192.0.2.0/24")],
            &["Exact /denied b"],
        ) + &ingress(
            "both",
            HOST,
            &[("denylist-source-range", "192.0.2.1"), ("whitelist-source-range", "192.0.2.0/24")],
            &["Exact /both c"],
        ),
        settings: &[("use-forwarded-headers", "true")],
        nginx: format!(
            "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; real_ip_recursive on;\n\
             server {{ listen HTTP; server_name {HOST};\n\
             location = /allowed {{ allow 192.0.2.0/26; allow 2001:db8::/32; allow 198.51.100.1; \
             deny all; {a} }}\n\
             location = /denied {{ deny 192.0.2.0/24; {b} }}\n\
             location = /both {{ deny 192.0.2.1; allow 192.0.2.0/24; deny all; {c} }} }}\n"
        ),
        files: &[],
        asks: asks.collect(),
        fields: &["content-type"],
        differences: &[],
    });
}

#[test]
fn passwords() {
    let a = pass("a");
    let mut asks = vec![Ask::get(HOST, "/")];
    for user in ["md5", "apr1", "sha256", "sha", "plain", "nobody", ""] {
        for password in ["secret", "wrong", ""] {
            let fields = authorization(user, password);
            asks.push(Ask::with(HOST, "/", &fields).named(format!("{user}:{password}")));
        }
    }
    for odd in ["Basic", "Basic ", "Basic !!", "basic bWQ1OnNlY3JldA==", "Bearer x", "Basic bWQ1"] {
        asks.push(Ask::with(HOST, "/", &format!("Authorization: {odd}\r\n")));
    }
    let secret: String = USERS.lines().map(|line| format!("    {line}\n")).collect();
    compare(&Group {
        name: "passwords",
        manifests: ingress(
            "guarded",
            HOST,
            &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "Who are you")],
            &["Prefix / a"],
        ) + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users, namespace: web}\n\
             stringData:\n  auth: |\n"
            + &secret,
        settings: &[],
        nginx: format!(
            "server {{ listen HTTP; server_name {HOST}; location / {{ auth_basic \"Who are you\"; \
             auth_basic_user_file DIRECTORY/users; proxy_set_header Authorization ''; {a} }} }}\n"
        ),
        files: &[("users", USERS)],
        asks,
        fields: &["content-type", "www-authenticate"],
        differences: &[],
    });
}

/// The service answers with the status that its path says; the whole as ingress-nginx's template
/// writes it.
#[test]
fn a_service_is_asked() {
    let service = "server { listen OTHER; location / { \
         if ($uri ~ ^/401) { return 401; } if ($uri ~ ^/403) { return 403; } \
         if ($uri ~ ^/302) { return 302 http://elsewhere.test/; } if ($uri ~ ^/500) { return 500; } \
         if ($uri ~ ^/404) { return 404; } if ($uri ~ ^/202) { return 202; } \
         add_header X-User bob always; add_header Set-Cookie one=1 always; return 200 ok; } }\n";
    let statuses = ["200", "202", "302", "401", "403", "404", "500"];
    // By a Service: an address of the node itself is refused.
    let mut manifests = "---\napiVersion: v1\nkind: Service\n\
         metadata: {name: judge, namespace: web}\nspec: {ports: [{port: 80}]}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata:\n  name: judge\n  namespace: web\n  \
         labels: {kubernetes.io/service-name: judge}\n\
         addressType: IPv4\nports: [{port: OTHER-PORT}]\n\
         endpoints: [{addresses: [127.0.0.1]}]\n"
        .to_owned();
    let mut nginx = format!("{service}server {{ listen HTTP; server_name {HOST};\n");
    let mut asks = Vec::new();
    for status in statuses {
        let path = format!("/{status}");
        let url = format!("http://OTHER{path}");
        let own = format!("http://judge.web.svc.cluster.local{path}");
        manifests += &ingress(
            &format!("s{status}"),
            HOST,
            &[("auth-url", &own), ("auth-response-headers", "X-User, X-Gone")],
            &[&format!("Exact {path} a")],
        );
        let a = pass("a");
        nginx += &format!(
            "location = /_external-auth{path} {{ internal; proxy_pass_request_body off; \
             proxy_set_header Content-Length ''; proxy_set_header X-Forwarded-Proto ''; \
             proxy_set_header X-Request-ID 1; proxy_set_header Host 127.0.0.1; \
             proxy_pass {url}; }}\n\
             location = {path} {{ auth_request /_external-auth{path}; \
             auth_request_set $auth_cookie $upstream_http_set_cookie; \
             auth_request_set $authHeader0 $upstream_http_x_user; \
             proxy_set_header X-User $authHeader0; add_header Set-Cookie $auth_cookie; {a} }}\n"
        );
        asks.push(Ask::with(HOST, &path, "X-User: mallory\r\nX-Gone: mallory\r\n"));
        asks.push(Ask::get(HOST, &path).method("HEAD"));
    }
    nginx += "}\n";
    compare(&Group {
        name: "a_service_is_asked",
        manifests,
        settings: &[],
        nginx,
        files: &[],
        asks,
        fields: &["content-type", "www-authenticate", "set-cookie"],
        differences: &[],
    });
}
