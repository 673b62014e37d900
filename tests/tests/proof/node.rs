//! node's fetch and its http2 module.

use crate::{report::Report, script};

#[test]
fn node_is_served() {
    let test = "node_is_served";
    let Some(app) = script::App::start(test) else { return };
    let Some(site) = app.site(test) else { return };
    let arguments =
        [site.http.port().to_string(), site.https.port().to_string(), app.authority(&site)];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(mut client) = script::node("client_node.js", &arguments) else {
        return script::missing(test, "nodejs");
    };
    client.env("NODE_EXTRA_CA_CERTS", site.authority());
    let mut report = Report::new("node");
    script::rows(client, &mut report);
    report.end();
}
