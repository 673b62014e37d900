use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use super::ApiServer;

/// An API server on loopback. Everything ends with it at once, as in a crash.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// On any port.
    pub(crate) fn start(server: &ApiServer) -> Self {
        Self::start_at(server, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// At an address that one before it was at.
    pub(crate) fn start_at(server: &ApiServer, address: SocketAddr) -> Self {
        let server = server.clone();
        let (stop, stopped) = oneshot::channel();
        let (sender, addresses) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.expect("loopback");
                sender.send(listener.local_addr().expect("bound")).expect("the test waits");
                tokio::select! {
                    () = accept(&listener, &server) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::ZERO);
        });
        let address = addresses.recv().expect("it listens");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// A kubeconfig for it.
    pub(crate) fn kubeconfig(&self, directory: &Path, user: Value) -> String {
        let server = format!("http://{}", self.address);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": user }],
        });
        let path = directory.join("kubeconfig");
        std::fs::write(&path, config.to_string()).expect("a file");
        path.to_str().expect("it is text").to_owned()
    }
}

async fn accept(listener: &TcpListener, server: &ApiServer) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        // As Go does.
        stream.set_nodelay(true).expect("a socket");
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = server.answer(&request);
                async move { answer }
            });
            let _client_left =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
