//! An entry of the store as everybody sees it: its key is read once, its value decoded at most once.
//!
//! It is separate because a watch, reads and lists bring entries to the same handlers. What always
//! holds: a record that comes out of here fits its key; whatever else is stored under a key of ours is
//! [`Content::Unreadable`], with what its envelope says if another release wrote it.
//!
//! Nothing is decoded before somebody asks: a list of everything shows mostly what is known already,
//! and of an own renewal that comes back the envelope is enough.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::cell::OnceCell;

use crate::model::id::{Formats, Revision, WriteId};
use crate::ports::store::Entry;
use crate::records::keys::Key;
use crate::records::outline::SessionOutline;
use crate::records::record::{AssignmentPiece, Record, SessionRecord};
use crate::records::wire::{self, Envelope, WireError};

/// An entry whose key has been read.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    entry: &'a Entry,
    key: Key,
    formats: Formats,
    opened: OnceCell<Result<(Envelope, &'a [u8]), WireError>>,
    content: OnceCell<Content>,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing: it was removed.
    Nothing,
    /// A record of the kind that belongs under this key.
    Record(Box<Record>),
    /// Anything else.
    Unreadable {
        /// Why, in words.
        reason: String,
        /// The envelope, if the record is whole and another release wrote it.
        other: Option<Box<Envelope>>,
    },
}

impl<'a> Seen<'a> {
    /// An entry, for a process that reads these formats.
    pub(crate) fn new(formats: Formats, entry: &'a Entry) -> Self {
        Self {
            entry,
            key: Key::parse(&entry.key),
            formats,
            opened: OnceCell::new(),
            content: OnceCell::new(),
        }
    }

    /// What the key means.
    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// How the key is spelled.
    pub(crate) fn name(&self) -> &str {
        &self.entry.key
    }

    pub(crate) const fn revision(&self) -> Revision {
        self.entry.revision
    }

    /// The entry itself.
    pub(crate) const fn entry(&self) -> &'a Entry {
        self.entry
    }

    /// The bytes as they are stored.
    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        self.entry.value.as_deref()
    }

    /// What every release can read of it; `None` if there is nothing or it is damaged.
    pub(crate) fn envelope(&self) -> Option<&Envelope> {
        self.opened()?.as_ref().ok().map(|(envelope, _)| envelope)
    }

    /// The write that made it.
    pub(crate) fn write(&self) -> Option<WriteId> {
        self.envelope().map(|envelope| envelope.write)
    }

    /// What every release can read of a session.
    pub(crate) fn outline(&self) -> Option<SessionOutline> {
        SessionOutline::from_envelope(self.envelope()?)
    }

    /// The session under this key, if it holds a readable one.
    pub(crate) fn session(&self) -> Option<&SessionRecord> {
        if let Record::Session(session) = self.record()? {
            return Some(session);
        }
        None
    }

    /// The piece of an assignment under this key, if it holds a readable one.
    pub(crate) fn piece(&self) -> Option<&AssignmentPiece> {
        if let Record::Piece(piece) = self.record()? {
            return Some(piece);
        }
        None
    }

    /// The format in which its body is stored; 0 if there is none that can be told.
    pub(crate) fn format(&self) -> u16 {
        self.envelope().map_or(0, |envelope| envelope.format)
    }

    /// What another release says of the session it wrote under this key.
    pub(crate) fn other_release(&self) -> Option<SessionOutline> {
        match self.content() {
            Content::Unreadable { other, .. } => SessionOutline::from_envelope(other.as_deref()?),
            Content::Nothing | Content::Record(_) => None,
        }
    }

    /// The record under this key, if it holds a readable one.
    pub(crate) fn record(&self) -> Option<&Record> {
        match self.content() {
            Content::Record(record) => Some(record),
            Content::Nothing | Content::Unreadable { .. } => None,
        }
    }

    /// What the key holds.
    pub(crate) fn content(&self) -> &Content {
        self.content.get_or_init(|| match self.opened() {
            None => Content::Nothing,
            Some(Ok((envelope, body))) => match wire::decode_body(self.formats, envelope, body) {
                Ok(record) => match misplaced(&self.key, &record) {
                    None => Content::Record(Box::new(record)),
                    Some(reason) => unreadable(reason.to_string()),
                },
                Err(WireError::OtherRelease(envelope)) => Content::Unreadable {
                    reason: WireError::OtherRelease(envelope.clone()).to_string(),
                    other: Some(envelope),
                },
                Err(error) => unreadable(error.to_string()),
            },
            Some(Err(error)) => unreadable(error.to_string()),
        })
    }

    /// What the key holds, for a reader that keeps it.
    pub(crate) fn into_content(self) -> Content {
        self.content();
        self.content.into_inner().unwrap_or(Content::Nothing)
    }

    fn opened(&self) -> Option<&Result<(Envelope, &'a [u8]), WireError>> {
        let value = self.value()?;
        Some(self.opened.get_or_init(|| wire::open(value)))
    }
}

const fn unreadable(reason: String) -> Content {
    Content::Unreadable {
        reason,
        other: None,
    }
}

/// Why a record does not belong under a key, if it does not.
const fn misplaced(key: &Key, record: &Record) -> Option<&'static str> {
    match (key, record) {
        (Key::Head, Record::Head(_))
        | (Key::Session(_), Record::Session(_))
        | (Key::Assignment(_), Record::Assignment(_) | Record::Manifest(_))
        | (Key::Piece(..), Record::Piece(_))
        | (Key::Audit(_), Record::Audit(_))
        | (Key::Control(..), Record::Control(_))
        | (Key::Source, Record::Source(_))
        | (Key::Parked, Record::Parked(_))
        | (Key::Suspicion, Record::Suspicion(_)) => None,
        (Key::Head, _) => Some("it is not a head record"),
        (Key::Session(_), _) => Some("it is not a session"),
        (Key::Assignment(_), _) => Some("it is not an assignment"),
        (Key::Piece(..), _) => Some("it is not a piece of an assignment"),
        (Key::Audit(_), _) => Some("it is not an audit entry"),
        (Key::Control(..), _) => Some("it is not a request"),
        (Key::Source, _) => Some("it is not a piece of a partition list"),
        (Key::Parked, _) => Some("it is not a record of parked partitions"),
        (Key::Suspicion, _) => Some("it is not a suspicion"),
        (Key::Foreign, _) => Some("the key is not one of ours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Nonce;
    use crate::records::record::Control;
    use alloc::vec::Vec;

    fn entry(key: &str, value: Option<Vec<u8>>) -> Entry {
        Entry {
            at_ms: 0,
            key: key.to_string(),
            revision: Revision::new(7),
            value,
        }
    }

    fn control() -> Record {
        let (nonce, seq) = (Nonce::new(3), 4);
        Record::Control(Control {
            lasts: None,
            write: WriteId { nonce, seq },
            author: "worker-1".to_string(),
            reason: String::new(),
            pins: Vec::new(),
        })
    }

    /// A record copied under a key of another kind was taken for what the key promises.
    #[test]
    fn only_a_record_that_fits_its_key_comes_out() {
        let bytes = wire::encode(&control());
        let cases = [
            ("ctl.refresh.worker-1", None),
            ("w.worker-1", Some("it is not a session")),
            ("head", Some("it is not a head record")),
            ("parked", Some("it is not a record of parked partitions")),
            ("mine", Some("the key is not one of ours")),
        ];
        for (key, expected) in cases {
            let entry = entry(key, Some(bytes.clone()));
            let seen = Seen::new(Formats::THIS_RELEASE, &entry);
            let expected = expected.map_or_else(
                || Content::Record(Box::new(control())),
                |reason| unreadable(reason.to_string()),
            );
            assert_eq!(*seen.content(), expected, "{key}");
            assert_eq!(seen.write(), Some(control().write()));
        }
    }

    /// A group of two releases must go on from what the envelope says, and only from that.
    #[test]
    fn of_what_another_release_wrote_the_envelope_counts() {
        let entry = entry("ctl.refresh.worker-1", Some(wire::encode(&control())));
        let newest = wire::FORMAT + 1;
        let oldest = newest;
        let seen = Seen::new(Formats { oldest, newest }, &entry);
        let Content::Unreadable { other, reason } = seen.content() else {
            panic!("{:?}", seen.content());
        };
        assert!(reason.contains("another release"), "{reason}");
        assert_eq!(other.as_deref(), seen.envelope());
        assert!(other.is_some());
    }

    /// Damage and absence must never be taken for each other: one is removed, the other repaired.
    #[test]
    fn damage_is_unreadable_and_absence_is_nothing() {
        let mut bytes = wire::encode(&control());
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let damaged = entry("ctl.refresh.worker-1", Some(bytes));
        let seen = Seen::new(Formats::THIS_RELEASE, &damaged);
        assert!(matches!(
            seen.content(),
            Content::Unreadable { other: None, .. }
        ));
        assert_eq!((seen.envelope(), seen.outline()), (None, None));
        let absent = entry("ctl.refresh.worker-1", None);
        let seen = Seen::new(Formats::THIS_RELEASE, &absent);
        assert_eq!(*seen.content(), Content::Nothing);
        assert_eq!(seen.write(), None);
    }
}
