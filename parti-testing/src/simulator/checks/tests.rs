//! Every checker rejects a bad trace made by hand, and accepts the same trace when it is right.

use std::collections::BTreeSet;

use super::*;
use core::time::Duration;
use facts::*;
use parti_core::{
    Cause, Config, Expect, Key, Mode, Notice, Record, SessionStatus, State, Wake, WakeReason,
};

mod facts;
mod holding;
mod leading;
mod orders;
mod preparing;
mod recovery;
mod sessions;
mod suspected;

/// The properties that a trace violates; facts come a second apart.
fn violated(mode: Mode, facts: &[Fact]) -> BTreeSet<&'static str> {
    let config = Config::builder("g").mode(mode).sinks_compare_tokens(true);
    let config = config.build().expect("coherent");
    judged(&Rules::new(&config, true), facts)
}

/// The same in a group whose workers have different modes.
fn violated_in_both_modes(facts: &[Fact]) -> BTreeSet<&'static str> {
    let config = Config::builder("g").build().expect("coherent");
    let mut rules = Rules::new(&config, true);
    rules.mixed = true;
    judged(&rules, facts)
}

fn judged(rules: &Rules, facts: &[Fact]) -> BTreeSet<&'static str> {
    let mut checks: Vec<_> = PROPERTIES
        .iter()
        .filter(|property| (property.applies)(rules))
        .map(|property| (property.id, (property.make)(rules)))
        .collect();
    let mut violated = BTreeSet::new();
    let mut findings = Findings::new(rules);
    for (second, fact) in facts.iter().enumerate() {
        findings.prepare(fact);
        for (id, check) in &mut checks {
            fact.tell(seconds(second as u64 + 1), &mut **check, &mut findings);
            if !findings.take().is_empty() {
                violated.insert(*id);
            }
        }
    }
    violated
}

#[track_caller]
fn check(bad: &'static [&'static str], facts: &[Fact]) {
    assert_eq!(
        violated(Mode::Exclusive, facts),
        BTreeSet::from_iter(bad.iter().copied())
    );
}

/// A trace that this property must reject, whatever the others say.
#[track_caller]
fn fails(id: &str, facts: &[Fact]) {
    assert!(violated(Mode::Exclusive, facts).contains(id), "{id} holds");
}

/// A trace that this property must accept.
#[track_caller]
fn passes(id: &str, facts: &[Fact]) {
    assert!(!violated(Mode::Exclusive, facts).contains(id), "{id} fails");
}

/// Both sessions are written by the process that owns them.
fn joined() -> [Fact; 2] {
    [
        commit(A, vec![active(A, 1, 0, 0)]),
        commit(B, vec![active(B, 2, 0, 0)]),
    ]
}

/// A paused process must not go on as an owner.
#[test]
fn self_fence_wants_the_revocation_first() {
    let held = [step(A, 1), assign(A, 1), settled(A, 8), step(A, 9)];
    let revoked = [revoke(A, 1), settled(A, 20)];
    check(&[], &[&held[..], &revoked[..]].concat());
    let request = Fact::Request { process: A };
    check(&["S3"], &[&held[..], &[request], &revoked[..]].concat());
    check(&["S3"], &[&held[..], &[settled(A, 20)]].concat());
    let late = Fact::Assign {
        process: A,
        assigned: Assigned {
            grants: grants(1),
            local: seconds(9),
            deadline: Some(seconds(9)),
        },
    };
    check(&["S3"], &[step(A, 9), late, revoke(A, 1), settled(A, 20)]);
}

/// The promise of exclusive mode.
#[test]
fn exclusion_allows_the_next_owner_only_after_release_or_deadline() {
    let first = [settled(A, 100), assign(A, 1), settled(A, 100)];
    fails("S4", &[&first[..], &[assign(B, 2)]].concat());
    let after_release = [revoke(A, 1), released(A, 1), assign(B, 2)];
    check(&[], &[&first[..], &after_release[..]].concat());
    let expired = [
        settled(A, 100),
        assign(A, 1),
        settled(A, 4),
        notice(A, Notice::Recovered),
    ];
    let after_deadline = [assign(B, 2), settled(B, 100)];
    passes("S4", &[&expired[..], &after_deadline].concat());
    let crashed = [Fact::Ended { process: A }, assign(B, 2)];
    check(&[], &[&first[..], &crashed[..]].concat());
    // The same in overlap mode is what it is for.
    let both = [&first[..], &[assign(B, 2)]].concat();
    assert_eq!(violated(Mode::Overlap, &both), BTreeSet::new());
}

/// A deadline that is extended after a rival began must not revive the old owner.
#[test]
fn exclusion_finds_an_owner_that_is_extended_under_a_rival() {
    let facts = [
        settled(A, 100),
        assign(A, 1),
        settled(A, 3),
        assign(B, 2),
        settled(B, 100),
        settled(A, 100),
    ];
    fails("S4", &facts);
}

/// Downstream storage compares tokens only.
#[test]
fn tokens_must_rise_from_session_to_session() {
    let handed = [assign(A, 5), revoke(A, 5), released(A, 5)];
    check(&[], &[&handed[..], &[assign(B, 6)]].concat());
    check(&["S6"], &[&handed[..], &[assign(B, 5)]].concat());
    check(&["S6"], &[&handed[..], &[assign(B, 4)]].concat());
    let [a, b] = joined();
    let granted = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    let freed = commit(A, vec![head(A, 1, 6, 5, 3), assignment(A, 6, None, 6)]);
    let acknowledged = commit(A, vec![active(A, 7, 1, 6)]);
    let again = commit(A, vec![head(A, 1, 7, 8, 5), assignment(B, 7, Some(5), 9)]);
    check(&["S6"], &[a, b, granted, freed, acknowledged, again]);
}

/// Two leaders must not publish on top of each other.
#[test]
fn chain_wants_conditional_rising_heads_with_their_records() {
    let first = commit(A, vec![head(A, 1, 5, 1, 0)]);
    check(&[], &[first.clone(), commit(A, vec![head(A, 1, 6, 2, 1)])]);
    check(
        &["S7"],
        &[first.clone(), commit(A, vec![head(A, 1, 5, 2, 1)])],
    );
    check(
        &["S7"],
        &[
            commit(A, vec![head(A, 2, 5, 1, 0)]),
            commit(A, vec![head(A, 1, 6, 2, 1)]),
        ],
    );
    let mut blind = head(A, 1, 6, 2, 1);
    blind.expect = Expect::Any;
    check(&["S7"], &[first, commit(A, vec![blind])]);
    check(&["S7"], &[commit(A, vec![assignment(A, 5, None, 1)])]);
}

/// A deposed leader must not go on under its successor's term.
#[test]
fn a_term_belongs_to_one_session() {
    let first = commit(A, vec![head(A, 1, 5, 1, 0)]);
    check(&[], &[first.clone(), commit(B, vec![head(B, 2, 6, 2, 1)])]);
    check(&["S8"], &[first, commit(B, vec![head(B, 1, 6, 2, 1)])]);
}

/// Exclusion must follow from the history and not from luck.
#[test]
fn a_grant_needs_an_acknowledgement_or_an_end() {
    let [a, b] = joined();
    let granted = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    let freed = commit(A, vec![head(A, 1, 6, 5, 3), assignment(A, 6, None, 6)]);
    let to_b = |revision| {
        commit(
            A,
            vec![
                head(A, 1, 7, revision, 5),
                assignment(B, 7, Some(7), revision + 1),
            ],
        )
    };
    let before = [a, b, granted, freed];
    check(&["S9"], &[&before[..], &[to_b(8)]].concat());
    let acknowledged = commit(A, vec![active(A, 7, 1, 6)]);
    check(&[], &[&before[..], &[acknowledged, to_b(8)]].concat());
    let too_old = commit(A, vec![active(A, 7, 1, 5)]);
    check(&["S9"], &[&before[..], &[too_old, to_b(8)]].concat());
    let gone = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    let released = commit(A, vec![ended(A, gone, 7, 1)]);
    check(&[], &[&before[..], &[released, to_b(8)]].concat());
}

/// A worker that still drains a partition has not given it back.
#[test]
fn a_draining_partition_is_not_acknowledged() {
    let [a, b] = joined();
    let granted = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    let freed = commit(A, vec![head(A, 1, 6, 5, 3), assignment(A, 6, None, 6)]);
    let mut draining = active(A, 7, 1, 6);
    if let Value::Record(record) = &mut draining.value
        && let Record::Session(record) = record.as_mut()
    {
        record.draining.push(partition());
    }
    let to_b = commit(A, vec![head(A, 1, 7, 8, 5), assignment(B, 7, Some(7), 9)]);
    check(
        &["S9"],
        &[a, b, granted, freed, commit(A, vec![draining]), to_b],
    );
}

/// An unconditional or early removal ends a session that is alive.
#[test]
fn sessions_are_removed_conditionally_and_only_after_silence() {
    let [a, b] = joined();
    let silent = SessionStatus::Evicted { silent: true };
    let wait = vec![notice(A, Notice::Recovered); 6];
    let evicted = commit(A, vec![ended(B, silent, 3, 2)]);
    let early = [a.clone(), b.clone(), evicted.clone()];
    check(&["S10"], &early);
    let late = [&[a.clone(), b.clone()][..], &wait[..], &[evicted][..]].concat();
    check(&[], &late);
    let mut blind = ended(B, silent, 3, 2);
    blind.expect = Expect::Any;
    let blind = [
        &[a.clone(), b.clone()][..],
        &wait[..],
        &[commit(A, vec![blind])][..],
    ]
    .concat();
    check(&["S10"], &blind);
    let mut deleted = active(B, 3, 2, 0);
    deleted.value = Value::Tombstone;
    check(&["S10"], &[a.clone(), b.clone(), commit(A, vec![deleted])]);
    let stranger = commit(B, vec![active(A, 3, 1, 0)]);
    check(&["S10"], &[a.clone(), b.clone(), stranger]);
    let gone = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    let zombie = [
        commit(A, vec![ended(A, gone, 3, 1)]),
        commit(A, vec![active(A, 4, 3, 0)]),
    ];
    check(&["S10"], &[&[a, b][..], &zombie[..]].concat());
}

/// A record that cannot be read or grants twice stops or doubles the work.
#[test]
fn records_are_readable_and_grant_each_partition_once() {
    let mut broken = active(A, 1, 0, 0);
    broken.key = Key::Audit(1);
    broken.value = Value::Undecodable("damaged".to_owned());
    check(&["S11"], &[commit(A, vec![broken])]);
    let mut twice = assignment(A, 5, Some(5), 4);
    if let Value::Record(record) = &mut twice.value
        && let Record::Assignment(record) = record.as_mut()
    {
        record.granted.push(record.granted[0].clone());
    }
    let [a, b] = joined();
    check(
        &["S11"],
        &[a.clone(), commit(A, vec![head(A, 1, 5, 3, 0), twice])],
    );
    let future = assignment(A, 5, Some(6), 4);
    check(
        &["S11"],
        &[a.clone(), commit(A, vec![head(A, 1, 5, 3, 0), future])],
    );
    let both = vec![
        head(A, 1, 5, 3, 0),
        assignment(A, 5, Some(4), 4),
        assignment(B, 5, Some(5), 5),
    ];
    assert!(violated(Mode::Exclusive, &[a, b, commit(A, both)]).contains("S11"));
}

/// User callbacks of a partition never overlap and none is skipped.
#[test]
fn callbacks_alternate() {
    check(
        &[],
        &[assign(A, 1), revoke(A, 1), released(A, 1), assign(A, 2)],
    );
    check(&["S19"], &[assign(A, 1), assign(A, 2)]);
    check(&["S19"], &[assign(A, 1), revoke(A, 1), assign(A, 2)]);
    check(&["S19"], &[revoke(A, 1)]);
    check(&["S19"], &[assign(A, 1), revoke(A, 2)]);
    let stopped = |errors| notice(A, Notice::Stopped { errors });
    check(&["S19"], &[assign(A, 1), stopped(Vec::new())]);
    check(&["S19"], &[assign(A, 1), stopped(vec!["late".to_owned()])]);
    check(&["S19"], &[assign(A, 1), revoke(A, 1), stopped(Vec::new())]);
    check(
        &[],
        &[assign(A, 1), revoke(A, 1), stopped(vec!["late".to_owned()])],
    );
}

/// A core that wants to be woken now, or never stops wanting, starves its driver.
#[test]
fn a_core_settles() {
    let wants = |at, effects| Fact::Settled {
        process: A,
        end: StepEnd {
            wake: Some(Wake::new(at, WakeReason::Retry)),
            effects,
            ..idle(1)
        },
    };
    check(&[], &[wants(seconds(2), 10)]);
    check(&["SPIN"], &[wants(seconds(1), 10)]);
    check(&["SPIN"], &[wants(seconds(2), 1_000_000)]);
}

/// A panic is reported like every other violation.
#[test]
fn a_panic_is_a_violation() {
    check(
        &["S25"],
        &[Fact::Panicked {
            process: A,
            message: "why".to_owned(),
        }],
    );
}

/// False alarms move partitions for nothing.
#[test]
fn there_is_no_alarm_without_faults() {
    let lost = notice(A, Notice::LeaseLost { worker: worker(A) });
    check(&["S18a"], &[lost]);
    let emergency = because(Cause::Emergency, head(A, 1, 5, 1, 0));
    check(&["S18a"], &[commit(A, vec![emergency])]);
}

/// The same commit of `head`, made for another cause.
fn because(cause: Cause, mut head: Written) -> Written {
    if let Value::Record(record) = &mut head.value
        && let Record::Head(record) = record.as_mut()
    {
        record.cause = cause;
    }
    head
}

/// Partitions must not move back and forth with every change.
#[test]
fn rebalances_that_can_wait_keep_their_distance() {
    let first = commit(A, vec![head(A, 1, 5, 1, 0)]);
    let second = |cause| commit(A, vec![because(cause, head(A, 1, 6, 2, 1))]);
    let calm = |seconds| vec![notice(A, Notice::Recovered); seconds];
    let after = |seconds, cause| [vec![first.clone()], calm(seconds), vec![second(cause)]].concat();
    check(&["S13"], &after(0, Cause::PlannedScale));
    check(&["S13"], &after(8, Cause::PartitionsChanged));
    check(&[], &after(9, Cause::PartitionsChanged));
    check(&[], &after(0, Cause::Drain));
    check(&[], &[second(Cause::WeightsChanged)]);
}

/// A worker that shows a step that cannot be hides a defect behind a plausible word.
#[test]
fn states_follow_the_table_of_transitions() {
    let step = |process, from, to| notice(process, Notice::StateChanged { from, to });
    let begun = step(A, State::Init, State::ClaimingId);
    let joined = step(A, State::ClaimingId, State::Election);
    let stopped = step(A, State::Election, State::Shutdown);
    check(&[], &[begun.clone(), joined.clone(), stopped.clone()]);
    check(&["STATE"], &[begun.clone(), stopped]);
    check(&["STATE"], &[joined]);
    check(
        &["STATE"],
        &[begun, step(A, State::ClaimingId, State::Stable)],
    );
    check(&["STATE"], &[step(B, State::Init, State::Init)]);
}

/// After the faults every partition has one owner, and then nothing happens.
#[test]
fn the_group_settles_and_stays_calm() {
    check(
        &[],
        &[Fact::Due(coverage(&[A])), Fact::Over(coverage(&[A]))],
    );
    check(&["L9"], &[Fact::Due(coverage(&[]))]);
    check(&["L9"], &[Fact::Due(coverage(&[A, B]))]);
    let mut leaderless = coverage(&[A]);
    leaderless.workers[0].leads = false;
    check(&["L9"], &[Fact::Due(leaderless)]);
    let mut overstaying = coverage(&[A]);
    overstaying.unstopped.push(B);
    check(&["L9"], &[Fact::Due(overstaying)]);
    let restless = commit(A, vec![head(A, 1, 5, 1, 0)]);
    check(&["L9"], &[Fact::Due(coverage(&[A])), restless]);
    check(&["L9"], &[Fact::Due(coverage(&[A])), assign(A, 1)]);
    check(
        &["L9"],
        &[Fact::Due(coverage(&[A])), Fact::Over(coverage(&[B, A]))],
    );
}

/// A property nobody can violate in a test is not known to be checked.
#[test]
fn every_property_is_violated_by_a_trace_made_by_hand() {
    let traces = [
        include_str!("tests.rs"),
        include_str!("tests/holding.rs"),
        include_str!("tests/leading.rs"),
        include_str!("tests/orders.rs"),
        include_str!("tests/preparing.rs"),
        include_str!("tests/recovery.rs"),
        include_str!("tests/sessions.rs"),
        include_str!("tests/suspected.rs"),
    ];
    let traces = traces.concat();
    let missing: Vec<_> = PROPERTIES
        .iter()
        .map(|property| format!("\"{}\"", property.id))
        .filter(|id| !traces.contains(&format!("[{id}]")) && !traces.contains(&format!("({id}")))
        .collect();
    assert!(missing.is_empty(), "no bad trace for {missing:?}");
}

/// Two properties of one name cannot be told apart in a report.
#[test]
fn every_property_has_a_name_of_its_own() {
    let ids: BTreeSet<_> = PROPERTIES.iter().map(|property| property.id).collect();
    assert_eq!(ids.len(), PROPERTIES.len());
    assert!(
        PROPERTIES
            .iter()
            .all(|p| !p.name.is_empty() && !p.why.is_empty())
    );
}
