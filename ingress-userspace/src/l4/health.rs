//! Is a peer there? Each is asked five times a second, on two ways: its agent for `/readyz` on the
//! health port, and its program through the tunnel whether it would take a new connection to a
//! virtual address. An agent may live behind a tunnel that carries nothing, or the other way round.
//!
//! ```text
//!            3 missed            10 missed
//!   Ready ───────────→ Suspect ────────────→ Dead
//!     ↑ ↖─────────────────┘                   │
//!     │        3 good                         │
//!     └───────────────────────────────────────┘
//!   any ── answers, but not ready ──→ Draining ── 3 good ──→ Ready
//! ```
//!
//! Missed is what neither way answers. A tunnel that does not answer makes a peer suspect, never
//! dead: as long as its agent answers it may have connections. An agent that does not answer makes
//! it draining, and no more, as long as its program answers through the tunnel: it may hang, or be
//! stopped, and its connections with it, which only wait.

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

/// What a question through the tunnel found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// A new connection would be taken.
    Takes,
    /// The program answers, but nobody listens, or the node drains.
    Refuses,
    /// No answer in time.
    Missed,
    /// There is nothing to ask about, or no way to ask.
    Unasked,
}

/// The health of one peer: a state machine that only probes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    state: State,
    /// Probes of the agent in a row without an answer.
    missed: u32,
    /// Of them, those at the end beside which the tunnel did not answer either.
    silent: u32,
    good: u32,
    /// Questions through the tunnel in a row without an answer.
    lost: u32,
    /// Long ones in a row without an answer.
    cut: u32,
    /// Whether long ones get through, once that is known.
    full_size: Option<bool>,
}

impl Default for Health {
    /// A peer that is listed counts as ready until it misses: an agent that restarts must not move
    /// everybody's connections.
    fn default() -> Self {
        Self {
            state: State::Ready,
            missed: 0,
            silent: 0,
            good: 0,
            lost: 0,
            cut: 0,
            full_size: None,
        }
    }
}

impl Health {
    /// Of a peer that was named just now: its agent may not run yet, so that it gets new
    /// connections only when it has answered.
    pub const fn newcomer() -> Self {
        Self {
            state: State::Suspect,
            missed: 0,
            silent: 0,
            good: 0,
            lost: 0,
            cut: 0,
            full_size: None,
        }
    }

    /// The state now.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether packets as long as the link takes get through the tunnel.
    pub const fn full_size(&self) -> Option<bool> {
        self.full_size
    }

    /// Takes note of whether such a packet did; whether they do, if that changed. One that is lost
    /// says nothing yet.
    pub fn observe_full(&mut self, passed: bool) -> Option<bool> {
        self.cut = if passed { 0 } else { self.cut.saturating_add(1) };
        let now = match passed {
            true => Some(true),
            false if self.cut >= SUSPECT_AFTER => Some(false),
            false => self.full_size,
        };
        if self.full_size == now {
            return None;
        }
        self.full_size = now;
        now
    }

    /// Takes note of a probe; `true` if that changed the state.
    pub fn observe(&mut self, probe: Probe, tunnel: Tunnel) -> bool {
        let before = self.state;
        self.lost = match tunnel {
            Tunnel::Missed => self.lost.saturating_add(1),
            _ => 0,
        };
        let (missed, silent) = match (probe, tunnel) {
            (Probe::Missed, Tunnel::Missed | Tunnel::Unasked) => {
                (self.missed.saturating_add(1), self.silent.saturating_add(1))
            }
            (Probe::Missed, Tunnel::Takes | Tunnel::Refuses) => (self.missed.saturating_add(1), 0),
            _ => (0, 0),
        };
        (self.missed, self.silent) = (missed, silent);
        match (probe, tunnel) {
            (Probe::NotReady, _) | (_, Tunnel::Refuses) => {
                self.good = 0;
                self.state = State::Draining;
            }
            (Probe::Ready, Tunnel::Missed) => {
                self.good = 0;
                if self.state == State::Dead || self.lost >= SUSPECT_AFTER {
                    self.state = State::Suspect;
                }
            }
            (Probe::Ready, Tunnel::Takes | Tunnel::Unasked) => {
                self.good = self.good.saturating_add(1);
                if self.good >= READY_AFTER {
                    self.state = State::Ready;
                }
            }
            (Probe::Missed, Tunnel::Takes) => {
                self.good = 0;
                if missed >= SUSPECT_AFTER {
                    self.state = State::Draining;
                }
            }
            (Probe::Missed, Tunnel::Missed | Tunnel::Unasked) => {
                self.good = 0;
                if silent >= DEAD_AFTER {
                    self.state = State::Dead;
                } else if silent >= SUSPECT_AFTER {
                    self.state = self.state.max(State::Suspect);
                } else if missed >= SUSPECT_AFTER {
                    self.state = self.state.max(State::Draining);
                }
            }
        }
        self.state != before
    }
}

/// The states to plan with: as observed, unless fewer than half of all nodes look healthy. Then it
/// is more likely that this node cannot see than that everybody is gone, and nobody counts as dead:
/// all stay in the rows, for what they have, while new connections go to those that answer, of whom
/// this node is one.
pub fn with_panic_threshold(observed: &BTreeMap<String, State>) -> BTreeMap<String, State> {
    let healthy = observed.values().filter(|state| **state <= State::Draining).count();
    if healthy * 2 >= observed.len() {
        return observed.clone();
    }
    let most = |state: &State| (*state).min(State::Suspect);
    observed.iter().map(|(name, state)| (name.clone(), most(state))).collect()
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
            let tunnel = match probe {
                Probe::Missed => Tunnel::Missed,
                _ => Tunnel::Takes,
            };
            health.observe(*probe, tunnel);
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
    fn a_tunnel_that_loses_everything_makes_a_peer_suspect_and_never_dead() {
        let mut health = Health::default();
        for _ in 0..2 {
            health.observe(Probe::Ready, Tunnel::Missed);
        }
        assert_eq!(health.state(), State::Ready);
        for _ in 0..40 {
            health.observe(Probe::Ready, Tunnel::Missed);
            assert_eq!(health.state(), State::Suspect);
        }
        for _ in 0..3 {
            health.observe(Probe::Ready, Tunnel::Takes);
        }
        assert_eq!(health.state(), State::Ready);
    }

    #[test]
    fn a_peer_without_listener_drains_at_once() {
        let mut health = Health::default();
        assert!(health.observe(Probe::Ready, Tunnel::Refuses));
        assert_eq!(health.state(), State::Draining);
        // Its agent is gone too, and then its machine.
        for _ in 0..40 {
            assert!(!health.observe(Probe::Missed, Tunnel::Refuses));
        }
        for _ in 0..10 {
            health.observe(Probe::Missed, Tunnel::Missed);
        }
        assert_eq!(health.state(), State::Dead);
    }

    #[test]
    fn an_agent_that_hangs_drains_as_long_as_its_program_answers() {
        let mut health = Health::default();
        for _ in 0..2 {
            assert!(!health.observe(Probe::Missed, Tunnel::Takes));
        }
        // Its heartbeat is not overdue yet, so that its program still takes connections.
        for answer in [Tunnel::Takes, Tunnel::Takes, Tunnel::Refuses] {
            for _ in 0..20 {
                health.observe(Probe::Missed, answer);
                assert_eq!(health.state(), State::Draining);
            }
        }
        // A few lost questions are not enough for an end, however long the agent has hung.
        for _ in 0..9 {
            health.observe(Probe::Missed, Tunnel::Missed);
            assert_ne!(health.state(), State::Dead);
        }
        health.observe(Probe::Missed, Tunnel::Takes);
        assert_eq!(health.state(), State::Draining);
        for _ in 0..3 {
            health.observe(Probe::Ready, Tunnel::Takes);
        }
        assert_eq!(health.state(), State::Ready);
    }

    #[test]
    fn what_cannot_be_asked_through_the_tunnel_is_not_held_against_a_peer() {
        let mut health = Health::newcomer();
        for _ in 0..3 {
            health.observe(Probe::Ready, Tunnel::Unasked);
        }
        assert_eq!(health.state(), State::Ready);
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
        let changes = [Probe::Ready; 3].map(|probe| health.observe(probe, Tunnel::Takes));
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
    fn if_most_are_unhealthy_nobody_counts_as_dead() {
        let states = |list: &[State]| -> BTreeMap<String, State> {
            list.iter().enumerate().map(|(number, state)| (number.to_string(), *state)).collect()
        };
        let half = states(&[State::Ready, State::Dead]);
        assert_eq!(with_panic_threshold(&half), half);
        let most = states(&[State::Ready, State::Dead, State::Suspect]);
        assert_eq!(
            with_panic_threshold(&most),
            states(&[State::Ready, State::Suspect, State::Suspect])
        );
    }
}
