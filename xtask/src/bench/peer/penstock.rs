//! Penstock, with Ingresses like anybody's.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result};

use super::{HOST, Peer, RSA_HOST, Site, free_addresses, write};

/// What every set of objects begins with. The limits on requests per connection, which ingress-nginx
/// has too, are as far away as those of the others.
const COMMON: &str = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n\
    metadata: {name: penstock}\nspec: {controller: penstock.dev/ingress-controller}\n---\n\
    apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: bench, name: settings}\ndata:\n\
    \x20 keep-alive-requests: \"100000000\"\n  upstream-keepalive-requests: \"100000000\"\n\
    \x20 ssl-redirect: \"false\"\n  global-allowed-response-headers: \"X-One,X-Two\"\n\
    \x20 hsts: \"false\"\n  disable-access-log: \"true\"\n  proxy-body-size: \"0\"\n\
    \x20 proxy-read-timeout: \"3600\"\n  proxy-send-timeout: \"3600\"\n---\n\
    apiVersion: v1\nkind: Service\nmetadata: {namespace: bench, name: pods}\n\
    spec: {ports: [{name: http, port: 80}]}\n---\n";

/// One host, with and without TLS, and another for RSA.
pub(super) fn peer(site: &Site<'_>) -> Result<Peer> {
    let mut objects = ingress("bench", HOST, &["/"], Some("ecdsa"));
    objects.push_str(&ingress("rsa", RSA_HOST, &["/"], Some("rsa")));
    for key in ["ecdsa", "rsa"] {
        let indented = |kind: &str| -> Result<String> {
            let file = site.certificate(&format!("{key}.{kind}"));
            let pem = fs::read_to_string(&file).context(file)?;
            Ok(pem.lines().map(|line| format!("    {line}\n")).collect())
        };
        objects.push_str(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{namespace: bench, name: {key}}}\n\
             type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}---\n",
            indented("pem")?,
            indented("key")?
        ));
    }
    start(site, "Penstock", HOST, COMMON, &objects)
}

/// One host, and a line of the access log for each request.
pub(in crate::bench) fn with_access_log(site: &Site<'_>) -> Result<Peer> {
    with_settings(site, "access-log", &[("disable-access-log", "false")])
}

/// One host, and spans of each request, which the backend is sent: it answers whatever it is asked.
pub(in crate::bench) fn with_tracing(site: &Site<'_>) -> Result<Peer> {
    let collector = format!("http://{}", site.backend);
    let settings = [
        ("enable-opentelemetry", "true"),
        ("otlp-collector-host", &*collector),
        ("otlp-protocol", "http/protobuf"),
        // Of the spans of one count all but a few are sent within it.
        ("otel-max-export-batch-size", "50"),
    ];
    with_settings(site, "tracing", &settings)
}

/// What the ConfigMap says beyond what it always says: values of keys that are there are replaced.
fn with_settings(site: &Site<'_>, name: &'static str, settings: &[(&str, &str)]) -> Result<Peer> {
    let data = "\ndata:\n";
    let keys = settings.iter().map(|(key, value)| format!("  {key}: {value:?}\n"));
    let common: String = COMMON
        .lines()
        .filter(|line| {
            !settings.iter().any(|(key, _)| line.trim().starts_with(&format!("{key}: ")))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let common = common.replacen(data, &format!("{data}{}", keys.collect::<String>()), 1);
    start(site, name, HOST, &common, &ingress(name, HOST, &["/"], None))
}

/// Hosts `h0.example.com`, `h1.example.com` and so on with the paths `/p0`, `/p1` and so on.
pub(in crate::bench) fn with_routes(
    site: &Site<'_>,
    name: &'static str,
    hosts: usize,
    paths: usize,
) -> Result<Peer> {
    let paths: Vec<String> = (0..paths).map(|path| format!("/p{path}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let objects: String = (0..hosts)
        .map(|host| ingress(&format!("i{host}"), &format!("h{host}.example.com"), &paths, None))
        .collect();
    start(site, name, "h0.example.com", COMMON, &objects)
}

/// What the annotations ask of every request, the most usual first; none of it keeps a request of the
/// benchmark from its backend.
const POLICIES: [(&str, &str); 20] = [
    ("whitelist-source-range", "127.0.0.0/8"),
    ("limit-rps", "1000000"),
    ("enable-cors", "true"),
    ("proxy-cookie-path", "/inner /outer"),
    ("upstream-vhost", "inner.example.com"),
    // The first five, and fifteen more.
    ("denylist-source-range", "10.0.0.0/8, 2001:db8::/32"),
    ("limit-rpm", "60000000"),
    ("limit-connections", "1000"),
    ("limit-allowlist", "192.0.2.0/24"),
    ("cors-allow-origin", "https://one.example.com, https://*.two.example.com"),
    ("cors-allow-headers", "X-One, X-Two"),
    ("cors-expose-headers", "X-Three"),
    ("cors-max-age", "60"),
    ("proxy-cookie-domain", "inner.example.com outer.example.com"),
    ("proxy-redirect-from", "http://inner.example.com/"),
    ("proxy-redirect-to", "https://outer.example.com/"),
    ("affinity", "cookie"),
    ("session-cookie-max-age", "60"),
    ("custom-headers", "bench/answers"),
    ("custom-http-errors", "418,503"),
];

/// One host whose Ingress asks for so many policies.
pub(in crate::bench) fn with_policies(
    site: &Site<'_>,
    name: &'static str,
    policies: usize,
) -> Result<Peer> {
    let annotations: String = POLICIES
        .iter()
        .take(policies)
        .map(|(key, value)| format!("    nginx.ingress.kubernetes.io/{key}: {value:?}\n"))
        .collect();
    let plain = ingress(name, HOST, &["/"], None);
    let objects = plain.replace(
        &format!("metadata: {{namespace: bench, name: {name}}}"),
        &format!("metadata:\n  namespace: bench\n  name: {name}\n  annotations:\n{annotations}"),
    );
    let answers = "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: bench, name: answers}\n\
                   data: {X-One: one, X-Two: two}\n---\n";
    start(site, name, HOST, COMMON, &(answers.to_owned() + &objects))
}

fn ingress(name: &str, host: &str, paths: &[&str], secret: Option<&str>) -> String {
    let paths: String = paths
        .iter()
        .map(|path| {
            format!(
                "      - {{path: {path}, pathType: Prefix, backend: \
                 {{service: {{name: pods, port: {{number: 80}}}}}}}}\n"
            )
        })
        .collect();
    let tls = secret.map_or_else(String::new, |secret| {
        format!("  tls: [{{hosts: [{host}], secretName: {secret}}}]\n")
    });
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata: {{namespace: bench, name: {name}}}\nspec:\n  ingressClassName: penstock\n{tls}\
         \x20 rules:\n  - host: {host}\n    http:\n      paths:\n{paths}---\n"
    )
}

fn start(
    site: &Site<'_>,
    name: &'static str,
    host: &'static str,
    common: &str,
    objects: &str,
) -> Result<Peer> {
    let [http, https, admin]: [SocketAddr; 3] = free_addresses()?;
    let manifests = site.directory.join(format!("manifests of {name}"));
    fs::create_dir_all(&manifests)?;
    let (ip, port) = (site.backend.ip(), site.backend.port());
    let endpoints = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{namespace: bench, name: pods-1, labels: {{kubernetes.io/service-name: pods}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: {port}}}]\n\
         endpoints: [{{addresses: [\"{ip}\"], conditions: {{ready: true}}}}]\n"
    );
    write(&manifests, "bench.yaml", &format!("{common}{objects}{endpoints}"))?;
    let arguments = format!(
        "run --l4=off --workers 1 --configmap bench/settings --bind-address {} --http-port {} \
         --https-port {} --healthz-host {} --healthz-port {} --manifests",
        http.ip(),
        http.port(),
        https.port(),
        admin.ip(),
        admin.port()
    );
    let mut command = vec![site.agent.display().to_string()];
    command.extend(arguments.split_whitespace().map(str::to_owned));
    command.push(manifests.display().to_string());
    Ok(Peer { name, command, http, h2: http, https, host })
}
