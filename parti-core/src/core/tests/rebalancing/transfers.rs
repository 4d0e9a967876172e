//! What a leader tells of partitions that changed hands: whose they were, and for how long nobody
//! had them.

use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::rebalancing::emergencies::{followers, millis, until_renewal};
use crate::core::tests::world::World;
use crate::core::tests::{group, secs};
use crate::io::event::{Event, StopMode};
use crate::io::notice::{Notice, OwnerEnd};

/// How long what a worker told of moved without an owner, by how the former ownership ended.
fn vacancies(world: &World) -> Vec<(OwnerEnd, usize, Duration)> {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let transfers = notices.filter_map(|notice| {
        let Notice::Committed { transfers, .. } = notice else {
            return None;
        };
        Some(transfers)
    });
    let vacancies = transfers.flatten().map(|t| (t.end, t.partitions, t.vacant));
    vacancies.collect()
}

/// Without this figure nobody knows how long a crash leaves partitions unprocessed.
#[test]
fn what_a_lost_worker_had_is_told_with_the_time_since_its_last_renewal() {
    let mut world = World::new(6);
    group(&mut world, 3);
    assert_eq!(vacancies(&world), [], "nothing had an owner before");
    let victim = followers(&world)[0];
    until_renewal(&mut world, victim);
    world.nodes[victim].cut_off = true;
    world.run(millis(6_200));
    let [(OwnerEnd::Lost, 2, vacant)] = vacancies(&world)[..] else {
        panic!("{:?}", vacancies(&world));
    };
    assert!(vacant >= secs(6) && vacant < millis(6_200), "{vacant:?}");
}

/// A drained partition has no owner only from its release to the next commit, not for its drain.
#[test]
fn what_a_leaving_worker_released_is_told_with_the_time_since_its_acknowledgement() {
    let mut world = World::new(6);
    group(&mut world, 3);
    let victim = followers(&world)[0];
    world.nodes[victim].slow = true;
    world.tell(
        victim,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(millis(1_500));
    assert_eq!(vacancies(&world), [], "it still drains");
    world.let_go(victim);
    world.run(secs(1));
    let told = vacancies(&world);
    assert_eq!(told.iter().map(|&(_, count, _)| count).sum::<usize>(), 2);
    for (end, _, vacant) in told {
        assert!(
            end == OwnerEnd::Released && vacant < millis(300),
            "{vacant:?}"
        );
    }
}
