//! The question of a store that opens: whether its group is at work in another JetStream.
//!
//! It is separate because it is asked once, before the store listens itself, and decides, while everything
//! else about twins only reports. What always holds: silence lets the store in; an answer from its own
//! bucket outweighs all others.

use std::time::Duration;

use async_nats::StatusCode;
use futures_util::StreamExt;
use tokio::time::{interval, timeout};

use crate::bucket::StreamInfo;
use crate::bucket::twin::{Identity, Said, subject};
use crate::requests::api::{Api, denial};
use crate::settings::error::OpenError;
use crate::settings::options::{ApiPrefix, NatsOptions};
use crate::wire::key::GROUP_ANSWER;

/// Which part of `connect_timeout` a store waits for answers.
const SHARE: u32 = 10;
/// How long it waits at most.
const LONGEST: Duration = Duration::from_secs(5);
/// How often it asks meanwhile: the process that was to answer may be frozen, or a link just coming up.
const QUESTIONS: u32 = 4;

/// How long a store waits for answers.
pub(crate) fn answered_within(options: &NatsOptions) -> Duration {
    (options.connect_timeout / SHARE).min(LONGEST)
}

/// Refuses a store that was not told where to look and would make its group a second one.
///
/// A store of a bucket in which the group is at work is let in, also beside a twin: refusing it would cost
/// both groups their restarts, and ends neither.
pub(crate) async fn ensure_only(api: &Api, info: &StreamInfo) -> Result<(), OpenError> {
    let own = Identity::of(info).filter(|_| api.options.api == ApiPrefix::Default);
    let Some(own) = own else {
        return Ok(());
    };
    let mut elsewhere = None;
    let (subject, mut denials) = (subject(api), api.violations.listen());
    tokio::select! {
        _ = denial(&mut denials, |denied| *denied == *subject) => {}
        _ = timeout(answered_within(&api.options), ask(api, &own, &mut elsewhere)) => {}
    }
    let named = |domain: String| Some(domain).filter(|domain| !domain.is_empty());
    match elsewhere {
        None => Ok(()),
        Some(Identity { domain, .. }) => Err(OpenError::GroupElsewhere {
            own: named(own.domain),
            other: named(domain),
        }),
    }
}

/// Asks which bucket the group uses, until a store of this bucket answers or nobody listens.
async fn ask(api: &Api, own: &Identity, elsewhere: &mut Option<Identity>) {
    let inbox = format!("{}{GROUP_ANSWER}", api.client.new_inbox());
    let Ok(mut answers) = api.client.subscribe(inbox.clone()).await else {
        return;
    };
    let (identity, answer) = (own.clone(), false);
    let question = Said { identity, answer }.bytes();
    let mut due = interval(answered_within(&api.options) / QUESTIONS);
    loop {
        let message = tokio::select! {
            message = answers.next() => message,
            _ = due.tick() => {
                let (inbox, question) = (inbox.clone(), question.clone());
                let asked = api.client.publish_with_reply(subject(api), inbox, question);
                if asked.await.is_ok() {
                    continue;
                }
                None
            }
        };
        let heard = message.filter(|heard| heard.status != Some(StatusCode::NO_RESPONDERS));
        let Some(heard) = heard else {
            return;
        };
        if let Some(said) = Said::read(&heard) {
            *elsewhere = Some(said.identity).filter(|other| !other.is_same(own));
            if elsewhere.is_none() {
                return;
            }
        }
    }
}
