//! What workers are asked while they serve, by those who look at the agent: what they know of
//! endpoints, and what would become of a request. Each answers on its own thread, between requests.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    balance::PeerState,
    pipeline,
    trial::{Explanation, Question},
    worker::Worker,
};
use crate::model::{BackendId, BackendKey};

/// Questions that wait at a worker.
const WAITING: usize = 16;
/// How long a worker may take for an answer: the firewall's patience, and a little.
const PATIENCE: Duration = Duration::from_secs(12);

/// Backends that are asked about: where they are in the snapshot of who asks, and what they are known
/// by.
pub(crate) type Wanted = Arc<[(BackendId, BackendKey)]>;

/// What a worker knows of the endpoints of each.
pub(crate) type Known = Vec<Vec<PeerState>>;

/// A question to a worker.
pub(crate) enum Inquiry {
    Endpoints(Wanted, oneshot::Sender<Known>),
    Explain(Box<Question>, oneshot::Sender<Box<Explanation>>),
}

/// Asks the workers. Clones ask the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Inquiries {
    senders: Arc<[mpsc::Sender<Inquiry>]>,
    /// Until its worker takes it.
    receivers: Arc<Mutex<Vec<Option<mpsc::Receiver<Inquiry>>>>>,
}

impl Inquiries {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(WAITING);
                (sender, Some(receiver))
            })
            .unzip();
        Self { senders: senders.into(), receivers: Arc::new(Mutex::new(receivers)) }
    }

    /// What the worker of this number is asked by; `None`: somebody has it already.
    pub(super) fn take(&self, worker: usize) -> Option<mpsc::Receiver<Inquiry>> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        receivers.get_mut(worker)?.take()
    }

    /// What each worker knows of the endpoints of these. One that does not answer is left out.
    pub(crate) async fn endpoints(&self, wanted: &Wanted) -> Vec<Known> {
        let mut answers = Vec::with_capacity(self.senders.len());
        for sender in self.senders.iter() {
            let (answer, known) = oneshot::channel();
            // A worker that has many questions to answer is not waited for.
            if sender.try_send(Inquiry::Endpoints(Arc::clone(wanted), answer)).is_ok() {
                answers.push(known);
            }
        }
        let mut all = Vec::with_capacity(answers.len());
        for known in answers {
            if let Ok(Ok(known)) = tokio::time::timeout(PATIENCE, known).await {
                all.push(known);
            }
        }
        all
    }

    /// What would become of a request. `None`: the workers have too much to do, or stop.
    pub(crate) async fn explain(&self, question: Question) -> Option<Box<Explanation>> {
        let mut question = Box::new(question);
        for sender in self.senders.iter() {
            let (answer, explained) = oneshot::channel();
            match sender.try_send(Inquiry::Explain(question, answer)) {
                Ok(()) => return tokio::time::timeout(PATIENCE, explained).await.ok()?.ok(),
                Err(refused) => match refused.into_inner() {
                    Inquiry::Explain(again, _) => question = again,
                    Inquiry::Endpoints(..) => return None,
                },
            }
        }
        None
    }
}

/// Answers a question.
pub(super) fn answer(worker: &Rc<Worker>, inquiry: Inquiry) {
    match inquiry {
        Inquiry::Endpoints(wanted, answer) => {
            let (view, now) = (worker.view(), worker.deadlines.now());
            let known = wanted.iter().map(|(id, key)| match view.place(*id, key) {
                Some(id) => view.look(id, now),
                None => Vec::new(),
            });
            let _nobody_waits = answer.send(known.collect());
        }
        Inquiry::Explain(question, answer) => {
            let worker = Rc::clone(worker);
            // A bug in it ends this task, and nothing else.
            tokio::task::spawn_local(async move {
                let explained = pipeline::explain(&worker, *question).await;
                let _nobody_waits = answer.send(Box::new(explained));
            });
        }
    }
}
