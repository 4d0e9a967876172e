//! Machines that stand still: what was sent before may be arbitrarily long ago afterwards.

use super::group;
use super::world::World;
use crate::effect::Effect;
use crate::event::{Event, OpOwner};
use crate::id::Revision;
use crate::store::StoreReply;

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
    core.handle(at, Event::ClockJumped);
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
