//! Key names and what they mean: the only place that knows how a key is spelled.

use alloc::format;
use alloc::string::{String, ToString};

use crate::model::id::WorkerId;
use crate::records::record::Verb;

/// How many audit entries are kept; entry `n` replaces entry `n - AUDIT_SLOTS`.
pub(crate) const AUDIT_SLOTS: u64 = 256;

/// A key of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Who leads and which generation is in force.
    Head,
    /// A worker's session.
    Session(WorkerId),
    /// A worker's assignment.
    Assignment(WorkerId),
    /// A piece of a worker's assignment, by its number.
    Piece(WorkerId, u32),
    /// A slot of the audit ring.
    Audit(u64),
    /// A request of an operator or a worker to the leader.
    Control(Verb, WorkerId),
    /// A piece of the stored partition list.
    Source,
    /// What has no owner, and why.
    Parked,
    /// Which leader somebody suspects.
    Suspicion,
    /// Not one of ours.
    Foreign,
}

impl Key {
    /// Reads a key.
    #[must_use]
    pub fn parse(key: &str) -> Self {
        let worker = |name: &str| WorkerId::new(name).ok();
        let parsed = match key.split_once('.') {
            None if key == "head" => Some(Self::Head),
            None if key == "src" => Some(Self::Source),
            None if key == "parked" => Some(Self::Parked),
            None if key == "suspicion" => Some(Self::Suspicion),
            Some(("w", id)) => worker(id).map(Self::Session),
            Some(("a", id)) => match id.split_once('.') {
                None => worker(id).map(Self::Assignment),
                Some((id, number)) => {
                    let found = worker(id).zip(piece_number(number));
                    found.map(|(worker, number)| Self::Piece(worker, number))
                }
            },
            Some(("h", slot)) => slot
                .parse()
                .ok()
                .filter(|&s| s < AUDIT_SLOTS)
                .map(Self::Audit),
            Some(("src", _)) => Some(Self::Source),
            Some(("ctl", rest)) => rest
                .split_once('.')
                .and_then(|(verb, id)| Some(Self::Control(Verb::parse(verb)?, worker(id)?))),
            _ => None,
        };
        parsed.unwrap_or(Self::Foreign)
    }
}

/// The number of a piece, spelled as [`piece_key`] spells it.
fn piece_number(text: &str) -> Option<u32> {
    let number = text.parse().ok().filter(|&number: &u32| number > 0)?;
    (number.to_string() == text).then_some(number)
}

/// The key of the head record.
#[must_use]
pub fn head_key() -> String {
    "head".to_string()
}

/// The key of what has no owner.
#[must_use]
pub fn parked_key() -> String {
    "parked".to_string()
}

/// The key under which a worker says that it suspects the leader.
pub(crate) fn suspicion_key() -> String {
    "suspicion".to_string()
}

/// What every further piece of the stored partition list begins with.
pub const SOURCE_PARTS_PREFIX: &str = "src.";

/// The key of a piece of the stored partition list. Piece 0 is the one that every change writes.
#[must_use]
pub fn source_key(index: u32) -> String {
    match index {
        0 => "src".to_string(),
        index => format!("{SOURCE_PARTS_PREFIX}{index}"),
    }
}

/// What every session key begins with.
pub(crate) const SESSION_PREFIX: &str = "w.";
/// What every assignment key begins with.
pub(crate) const ASSIGNMENT_PREFIX: &str = "a.";
/// What every slot of the audit ring begins with.
pub(crate) const AUDIT_PREFIX: &str = "h.";

pub(crate) fn session_key(worker: &WorkerId) -> String {
    format!("{SESSION_PREFIX}{worker}")
}

pub(crate) fn assignment_key(worker: &WorkerId) -> String {
    format!("{ASSIGNMENT_PREFIX}{worker}")
}

/// The key of a piece of an assignment; an ID has no dot, so that it cannot be one of another worker.
pub(crate) fn piece_key(worker: &WorkerId, number: u32) -> String {
    format!("{ASSIGNMENT_PREFIX}{worker}.{number}")
}

/// What the keys of all pieces of an assignment begin with.
pub(crate) fn pieces_prefix(worker: &WorkerId) -> String {
    format!("{ASSIGNMENT_PREFIX}{worker}.")
}

pub(crate) fn audit_key(version: u64) -> String {
    format!("{AUDIT_PREFIX}{}", version % AUDIT_SLOTS)
}

/// The key of a request or an order.
#[must_use]
pub fn control_key(verb: Verb, worker: &WorkerId) -> String {
    format!("ctl.{}.{worker}", verb.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A foreign key that looks almost like ours must not be taken for one.
    #[test]
    fn keys_are_read_back_as_written_and_nothing_else_is_ours() {
        let worker = WorkerId::new("worker-7").expect("valid");
        assert_eq!(Key::parse(&head_key()), Key::Head);
        assert_eq!(
            Key::parse(&session_key(&worker)),
            Key::Session(worker.clone())
        );
        assert_eq!(
            Key::parse(&assignment_key(&worker)),
            Key::Assignment(worker.clone())
        );
        for number in [1, 10, u32::MAX] {
            let key = piece_key(&worker, number);
            assert_eq!(Key::parse(&key), Key::Piece(worker.clone(), number));
            assert!(key.starts_with(&pieces_prefix(&worker)));
        }
        assert_eq!(Key::parse(&audit_key(300)), Key::Audit(44));
        assert_eq!(Key::parse(&source_key(0)), Key::Source);
        assert_eq!(Key::parse(&parked_key()), Key::Parked);
        assert_eq!(Key::parse(&source_key(12)), Key::Source);
        assert_eq!(
            Key::parse(&control_key(Verb::Refresh, &worker)),
            Key::Control(Verb::Refresh, worker)
        );
        for foreign in [
            "",
            "w",
            "w.",
            "w.a.b",
            "a.w.0",
            "a.w.01",
            "a.w.+1",
            "a.w.x",
            "a.w.",
            "a..1",
            "a.w.1.2",
            "a.w.4294967296",
            "head.x",
            "parked.x",
            "h.256",
            "h.x",
            "ctl.x.y",
            "x.worker-7",
        ] {
            assert_eq!(Key::parse(foreign), Key::Foreign, "{foreign:?}");
        }
    }
}
