//! Requests to the server: one function that sends, waits and says exactly what is known after.
//!
//! It is separate so that no other file talks to the client's request methods, whose defaults
//! queue while disconnected, fold "unknown" into "failed" and keep what is never answered. What always
//! holds: a request that finds no connection is not handed to the client; one that was handed over and
//! not answered is never reported as not sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::requests::leader::StreamLeader;
use crate::requests::page_size::PageSize;
use crate::requests::replies::Replies;
use crate::requests::violation::Violations;
use crate::settings::options::NatsOptions;
use crate::wire::key::Names;
use crate::wire::outcome::Failure;

/// What every request needs: the connection, the bucket's names and the settings.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) names: Names,
    pub(crate) options: NatsOptions,
    pub(crate) violations: Violations,
    pub(crate) page_size: Arc<PageSize>,
    pub(crate) leader: Arc<StreamLeader>,
    pub(crate) replies: Arc<Replies>,
}

/// One message to the server.
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Api {
    /// The key that a subject of the bucket stands for.
    pub(crate) fn key_of(&self, subject: &str) -> Result<String, Failure> {
        let key = self.names.key(subject).map(str::to_owned);
        key.ok_or_else(|| Failure::Malformed(format!("subject {subject:?} is of another bucket")))
    }

    /// When a request that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.options.request_timeout
    }

    /// Where a method of the JetStream API, such as `STREAM.INFO.KV_b`, is asked for.
    pub(crate) fn subject(&self, method: &str) -> String {
        self.options.api.method(method)
    }

    /// Where a key is written.
    pub(crate) fn write_subject(&self, key: &str) -> String {
        self.options.api.publish(&self.names.subject(key))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Fails when there is no connection, so that nothing is handed to a client that would keep it.
    pub(crate) fn connected(&self) -> Result<(), Failure> {
        let why = || self.violations.refused();
        let failure = || Failure::NotConnected { why: why() };
        self.is_connected().then_some(()).ok_or_else(failure)
    }

    /// Calls a method of the JetStream API, such as `STREAM.INFO.KV_b`.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let payload = serde_json::to_vec(body).map_err(|e| Failure::Malformed(e.to_string()))?;
        let outgoing = Outgoing {
            subject: self.subject(method),
            headers: HeaderMap::new(),
            payload: payload.into(),
        };
        let message = self.send(outgoing, deadline).await?;
        parse(&message.payload)
    }

    /// Sends one message and waits for its answer.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
        deadline: Instant,
    ) -> Result<Message, Failure> {
        self.connected()?;
        let started = Instant::now();
        let mut denials = self.violations.listen();
        let subject = outgoing.subject.clone();
        let answer = timeout_at(deadline, self.replies.ask(&self.client, outgoing));
        tokio::select! {
            denied = denial(&mut denials, |denied| *denied == *subject) => Err(denied),
            answer = answer => if let Ok(answer) = answer {
                answer
            } else {
                self.replies.forget();
                self.reconnect_if_denied().await;
                Err(self.timed_out(started))
            },
        }
    }

    async fn reconnect_if_denied(&self) {
        if self.violations.wants_reconnect()
            && let Err(error) = self.client.force_reconnect().await
        {
            tracing::debug!(%error, "the client does not connect again");
        }
    }

    /// No answer since `started`, with what the server said about the inbox, if anything.
    pub(crate) fn timed_out(&self, started: Instant) -> Failure {
        Failure::TimedOut {
            after: started.elapsed(),
            hint: self.violations.hint(),
        }
    }
}

/// The connection the client is on, by number.
pub(crate) fn connection(api: &Api) -> u64 {
    api.client.statistics().connects.load(Ordering::Relaxed)
}

/// Waits until the server denies a subject that `concerns` the caller; for ever if it does not.
pub(crate) async fn denial(
    denials: &mut broadcast::Receiver<Arc<str>>,
    concerns: impl Fn(&str) -> bool,
) -> Failure {
    loop {
        match denials.recv().await {
            Ok(subject) if concerns(&subject) => {
                let subject = subject.to_string();
                return Failure::Denied { subject };
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Reads an answer, or the error in it.
pub(crate) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Outcome {
        error: Option<ServerError>,
    }
    #[derive(Deserialize)]
    struct ServerError {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    let malformed = |error: serde_json::Error| Failure::Malformed(error.to_string());
    let outcome: Outcome = serde_json::from_slice(payload).map_err(malformed)?;
    match outcome.error {
        None => serde_json::from_slice(payload).map_err(malformed),
        Some(error) => Err(Failure::Server {
            code: error.err_code,
            description: error.description,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Ack {
        seq: u64,
    }

    /// An error answer that is read as a success would invent a revision.
    #[test]
    fn an_error_in_an_answer_wins_over_its_fields() {
        let refused = br#"{"error":{"code":400,"err_code":10071,"description":"wrong"},"seq":0}"#;
        let failure = parse::<Ack>(refused).expect_err("an error");
        assert!(failure.is_code(10071), "{failure:?}");
        assert_eq!(
            parse::<Ack>(br#"{"stream":"KV_b","seq":6}"#),
            Ok(Ack { seq: 6 })
        );
        for text in ["", "{}", "+OK", r#"{"seq":"x"}"#] {
            let failure = parse::<Ack>(text.as_bytes()).expect_err(text);
            assert!(matches!(failure, Failure::Malformed(_)), "{failure:?}");
        }
    }
}
