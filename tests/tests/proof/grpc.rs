//! grpcio's client and server, through `backend-protocol: GRPC`.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    process::{Process, await_listener, free_port},
    report::Report,
    script,
    site::{Host, Site},
};

#[test]
fn grpc_calls_of_every_kind_pass() {
    let test = "grpc_calls_of_every_kind_pass";
    let backend = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let port = backend.port().to_string();
    let Some(server) = script::python("client_grpc.py", &["grpc"], &["server", &port]) else {
        return script::missing(test, "python3-grpcio");
    };
    let mut server = Process::start(&server);
    await_listener(&mut server, backend, "the gRPC server");
    let annotations = [("backend-protocol", "GRPC")];
    let host = Host { annotations: &annotations, ..Host::new("grpc.test", backend) };
    let Some(site) = Site::start(test, &[host]) else { return };
    let [http, https] = [site.http, site.https].map(|address| address.port().to_string());
    let authority = site.authority();
    let arguments = ["client", &http, &https, &authority.to_string_lossy()];
    let client = script::python("client_grpc.py", &["grpc"], &arguments).expect("it was there");
    let mut report = Report::new("grpc");
    script::rows(client, &mut report);
    report.end();
}
