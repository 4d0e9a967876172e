//! What callers are told when there is no answer, and what a request may wait for.

use std::sync::Arc;
use std::time::Duration;

use parti::directory::Directory;
use parti::nats::async_nats;
use parti::nats::router::{Limits, Repeat, Request, Responder, RouteError, Router, Untaken};
use parti::sources::StaticSource;
use parti::{
    Guard, HandlerError, Manager, PartitionHandler, PartitionKey, RevokeCause, StopFailure,
    StopMode, async_trait,
};
use parti_testing::rig::nats_server::NatsServer;
use tokio::sync::Semaphore;

use crate::support::{
    Board, PARTITIONS, PATIENCE, Worker, config, group, key, router, server, shared_by,
};

async fn worker<W, F>(server: &NatsServer, beside: Loading, answer: W) -> (Manager, Responder)
where
    W: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<u8>, HandlerError>> + Send + 'static,
{
    let client = async_nats::connect(server.url()).await.expect("connects");
    let responder = Responder::builder(client, &group())
        .max_requests(2)
        .beside(beside);
    let responder = responder.on_request(answer).await.expect("listens");
    let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
    let builder = Manager::builder(config(), source, responder.clone()).concurrency(100);
    let builder = builder
        .nats(&server.url())
        .advertise(responder.endpoint().as_str());
    (builder.start().await.expect("starts"), responder)
}

/// A handler that loads something before its partition can be worked on.
#[derive(Clone)]
struct Loading(Arc<Semaphore>);

#[async_trait]
impl PartitionHandler for Loading {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        drop(self.0.acquire().await?);
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

fn brief() -> Limits {
    Limits::default().within(Duration::from_millis(300))
}

/// A request that came before its partition's state was loaded was answered from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_at_the_new_owner_until_it_has_begun_with_the_partition() {
    let server = server();
    let loading = Loading(Arc::new(Semaphore::new(0)));
    let answer = |request: Request| async move { Ok(request.payload().to_vec()) };
    let (manager, responder) = worker(&server, loading.clone(), answer).await;
    let router = router(&server).await;
    shared_by(router.directory(), 1).await;
    // Half of an attempt may be waited for; the rest is for a machine that stands still.
    let once = Limits::default().attempt(Duration::from_secs(8)).tries(1);
    let once = router.clone().with_limits(once);
    let early = once.call(&key(1), "early").await;
    let untaken = matches!(
        &early,
        Err(RouteError::NotTaken {
            last: Untaken::NotYet,
            ..
        })
    );
    assert!(untaken, "{early:?}");
    let waiting = tokio::spawn(async move { router.call(&key(1), "late").await });
    loading.0.add_permits(1);
    let answer = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(answer.payload(), b"late");
    manager.stop(StopMode::Now).await.expect("stops");
    responder.close().await;
}

/// A caller that is told "not handled" of what a worker did sends it again.
#[tokio::test(flavor = "multi_thread")]
async fn failures_panics_and_silence_are_told_apart_and_too_many_are_refused() {
    let server = server();
    let loaded = Loading(Arc::new(Semaphore::new(1)));
    let answer = |request: Request| async move {
        match request.payload() {
            b"fail" => Err(HandlerError::new("disk full")),
            b"panic" => panic!("boom"),
            b"hang" => std::future::pending().await,
            payload => Ok(payload.to_vec()),
        }
    };
    let (manager, responder) = worker(&server, loaded, answer).await;
    let router = router(&server).await;
    shared_by(router.directory(), 1).await;
    let call = |payload: &'static str, limits: Limits| {
        let router = router.clone().with_limits(limits);
        async move { router.call(&key(1), payload).await }
    };
    for (payload, words) in [("fail", "disk full"), ("panic", "it panicked: boom")] {
        let failed = call(payload, Limits::default()).await;
        let said = matches!(&failed, Err(RouteError::Failed { reason, .. }) if reason == words);
        assert!(said, "{failed:?}");
    }
    let silent = call("hang", brief()).await;
    assert!(
        matches!(silent, Err(RouteError::Unknown { .. })),
        "{silent:?}"
    );
    // The first one still hangs; this one takes the second place, and then there is none.
    let repeat = brief().repeat(Repeat::Allowed).tries(1);
    let silent = call("hang", repeat).await;
    assert!(
        matches!(silent, Err(RouteError::Unknown { .. })),
        "{silent:?}"
    );
    let busy = call("x", Limits::default().tries(3)).await;
    let refused = matches!(
        &busy,
        Err(RouteError::NotTaken {
            last: Untaken::Busy,
            ..
        })
    );
    assert!(refused, "{busy:?}");
    // What hangs is waited for, cut short after `drain_timeout`, and named.
    let stopped = manager.stop(StopMode::Now).await.expect_err("it hangs");
    let partition = key(1);
    let failures = vec![StopFailure::DrainTimedOut { partition }];
    assert_eq!(stopped.failures, failures);
    responder.close().await;
    let ended = |directory: &Directory| directory.owner_of(&key(1)).is_none();
    let seen = tokio::time::timeout(PATIENCE, router.directory().wait_for(ended));
    seen.await.expect("the end is seen");
    let nobody = call("x", brief()).await;
    assert!(
        matches!(nobody, Err(RouteError::NoOwner { .. })),
        "{nobody:?}"
    );
}

/// A process that was told to end while the server was away waited for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_responder_ends_also_when_the_server_has_gone() {
    let server = server();
    let worker = Worker::start(&server, &Board::default()).await;
    shared_by(router(&server).await.directory(), 1).await;
    drop(server);
    let closing = tokio::time::timeout(PATIENCE, worker.responder.close());
    closing.await.expect("it ends");
}

/// A worker that does not say where it answers is found by nobody, and must be named.
#[tokio::test(flavor = "multi_thread")]
async fn callers_learn_who_has_no_address_and_who_has_gone() {
    let server = server();
    let client = async_nats::connect(server.url()).await.expect("connects");
    let responder = Responder::builder(client, &group());
    let responder = responder
        .on_request(|_| async { Ok("x") })
        .await
        .expect("listens");
    let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
    let manager = Manager::builder(config(), source, responder.clone()).concurrency(100);
    let manager = manager.nats(&server.url()).start().await.expect("starts");
    let limits = Limits::default().tries(3);
    let calls: Router = router(&server).await.with_limits(limits);
    shared_by(calls.directory(), 1).await;
    let nameless = calls.call(&key(1), "x").await;
    assert!(
        matches!(nameless, Err(RouteError::NoEndpoint { .. })),
        "{nameless:?}"
    );
    manager.stop(StopMode::Now).await.expect("stops");
    drop(responder);
    // Killed: nothing is released, and its connection ends.
    let worker = Worker::start(&server, &Board::default()).await;
    shared_by(calls.directory(), 1).await;
    worker.responder.close().await;
    let gone = calls.call(&key(1), "x").await;
    let unreachable = matches!(
        &gone,
        Err(RouteError::NotTaken {
            last: Untaken::Unreachable,
            ..
        })
    );
    assert!(unreachable, "{gone:?}");
    worker.leave().await;
}
