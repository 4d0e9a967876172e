//! What a worker concludes from what it sees under its own key, between its renewals.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::secs;
use crate::core::tests::solo::{
    FOREIGN, Solo, assignment, entry, error, head, said, session, written,
};
use crate::io::notice::Notice;
use crate::model::id::{Epoch, Nonce};
use crate::ports::store::{Expect, StoreErrorKind, Write};
use crate::records::record::{AssignmentRecord, Record, SessionRecord};

/// A follower whose session was claimed at revision 5 by this write; no renewal is under way.
fn follower() -> (Solo, Vec<Write>) {
    let mut solo = Solo::start(|builder| builder);
    solo.look_around();
    let (op, writes) = solo.commit("w.worker-0");
    solo.won(op, 5);
    solo.caught_up(5);
    solo.show(entry("head", 6, &head("worker-1", 2, 10)));
    solo.caught_up(6);
    (solo, writes)
}

fn identities_lost(solo: &Solo) -> usize {
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    said(&solo.notices, lost).len()
}

fn rival(writes: &[Write], epoch: u64) -> Record {
    let (write, epoch) = (FOREIGN, Epoch::new(epoch));
    Record::Session(SessionRecord {
        write,
        epoch,
        ..session(&writes[0])
    })
}

/// Until its next renewal a worker would go on under an identity that is somebody else's.
#[test]
fn another_session_in_its_own_slot_is_noticed_when_it_is_seen() {
    let (mut solo, writes) = follower();
    solo.show(written(&writes[0], 5));
    assert_eq!(identities_lost(&solo), 0, "its own claim comes back");
    solo.show(entry("w.worker-0", 9, &rival(&writes, 9)));
    assert_eq!(identities_lost(&solo), 1);
    assert_eq!(solo.core.deadline(), None);
}

/// A list that is older than its own claim shows who held the slot before: that is no loss.
#[test]
fn the_former_holder_of_the_slot_is_no_rival() {
    let (mut solo, writes) = follower();
    for revision in [3, 4] {
        solo.show(entry("w.worker-0", revision, &rival(&writes, revision)));
    }
    assert_eq!(identities_lost(&solo), 0);
    assert!(solo.core.deadline().is_some());
}

/// A renewal that was given up and applied late once looked like a rival: a healthy worker gave up
/// everything it had.
#[test]
fn an_own_renewal_that_comes_late_is_gone_on_from_and_gives_no_validity() {
    let (mut solo, _) = follower();
    let deadline = solo.core.deadline();
    solo.pass(secs(2));
    let (op, writes) = solo.commit("w.worker-0");
    solo.answer(op, Err(error(StoreErrorKind::Rejected)));
    solo.pass(Duration::from_millis(100));
    solo.show(written(&writes[0], 8));
    assert_eq!(identities_lost(&solo), 0);
    assert_eq!(
        solo.core.deadline(),
        deadline,
        "nobody knows when it was sent"
    );
    let (_, next) = solo.commit("w.worker-0");
    assert_eq!(
        next[0].expect,
        Expect::Revision(crate::model::id::Revision::new(8))
    );
    assert_eq!(
        said(&solo.notices, |n| matches!(n, Notice::LeaseLost { .. })),
        Vec::<String>::new()
    );
}

/// The same, when the next renewal is under way already: it expects a revision that is gone.
#[test]
fn an_own_renewal_that_overtakes_the_next_one_does_not_end_the_session() {
    let (mut solo, _) = follower();
    solo.pass(secs(2));
    let (op, first) = solo.commit("w.worker-0");
    solo.answer(op, Err(error(StoreErrorKind::Rejected)));
    solo.pass(secs(2));
    let (op, second) = solo.commit("w.worker-0");
    assert_eq!(second[0].expect, first[0].expect);
    solo.show(written(&first[0], 8));
    assert_eq!(identities_lost(&solo), 0);
    let (_, third) = solo.commit("w.worker-0");
    assert_eq!(
        third[0].expect,
        Expect::Revision(crate::model::id::Revision::new(8))
    );
    // The answer to the one that was overtaken is nobody's.
    solo.answer(op, Err(error(StoreErrorKind::Refused)));
    assert_eq!(identities_lost(&solo), 0);
}

/// A writer that uses a name twice takes somebody else's answer for its own.
#[test]
fn every_renewal_has_its_own_name_and_rises() {
    let (mut solo, claim) = follower();
    let mut seen = Vec::from([session(&claim[0]).write]);
    for revision in 7..10 {
        solo.pass(secs(2));
        let (op, writes) = solo.commit("w.worker-0");
        seen.push(session(&writes[0]).write);
        solo.won(op, revision);
    }
    assert!(seen.windows(2).all(|pair| pair[0].nonce == pair[1].nonce));
    assert!(
        seen.windows(2).all(|pair| pair[0].seq < pair[1].seq),
        "{seen:?}"
    );
}

/// A group that changes hands by the thousand must not write a renewal for each partition.
#[test]
fn acknowledgements_are_collected_for_their_delay_and_then_said_together() {
    let (mut solo, _) = follower();
    solo.show(entry("a.worker-0", 10, &assignment(5, 11, &[0])));
    let delay = solo.core.config().acknowledge_delay();
    solo.pass(delay / 2);
    assert!(!solo.has_commit("w.worker-0"), "it collects");
    solo.show(entry("a.worker-0", 12, &assignment(5, 12, &[0, 1])));
    solo.pass(delay / 2);
    let (_, writes) = solo.commit("w.worker-0");
    assert_eq!(session(&writes[0]).applied.get(), 12);
    assert!(!solo.has_commit("w.worker-0"), "one for both");
}

/// A store was rolled back, and somebody claimed the slot at the very revision of this session's claim: both
/// processed what was granted to one, under the same token.
#[test]
fn an_assignment_for_another_session_of_the_same_epoch_is_not_taken_in() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    let Record::Assignment(record) = assignment(1, 11, &[0]) else {
        panic!("an assignment")
    };
    let other = Record::Assignment(AssignmentRecord {
        session: Nonce::new(77),
        ..record.clone()
    });
    solo.show(entry("a.worker-0", 3, &other));
    assert_eq!(solo.assigned, []);
    solo.show(entry("a.worker-0", 4, &Record::Assignment(record)));
    assert_eq!(solo.assigned.len(), 1);
}
