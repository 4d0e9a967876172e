//! The log alone must explain an incident: what it says, and inside which spans.

#[path = "support/capture.rs"]
mod capture;
#[path = "../examples/observed/faulty.rs"]
mod faulty;
#[path = "support/recorder.rs"]
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use capture::{Capture, Fields};
use faulty::FaultyStore;
use parti::events::{ManagerNotice, Notice};
use parti::store::LocalStore;
use parti::{Manager, State, StopMode};
use recorder::{Recorder, fast, manager, until};
use tracing::Level;

const LIMIT: Duration = Duration::from_secs(60);

async fn three(store: &LocalStore, handler: &Recorder) -> Vec<Manager> {
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        let worker = manager(fast(3), store, 9, &handler.beside(name)).start();
        workers.push(worker.await.expect("starts"));
    }
    until("everybody has three", LIMIT, || {
        workers.iter().all(|worker| worker.assignment().len() == 3)
    })
    .await;
    workers
}

fn number(fields: &Fields, name: &str) -> u64 {
    let text = fields
        .get(name)
        .unwrap_or_else(|| panic!("{name} in {fields:?}"));
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is a number in {fields:?}"))
}

/// The partitions an event names, with their tokens.
fn named(fields: &Fields, name: &str) -> BTreeMap<String, u64> {
    let words = fields
        .get(name)
        .map_or("", String::as_str)
        .split_whitespace();
    let grants = words.map(|word| word.split_once('@').expect("partition@token"));
    grants
        .map(|(key, token)| (key.to_owned(), token.parse().expect("a number")))
        .collect()
}

/// What each worker has according to the lines about assignments.
fn owners(log: &Capture) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut owners: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in log.said("assignment changed") {
        let has = owners.entry(line["worker"].clone()).or_default();
        named(&line, "lost").keys().for_each(|key| {
            has.remove(key);
        });
        has.extend(named(&line, "gained"));
        assert_eq!(has.len() as u64, number(&line, "total"), "{line:?}");
    }
    owners
}

/// An operator who is woken at three at night has the log and nothing else.
#[tokio::test(start_paused = true)]
async fn the_crash_of_a_worker_can_be_reconstructed_from_the_log_alone() {
    let (log, _guard) = Capture::begin();
    let (store, handler) = (LocalStore::new(), Recorder::new("all"));
    let mut workers = three(&store, &handler).await;
    let follower = workers.iter().position(|worker| !worker.is_leader());
    let victim = workers.remove(follower.expect("one leads, two follow"));
    let (dead, before) = (
        victim.worker_id().expect("it has one").to_string(),
        owners(&log),
    );
    drop(victim);
    until("the others took over", LIMIT, || {
        workers.iter().all(|worker| worker.assignment().len() > 3)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(10)).await;

    // Who died, who decided, and when in the group's own time.
    let commits = log.said("committed a generation");
    let commit = commits.iter().find(|line| line["evicted"].contains(&dead));
    let commit = commit.expect("the eviction is told");
    assert_eq!(commit["cause"], "emergency");
    let (version, term) = (number(commit, "version"), number(commit, "term"));
    let leads = log.said("leads");
    assert!(
        leads
            .iter()
            .any(|l| number(l, "term") == term && l["worker"] == commit["worker"])
    );

    // How long nobody processed what it had.
    let transfers = log.said("gave partitions to new owners");
    let [transfer] = &transfers[..] else {
        panic!("one former owner: {transfers:?}");
    };
    assert_eq!(
        (&transfer["from"], transfer["end"].as_str()),
        (&dead, "lost")
    );
    assert_eq!(number(transfer, "partitions"), 3);
    let vacant = number(transfer, "vacant_ms");
    assert!(
        (1_000..1_500).contains(&vacant),
        "{vacant} ms for a lease of 1 s"
    );

    // Whose the partitions are now, and with which tokens.
    let after = owners(&log);
    let had: BTreeSet<&String> = before[&dead].keys().collect();
    let new = after.iter().filter(|(worker, _)| **worker != dead);
    let new: BTreeMap<&String, u64> = new.flat_map(|(_, has)| has).map(|(k, t)| (k, *t)).collect();
    assert_eq!((had.len(), new.len()), (3, 9));
    assert!(
        had.iter().all(|key| new[*key] == version),
        "granted by that generation"
    );

    // How well it went.
    let ended = log.said("rebalance ended");
    let ended = ended
        .iter()
        .find(|line| line["cause"] == "emergency")
        .expect("it ended");
    assert_eq!(
        (number(ended, "moved"), number(ended, "lower_bound")),
        (3, 3)
    );
    assert_eq!(ended["outcome"], "done");
}

/// Spans carry the numbers into a tracing system; a span without them is a line with a length.
#[tokio::test(start_paused = true)]
async fn claims_take_overs_rebalances_and_handoffs_are_spans_with_their_numbers() {
    let (log, _guard) = Capture::begin();
    let (store, handler) = (LocalStore::new(), Recorder::new("all"));
    let workers = three(&store, &handler).await;
    let joined = manager(fast(4), &store, 9, &handler.beside("d")).start();
    let joined = joined.await.expect("starts");
    until("the joiner has its share", LIMIT, || {
        joined.assignment().len() >= 2
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let claims = log.spans("claim");
    assert_eq!(claims.len(), 4);
    let ids: BTreeSet<&String> = claims.iter().map(|span| &span["worker"]).collect();
    assert_eq!(ids.len(), 4, "{claims:?}");
    let won = log.spans("takeover");
    let won = won
        .iter()
        .find(|span| span.get("outcome").is_some_and(|o| o == "won"));
    assert!(number(won.expect("one won"), "term") > 0);

    let rebalances = log.spans("rebalance");
    let scaled = rebalances.iter().find(|span| {
        span.get("cause")
            .is_some_and(|cause| cause == "planned_scale")
            && span["outcome"] == "done"
    });
    let scaled = scaled.unwrap_or_else(|| panic!("{rebalances:?}"));
    for field in ["term", "version", "moved", "lower_bound"] {
        assert!(number(scaled, field) > 0, "{field} in {scaled:?}");
    }
    let handoffs = log.spans("handoff");
    assert_eq!(
        handoffs
            .iter()
            .map(|span| number(span, "partitions"))
            .sum::<u64>(),
        2
    );
    assert!(handoffs.iter().all(|span| span["cause"] == "reassigned"));
    assert!(
        handoffs.iter().all(|span| span.contains_key("drain_ms")),
        "{handoffs:?}"
    );
    for worker in workers.iter().chain([&joined]) {
        worker.stop(StopMode::Now).await.expect("clean");
    }

    // Each line stands in the span it belongs to, which begins a trace of its own.
    let kept = log.kept();
    let ours = kept.spans.iter().filter(|span| span.name != "parti");
    assert!(ours.clone().all(|span| span.fields["group"] == "test"));
    let others = kept.lines.iter().filter(|line| line.is("state changed"));
    assert!(others.clone().count() > 0 && others.clone().all(|line| line.scope == ["parti"]));
    for (message, span) in [
        ("claimed an ID", "claim"),
        ("leads", "takeover"),
        ("planned", "rebalance"),
        ("rebalance ended", "rebalance"),
        ("released partitions", "handoff"),
    ] {
        let mut lines = kept.lines.iter().filter(|line| line.is(message)).peekable();
        assert!(lines.peek().is_some(), "{message}");
        for line in lines {
            assert_eq!(line.level, Level::INFO, "{line:?}");
            assert_eq!(line.scope, [span], "{line:?}");
        }
    }
}

/// The line of a decision, if the notice is of one.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others decide nothing")]
fn decision(notice: &ManagerNotice) -> Option<&'static str> {
    let ManagerNotice::Core(notice) = notice else {
        return None;
    };
    Some(match notice {
        Notice::Claimed { .. } => "claimed an ID",
        Notice::LeadershipGained { .. } => "leads",
        Notice::Planned { .. } => "planned",
        Notice::Committed { .. } => "committed a generation",
        Notice::StateChanged { .. } => "state changed",
        _ => return None,
    })
}

/// A decision without a line cannot be explained, one with two looks like two decisions.
#[tokio::test(start_paused = true)]
async fn each_decision_is_one_line_at_info() {
    let (log, _guard) = Capture::begin();
    let (store, handler) = (LocalStore::new(), Recorder::new("all"));
    let (mut workers, mut told) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let builder = manager(fast(3), &store, 9, &handler.beside(name));
        told.push(builder.subscribe());
        workers.push(builder.start().await.expect("starts"));
    }
    until("everybody has three", LIMIT, || {
        workers.iter().all(|worker| worker.assignment().len() == 3)
    })
    .await;
    let leader = workers.iter().position(Manager::is_leader);
    drop(workers.remove(leader.expect("one leads")));
    until("the others took over", LIMIT, || {
        workers.iter().all(|worker| worker.assignment().len() > 3)
    })
    .await;
    for worker in workers {
        worker.stop(StopMode::Handoff).await.expect("clean");
    }
    let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
    for mut notices in told {
        while let Some(notice) = notices.next().await {
            if let Some(line) = decision(&notice) {
                *decided.entry(line).or_default() += 1;
            }
        }
    }
    assert_eq!(decided.len(), 5, "{decided:?}");
    let kept = log.kept();
    for (message, count) in decided {
        let lines = kept.lines.iter().filter(|line| line.is(message));
        assert!(lines.clone().all(|line| line.level == Level::INFO));
        assert_eq!(lines.count(), count, "{message}");
    }
    let commits = kept
        .lines
        .iter()
        .filter(|line| line.is("committed a generation"));
    for line in commits {
        for field in ["worker", "term", "version", "cause", "granted", "revoked"] {
            assert!(line.fields.contains_key(field), "{field} in {line:?}");
        }
    }
}

/// An episode has a beginning, a reason and an end, or nobody can say how long it was.
#[tokio::test(start_paused = true)]
async fn a_degraded_episode_is_one_span_with_its_reason_and_length() {
    let (log, _guard) = Capture::begin();
    let (store, handler) = (FaultyStore::new(), Recorder::new("a"));
    let builder = manager(fast(1), &LocalStore::new(), 2, &handler);
    let worker = builder.store(store.clone()).start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    store.set_down(true);
    worker.wait_for(State::Degraded).await.expect("goes on");
    until("the lease is lost", LIMIT, || {
        worker.assignment().is_empty()
    })
    .await;
    store.set_down(false);
    until("it has recovered", LIMIT, || {
        worker.state() == State::Stable
    })
    .await;
    worker.stop(StopMode::Now).await.expect("clean");

    let episodes = log.spans("degraded");
    let [episode] = &episodes[..] else {
        panic!("one episode: {episodes:?}");
    };
    assert_eq!(episode["reason"], "lease_lost");
    assert!(number(episode, "lasted_ms") > 500, "{episode:?}");
    let recovered = log
        .kept()
        .lines
        .iter()
        .find(|line| line.is("recovered"))
        .cloned();
    assert_eq!(recovered.expect("is told").scope, ["degraded"]);
    let lost = log.said("assignment changed");
    assert!(
        lost.iter()
            .any(|line| line["cause"] == "lease_lost" && line["removed"] == "2")
    );
}

/// A token or password in a log is known to everybody who may read logs.
#[cfg(feature = "nats")]
#[tokio::test]
async fn credentials_of_a_store_never_reach_the_log_or_an_error() {
    let (log, _guard) = Capture::begin();
    let config = parti::Config::builder("test").build().expect("coherent");
    let source = parti::sources::StaticSource::numbered("p", 1).expect("valid");
    let builder = Manager::builder(config, source, Recorder::new("a"));
    // Nothing listens there.
    let error = builder
        .nats("nats://user:hunter2@127.0.0.1:1")
        .start()
        .await;
    let error = error.expect_err("nobody answers");
    let said = format!("{error} {error:?} {:?}", log.kept());
    assert!(!said.contains("hunter2"), "{said}");
}
