//! What one partition takes from its readers: each message once, in order, and how far everything was
//! handled.
//!
//! It is separate because it is pure, and because a message that is taken for a known one is lost. What
//! always holds: what was put in and not taken out as handled is waited for, so that
//! [`Intake::idle_position`] covers nothing that was not handled.

use crate::consume::reader::ReaderEnd;

/// The numbers of one reader's messages: each is one more than the last, or the reader missed something or
/// began again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    last: u64,
}

impl Numbers {
    /// The next message has this number.
    ///
    /// # Errors
    /// [`ReaderEnd::Gap`]: the message must not be taken.
    pub const fn next(&mut self, found: u64) -> Result<(), ReaderEnd> {
        let expected = self.last + 1;
        if found != expected {
            return Err(ReaderEnd::Gap { expected, found });
        }
        self.last = found;
        Ok(())
    }
}

/// The queue of one partition, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    put: u64,
    passed: u64,
    waiting: u64,
}

impl Intake {
    /// Goes on after a position.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self {
            put: position,
            passed: position,
            waiting: 0,
        }
    }

    /// The last sequence that was put in, or beyond which nothing of the partition was. What is not later is
    /// known already.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        if self.put > self.passed {
            self.put
        } else {
            self.passed
        }
    }

    /// How many messages wait.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// So many messages go into the queue, each later than [`Intake::delivered`]; the last is this.
    pub const fn put(&mut self, count: u64, last: u64) {
        self.waiting += count;
        self.put = last;
    }

    /// A reader of the partition has read the stream up to here, and all that is the partition's was put in.
    pub fn pass(&mut self, sequence: u64) {
        self.passed = self.passed.max(sequence);
    }

    /// So many messages have left the queue and were handled. One that left it unhandled waits for ever.
    pub const fn handled(&mut self, count: u64) {
        self.waiting = self.waiting.saturating_sub(count);
    }

    /// Up to where everything was handled, when nothing waits.
    #[must_use]
    pub fn idle_position(&self) -> Option<u64> {
        (self.waiting == 0).then_some(self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A position that covers a message which left the queue unhandled loses it.
    #[test]
    fn nothing_counts_as_passed_while_a_message_waits_or_was_dropped() {
        let mut intake = Intake::new(10);
        intake.put(2, 14);
        intake.pass(20);
        assert_eq!((intake.delivered(), intake.idle_position()), (20, None));
        intake.handled(1);
        assert_eq!(intake.idle_position(), None, "the other one was dropped");
        intake.handled(1);
        assert_eq!(intake.idle_position(), Some(20));
        intake.pass(15);
        assert_eq!(
            intake.delivered(),
            20,
            "a reader that is behind moves nothing back"
        );
    }

    /// A reader that began again would hide what it skipped.
    #[test]
    fn a_number_that_is_not_the_next_ends_the_reader() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.next(1), numbers.next(2)), (Ok(()), Ok(())));
        for found in [1, 2, 4] {
            let gap = ReaderEnd::Gap { expected: 3, found };
            assert_eq!(numbers.next(found), Err(gap));
        }
        assert_eq!(numbers.next(3), Ok(()));
    }
}
