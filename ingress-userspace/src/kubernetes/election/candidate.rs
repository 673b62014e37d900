//! Who may hold the Lease: the rules, without I/O.
//!
//! No clock is compared with another machine's. A candidate waits for as long as the Lease holds
//! from the moment that it *saw* the last change of it, by its own clock, which is later than that
//! change; the holder counts from the moment that it *began* to ask, which is earlier, and stops a
//! third of the time before anybody else may begin. As client-go's `leaderelection`.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use tokio::time::Instant;

/// Fractions of a Lease's time to live, in thousandths.
const RENEW: u32 = 200;
const LOOK: u32 = 300;
const HOLD: u32 = 667;

/// One who wants to hold the Lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    ttl: Duration,
    /// The Lease's version when it last changed, what it said, and when that was seen. The version
    /// too: a clock that stands still renews all the same.
    observed: Option<(Option<String>, LeaseSpec, Instant)>,
}

/// What to do about the Lease as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Write this one; its resource version, if any, is the one it replaces.
    Write(Box<Lease>),
    /// Somebody else's, until then at least.
    Wait(Instant),
}

impl Candidate {
    pub(super) fn new(identity: String, ttl: Duration) -> Self {
        Self { identity, ttl, observed: None }
    }

    /// How long the holder may act after it began to ask for a renewal that was granted.
    pub(super) fn hold(&self) -> Duration {
        self.part(HOLD)
    }

    /// Between two renewals.
    pub(super) fn renewal(&self) -> Duration {
        self.part(RENEW)
    }

    /// Between two looks of who does not hold it. Longer than between renewals: there may be a
    /// thousand who look.
    pub(super) fn look(&self) -> Duration {
        self.part(LOOK)
    }

    fn part(&self, thousandths: u32) -> Duration {
        self.ttl * thousandths / 1000
    }

    /// `found` is the Lease, if there is one, as read before `now`.
    pub(super) fn step(
        &mut self,
        name: &str,
        found: Option<&Lease>,
        now: Instant,
        wall: Timestamp,
    ) -> Step {
        let Some(lease) = found else {
            self.observed = None;
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let spec = Some(self.record(None, wall));
            return Step::Write(Box::new(Lease { metadata, spec }));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let version = &lease.metadata.resource_version;
        let since = match &self.observed {
            Some((seen, known, since)) if seen == version && *known == spec => *since,
            _ => {
                self.observed = Some((version.clone(), spec.clone(), now));
                now
            }
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let until = since + lasts.map_or(self.ttl, Duration::from_secs);
        if !holder.is_empty() && holder != self.identity && now < until {
            return Step::Wait(until);
        }
        let spec = Some(self.record(Some(&spec), wall));
        // The rest of the object is left as it is: labels, annotations, the resource version.
        Step::Write(Box::new(Lease { metadata: lease.metadata.clone(), spec }))
    }

    /// What the Lease is to say so that the next one need not wait; `None`: it is not ours.
    pub(super) fn released(&self, lease: &Lease, wall: Timestamp) -> Option<Lease> {
        let spec = lease.spec.as_ref()?;
        (spec.holder_identity.as_deref() == Some(&*self.identity)).then(|| Lease {
            metadata: lease.metadata.clone(),
            spec: Some(LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                renew_time: Some(MicroTime(wall)),
                ..spec.clone()
            }),
        })
    }

    fn record(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let same = before.filter(|spec| spec.holder_identity.as_deref() == Some(&*self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        // Whole seconds are all that it can say; who waits longer harms nobody.
        let seconds = self.ttl.as_millis().div_ceil(1000);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: same.and_then(|spec| spec.acquire_time.clone()).or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(match (same, before) {
                (Some(_), _) | (None, None) => transitions,
                (None, Some(_)) => transitions.saturating_add(1),
            }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn lease(holder: &str, renewed: i64) -> Lease {
        let time = Timestamp::from_second(renewed).expect("in range");
        Lease {
            metadata: ObjectMeta {
                resource_version: Some("7".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(10),
                renew_time: Some(MicroTime(time)),
                lease_transitions: Some(3),
                ..LeaseSpec::default()
            }),
        }
    }

    fn written(step: Step) -> Lease {
        match step {
            Step::Write(lease) => *lease,
            Step::Wait(_) => panic!("it waits"),
        }
    }

    #[test]
    fn a_lease_that_nobody_has_is_taken_at_once() {
        let mut candidate = Candidate::new("a".to_owned(), TTL);
        let (now, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let new = written(candidate.step("id", None, now, wall));
        assert_eq!(new.metadata.name.as_deref(), Some("id"));
        assert_eq!(new.metadata.resource_version, None);
        let released = candidate.released(&lease("a", 1), wall).expect("it is ours");
        let taken =
            written(Candidate::new("b".to_owned(), TTL).step("id", Some(&released), now, wall));
        let spec = taken.spec.expect("there is one");
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(4), Some(10)));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(candidate.released(&lease("b", 1), wall), None);
    }

    #[test]
    fn the_clock_of_the_holder_does_not_matter() {
        // Renewed, so it says, in 1970 and in 2100: either is waited for from when it was seen.
        for renewed in [0, 4_102_444_800] {
            let mut candidate = Candidate::new("b".to_owned(), TTL);
            let (now, wall) = (Instant::now(), Timestamp::from_second(2_000_000_000).expect("ok"));
            let found = lease("a", renewed);
            assert_eq!(candidate.step("id", Some(&found), now, wall), Step::Wait(now + TTL));
            let almost = now + TTL - Duration::from_millis(1);
            assert_eq!(candidate.step("id", Some(&found), almost, wall), Step::Wait(now + TTL));
            // A renewal begins it anew.
            let renewed = lease("a", renewed + 1);
            assert_eq!(
                candidate.step("id", Some(&renewed), almost, wall),
                Step::Wait(almost + TTL)
            );
            written(candidate.step("id", Some(&renewed), almost + TTL, wall));
        }
    }

    #[test]
    fn a_dead_leader_is_replaced_within_one_and_a_half_times() {
        let candidate = Candidate::new("b".to_owned(), TTL);
        // Seen one look after the last renewal at the latest, plus a tenth; then the time to live,
        // plus a twentieth.
        assert!(candidate.look() * 11 / 10 + TTL + TTL / 20 < TTL * 3 / 2);
        assert!(candidate.hold() + TTL / 4 < TTL);
    }

    /// A store as the API server is one: a write that does not know the latest version fails.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        version: u64,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease) -> bool {
            let present =
                self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
            if present != lease.metadata.resource_version {
                return false;
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(lease);
            true
        }
    }

    proptest! {
        /// Whatever the delays of reads and writes, and whichever of them are lost: nobody thinks
        /// to hold it while another does.
        #[test]
        fn there_are_never_two_leaders(
            turns in proptest::collection::vec(
                (0_usize..3, 0_u64..3000, 0_usize..8, any::<bool>(), -50_i64..50), 1..400)
        ) {
            let names = ["a", "b", "c"];
            let mut candidates: Vec<_> =
                names.iter().map(|name| Candidate::new((*name).to_owned(), TTL)).collect();
            let mut held: [Option<Instant>; 3] = [None; 3];
            let mut server = Server::default();
            let mut under_way: Vec<(usize, Instant, Box<Lease>)> = Vec::new();
            let mut now = Instant::now();
            for (who, pause, arrives, answered, skew) in turns {
                now += Duration::from_millis(pause);
                let wall = Timestamp::from_second(1_000_000_000 + skew * 1000).expect("in range");
                // Read and judged now; the write arrives later, its answer perhaps never.
                let found = server.lease.clone();
                if let Step::Write(lease) = candidates[who].step("id", found.as_ref(), now, wall) {
                    under_way.push((who, now, lease));
                }
                if arrives < under_way.len() {
                    let (who, began, lease) = under_way.remove(arrives);
                    if server.write(*lease) && answered {
                        held[who] = Some(began + candidates[who].hold());
                    }
                }
                let leaders = held.iter().flatten().filter(|until| now < **until).count();
                prop_assert!(leaders <= 1, "{leaders} leaders");
            }
        }
    }
}
