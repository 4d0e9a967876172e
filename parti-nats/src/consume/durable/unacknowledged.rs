//! What one ownership has been given and has not acknowledged.
//!
//! It is separate because acknowledging too early loses messages, and so it is pure. What always holds:
//! nothing is acknowledged before its position is stored in the cursor, and what comes again below it is
//! acknowledged at once.

use std::collections::BTreeMap;

use crate::consume::stream::Retention;

/// What is not acknowledged, with where to acknowledge it.
#[derive(Clone, Debug)]
pub struct Unacknowledged<R> {
    /// One acknowledgement is for all messages before, too.
    is_for_all_before: bool,
    committed: u64,
    replies: BTreeMap<u64, R>,
}

impl<R> Unacknowledged<R> {
    /// Begins after a take-over that stored this position.
    #[must_use]
    pub fn new(retention: Retention, committed: u64) -> Self {
        Self {
            is_for_all_before: retention != Retention::WorkQueue,
            committed,
            replies: BTreeMap::new(),
        }
    }

    /// The stored position.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.committed
    }

    /// Another durable delivers from now on: what the last one delivered comes again.
    pub fn begin(&mut self) {
        self.replies.clear();
    }

    /// Messages have come, some of them perhaps again; what to acknowledge of them at once.
    pub fn delivered(&mut self, messages: impl IntoIterator<Item = (u64, R)>) -> Vec<R> {
        let mut again = Vec::new();
        for (sequence, reply) in messages {
            if sequence <= self.committed {
                again.push(reply);
            } else {
                self.replies.insert(sequence, reply);
            }
        }
        if self.is_for_all_before {
            again.drain(..again.len().saturating_sub(1));
        }
        again
    }

    /// A position is stored; what to acknowledge now, in order.
    pub fn committed(&mut self, position: u64) -> Vec<(u64, R)> {
        self.committed = self.committed.max(position);
        let later = self.replies.split_off(&(position + 1));
        let mut due = std::mem::replace(&mut self.replies, later);
        if self.is_for_all_before {
            return due.pop_last().into_iter().collect();
        }
        due.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(retention: Retention) -> Unacknowledged<char> {
        let mut held = Unacknowledged::new(retention, 10);
        let messages = [(9, 'a'), (10, 'b'), (11, 'c'), (12, 'd'), (14, 'e')];
        let again = held.delivered(messages);
        let wanted = match retention {
            Retention::WorkQueue => vec!['a', 'b'],
            Retention::Limits | Retention::Interest => vec!['b'],
        };
        assert_eq!(again, wanted, "known already: {retention:?}");
        held
    }

    /// What is acknowledged before its position is stored is gone when the write is refused.
    #[test]
    fn only_what_a_stored_position_covers_is_acknowledged_and_once() {
        let mut queue = given(Retention::WorkQueue);
        assert_eq!(queue.committed(10), []);
        assert_eq!(queue.committed(13), [(11, 'c'), (12, 'd')]);
        assert_eq!(queue.committed(13), []);
        assert_eq!(queue.delivered([(13, 'f')]), ['f']);
        let mut interest = given(Retention::Interest);
        assert_eq!(interest.committed(12), [(12, 'd')]);
        assert_eq!(interest.position(), 12);
    }

    /// Acknowledgements of a durable that is gone go nowhere.
    #[test]
    fn another_durable_begins_with_nothing() {
        let mut queue = given(Retention::WorkQueue);
        queue.begin();
        assert_eq!(queue.committed(14), []);
        assert_eq!(queue.position(), 14);
    }
}
