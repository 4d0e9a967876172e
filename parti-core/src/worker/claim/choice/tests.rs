//! Which slot is taken, a line each; and which earlier sessions a claim names.

use alloc::string::String;

use super::*;
use crate::model::id::{Nonce, Version, WriteId};

const ACTIVE: SessionStatus = SessionStatus::Active;
const RELEASED: SessionStatus = SessionStatus::Released {
    hold: Duration::ZERO,
};

fn id(number: u32) -> WorkerId {
    WorkerId::numbered("worker", number).expect("valid")
}

/// A slot seen since then, of epoch 5, whose lease is 6 s.
fn slot(revision: u64, status: SessionStatus, since: u64) -> Slot {
    let nonce = Nonce::new(u128::from(revision));
    let said = SessionRecord {
        write: WriteId { nonce, seq: 1 },
        epoch: Epoch::new(5),
        status,
        applied: Version::new(3),
        known: Version::new(3),
        age: core::time::Duration::ZERO,
        reads: crate::records::wire::FORMATS,
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        predecessors: Vec::new(),
        rejections: Vec::new(),
        bulletin: None,
        readiness: crate::records::record::Readiness::default(),
    };
    Slot {
        revision: Revision::new(revision),
        value: Vec::new(),
        epoch: said.epoch,
        said: Some(said),
        own: false,
        since: at(since),
        signs: 0,
    }
}

const fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn config() -> Config {
    let pool = Config::builder("g").worker_id_range(0, 2);
    pool.build().expect("coherent")
}

fn former(number: u32) -> Wish {
    Wish::Former(id(number))
}

/// One that has lost nothing yet.
const fn claimant(wish: &Wish, draining: bool) -> Claimant<'_> {
    Claimant {
        wish,
        draining,
        losses: 0,
        dice: u64::MAX,
    }
}

/// What a claimer without callbacks chooses of a pool of three.
fn check(slots: &[(u32, SessionStatus, u64)], wish: &Wish, now_ms: u64) -> Choice {
    let slots = slots.iter().map(|&(number, status, since)| {
        let revision = u64::from(number) + 10;
        (id(number), slot(revision, status, since))
    });
    let draining = false;
    choose(
        &config(),
        claimant(wish, draining),
        &slots.collect(),
        at(now_ms),
    )
}

fn take(number: u32, expect: Option<u64>) -> Choice {
    let expect = expect.map_or(Expect::Absent, |r| Expect::Revision(Revision::new(r)));
    Choice::Take {
        worker: id(number),
        expect,
        predecessors: Vec::new(),
    }
}

/// Two hundred went for the same lowest slot, again and again: ten seconds until all had one. And a group of
/// three is to have the IDs 0, 1 and 2.
#[test]
fn many_that_start_at_once_spread_over_twice_as_many_slots_and_few_take_the_lowest() {
    let chosen = |expected: u32, losses: u32, dice: u64, slots: &BTreeMap<WorkerId, Slot>| {
        let config = Config::builder("orders").worker_id_range(0, 999);
        let config = config.expected_workers(expected).build().expect("valid");
        let claimant = Claimant {
            losses,
            dice,
            ..claimant(&Wish::Any, false)
        };
        match choose(&config, claimant, slots, at(0)) {
            Choice::Take { worker, .. } => worker,
            other @ (Choice::Await { .. } | Choice::Wait { .. }) => panic!("{other:?}"),
        }
    };
    let none = BTreeMap::new();
    let cases = [
        (3, 0, 0),
        (5, 2, 4),
        (16, 0, 0),
        (16, 1, 3),
        (16, 2, 15),
        (17, 0, 33),
        (200, 0, 399),
        (900, 0, 999),
    ];
    for (expected, losses, highest) in cases {
        assert_eq!(chosen(expected, losses, 0, &none), id(0));
        let found = chosen(expected, losses, u64::MAX, &none);
        assert_eq!(found, id(highest), "{expected} expected, {losses} lost");
    }
    // What may be inherited comes first, however many are starting.
    let hold = Duration::from_secs(60);
    let held = slot(10, SessionStatus::Released { hold }, 0);
    let slots = BTreeMap::from([(id(777), held)]);
    assert_eq!(chosen(900, 0, u64::MAX, &slots), id(777));
}

/// A slot taken too early makes two processes with one identity; one passed over moves partitions.
#[test]
fn ended_slots_come_first_then_unused_then_silent_ones() {
    let evicted = |silent| SessionStatus::Evicted { silent };
    assert_eq!(check(&[], &Wish::Any, 0), take(0, None));
    assert_eq!(check(&[(0, ACTIVE, 0)], &Wish::Any, 100), take(1, None));
    assert_eq!(
        check(&[(2, RELEASED, 0)], &Wish::Any, 100),
        take(2, Some(12))
    );
    assert_eq!(
        check(&[(2, evicted(true), 0)], &Wish::Any, 100),
        take(2, Some(12))
    );
    assert_eq!(
        check(&[(2, evicted(false), 0)], &Wish::Any, 100),
        take(0, None)
    );
    assert_eq!(
        check(&[(0, ACTIVE, 0), (2, RELEASED, 0)], &former(1), 100),
        take(1, None)
    );
    assert_eq!(check(&[(1, ACTIVE, 0)], &former(1), 100), take(0, None));
    let full = [(0, ACTIVE, 0), (1, ACTIVE, 500), (2, ACTIVE, 0)];
    assert_eq!(check(&full, &Wish::Any, 6_000), take(0, Some(10)));
    assert_eq!(check(&full, &former(1), 6_500), take(1, Some(11)));
}

/// A replacement that takes the slot of a crashed worker instead lets the hold run out, and the
/// partitions move after all.
#[test]
fn a_held_slot_comes_before_those_of_the_crashed() {
    let evicted = SessionStatus::Evicted { silent: true };
    let hold = Duration::from_secs(1);
    let held = SessionStatus::Released { hold };
    let slots = [(0, evicted, 0), (1, RELEASED, 0), (2, held, 0)];
    assert_eq!(check(&slots, &Wish::Any, 100), take(2, Some(12)));
    assert_eq!(check(&slots[..2], &Wish::Any, 100), take(0, Some(10)));
}

/// A worker that was cut off while alive would go on under another ID, and an operator who counts its
/// failures would lose count.
#[test]
fn its_own_former_slot_may_be_taken_at_once() {
    let choose = |own| {
        let slot = Slot {
            own,
            ..slot(10, SessionStatus::Evicted { silent: false }, 0)
        };
        let slots = BTreeMap::from([(id(2), slot)]);
        let (wish, draining) = (&former(2), false);
        super::choose(&config(), claimant(wish, draining), &slots, at(1))
    };
    assert_eq!(choose(true), take(2, Some(10)));
    assert_eq!(choose(false), take(0, None));
}

/// A full pool must say when to look again and who holds it.
#[test]
fn a_full_pool_waits_for_the_first_lease_to_end() {
    let full = [
        (0, ACTIVE, 300),
        (1, ACTIVE, 100),
        (2, SessionStatus::Draining, 200),
    ];
    let holders = (0..3).map(id).collect();
    let until = Instant::from_millis(6_100);
    assert_eq!(
        check(&full, &Wish::Any, 6_099),
        Choice::Wait { until, holders }
    );
}

fn hinted(dead: bool) -> Wish {
    let (worker, by) = (id(1), Some(at(30_000)));
    Wish::Hinted { worker, dead, by }
}

/// What a claimer with a hint for a slot chooses at 1 s.
fn with_hint(dead: bool, slot: Slot) -> Choice {
    let wish = &hinted(dead);
    let (draining, slots) = (false, BTreeMap::from([(id(1), slot)]));
    choose(&config(), claimant(wish, draining), &slots, at(1_000))
}

/// Who took another slot instead would have all its partitions moved; who waits for a holder that
/// lives never starts.
#[test]
fn a_hinted_slot_is_waited_for_unless_its_holder_shows_that_it_lives() {
    let until = at(6_500);
    let seen = |signs| Slot {
        signs,
        ..slot(10, ACTIVE, 500)
    };
    assert_eq!(with_hint(false, seen(0)), Choice::Await { until });
    assert_eq!(with_hint(false, seen(1)), Choice::Await { until });
    assert_eq!(with_hint(false, seen(2)), take(0, None));
    assert_eq!(
        check(&[(1, ACTIVE, 500)], &hinted(false), 6_500),
        take(1, Some(11))
    );
    // Beyond the time for the start, another one is better than none.
    let late = [(1, ACTIVE, 25_000)];
    assert_eq!(check(&late, &hinted(false), 25_000), take(0, None));
    let unreadable = Slot {
        said: None,
        ..slot(10, ACTIVE, 500)
    };
    assert_eq!(with_hint(true, unreadable), Choice::Await { until });
}

/// The earlier sessions that a claim of slot 1 names, and until when: epoch, what remains, end.
fn named(choice: Choice) -> Vec<(u64, Remains, Instant)> {
    let Choice::Take {
        worker,
        predecessors,
        ..
    } = choice
    else {
        panic!("takes nothing: {choice:?}");
    };
    assert_eq!(worker, id(1));
    let named = predecessors.into_iter().map(|pending| {
        let Pending { predecessor, until } = pending;
        (predecessor.epoch.get(), predecessor.remains, until)
    });
    named.collect()
}

/// A predecessor that nobody names counts as ended, and its partitions are granted under its guards.
#[test]
fn a_slot_whose_holder_is_declared_dead_is_taken_at_once_and_the_holder_named() {
    let all = Remains::Everything;
    assert_eq!(
        named(with_hint(true, slot(10, ACTIVE, 500))),
        [(5, all, at(6_500))]
    );
    let evicted = SessionStatus::Evicted { silent: false };
    assert_eq!(
        named(with_hint(true, slot(10, evicted, 500))),
        [(5, all, at(6_500))]
    );
    // What has ended for certain need not be named.
    for ended in [RELEASED, SessionStatus::Evicted { silent: true }] {
        assert_eq!(named(with_hint(true, slot(10, ended, 500))), []);
        assert_eq!(named(with_hint(false, slot(10, ended, 500))), []);
    }
    assert_eq!(named(check(&[(1, ACTIVE, 0)], &hinted(true), 6_000)), []);
    // One renewal may have been on its way when it died: it is waited for until it is overdue.
    let seen = |signs, since| Slot {
        signs,
        ..slot(10, ACTIVE, since)
    };
    let until = at(3_500);
    assert_eq!(with_hint(true, seen(1, 500)), Choice::Await { until });
    assert_eq!(with_hint(true, seen(2, 500)), take(0, None), "it lives");
}

/// A process that crashes twice within a lease has two predecessors, and each may hold partitions.
#[test]
fn a_claim_names_what_the_former_session_named_as_long_as_its_lease_is_not_over() {
    let before = |epoch: u64, lease: u64, remains| Predecessor {
        epoch: Epoch::new(epoch),
        revision: Revision::new(epoch),
        lease: Duration::from_secs(lease),
        applied: Version::ZERO,
        remains,
    };
    let chain = |status, predecessors: &[Predecessor]| {
        let mut slot = slot(10, status, 500);
        let said = slot.said.as_mut().expect("readable");
        said.predecessors = predecessors.to_vec();
        slot
    };
    let (all, draining) = (Remains::Everything, Remains::Draining);
    let two = [before(3, 20, draining), before(4, 0, all)];
    let (long, own) = ((3, all, at(20_500)), (5, all, at(6_500)));
    assert_eq!(named(with_hint(true, chain(ACTIVE, &two))), [long, own]);
    // The end of the former session proves nothing of those before it.
    assert_eq!(named(with_hint(true, chain(RELEASED, &two))), [long]);
    assert_eq!(named(with_hint(false, chain(RELEASED, &two))), [long]);
    // A claim that names too many would grow without end: it waits as if nothing were declared.
    let many = [const { 9 }; MAX_PREDECESSORS].map(|epoch| before(epoch, 20, all));
    let until = at(6_500);
    assert_eq!(
        with_hint(true, chain(ACTIVE, &many)),
        Choice::Await { until }
    );
}

/// A worker that was cut off while alive runs its callbacks to the end: their partitions are not
/// free because it has another session.
#[test]
fn its_own_former_session_is_named_while_its_callbacks_run() {
    let claim = |status, draining| {
        let own = Slot {
            own: true,
            ..slot(10, status, 0)
        };
        let (wish, slots) = (&former(1), BTreeMap::from([(id(1), own)]));
        named(choose(
            &config(),
            claimant(wish, draining),
            &slots,
            at(1_000),
        ))
    };
    let alive = SessionStatus::Evicted { silent: false };
    let rest = [(5, Remains::Draining, at(7_000))];
    assert_eq!(claim(alive, true), rest);
    assert_eq!(claim(ACTIVE, true), rest);
    assert_eq!(claim(alive, false), []);
    // Its lease was over when it was evicted: nobody has to wait for its callbacks.
    assert_eq!(claim(SessionStatus::Evicted { silent: true }, true), []);
}
