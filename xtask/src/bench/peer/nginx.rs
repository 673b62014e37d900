//! Debian's nginx.

use anyhow::Result;

use super::{HOST, Peer, RSA_HOST, Site, free_addresses, program};

pub(super) fn peer(site: &Site<'_>) -> Result<Peer> {
    let [http, h2, https] = free_addresses()?;
    let headers: String = [
        ("Host", "$host"),
        ("X-Request-ID", "$request_id"),
        ("X-Real-IP", "$remote_addr"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Host", "$host"),
        ("X-Forwarded-Port", "$server_port"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-Scheme", "$scheme"),
        ("X-Scheme", "$scheme"),
        ("Upgrade", "$http_upgrade"),
        ("Connection", "$connection_upgrade"),
    ]
    .map(|(name, value)| format!("proxy_set_header {name} {value};\n"))
    .concat();
    // A body that is written to a file first is not what the others do. A response's buffers are
    // nginx's own, but without the file that it would spill into.
    let location = format!(
        "location / {{ proxy_http_version 1.1; proxy_request_buffering off;\n\
         proxy_max_temp_file_size 0; proxy_read_timeout 1h;\n{headers}proxy_pass http://pods; }}"
    );
    // The options of an address are given once.
    let tls = |host: &str, key: &str, options: &str| {
        format!(
            "server {{ listen {https}{options}; server_name {host};\n\
             ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;\n{location} }}\n",
            site.certificate(&format!("{key}.pem")),
            site.certificate(&format!("{key}.key")),
        )
    };
    let clear: String = [(http, ""), (h2, " http2")]
        .map(|(address, protocol)| {
            format!(
                "server {{ listen {address}{protocol} backlog=4096; server_name {HOST};\n\
                 {location} }}\n"
            )
        })
        .concat();
    let (ecdsa, rsa) =
        (tls(HOST, "ecdsa", " ssl http2 backlog=4096"), tls(RSA_HOST, "rsa", " ssl http2"));
    let at = site.directory.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/nginx-{kind};\n"))
        .concat();
    let file = site.write(
        "nginx.conf",
        &format!(
            "worker_processes 1; worker_rlimit_nofile 20000; daemon off; pid {at}/nginx.pid;\n\
             error_log {at}/nginx.err warn;\n\
             events {{ worker_connections 16384; }}\n\
             http {{ access_log off; keepalive_requests 100000000; client_max_body_size 0;\n\
             http2_max_concurrent_streams 128;\n\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
             upstream pods {{ server {}; keepalive 320; keepalive_requests 100000000; }}\n\
             {paths}\n{clear}{ecdsa}{rsa}}}\n",
            site.backend
        ),
    )?;
    let command =
        vec![program("nginx")?, "-e".into(), format!("{at}/nginx.err"), "-c".into(), file];
    Ok(Peer { name: "nginx", command, http, h2, https, host: HOST })
}
