//! Publishes numbers per key at a rate, and knows which sequence each has.
//!
//! It is separate because it runs by itself. What always holds: a key has one message on its way at a time,
//! and one that is not known to be stored is sent again under the same ID, so that each is stored once and
//! in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parti_nats::async_nats::HeaderMap;
use parti_nats::async_nats::jetstream::Context;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Stream;
use crate::group::{Step, words};

/// How long a server may take to say that it has stored something.
const STORED: Duration = Duration::from_secs(2);
/// The pause before what may not be stored is sent again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long to wait for what is due.
const TICK: Duration = Duration::from_millis(2);
/// What an outage held up beyond this many rounds of all keys is not made up for.
const BEHIND: usize = 4;

/// The stream sequences of each key's messages, by number.
pub(super) type Published = BTreeMap<String, Vec<u64>>;
/// The publisher stands still as long as this is there.
pub(super) type Held = OwnedMutexGuard<()>;

/// A publisher that runs.
pub(super) struct Publisher {
    turn: Arc<Mutex<()>>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Published>,
}

impl Publisher {
    pub(super) fn start(runtime: &Handle, context: Context, stream: Stream) -> Self {
        let turn = Arc::<Mutex<()>>::default();
        let is_over = Arc::<AtomicBool>::default();
        let run = run(context, stream, Arc::clone(&turn), Arc::clone(&is_over));
        let task = runtime.spawn(run);
        Self {
            turn,
            is_over,
            task,
        }
    }

    /// Lets it stand still with nothing on its way.
    pub(super) async fn hold(&self) -> Held {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Ends it; what it has published.
    pub(super) async fn end(self) -> Step<Published> {
        self.is_over.store(true, Ordering::Release);
        self.task.await.map_err(words("the publisher"))
    }
}

async fn run(
    context: Context,
    stream: Stream,
    turn: Arc<Mutex<()>>,
    is_over: Arc<AtomicBool>,
) -> Published {
    let keys: Vec<String> = (0..stream.keys).map(|key| format!("key-{key}")).collect();
    let mut published: Published = keys.iter().map(|key| (key.clone(), Vec::new())).collect();
    let (mut begun, mut sent, mut next) = (Instant::now(), 0, 0);
    while !is_over.load(Ordering::Acquire) {
        let due = begun.elapsed().as_millis() as usize * stream.rate / 1000;
        let missing = due.saturating_sub(sent);
        if missing > keys.len() * BEHIND {
            (begun, sent) = (Instant::now(), 0);
        }
        let count = missing.min(keys.len());
        if count == 0 {
            sleep(TICK).await;
            continue;
        }
        let _turn = turn.lock().await;
        let round: Vec<&String> = (0..count).map(|i| &keys[(next + i) % keys.len()]).collect();
        (next, sent) = ((next + count) % keys.len(), sent + count);
        let mut waiting = round;
        while !waiting.is_empty() {
            let tries = waiting
                .iter()
                .map(|key| try_one(&context, key, published[*key].len()));
            let stored = join_all(tries).await;
            let mut left = Vec::new();
            for (key, sequence) in waiting.into_iter().zip(stored) {
                match (sequence, published.get_mut(key)) {
                    (Some(sequence), Some(all)) => all.push(sequence),
                    _ => left.push(key),
                }
            }
            waiting = left;
            if !waiting.is_empty() {
                sleep(AGAIN).await;
            }
        }
    }
    published
}

/// The sequence under which it is stored, if that is known.
async fn try_one(context: &Context, key: &str, number: usize) -> Option<u64> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{key}:{number}"));
    let subject = format!("orders.{key}");
    let sent = context.publish_with_headers(subject, headers, number.to_string().into());
    let stored = timeout(STORED, async { sent.await.ok()?.await.ok() }).await;
    Some(stored.ok()??.sequence)
}
