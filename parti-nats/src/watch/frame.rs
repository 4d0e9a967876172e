//! One message of a push consumer, read: an entry, a heartbeat, or a question about the flow.
//!
//! It is separate because the numbers that prove continuity stand in the reply subject and in
//! headers; everything after this file works on plain values.

use async_nats::Message;
use parti_core::{Entry, Revision};

use crate::wire::key::Names;
use crate::wire::message::{number, value};

/// What a message of the consumer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A write, with its place in the delivery.
    Entry {
        /// The write.
        entry: Entry,
        /// Its number among the messages of this consumer, from one on.
        number: u64,
    },
    /// Nothing to deliver now.
    Heartbeat {
        /// The number of the last message of this consumer.
        number: u64,
        /// The revision up to which the consumer has looked.
        revision: Revision,
        /// Where to answer when the consumer waits for it.
        stalled: Option<String>,
    },
    /// The consumer waits for an answer there before it sends more.
    FlowControl {
        /// The subject.
        reply: String,
    },
    /// The consumer says that it ends.
    Ended {
        /// Its words.
        reason: String,
    },
    /// Not something that concerns a watch.
    Foreign,
}

/// Reads a message.
pub(crate) fn read(message: &Message, names: &Names) -> Frame {
    let reply = message.reply.as_ref().map(|reply| reply.as_str());
    match (message.status.map(|status| status.as_u16()), reply) {
        (Some(100), Some(reply)) => Frame::FlowControl {
            reply: reply.to_owned(),
        },
        (Some(100), None) => heartbeat(message).unwrap_or(Frame::Foreign),
        (Some(status), _) => {
            let words = message.description.as_deref().unwrap_or_default();
            let reason = format!("status {status} {words}");
            Frame::Ended { reason }
        }
        (None, None) => Frame::Foreign,
        (None, Some(reply)) => entry(message, reply, names).unwrap_or(Frame::Foreign),
    }
}

fn heartbeat(message: &Message) -> Option<Frame> {
    let headers = message.headers.as_ref()?;
    let stalled = headers.get("Nats-Consumer-Stalled");
    Some(Frame::Heartbeat {
        number: number(headers, "Nats-Last-Consumer")?,
        revision: Revision::new(number(headers, "Nats-Last-Stream")?),
        stalled: stalled.map(|subject| subject.as_str().to_owned()),
    })
}

fn entry(message: &Message, reply: &str, names: &Names) -> Option<Frame> {
    let Place {
        sequence,
        number,
        at_ms,
    } = Place::parse(reply)?;
    let entry = Entry {
        key: names.key(message.subject.as_str())?.to_owned(),
        revision: Revision::new(sequence),
        value: value(message.headers.as_ref(), &message.payload),
        at_ms,
    };
    Some(Frame::Entry { entry, number })
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    number: u64,
    at_ms: u64,
}

impl Place {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`
    /// or its longer form with domain and account after `ACK` and perhaps a token at the end.
    fn parse(reply: &str) -> Option<Self> {
        let parts: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let skipped = match parts.len() {
            7 => 0,
            9.. => 2,
            _ => return None,
        };
        let number = |index: usize| parts.get(skipped + index)?.parse::<u64>().ok();
        Some(Self {
            sequence: number(3)?,
            number: number(4)?,
            at_ms: number(5)? / 1_000_000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misread number looks like a gap, or hides one.
    #[test]
    fn the_place_of_a_message_is_read_from_both_forms_of_its_reply() {
        let place = Some(Place {
            sequence: 30,
            number: 4,
            at_ms: 1_795_511_781_692,
        });
        let cases = [
            ("$JS.ACK.KV_b.c.1.30.4.1795511781692304967.2", &place),
            (
                "$JS.ACK.hub.ACC.KV_b.c.1.30.4.1795511781692304967.2",
                &place,
            ),
            (
                "$JS.ACK._.ACC.KV_b.c.1.30.4.1795511781692304967.2.tok",
                &place,
            ),
            ("$JS.ACK.KV_b.c.1.30.4.1", &None),
            ("$JS.ACK.KV_b.c.1.x.4.1.2", &None),
            ("_INBOX.x", &None),
        ];
        for (reply, expected) in cases {
            assert_eq!(&Place::parse(reply), expected, "{reply}");
        }
    }
}
