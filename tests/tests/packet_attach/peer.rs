//! Another node.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::oneshot};

use crate::place::{ip, runtime};

/// Another node at the far end of the link: 10.0.0.2 in a network namespace of its own, where every
/// probe of the health port is answered.
pub(crate) struct Peer {
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Peer {
    pub(crate) const MAC: &str = "02:00:00:00:00:02";

    pub(crate) fn start() -> Self {
        let (number, from_thread) = mpsc::channel();
        let (moved, from_test) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
            number.send(nix::unistd::gettid()).expect("the test waits");
            from_test.recv().expect("the test moves the link");
            ip(&format!("link set wire address {}", Self::MAC));
            ip("link set wire up");
            ip("address add 10.0.0.2/24 dev wire");
            number.send(nix::unistd::gettid()).expect("the test waits");
            runtime().block_on(async {
                tokio::select! {
                    () = Self::answer() => {}
                    _ = ended => {}
                }
            });
        });
        let namespace = from_thread.recv().expect("a namespace");
        ip(&format!("link set wire netns {namespace}"));
        moved.send(()).expect("the thread waits");
        from_thread.recv().expect("the link is up");
        Self { thread: Some(thread), end: Some(end) }
    }

    async fn answer() {
        let listener = TcpListener::bind("10.0.0.2:10254").await.expect("a free port");
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // One that the prober has given up is its own affair.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|thread| thread.is_ok()));
    }
}
