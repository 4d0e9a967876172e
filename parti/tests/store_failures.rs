//! The manager on a store that fails in scripted ways: what the driver makes of it.

#[path = "support/recorder.rs"]
mod recorder;

use std::time::Duration;

use mockall::mock;
use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::store::{LocalStore, Store, StoreError, StoreErrorKind};
use parti::{LaunchError, Manager, ManagerBuilder, StartError, StopMode, async_trait};
use parti_core::{StoreOp, StoreReply, Watch, WatchScope};
use recorder::{Recorder, fast};

mock! {
    Scripted {
        fn answer(&self, op: StoreOp) -> Answer;
        fn begin(&self, scope: WatchScope) -> Begin;
    }
}

/// What the script says to a request.
enum Answer {
    /// As the store in memory does.
    Through,
    Fail(StoreErrorKind),
    Hang,
    Panic,
}

/// What the script says to a watch.
enum Begin {
    Through,
    Fail,
    Panic,
}

/// A store in memory behind a script.
struct Behind {
    script: MockScripted,
    store: LocalStore,
}

#[async_trait]
impl Store for Behind {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match self.script.answer(op.clone()) {
            Answer::Through => self.store.execute(op).await,
            Answer::Fail(kind) => Err(StoreError::new(kind, "as the script says")),
            Answer::Hang => std::future::pending().await,
            Answer::Panic => panic!("as the script says"),
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let unavailable = StoreErrorKind::Unavailable;
        match self.script.begin(scope.clone()) {
            Begin::Through => self.store.watch(scope).await,
            Begin::Fail => Err(StoreError::new(unavailable, "as the script says")),
            Begin::Panic => panic!("as the script says"),
        }
    }
}

fn builder(script: MockScripted) -> ManagerBuilder {
    let config = fast(1)
        .startup_timeout(Duration::from_secs(4))
        .build()
        .expect("coherent");
    let source = StaticSource::numbered("p", 4).expect("valid");
    let store = LocalStore::new();
    Manager::builder(config, source, Recorder::new("a"))
        .store(Behind { script, store })
        .clock(Clock::tokio())
}

/// A start that waits for ever hides an unreachable store behind a "starting" worker.
#[tokio::test(start_paused = true)]
async fn a_start_on_a_silent_store_ends_after_startup_timeout() {
    let scripts: [fn() -> Answer; 3] = [
        || Answer::Hang,
        || Answer::Fail(StoreErrorKind::Unavailable),
        || Answer::Panic,
    ];
    for answer in scripts {
        let mut script = MockScripted::new();
        script.expect_answer().returning(move |_| answer());
        script.expect_begin().returning(|_| Begin::Fail);
        let begun = tokio::time::Instant::now();
        let error = builder(script).start().await.expect_err("no store");
        let unavailable = matches!(as_start(&error), StartError::StoreUnavailable { .. });
        assert!(unavailable, "{error}");
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(3) && took < Duration::from_secs(6),
            "{took:?}"
        );
    }
}

/// Trying again for half a minute what the store refuses for good only delays the message.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_for_good_says_so() {
    let mut script = MockScripted::new();
    let rejected = || Answer::Fail(StoreErrorKind::Rejected);
    script.expect_answer().returning(move |_| rejected());
    script.expect_begin().returning(|_| Begin::Through);
    let error = builder(script).start().await.expect_err("refused");
    assert!(
        matches!(as_start(&error), StartError::Rejected(_)),
        "{error}"
    );
    assert!(error.to_string().contains("as the script says"), "{error}");
}

/// One lost answer or a watch that cannot be set up at once is daily life, not a failed start.
#[tokio::test(start_paused = true)]
async fn first_failures_are_got_over() {
    let mut script = MockScripted::new();
    script.expect_answer().times(1).returning(|_| Answer::Hang);
    script.expect_answer().times(1).returning(|_| Answer::Panic);
    script
        .expect_answer()
        .times(1)
        .returning(|_| Answer::Fail(StoreErrorKind::Unknown));
    script.expect_answer().returning(|_| Answer::Through);
    script.expect_begin().times(1).returning(|_| Begin::Fail);
    script.expect_begin().times(1).returning(|_| Begin::Panic);
    script.expect_begin().returning(|_| Begin::Through);
    let worker = builder(script).start().await.expect("starts");
    let assigned = tokio::time::timeout(Duration::from_secs(30), worker.wait_assigned());
    assigned.await.expect("in time").expect("runs");
    assert_eq!(worker.assignment().len(), 4);
    worker.stop(StopMode::Now).await.expect("stops cleanly");
}

fn as_start(error: &LaunchError) -> StartError {
    match error {
        LaunchError::Start(error) => error.clone(),
        LaunchError::Store(_) | LaunchError::Ended(_) | _ => panic!("another error: {error}"),
    }
}
