//! The rules of trying again, on the paused clock of tokio.

use std::cell::Cell;
use std::time::Duration;

use parti_core::{Jitter, StoreError, StoreErrorKind};
use tokio::time::Instant;

use super::*;
use crate::callers::resilience::breaker::{CallError, CircuitBreaker};
use crate::system::clock::Clock;

fn policy() -> RetryPolicy {
    let policy = RetryPolicy::builder().jitter(Jitter::None).build();
    policy.expect("coherent")
}

fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "scripted")
}

/// A pause after the last try delays the bad news for nothing.
#[tokio::test(start_paused = true)]
async fn five_tries_have_four_pauses_that_double_and_none_at_the_end() {
    let (began, times) = (Instant::now(), Cell::new(Vec::new()));
    let result = retry(policy(), || {
        let mut seen = times.take();
        seen.push(began.elapsed().as_millis());
        times.set(seen);
        async { Err::<(), _>(error(StoreErrorKind::Unavailable)) }
    });
    let failed = result.await.expect_err("it never succeeds");
    assert!(
        matches!(failed, RetryError::Exhausted { tries: 5, .. }),
        "{failed:?}"
    );
    // The timer of tokio has a resolution of a millisecond.
    let seen = times.take();
    for (time, expected) in seen.iter().zip([0, 100, 300, 700, 1_500]) {
        assert!((expected..expected + 10).contains(time), "{seen:?}");
    }
    assert_eq!(seen.len(), 5);
    assert!(began.elapsed() < Duration::from_millis(1_520));
}

/// What can never succeed only costs time and load.
#[tokio::test(start_paused = true)]
async fn refusals_and_rejections_are_not_tried_again() {
    for kind in [StoreErrorKind::Refused, StoreErrorKind::Rejected] {
        let tries = Cell::new(0);
        let result = retry(policy(), || {
            tries.set(tries.get() + 1);
            async move { Err::<(), _>(error(kind)) }
        });
        let expected = RetryError::Permanent {
            tries: 1,
            error: error(kind),
        };
        assert_eq!(result.await, Err(expected));
        assert_eq!(tries.get(), 1);
    }
}

/// The first success is the result; a further try could undo it.
#[tokio::test(start_paused = true)]
async fn it_stops_at_the_first_success() {
    let tries = Cell::new(0);
    let result = retry(policy(), || {
        tries.set(tries.get() + 1);
        let up = tries.get() == 3;
        async move { up.then_some("up").ok_or(error(StoreErrorKind::Unknown)) }
    });
    assert_eq!(result.await, Ok("up"));
    assert_eq!(tries.get(), 3);
}

/// Retries that go on against an open circuit wait for nothing.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_ends_it_at_once() {
    let builder = CircuitBreaker::builder()
        .failure_threshold(2)
        .clock(Clock::tokio());
    let breaker = builder.build().expect("coherent");
    let tries = Cell::new(0);
    let result = retry(policy(), || {
        breaker.call(async {
            tries.set(tries.get() + 1);
            Err::<(), _>(error(StoreErrorKind::Unavailable))
        })
    });
    let failed = result.await.expect_err("the circuit opens");
    let open = RetryError::Permanent {
        tries: 3,
        error: (),
    };
    let RetryError::Permanent {
        tries: 3,
        error: CallError::Open(_),
    } = failed
    else {
        panic!("{failed:?} is not {open:?}");
    };
    assert_eq!(tries.get(), 2, "the third was not begun");
}

/// A caller that has gone away must not leave tries behind.
#[tokio::test(start_paused = true)]
async fn dropping_it_ends_the_tries() {
    let tries = Cell::new(0);
    let retrying = retry(policy(), || {
        tries.set(tries.get() + 1);
        async { Err::<(), _>(error(StoreErrorKind::Unavailable)) }
    });
    let dropped = tokio::time::timeout(Duration::from_millis(250), retrying).await;
    assert!(dropped.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tries.get(), 2);
}
