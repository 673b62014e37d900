use std::{net::Ipv4Addr, thread};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{echo, manifests::Pod, namespace::Namespace};

/// Echo servers on a thread of their own. They end on drop.
#[derive(Debug)]
pub struct Pods {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Pods {
    /// Starts a server for each pod and returns when all of them listen. In a namespace, its `eth0`
    /// gets the pods' addresses; without one they are addresses of the loopback.
    pub fn start(namespace: Option<&Namespace>, pods: Vec<Pod>) -> Result<Self> {
        if let Some(namespace) = namespace {
            namespace.ip(&addresses(&pods))?;
        }
        let namespace = namespace.cloned();
        let (stop, stopped) = oneshot::channel();
        let (listening, listens) = std::sync::mpsc::channel();
        let thread = thread::Builder::new().name("pods".to_owned()).spawn(move || {
            let entered = namespace.map_or(Ok(()), |namespace| namespace.enter());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match entered.and_then(|()| runtime.context("cannot start a runtime")) {
                Ok(runtime) => runtime,
                Err(error) => return drop(listening.send(Err(error))),
            };
            runtime.block_on(async {
                let bound = bind_all(pods).await;
                // Whoever waits has gone only if this process ends.
                let _ = listening.send(bound);
                let _ = stopped.await;
            });
        })?;
        let pods = Self { stop: Some(stop), thread: Some(thread) };
        listens.recv().context("the pods' thread has ended")??;
        Ok(pods)
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

async fn bind_all(pods: Vec<Pod>) -> Result<()> {
    for Pod { address, name } in pods {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("pod {name} cannot listen on {address}"))?;
        tokio::spawn(echo::serve(listener, name));
    }
    Ok(())
}

/// The `ip` commands that give `eth0` all addresses, and the way out.
fn addresses(pods: &[Pod]) -> String {
    let mut addresses: Vec<Ipv4Addr> = pods.iter().map(|pod| *pod.address.ip()).collect();
    addresses.dedup();
    let mut commands: String =
        addresses.iter().map(|address| format!("addr add {address}/24 dev eth0\n")).collect();
    if let Some(first) = addresses.first() {
        let [a, b, c, _] = first.octets();
        commands += &format!("route add default via {a}.{b}.{c}.1\n");
    }
    commands
}
