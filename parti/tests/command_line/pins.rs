//! Pins, moves and evictions: obeyed, shown, refused with a reason, and taken back.

use super::verbs::orders;
use super::*;

fn name(worker: &Manager) -> String {
    worker.status().worker.expect("claimed").to_string()
}

fn owned(worker: &Manager) -> Vec<String> {
    let guards = worker.assignment().into_iter();
    guards.map(|guard| guard.partition().to_string()).collect()
}

/// An order that nobody meant, or that nobody would obey, is worse than none.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_is_shown_first_and_one_that_cannot_be_is_refused() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let names = [0, 1].map(|at| name(&workers[at]));
    let [first, second] = &names;
    let of = |at: usize| owned(&workers[at]);
    let (pinned, moved) = (of(0)[0].clone(), of(0)[1].clone());

    let looked = parti(&url, &["pin", &pinned, second, "--dry-run"]);
    let shown = text(&looked.stdout);
    assert!(
        shown.contains(&format!("moves {pinned} from {first} to {second}")),
        "{shown}"
    );
    fails(&url, &["pin", &pinned, second], 2, &["--yes"]);
    fails(
        &url,
        &["pin", "p/77", second, "--yes"],
        3,
        &["p/77", "nearest"],
    );
    fails(
        &url,
        &["move", &moved, first, "--yes"],
        2,
        &["already", "pin"],
    );
    fails(&url, &["cancel", "pin", &pinned, "--yes"], 3, &["no pin"]);
    assert_eq!(orders(&store).await, 0);

    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// A partition needs the machine with the large disk, another one is to leave a machine now.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_go_where_they_are_wanted_and_stay_or_are_done() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let names = [0, 1].map(|at| name(&workers[at]));
    let [first, second] = &names;
    let of = |at: usize| owned(&workers[at]);
    let (pinned, moved) = (of(0)[0].clone(), of(0)[1].clone());

    let pin = [
        "pin",
        &pinned,
        second,
        "--yes",
        "--author",
        "alice",
        "--reason",
        "large disk",
    ];
    assert!(parti(&url, &pin).status.success());
    until("it is pinned", PATIENCE, || of(1).contains(&pinned)).await;
    assert!(
        parti(&url, &["move", &moved, second, "--yes"])
            .status
            .success()
    );
    until("it is moved", PATIENCE, || of(1).contains(&moved)).await;
    let status = json(&url, &["status"]);
    let requests = status["requests"].as_array().expect("a list");
    assert_eq!(requests.len(), 1, "a move that is done is gone: {status}");
    assert_eq!(
        (&requests[0]["partition"], &requests[0]["once"]),
        (&pinned.clone().into(), &false.into())
    );
    let shown = text(&parti(&url, &["status"]).stdout);
    assert!(
        shown.contains(&format!("pin of {pinned} to {second} by alice")),
        "{shown}"
    );

    // What contradicts another order is refused, with what to do.
    assert!(parti(&url, &["cordon", first, "--yes"]).status.success());
    fails(
        &url,
        &["pin", &moved, first, "--yes"],
        2,
        &["cordon", "cancel"],
    );
    assert!(
        parti(&url, &["cancel", "cordon", first, "--yes"])
            .status
            .success()
    );
    fails(&url, &["cancel", "pin", "p/99", "--yes"], 3, &[&pinned]);
    assert!(
        parti(&url, &["cancel", "pin", &pinned, "--yes"])
            .status
            .success()
    );
    assert_eq!(orders(&store).await, 0);
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// A worker that does harm and does not answer its operator has to lose what it has.
#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_worker_comes_back_with_another_session_and_nothing() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let leads = workers.iter().position(|worker| worker.status().is_leader);
    let other = 1 - leads.expect("somebody leads");
    let status = workers[other].status();
    let (name, epoch) = (status.worker.expect("claimed").to_string(), status.epoch);
    let evict = ["evict", &name, "--yes", "--reason", "wrong output"];
    assert!(parti(&url, &evict).status.success());
    until("it has nothing, and another session", PATIENCE * 2, || {
        let status = workers[other].status();
        let back = status.worker.is_some() && status.epoch != epoch;
        back && workers[other].assignment().is_empty()
            && workers[1 - other].assignment().len() == 12
    })
    .await;
    let last = workers[1 - other]
        .status()
        .worker
        .expect("claimed")
        .to_string();
    fails(
        &url,
        &["evict", &last, "--yes"],
        2,
        &["nobody would be left"],
    );
    assert!(
        parti(&url, &["cancel", "evict", &name, "--yes"])
            .status
            .success()
    );
    until("it has its share again", PATIENCE * 2, || {
        workers[other].assignment().len() == 6
    })
    .await;
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}
