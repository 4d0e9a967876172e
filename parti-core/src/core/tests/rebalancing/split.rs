//! Assignments larger than one value: stored in pieces, taken in as a whole.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::core::tests::solo::{FOREIGN, NO_SESSION, Solo, assignment, entry};
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::notice::Notice;
use crate::model::id::{Epoch, Version};
use crate::model::partition::Partition;
use crate::ports::store::StoreOp;
use crate::ports::strategy::ParkReason;
use crate::records::assembly::Assembly;
use crate::records::keys::Key;
use crate::records::record::{AssignmentPiece, AssignmentRecord, Manifest, PieceStamp, Record};
use crate::records::wire;

/// A group whose store takes values of a kilobyte: an assignment has some twenty pieces.
fn small(partitions: u32) -> World {
    let mut world = World::new(partitions);
    world.max_value = 1_000;
    world
}

fn failures(world: &World) -> Vec<String> {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let failed = notices.filter(|notice| matches!(notice, Notice::StepFailed { .. }));
    failed.map(|notice| format!("{notice:?}")).collect()
}

/// What is stored under the key of a piece.
fn piece_keys(world: &World, worker: &str) -> Vec<String> {
    let prefix = format!("a.{worker}.");
    let living = world.entries.values().filter(|entry| entry.value.is_some());
    let keys = living.map(|entry| entry.key.clone());
    keys.filter(|key| key.starts_with(&prefix)).collect()
}

/// The assignments as a reader of the bucket finds them; `None` for one that is not whole.
fn stored(world: &World) -> BTreeMap<String, Option<AssignmentRecord>> {
    let mut split: BTreeMap<String, Assembly> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in world.entries.values() {
        let Some(value) = &entry.value else { continue };
        match (Key::parse(&entry.key), wire::decode(value)) {
            (Key::Assignment(worker), Ok(Record::Assignment(record))) => {
                found.insert(worker.to_string(), Some(record));
            }
            (Key::Assignment(worker), Ok(Record::Manifest(manifest))) => {
                split
                    .entry(worker.to_string())
                    .or_default()
                    .expect(Some(manifest));
            }
            (Key::Piece(worker, number), Ok(Record::Piece(piece))) => {
                let stored = split.entry(worker.to_string()).or_default();
                stored.take(number, wire::FORMAT, piece);
            }
            _ => {}
        }
    }
    for (worker, assembly) in split {
        if assembly.manifest().is_some() {
            found.insert(worker, assembly.whole());
        }
    }
    found
}

/// Every worker processes what is stored for it, and nobody anything else.
fn check(world: &World) {
    for (worker, record) in stored(world) {
        let record = record.unwrap_or_else(|| panic!("the record of {worker} is not whole"));
        let node = world.nodes.iter().find(|node| {
            let status = node.core.status();
            !node.cut_off && status.worker.is_some_and(|id| id.to_string() == worker)
        });
        let Some(node) = node else { continue };
        let granted = record
            .granted
            .iter()
            .map(|g| (g.partition.clone(), g.token));
        assert_eq!(node.held, granted.collect(), "{worker}");
    }
    // What still runs of a former session is named in the next one, however much it is.
    let log = world
        .log
        .iter()
        .filter(|entry| !entry.key.starts_with("w."));
    for entry in log {
        let size = entry.value.as_ref().map_or(0, Vec::len);
        assert!(size <= world.max_value, "{} has {size} bytes", entry.key);
    }
}

/// Sixty thousand partitions were fine on three workers and stuck for ever on two. A fifth of both is
/// enough to show it.
#[test]
fn survivors_own_what_no_longer_fits_one_value() {
    let mut world = World::new(0);
    world.max_value = (1 << 20) / 5;
    let key = |number: u32| format!("tenant-0123456789/{number:08}");
    let partition = |number| Partition::new([&key(number)[..17], &key(number)[18..]]);
    world.partitions = (0..12_000).map(|n| partition(n).expect("valid")).collect();
    assert!(world.partitions[0].key.encoded().len() >= 26);
    group(&mut world, 3);
    assert_eq!(counts(&world), [4_000; 3]);
    assert_eq!(piece_keys(&world, "worker-0").len(), 0, "it fits one value");
    for left in [2, 1] {
        let dead = leader(&world);
        world.nodes[dead].cut_off = true;
        let owned = |world: &World| -> Vec<usize> {
            let living = world.nodes.iter().filter(|node| !node.cut_off);
            living.map(|node| node.held.len()).collect()
        };
        for _ in 0..30 {
            if owned(&world).iter().sum::<usize>() < 12_000 {
                world.run(secs(1));
            }
        }
        let owned = owned(&world);
        assert_eq!(
            owned,
            alloc::vec![12_000 / left; left],
            "{:?}",
            failures(&world)
        );
        check(&world);
    }
    assert_eq!(failures(&world), Vec::<String>::new());
}

/// A move that rewrites every piece of a large assignment costs more than the move, and a partition that
/// is revoked because its piece changed costs an outage.
#[test]
fn who_keeps_a_partition_is_not_disturbed_whichever_piece_it_is_in() {
    let mut world = small(400);
    group(&mut world, 1);
    assert_eq!(counts(&world), [400], "{:?}", failures(&world));
    let before = piece_keys(&world, "worker-0").len();
    assert!(before > 10, "{before}");
    let first = world.nodes[0].held.clone();
    for _ in 0..3 {
        world.start(expecting(1));
    }
    world.run(secs(60));
    assert_eq!(counts(&world), [100; 4], "{:?}", failures(&world));
    check(&world);
    world.start(expecting(1));
    world.run(secs(60));
    assert_eq!(counts(&world), [80; 5], "{:?}", failures(&world));
    check(&world);
    // Three quarters are gone from each piece: they were put together, and what is left deleted.
    let after = piece_keys(&world, "worker-0").len();
    assert!(after <= before / 2, "{after} of {before}");
    let kept = &world.nodes[0].held;
    let revoked = world.nodes[0]
        .revoked
        .iter()
        .map(|(partition, _)| partition);
    assert!(
        revoked
            .clone()
            .all(|partition| !kept.contains_key(partition))
    );
    assert_eq!(revoked.count(), 320);
    assert!(
        kept.iter()
            .all(|(partition, token)| first.get(partition) == Some(token))
    );
}

/// What fits into no single commit is granted in several, each of which is whole.
#[test]
fn a_large_assignment_is_granted_in_several_generations_when_commits_are_small() {
    let mut world = small(600);
    world.max_batch = 9;
    group(&mut world, 2);
    world.run(secs(30));
    assert_eq!(counts(&world), [300; 2], "{:?}", failures(&world));
    assert!(world.commits["a.worker-0"] > 1);
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    world.run(secs(60));
    assert_eq!(
        world.nodes[1 - dead].held.len(),
        600,
        "{:?}",
        failures(&world)
    );
    check(&world);
    world.start(expecting(1));
    world.run(secs(90));
    let mut owned = counts(&world);
    owned.remove(dead);
    assert_eq!(owned, [300; 2], "{:?}", failures(&world));
    check(&world);
    assert_eq!(failures(&world), Vec::<String>::new());
}

/// A store keeps a batch in memory until it is whole: one of 18 MB for a single worker once went
/// out as one, although each of its values was small enough.
#[test]
fn a_commit_holds_no_more_bytes_than_its_bound_and_the_rest_follows() {
    let mut world = World::new(0);
    let long = |i: u32| Partition::new([format!("{i:0>1000}")]).expect("valid key");
    world.partitions = (0..18_000).map(long).collect();
    group(&mut world, 1);
    world.run(secs(30));
    assert_eq!(world.nodes[0].held.len(), 18_000, "{:?}", failures(&world));
    // Every generation begins with `head`; renewals between two are small.
    let (mut sizes, bound) = (Vec::from([0]), 16 << 20);
    for entry in &world.log {
        if entry.key == "head" {
            sizes.push(0);
        }
        let size = entry.value.as_ref().map_or(0, Vec::len);
        *sizes.last_mut().expect("begun") += size;
    }
    let largest = sizes.into_iter().max().expect("some");
    // `head` and the audit entry come on top of the assignments.
    assert!(
        (bound / 2..bound + world.max_value).contains(&largest),
        "{largest}"
    );
    check(&world);
}

/// Everything was refused when one worker could not hold its share: now it holds what fits, the rest is
/// named, and a worker that comes takes it.
#[test]
fn what_no_record_has_room_for_is_parked_with_its_reason() {
    let mut world = small(3_000);
    group(&mut world, 1);
    let held = world.nodes[0].held.clone();
    assert!(held.len() > 400 && held.len() < 2_500, "{}", held.len());
    assert_eq!(failures(&world), Vec::<String>::new());
    let notices = &world.nodes[0].notices;
    let parked = notices.iter().find_map(|notice| {
        let Notice::Parked { reason, needs, .. } = notice else {
            return None;
        };
        Some((*reason, needs.clone()))
    });
    let (reason, needs) = parked.expect("it is told");
    assert_eq!(reason, ParkReason::DoesNotFit);
    let count = world.nodes[0].core.status().group.parked.count;
    assert_eq!(count as usize, 3_000 - held.len());
    assert!(
        needs.contains("values of 1000 bytes") && needs.contains("larger payload"),
        "{needs}"
    );
    let problems = world.nodes[0].core.status().problems;
    let named = problems
        .iter()
        .any(|problem| problem.detail.contains("does_not_fit"));
    assert!(named, "{problems:?}");
    check(&world);
    for _ in 0..3 {
        world.start(expecting(1));
    }
    world.run(secs(60));
    assert_eq!(
        counts(&world).iter().sum::<usize>(),
        3_000,
        "{:?}",
        failures(&world)
    );
    check(&world);
}

/// One piece removed or spoiled makes the whole record unreadable for the next leader.
#[test]
fn a_piece_that_vanishes_or_is_spoiled_is_written_again_and_a_foreign_one_deleted() {
    let mut world = small(400);
    group(&mut world, 2);
    check(&world);
    let held: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    let keys = piece_keys(&world, "worker-1");
    world.entries.remove(&keys[0]).expect("it is there");
    world.run(secs(90));
    let gone =
        |notice: &Notice| matches!(notice, Notice::RecordVanished { key } if *key == keys[0]);
    assert!(world.nodes.iter().flat_map(|node| &node.notices).any(gone));
    check(&world);
    world.plant(&keys[1], b"nonsense");
    world.erase(&keys[2]);
    world.plant(&keys[3], &wire::encode(&piece(&[1, 2]).0));
    world.run(secs(30));
    check(&world);
    assert_eq!(piece_keys(&world, "worker-1"), keys);
    // Pieces that belong to nothing.
    world.plant("a.worker-1.77", &wire::encode(&piece(&[1, 2]).0));
    world.plant("a.worker-9.1", b"nonsense");
    world.start(expecting(1));
    world.run(secs(60));
    assert_eq!(piece_keys(&world, "worker-9"), Vec::<String>::new());
    assert!(!piece_keys(&world, "worker-1").contains(&"a.worker-1.77".to_string()));
    check(&world);
    for (node, held) in held.iter().enumerate() {
        let mut now = world.nodes[node].held.iter();
        assert!(now.all(|(partition, token)| held.get(partition) == Some(token)));
    }
}

/// A leader that takes over reads the record of its predecessor: if a piece of it is missing, it knows
/// nothing of what its worker holds, and gives nothing of it to anybody before that has ended.
#[test]
fn a_record_that_is_not_whole_at_a_take_over_frees_nothing_before_its_worker_has_ended() {
    let mut world = small(400);
    group(&mut world, 3);
    let dead = leader(&world);
    let victim = (dead + 1) % 3;
    let name = world.nodes[victim].core.status().worker.expect("claimed");
    let before = world.nodes[victim].held.clone();
    world.nodes[victim].slow = true;
    let keys = piece_keys(&world, name.as_str());
    world.nodes[dead].cut_off = true;
    world.entries.remove(&keys[0]).expect("it is there");
    for _ in 0..60 {
        world.run(secs(1));
        let others = (0..3).filter(|&node| node != victim && node != dead);
        for node in others {
            let twice = world.nodes[node].held.keys().filter(|key| {
                let processes = world.nodes[victim].held.contains_key(*key);
                processes
                    && !world.nodes[victim]
                        .kept_back
                        .iter()
                        .any(|g| g.partition == **key)
            });
            assert_eq!(twice.count(), 0);
        }
    }
    assert!(!before.is_empty());
    world.let_go(victim);
    world.run(secs(60));
    let owned = (0..3)
        .filter(|&node| node != dead)
        .map(|node| world.nodes[node].held.len());
    assert_eq!(owned.sum::<usize>(), 400, "{:?}", failures(&world));
    check(&world);
}

fn piece(granted: &[u32]) -> (Record, u128) {
    let Record::Assignment(record) = assignment(1, 11, granted) else {
        panic!("an assignment");
    };
    let piece = AssignmentPiece {
        write: FOREIGN,
        granted: record.granted,
        revoking: Vec::new(),
        preparing: Vec::new(),
    };
    let digest = piece.digest();
    (Record::Piece(piece), digest)
}

fn manifest(version: u64, digests: &[u128]) -> Record {
    let pieces = (1..).zip(digests).map(|(number, &digest)| PieceStamp {
        number,
        digest,
        granted: 1,
    });
    Record::Manifest(Manifest {
        write: FOREIGN,
        version: Version::new(version),
        epoch: Epoch::new(1),
        session: NO_SESSION,
        pieces: pieces.collect(),
    })
}

fn granted(solo: &Solo) -> usize {
    solo.assigned.len()
}

/// Pieces of two generations hold partitions that were never granted together: one of them is another's.
#[test]
fn only_a_matching_set_of_pieces_is_taken_in() {
    let mut solo = Solo::member();
    let (first, second) = (piece(&[0, 1]), piece(&[2, 3]));
    let later = piece(&[2, 4]);
    // The manifest comes alone; what it names is read at once.
    solo.show(entry("a.worker-0", 12, &manifest(11, &[first.1, second.1])));
    let (one, two) = (solo.get("a.worker-0.1"), solo.get("a.worker-0.2"));
    solo.read(two, Some(entry("a.worker-0.2", 11, &second.0)));
    assert_eq!(granted(&solo), 0, "one piece is missing");
    // A copy that lags does not have the other yet.
    solo.read(one, None);
    assert_eq!(granted(&solo), 0);
    // It is read again; meanwhile a later generation has begun.
    solo.pass(secs(2));
    let one = solo.get("a.worker-0.1");
    solo.show(entry("a.worker-0", 22, &manifest(12, &[first.1, later.1])));
    solo.read(one, Some(entry("a.worker-0.1", 10, &first.0)));
    assert_eq!(
        granted(&solo),
        0,
        "the second piece is of the generation before"
    );
    // The older manifest once more, from a list that lags.
    solo.show(entry("a.worker-0", 12, &manifest(11, &[first.1, second.1])));
    assert_eq!(granted(&solo), 0);
    solo.pass(secs(2));
    let two = solo.get("a.worker-0.2");
    solo.read(two, Some(entry("a.worker-0.2", 21, &later.0)));
    assert_eq!(granted(&solo), 4);
    assert_eq!(solo.core.status().applied, Version::new(12));
    // What did not change is not read again, and nothing else is begun.
    let next = piece(&[2, 4, 5]);
    solo.asked
        .retain(|(_, op)| !matches!(op, StoreOp::Get { .. }));
    solo.show(entry("a.worker-0", 32, &manifest(13, &[first.1, next.1])));
    let read = |op: &StoreOp| matches!(op, StoreOp::Get { key } if key == "a.worker-0.1");
    assert!(solo.find(read).is_none(), "it is known");
    let two = solo.get("a.worker-0.2");
    solo.read(two, Some(entry("a.worker-0.2", 31, &next.0)));
    assert_eq!(granted(&solo), 5);
    assert!(
        solo.other.is_empty(),
        "nothing is revoked: {:?}",
        solo.other
    );
    // One piece more: a partition that is in another piece now is neither revoked nor begun again.
    let (left, right) = (piece(&[0, 2, 4]), piece(&[1, 5]));
    solo.show(entry("a.worker-0", 42, &manifest(14, &[left.1, right.1])));
    let (one, two) = (solo.get("a.worker-0.1"), solo.get("a.worker-0.2"));
    solo.read(one, Some(entry("a.worker-0.1", 40, &left.0)));
    solo.read(two, Some(entry("a.worker-0.2", 41, &right.0)));
    assert_eq!((granted(&solo), solo.other.len()), (5, 0));
    assert_eq!(solo.core.status().applied, Version::new(14));
}

/// A record that is not taken in is not acknowledged, or it would be granted to the next while this one
/// goes on.
#[test]
fn a_manifest_without_its_pieces_is_not_acknowledged() {
    let mut solo = Solo::member();
    let named = piece(&[0]);
    solo.show(entry("a.worker-0", 12, &manifest(11, &[named.1])));
    solo.pass(secs(5));
    let sessions = solo.asked.iter().filter_map(|(_, op)| {
        let StoreOp::Commit { writes } = op else {
            return None;
        };
        writes.iter().find(|write| write.key == "w.worker-0")
    });
    for write in sessions {
        assert_eq!(
            crate::core::tests::solo::session(write).applied,
            Version::ZERO
        );
    }
    assert_eq!(solo.core.status().applied, Version::ZERO);
    // Many pieces are read at once.
    let digests: Vec<u128> = (0..20).map(|number| piece(&[number]).1).collect();
    solo.show(entry("a.worker-0", 50, &manifest(12, &digests)));
    let list = solo.take(|op| matches!(op, StoreOp::List { prefix } if prefix == "a.worker-0."));
    let entries = (0..20_u32).map(|number| {
        let key = format!("a.worker-0.{}", number + 1);
        entry(&key, 30 + u64::from(number), &piece(&[number]).0)
    });
    solo.listed(list.0, entries.rev().collect(), 60);
    assert_eq!(granted(&solo), 20);
}
