//! What the server says about permissions, outside of any answer.
//!
//! A publish without permission gets no answer at all, only a line on the connection. Without this
//! file it would look like a slow server. It is separate because the lines arrive on the client's
//! event callback, which only exists when the store makes the connection itself.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Event, ServerError};
use tokio::sync::broadcast;

/// How many violations may wait for a slow reader; older ones are dropped.
const WAITING_MAX: usize = 64;

/// Passes violations on to the requests they concern.
#[derive(Clone, Debug)]
pub(crate) struct Violations {
    publish: broadcast::Sender<Arc<str>>,
    subscribe: Arc<Mutex<Option<String>>>,
}

impl Violations {
    pub(crate) fn new() -> Self {
        Self {
            publish: broadcast::channel(WAITING_MAX).0,
            subscribe: Arc::default(),
        }
    }

    /// Takes note of an event of the client.
    pub(crate) fn on_event(&self, event: &Event) {
        let Event::ServerError(ServerError::Other(text)) = event else {
            return;
        };
        match Violation::parse(text) {
            // Nobody waiting is fine: the request gave up already.
            Some(Violation::Publish(subject)) => drop(self.publish.send(subject.into())),
            Some(Violation::Subscribe(subject)) => {
                let mut last = self
                    .subscribe
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *last = Some(subject.to_owned());
            }
            None => {}
        }
    }

    /// The subjects that may not be published to, from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.publish.subscribe()
    }

    /// The last subject that may not be subscribed to, if any.
    pub(crate) fn last_subscribe(&self) -> Option<String> {
        let last = self
            .subscribe
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Violation<'a> {
    Publish(&'a str),
    Subscribe(&'a str),
}

impl<'a> Violation<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (_, text) = text.split_once("ermissions Violation for ")?;
        let (verb, rest) = text.split_once(" to \"")?;
        let (subject, _) = rest.split_once('"')?;
        match verb {
            "Publish" => Some(Self::Publish(subject)),
            "Subscription" => Some(Self::Subscribe(subject)),
            _ => None,
        }
    }
}

/// A random number for jitter and names, from the seed the standard library gives its hashers.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing permission that looks like a time-out sends operators after the wrong problem.
    #[test]
    fn permission_lines_of_the_server_are_understood() {
        let cases = [
            (
                r#"Permissions Violation for Publish to "$KV.b.head""#,
                Some(Violation::Publish("$KV.b.head")),
            ),
            (
                r#"'Permissions Violation for Subscription to "_INBOX.x.*"'"#,
                Some(Violation::Subscribe("_INBOX.x.*")),
            ),
            ("Stale Connection", None),
            ("Permissions Violation for Publish to $KV", None),
        ];
        for (text, violation) in cases {
            assert_eq!(Violation::parse(text), violation, "{text}");
        }
    }
}
