//! Partitions that a worker was given and cannot begin to process.

use crate::core::tests::store::silent_watch::leader;
use crate::core::tests::*;
use crate::io::grant::Grant;
use crate::model::id::Token;
use crate::model::partition::PartitionKey;
use crate::records::problem::ProblemKind;

/// Lets time pass; what is broken on a node is told to fail there, each time it is given again.
fn run(
    world: &mut World,
    duration: Duration,
    broken: impl Fn(usize, &PartitionKey) -> bool,
    told: &mut BTreeSet<(usize, PartitionKey, Token)>,
) {
    let end = world.now + duration;
    while world.now < end {
        world.run(Duration::from_millis(500));
        for node in 0..world.nodes.len() {
            let held: Vec<_> = world.nodes[node].held.clone().into_iter().collect();
            for (partition, token) in held {
                let new = broken(node, &partition) && !world.nodes[node].cut_off;
                if new && told.insert((node, partition.clone(), token)) {
                    let grant = Grant { partition, token };
                    let failing = Some("its file is damaged".to_string());
                    world.tell(node, Event::Processing { grant, failing });
                }
            }
        }
    }
}

fn holder(world: &World, key: &PartitionKey) -> Vec<usize> {
    let holds = |&node: &usize| world.nodes[node].held.contains_key(key);
    let living = (0..world.nodes.len()).filter(|&node| !world.nodes[node].cut_off);
    living.filter(holds).collect()
}

fn says(world: &World, node: usize) -> Option<(u32, alloc::string::String)> {
    let problems = world.nodes[node].core.status().problems;
    let mut failing = problems.into_iter();
    let failing = failing.find(|problem| problem.kind == ProblemKind::HandlerFailing);
    failing.map(|problem| (problem.count, problem.detail))
}

fn parked(world: &World, node: usize) -> Option<(u32, alloc::string::String)> {
    let problems = world.nodes[node].core.status().problems;
    let mut parked = problems.into_iter();
    let parked = parked.find(|problem| problem.kind == ProblemKind::Parked);
    parked.map(|problem| (problem.count, problem.detail))
}

/// One worker's disk was full: what it could not begin was owned there, and processed by nobody.
#[test]
fn a_partition_that_one_worker_cannot_process_ends_on_another_and_stays_there() {
    let mut world = World::new(9);
    group(&mut world, 3);
    run(&mut world, secs(20), |_, _| false, &mut BTreeSet::new());
    let bad = (0..3).find(|&n| n != leader(&world)).expect("a follower");
    let key = world.nodes[bad].held.keys().next().expect("some").clone();
    let broken = |node: usize, partition: &PartitionKey| node == bad && *partition == key;
    let (mut told, plans) = (BTreeSet::new(), world.plans.len());
    run(&mut world, secs(2), broken, &mut told);
    let now = holder(&world, &key);
    assert!(now.len() == 1 && now[0] != bad, "{now:?}");
    assert_eq!(world.plans.len(), plans + 1, "one plan, at once");
    assert_eq!(counts(&world).iter().sum::<usize>(), 9);
    assert_eq!(world.nodes[bad].held.len(), 2, "nothing else moves");
    // A crash, with everything planned again, does not give it back; nor does another leader.
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    run(&mut world, secs(60), broken, &mut told);
    let now = holder(&world, &key);
    assert!(now.len() == 1 && now[0] != bad, "{now:?}");
    assert_eq!(told.len(), 1, "it was given to it once");
    assert_eq!(says(&world, bad), None, "nothing is stuck any more");
}

/// A damaged partition that every worker fails with kept the whole group busy passing it round.
#[test]
fn a_partition_that_nobody_can_process_is_tried_by_everybody_once_and_parked_with_its_reason() {
    let mut world = World::new(9);
    group(&mut world, 3);
    run(&mut world, secs(20), |_, _| false, &mut BTreeSet::new());
    let key = world.partitions[4].key.clone();
    let broken = |_: usize, partition: &PartitionKey| *partition == key;
    let mut told = BTreeSet::new();
    run(&mut world, secs(10), broken, &mut told);
    assert_eq!(told.len(), 3, "everybody has tried: {told:?}");
    let plans = world.plans.len();
    assert_eq!(holder(&world, &key), [], "nobody has it");
    for _ in 0..28 {
        run(&mut world, secs(10), broken, &mut told);
        assert_eq!(
            world.plans.len(),
            plans,
            "nothing is planned within a quarantine"
        );
        for node in 0..3 {
            let (count, detail) = parked(&world, node).expect("everybody knows");
            assert_eq!(count, 1);
            assert!(detail.contains("failed_everywhere: 1"), "{detail}");
            assert!(detail.contains("its file is damaged"), "{detail}");
            assert_eq!(says(&world, node), None, "nothing is stuck");
        }
    }
    // It is tried again after 5, 10, 20, 40 and 80 minutes, by each of them at most.
    run(&mut world, secs(5_400), broken, &mut told);
    assert!(told.len() > 3, "it is tried again");
    assert!(told.len() <= 3 + 3 * 5, "{}", told.len());
    assert_eq!(counts(&world).iter().sum::<usize>(), 8);
}

/// A partition that was parked because nobody could process it was forgotten when its file was repaired.
#[test]
fn a_parked_partition_is_taken_up_again_by_a_restarted_worker_at_once_and_else_after_a_while() {
    for restarts in [false, true] {
        let mut world = World::new(9);
        group(&mut world, 3);
        run(&mut world, secs(20), |_, _| false, &mut BTreeSet::new());
        let key = world.partitions[4].key.clone();
        let broken = |_: usize, partition: &PartitionKey| *partition == key;
        let mut told = BTreeSet::new();
        run(&mut world, secs(10), broken, &mut told);
        assert_eq!(holder(&world, &key), []);
        // Another leader knows of it.
        let dead = leader(&world);
        world.nodes[dead].cut_off = true;
        run(&mut world, secs(60), broken, &mut told);
        assert_eq!((told.len(), holder(&world, &key)), (3, Vec::new()));
        let repaired = |_: usize, _: &PartitionKey| false;
        if restarts {
            world.start(expecting(3));
            run(&mut world, secs(20), repaired, &mut told);
        } else {
            run(&mut world, secs(200), repaired, &mut told);
            assert_eq!(holder(&world, &key), [], "its time is not over");
            run(&mut world, secs(60), repaired, &mut told);
        }
        assert_eq!(holder(&world, &key).len(), 1, "restarts: {restarts}");
        let living = (0..3).find(|&node| node != dead).expect("two live");
        assert_eq!(parked(&world, living), None);
    }
}

/// The database of the whole group was down: every worker fails with everything, so moving is no help.
#[test]
fn a_cause_that_all_have_in_common_moves_nothing() {
    let mut world = World::new(9);
    group(&mut world, 3);
    run(&mut world, secs(20), |_, _| false, &mut BTreeSet::new());
    let before: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    let mut told = BTreeSet::new();
    let grants = |held: &alloc::collections::BTreeMap<PartitionKey, Token>| {
        let held = held.clone().into_iter();
        held.map(|(partition, token)| Grant { partition, token })
            .collect::<Vec<_>>()
    };
    for (node, held) in before.iter().enumerate() {
        for grant in grants(held) {
            told.insert((node, grant.partition.clone(), grant.token));
            let failing = Some("no database".to_string());
            world.tell(node, Event::Processing { grant, failing });
        }
    }
    run(&mut world, secs(120), |_, _| true, &mut told);
    let after: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    assert_eq!(before, after);
    assert_eq!(says(&world, 0).map(|(count, _)| count), Some(9));
    // It is back, and everything has begun.
    for (node, held) in after.iter().enumerate() {
        for grant in grants(held) {
            let failing = None;
            world.tell(node, Event::Processing { grant, failing });
        }
    }
    run(&mut world, secs(10), |_, _| false, &mut told);
    assert_eq!((says(&world, 0), says(&world, 1)), (None, None));
}

/// What is told late, of an ownership that is over, says nothing of the present one.
#[test]
fn failures_of_an_earlier_ownership_are_not_told() {
    let mut world = World::new(4);
    group(&mut world, 2);
    world.run(secs(20));
    let (key, token) = world.nodes[1].held.iter().next().expect("some");
    let (partition, token) = (key.clone(), Token::new(token.get() - 1));
    let (grant, failing) = (Grant { partition, token }, Some("late".to_string()));
    let before = counts(&world);
    world.tell(1, Event::Processing { grant, failing });
    world.run(secs(10));
    assert_eq!((says(&world, 1), counts(&world)), (None, before));
}

/// What everybody had failed with came back before its time whenever somebody failed with something
/// else: the first who had failed with it was out of quarantine, and barred for the other.
#[test]
fn what_is_parked_does_not_come_back_early_because_somebody_fails_with_something_else() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let mut told = BTreeSet::new();
    run(&mut world, secs(20), |_, _| false, &mut told);
    let key = world.partitions[4].key.clone();
    // It goes round slowly: a minute with each, which makes the first the first to try again.
    let mut bad: Vec<usize> = Vec::new();
    for _ in 0..3 {
        bad.extend(holder(&world, &key));
        let broken = |node: usize, k: &PartitionKey| *k == key && bad.contains(&node);
        run(&mut world, secs(60), broken, &mut told);
    }
    assert_eq!(
        (told.len(), holder(&world, &key)),
        (3, Vec::new()),
        "parked"
    );
    let all = |_: usize, k: &PartitionKey| *k == key;
    run(&mut world, secs(130), all, &mut told);
    // The first one is out of quarantine, five minutes after it failed, and fails with another one.
    let first = bad[0];
    let other = world.nodes[first].held.keys().next().expect("some").clone();
    let broken = |node: usize, k: &PartitionKey| *k == key || (*k == other && node == first);
    run(&mut world, secs(10), broken, &mut told);
    let now = holder(&world, &other);
    assert!(now.len() == 1 && now[0] != first, "it has moved: {now:?}");
    assert_eq!(holder(&world, &key), [], "its time is not over");
    assert_eq!(told.len(), 4, "nobody was given it");
    // Its own time comes all the same.
    run(&mut world, secs(180), broken, &mut told);
    assert!(told.len() > 4, "it is tried again");
}
