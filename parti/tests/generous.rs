//! `Duration::MAX`, which people write for "no limit", wherever the facade takes a duration.

#[path = "support/recorder.rs"]
mod recorder;

use std::time::Duration;

use parti::clock::Clock;
use parti::events::NoHooks;
use parti::resilience::{CallError, CircuitBreaker, CircuitState, RetryError, RetryPolicy, retry};
use parti::store::{LocalStore, StoreError, StoreErrorKind};
use parti::{LaunchError, StopMode};
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn down() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "down")
}

/// A sum of two such limits ended the process.
#[tokio::test(start_paused = true)]
async fn the_longest_limits_hold_up_nothing_that_goes_well() {
    for mode in [
        StopMode::Handoff,
        StopMode::Now,
        StopMode::Restart {
            hold: Duration::MAX,
        },
    ] {
        let config = fast(1).drain_timeout(YEAR).handoff_timeout(YEAR);
        let config = config.shutdown_timeout(YEAR).startup_timeout(YEAR);
        let config = config.operation_timeout(YEAR).apply_timeout(YEAR);
        let (store, handler) = (LocalStore::new(), Recorder::new("a"));
        let builder = manager(config, &store, 4, &handler);
        let builder = builder.hooks(NoHooks).hook_timeout(Duration::MAX);
        let worker = builder.start().await.expect("starts");
        until("it has all", LIMIT, || worker.assignment().len() == 4).await;
        assert!(worker.health().is_ready());
        assert!(worker.config().convergence_bound() < Duration::MAX);
        worker.stop(mode).await.expect("stops");
        assert_eq!(handler.seen().revoked.len(), 4);
    }
}

/// The same of a circuit that stays open for good and of a pause without end.
#[tokio::test(start_paused = true)]
async fn a_circuit_and_a_pause_without_end_are_without_end() {
    let breaker = CircuitBreaker::builder().failure_threshold(1);
    let breaker = breaker.timeout(Duration::MAX).clock(Clock::tokio());
    let breaker = breaker.build().expect("coherent");
    let call = || breaker.call(async { Err::<(), _>(down()) });
    assert_eq!(call().await, Err(CallError::Failed(down())));
    tokio::time::advance(YEAR).await;
    let open = call().await.expect_err("open");
    assert!(matches!(open, CallError::Open(_)), "{open}");
    assert_eq!(breaker.state(), CircuitState::Open);

    let policy = RetryPolicy::builder().initial(Duration::MAX).attempts(2);
    let policy = policy.maximum(Duration::MAX).build().expect("coherent");
    let retrying = retry(policy, || async { Err::<(), _>(down()) });
    match tokio::time::timeout(YEAR * 100, retrying).await {
        // Tokio's timers take a wait without end for one of thirty years, or the draw was short.
        Ok(Err(RetryError::Exhausted { tries: 2, .. })) | Err(_) => {}
        other => panic!("{other:?}"),
    }
}

/// A label of that name replaced the library's own in some recorders, and all groups looked like one.
#[tokio::test(start_paused = true)]
async fn a_metric_label_that_the_library_has_itself_is_refused_by_name() {
    for taken in ["group", "cause", "le", "twice"] {
        let (store, handler) = (LocalStore::new(), Recorder::new("a"));
        let builder = manager(fast(1), &store, 4, &handler).metric_label("slot", "1");
        let builder = builder.metric_label("twice", "1").metric_label(taken, "x");
        let error = builder.start().await.expect_err("refused");
        assert!(error.to_string().contains(taken), "{error}");
        assert!(matches!(error, LaunchError::MetricLabel { name } if name == taken));
    }
}

/// A worker that advertises nonsense is found at its start, not by the first caller that cannot reach it.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_breaks_a_rule_is_refused_by_name() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let builder = manager(fast(1), &store, 4, &handler).advertise("http://a b");
    let error = builder.start().await.expect_err("refused");
    assert!(matches!(error, LaunchError::Endpoint(_)), "{error:?}");
    assert!(error.to_string().contains("http://a b"), "{error}");
}
