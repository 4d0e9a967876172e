//! A leader acts no longer than it may: what it retries ends with its lease.

use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::solo::{Solo, error, written};
use crate::core::tests::store::races::triggered;
use crate::io::effect::Effect;
use crate::io::event::{Event, OpId};
use crate::io::notice::{Notice, StepDownReason};
use crate::model::partition::Partition;
use crate::ports::store::{StoreErrorKind, StoreOp};
use crate::ports::strategy::Plan;

/// A leader whose first generation was sent and failed for now.
fn retrying() -> Solo {
    let partition = Partition::new(["p"]).expect("valid");
    let mut solo = triggered([partition].into());
    let mut revision = 3;
    let plans = |effect: &Effect| matches!(effect, Effect::Plan { .. });
    while !solo.other.iter().any(plans) {
        assert!(revision < 20, "no plan");
        solo.pass(Duration::from_millis(100));
        // Its renewals pass and come back, or it would judge nothing.
        while let Some((op, StoreOp::Commit { writes })) = solo.find(|op| writes_to(op, "w.")) {
            revision += 1;
            solo.won(op, revision);
            solo.show(written(&writes[0], revision));
        }
    }
    let Effect::Plan { op, .. } = taken(&mut solo, plans) else {
        unreachable!("just found")
    };
    let plan = Plan {
        owners: alloc::vec![0],
        ..Plan::default()
    };
    let result = Ok(plan);
    commits(&mut solo);
    solo.tell(Event::Planned { op, result });
    let sent = commits(&mut solo);
    assert_eq!(sent.len(), 1, "one commit is in flight at a time");
    solo.answer(sent[0], Err(error(StoreErrorKind::Unavailable)));
    solo
}

fn taken(solo: &mut Solo, wanted: impl Fn(&Effect) -> bool) -> Effect {
    let found = solo.other.iter().position(wanted);
    solo.other.remove(found.expect("it is asked for"))
}

/// Whether it is a commit whose first key begins like this.
fn writes_to(op: &StoreOp, prefix: &str) -> bool {
    matches!(op, StoreOp::Commit { writes } if writes[0].key.starts_with(prefix))
}

/// What has been asked since the last call and begins with `head`: generations, or take-overs.
fn commits(solo: &mut Solo) -> Vec<OpId> {
    let all = core::mem::take(&mut solo.asked);
    all.into_iter()
        .filter_map(|(id, op)| writes_to(&op, "head").then_some(id))
        .collect()
}

/// A generation that is sent again for ever by somebody who leads no more fights the next leader.
#[test]
fn a_generation_is_tried_again_while_the_lease_lasts_and_never_after() {
    let mut solo = retrying();
    solo.pass(Duration::from_secs(1));
    assert!(!commits(&mut solo).is_empty(), "it is tried again");

    let mut solo = retrying();
    solo.tell(Event::ClockJumped { by: None });
    let lost = |notice: &Notice| {
        let reason = StepDownReason::SessionLost;
        matches!(notice, Notice::LeadershipLost { reason: why, .. } if *why == reason)
    };
    assert!(solo.notices.iter().any(lost), "{:?}", solo.notices);
    solo.pass(Duration::from_secs(60));
    assert_eq!(commits(&mut solo), []);
    assert!(!solo.core.status().is_leader);
}
