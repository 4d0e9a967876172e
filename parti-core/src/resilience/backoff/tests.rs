//! The rules of pauses, over policies drawn at random.

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::rng::Rng;

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// All pauses of a policy that tries that often.
fn pauses(policy: RetryPolicy, seed: u128) -> Vec<Duration> {
    let (mut backoff, mut rng) = (policy.backoff(), Rng::new(seed));
    core::iter::from_fn(|| backoff.next_pause(&mut rng)).collect()
}

/// A pause after the last try delays the error for nothing.
#[test]
fn n_attempts_have_one_pause_less_than_tries() {
    for attempts in 1..8 {
        let policy = RetryPolicy::builder().attempts(attempts).build();
        let pauses = pauses(policy.expect("coherent"), 1);
        assert_eq!(pauses.len(), attempts as usize - 1);
    }
}

/// Nothing at all is tried with a limit of zero; that must not be found out in production.
#[test]
fn policies_that_cannot_work_are_refused_by_name() {
    let build = |builder: RetryPolicyBuilder| builder.build().map_err(|error| error.to_string());
    let error = |builder| build(builder).expect_err("must be refused");
    use alloc::string::ToString;
    let builder = RetryPolicy::builder();
    assert!(error(builder.attempts(0)).starts_with("attempts = 0"));
    assert!(error(builder.initial(Duration::ZERO)).starts_with("initial = 0"));
    assert!(error(builder.factor(0)).starts_with("factor = 0"));
    assert_eq!(
        error(builder.maximum(millis(99))),
        "maximum = 99ms is below initial = 100ms: use at least that"
    );
    let default = build(builder).expect("the default is coherent");
    assert_eq!(default, RetryPolicy::default());
    assert_eq!((default.attempts(), default.factor()), (5, 2));
}

/// Back-off that never grew once hammered a server that was already down.
#[test]
fn intervals_double_up_to_the_maximum() {
    let policy = RetryPolicy::builder().attempts(9).jitter(Jitter::None);
    let pauses = pauses(policy.build().expect("coherent"), 1);
    let expected = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(millis);
    assert_eq!(pauses, expected);
}

proptest! {
    /// Jitter on jitter grew without bound, and a long run of short draws kept pauses short for ever.
    #[test]
    fn jitter_stays_within_its_interval_and_never_compounds(
        seed: u64,
        initial in 1_u64..500,
        factor in 1_u32..5,
        spread in 1_u64..50,
        half: bool,
    ) {
        let jitter = if half { Jitter::Half } else { Jitter::Full };
        let builder = RetryPolicy::builder().initial(millis(initial)).factor(factor);
        let builder = builder.maximum(millis(initial * spread)).attempts(20).jitter(jitter);
        let policy = builder.build().expect("coherent");
        for (failed, pause) in pauses(policy, seed.into()).into_iter().enumerate() {
            // The interval depends on the number of the try alone, not on what was drawn before.
            let interval = initial.saturating_mul(u64::from(factor).saturating_pow(failed as u32));
            let interval = millis(interval.min(initial * spread));
            prop_assert!(pause <= interval.max(SHORTEST), "{pause:?} of {interval:?}");
            prop_assert!(!half || pause >= interval / 2, "{pause:?} of {interval:?}");
        }
    }

    /// Workers that pause equally long come back as a herd.
    #[test]
    fn full_jitter_spreads_evenly_over_its_interval(seed: u64) {
        let policy = RetryPolicy::builder().initial(millis(1_000)).build().expect("coherent");
        let mut rng = Rng::new(seed.into());
        let mut quarters = [0_u32; 4];
        for _ in 0..4_000 {
            let pause = policy.backoff().next(&mut rng);
            quarters[(pause.as_millis() / 250) as usize] += 1;
        }
        // A thousand each; six standard deviations are 164.
        prop_assert!(quarters.iter().all(|count| (836..1_164).contains(count)), "{quarters:?}");
    }

    /// Unlimited retries triple the load exactly when a store cannot bear it.
    #[test]
    fn retries_are_bounded_by_what_answers_earn(outcomes in prop::collection::vec(any::<bool>(), 400)) {
        let (mut budget, mut retries) = (Budget::full(), 0);
        for &answered in &outcomes {
            if answered {
                budget.earn();
            } else {
                retries += usize::from(budget.spend());
            }
        }
        let answers = outcomes.iter().filter(|answered| **answered).count();
        prop_assert!(retries <= 10 + answers / 10, "{retries} after {answers} answers");
    }
}
