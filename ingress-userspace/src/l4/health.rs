//! Is a peer there? Each is asked for `/readyz` on its health port, five times a second.
//!
//! ```text
//!            3 missed            10 missed
//!   Ready ───────────→ Suspect ────────────→ Dead
//!     ↑ ↖─────────────────┘                   │
//!     │        3 good                         │
//!     └───────────────────────────────────────┘
//!   any ── answers, but not ready ──→ Draining ── 3 good ──→ Ready
//! ```

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::plan::State;

/// Between two probes of one peer.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// After which a probe counts as missed. Longer than the interval on a busy machine would only
/// delay the next probe.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// Missed probes in a row that make a peer suspect.
const SUSPECT_AFTER: u32 = 3;
/// Missed probes in a row that make a peer dead.
const DEAD_AFTER: u32 = 10;
/// Good probes in a row that make a peer ready again, so that one that flaps stays out.
const READY_AFTER: u32 = 3;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// 200.
    Ready,
    /// Another answer: alive, but wants no new connections.
    NotReady,
    /// No answer in time.
    Missed,
}

/// The health of one peer: a state machine that only probes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    state: State,
    missed: u32,
    good: u32,
}

impl Default for Health {
    /// A peer that is listed counts as ready until it misses: an agent that restarts must not move
    /// everybody's connections.
    fn default() -> Self {
        Self { state: State::Ready, missed: 0, good: 0 }
    }
}

impl Health {
    /// Of a peer that was named just now: its agent may not run yet, so that it gets new
    /// connections only when it has answered.
    pub const fn newcomer() -> Self {
        Self { state: State::Suspect, missed: 0, good: 0 }
    }

    /// The state now.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Takes note of a probe; `true` if that changed the state.
    pub fn observe(&mut self, probe: Probe) -> bool {
        let before = self.state;
        match probe {
            Probe::Ready => {
                self.missed = 0;
                self.good = self.good.saturating_add(1);
                if self.good >= READY_AFTER {
                    self.state = State::Ready;
                }
            }
            Probe::NotReady => {
                self.missed = 0;
                self.good = 0;
                self.state = State::Draining;
            }
            Probe::Missed => {
                self.good = 0;
                self.missed = self.missed.saturating_add(1);
                if self.missed >= DEAD_AFTER {
                    self.state = State::Dead;
                } else if self.missed >= SUSPECT_AFTER {
                    self.state = self.state.max(State::Suspect);
                }
            }
        }
        self.state != before
    }
}

/// The states to plan with: as observed, unless fewer than half of all nodes look healthy. Then it
/// is more likely that this node cannot see than that everybody is gone, and health is ignored.
pub fn with_panic_threshold(observed: &BTreeMap<String, State>) -> BTreeMap<String, State> {
    let healthy = observed.values().filter(|state| **state <= State::Draining).count();
    if healthy * 2 >= observed.len() {
        return observed.clone();
    }
    observed.keys().map(|name| (name.clone(), State::Ready)).collect()
}

/// Asks one peer once.
pub(super) async fn probe(peer: SocketAddr) -> Probe {
    match tokio::time::timeout(TIMEOUT, ask(peer)).await {
        Ok(Ok(http::StatusCode::OK)) => Probe::Ready,
        Ok(Ok(_)) => Probe::NotReady,
        Ok(Err(_)) | Err(_) => Probe::Missed,
    }
}

async fn ask(peer: SocketAddr) -> Result<http::StatusCode, Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(peer).await?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let request = http::Request::get("/readyz")
        .header(http::header::HOST, peer.to_string())
        .header(http::header::CONNECTION, "close")
        .body(http_body_util::Empty::<bytes::Bytes>::new())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    // The answer's head is enough: the connection is dropped with the future that drives it. One that
    // came whole at once ends the connection in the same moment, and has been passed on before that.
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        ended = connection => {
            ended?;
            Ok(answer.await?.status())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(probes: &[Probe]) -> State {
        let mut health = Health::default();
        for probe in probes {
            health.observe(*probe);
        }
        health.state()
    }

    /// A peer that answers each connection with these bytes at once, and closes it.
    async fn peer(answer: &'static [u8]) -> SocketAddr {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 512];
                let _length = stream.read(&mut question).await;
                let _sent = stream.write_all(answer).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_that_comes_whole_at_once_is_one() {
        for (answer, found) in [
            (&b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"[..], Probe::Ready),
            (
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Probe::NotReady,
            ),
            (b"", Probe::Missed),
            (b"HTTP/1.1 200", Probe::Missed),
        ] {
            let peer = peer(answer).await;
            for _time in 0..20 {
                assert_eq!(probe(peer).await, found, "{}", String::from_utf8_lossy(answer));
            }
        }
    }

    #[test]
    fn three_misses_make_a_peer_suspect_and_ten_dead() {
        assert_eq!(after(&[Probe::Missed; 2]), State::Ready);
        assert_eq!(after(&[Probe::Missed; 3]), State::Suspect);
        assert_eq!(after(&[Probe::Missed; 9]), State::Suspect);
        assert_eq!(after(&[Probe::Missed; 10]), State::Dead);
    }

    #[test]
    fn misses_count_in_a_row_only() {
        let mut probes = vec![Probe::Missed, Probe::Missed, Probe::Ready];
        probes.extend([Probe::Missed; 2]);
        assert_eq!(after(&probes), State::Ready);
    }

    #[test]
    fn three_good_probes_bring_a_peer_back() {
        let mut probes = vec![Probe::Missed; 12];
        probes.extend([Probe::Ready; 2]);
        assert_eq!(after(&probes), State::Dead);
        probes.push(Probe::Ready);
        assert_eq!(after(&probes), State::Ready);
    }

    #[test]
    fn a_newcomer_has_to_answer_first() {
        let mut health = Health::newcomer();
        assert_eq!(health.state(), State::Suspect);
        let changes = [Probe::Ready; 3].map(|probe| health.observe(probe));
        assert_eq!((changes, health.state()), ([false, false, true], State::Ready));
    }

    #[test]
    fn a_peer_that_answers_not_ready_drains_at_once() {
        assert_eq!(after(&[Probe::NotReady]), State::Draining);
        let mut probes = vec![Probe::NotReady];
        probes.extend([Probe::Missed; 3]);
        assert_eq!(after(&probes), State::Suspect);
    }

    #[test]
    fn if_most_are_unhealthy_health_is_ignored() {
        let states = |list: &[State]| -> BTreeMap<String, State> {
            list.iter().enumerate().map(|(number, state)| (number.to_string(), *state)).collect()
        };
        let half = states(&[State::Ready, State::Dead]);
        assert_eq!(with_panic_threshold(&half), half);
        let most = states(&[State::Ready, State::Dead, State::Suspect]);
        assert_eq!(with_panic_threshold(&most), states(&[State::Ready; 3]));
    }
}
