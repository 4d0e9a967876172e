//! Requests and answers as headers and payloads.
//!
//! It is separate because other languages have to read and write the same. What always holds: what cannot
//! be read is `None`, and the payload is the program's own.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use parti_core::{Endpoint, PartitionKey, Token};

use super::{Ask, KnownOwner, Refusal, Reply};

/// The token: of the ownership that is asked, or of the one that answers.
const TOKEN: &str = "Parti-Token";
/// For how many milliseconds a request may wait for the ownership to begin.
const HOLD: &str = "Parti-Hold-Ms";
/// What became of a request.
const STATUS: &str = "Parti-Status";
/// Where the owner answers that a refusal names.
const OWNER: &str = "Parti-Owner";
/// Its token.
const OWNER_TOKEN: &str = "Parti-Owner-Token";

/// Words of [`STATUS`].
const DONE: &str = "done";
const FAILED: &str = "failed";
const INTERRUPTED: &str = "interrupted";
const OVER: &str = "over";
const NOT_YET: &str = "not-yet";
const BUSY: &str = "busy";
const UNREADABLE: &str = "unreadable";

pub(super) fn ask_headers(ask: &Ask) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN, ask.token.get().to_string());
    headers.insert(HOLD, ask.hold.as_millis().to_string());
    headers
}

/// What a message asks. Without headers the token is zero: the owner is meant, whichever it is.
pub(super) fn ask(partition: PartitionKey, message: &Message) -> Option<Ask> {
    let (mut token, mut hold) = (Some(0), Some(0));
    if let Some(headers) = &message.headers {
        if headers.get(TOKEN).is_some() {
            token = number(headers, TOKEN);
        }
        if headers.get(HOLD).is_some() {
            hold = number(headers, HOLD);
        }
    }
    Some(Ask {
        partition,
        token: Token::new(token?),
        hold: Duration::from_millis(hold?),
        payload: message.payload.clone(),
    })
}

pub(super) fn reply_parts(reply: &Reply) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let mut say = |status: &'static str, token: Option<Token>| {
        headers.insert(STATUS, status);
        if let Some(token) = token {
            headers.insert(TOKEN, token.get().to_string());
        }
    };
    let mut body = Bytes::new();
    match reply {
        Reply::Done { token, payload } => {
            say(DONE, Some(*token));
            body = payload.clone();
        }
        Reply::Failed { token, reason } => {
            say(FAILED, Some(*token));
            body = Bytes::from(reason.clone());
        }
        Reply::Interrupted { token } => say(INTERRUPTED, Some(*token)),
        Reply::Refused(Refusal::Over { token, owner }) => {
            say(OVER, Some(*token));
            if let Some(owner) = owner {
                // An endpoint holds no line breaks.
                headers.insert(OWNER, owner.endpoint.as_str());
                headers.insert(OWNER_TOKEN, owner.token.get().to_string());
            }
        }
        Reply::Refused(Refusal::NotYet) => say(NOT_YET, None),
        Reply::Refused(Refusal::Busy) => say(BUSY, None),
        Reply::Refused(Refusal::Unreadable) => say(UNREADABLE, None),
    }
    (headers, body)
}

pub(super) fn reply(message: &Message) -> Option<Reply> {
    let headers = message.headers.as_ref()?;
    let token = || number(headers, TOKEN).map(Token::new);
    let payload = message.payload.clone();
    Some(match headers.get(STATUS)?.as_str() {
        DONE => Reply::Done {
            token: token()?,
            payload,
        },
        FAILED => Reply::Failed {
            token: token()?,
            reason: String::from_utf8_lossy(&payload).into_owned(),
        },
        INTERRUPTED => Reply::Interrupted { token: token()? },
        OVER => Reply::Refused(Refusal::Over {
            token: token()?,
            owner: owner(headers),
        }),
        NOT_YET => Reply::Refused(Refusal::NotYet),
        BUSY => Reply::Refused(Refusal::Busy),
        UNREADABLE => Reply::Refused(Refusal::Unreadable),
        _ => return None,
    })
}

fn owner(headers: &HeaderMap) -> Option<KnownOwner> {
    Some(KnownOwner {
        endpoint: Endpoint::new(headers.get(OWNER)?.as_str()).ok()?,
        token: Token::new(number(headers, OWNER_TOKEN)?),
    })
}

fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: HeaderMap, payload: Bytes) -> Message {
        Message {
            subject: "s".into(),
            reply: None,
            length: payload.len(),
            payload,
            headers: (!headers.is_empty()).then_some(headers),
            status: None,
            description: None,
        }
    }

    /// A refusal read as an answer, or the other way round, loses a request or has it handled twice.
    #[test]
    fn answers_are_read_as_they_were_meant() {
        let token = Token::new(7);
        let endpoint = Endpoint::new("nats:1").expect("valid");
        let owner = KnownOwner { endpoint, token };
        let payload = Bytes::from_static(b"done");
        let replies = [
            Reply::Done { token, payload },
            Reply::Failed {
                token,
                reason: "disk full".to_owned(),
            },
            Reply::Interrupted { token },
            Reply::Refused(Refusal::Over {
                token,
                owner: Some(owner),
            }),
            Reply::Refused(Refusal::Over { token, owner: None }),
            Reply::Refused(Refusal::NotYet),
            Reply::Refused(Refusal::Busy),
            Reply::Refused(Refusal::Unreadable),
        ];
        for sent in replies {
            let (headers, payload) = reply_parts(&sent);
            assert_eq!(
                reply(&message(headers, payload)),
                Some(sent.clone()),
                "{sent:?}"
            );
        }
        assert_eq!(reply(&message(HeaderMap::new(), Bytes::new())), None);
        let mut other = HeaderMap::new();
        other.insert(STATUS, "later");
        assert_eq!(reply(&message(other, Bytes::new())), None);
    }

    /// `nats request` from a shell has no headers, and must reach the owner all the same.
    #[test]
    fn a_request_is_read_with_and_without_headers_and_not_with_bad_ones() {
        let partition = PartitionKey::new(["p"]).expect("valid");
        let sent = Ask {
            partition: partition.clone(),
            token: Token::new(9),
            hold: Duration::from_millis(250),
            payload: Bytes::from_static(b"x"),
        };
        let read = |headers| {
            ask(
                partition.clone(),
                &message(headers, Bytes::from_static(b"x")),
            )
        };
        assert_eq!(read(ask_headers(&sent)), Some(sent.clone()));
        let plain = Ask {
            token: Token::ZERO,
            hold: Duration::ZERO,
            ..sent
        };
        assert_eq!(read(HeaderMap::new()), Some(plain));
        let mut bad = HeaderMap::new();
        bad.insert(TOKEN, "seven");
        assert_eq!(read(bad), None);
    }
}
