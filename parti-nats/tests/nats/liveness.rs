//! Asking processes whether they run: what the server says of connections that live, are gone, or were
//! never there.

use std::time::Duration;

use parti_core::{Answering, Liveness, Nonce, ProbeAnswer, Store, StoreErrorKind};
use parti_nats::NatsStore;
use parti_nats::async_nats::ConnectOptions;
use parti_testing::rig::nats_server::ServerOptions;
use std::sync::Arc;
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, World, connect, eventually, group, options, start};

const SESSION: Nonce = Nonce::new(7);

fn liveness(store: &NatsStore) -> Arc<dyn Liveness> {
    store.liveness().expect("NATS offers it")
}

/// Answers as a process does, until the task is ended.
async fn answering(store: &NatsStore, session: Nonce) -> JoinHandle<()> {
    let begun = liveness(store).answer(session).await;
    let mut answering: Box<dyn Answering> = begun.expect("answers");
    tokio::spawn(async move {
        answering.run().await;
    })
}

/// A crash that is noticed in milliseconds is of no use if the living look dead, or the dead alive.
#[tokio::test(flavor = "multi_thread")]
async fn the_living_answer_and_of_the_dead_the_server_says_that_nobody_is_there() {
    let world = World::new().await;
    let other = connect(&world.server, options()).await;
    let asks = liveness(&other);
    assert_eq!(asks.ask(SESSION, PATIENCE).await, ProbeAnswer::Nobody);
    let task = answering(&world.store, SESSION).await;
    for _ in 0..20 {
        assert_eq!(asks.ask(SESSION, PATIENCE).await, ProbeAnswer::Alive);
    }
    let unknown = Nonce::new(8);
    assert_eq!(asks.ask(unknown, PATIENCE).await, ProbeAnswer::Nobody);
    task.abort();
    eventually("nobody is there", PATIENCE, async || {
        // What was on its way to it is answered by nobody.
        asks.ask(SESSION, Duration::from_millis(200)).await == ProbeAnswer::Nobody
    })
    .await;
}

/// A server that says nothing proves nothing: neither death nor life may follow from it.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_of_the_server_nobody_is_said_to_be_gone() {
    let world = World::new().await;
    let other = connect(&world.server, options()).await;
    let task = answering(&world.store, SESSION).await;
    world.server.pause().expect("pauses");
    let within = Duration::from_millis(100);
    let asks = liveness(&other);
    assert_eq!(asks.ask(SESSION, within).await, ProbeAnswer::Silence);
    world.server.resume().expect("resumes");
    eventually("it answers", PATIENCE, async || {
        asks.ask(SESSION, within).await == ProbeAnswer::Alive
    })
    .await;
    task.abort();
}

/// A process that may not be asked must not be probed: it would look dead to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_answer_is_told_so() {
    let server = start(ServerOptions::default().config(
        "authorization { users: [ { user: u, password: p, permissions: { \
         subscribe: { deny: [\"parti.alive.>\"] } } } ] }",
    ));
    let login = ConnectOptions::new().user_and_password("u".to_owned(), "p".to_owned());
    let store = NatsStore::connect_with(login, &server.url(), &group(), options()).await;
    let refused = liveness(&store.expect("opens")).answer(SESSION).await;
    let error = refused.err().expect("it cannot answer");
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(error.message.contains("permitted"), "{error}");
}
