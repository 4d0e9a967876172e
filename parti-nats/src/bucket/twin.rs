//! Another group of the same name in another JetStream, as leaf nodes make it: heard of over the network.
//!
//! It is separate because JetStream itself cannot tell: each one knows only its own streams, while plain
//! messages pass from one to the other, on a subject of the group. A store that opens asks there which bucket
//! the group uses, and is refused if it is another one; an open store says now and then which one it uses,
//! so that two groups that began apart are told. One store of each bucket hears a message, so that a group
//! of a thousand pays one a look.
//!
//! What always holds: a message with a place to reply to is a question, which is answered and no sighting.
//! Another domain is another JetStream. Within one domain, or where neither has one, a bucket that was made
//! again looks the same as one elsewhere, so a store speaks only after the stream's leader confirmed that
//! the bucket is still its own. Where permissions forbid all this, a store opens all the same, and nothing
//! is said twice on one connection.

mod question;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use parti_core::StoreFault;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::bucket::twin::question::answered_within;
pub(crate) use crate::bucket::twin::question::ensure_only;
use crate::bucket::{self, StreamInfo};
use crate::requests::api::{Api, connection};
use crate::settings::error::jetstream;
use crate::settings::options::{Access, ApiPrefix};
use crate::wire::key::GROUP_SUBJECT;

/// For how long a group that was heard of counts as alive: some of its looks, of which each reaches one
/// of ours.
const ALIVE_FOR: Duration = Duration::from_secs(300);

/// Which bucket a store uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// When it was created, in nanoseconds.
    created: u64,
    /// The JetStream domain it is in; empty without one.
    #[serde(default)]
    domain: String,
}

/// What a store says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    #[serde(flatten)]
    identity: Identity,
    /// Whether it is said because another bucket was heard of.
    #[serde(default)]
    answer: bool,
}

impl Identity {
    fn of(info: &StreamInfo) -> Option<Self> {
        let created = info.created().ok()?;
        let domain = info.domain.clone().unwrap_or_default();
        Some(Self { created, domain })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.created == other.created
    }
}

impl Said {
    fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).map_or_else(|_| Bytes::new(), Bytes::from)
    }

    fn read(message: &Message) -> Option<Self> {
        serde_json::from_slice(&message.payload).ok()
    }
}

/// The subject on which the stores of the group speak.
fn subject(api: &Api) -> String {
    format!("{GROUP_SUBJECT}{}", api.names.bucket)
}

/// The search for twins of one store's group. Ends when it is dropped.
#[derive(Default)]
pub(crate) struct Twins {
    known: Arc<Mutex<Known>>,
    listening: Mutex<Option<Listening>>,
}

#[derive(Debug, Default)]
struct Known {
    own: Option<Identity>,
    heard: Option<(Identity, Instant)>,
}

struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A panic leaves the value whole, so a poisoned lock is usable.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Twins {
    /// Says which bucket this store uses. Never waits: what the client does not take at once is not said.
    pub(crate) fn look(&self, api: &Api, info: &StreamInfo) {
        let Some(own) = Identity::of(info) else {
            return;
        };
        // Who takes no part does not speak for the group.
        if api.options.access != Access::Member {
            return;
        }
        if !api.is_connected() || api.violations.forbids_twins(connection(api)) {
            return;
        }
        if locked(&self.known).own.as_ref() != Some(&own) && !self.listen(api, &own) {
            return;
        }
        let answer = false;
        let identity = own;
        let said = Said { identity, answer }.bytes();
        drop(api.client.publish(subject(api), said).now_or_never());
    }

    fn listen(&self, api: &Api, own: &Identity) -> bool {
        // One of all stores of this bucket gets each message.
        let queue = own.created.to_string();
        let subscribed = api.client.queue_subscribe(subject(api), queue);
        let Some(Ok(messages)) = subscribed.now_or_never() else {
            return false;
        };
        *locked(&self.known) = Known {
            own: Some(own.clone()),
            heard: None,
        };
        let known = Arc::clone(&self.known);
        let hearing = hear(messages, api.clone(), own.clone(), known);
        *locked(&self.listening) = Some(Listening(tokio::spawn(hearing)));
        true
    }

    /// The twin, if one was heard of lately and this store was not told where to look.
    pub(crate) fn fault(&self, api: &Api) -> Option<StoreFault> {
        let known = locked(&self.known);
        let (own, (twin, at)) = (known.own.as_ref()?, known.heard.as_ref()?);
        let matters = api.options.api == ApiPrefix::Default && at.elapsed() < ALIVE_FOR;
        matters.then(|| StoreFault {
            setting: "the group's JetStream".to_owned(),
            found: format!(
                "one {}, while a group of this name lives in one {}, so that partitions may have two owners",
                jetstream(&own.domain),
                jetstream(&twin.domain)
            ),
            needed: "one for all workers, named in each with NatsOptions::domain".to_owned(),
        })
    }
}

impl fmt::Debug for Twins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Twins").field(&locked(&self.known)).finish()
    }
}

async fn hear(mut messages: Subscriber, api: Api, own: Identity, known: Arc<Mutex<Known>>) {
    while let Some(message) = messages.next().await {
        let Some(said) = Said::read(&message) else {
            continue;
        };
        let is_twin = !said.identity.is_same(&own);
        if is_twin && said.identity.domain == own.domain && !is_current(&api, &own).await {
            continue;
        }
        let to = match message.reply {
            Some(_) if api.violations.forbids_answers() => continue,
            Some(asker) => asker.into_string(),
            None if is_twin => {
                locked(&known).hears(&said.identity);
                if said.answer {
                    continue;
                }
                // So that a store that has just begun need not wait for another's next look.
                subject(&api)
            }
            None => continue,
        };
        let (identity, answer) = (own.clone(), true);
        let said = Said { identity, answer }.bytes();
        if let Err(error) = api.client.publish(to, said).await {
            tracing::debug!(%error, "another store of the name is not answered");
        }
    }
}

/// Whether the bucket is still the one it was, as the leader of its stream says.
async fn is_current(api: &Api, own: &Identity) -> bool {
    let deadline = tokio::time::Instant::now() + answered_within(&api.options) / 2;
    let info = bucket::ask(api, deadline).await;
    info.is_ok_and(|info| Identity::of(&info).is_some_and(|now| now.is_same(own)))
}

impl Known {
    /// Takes note of the bucket of a twin.
    fn hears(&mut self, said: &Identity) {
        let Some(own) = self.own.as_ref().filter(|own| !own.is_same(said)) else {
            return;
        };
        if self.heard.as_ref().is_none_or(|(twin, _)| twin != said) {
            tracing::error!(
                own.domain,
                other.domain = said.domain,
                "a group of the same name lives in another JetStream: partitions may have two owners"
            );
        }
        self.heard = Some((said.clone(), Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(created: u64, domain: &str) -> Identity {
        let domain = domain.to_owned();
        Identity { created, domain }
    }

    /// A later release may say more, and an older one less; neither must end the search.
    #[test]
    fn what_is_said_is_read_also_from_other_releases() {
        let said = Said {
            identity: identity(7, "hub"),
            answer: true,
        };
        let read = |bytes: &[u8]| serde_json::from_slice::<Said>(bytes).map(|said| said.identity);
        assert_eq!(read(&said.bytes()).ok(), Some(identity(7, "hub")));
        let more = br#"{"created":7,"domain":"hub","release":"9"}"#;
        assert_eq!(read(more).ok(), Some(identity(7, "hub")));
        assert_eq!(read(br#"{"created":7}"#).ok(), Some(identity(7, "")));
        assert!(read(b"hello").is_err());
    }

    /// Its own bucket, named by another worker, is no twin.
    #[test]
    fn only_another_bucket_is_a_twin() {
        let mut known = Known {
            own: Some(identity(1, "hub")),
            heard: None,
        };
        known.hears(&identity(1, "hub"));
        assert!(known.heard.is_none());
        known.hears(&identity(2, "leaf"));
        assert!(known.heard.is_some());
    }
}
