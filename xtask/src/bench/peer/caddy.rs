//! Debian's caddy. Go takes as many threads as there are cores, which is one where it runs.

use anyhow::Result;

use super::{HOST, Peer, RSA_HOST, Site, free_addresses, program};

pub(super) fn peer(site: &Site<'_>) -> Result<Peer> {
    let [http, https] = free_addresses()?;
    // It adds X-Forwarded-For, -Host and -Proto itself.
    let proxy = |port: u16, scheme: &str| {
        format!(
            "reverse_proxy {} {{\n    header_up X-Request-ID {{http.request.uuid}}\n\
             \x20   header_up X-Real-IP {{remote_host}}\n    header_up X-Forwarded-Port {port}\n\
             \x20   header_up X-Forwarded-Scheme {scheme}\n    header_up X-Scheme {scheme}\n\
             \x20   transport http {{\n      keepalive_idle_conns 320\n\
             \x20     keepalive_idle_conns_per_host 320\n      compression off\n    }}\n  }}",
            site.backend
        )
    };
    let secure = |host: &str, key: &str| {
        format!(
            "https://{host}:{} {{\n  bind 127.0.0.1\n  tls {} {} {{\n    protocols tls1.3\n  }}\n\
             \x20 {}\n}}\n",
            https.port(),
            site.certificate(&format!("{key}.pem")),
            site.certificate(&format!("{key}.key")),
            proxy(https.port(), "https"),
        )
    };
    let file = site.write(
        "Caddyfile",
        &format!(
            "{{\n  admin off\n  auto_https off\n\
             \x20 servers {{\n    protocols h1 h2 h2c\n  }}\n}}\n\
             http://:{} {{\n  bind 127.0.0.1\n  {}\n}}\n{}{}",
            http.port(),
            proxy(http.port(), "http"),
            secure(HOST, "ecdsa"),
            secure(RSA_HOST, "rsa"),
        ),
    )?;
    // It keeps a copy of its configuration, which is not to be the person's.
    let mut command = vec!["env".to_owned()];
    command.extend(
        ["XDG_CONFIG_HOME", "XDG_DATA_HOME"]
            .map(|variable| format!("{variable}={}", site.directory.display())),
    );
    command.push(program("caddy")?);
    command.extend(["run", "--adapter", "caddyfile", "--config", &file].map(str::to_owned));
    Ok(Peer { name: "caddy", command, http, h2: http, https, host: HOST })
}
