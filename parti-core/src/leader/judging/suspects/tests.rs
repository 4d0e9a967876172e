//! Who is evicted on a suspicion, as a table of cases.

use super::*;
use alloc::vec;

fn worker(number: u32) -> WorkerId {
    WorkerId::numbered("worker", number).expect("valid")
}

fn config() -> Config {
    let builder = Config::builder("g").mode(crate::config::Mode::Fenced);
    builder
        .sinks_compare_tokens(true)
        .build()
        .expect("coherent")
}

const fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn gone(number: u32, ms: u64) -> Suspect {
    Suspect {
        worker: worker(number),
        at: at(ms),
        gone: true,
        owns: true,
        answered: (true, 8),
    }
}

fn silent(number: u32, ms: u64) -> Suspect {
    Suspect {
        gone: false,
        ..gone(number, ms)
    }
}

fn look(others: usize, suspects: Vec<Suspect>, now: u64, budget: &Budget) -> Suspicions {
    let unanswered = Unanswered {
        others,
        suspects,
        own_way: OwnWay::Good,
    };
    suspicions(&config(), at(now), budget, &unanswered)
}

fn evicted(suspicions: &Suspicions) -> Vec<WorkerId> {
    suspicions.evict.clone()
}

/// A crash is worth a move at once; somebody who still may answer is not.
#[test]
fn one_that_is_gone_or_silent_for_long_enough_is_evicted() {
    let budget = Budget::default();
    let found = look(4, vec![gone(1, 1_000)], 1_000, &budget);
    assert_eq!(evicted(&found), [worker(1)]);
    let early = look(4, vec![silent(1, 1_200)], 1_000, &budget);
    assert_eq!(evicted(&early), []);
    assert_eq!(early.again_at, Some(at(1_200)));
    assert_eq!(
        evicted(&look(4, vec![silent(1, 1_200)], 1_200, &budget)),
        [worker(1)]
    );
}

/// A leader that is cut off itself took everybody's partitions.
#[test]
fn most_of_the_group_makes_the_leader_step_down_and_evicts_nobody() {
    let budget = Budget::default();
    let half = vec![gone(1, 0), gone(2, 0)];
    let found = look(4, half.clone(), 60_000, &budget);
    assert!(!found.isolated);
    let most = look(3, half, 60_000, &budget);
    assert!(most.isolated && most.evict.is_empty());
    let mut closed = Budget::default();
    closed.close(&config(), at(60_000));
    let after = look(3, vec![gone(1, 0), gone(2, 0)], 60_000, &closed);
    assert!(
        !after.isolated && after.evict.is_empty(),
        "it steps down once"
    );
    assert_eq!(after.again_at, Some(at(120_000)), "ten leases");
}

/// A leader that was cut off found the first of the others dead before it had asked the rest.
#[test]
fn nobody_is_evicted_before_half_of_the_rest_has_answered_since() {
    let budget = Budget::default();
    let heard = |others, answered| {
        let suspect = Suspect {
            answered: (true, answered),
            ..gone(1, 0)
        };
        evicted(&look(others, vec![suspect], 60_000, &budget))
    };
    for (others, enough) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (20, 10)] {
        assert_eq!(heard(others, enough), [worker(1)], "{others}");
        if let Some(fewer) = usize::checked_sub(enough, 1) {
            assert_eq!(heard(others, fewer), [], "{others}");
        }
    }
}

/// After the restart of a server the leader was connected again before the others were.
#[test]
fn a_leader_whose_own_way_was_broken_waits_for_others_to_connect_again() {
    let unanswered = Unanswered {
        others: 4,
        suspects: vec![gone(1, 1_000)],
        own_way: OwnWay::Restored(at(1_000)),
    };
    let look = |now| suspicions(&config(), at(now), &Budget::default(), &unanswered);
    let early = look(1_999);
    assert_eq!((evicted(&early), early.again_at), (vec![], Some(at(2_000))));
    assert_eq!(evicted(&look(2_000)), [worker(1)]);
}

/// A new leader whose own way is broken found everybody gone before it found that out.
#[test]
fn nobody_is_evicted_before_the_leaders_own_process_has_answered_since() {
    let suspect = Suspect {
        answered: (false, 8),
        ..gone(1, 0)
    };
    assert_eq!(
        evicted(&look(4, vec![suspect], 60_000, &Budget::default())),
        []
    );
}

/// Without an answer of its own process a leader knows only that its way is broken.
#[test]
fn nobody_is_suspected_on_a_way_that_is_broken() {
    let unanswered = Unanswered {
        others: 4,
        suspects: vec![gone(1, 0)],
        own_way: OwnWay::Broken,
    };
    let found = suspicions(&config(), at(1_000), &Budget::default(), &unanswered);
    assert_eq!(found, Suspicions::default());
}

/// An idle worker that crashed used up the budget, and the next one was left to its lease with what it had.
#[test]
fn one_that_owns_nothing_is_left_to_its_lease() {
    let idle = Suspect {
        owns: false,
        ..gone(1, 0)
    };
    let found = |suspects| evicted(&look(8, suspects, 60_000, &Budget::default()));
    assert_eq!(found(vec![idle.clone()]), []);
    assert_eq!(found(vec![idle, gone(2, 0)]), [worker(2)]);
}

/// Of two, each that hears nothing would evict the other.
#[test]
fn of_two_only_one_that_is_certainly_not_there_is_evicted() {
    let budget = Budget::default();
    assert_eq!(evicted(&look(1, vec![silent(1, 0)], 60_000, &budget)), []);
    assert_eq!(
        evicted(&look(1, vec![gone(1, 0)], 60_000, &budget)),
        [worker(1)]
    );
}

/// The restart of a server makes healthy workers look gone while they connect again.
#[test]
fn several_at_once_are_waited_for() {
    let budget = Budget::default();
    let several = || vec![gone(1, 1_000), gone(2, 1_400)];
    let found = look(8, several(), 2_399, &budget);
    assert_eq!((evicted(&found), found.again_at), (vec![], Some(at(2_400))));
    assert_eq!(
        evicted(&look(8, several(), 2_400, &budget)),
        [worker(1), worker(2)]
    );
}

/// Wrong suspicions cost moves: they must not cost more of them under each new leader.
#[test]
fn a_quarter_of_the_group_may_be_evicted_within_ten_leases_also_by_other_leaders() {
    let config = config();
    let mut budget = Budget::default();
    budget.spend(&config, at(0), &worker(1));
    assert_eq!(evicted(&look(3, vec![gone(2, 0)], 59_999, &budget)), []);
    assert_eq!(
        evicted(&look(7, vec![gone(2, 0)], 59_999, &budget)),
        [worker(2)]
    );
    assert_eq!(
        evicted(&look(7, vec![gone(1, 0)], 59_999, &budget)),
        [],
        "not the same one again"
    );
    let (suspected, leases_decide) = budget.carried(at(20_000));
    let carried = Carried {
        suspected,
        leases_decide,
        ..Carried::default()
    };
    // Another clock.
    let mut next = Budget::resumed(at(500), &carried);
    assert_eq!(evicted(&look(3, vec![gone(2, 0)], 40_499, &next)), []);
    assert_eq!(
        evicted(&look(3, vec![gone(1, 0)], 40_500, &next)),
        [worker(1)]
    );
    // One that runs only now and then is evicted each time after twice as long.
    next.spend(&config, at(40_500), &worker(1));
    assert_eq!(evicted(&look(3, vec![gone(1, 0)], 160_499, &next)), []);
    assert_eq!(
        evicted(&look(3, vec![gone(2, 0)], 100_500, &next)),
        [worker(2)],
        "the others are not left to their leases for longer"
    );
    assert_eq!(
        evicted(&look(3, vec![gone(1, 0)], 160_500, &next)),
        [worker(1)]
    );
}
