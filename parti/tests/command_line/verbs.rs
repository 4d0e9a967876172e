//! The verbs: shown first, refused when they cannot be meant, obeyed while they hold.

use super::*;

/// How many requests and orders there are.
pub(super) async fn orders(store: &NatsStore) -> usize {
    let prefix = "ctl.".to_owned();
    match store.execute(StoreOp::List { prefix }).await {
        Ok(StoreReply::Entries { entries, .. }) => entries.len(),
        other => panic!("{other:?}"),
    }
}

/// An order that nobody meant, or that nobody obeys, is worse than none.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_are_shown_first_and_what_is_not_meant_is_not_done() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let first = workers[0].status().worker.expect("claimed").to_string();
    // Nobody agrees, nothing is done.
    let looked = parti(&url, &["drain", &first, "--dry-run"]);
    assert!(looked.status.success(), "{looked:?}");
    assert!(
        text(&looked.stdout).contains("moves 6 partitions"),
        "{looked:?}"
    );
    fails(&url, &["drain", &first], 2, &["--yes"]);
    fails(&url, &["drain", &first, "--yes", "--for", "0s"], 2, &["0s"]);
    fails(
        &url,
        &["drain", "worker-77", "--yes"],
        3,
        &["worker-77", &first],
    );
    fails(
        &url,
        &["cancel", "drain", &first, "--yes"],
        3,
        &["no drain"],
    );
    fails(
        &url,
        &["cancel", "drian", &first, "--yes"],
        2,
        &["drain, cordon, freeze"],
    );
    assert_eq!(orders(&store).await, 0);
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// An order that is forgotten must end by itself, and one that stops the work must not be obeyed.
#[tokio::test(flavor = "multi_thread")]
async fn orders_are_obeyed_while_they_hold_and_taken_back() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let first = workers[0].status().worker.expect("claimed").to_string();
    let second = workers[1].status().worker.expect("claimed").to_string();
    let ordered = [
        "drain", &first, "--yes", "--author", "alice", "--reason", "new disk",
    ];
    assert!(parti(&url, &ordered).status.success());
    let owned = || [workers[0].assignment().len(), workers[1].assignment().len()];
    until("it is drained", PATIENCE, || owned() == [0, 12]).await;
    let status = json(&url, &["status"]);
    assert_eq!(status["requests"][0]["author"], "alice", "{status}");
    assert!(
        status["requests"][0]["rest"]
            .as_f64()
            .is_some_and(|rest| rest > 3_000.0)
    );
    let shown = text(&parti(&url, &["status"]).stdout);
    assert!(shown.contains("new disk"), "{shown}");
    let history = text(&parti(&url, &["history"]).stdout);
    assert!(
        history.contains(&format!("drain of {first} by alice (new disk)")),
        "{history}"
    );
    // The last one that may own anything is not drained as well.
    fails(
        &url,
        &["drain", &second, "--yes"],
        2,
        &["nobody would be left"],
    );
    fails(&url, &["cordon", &first, "--yes"], 2, &["is drained"]);
    assert!(
        parti(&url, &["cancel", "drain", &first, "--yes"])
            .status
            .success()
    );
    until("it has its share again", PATIENCE, || owned() == [6, 6]).await;
    // Forgotten orders end by themselves, by the clock of the server.
    assert!(
        parti(&url, &["drain", &second, "--yes", "--for", "2s"])
            .status
            .success()
    );
    until("it is drained", PATIENCE, || owned() == [12, 0]).await;
    until("that is over", PATIENCE, || owned() == [6, 6]).await;
    assert_eq!(orders(&store).await, 0, "the leader removes what is over");
    let rebalance = parti(&url, &["rebalance", "--yes", "--author", "alice b."]);
    assert!(rebalance.status.success(), "{rebalance:?}");
    let deadline = std::time::Instant::now() + PATIENCE;
    while orders(&store).await > 0 {
        assert!(std::time::Instant::now() < deadline, "the request is done");
    }
    let history = text(&parti(&url, &["history"]).stdout);
    assert!(history.contains("trigger by cli-alice-b-"), "{history}");
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// The machine of the leader is to be serviced, and nobody wants to find out then who leads next.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_step_down_is_followed_by_another() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let leads = || workers.iter().position(|worker| worker.status().is_leader);
    let before = leads().expect("somebody leads");
    let owned = || {
        let guards = workers[before].assignment().into_iter();
        guards.map(|guard| guard.token()).collect::<Vec<_>>()
    };
    let tokens = owned();
    assert!(parti(&url, &["step-down", "--yes"]).status.success());
    until("the other leads", PATIENCE, || leads() == Some(1 - before)).await;
    assert_eq!(owned(), tokens, "it goes on with what it has");
    assert_eq!(orders(&store).await, 0);
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}
