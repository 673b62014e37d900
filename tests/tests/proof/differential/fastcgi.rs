//! FastCGI: what PHP is told, and what becomes of what it says.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use testbed::requirement;

use super::{Ask, Group, compare, ingress};
use crate::process::{Process, await_listener, free_port, which};

/// Tells what it was told, or does what it is asked for. Not the ports, nor who asks. Always says how
/// long that is: where chunks begin and end is nobody's promise.
const SCRIPT: &str = r#"<?php
ob_start();
switch ($_GET['do'] ?? '') {
    case 'status': http_response_code(403); break;
    case 'gone': header('HTTP/1.1 404 Gone Away'); break;
    case 'location': header('Location: /there'); break;
    case 'empty': http_response_code(204); ob_end_clean(); exit;
    case 'long': header('Content-Length: 320000'); echo str_repeat('0123456789abcdef', 20000); exit;
    case 'flush': header('Content-Length: 6'); ob_end_flush(); echo 'one'; flush(); usleep(1000); echo 'two'; exit;
    case 'length': header('Content-Length: 3'); echo 'abc'; exit;
    case 'cookies': header('Set-Cookie: a=1'); header('Set-Cookie: b=2', false); break;
    case 'complain': error_log('something is wrong'); break;
}
$names = ['QUERY_STRING', 'REQUEST_METHOD', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'SCRIPT_NAME',
    'SCRIPT_FILENAME', 'REQUEST_URI', 'DOCUMENT_URI', 'SERVER_PROTOCOL', 'REQUEST_SCHEME', 'HTTPS',
    'GATEWAY_INTERFACE', 'REMOTE_ADDR', 'SERVER_NAME', 'REDIRECT_STATUS', 'APP', 'HTTP_HOST',
    'HTTP_ACCEPT', 'HTTP_X_OWN', 'HTTP_X_OVER', 'HTTP_COOKIE', 'HTTP_X_UNDER', 'HTTP_CONTENT_TYPE',
    'PATH_INFO', 'REMOTE_USER'];
foreach ($names as $name) {
    echo $name, '=', $_SERVER[$name] ?? 'none', "\n";
}
echo 'body ', md5(file_get_contents('php://input')), "\n";
header('Content-Length: ' . ob_get_length());
"#;

fn post(target: &str, fields: &str, body: &str) -> Ask {
    let length = body.len();
    let text = format!(
        "POST {target} HTTP/1.1\r\nHost: php.test\r\n{fields}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    Ask { name: format!("POST {target} {length}"), bytes: text.into_bytes() }
}

#[test]
fn php_is_told_the_same() {
    let Some(program) = which("php-cgi") else {
        return requirement::interop("differential::fastcgi", "php-cgi");
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().to_str().expect("a temporary directory is text");
    for name in ["index.php", "a.php", "b c.php", "o.php"] {
        fs::write(directory.path().join(name), SCRIPT).expect("a file");
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(program);
    command.arg("-b").arg(address.to_string());
    let mut php = Process::start(&command);
    await_listener(&mut php, address, "php-cgi");

    let annotations = [
        ("backend-protocol", "FCGI"),
        ("fastcgi-index", "index.php"),
        ("fastcgi-params-configmap", "web/php"),
    ];
    let mut rewriting = annotations.to_vec();
    rewriting.extend([("rewrite-target", "/$1"), ("use-regex", "true")]);
    let manifests = [
        ingress("php", "php.test", &annotations, &["Prefix / php"]),
        ingress("old", "old.test", &rewriting, &["ImplementationSpecific /app/(.*) php"]),
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: php, namespace: web}}\n\
             data:\n  SCRIPT_FILENAME: {root}$fastcgi_script_name\n  \
             APP: a ${{host}} $args $http_x_own\n  HTTP_X_OVER: ours\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {{name: php, namespace: web}}\n\
             spec: {{ports: [{{name: http, port: 80, targetPort: 9000}}]}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: php-0, namespace: web, labels: {{kubernetes.io/service-name: php}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: {port}}}]\n\
             endpoints: [{{addresses: [\"127.0.0.1\"], conditions: {{ready: true}}}}]\n",
            port = address.port(),
        ),
    ]
    .concat();
    let pass = format!(
        "include /etc/nginx/fastcgi_params; fastcgi_index index.php; \
         fastcgi_param SCRIPT_FILENAME {root}$fastcgi_script_name; \
         fastcgi_param APP \"a ${{host}} $args $http_x_own\"; fastcgi_param HTTP_X_OVER ours; \
         fastcgi_pass {address};"
    );
    let nginx = format!(
        "server {{ listen HTTP; server_name php.test; location / {{ {pass} }} }}\n\
         server {{ listen HTTP; server_name old.test; \
         location ~* \"^/app/(.*)\" {{ rewrite \"(?i)/app/(.*)\" /$1 break; {pass} }} }}\n"
    );
    let fields = "Accept: a\r\nX-Own: 1\r\nX-Over: client\r\nCookie: a=1; b=2\r\nX_Under: 1\r\n\
                  Content-Type: text/x\r\n";
    let mut asks = vec![
        Ask::get("php.test", "/"),
        Ask::with("php.test", "/?x=1&y=%20", fields),
        Ask::get("php.test", "/b%20c.php?x"),
        Ask::get("php.test", "//a.php"),
        Ask::get("php.test", "/x/%2e%2e/a.php"),
        Ask::get("php.test", "/%61.php?"),
        Ask::get("php.test", "/none.php"),
        Ask::get("php.test", "/a.php%00"),
        Ask::get("php.test", "/a.php/more"),
        Ask::get("php.test", "/").method("HEAD"),
        Ask::get("php.test", "/?do=status").method("HEAD"),
        Ask::with("php.test", "/", "Authorization: Bearer x\r\n"),
        Ask::with("php.test", "/", "Authorization: Basic Ym9iOnNlY3JldA==\r\n").named("somebody"),
        Ask::get("old.test", "/app/a.php?z"),
        Ask::get("old.test", "/app/"),
        Ask::get("old.test", "/app/b%20c.php"),
        Ask::get("old.test", "/app/%6f.php"),
        post("/", "Content-Type: text/x\r\n", "some"),
        post("/", "", ""),
        post("/", "", &"x".repeat(200_000)),
    ];
    for what in
        ["status", "gone", "location", "empty", "long", "flush", "length", "cookies", "complain"]
    {
        asks.push(Ask::get("php.test", &format!("/a.php?do={what}")));
    }
    compare(&Group {
        name: "fastcgi",
        manifests,
        settings: &[],
        nginx,
        files: &[],
        asks,
        fields: &["body", "content-length", "status", "set-cookie", "content-type", "x-powered-by"],
        differences: &[("somebody", "REMOTE_USER is who has proved to be that, not who says so")],
    });
}
