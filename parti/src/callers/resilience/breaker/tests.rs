//! What the shell adds to the breaker: callers at once, dropped calls, the callback.

use std::sync::atomic::{AtomicUsize, Ordering};

use parti_core::{StoreError, StoreErrorKind};
use tokio::sync::Barrier;

use super::*;

async fn failing() -> Result<(), StoreError> {
    Err(StoreError::new(StoreErrorKind::Unavailable, "scripted"))
}

/// One failure opens it, a second later one success closes it; the changes it tells are kept.
fn breaker() -> (CircuitBreaker, Arc<Mutex<Vec<String>>>) {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&changes);
    let builder = CircuitBreaker::builder()
        .failure_threshold(1)
        .success_threshold(1)
        .timeout(Duration::from_secs(1))
        .clock(Clock::tokio())
        .on_change(move |change| {
            let mut told = told.lock().expect("nobody panics");
            told.push(format!("{} {}", change.from, change.to));
        });
    (builder.build().expect("coherent"), changes)
}

async fn open(breaker: &CircuitBreaker) {
    let failed = breaker.call(failing()).await;
    assert!(matches!(failed, Err(CallError::Failed(_))));
    assert_eq!(breaker.state(), CircuitState::Open);
}

/// A herd that is let in at once knocks the recovering service over again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_callers_at_once_exactly_one_is_the_probe() {
    for _ in 0..20 {
        let builder = CircuitBreaker::builder().failure_threshold(1);
        let breaker = builder
            .timeout(Duration::from_millis(1))
            .build()
            .expect("coherent");
        let _ = breaker.call(failing()).await;
        while breaker.breaker().check(breaker.0.clock.now()).is_err() {
            tokio::task::yield_now().await;
        }
        let (begun, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(64)));
        let (asked, release) = (Arc::new(Barrier::new(65)), Arc::new(Barrier::new(2)));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (breaker, begun) = (breaker.clone(), Arc::clone(&begun));
            let (all, asked, release) =
                (Arc::clone(&all), Arc::clone(&asked), Arc::clone(&release));
            callers.spawn(async move {
                all.wait().await;
                let probe = async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    asked.wait().await;
                    release.wait().await;
                    Ok::<_, StoreError>(())
                };
                let result = breaker.call(probe).await;
                if result.is_err() {
                    asked.wait().await;
                }
                result.is_ok()
            });
        }
        asked.wait().await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        release.wait().await;
        let passed = callers
            .join_all()
            .await
            .into_iter()
            .filter(|ok| *ok)
            .count();
        assert_eq!(passed, 1);
    }
}

/// A probe whose caller went away once blocked the circuit for ever.
#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_back_its_place() {
    let (breaker, changes) = breaker();
    open(&breaker).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let hanging = breaker.call(std::future::pending::<Result<(), StoreError>>());
    let dropped = tokio::time::timeout(Duration::from_millis(10), hanging).await;
    assert!(dropped.is_err());
    assert_eq!(breaker.state(), CircuitState::HalfOpen, "it proved nothing");
    breaker
        .call(async { Ok::<_, StoreError>(()) })
        .await
        .expect("the place is free");
    let told = changes.lock().expect("nobody panics").clone();
    assert_eq!(told, ["closed open", "open half_open", "half_open closed"]);
}

/// Cancelled callers once opened a circuit to a healthy service.
#[tokio::test(start_paused = true)]
async fn dropped_calls_and_permanent_errors_do_not_open_it() {
    let (breaker, changes) = breaker();
    let hanging = breaker.call(std::future::pending::<Result<(), StoreError>>());
    drop(tokio::time::timeout(Duration::from_millis(10), hanging).await);
    for kind in [StoreErrorKind::Refused, StoreErrorKind::Rejected] {
        let permanent = breaker
            .call(async { Err::<(), _>(StoreError::new(kind, "no")) })
            .await;
        assert!(matches!(permanent, Err(CallError::Failed(_))));
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
    assert_eq!(*changes.lock().expect("nobody panics"), [""; 0]);
}

/// A panicking call must not keep its place either.
#[tokio::test(start_paused = true)]
async fn a_panicking_probe_gives_back_its_place() {
    let (breaker, _) = breaker();
    open(&breaker).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let probing = breaker.clone();
    let panicked = tokio::spawn(async move {
        let panics = async { panic!("scripted") };
        probing.call::<(), StoreError>(panics).await
    });
    assert!(panicked.await.is_err());
    breaker
        .call(async { Ok::<_, StoreError>(()) })
        .await
        .expect("the place is free");
}

/// A callback under the lock that looks at the breaker would wait for itself.
#[tokio::test]
async fn the_callback_may_use_the_breaker() {
    let own = Arc::new(Mutex::new(None::<CircuitBreaker>));
    let (seen, known) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&own));
    let count = Arc::clone(&seen);
    let builder = CircuitBreaker::builder()
        .failure_threshold(1)
        .on_change(move |change| {
            let breaker = known
                .lock()
                .expect("nobody panics")
                .clone()
                .expect("set below");
            assert_eq!(breaker.state(), change.to);
            if change.to == CircuitState::Open {
                breaker.reset();
            }
            count.fetch_add(1, Ordering::SeqCst);
        });
    let breaker = builder.build().expect("coherent");
    *own.lock().expect("nobody panics") = Some(breaker.clone());
    let _ = breaker.call(failing()).await;
    assert_eq!(breaker.state(), CircuitState::Closed);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

/// The error is all a caller has to decide whether to wait.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_says_since_and_until_when() {
    let clock = Clock::tokio();
    let builder = CircuitBreaker::builder()
        .failure_threshold(1)
        .clock(clock.clone());
    let breaker = builder
        .timeout(Duration::from_secs(5))
        .build()
        .expect("coherent");
    tokio::time::advance(Duration::from_secs(2)).await;
    let since = clock.now();
    let _ = breaker.call(failing()).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let until = Some(since + Duration::from_secs(5));
    let refused = breaker.call(failing()).await;
    assert_eq!(refused, Err(CallError::Open(CircuitOpen { since, until })));
}

/// A zero in a configuration must not be found out in an incident.
#[test]
fn zeros_are_refused_at_build() {
    let builder = CircuitBreaker::builder;
    let refused = |builder: CircuitBreakerBuilder| builder.build().map(|_| ());
    let failures = refused(builder().failure_threshold(0));
    assert_eq!(failures, Err(BreakerError::ZeroFailureThreshold));
    let successes = refused(builder().success_threshold(0));
    assert_eq!(successes, Err(BreakerError::ZeroSuccessThreshold));
    let timeout = refused(builder().timeout(Duration::ZERO));
    assert_eq!(timeout, Err(BreakerError::ZeroTimeout));
}
