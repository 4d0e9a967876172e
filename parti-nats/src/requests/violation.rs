//! What the server says about permissions, outside of any answer.
//!
//! A publish without permission gets no answer at all, only a line on the connection. Without this
//! file it would look like a slow server. It is separate because the lines arrive on the client's
//! event callback, beside all requests.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Event, ServerError};
use tokio::sync::broadcast;

use crate::wire::key::{GROUP_ANSWER, GROUP_SUBJECT};

/// How many violations may wait for a slow reader; older ones are dropped.
const WAITING_MAX: usize = 64;
/// The least time between two connections made because a subscription was denied.
const RECONNECT_PAUSE: Duration = Duration::from_secs(5);

/// Whose client it is, so where its events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientEvents {
    /// The store's own, which may be reconnected.
    Own,
    /// A given one, whose owner passes the events on.
    PassedOn,
    /// A given one, whose events are not passed on.
    Missing,
}

/// Passes violations on to the requests they concern.
#[derive(Clone, Debug)]
pub(crate) struct Violations {
    events: ClientEvents,
    publish: broadcast::Sender<Arc<str>>,
    subscribe: Arc<Mutex<Denied>>,
    /// Subjects with a publication of which a denial may still come.
    unanswered: Arc<Mutex<BTreeSet<String>>>,
}

/// A publication under way: until it is answered, a denial of its subjects may come late.
#[derive(Debug)]
pub(crate) struct Sending {
    subjects: Vec<String>,
    unanswered: Arc<Mutex<BTreeSet<String>>>,
}

impl Sending {
    /// The server answered, and with that has said all there was to say.
    pub(crate) fn answered(mut self) {
        self.subjects.clear();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let subjects = std::mem::take(&mut self.subjects);
        locked(&self.unanswered).extend(subjects);
    }
}

/// A panic leaves the value whole, so a poisoned lock is usable.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscription that was denied on this connection, when that last led to a new one, and what was
/// said last of why there is no connection.
#[derive(Debug, Default)]
struct Denied {
    subject: Option<String>,
    refused: Option<String>,
    reconnected: Option<Instant>,
    /// The search for other groups of the name is not permitted on this connection.
    twins: bool,
    /// To answer such a search is not permitted on this connection.
    answers: bool,
    /// The connection on which a store that cannot hear of denials has searched.
    searched: Option<u64>,
}

impl Violations {
    pub(crate) fn new(events: ClientEvents) -> Self {
        Self {
            events,
            publish: broadcast::channel(WAITING_MAX).0,
            subscribe: Arc::default(),
            unanswered: Arc::default(),
        }
    }

    /// Takes note of an event of the client.
    pub(crate) fn on_event(&self, event: &Event) {
        let text = match event {
            Event::ServerError(ServerError::Other(text)) => text,
            Event::Connected => {
                // The client subscribes to everything again; what is still denied is told again.
                let mut denied = self.denied();
                (denied.subject, denied.refused) = (None, None);
                (denied.twins, denied.answers) = (false, false);
                return;
            }
            Event::ServerError(error) => return self.refuse(error.to_string()),
            Event::ClientError(error) => return self.refuse(error.to_string()),
            Event::Disconnected
            | Event::LameDuckMode
            | Event::Draining
            | Event::Closed
            | Event::SlowConsumer(_) => return,
        };
        match Violation::parse(text) {
            Some(Violation::Publish(subject)) if subject.ends_with(GROUP_ANSWER) => {
                tracing::debug!(subject, "who asks for the group is not answered");
                self.denied().answers = true;
            }
            Some(Violation::Publish(subject)) => {
                if subject.starts_with(GROUP_SUBJECT) {
                    self.forbid_twins(subject);
                } else {
                    tracing::warn!(subject, "the server's permissions do not allow to publish");
                }
                // Nobody waiting is fine: the request gave up already.
                drop(self.publish.send(subject.into()));
            }
            Some(Violation::Subscribe(subject)) if subject.starts_with(GROUP_SUBJECT) => {
                self.forbid_twins(subject);
            }
            Some(Violation::Subscribe(subject)) => {
                tracing::warn!(
                    subject,
                    "the server's permissions do not allow to subscribe"
                );
                self.denied().subject = Some(subject.to_owned());
            }
            None => self.refuse(text.clone()),
        }
    }

    /// The search for twins is not needed, so nobody need be warned.
    fn forbid_twins(&self, subject: &str) {
        tracing::debug!(subject, "other groups of the name are not looked for");
        self.denied().twins = true;
    }

    /// The server ended the connection, or did not let the client have one.
    fn refuse(&self, why: String) {
        let mut denied = self.denied();
        if denied.refused.as_ref() != Some(&why) {
            tracing::warn!(why, "the server refuses the connection");
            denied.refused = Some(why);
        }
    }

    /// Why there is no connection, in the last words about it.
    pub(crate) fn refused(&self) -> Option<String> {
        self.denied().refused.clone()
    }

    /// The subjects that may not be published to, from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.publish.subscribe()
    }

    /// Something is about to be published; say when it was answered.
    pub(crate) fn sending(&self, subjects: Vec<String>) -> Sending {
        let unanswered = Arc::clone(&self.unanswered);
        Sending {
            subjects,
            unanswered,
        }
    }

    /// Whether a denial of an earlier publication to one of the subjects may still come.
    pub(crate) fn may_come_late(&self, subjects: &[String]) -> bool {
        let unanswered = locked(&self.unanswered);
        subjects.iter().any(|subject| unanswered.contains(subject))
    }

    /// Whatever was to come for the subjects has come.
    pub(crate) fn came(&self, subjects: &[String]) {
        let mut unanswered = locked(&self.unanswered);
        for subject in subjects {
            unanswered.remove(subject);
        }
    }

    /// What may explain that an answer does not come, if anything.
    pub(crate) fn hint(&self) -> Option<String> {
        let denied = self.denied();
        if let Some(why) = &denied.refused {
            return Some(why.clone());
        }
        match (denied.subject.clone(), self.events) {
            (Some(subject), _) => Some(format!(
                "the server's permissions do not allow to subscribe to {subject:?}"
            )),
            (None, ClientEvents::Missing) => Some(
                "or a missing permission: the events of the given client are not passed on"
                    .to_owned(),
            ),
            (None, ClientEvents::Own | ClientEvents::PassedOn) => None,
        }
    }

    /// Whether to connect again because a subscription was denied: a client subscribes to its answers
    /// once a connection, so it would not notice that it may by now. Not often, and only with a
    /// client of our own.
    pub(crate) fn wants_reconnect(&self) -> bool {
        let mut denied = self.denied();
        let recently = |at: Instant| at.elapsed() < RECONNECT_PAUSE;
        let wanted = self.events == ClientEvents::Own
            && denied.subject.is_some()
            && !denied.reconnected.is_some_and(recently);
        if wanted {
            denied.reconnected = Some(Instant::now());
        }
        wanted
    }

    /// Whether to search no more for other groups of the name on this connection. Each attempt without
    /// permission is a line in the server's log; where denials are not passed on there is one.
    pub(crate) fn forbids_twins(&self, connection: u64) -> bool {
        let mut denied = self.denied();
        if self.events != ClientEvents::Missing {
            return denied.twins;
        }
        denied.searched.replace(connection) == Some(connection)
    }

    /// Whether to answer no more who searches: each attempt without permission is a line, too.
    pub(crate) fn forbids_answers(&self) -> bool {
        self.denied().answers
    }

    fn denied(&self) -> MutexGuard<'_, Denied> {
        locked(&self.subscribe)
    }
}

/// The events of a client you connect yourself, for the store that uses it.
///
/// Only through them does a client tell a missing permission; without them it looks like a server
/// that does not answer. Pass every event on, from the callback of the client's options:
///
/// ```no_run
/// use parti_core::GroupName;
/// use parti_nats::{ConnectionEvents, NatsOptions, NatsStore, async_nats, tuned};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (options, events) = (NatsOptions::default(), ConnectionEvents::new());
/// let heard = events.clone();
/// let client = tuned(async_nats::ConnectOptions::new(), &options)
///     .event_callback(move |event| {
///         heard.on_event(&event);
///         std::future::ready(())
///     })
///     .connect("nats://127.0.0.1:4222")
///     .await?;
/// let group = GroupName::new("orders")?;
/// let store = NatsStore::with_client_events(client, events, &group, options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionEvents(pub(crate) Violations);

impl ConnectionEvents {
    /// Events of one client. Clones are for the callback.
    #[must_use]
    pub fn new() -> Self {
        Self(Violations::new(ClientEvents::PassedOn))
    }

    /// Takes note of an event; never waits.
    pub fn on_event(&self, event: &Event) {
        self.0.on_event(event);
    }
}

impl Default for ConnectionEvents {
    fn default() -> Self {
        Self::new()
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
