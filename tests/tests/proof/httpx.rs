//! Python's httpx, over HTTP/1.1 and HTTP/2.

use crate::{report::Report, script};

#[test]
fn httpx_is_served() {
    let test = "httpx_is_served";
    let Some(app) = script::App::start(test) else { return };
    let Some(site) = app.site(test) else { return };
    let arguments =
        [site.http.port().to_string(), site.https.port().to_string(), app.authority(&site)];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let modules = ["httpx", "h2"];
    let Some(client) = script::python("client_httpx.py", &modules, &arguments) else {
        return script::missing(test, "python3-httpx and python3-h2");
    };
    let mut report = Report::new("httpx");
    script::rows(client, &mut report);
    report.end();
}
