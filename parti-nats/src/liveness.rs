//! Asking processes whether they run: one private subject per session, in plain messages.
//!
//! The server knows who listens: a question for a session whose connection has gone is answered at once
//! with "no responders". It is separate from the requests of the store because nothing may wait for it and
//! nothing is proven by it. What always holds: what could not be sent counts as silence, never as
//! "nobody".

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use parti_core::{Answering, Liveness, Nonce, ProbeAnswer, StoreError, StoreErrorKind};

use crate::requests::api::Api;

/// The port over the connection of the store.
pub(crate) struct NatsLiveness {
    pub(crate) api: Arc<Api>,
}

#[async_trait]
impl Liveness for NatsLiveness {
    async fn answer(&self, session: Nonce) -> Result<Box<dyn Answering>, StoreError> {
        let api = &self.api;
        let unavailable = |message: String| StoreError::new(StoreErrorKind::Unavailable, message);
        let subject = api.names.alive(session);
        let subscribed = api.client.subscribe(subject.clone()).await;
        let mut answering = NatsAnswering {
            client: api.client.clone(),
            questions: subscribed.map_err(|error| unavailable(error.to_string()))?,
        };
        // A process that may not ask or listen here must not look dead to others.
        let own = tokio::select! {
            reason = answering.run() => return Err(unavailable(reason)),
            own = self.ask(session, api.options.request_timeout) => own,
        };
        match own {
            ProbeAnswer::Alive => Ok(Box::new(answering)),
            ProbeAnswer::Nobody | ProbeAnswer::Silence => {
                let message = format!("a question on {subject} gets no answer; is it permitted?");
                Err(unavailable(message))
            }
        }
    }

    async fn ask(&self, session: Nonce, within: Duration) -> ProbeAnswer {
        let api = &self.api;
        if !api.is_connected() {
            return ProbeAnswer::Silence;
        }
        let question = Request::new().payload(Bytes::new()).timeout(Some(within));
        let subject = api.names.alive(session);
        match api.client.send_request(subject, question).await {
            Ok(_) => ProbeAnswer::Alive,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => ProbeAnswer::Nobody,
            Err(_) => ProbeAnswer::Silence,
        }
    }
}

/// The subject of a session, listened to.
struct NatsAnswering {
    client: Client,
    questions: Subscriber,
}

#[async_trait]
impl Answering for NatsAnswering {
    async fn run(&mut self) -> String {
        while let Some(question) = self.questions.next().await {
            let Some(reply) = question.reply else {
                continue;
            };
            if let Err(error) = self.client.publish(reply, Bytes::new()).await {
                return error.to_string();
            }
        }
        "the connection is closed".to_owned()
    }
}
