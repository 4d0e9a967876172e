//! Requests that have arrived: admitted, handled, answered.
//!
//! It is separate from the handler because it runs beside it. What always holds: a request is counted into
//! its ownership in the same step in which the guard is looked at, so that `on_revoked` waits for every one
//! that was admitted; an answer says "done" only if the guard was valid after the work.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parti_core::{PartitionKey, Token};
use parti_nats::route::{Answering, Ask, Bytes, KnownOwner, Listening, Received, Refusal, Reply};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::admission::{Admission, Held, admit};
use crate::handler::HandlerError;
use crate::handler::guard::Guard;
use crate::observe::directory::Directory;
use crate::system::contain::{self, Ran};

/// The longest a request may wait here for its ownership, whatever it says.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// What is done with a request.
pub(super) type Service =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Bytes, HandlerError>> + Send + Sync>;

/// A request for a partition that this worker owns.
#[derive(Clone, Debug)]
pub struct Request {
    guard: Guard,
    payload: Bytes,
}

impl Request {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &PartitionKey {
        self.guard.partition()
    }

    /// The fencing token in whose name it is handled: pass it to what the work writes to.
    #[must_use]
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// The guard.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What was sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// What is held of a partition.
enum Slot {
    Open(Open),
    Over(Token),
}

/// An ownership with what runs in its name: `busy` is cloned into each request.
pub(super) struct Open {
    guard: Guard,
    busy: mpsc::Sender<Infallible>,
    idle: mpsc::Receiver<Infallible>,
}

impl Open {
    /// Waits until the last request has ended.
    pub(super) async fn ended(mut self) {
        drop(self.busy);
        // Nothing is ever sent.
        while self.idle.recv().await.is_some() {}
    }
}

/// What all requests of a worker share.
pub(super) struct Serving {
    slots: Mutex<BTreeMap<PartitionKey, Slot>>,
    changed: watch::Sender<()>,
    permits: Arc<Semaphore>,
    service: Service,
    directory: Option<Arc<Directory>>,
}

/// How a request is admitted.
enum Admitted {
    Serve(Guard, mpsc::Sender<Infallible>),
    Wait,
    Over(Token),
}

impl Serving {
    pub(super) fn new(
        service: Service,
        max_requests: usize,
        directory: Option<Arc<Directory>>,
    ) -> Self {
        Self {
            slots: Mutex::default(),
            changed: watch::Sender::new(()),
            permits: Arc::new(Semaphore::new(max_requests)),
            service,
            directory,
        }
    }

    /// Takes requests in the name of an ownership from now on.
    pub(super) fn open(&self, guard: Guard) {
        let (busy, idle) = mpsc::channel(1);
        let partition = guard.partition().clone();
        let open = Slot::Open(Open { guard, busy, idle });
        self.slots().insert(partition, open);
        self.changed.send_replace(());
    }

    /// Takes none from now on; what was taken is in the answer, to be waited for.
    pub(super) fn close(&self, partition: &PartitionKey, token: Token) -> Option<Open> {
        let before = self.slots().insert(partition.clone(), Slot::Over(token));
        self.changed.send_replace(());
        match before {
            Some(Slot::Open(open)) => Some(open),
            Some(Slot::Over(_)) | None => None,
        }
    }

    fn admit(&self, ask: &Ask) -> Admitted {
        let slots = self.slots();
        let slot = slots.get(&ask.partition);
        let held = match slot {
            None => Held::Nothing,
            Some(Slot::Over(token)) => Held::Over(*token),
            Some(Slot::Open(open)) if open.guard.is_revoking() || !open.guard.is_valid() => {
                Held::Over(open.guard.token())
            }
            Some(Slot::Open(open)) => Held::Open(open.guard.token()),
        };
        match (admit(held, ask.token), slot) {
            (Admission::Serve, Some(Slot::Open(open))) => {
                Admitted::Serve(open.guard.clone(), open.busy.clone())
            }
            (Admission::Over(token), _) => Admitted::Over(token),
            (Admission::Serve | Admission::Wait, _) => Admitted::Wait,
        }
    }

    /// A panic leaves the map whole.
    fn slots(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, partition: &PartitionKey, over: Token) -> Option<KnownOwner> {
        let owner = self.directory.as_ref()?.owner_of(partition)?;
        let token = owner.token;
        owner
            .endpoint
            .filter(|_| token > over)
            .map(|endpoint| KnownOwner { endpoint, token })
    }

    async fn answer(&self, ask: Ask, answering: Answering) {
        let until = Instant::now() + ask.hold.min(MAX_HOLD);
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let refusal = match self.admit(&ask) {
                Admitted::Serve(guard, busy) => {
                    answering.answer(self.serve(guard, ask.payload).await).await;
                    // Not before the answer is on its way: then the ownership may end.
                    drop(busy);
                    return;
                }
                Admitted::Over(token) => {
                    let owner = self.owner(&ask.partition, token);
                    Refusal::Over { token, owner }
                }
                Admitted::Wait => match timeout_at(until, changed.changed()).await {
                    Ok(_) => continue,
                    Err(_) => Refusal::NotYet,
                },
            };
            return answering.answer(Reply::Refused(refusal)).await;
        }
    }

    async fn serve(&self, guard: Guard, payload: Bytes) -> Reply {
        let token = guard.token();
        let request = Request {
            guard: guard.clone(),
            payload,
        };
        let work = async { (self.service)(request).await };
        let ran = contain::run(work, guard.invalidated()).await;
        if !guard.is_valid() {
            return Reply::Interrupted { token };
        }
        match ran {
            Ran::Done(Ok(payload)) => Reply::Done { token, payload },
            Ran::Done(Err(error)) => {
                let reason = error.to_string();
                Reply::Failed { token, reason }
            }
            Ran::Panicked(words) => {
                let reason = format!("it panicked: {words}");
                Reply::Failed { token, reason }
            }
            Ran::Cut { .. } => Reply::Interrupted { token },
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots();
        let open = slots.values().filter(|slot| matches!(slot, Slot::Open(_)));
        f.debug_struct("Serving")
            .field("open", &open.count())
            .finish_non_exhaustive()
    }
}

/// Takes requests until the listening ends, and ends with the last of them.
pub(super) async fn listen(serving: Arc<Serving>, mut listening: Listening, end: Arc<Notify>) {
    let mut requests = JoinSet::new();
    let mut ending = false;
    loop {
        tokio::select! {
            received = listening.next() => match received {
                Some(received) => take(&serving, received, &mut requests).await,
                None => break,
            },
            Some(_) = requests.join_next() => {}
            () = end.notified(), if !ending => {
                ending = true;
                listening.end().await;
            }
        }
    }
    while requests.join_next().await.is_some() {}
}

async fn take(serving: &Arc<Serving>, received: Received, requests: &mut JoinSet<()>) {
    let Received { ask, answering } = received;
    match Arc::clone(&serving.permits).try_acquire_owned() {
        Ok(permit) => {
            let serving = Arc::clone(serving);
            requests.spawn(async move {
                serving.answer(ask, answering).await;
                drop(permit);
            });
        }
        Err(_) => answering.answer(Reply::Refused(Refusal::Busy)).await,
    }
}
