//! Moves to workers that prepare: prepare, revoke, acknowledge, grant; and what withdraws a preparation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, leader, secs};
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::Notice;
use crate::model::id::Version;
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::model::time::Instant;

/// `n` workers that prepare share everything: what has no owner waits for nobody.
fn group(partitions: u32, n: u32, mode: Mode) -> World {
    let mut world = World::new(partitions);
    world.prepares = true;
    for _ in 0..n {
        world.start(|builder| expecting(n)(builder).mode(mode));
    }
    world.run(secs(12));
    assert_eq!(counts(&world).iter().sum::<usize>(), partitions as usize);
    assert!(world.nodes.iter().all(|node| node.warmth.is_empty()));
    world
}

/// Another worker joins, and the window for it has passed.
fn join(world: &mut World, mode: Mode) -> usize {
    let joiner = world.start(|builder| builder.mode(mode));
    world.run(secs(14));
    joiner
}

fn tokens(world: &World, node: usize) -> Vec<u64> {
    let held = world.nodes[node].held.values();
    held.map(|token| token.get()).collect()
}

fn generations(world: &World) -> usize {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let committed = notices.filter(|notice| matches!(notice, Notice::Committed { .. }));
    committed.count()
}

/// The warm-up of the next owner must cost the partition nothing, however long it is.
#[test]
fn a_partition_is_owned_during_the_whole_warm_up_and_moves_when_it_is_over() {
    for mode in [Mode::Exclusive, Mode::Overlap] {
        let mut world = group(4, 1, mode);
        let joiner = join(&mut world, mode);
        assert_eq!(counts(&world), [4, 0], "{mode:?}: nothing was taken away");
        assert_eq!(world.nodes[joiner].preparing.len(), 2);
        world.run(secs(3_600));
        assert_eq!(counts(&world), [4, 0], "{mode:?}: however long it takes");
        let oldest = *tokens(&world, 0).iter().max().expect("four");
        world.warm(joiner, None);
        world.run(Duration::from_millis(100));
        assert_eq!(counts(&world), [2, 2], "{mode:?}");
        assert!(tokens(&world, joiner).iter().all(|&token| token > oldest));
        assert_eq!(world.nodes[joiner].warmth.len(), 2, "nothing was withdrawn");
    }
}

/// In exclusive mode being ready is no right: the old owner ends first.
#[test]
fn a_ready_worker_waits_for_the_acknowledgement() {
    let mut world = group(4, 1, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    world.nodes[0].slow = true;
    world.warm(joiner, None);
    world.run(secs(2));
    assert_eq!(world.nodes[0].kept_back.len(), 2, "told to end");
    assert_eq!(counts(&world), [4, 0], "and still ending");
    world.let_go(0);
    world.run(Duration::from_millis(100));
    assert_eq!(counts(&world), [2, 2]);
}

/// A group whose handlers do not prepare must not pay a generation for those that do.
#[test]
fn a_worker_that_does_not_prepare_costs_no_generation_more() {
    let generations_of_a_join = |prepares| {
        let mut world = group(4, 1, Mode::Exclusive);
        world.prepares = prepares;
        let before = generations(&world);
        let joiner = join(&mut world, Mode::Exclusive);
        if prepares {
            world.warm(joiner, None);
            world.run(secs(1));
        }
        assert_eq!(counts(&world), [2, 2]);
        generations(&world) - before
    };
    assert_eq!(generations_of_a_join(false), 2, "revoke, grant");
    assert_eq!(generations_of_a_join(true), 3, "prepare, revoke, grant");
}

/// A crash must not wait for a warm-up.
#[test]
fn what_the_old_owner_leaves_by_dying_goes_to_the_preparing_worker_at_once() {
    let mut world = group(6, 2, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    let coming: Vec<PartitionKey> = world.nodes[joiner].preparing.keys().cloned().collect();
    assert_eq!(coming.len(), 2);
    let victim = 1 - leader(&world).min(1);
    world.nodes[victim].cut_off = true;
    world.run(secs(12));
    let of_victim = |key: &&PartitionKey| world.nodes[victim].held.contains_key(*key);
    let due: Vec<&PartitionKey> = coming.iter().filter(of_victim).collect();
    assert!(!due.is_empty());
    for key in due {
        assert!(world.nodes[joiner].held.contains_key(key), "{key}");
    }
}

/// A move whose gainer is gone costs the partition nothing: its owner never heard of it.
#[test]
fn a_gainer_that_dies_leaves_everything_where_it_is() {
    let mut world = group(4, 1, Mode::Exclusive);
    let before = tokens(&world, 0);
    let joiner = join(&mut world, Mode::Exclusive);
    world.nodes[joiner].cut_off = true;
    world.run(secs(40));
    assert_eq!(tokens(&world, 0), before);
    assert_eq!(world.nodes[0].revoked, []);
    assert_eq!(
        world.nodes[0].core.status().state.as_str(),
        "stable",
        "nothing is left to do"
    );
}

/// With several workers left it must stay where it is worked on, and not go to any of them.
#[test]
fn a_gainer_that_dies_leaves_everything_with_its_owner_and_not_with_others() {
    let mut world = group(12, 3, Mode::Exclusive);
    let before: Vec<Vec<u64>> = (0..3).map(|node| tokens(&world, node)).collect();
    let joiner = join(&mut world, Mode::Exclusive);
    assert_eq!(world.nodes[joiner].preparing.len(), 3);
    world.nodes[joiner].cut_off = true;
    world.run(secs(40));
    let after: Vec<Vec<u64>> = (0..3).map(|node| tokens(&world, node)).collect();
    assert_eq!(after, before);
    assert!(world.nodes[..3].iter().all(|node| node.warmth.is_empty()));
}

/// The partition stays where it can be processed, and the worker hears that it is not to come.
#[test]
fn a_gainer_that_cannot_take_it_is_told_so_and_its_owner_keeps_it() {
    let mut world = group(4, 1, Mode::Exclusive);
    let before = tokens(&world, 0);
    let joiner = join(&mut world, Mode::Exclusive);
    world.warm(joiner, Some("no disk"));
    world.run(secs(5));
    assert_eq!(tokens(&world, 0), before, "it was never taken away");
    assert_eq!(world.nodes[joiner].preparing.len(), 0);
    let warmth = &world.nodes[joiner].warmth;
    let told = |word: &str| warmth.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((told("prepare"), told("withdraw")), (2, 2), "{warmth:?}");
    world.run(secs(60));
    assert_eq!(tokens(&world, 0), before, "nor is it tried again and again");
    assert_eq!(world.nodes[joiner].warmth.len(), 4);
}

/// A bad moment while an owner worked on left the partition without an owner for a quarantine of minutes
/// when that owner died later.
#[test]
fn what_a_worker_failed_to_prepare_for_is_its_own_when_nobody_else_is_left() {
    let mut world = group(6, 2, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    let coming: Vec<_> = world.nodes[joiner].preparing.values().cloned().collect();
    let [fails, works] = <[_; 2]>::try_from(coming).expect("its share");
    for (preparation, failing) in [(fails, Some("no disk".into())), (works, None)] {
        let event = Event::Prepared {
            preparation,
            failing,
        };
        world.tell(joiner, event);
    }
    world.run(secs(5));
    let held = counts(&world)[joiner];
    assert!(
        held > 0,
        "it processes something, so it is not the worker that is broken"
    );
    world.kill(0);
    world.kill(1);
    world.run(secs(40));
    assert_eq!(counts(&world)[joiner], 6);
}

/// What nobody prepares for any more must not stay in memory.
#[test]
fn a_partition_that_is_gone_is_withdrawn() {
    let mut world = group(4, 1, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    world.partitions.clear();
    let request = RequestId(1);
    world.tell(0, Event::Refresh { request });
    world.run(secs(12));
    assert_eq!(counts(&world), [0, 0]);
    assert_eq!(world.nodes[joiner].preparing.len(), 0);
    assert_eq!(world.nodes[joiner].warmth.len(), 4);
}

/// Ten minutes of warm-up must not be thrown away because somebody else comes.
#[test]
fn an_unrelated_join_withdraws_nothing() {
    let mut world = group(12, 2, Mode::Exclusive);
    let first = join(&mut world, Mode::Exclusive);
    let coming = world.nodes[first].preparing.clone();
    assert_eq!(coming.len(), 4);
    join(&mut world, Mode::Exclusive);
    let kept = |key: &&PartitionKey| world.nodes[first].preparing.get(*key) == coming.get(*key);
    assert_eq!(
        coming.keys().filter(kept).count(),
        3,
        "all but what balance takes: {:?}",
        world.nodes[first].warmth
    );
}

/// A leader that dies must not cost a warm-up; nor may the next forget what is to come.
#[test]
fn the_next_leader_adopts_what_is_being_prepared() {
    let mut world = group(6, 2, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    let coming = world.nodes[joiner].preparing.clone();
    let leading = leader(&world);
    world.tell(
        leading,
        Event::Stop {
            mode: StopMode::Restart { hold: secs(600) },
        },
    );
    world.run(secs(20));
    assert!(leader(&world) != leading);
    let (kept, joined) = (&world.nodes[1 - leading].held, &world.nodes[joiner]);
    let waits = coming.iter().filter(|(key, _)| kept.contains_key(*key));
    let waits: Vec<_> = waits.collect();
    assert!(!waits.is_empty());
    for (key, told) in waits {
        assert_eq!(joined.preparing.get(key), Some(told), "as it was");
    }
    world.warm(joiner, None);
    world.run(secs(2));
    for key in coming.keys() {
        assert!(world.nodes[joiner].held.contains_key(key), "{key}");
    }
    let withdrawn = |line: &&alloc::string::String| line.starts_with("withdraw");
    assert_eq!(
        world.nodes[joiner].warmth.iter().filter(withdrawn).count(),
        0
    );
}

/// Prepared, withdrawn and prepared again: what was said of the first time counts no more.
#[test]
fn a_late_word_about_a_withdrawn_preparation_starts_nothing() {
    let mut world = group(4, 1, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    let old: Vec<_> = world.nodes[joiner].preparing.values().cloned().collect();
    world.nodes[joiner].cut_off = true;
    world.run(secs(20));
    world.resume(joiner);
    world.run(secs(30));
    let again = &world.nodes[joiner].preparing;
    assert_eq!(again.len(), 2, "{:?}", world.nodes[joiner].warmth);
    let newest = old.iter().map(|told| told.version).max();
    assert!(again.values().all(|told| Some(told.version) > newest));
    for preparation in old {
        world.tell(
            joiner,
            Event::Prepared {
                preparation,
                failing: None,
            },
        );
    }
    world.run(secs(10));
    assert_eq!(counts(&world), [4, 0]);
    world.warm(joiner, None);
    world.run(secs(1));
    assert_eq!(counts(&world), [2, 2]);
}

/// A worker that leaves works on until the others are ready, and longer than a stop takes otherwise.
#[test]
fn a_leaving_worker_keeps_its_partitions_until_the_others_are_ready() {
    let mut world = group(6, 2, Mode::Exclusive);
    let leaving = 1 - leader(&world);
    let mode = StopMode::Handoff;
    world.tell(leaving, Event::Stop { mode });
    world.run(secs(20));
    assert_eq!(counts(&world), [3, 3], "past its shutdown_timeout of 10 s");
    world.warm(1 - leaving, None);
    world.run(secs(1));
    assert_eq!(counts(&world)[1 - leaving], 6);
    let stopped = Notice::Stopped { errors: Vec::new() };
    assert!(world.nodes[leaving].notices.contains(&stopped));
}

/// A warm-up that never ends must not keep a worker from leaving.
#[test]
fn a_leaving_worker_waits_no_longer_than_its_bound() {
    let mut world = group(6, 2, Mode::Exclusive);
    let leaving = 1 - leader(&world);
    let mode = StopMode::Handoff;
    world.tell(leaving, Event::Stop { mode });
    world.run(secs(42));
    let stopped = |notice: &Notice| matches!(notice, Notice::Stopped { .. });
    assert!(world.nodes[leaving].notices.iter().any(stopped));
    assert_eq!(counts(&world)[1 - leaving], 6, "granted ready or not");
}

/// A worker that stops keeps nothing that it loaded for later.
#[test]
fn a_worker_that_stops_is_told_that_nothing_is_to_come() {
    let mut world = group(4, 1, Mode::Exclusive);
    let joiner = join(&mut world, Mode::Exclusive);
    let mode = StopMode::Now;
    world.tell(joiner, Event::Stop { mode });
    world.run(secs(1));
    assert_eq!(world.nodes[joiner].preparing.len(), 0);
    assert_eq!(world.nodes[joiner].warmth.len(), 4);
    world.run(secs(12));
    assert_eq!(counts(&world), [4, 0]);
}

/// A big rebalance that begins everything at once loads everything at once.
#[test]
fn moves_come_in_waves_of_the_bound_and_the_next_leader_goes_on_with_them() {
    let bounded = |builder: ConfigBuilder| builder.max_moves_in_flight(2);
    let mut world = World::new(12);
    world.prepares = true;
    for _ in 0..2 {
        world.start(|builder| bounded(expecting(2)(builder)));
    }
    world.run(secs(12));
    let joiner = world.start(bounded);
    world.run(secs(14));
    assert_eq!(counts(&world), [6, 6, 0]);
    assert_eq!(world.nodes[joiner].preparing.len(), 2);
    world.warm(joiner, None);
    world.run(secs(1));
    assert_eq!(counts(&world)[joiner], 2);
    assert_eq!(world.nodes[joiner].preparing.len(), 2, "the second wave");
    let leading = leader(&world);
    let mode = StopMode::Restart { hold: secs(600) };
    world.tell(leading, Event::Stop { mode });
    world.run(secs(20));
    world.warm(joiner, None);
    world.run(secs(1));
    assert!(counts(&world)[joiner] >= 3, "{:?}", counts(&world));
}

/// Operators see a long warm-up as what it is: nothing is lost, and nothing has to be decided.
#[test]
fn a_warm_up_is_one_plan() {
    let mut world = group(4, 1, Mode::Exclusive);
    let before = world.plans.len();
    let joiner = join(&mut world, Mode::Exclusive);
    world.run(secs(600));
    let causes: Vec<Cause> = world.plans[before..]
        .iter()
        .map(|(_, cause)| *cause)
        .collect();
    assert_eq!(causes, [Cause::PlannedScale], "not planned again and again");
    assert!(world.evictions.is_empty());
    assert!(world.nodes[joiner].core.status().version > Version::ZERO);
}

/// The whole point: everybody is replaced, each warms up for 30 s, and nobody waits for that.
#[test]
fn a_rolling_restart_with_a_warm_up_leaves_no_partition_unowned_for_longer_than_a_handoff() {
    let warm_up = secs(30);
    let mut world = group(12, 3, Mode::Exclusive);
    // Since when each preparation runs, and since when each partition has no owner.
    let mut began: Vec<(usize, PartitionKey, Instant)> = Vec::new();
    let (mut vacant, mut longest) = (BTreeMap::new(), Duration::ZERO);
    for leaving in 0..3 {
        world.start(expecting(3));
        let mut leaves = Some(leaving);
        let end = world.now + secs(100);
        while world.now < end {
            if world.now + secs(50) >= end
                && let Some(leaving) = leaves.take()
            {
                let mode = StopMode::Handoff;
                world.tell(leaving, Event::Stop { mode });
            }
            world.run(Duration::from_millis(2));
            let now = world.now;
            for (node, at) in world.nodes.iter().enumerate() {
                for key in at.preparing.keys() {
                    if !began.iter().any(|(n, k, _)| (*n, k) == (node, key)) {
                        began.push((node, key.clone(), now));
                    }
                }
            }
            began.retain(|(node, key, _)| world.nodes[*node].preparing.contains_key(key));
            let due = began.iter().find(|(_, _, at)| now.since(*at) >= warm_up);
            if let Some((node, _, _)) = due.cloned() {
                world.warm(node, None);
                began.retain(|(other, _, _)| *other != node);
            }
            let held = |key| world.nodes.iter().any(|node| node.held.contains_key(key));
            for partition in &world.partitions {
                if held(&partition.key) {
                    vacant.remove(&partition.key);
                } else {
                    let since = *vacant.entry(partition.key.clone()).or_insert(now);
                    longest = longest.max(now.since(since));
                }
            }
        }
    }
    let counts = counts(&world);
    assert_eq!(counts.iter().sum::<usize>(), 12, "{counts:?}");
    assert_eq!(counts[..3], [0, 0, 0], "everybody was replaced");
    // Two collections of acknowledgements of 4 ms, what is looked at every 2 ms, and an election where
    // the worker that leaves leads.
    assert!(longest <= Duration::from_millis(80), "{longest:?}");
}
