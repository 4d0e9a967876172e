//! The judgement as a table: one line a case, with the defaults (cold 30 s, planned 10 s, cooldown
//! 10 s, restart ratio 0.5).

use alloc::string::{String, ToString};
use alloc::vec;

use proptest::prelude::*;

use super::{Changing, Facts, ParkedFacts, Silent, Verdict, judge};
use crate::config::{Config, Mode};
use crate::model::id::WorkerId;
use crate::model::state::Cause;
use crate::model::time::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn facts(now: u64) -> Facts {
    Facts {
        now: at(now),
        in_contact: true,
        group: 10,
        ..Facts::default()
    }
}

fn silent(number: u32, lost_at: u64) -> Silent {
    let worker = WorkerId::numbered("worker", number).expect("valid");
    Silent {
        worker,
        lost_at: at(lost_at),
    }
}

const fn changing(first: u64, last: u64) -> Option<Changing> {
    Some(Changing {
        first: Instant::from_millis(first),
        last: Instant::from_millis(last),
    })
}

/// The verdict in one word and a number, so that a case is one line.
fn check(facts: &Facts) -> String {
    let config = Config::builder("g").build().expect("coherent");
    words(judge(&config, facts).verdict)
}

fn words(verdict: Verdict) -> String {
    let ms = |at: Instant| at.as_nanos() / 1_000_000;
    match verdict {
        Verdict::Quiet => "quiet".to_string(),
        Verdict::Wait(wake) => alloc::format!("wait {} {:?}", ms(wake.at), wake.why),
        Verdict::Settle { cause, until } => alloc::format!("settle {cause} {}", ms(until)),
        Verdict::Act { cause, lost } => alloc::format!("act {cause} {}", lost.len()),
    }
}

/// When to judge again, in milliseconds.
fn again(facts: &Facts) -> Option<u64> {
    let config = Config::builder("g").build().expect("coherent");
    let wake = judge(&config, facts).again_at?;
    Some(wake.at.as_nanos() / 1_000_000)
}

/// A leader that names its next deadline too late lets a dead worker's partitions lie; one that names a
/// past one spins.
#[test]
fn a_judgement_names_the_first_time_at_which_it_may_change_and_never_a_past_one() {
    let none = facts(10_000);
    assert_eq!(again(&none), None, "nothing is foreseeable");
    let lost = Facts {
        silent: vec![silent(1, 15_000), silent(2, 12_000)],
        ..none.clone()
    };
    assert_eq!(again(&lost), Some(12_000), "the first who may be lost");
    let patience = Facts {
        expires_at: Some(at(11_000)),
        parked: ParkedFacts {
            any: false,
            until: Some(at(11_500)),
        },
        ..lost.clone()
    };
    assert_eq!(again(&patience), Some(11_000), "a patience is over before");
    let window = Facts {
        joined: changing(9_000, 9_000),
        ..lost.clone()
    };
    assert_eq!(again(&window), Some(12_000), "the window ends at 19 000");
    let past = Facts {
        in_contact: false,
        silent: vec![silent(1, 9_000)],
        expires_at: Some(at(10_000)),
        ..none
    };
    assert_eq!(again(&past), None, "it waits for contact");
}

/// Nothing to do must be nothing: a calm group is never rebalanced.
#[test]
fn a_calm_group_is_left_alone() {
    assert_eq!(check(&facts(1_000_000)), "quiet");
}

/// A leader that hears nothing itself once declared everybody dead.
#[test]
fn without_own_contact_nobody_is_judged() {
    let silent = vec![silent(1, 5_000)];
    let facts = Facts {
        in_contact: false,
        silent,
        left: true,
        manual: true,
        ..facts(9_000)
    };
    assert_eq!(check(&facts), "quiet");
}

/// A crash must be repaired at the very moment its lease is over, and never before.
#[test]
fn an_emergency_fires_at_its_time_and_not_before() {
    let with = |now| Facts {
        silent: vec![silent(1, 6_000)],
        ..facts(now)
    };
    assert_eq!(check(&with(5_999)), "wait 6000 Emergency");
    assert_eq!(check(&with(6_000)), "act emergency 1");
}

/// An emergency in a cooldown or a window must not wait for either.
#[test]
fn an_emergency_bypasses_cooldown_and_window() {
    let facts = Facts {
        silent: vec![silent(1, 6_000)],
        joined: changing(5_000, 5_500),
        last_rebalance: Some(at(5_900)),
        ..facts(6_000)
    };
    assert_eq!(check(&facts), "act emergency 1");
}

/// A swap (one lost, one joined) has the same number of workers and is an emergency all the same.
#[test]
fn a_swap_is_an_emergency() {
    let facts = Facts {
        silent: vec![silent(1, 6_000)],
        joined: changing(1, 1),
        ..facts(6_000)
    };
    assert_eq!(check(&facts), "act emergency 1");
}

/// Each lost worker has its own clock; one that comes back does not save the others.
#[test]
fn only_those_whose_time_is_over_are_lost() {
    let many = vec![silent(1, 6_000), silent(2, 6_500), silent(3, 7_000)];
    assert_eq!(
        check(&Facts {
            silent: many,
            ..facts(6_500)
        }),
        "act emergency 2"
    );
}

/// A restart of most of the group must not move everything twice.
#[test]
fn the_loss_of_most_at_once_is_a_restart_and_waits_the_cold_window() {
    let many = || (0..6).map(|n| silent(n, 6_000)).collect();
    assert_eq!(
        check(&Facts {
            silent: many(),
            ..facts(6_000)
        }),
        "settle restart 36000"
    );
    assert_eq!(
        check(&Facts {
            silent: many(),
            ..facts(36_000)
        }),
        "act emergency 6"
    );
    let five = (0..5).map(|n| silent(n, 6_000)).collect();
    assert_eq!(
        check(&Facts {
            silent: five,
            ..facts(6_000)
        }),
        "act emergency 5"
    );
}

/// Pods of a restart come back one by one: when the first are back, fewer than most are missing, and
/// the rest was taken for crashed.
#[test]
fn once_a_restart_was_detected_the_rest_may_come_back_until_its_end() {
    let two = |now| Facts {
        silent: (0..2).map(|n| silent(n, 6_000)).collect(),
        restarting: Some(at(36_000)),
        ..facts(now)
    };
    assert_eq!(check(&two(20_000)), "settle restart 36000");
    assert_eq!(check(&two(36_000)), "act emergency 2");
    let one = Facts {
        silent: vec![silent(0, 6_000)],
        ..two(20_000)
    };
    assert_eq!(check(&one), "settle restart 36000");
    let back = Facts {
        silent: vec![silent(0, 26_000)],
        replaced: true,
        ..two(20_000)
    };
    assert_eq!(check(&back), "act restart 0", "all are back");
}

/// A group of two that loses one has lost a worker, not been restarted.
#[test]
fn the_loss_of_one_is_never_a_restart() {
    let facts = Facts {
        silent: vec![silent(1, 6_000)],
        group: 1,
        ..facts(6_000)
    };
    assert_eq!(check(&facts), "act emergency 1");
}

/// Departures, restarts and operators do not wait; the most urgent cause is the one recorded.
#[test]
fn departures_restarts_triggers_and_unfinished_work_act_at_once() {
    let recent = Some(at(99_000));
    let base = || Facts {
        last_rebalance: recent,
        joined: changing(99_500, 99_500),
        ..facts(100_000)
    };
    assert_eq!(
        check(&Facts {
            cut_off: true,
            left: true,
            ..base()
        }),
        "act emergency 0"
    );
    assert_eq!(
        check(&Facts {
            left: true,
            replaced: true,
            ..base()
        }),
        "act drain 0"
    );
    assert_eq!(
        check(&Facts {
            replaced: true,
            manual: true,
            ..base()
        }),
        "act restart 0"
    );
    assert_eq!(
        check(&Facts {
            unprocessed: true,
            manual: true,
            ..base()
        }),
        "act unprocessed 0"
    );
    assert_eq!(
        check(&Facts {
            manual: true,
            resume: true,
            ..base()
        }),
        "act manual 0"
    );
    assert_eq!(
        check(&Facts {
            resume: true,
            ..base()
        }),
        "act resume 0"
    );
}

/// A new group waits for those it expects; the last of them ends the wait.
#[test]
fn a_cold_start_waits_its_window_or_for_the_expected_workers() {
    let expecting = Config::builder("g").expected_workers(3).build();
    let expecting = expecting.expect("coherent");
    let check = |now, complete| {
        let cold = Facts {
            cold: changing(1_000, 1_500),
            complete,
            ..facts(now)
        };
        words(judge(&expecting, &cold).verdict)
    };
    assert_eq!(check(2_500, false), "settle cold_start 31000");
    assert_eq!(check(30_999, false), "settle cold_start 31000");
    assert_eq!(check(31_000, false), "act cold_start 0");
    assert_eq!(check(2_000, true), "act cold_start 0");
}

/// Who does not say how many will come waited for the whole window with the first program, which came
/// alone. A deployment that is still growing is waited for, but not for ever.
#[test]
fn a_cold_start_begins_when_nobody_has_joined_for_a_moment_at_most_after_its_window() {
    let cold = |now, last| Facts {
        cold: changing(1_000, last),
        ..facts(now)
    };
    let overlap = Config::builder("g").mode(Mode::Overlap).build();
    let overlap = overlap.expect("coherent");
    let loose = |now, last| words(judge(&overlap, &cold(now, last)).verdict);
    assert_eq!(loose(1_001, 1_000), "settle cold_start 2000");
    assert_eq!(loose(1_999, 1_000), "settle cold_start 2000");
    assert_eq!(loose(2_000, 1_000), "act cold_start 0");
    assert_eq!(loose(2_000, 1_900), "settle cold_start 2900");
    // A bucket that was wiped looks like one that was never used: a lease of before may still last.
    assert_eq!(check(&cold(2_000, 1_000)), "settle cold_start 7000");
    assert_eq!(check(&cold(7_000, 1_000)), "act cold_start 0");
    assert_eq!(check(&cold(30_999, 30_500)), "settle cold_start 31000");
    assert_eq!(check(&cold(31_000, 30_999)), "act cold_start 0");
}

/// Seven joins in a burst are one rebalance; a stream of joins cannot put it off for ever.
#[test]
fn a_window_is_extended_by_further_joins_and_capped_at_twice_its_length() {
    let join = |now, first, last| Facts {
        joined: changing(first, last),
        ..facts(now)
    };
    assert_eq!(
        check(&join(1_000, 1_000, 1_000)),
        "settle planned_scale 11000"
    );
    assert_eq!(
        check(&join(8_000, 1_000, 8_000)),
        "settle planned_scale 13000"
    );
    assert_eq!(
        check(&join(19_000, 1_000, 19_000)),
        "settle planned_scale 21000"
    );
    assert_eq!(check(&join(21_000, 1_000, 20_999)), "act planned_scale 0");
    assert_eq!(check(&join(11_000, 1_000, 1_000)), "act planned_scale 0");
}

/// Two planned rebalances closer than the cooldown would move partitions back and forth.
#[test]
fn the_cooldown_holds_to_the_millisecond_for_planned_changes() {
    let with = |now| Facts {
        joined: changing(1_000, 1_000),
        last_rebalance: Some(at(5_000)),
        ..facts(now)
    };
    assert_eq!(check(&with(10_999)), "settle planned_scale 15000");
    assert_eq!(check(&with(11_000)), "wait 15000 Cooldown");
    assert_eq!(check(&with(14_999)), "wait 15000 Cooldown");
    assert_eq!(check(&with(15_000)), "act planned_scale 0");
    let complete = Facts {
        complete: true,
        ..with(5_001)
    };
    assert_eq!(check(&complete), "wait 15000 Cooldown");
}

/// Partitions without an owner waited for a cooldown that is there to keep partitions where they are.
#[test]
fn who_may_be_what_parked_partitions_wait_for_waits_for_the_window_only() {
    let with = |parked, now| Facts {
        joined: changing(1_000, 1_000),
        last_rebalance: Some(at(5_000)),
        parked: ParkedFacts {
            any: parked,
            until: None,
        },
        ..facts(now)
    };
    assert_eq!(check(&with(true, 10_999)), "settle parked 11000");
    assert_eq!(check(&with(true, 11_000)), "act parked 0");
    assert_eq!(check(&with(false, 11_000)), "wait 15000 Cooldown");
    let nobody_new = Facts {
        joined: None,
        partitions_changed: true,
        ..with(true, 11_000)
    };
    assert_eq!(check(&nobody_new), "wait 15000 Cooldown");
}

/// A grace that is over must be noticed at its time, also when nothing else happens; a loss comes
/// first.
#[test]
fn what_has_waited_long_enough_is_planned_at_once() {
    let with = |now| Facts {
        parked: ParkedFacts {
            any: true,
            until: Some(at(9_000)),
        },
        last_rebalance: Some(at(8_000)),
        ..facts(now)
    };
    assert_eq!(check(&with(8_999)), "quiet");
    assert_eq!(check(&with(9_000)), "act parked 0");
    let lost = Facts {
        silent: vec![silent(1, 9_000)],
        ..with(9_000)
    };
    assert_eq!(check(&lost), "act emergency 1");
    let apart = Facts {
        in_contact: false,
        ..with(9_000)
    };
    assert_eq!(check(&apart), "quiet");
}

/// A changed list needs no window, and a change of weights gives way to it.
#[test]
fn changed_partitions_wait_for_the_cooldown_only() {
    let with = |partitions_changed, now| Facts {
        partitions_changed,
        weights_changed: true,
        last_rebalance: Some(at(5_000)),
        ..facts(now)
    };
    assert_eq!(check(&with(true, 14_999)), "wait 15000 Cooldown");
    assert_eq!(check(&with(true, 15_000)), "act partitions_changed 0");
    assert_eq!(check(&with(false, 15_000)), "act weights_changed 0");
    assert_eq!(Cause::ALL.len(), 14, "a new cause needs its tier here");
}

/// Facts of every kind at once, with times around each other.
fn any_facts() -> impl Strategy<Value = Facts> {
    let flags = prop::array::uniform8(any::<bool>());
    let times = prop::array::uniform6(0_u64..40_000);
    let lost = prop::collection::vec(0_u64..40_000, 0..4);
    (flags, times, lost, any::<[bool; 6]>()).prop_map(|(flags, times, lost, there)| {
        let [now, first, last, rebalance, restart, cold] = times;
        let [
            complete,
            cut_off,
            left,
            replaced,
            manual,
            resume,
            list,
            weights,
        ] = flags;
        let [joined, rebalanced, restarting, is_cold, parked, graced] = there;
        let silent = lost.into_iter().enumerate();
        Facts {
            complete,
            cut_off,
            left,
            replaced,
            manual,
            resume,
            parked: ParkedFacts {
                any: parked,
                until: graced.then(|| at(last)),
            },
            partitions_changed: list,
            weights_changed: weights,
            joined: changing(first.min(last), last).filter(|_| joined),
            cold: changing(cold, cold).filter(|_| is_cold),
            last_rebalance: rebalanced.then(|| at(rebalance)),
            restarting: restarting.then(|| at(restart)),
            silent: silent.map(|(n, at)| self::silent(n as u32, at)).collect(),
            ..facts(now)
        }
    })
}

proptest! {
    /// Whatever else is going on, what can wait for the cooldown waits for it: only emergencies,
    /// departures, restarts, operators, unfinished work, parked partitions and a first plan do not.
    #[test]
    fn the_cooldown_holds_for_all_that_can_wait(facts in any_facts()) {
        let config = Config::builder("g").build().expect("coherent");
        let Verdict::Act { cause, .. } = judge(&config, &facts).verdict else {
            return Ok(());
        };
        let waits = matches!(
            cause,
            Cause::PlannedScale | Cause::PartitionsChanged | Cause::WeightsChanged
        );
        if let (true, Some(last)) = (waits, facts.last_rebalance) {
            prop_assert!(facts.now >= last + config.min_rebalance_interval(), "{cause}");
        }
    }
}
