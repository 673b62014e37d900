//! Connecting to one of the addresses that a name stands for (RFC 8305, "Happy Eyeballs"): an address
//! that has not taken the connection after a while gets company, and the first that takes it wins.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long an address has for itself before the next one is asked beside it: the Connection Attempt
/// Delay that RFC 8305, section 5, recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses of a name.
pub(crate) trait Candidates {
    /// The next one to be asked. `None`: all have been.
    fn another(&mut self) -> Option<SocketAddr>;

    /// This one did not take the connection, or not before one that was asked later.
    fn lost(&mut self, address: SocketAddr);
}

/// Asks `first` and, where that fails or takes its time, the candidates after it. Returns who took the
/// connection; the attempts at the others end.
///
/// # Errors
/// That of the last attempt, after all have failed.
pub(crate) async fn race<T, E, F: Future<Output = Result<T, E>>>(
    first: SocketAddr,
    candidates: &mut impl Candidates,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), E> {
    staggered(HEAD_START, first, candidates, connect).await
}

async fn staggered<T, E, F: Future<Output = Result<T, E>>>(
    head_start: Duration,
    first: SocketAddr,
    candidates: &mut impl Candidates,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), E> {
    // In the order in which they began.
    let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = vec![(first, Box::pin(connect(first)))];
    let mut pause = pin!(sleep(head_start));
    let mut all_asked = false;
    poll_fn(|cx| {
        loop {
            let mut index = 0;
            while let Some((address, attempt)) = running.get_mut(index) {
                let address = *address;
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => index += 1,
                    Poll::Ready(Ok(connection)) => {
                        for (slower, _) in running.iter().take(index) {
                            candidates.lost(*slower);
                        }
                        return Poll::Ready(Ok((address, connection)));
                    }
                    Poll::Ready(Err(error)) => {
                        candidates.lost(address);
                        drop(running.remove(index));
                        // Nobody waits for who has failed.
                        if let Some(next) = candidates.another() {
                            running.push((next, Box::pin(connect(next))));
                            pause.as_mut().reset(Instant::now() + head_start);
                        } else if running.is_empty() {
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            }
            if all_asked || pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match candidates.another() {
                Some(next) => {
                    running.push((next, Box::pin(connect(next))));
                    pause.as_mut().reset(Instant::now() + head_start);
                }
                None => all_asked = true,
            }
        }
    })
    .await
}

/// Alternates between the families as long as there are addresses of both (RFC 8305, section 4),
/// beginning with that of the first; within each the order stays.
pub(crate) fn interleave(addresses: &mut Vec<SocketAddr>) {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return };
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.drain(..).partition(|address| address.is_ipv4() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return;
        }
        addresses.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use super::*;

    /// What an address does with a connection.
    #[derive(Clone, Copy)]
    enum Does {
        /// Takes it once so many have been asked.
        Takes(usize),
        /// Refuses it once so many have been asked.
        Refuses(usize),
        /// It is silent, for good.
        Nothing,
    }
    use Does::{Nothing, Refuses, Takes};

    struct List {
        left: VecDeque<SocketAddr>,
        lost: Vec<SocketAddr>,
    }

    impl Candidates for List {
        fn another(&mut self) -> Option<SocketAddr> {
            self.left.pop_front()
        }

        fn lost(&mut self, address: SocketAddr) {
            self.lost.push(address);
        }
    }

    fn address(index: usize) -> SocketAddr {
        let port = u16::try_from(index).expect("few");
        match index % 2 {
            0 => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port).into(),
            _ => ([192, 0, 2, 1], port).into(),
        }
    }

    /// Longer than any test.
    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(20);

    /// Who won, or whose failure was the last; how many were asked; who is said to have lost.
    type Course = (Result<usize, usize>, usize, Vec<usize>);

    fn run(head_start: Duration, all: &[Does]) -> (Course, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let begun = Instant::now();
            let place = |address: SocketAddr| usize::from(address.port());
            let asked = &RefCell::new(0);
            let until = async |count| {
                while *asked.borrow() < count {
                    tokio::task::yield_now().await;
                }
            };
            let until = &until;
            let mut list = List { left: (1..all.len()).map(address).collect(), lost: vec![] };
            let outcome = staggered(head_start, address(0), &mut list, |address| {
                *asked.borrow_mut() += 1;
                let does = all[place(address)];
                async move {
                    match does {
                        Takes(count) => {
                            until(count).await;
                            Ok(())
                        }
                        Refuses(count) => {
                            until(count).await;
                            Err(place(address))
                        }
                        Nothing => std::future::pending().await,
                    }
                }
            });
            let outcome = outcome.await.map(|(address, ())| place(address));
            let lost = list.lost.into_iter().map(place).collect();
            ((outcome, *asked.borrow(), lost), begun.elapsed())
        })
    }

    #[test]
    fn who_takes_the_connection_soon_has_no_company() {
        assert_eq!(run(NEVER, &[Takes(0), Nothing]).0, (Ok(0), 1, vec![]));
    }

    #[test]
    fn a_silent_address_costs_its_head_start_and_has_lost() {
        let (course, time) = run(SHORT, &[Nothing, Takes(0)]);
        assert_eq!(course, (Ok(1), 2, vec![0]));
        assert!(time >= SHORT, "{time:?}");
        let (course, time) = run(SHORT, &[Nothing, Nothing, Takes(0)]);
        assert_eq!(course, (Ok(2), 3, vec![0, 1]));
        assert!(time >= 2 * SHORT, "{time:?}");
    }

    #[test]
    fn one_that_is_merely_slow_may_still_win() {
        assert_eq!(run(SHORT, &[Takes(2), Nothing]).0, (Ok(0), 2, vec![]));
        assert_eq!(run(SHORT, &[Takes(2), Refuses(0)]).0, (Ok(0), 2, vec![]));
    }

    #[test]
    fn after_a_refusal_the_next_one_begins_at_once() {
        let all = [Refuses(0), Refuses(0), Takes(0), Nothing];
        assert_eq!(run(NEVER, &all).0, (Ok(2), 3, vec![0, 1]));
    }

    #[test]
    fn it_is_lost_when_all_have_failed_and_not_before() {
        assert_eq!(run(NEVER, &[Refuses(0)]).0, (Err(0), 1, vec![0]));
        assert_eq!(run(NEVER, &[Refuses(0), Refuses(0)]).0, (Err(1), 2, vec![0, 1]));
        assert_eq!(run(SHORT, &[Refuses(2), Refuses(0)]).0.1, 2);
    }

    #[test]
    fn families_take_turns() {
        let [six, four] =
            [0, 1].map(|parity| (0..4).map(|n| address(2 * n + parity)).collect::<Vec<_>>());
        let mut all = [&six[..3], &four[..1]].concat();
        interleave(&mut all);
        assert_eq!(all, [six[0], four[0], six[1], six[2]]);
        let mut all = [&four[..2], &six[..3]].concat();
        interleave(&mut all);
        assert_eq!(all, [four[0], six[0], four[1], six[1], six[2]]);
        let mut none = Vec::new();
        interleave(&mut none);
        assert!(none.is_empty());
    }
}
