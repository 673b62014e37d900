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
//! A tunnel that does not answer makes a peer suspect, never dead: as long as its agent answers it
//! may have connections.

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
    missed: u32,
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
        Self { state: State::Ready, missed: 0, good: 0, lost: 0, cut: 0, full_size: None }
    }
}

impl Health {
    /// Of a peer that was named just now: its agent may not run yet, so that it gets new
    /// connections only when it has answered.
    pub const fn newcomer() -> Self {
        Self { state: State::Suspect, missed: 0, good: 0, lost: 0, cut: 0, full_size: None }
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
        match (probe, tunnel) {
            (Probe::Ready, Tunnel::Refuses) => {
                self.missed = 0;
                self.good = 0;
                self.state = State::Draining;
            }
            (Probe::Ready, Tunnel::Missed) => {
                self.missed = 0;
                self.good = 0;
                if self.state == State::Dead || self.lost >= SUSPECT_AFTER {
                    self.state = State::Suspect;
                }
            }
            (Probe::Ready, Tunnel::Takes | Tunnel::Unasked) => {
                self.missed = 0;
                self.good = self.good.saturating_add(1);
                if self.good >= READY_AFTER {
                    self.state = State::Ready;
                }
            }
            (Probe::NotReady, _) => {
                self.missed = 0;
                self.good = 0;
                self.state = State::Draining;
            }
            (Probe::Missed, _) => {
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
    // The answer's head is enough: the connection is dropped with the future that drives it.
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        ended = connection => {
            ended?;
            // A busy peer's answer and its end come together, and either may be seen first.
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
            health.observe(*probe, Tunnel::Takes);
        }
        health.state()
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
        // Its agent is gone: nothing holds it in the table for the tunnel's sake.
        for _ in 0..10 {
            health.observe(Probe::Missed, Tunnel::Refuses);
        }
        assert_eq!(health.state(), State::Dead);
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
