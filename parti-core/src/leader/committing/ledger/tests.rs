//! The ledger as a table: worlds of a few seats written in a line each.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Change, Granted, NOBODY, Page, Seat, Standing, Step, advance};
use crate::config::Mode;
use crate::model::id::{Epoch, Token, Version};

/// A living seat with a record: granted ranks (token 1), revoking ranks with their version.
fn seat(granted: &[u32], revoking: &[(u32, u64)], applied: u64, draining: &[u32]) -> Seat {
    let granted = granted.iter().map(|&rank| Granted {
        rank,
        token: Token::new(1),
        anchor: None,
    });
    let revoking = revoking
        .iter()
        .map(|&(rank, since)| (rank, Version::new(since)));
    let epoch = Epoch::new(7);
    Seat {
        page: Some(Page {
            epoch,
            granted: granted.collect(),
            revoking: revoking.collect(),
        }),
        standing: Standing::Bound {
            applied: Version::new(applied),
            draining: draining.iter().copied().collect::<BTreeSet<_>>(),
        },
        living: Some(epoch),
        planned: true,
        damaged: false,
        waits: false,
    }
}

fn joiner() -> Seat {
    let standing = Standing::Ended;
    Seat {
        page: None,
        standing,
        living: Some(Epoch::new(9)),
        planned: true,
        damaged: false,
        waits: false,
    }
}

fn ended(seat: Seat) -> Seat {
    Seat {
        standing: Standing::Ended,
        living: None,
        ..seat
    }
}

fn run(mode: Mode, target: &[u32], seats: &[Seat]) -> Step {
    advance(mode, Version::new(5), target, seats, false, &|_| None)
}

/// Each change as `seat:+new =kept -revoking`, or `seat:gone`.
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

fn exclusive(target: &[u32], seats: &[Seat]) -> String {
    show(&run(Mode::Exclusive, target, seats))
}

/// Granting at once what another may hold is the one thing exclusive mode must never do.
#[test]
fn a_move_is_revoke_then_acknowledge_then_grant() {
    let before = [seat(&[0, 1], &[], 1, &[]), joiner()];
    assert_eq!(
        exclusive(&[0, 1], &before),
        "0:+[] =[0] -[1] 1:+[] =[] -[] | 1 unfinished"
    );
    let revoking = [seat(&[0], &[(1, 4)], 1, &[]), seat(&[], &[], 4, &[])];
    assert_eq!(exclusive(&[0, 1], &revoking), " | 1 unfinished");
    let acknowledged = [seat(&[0], &[(1, 4)], 4, &[]), seat(&[], &[], 4, &[])];
    assert_eq!(
        exclusive(&[0, 1], &acknowledged),
        "1:+[1] =[] -[] | 0 unfinished"
    );
}

/// One slow partition must not hold up the others of its worker.
#[test]
fn partitions_still_draining_wait_and_the_others_go_on() {
    let seats = [
        seat(&[], &[(0, 4), (1, 4)], 4, &[1]),
        seat(&[], &[], 4, &[]),
    ];
    assert_eq!(exclusive(&[1, 1], &seats), "1:+[0] =[] -[] | 1 unfinished");
}

/// The partitions of a worker that has ended are free at once, and its record goes.
#[test]
fn an_ended_worker_blocks_nobody() {
    let seats = [
        ended(seat(&[0, 1], &[(2, 4)], 1, &[])),
        seat(&[], &[], 4, &[]),
    ];
    assert_eq!(
        exclusive(&[1, 1, 1], &seats),
        "0:gone 1:+[0, 1, 2] =[] -[] | 0 unfinished"
    );
}

/// An eviction of a living worker takes effect only when its lease is over.
#[test]
fn an_evicted_worker_that_may_be_alive_still_blocks() {
    let seats = [
        Seat {
            living: None,
            ..seat(&[0], &[], 1, &[])
        },
        seat(&[], &[], 4, &[]),
    ];
    assert_eq!(exclusive(&[1], &seats), " | 1 unfinished");
}

/// A replacement inherits its seat's partitions with new tokens: nothing else moves.
#[test]
fn a_new_incarnation_gets_its_seats_partitions_anew() {
    let replaced = Seat {
        standing: Standing::Ended,
        living: Some(Epoch::new(9)),
        ..seat(&[0], &[], 1, &[])
    };
    let seats = [replaced, seat(&[1], &[], 1, &[])];
    assert_eq!(exclusive(&[0, 1], &seats), "0:+[0] =[] -[] | 0 unfinished");
}

/// A held seat keeps its partitions from everybody until it is taken or given up.
#[test]
fn a_reserved_seat_is_left_as_it_is() {
    let reserved = Seat {
        standing: Standing::Reserved,
        living: None,
        ..seat(&[0], &[], 1, &[])
    };
    let seats = [reserved, seat(&[1], &[], 1, &[])];
    assert_eq!(exclusive(&[0, 1], &seats), " | 1 unfinished");
}

/// A worker is not robbed for somebody who cannot take.
#[test]
fn nothing_is_taken_away_for_a_seat_that_is_gone() {
    let seats = [
        seat(&[0], &[], 1, &[]),
        Seat {
            page: None,
            living: None,
            ..joiner()
        },
    ];
    assert_eq!(exclusive(&[1], &seats), " | 1 unfinished");
}

/// A partition no longer in the list is taken away and never granted again.
#[test]
fn a_partition_without_target_is_taken_away() {
    let seats = [seat(&[0, 1], &[], 1, &[])];
    assert_eq!(
        exclusive(&[0, NOBODY], &seats),
        "0:+[] =[0] -[1] | 0 unfinished"
    );
}

/// A change of mind while a partition is being revoked waits for the release, then grants again.
#[test]
fn a_partition_coming_back_gets_a_new_token_after_its_release() {
    let seats = [seat(&[], &[(0, 4)], 1, &[])];
    assert_eq!(exclusive(&[0], &seats), " | 1 unfinished");
    let seats = [seat(&[], &[(0, 4)], 4, &[])];
    assert_eq!(exclusive(&[0], &seats), "0:+[0] =[] -[] | 0 unfinished");
}

/// Overlap mode never leaves a partition unowned for the sake of exclusion.
#[test]
fn overlap_grants_at_once() {
    let seats = [seat(&[0, 1], &[], 1, &[]), joiner()];
    let step = run(Mode::Overlap, &[0, 1], &seats);
    assert_eq!(show(&step), "0:+[] =[0] -[1] 1:+[1] =[] -[] | 0 unfinished");
}

/// Two records must not list one partition, whatever the mode.
#[test]
fn overlap_waits_for_a_record_that_cannot_be_rewritten() {
    let seats = [
        Seat {
            living: None,
            ..seat(&[0], &[], 1, &[])
        },
        seat(&[], &[], 1, &[]),
    ];
    assert_eq!(show(&run(Mode::Overlap, &[1], &seats)), " | 1 unfinished");
}

/// A joiner without partitions still gets a record: it waits for it.
#[test]
fn a_joiner_gets_an_empty_record() {
    assert_eq!(exclusive(&[], &[joiner()]), "0:+[] =[] -[] | 0 unfinished");
}

/// A worker that joined during a handoff must still be seen as joined afterwards.
#[test]
fn a_joiner_that_was_not_planned_for_gets_no_record_yet() {
    let seats = [Seat {
        planned: false,
        ..joiner()
    }];
    assert_eq!(run(Mode::Exclusive, &[], &seats), Step::default());
}

/// A record that a foreign hand deleted must not let its partitions be granted to somebody else,
/// also when another record still tells that it gave one of them away.
#[test]
fn what_no_record_grants_waits_while_somebody_may_hold_it() {
    let seats = [
        seat(&[0], &[(1, 4)], 4, &[]),
        ended(seat(&[2], &[], 4, &[])),
        joiner(),
    ];
    let step = advance(
        Mode::Exclusive,
        Version::new(5),
        &[0, 2, 2, 2],
        &seats,
        true,
        &|_| None,
    );
    assert_eq!(show(&step), "1:gone 2:+[2] =[] -[] | 2 unfinished");
}

/// Unchanged records are not written again.
#[test]
fn a_settled_world_is_left_alone() {
    let seats = [seat(&[0], &[], 1, &[]), seat(&[1], &[], 1, &[])];
    assert_eq!(run(Mode::Exclusive, &[0, 1], &seats), Step::default());
}

/// Metrics and notices report these counts: a move that is not counted does not exist for operators.
#[test]
fn a_step_counts_what_it_grants_takes_away_and_leaves_open() {
    let before = [seat(&[0, 1, 2], &[], 1, &[]), joiner()];
    let step = run(Mode::Exclusive, &[0, 1, 1, 1, 1], &before);
    assert_eq!((step.granted, step.revoked, step.unfinished), (2, 2, 2));
    let step = run(Mode::Overlap, &[0, 1, 1, 1, 1], &before);
    assert_eq!((step.granted, step.revoked, step.unfinished), (4, 2, 0));
}

/// What was granted in overlap mode may have two holders: a stricter rule must wait for both of them.
#[test]
fn a_partition_with_two_holders_waits_for_both() {
    // Rank 0 was taken from the first and given to the second; now the third is to have it.
    let first = |applied, draining: &[u32]| seat(&[], &[(0, 4)], applied, draining);
    let second = |applied| seat(&[], &[(0, 4)], applied, &[]);
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
    let waiting = Seat {
        waits: true,
        ..joiner()
    };
    assert_eq!(exclusive(&[0], &[waiting]), "0:+[] =[] -[] | 1 unfinished");
    assert_eq!(
        exclusive(&[0], &[joiner()]),
        "0:+[0] =[] -[] | 0 unfinished"
    );
}
