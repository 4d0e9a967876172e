//! The two values behind a guard's answer, how far an ownership has come and until when the lease
//! lasts, and the order in which they are looked at.
//!
//! They are separate so that `loom` can run every interleaving of this very file: the atomics come
//! from the parent module, which is another one in that test (`guard/interleavings.rs`). What always
//! holds: an ownership that is over is never valid again, whatever the next session's lease is; a
//! deadline that has ended takes no other.

use super::atomic::{AtomicU8, AtomicU64, Ordering};

/// How far an ownership has come; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Owned = 0,
    Revoking = 1,
    Over = 2,
}

/// The phase of one ownership.
#[derive(Debug)]
pub(crate) struct Progress(AtomicU8);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Phase::Owned as u8))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Owned,
            1 => Phase::Revoking,
            _ => Phase::Over,
        }
    }

    pub(crate) fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// Until when a session counts, in nanoseconds of the clock; zero when it does not.
#[derive(Debug)]
pub(crate) struct Deadline(AtomicU64);

impl Deadline {
    /// What stands for the end of everything. It shares the word with the deadline, so that no
    /// interleaving can write a deadline after it.
    const ENDED: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes over a deadline, earlier or later, unless all has ended.
    pub(crate) fn set(&self, nanos: u64) {
        self.update(|_| nanos);
    }

    /// Takes over an earlier deadline at once; a later one has to wait for [`Deadline::set`].
    pub(crate) fn shorten(&self, nanos: u64) {
        self.update(|present| present.min(nanos));
    }

    /// Nothing is valid from here on, for good.
    pub(crate) fn end(&self) {
        self.0.swap(Self::ENDED, Ordering::AcqRel);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::ENDED
    }

    /// The clock is read after the deadline: a thread that is paused in between sees the later time.
    pub(crate) fn lasts(&self, now: impl FnOnce() -> u64) -> bool {
        let deadline = self.0.load(Ordering::Acquire);
        deadline != Self::ENDED && now() < deadline
    }

    fn update(&self, next: impl Fn(u64) -> u64) {
        let next = |present| (present != Self::ENDED).then(|| next(present).min(Self::ENDED - 1));
        // What has ended stays as it is.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }
}

/// Whether an ownership is valid at some moment of this call.
///
/// The deadline is looked at first. A thread that sees the deadline of a later session also sees that the
/// ownership had ended before; the other way round, a thread that is paused between the two looks
/// would combine the old phase with the new deadline.
pub(crate) fn is_valid(
    progress: &Progress,
    deadline: &Deadline,
    now: impl FnOnce() -> u64,
) -> bool {
    deadline.lasts(now) && progress.phase() < Phase::Over
}
