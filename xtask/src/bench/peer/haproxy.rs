//! Debian's haproxy.

use std::fs;

use anyhow::{Context, Result};

use super::{HOST, Peer, Site, free_addresses, program};

pub(super) fn peer(site: &Site<'_>) -> Result<Peer> {
    let [http, h2, https] = free_addresses()?;
    let headers = |scheme: &str| -> String {
        [
            ("X-Request-ID", "%[uuid()]"),
            ("X-Real-IP", "%[src]"),
            ("X-Forwarded-For", "%[src]"),
            ("X-Forwarded-Host", "%[req.hdr(host)]"),
            ("X-Forwarded-Port", "%[dst_port]"),
            ("X-Forwarded-Proto", scheme),
            ("X-Forwarded-Scheme", scheme),
            ("X-Scheme", scheme),
        ]
        .map(|(name, value)| format!("  http-request set-header {name} {value}\n"))
        .concat()
    };
    // It wants a certificate and its key in one file.
    let mut keys = String::new();
    for key in ["ecdsa", "rsa"] {
        let read = |kind: &str| {
            let file = site.certificate(&format!("{key}.{kind}"));
            fs::read_to_string(&file).context(file)
        };
        let file = site.write(&format!("haproxy-{key}.pem"), &(read("pem")? + &read("key")?))?;
        keys.push_str(&format!(" crt {file}"));
    }
    let (clear, secure) = (headers("http"), headers("https"));
    let file = site.write(
        "haproxy.cfg",
        &format!(
            "global\n  nbthread 1\n  maxconn 8000\n  tune.h2.max-concurrent-streams 128\n\
             \x20 ssl-default-bind-options ssl-min-ver TLSv1.3\n\
             defaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 60s\n\
             \x20 timeout server 60s\n  timeout tunnel 1h\n\
             frontend clear\n  bind {http}\n  bind {h2} proto h2\n{clear}  default_backend pods\n\
             frontend secure\n  bind {https} ssl{keys} alpn h2,http/1.1\n{secure}\
             \x20 default_backend pods\n\
             backend pods\n  server pod {}\n",
            site.backend
        ),
    )?;
    let command = vec![program("haproxy")?, "-db".into(), "-f".into(), file];
    Ok(Peer { name: "haproxy", command, http, h2, https, host: HOST })
}
