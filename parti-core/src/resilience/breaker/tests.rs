//! The rules of the circuit breaker, one test each, and random walks over all of them.

use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Three failures open it, two successes close it, a second in between.
fn breaker() -> Breaker {
    let settings = BreakerSettings::new(3, 2, Duration::from_secs(1));
    Breaker::new(settings.expect("coherent"))
}

fn call(breaker: &mut Breaker, ms: u64, end: CallEnd) -> Result<(), CircuitOpen> {
    let permit = breaker.admit(at(ms))?;
    breaker.settle(at(ms), permit, end);
    Ok(())
}

/// An open circuit since 30 ms, until 1,030 ms.
fn opened() -> Breaker {
    let mut breaker = breaker();
    for ms in [10, 20, 30] {
        call(&mut breaker, ms, CallEnd::Failed).expect("closed until the third");
    }
    assert_eq!(breaker.state(), CircuitState::Open);
    breaker
}

/// Errors of separate blips once added up until a healthy service was cut off.
#[test]
fn only_failures_in_a_row_open_it() {
    let mut breaker = breaker();
    for round in 0..10 {
        for end in [CallEnd::Failed, CallEnd::Failed, CallEnd::Succeeded] {
            call(&mut breaker, round, end).expect("two in a row are not three");
        }
    }
    assert_eq!(breaker.status().opened, 0);
    assert_eq!(opened().status().opened, 1);
}

/// A caller that is told nothing more than "open" can neither wait nor explain.
#[test]
fn open_lets_nothing_pass_and_says_since_and_until_when() {
    let mut breaker = opened();
    let refused = breaker.admit(at(1_029)).expect_err("still open");
    let (since, until) = (at(30), Some(at(1_030)));
    assert_eq!(refused, CircuitOpen { since, until });
    assert_eq!(
        refused.to_string(),
        "the circuit has been open since 30ms and is until 1.03s"
    );
    assert_eq!(breaker.state(), CircuitState::Open);
}

/// A herd that is let in at once knocks the recovering service over again.
#[test]
fn half_open_has_one_probe_at_a_time() {
    let mut breaker = opened();
    let probe = breaker.admit(at(1_030)).expect("the timeout is over");
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
    let refused = breaker.admit(at(1_031)).expect_err("a probe is out");
    assert_eq!((refused.since, refused.until), (at(30), None));
    breaker.settle(at(1_032), probe, CallEnd::Succeeded);
    assert!(breaker.admit(at(1_033)).is_ok());
    assert!(breaker.admit(at(1_034)).is_err());
}

/// One lucky answer is not health.
#[test]
fn successes_in_a_row_close_it_and_failures_count_from_nothing() {
    let mut breaker = opened();
    call(&mut breaker, 1_030, CallEnd::Succeeded).expect("half-open");
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
    call(&mut breaker, 1_040, CallEnd::Succeeded).expect("half-open");
    assert_eq!(breaker.state(), CircuitState::Closed);
    for ms in [1_050, 1_060] {
        call(&mut breaker, ms, CallEnd::Failed).expect("closed");
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
}

/// A failed probe that does not restart the timeout probes in a loop.
#[test]
fn a_failed_probe_opens_it_for_a_whole_timeout_again() {
    let mut breaker = opened();
    call(&mut breaker, 1_500, CallEnd::Succeeded).expect("half-open");
    call(&mut breaker, 1_600, CallEnd::Failed).expect("half-open");
    let refused = breaker.admit(at(2_599)).expect_err("open again");
    assert_eq!((refused.since, refused.until), (at(30), Some(at(2_600))));
    assert_eq!(breaker.status().opened, 2);
    // The success before the failure does not count any more.
    call(&mut breaker, 2_600, CallEnd::Succeeded).expect("half-open");
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
}

/// A probe whose caller went away once blocked the circuit for ever.
#[test]
fn an_abandoned_probe_frees_its_place_and_proves_nothing() {
    let mut breaker = opened();
    for ms in 1_030..1_040 {
        call(&mut breaker, ms, CallEnd::Abandoned).expect("the place is free");
    }
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
}

/// Cancelled calls and mistakes of the caller say nothing about the other side.
#[test]
fn what_is_abandoned_neither_opens_nor_excuses() {
    let mut breaker = breaker();
    for ms in 0..10 {
        call(&mut breaker, ms, CallEnd::Abandoned).expect("closed");
    }
    for end in [CallEnd::Failed, CallEnd::Failed, CallEnd::Abandoned] {
        call(&mut breaker, 10, end).expect("closed");
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
    call(&mut breaker, 11, CallEnd::Failed).expect("closed");
    assert_eq!(breaker.state(), CircuitState::Open);
}

/// A slow answer from before the trouble must not close, nor a late failure reopen.
#[test]
fn an_answer_to_an_earlier_state_changes_nothing() {
    let mut breaker = breaker();
    let (early, earlier) = (breaker.admit(at(1)), breaker.admit(at(2)));
    for ms in [10, 20, 30] {
        call(&mut breaker, ms, CallEnd::Failed).expect("closed");
    }
    breaker.settle(at(40), early.expect("closed"), CallEnd::Succeeded);
    assert_eq!(breaker.state(), CircuitState::Open);
    let probe = breaker.admit(at(1_030)).expect("half-open");
    breaker.settle(at(1_031), earlier.expect("closed"), CallEnd::Failed);
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
    assert!(breaker.admit(at(1_032)).is_err(), "the probe is still out");
    breaker.settle(at(1_033), probe, CallEnd::Succeeded);
}

/// An operator who knows better must be able to say so.
#[test]
fn a_reset_closes_it_and_forgets_what_it_had_counted() {
    let mut breaker = opened();
    breaker.reset(at(40));
    let closed = CircuitStatus {
        state: CircuitState::Closed,
        since: at(40),
        opened: 1,
    };
    assert_eq!(breaker.status(), closed);
    for ms in [50, 60] {
        call(&mut breaker, ms, CallEnd::Failed).expect("closed");
    }
    breaker.reset(at(65));
    for ms in [70, 80] {
        call(&mut breaker, ms, CallEnd::Failed).expect("forgotten");
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
}

/// A zero once meant "always open" in one place and "never" in another.
#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let second = Duration::from_secs(1);
    let error = |failures, successes, timeout| BreakerSettings::new(failures, successes, timeout);
    assert_eq!(error(0, 1, second), Err(BreakerError::ZeroFailureThreshold));
    assert_eq!(error(1, 0, second), Err(BreakerError::ZeroSuccessThreshold));
    assert_eq!(error(1, 1, Duration::ZERO), Err(BreakerError::ZeroTimeout));
}

/// A refusal is an answer; whether a write happened is not for a circuit to say.
#[test]
fn store_errors_say_what_they_prove_about_the_store() {
    let cases = [
        (StoreErrorKind::Refused, CallEnd::Succeeded),
        (StoreErrorKind::Unknown, CallEnd::Failed),
        (StoreErrorKind::Unavailable, CallEnd::Failed),
        (StoreErrorKind::Rejected, CallEnd::Abandoned),
        (StoreErrorKind::Missing, CallEnd::Succeeded),
    ];
    for (kind, end) in cases {
        assert_eq!(StoreError::new(kind, "scripted").call_end(), end);
    }
}

proptest! {
    /// Whatever the order of calls and answers: one probe, no call before the timeout.
    #[test]
    fn any_walk_keeps_to_one_probe_and_the_whole_timeout(
        steps in prop::collection::vec((0_u64..400, 0_u8..4, any::<prop::sample::Index>()), 1..300),
    ) {
        let (mut breaker, mut now) = (breaker(), 0);
        let mut out: Vec<(Permit, bool)> = Vec::new();
        let mut reopened_at = None;
        for (wait, what, which) in steps {
            now += wait;
            let ends = [CallEnd::Succeeded, CallEnd::Failed, CallEnd::Abandoned];
            match ends.get(usize::from(what)) {
                Some(&end) if !out.is_empty() => {
                    let (permit, _) = out.swap_remove(which.index(out.len()));
                    let before = breaker.state();
                    breaker.settle(at(now), permit, end);
                    if before != CircuitState::Open && breaker.state() == CircuitState::Open {
                        reopened_at = Some(now);
                    }
                }
                Some(_) | None => {
                    let before = breaker.state();
                    let Ok(permit) = breaker.admit(at(now)) else { continue };
                    if before == CircuitState::Open {
                        prop_assert!(reopened_at.is_some_and(|opened| now >= opened + 1_000));
                    }
                    let probe = breaker.state() == CircuitState::HalfOpen;
                    if probe {
                        let same = |other: &&(Permit, bool)| other.0 == permit;
                        prop_assert_eq!(out.iter().filter(same).count(), 0, "a second probe");
                    }
                    out.push((permit, probe));
                }
            }
        }
    }
}
