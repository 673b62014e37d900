//! What to type at a box that is kept.

use std::{fs, thread};

use anyhow::Result;
use testbed::Authority;

use super::{page, place::Place};

/// Prints the lines and waits for Ctrl-C, which ends the process.
pub(crate) fn show(place: &Place, authority: &Authority) -> Result<()> {
    let (id, manifests, client, admin) = match place {
        Place::Cluster(cluster) => {
            let inside = |name: &str| format!("nsenter --net=/run/netns/{name} ");
            (
                cluster.id(),
                cluster.manifests(),
                inside(cluster.client().name()),
                format!("{}curl -s http://127.0.0.1:10254", inside(cluster.node(0).name())),
            )
        }
        Place::Loopback(loopback) => (
            loopback.id(),
            loopback.manifests(),
            String::new(),
            format!("curl -s http://{}", loopback.agent().admin_address()),
        ),
    };
    let root = id.directory().join("authority.pem");
    fs::write(&root, authority.pem())?;
    let curl = |tls: bool, host: &str, path: &str| {
        let target = place.target(tls);
        let (scheme, port) = if tls { ("https", 443) } else { ("http", 80) };
        let root = if tls { format!(" --cacert {}", root.display()) } else { String::new() };
        format!("{client}curl -s --connect-to {host}:{port}:{target}{root} {scheme}://{host}{path}")
    };

    page::heading("By hand", "as the same user, in another terminal; Ctrl-C here ends everything");
    for (what, line) in [
        ("ask", curl(false, "play.example.com", "/lobby")),
        ("TLS", curl(true, "secure.example.com", "/")),
        ("why", format!("{admin}'/api/v1/explain?url=http://play.example.com/lobby'")),
        ("metrics", format!("{admin}/metrics")),
        ("change", format!("edit {}/*.yaml and ask again", manifests.directory().display())),
        ("logs", format!("tail -f {}/*.log", id.directory().display())),
    ] {
        page::say(&format!("  {what:<8} {line}"));
    }
    loop {
        thread::park();
    }
}
