//! Another group of the same name in another JetStream, as leaf nodes make it: heard of over the network.
//!
//! It is separate because JetStream itself cannot tell: each one knows only its own streams, while plain
//! messages pass from one to the other. Each store says now and then which bucket it uses, on a subject of
//! the group; one store of each bucket hears it, so that a group of a thousand pays one message a look.
//! What always holds: nothing but a report depends on it, and where permissions forbid it nothing is said
//! twice on one connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use parti_core::StoreFault;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::bucket::StreamInfo;
use crate::requests::api::{Api, connection};
use crate::settings::options::ApiPrefix;
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

impl Said {
    fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).map_or_else(|_| Bytes::new(), Bytes::from)
    }
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
        let Ok(created) = info.created() else {
            return;
        };
        let domain = info.domain.clone().unwrap_or_default();
        let own = Identity { created, domain };
        let subject = format!("{GROUP_SUBJECT}{}", api.names.bucket);
        if !api.is_connected() || api.violations.forbids_twins(connection(api)) {
            return;
        }
        if locked(&self.known).own.as_ref() != Some(&own) && !self.listen(api, &subject, &own) {
            return;
        }
        let answer = false;
        let identity = own;
        let said = Said { identity, answer }.bytes();
        drop(api.client.publish(subject, said).now_or_never());
    }

    fn listen(&self, api: &Api, subject: &str, own: &Identity) -> bool {
        // One of all stores of this bucket gets each message.
        let queue = own.created.to_string();
        let subscribed = api.client.queue_subscribe(subject.to_owned(), queue);
        let Some(Ok(messages)) = subscribed.now_or_never() else {
            return false;
        };
        *locked(&self.known) = Known {
            own: Some(own.clone()),
            heard: None,
        };
        let known = Arc::clone(&self.known);
        let hearing = hear(messages, api.client.clone(), subject.to_owned(), known);
        *locked(&self.listening) = Some(Listening(tokio::spawn(hearing)));
        true
    }

    /// The twin, if one was heard of lately and this store was not told where to look.
    pub(crate) fn fault(&self, api: &Api) -> Option<StoreFault> {
        let known = locked(&self.known);
        let (own, (twin, at)) = (known.own.as_ref()?, known.heard.as_ref()?);
        let matters = api.options.api == ApiPrefix::Default && at.elapsed() < ALIVE_FOR;
        let name = |identity: &Identity| match identity.domain.as_str() {
            "" => "without a domain".to_owned(),
            domain => format!("of domain {domain:?}"),
        };
        matters.then(|| StoreFault {
            setting: "the group's JetStream".to_owned(),
            found: format!(
                "one {}, while a group of this name lives in one {}, so that partitions may have two owners",
                name(own),
                name(twin)
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

async fn hear(mut messages: Subscriber, client: Client, subject: String, known: Arc<Mutex<Known>>) {
    while let Some(message) = messages.next().await {
        let Ok(said) = serde_json::from_slice::<Said>(&message.payload) else {
            continue;
        };
        let Some(own) = locked(&known).hears(&said.identity) else {
            continue;
        };
        if !said.answer {
            // So that a store that has just begun need not wait for another's next look.
            let (identity, answer) = (own, true);
            let said = Said { identity, answer }.bytes();
            if let Err(error) = client.publish(subject.clone(), said).await {
                tracing::debug!(%error, "another group of the name is not answered");
            }
        }
    }
}

impl Known {
    /// Takes note of a bucket that another store uses. Answers with its own, if that is another one.
    fn hears(&mut self, said: &Identity) -> Option<Identity> {
        let own = self.own.clone().filter(|own| own.created != said.created)?;
        if self.heard.as_ref().is_none_or(|(twin, _)| twin != said) {
            tracing::error!(
                own.domain,
                other.domain = said.domain,
                "a group of the same name lives in another JetStream: partitions may have two owners"
            );
        }
        self.heard = Some((said.clone(), Instant::now()));
        Some(own)
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
        assert_eq!(known.hears(&identity(1, "hub")), None);
        assert!(known.heard.is_none());
        assert_eq!(known.hears(&identity(2, "leaf")), Some(identity(1, "hub")));
        assert!(known.heard.is_some());
        assert_eq!(Known::default().hears(&identity(2, "leaf")), None);
    }
}
