//! As whom the API server is asked by those who write.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::{sync::Notify, time::Instant};

use super::{client::Access, fault::Fault};

/// Until it is looked again for an account that was not there.
const RETRY: Duration = Duration::from_secs(10);
/// Between two clients, with which the API server may have no more in mind than with the one before:
/// twice as long each time, up to the latter.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
/// Who was not refused for so long after a pause, was known meanwhile.
const WELL: Duration = Duration::from_secs(60);

/// The client that is asked with now. One whom the API server does not know any more is renewed.
#[derive(Clone)]
pub(super) struct Account {
    /// `None`: there is nothing to renew it from.
    access: Option<Arc<Access>>,
    client: Arc<Mutex<Client>>,
    /// An answer was 401.
    refused: Arc<Notify>,
}

impl Account {
    /// Waits for as long as there is no client to be had.
    pub(super) async fn of(access: Access) -> Self {
        let refused = Arc::new(Notify::new());
        let client = client(&access, &refused).await;
        let (access, client) = (Some(Arc::new(access)), Arc::new(Mutex::new(client)));
        Self { access, client, refused }
    }

    /// Always this client.
    #[cfg(test)]
    pub(super) fn fixed(client: Client) -> Self {
        let (client, refused) = (Arc::new(Mutex::new(client)), Arc::default());
        Self { access: None, client, refused }
    }

    /// For one request, not to be kept.
    pub(super) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads again who we are each time that the API server does not know us, for as long as it is
    /// polled.
    pub(super) async fn renew(&self) {
        let Some(access) = &self.access else { return std::future::pending().await };
        let mut pauses = Pauses::default();
        loop {
            self.refused.notified().await;
            // Whether it helps, those say who ask again.
            tracing::info!("the API server does not know who writes: reading the account again");
            let renewed = client(access, &self.refused).await;
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
            let pause = pauses.next(Instant::now());
            // Not all replicas at one moment.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }
}

/// How long to wait after a new client, before there may be another.
#[derive(Default)]
struct Pauses {
    /// The last one, and when it ends at the latest.
    last: Option<(Duration, Instant)>,
}

impl Pauses {
    fn next(&mut self, now: Instant) -> Duration {
        let lasting = self.last.filter(|(_, end)| now < *end + WELL);
        let pause = lasting.map_or(PAUSE, |(pause, _)| (pause * 2).min(LONGEST));
        self.last = Some((pause, now + pause));
        pause
    }
}

async fn client(access: &Access, refused: &Arc<Notify>) -> Client {
    let mut fault = Fault::new("what is written into the cluster");
    loop {
        match access.watched_client(refused).await {
            Ok(client) => return client,
            Err(error) => fault.said(&error.to_string()),
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_unknown_asks_ever_more_seldom_and_who_was_known_meanwhile_soon() {
        let (mut pauses, mut now) = (Pauses::default(), Instant::now());
        for seconds in [2, 4, 8, 16, 30, 30] {
            let pause = pauses.next(now);
            assert_eq!(pause, Duration::from_secs(seconds));
            // The next refusal comes with the next thing to write.
            now += pause + Duration::from_secs(10);
        }
        now += WELL;
        assert_eq!(pauses.next(now), PAUSE);
    }
}
