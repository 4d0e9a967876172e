//! The ledger as a table: worlds of a few slots written in a line each.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

mod preparing;

use super::{Change, Granted, NOBODY, Page, Rules, Slot, Standing, Step, advance};
use crate::config::Mode;
use crate::leader::committing::moves::Warmth;
use crate::model::id::{Epoch, Token, Version};

/// A living slot with a record: granted ranks (token 1), revoking ranks with their version.
fn slot(granted: &[u32], revoking: &[(u32, u64)], applied: u64, draining: &[u32]) -> Slot {
    let granted = granted.iter().map(|&rank| Granted {
        rank,
        token: Token::new(1),
        anchor: None,
    });
    let revoking = revoking
        .iter()
        .map(|&(rank, since)| (rank, Version::new(since)));
    let epoch = Epoch::new(7);
    Slot {
        page: Some(Page {
            epoch,
            granted: granted.collect(),
            revoking: revoking.collect(),
            preparing: Vec::new(),
        }),
        standing: Standing::Bound {
            applied: Version::new(applied),
            draining: draining.iter().copied().collect::<BTreeSet<_>>(),
        },
        living: Some(epoch),
        planned: true,
        damaged: false,
        waits: false,
        warmth: Warmth::default(),
    }
}

fn joiner() -> Slot {
    let standing = Standing::Ended;
    Slot {
        page: None,
        standing,
        living: Some(Epoch::new(9)),
        planned: true,
        damaged: false,
        waits: false,
        warmth: Warmth::default(),
    }
}

fn ended(slot: Slot) -> Slot {
    Slot {
        standing: Standing::Ended,
        living: None,
        ..slot
    }
}

const EXCLUSIVE: Rules = Rules {
    mode: Mode::Exclusive,
    max_moves: None,
    bug: None,
};

fn run(mode: Mode, target: &[u32], slots: &[Slot]) -> Step {
    advance(
        Rules { mode, ..EXCLUSIVE },
        Version::new(5),
        target,
        slots,
        false,
        &|_| None,
    )
}

/// Each change as `slot:+new =kept -revoking`, or `slot:gone`.
fn show(step: &Step) -> String {
    let changes = step.changes.iter().map(|(index, change)| match change {
        Change::Remove => format!("{index}:gone"),
        Change::Write(page) => {
            let new = |g: &&Granted| g.token == Token::new(5);
            let ranks = |filter: &dyn Fn(&&Granted) -> bool| -> Vec<u32> {
                page.granted.iter().filter(filter).map(|g| g.rank).collect()
            };
            let (gained, kept) = (ranks(&new), ranks(&|g| !new(g)));
            let revoking: Vec<u32> = page.revoking.iter().map(|&(rank, _)| rank).collect();
            format!("{index}:+{gained:?} ={kept:?} -{revoking:?}")
        }
    });
    let changes: Vec<String> = changes.collect();
    format!("{} | {} unfinished", changes.join(" "), step.unfinished)
}

fn exclusive(target: &[u32], slots: &[Slot]) -> String {
    show(&run(Mode::Exclusive, target, slots))
}

/// Granting at once what another may hold is the one thing exclusive mode must never do.
#[test]
fn a_move_is_revoke_then_acknowledge_then_grant() {
    let before = [slot(&[0, 1], &[], 1, &[]), joiner()];
    assert_eq!(
        exclusive(&[0, 1], &before),
        "0:+[] =[0] -[1] 1:+[] =[] -[] | 1 unfinished"
    );
    let revoking = [slot(&[0], &[(1, 4)], 1, &[]), slot(&[], &[], 4, &[])];
    assert_eq!(exclusive(&[0, 1], &revoking), " | 1 unfinished");
    let acknowledged = [slot(&[0], &[(1, 4)], 4, &[]), slot(&[], &[], 4, &[])];
    assert_eq!(
        exclusive(&[0, 1], &acknowledged),
        "1:+[1] =[] -[] | 0 unfinished"
    );
}

/// One slow partition must not hold up the others of its worker.
#[test]
fn partitions_still_draining_wait_and_the_others_go_on() {
    let slots = [
        slot(&[], &[(0, 4), (1, 4)], 4, &[1]),
        slot(&[], &[], 4, &[]),
    ];
    assert_eq!(exclusive(&[1, 1], &slots), "1:+[0] =[] -[] | 1 unfinished");
}

/// The partitions of a worker that has ended are free at once, and its record goes.
#[test]
fn an_ended_worker_blocks_nobody() {
    let slots = [
        ended(slot(&[0, 1], &[(2, 4)], 1, &[])),
        slot(&[], &[], 4, &[]),
    ];
    assert_eq!(
        exclusive(&[1, 1, 1], &slots),
        "0:gone 1:+[0, 1, 2] =[] -[] | 0 unfinished"
    );
}

/// An eviction of a living worker takes effect only when its lease is over.
#[test]
fn an_evicted_worker_that_may_be_alive_still_blocks() {
    let slots = [
        Slot {
            living: None,
            ..slot(&[0], &[], 1, &[])
        },
        slot(&[], &[], 4, &[]),
    ];
    assert_eq!(exclusive(&[1], &slots), " | 1 unfinished");
}

/// A replacement inherits its slot's partitions with new tokens: nothing else moves.
#[test]
fn a_new_incarnation_gets_its_slots_partitions_again() {
    let replaced = Slot {
        standing: Standing::Ended,
        living: Some(Epoch::new(9)),
        ..slot(&[0], &[], 1, &[])
    };
    let slots = [replaced, slot(&[1], &[], 1, &[])];
    assert_eq!(exclusive(&[0, 1], &slots), "0:+[0] =[] -[] | 0 unfinished");
}

/// A held slot keeps its partitions from everybody until it is taken or given up.
#[test]
fn a_reserved_slot_is_left_as_it_is() {
    let reserved = Slot {
        standing: Standing::Reserved,
        living: None,
        ..slot(&[0], &[], 1, &[])
    };
    let slots = [reserved, slot(&[1], &[], 1, &[])];
    assert_eq!(exclusive(&[0, 1], &slots), " | 1 unfinished");
}

/// A worker is not robbed for somebody who cannot take.
#[test]
fn nothing_is_taken_away_for_a_slot_that_is_gone() {
    let slots = [
        slot(&[0], &[], 1, &[]),
        Slot {
            page: None,
            living: None,
            ..joiner()
        },
    ];
    assert_eq!(exclusive(&[1], &slots), " | 1 unfinished");
}

/// A partition no longer in the list is taken away and never granted again.
#[test]
fn a_partition_without_target_is_taken_away() {
    let slots = [slot(&[0, 1], &[], 1, &[])];
    assert_eq!(
        exclusive(&[0, NOBODY], &slots),
        "0:+[] =[0] -[1] | 0 unfinished"
    );
}

/// A change of mind while a partition is being revoked waits for the release, then grants again.
#[test]
fn a_partition_coming_back_gets_a_new_token_after_its_release() {
    let slots = [slot(&[], &[(0, 4)], 1, &[])];
    assert_eq!(exclusive(&[0], &slots), " | 1 unfinished");
    let slots = [slot(&[], &[(0, 4)], 4, &[])];
    assert_eq!(exclusive(&[0], &slots), "0:+[0] =[] -[] | 0 unfinished");
}

/// Overlap mode never leaves a partition unowned for the sake of exclusion.
#[test]
fn overlap_grants_at_once() {
    let slots = [slot(&[0, 1], &[], 1, &[]), joiner()];
    let step = run(Mode::Overlap, &[0, 1], &slots);
    assert_eq!(show(&step), "0:+[] =[0] -[1] 1:+[1] =[] -[] | 0 unfinished");
}

/// Two records must not list one partition, whatever the mode.
#[test]
fn overlap_waits_for_a_record_that_cannot_be_rewritten() {
    let slots = [
        Slot {
            living: None,
            ..slot(&[0], &[], 1, &[])
        },
        slot(&[], &[], 1, &[]),
    ];
    assert_eq!(show(&run(Mode::Overlap, &[1], &slots)), " | 1 unfinished");
}

/// A joiner without partitions still gets a record: it waits for it.
#[test]
fn a_joiner_gets_an_empty_record() {
    assert_eq!(exclusive(&[], &[joiner()]), "0:+[] =[] -[] | 0 unfinished");
}

/// A worker that joined during a handoff must still be seen as joined afterwards.
#[test]
fn a_joiner_that_was_not_planned_for_gets_no_record_yet() {
    let slots = [Slot {
        planned: false,
        ..joiner()
    }];
    assert_eq!(run(Mode::Exclusive, &[], &slots), Step::default());
}

/// A record that an external writer deleted or damaged must not let its partitions be granted to somebody
/// else, also when another record still tells that it gave one of them away, or that of an ended session
/// lists it.
#[test]
fn what_nobody_is_known_to_hold_waits_while_somebody_may_hold_it() {
    let slots = [
        slot(&[0], &[(1, 4)], 4, &[]),
        ended(slot(&[2], &[], 4, &[])),
        joiner(),
    ];
    let step = advance(
        EXCLUSIVE,
        Version::new(5),
        &[0, 2, 2, 2],
        &slots,
        true,
        &|_| None,
    );
    assert_eq!(show(&step), "1:gone 2:+[] =[] -[] | 3 unfinished");
}

/// Unchanged records are not written again.
#[test]
fn a_settled_world_is_left_alone() {
    let slots = [slot(&[0], &[], 1, &[]), slot(&[1], &[], 1, &[])];
    assert_eq!(run(Mode::Exclusive, &[0, 1], &slots), Step::default());
}

/// Metrics and notices report these counts: a move that is not counted does not exist for operators.
#[test]
fn a_step_counts_what_it_grants_takes_away_and_leaves_open() {
    let before = [slot(&[0, 1, 2], &[], 1, &[]), joiner()];
    let step = run(Mode::Exclusive, &[0, 1, 1, 1, 1], &before);
    assert_eq!((step.granted, step.revoked, step.unfinished), (2, 2, 2));
    let step = run(Mode::Overlap, &[0, 1, 1, 1, 1], &before);
    assert_eq!((step.granted, step.revoked, step.unfinished), (4, 2, 0));
}

/// What was granted in overlap mode may have two holders: a stricter rule must wait for both of them.
#[test]
fn a_partition_with_two_holders_waits_for_both() {
    // Rank 0 was taken from the first and given to the second; now the third is to have it.
    let first = |applied, draining: &[u32]| slot(&[], &[(0, 4)], applied, draining);
    let second = |applied| slot(&[], &[(0, 4)], applied, &[]);
    let run = |first, second| exclusive(&[2], &[first, second, joiner()]);
    let waits = "2:+[] =[] -[] | 1 unfinished";
    assert_eq!(run(first(3, &[]), second(4)), waits);
    assert_eq!(run(first(4, &[0]), second(4)), waits);
    assert_eq!(run(first(4, &[]), second(3)), waits);
    assert_eq!(
        run(first(4, &[]), second(4)),
        "2:+[0] =[] -[] | 0 unfinished"
    );
}

/// An exclusive worker that is granted something before exclusive holds has no promise for it.
#[test]
fn a_worker_that_waits_for_its_mode_gets_nothing_new() {
    let waiting = Slot {
        waits: true,
        ..joiner()
    };
    assert_eq!(exclusive(&[0], &[waiting]), "0:+[] =[] -[] | 1 unfinished");
    assert_eq!(
        exclusive(&[0], &[joiner()]),
        "0:+[0] =[] -[] | 0 unfinished"
    );
}
