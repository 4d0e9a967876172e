//! Every interleaving of a look at a guard with the driver's writes, run by `loom`.
//!
//! It compiles `validity.rs` a second time, over `loom`'s atomics, so that what is proved is what
//! runs.

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use validity::{Deadline, Phase, Progress, is_valid};

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}
#[expect(clippy::duplicate_mod, reason = "the same code over other atomics")]
#[path = "../validity.rs"]
mod validity;

use atomic::Ordering;

/// A thread that was paused between two looks combined the phase of an ownership that had not ended
/// with the lease of the next session: a guard came back to life beside the new owner's.
#[test]
fn no_interleaving_revives_an_ownership_with_the_lease_of_the_next_session() {
    loom::model(|| {
        let progress = Arc::new(Progress::new());
        let deadline = Arc::new(Deadline::new());
        let lost = Arc::new(AtomicBool::new(false));
        deadline.set(10);
        let look = {
            let (progress, deadline) = (Arc::clone(&progress), Arc::clone(&deadline));
            let lost = Arc::clone(&lost);
            thread::spawn(move || {
                let was_lost = lost.load(Ordering::Acquire);
                let valid = is_valid(&progress, &deadline, || 5);
                assert!(!(was_lost && valid), "valid after the lease was lost");
                valid
            })
        };
        // As the driver does when a lease is lost and the next session begins.
        deadline.shorten(0);
        lost.store(true, Ordering::Release);
        progress.advance(Phase::Over);
        deadline.set(20);
        let _ = look.join().expect("looks");
        assert!(!is_valid(&progress, &deadline, || 5));
    });
}

/// A stop that hung, or the drop of a manager, meets a driver in the middle of a step: what that
/// writes afterwards must not count.
#[test]
fn no_interleaving_lets_a_deadline_follow_the_end() {
    loom::model(|| {
        let progress = Arc::new(Progress::new());
        let deadline = Arc::new(Deadline::new());
        deadline.set(10);
        let step = {
            let deadline = Arc::clone(&deadline);
            thread::spawn(move || {
                deadline.shorten(15);
                deadline.set(20);
            })
        };
        deadline.end();
        assert!(!is_valid(&progress, &deadline, || 5));
        step.join().expect("steps");
        assert!(deadline.has_ended());
        assert!(!is_valid(&progress, &deadline, || 5));
    });
}
