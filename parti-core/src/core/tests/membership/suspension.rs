//! Machines that stand still: what was sent before may be arbitrarily long ago afterwards.

use core::time::Duration;

use crate::core::tests::group;
use crate::core::tests::solo::{Solo, written};
use crate::core::tests::world::World;
use crate::io::effect::Effect;
use crate::io::event::{Event, OpOwner};
use crate::model::id::Revision;
use crate::ports::store::StoreReply;

/// A machine that was suspended just after a renewal was sent shows the same time before and after:
/// the answer must not count as if no time had passed.
#[test]
fn a_renewal_sent_at_the_instant_of_a_suspension_proves_nothing() {
    let mut world = World::new(1);
    group(&mut world, 1);
    let core = &mut world.nodes[0].core;
    let (at, op) = loop {
        let at = core.poll_timeout().expect("it renews").at;
        core.handle_timeout(at);
        let effects = core::iter::from_fn(|| core.poll_effect());
        let mut renewals = effects.filter_map(|effect| {
            let Effect::Store { op, .. } = effect else {
                return None;
            };
            (op.owner() == OpOwner::Session).then_some(op)
        });
        if let Some(op) = renewals.next() {
            break (at, op);
        }
    };
    core.handle(at, Event::ClockJumped { by: None });
    assert_eq!(core.deadline(), None);
    let revisions = alloc::vec![Revision::new(1_000)];
    let result = Ok(StoreReply::Committed { revisions });
    core.handle(at, Event::Store { op, result });
    assert_eq!(
        core.deadline(),
        None,
        "how long ago it was sent is not known"
    );
}

/// A wall clock that is set forward by a second is as a rule no suspension: it may shorten the lease,
/// and must not end it, or each correction by a time server stops all work for a moment.
#[test]
fn a_jump_of_known_length_shortens_the_lease_by_it_until_the_next_renewal() {
    let mut world = World::new(1);
    group(&mut world, 1);
    let now = world.now;
    let before = world.nodes[0].core.deadline().expect("valid");
    let jump = |world: &mut World, ms: u64| {
        let by = Some(Duration::from_millis(ms));
        world.tell(0, Event::ClockJumped { by });
        world.nodes[0].core.deadline()
    };
    let second = Duration::from_secs(1);
    assert_eq!(jump(&mut world, 1000), Some(before.saturating_sub(second)));
    world.run(Duration::from_secs(4));
    assert!(world.nodes[0].core.deadline() > Some(before), "renewed");
    // One that is longer than what is left of the lease ends it.
    let left = world.nodes[0].core.deadline().expect("valid").since(now);
    let left = u64::try_from(left.as_millis()).expect("small");
    assert_eq!(jump(&mut world, left), None);
    assert!(world.nodes[0].held.is_empty());
    world.run(Duration::from_secs(10));
    assert_eq!(
        world.nodes[0].held.len(),
        1,
        "resumed with the same partition"
    );
}

/// The echo of each renewal is shown and nothing else answered, for so long. How long no renewal was
/// asked for at the end.
fn echo_alone(solo: &mut Solo, revision: &mut u64, duration: Duration) -> Duration {
    let end = solo.now + duration;
    let mut last = solo.now;
    while solo.now < end {
        solo.pass(Duration::from_millis(100));
        if solo.has_commit("w.worker-0") {
            let (_, writes) = solo.commit("w.worker-0");
            *revision += 1;
            solo.show(written(&writes[0], *revision));
            last = solo.now;
        }
    }
    end.since(last)
}

/// A worker that can write and hears no answer renewed its session for ever, keeping partitions
/// that it did not work on: nobody else got them.
#[test]
fn a_valid_session_that_cannot_be_resumed_falls_silent_and_is_tried_again() {
    let mut solo = Solo::member();
    let config = solo.core.config().clone();
    let silence = config.lease() * 2;
    assert!(silence < config.detection_bound());
    solo.caught_up(1);
    solo.pass(config.lease() * 2);
    assert_eq!(solo.core.deadline(), None, "the lease is lost");
    let mut revision = 1;
    let patience = config.apply_timeout();
    let silent = echo_alone(&mut solo, &mut revision, patience - config.lease());
    assert!(silent < config.lease(), "it may yet be of use");
    let silent = echo_alone(&mut solo, &mut revision, config.lease() + silence);
    assert!(silent >= config.lease(), "its observers end it");
    // Nobody did.
    let silent = echo_alone(&mut solo, &mut revision, config.detection_bound());
    assert!(silent < config.lease());
    solo.look_is_fine(revision);
    assert!(solo.core.deadline().is_some());
}
