//! Two groups of one name in two JetStreams: the second is refused, and those that began apart are told.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parti_core::{Expect, StoreInfo};
use parti_nats::{NatsOptions, NatsStore, OpenError, async_nats};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::proxy::{Direction, Link, Proxy};
use tokio::time::timeout;

use crate::domains::{Network, hub, open};
use crate::permissions::{PUBLISH, SUBSCRIBE, client};
use crate::support::{
    Log, PATIENCE, World, api, connect, eventually, group, info, options, put, start, write,
};

/// Answers are waited for long enough for a busy machine.
fn patient() -> NatsOptions {
    options().connect_timeout(Duration::from_secs(30))
}

async fn told(store: &NatsStore) -> Vec<String> {
    let StoreInfo { faults, .. } = info(store).await;
    faults.iter().map(ToString::to_string).collect()
}

fn refused(opened: Result<NatsStore, OpenError>) -> (Option<String>, Option<String>) {
    match opened {
        Err(OpenError::GroupElsewhere { own, other }) => (own, other),
        other => panic!("{other:?}"),
    }
}

/// A worker that starts at the leaf and was not told which JetStream to use would give every partition a
/// second owner. The living group must not pay for its mistake with an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_group_of_a_name_is_refused_and_the_first_is_not_bothered() {
    let network = Network::apart("second");
    network.join().await;
    let at_hub = open(&network.hub, patient()).await.expect("opens");
    let beside = open(&network.hub, patient()).await.expect("opens");
    let error = open(&network.leaf, patient()).await;
    let text = error.as_ref().map(drop).expect_err("refused").to_string();
    for word in ["\"hub\"", "\"leaf\"", "NatsOptions::domain"] {
        assert!(text.contains(word), "{text}");
    }
    let domain = |name: &str| Some(name.to_owned());
    assert_eq!(refused(error), (domain("leaf"), domain("hub")));
    for store in [&at_hub, &beside] {
        assert_eq!(told(store).await, [""; 0], "a refused one is no twin");
    }
    // Who is told where the group is takes part, and the group may be restarted.
    let meets = open(&network.leaf, hub()).await.expect("opens");
    assert_eq!(info(&meets).await.created, info(&at_hub).await.created);
    // Two sites may mean to have a group each.
    let meant = open(&network.leaf, patient().domain("leaf")).await;
    drop((meets, beside, meant.expect("opens")));
    let restarted = open(&network.hub, patient()).await.expect("opens");
    assert_eq!(info(&restarted).await.created, info(&at_hub).await.created);
    // A group that has ended bars nobody.
    drop((at_hub, restarted));
    eventually("the leaf is free", PATIENCE, async || {
        open(&network.leaf, patient()).await.is_ok()
    })
    .await;
}

/// Nobody named a domain in any server: that is how leaf nodes are first set up, and the mistake looks the
/// same as a bucket that was made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_group_is_refused_also_where_no_jetstream_has_a_domain() {
    let network = Network::with("nameless", |_| (String::new(), String::new()));
    network.join().await;
    let at_hub = open(&network.hub, patient()).await.expect("opens");
    let error = open(&network.leaf, patient()).await;
    assert_eq!(refused(error), (None, None));
    assert_eq!(told(&at_hub).await, [""; 0]);
}

/// Once two groups live, a worker that crashes must be able to come back, whichever group is quicker to
/// answer; and a question that gets lost must not make a second group.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_here_outweighs_another_and_a_lost_question_is_asked_again() {
    let server = start(ServerOptions::default());
    let slow = Proxy::start(server.address(), 1).expect("a proxy");
    let here = NatsStore::connect(&slow.url(), &group(), patient()).await;
    let here = here.expect("opens");
    info(&here).await; // By now the server knows that it listens.
    slow.set_link(
        Direction::ToServer,
        Link::default().delay(Duration::from_millis(200)),
    );
    let twin = async_nats::connect(server.url()).await.expect("connects");
    let subject = format!("parti.group.{}", here.bucket());
    let mut heard = twin.subscribe(subject).await.expect("listens");
    twin.flush().await.expect("listens");
    let answering = tokio::spawn(async move {
        let (mut questions, mut earlier) = (0, None);
        while let Some(message) = heard.next().await {
            // The first store that asks is answered at once, of later ones the first question is lost.
            let Some(asker) = message.reply else { continue };
            questions += 1;
            if earlier.replace(asker.clone()) == Some(asker.clone()) || questions == 1 {
                let answer = r#"{"created":1,"domain":"elsewhere","answer":true}"#;
                let said = twin.publish(asker, answer.into()).await;
                said.expect("answers");
            }
        }
    });
    let restarted = NatsStore::connect(&server.url(), &group(), patient()).await;
    drop(restarted.expect("its group is here"));
    drop(here);
    eventually("only the twin answers", PATIENCE, async || {
        let opened = NatsStore::connect(&server.url(), &group(), patient()).await;
        opened.is_err_and(|error| {
            let other = Some("elsewhere".to_owned());
            error == OpenError::GroupElsewhere { own: None, other }
        })
    })
    .await;
    answering.abort();
}

/// The bucket was deleted and made again, and a worker that halted for that still listens: what it knows of
/// is no other JetStream. It must neither keep healthy workers out for ever nor give them an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_made_again_is_no_second_group() {
    let World { store: old, server } = World::with(patient()).await;
    let created = info(&old).await.created;
    api(&old, &format!("STREAM.DELETE.KV_{}", old.bucket()), "").await;
    let new = connect(&server, patient()).await;
    let made_again = info(&new).await.created;
    assert_ne!(made_again, created);
    // When each has answered a question, it has heard all that was said before.
    let mut answers = new.client().subscribe("answers").await.expect("listens");
    for by in [created, made_again] {
        let question = r#"{"created":1,"domain":"elsewhere"}"#;
        let subject = format!("parti.group.{}", new.bucket());
        let client = new.client();
        let asked = client.publish_with_reply(subject, "answers", question.into());
        asked.await.expect("asks");
        loop {
            let answer = timeout(PATIENCE, answers.next()).await.expect("in time");
            let answer = answer.expect("an answer").payload;
            if String::from_utf8_lossy(&answer).contains(&by.to_string()) {
                break;
            }
        }
    }
    assert_eq!(told(&new).await, [""; 0]);
}

/// Workers that connect to the nearest server and were not told which JetStream to use: each of two
/// groups gives every partition an owner, and nothing else would say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_exists_twice_under_one_name_is_told_on_both_sides() {
    let network = Network::apart("twice");
    let at_hub = open(&network.hub, patient()).await.expect("opens");
    let beside = open(&network.hub, patient()).await.expect("opens");
    for store in [&at_hub, &beside] {
        assert_eq!(told(store).await, [""; 0], "one group");
    }
    let at_leaf = open(&network.leaf, patient()).await.expect("opens");
    network.join().await;
    for (store, own, other) in [(&at_hub, "hub", "leaf"), (&at_leaf, "leaf", "hub")] {
        eventually("it is told", PATIENCE, async || {
            // One of the stores of a group hears it each time.
            info(&at_hub).await;
            info(&at_leaf).await;
            let words = told(store).await.join("; ");
            words.contains(&format!("one of domain \"{own}\""))
                && words.contains(&format!("one of domain \"{other}\""))
                && words.contains("NatsOptions::domain")
        })
        .await;
    }
    // Both live, so both may restart their workers.
    for (server, group) in [(&network.hub, &at_hub), (&network.leaf, &at_leaf)] {
        let restarted = open(server, patient()).await.expect("its group is here");
        assert_eq!(info(&restarted).await.created, info(group).await.created);
    }
    // Who means the hub meets the others there.
    let meets = open(&network.leaf, hub()).await.expect("opens");
    assert_eq!(info(&meets).await.created, info(&at_hub).await.created);
    info(&at_leaf).await;
    eventually("somebody at the leaf knows", PATIENCE, async || {
        info(&meets).await;
        !told(&at_leaf).await.is_empty()
    })
    .await;
    assert_eq!(told(&meets).await, [""; 0], "it was told where to look");
}

/// Permissions that are documented and wrong are found when there are two groups.
#[tokio::test]
async fn with_the_documented_permissions_a_second_group_is_refused_and_without_answers_told() {
    let documented = include_str!("../../../docs/OPERATIONS.md");
    let (subject, answers) = ("parti.group.parti_orders", "allow_responses: true");
    for shown in [&format!("\"{subject}\""), answers] {
        assert!(documented.contains(shown), "{shown}");
    }
    for answers in [answers, ""] {
        let (log, _guard) = Log::begin();
        let publish: Vec<_> = PUBLISH.into_iter().chain([subject, "joined.*"]).collect();
        let network = Network::with("allowed", |server| {
            let permissions = format!(
                "publish: {{ allow: {publish:?} }}, {answers}\n\
                 subscribe: {{ allow: [ {SUBSCRIBE:?}, {subject:?}, \"joined.*\" ] }}"
            );
            let user = format!("user: u, password: p, permissions: {{ {permissions} }}");
            let beside = format!("authorization {{ users: [ {{ {user} }} ] }}");
            (format!(", domain: {server}"), beside)
        });
        network.join().await;
        let open = async |server: &NatsServer| {
            let url = format!("nats://{}", server.address());
            NatsStore::connect_with(client(), &url, &group(), patient()).await
        };
        let at_hub = open(&network.hub).await.expect("opens");
        let at_leaf = open(&network.leaf).await;
        if !answers.is_empty() {
            let domain = |name: &str| Some(name.to_owned());
            assert_eq!(refused(at_leaf), (domain("leaf"), domain("hub")));
            continue;
        }
        let at_leaf = at_leaf.expect("nobody may answer");
        eventually("it is told on both sides", PATIENCE, async || {
            !told(&at_hub).await.is_empty() && !told(&at_leaf).await.is_empty()
        })
        .await;
        assert!(log.text().contains("is not answered"), "{}", log.text());
        assert!(!log.text().contains("WARN"), "{}", log.text());
    }
}

/// The search is a help, and must not become a duty: without the permission everything else works.
#[tokio::test]
async fn where_the_search_for_twins_is_not_permitted_nobody_is_bothered() {
    let (log, _guard) = Log::begin();
    let server = start(ServerOptions::default().config(
        "authorization { users: [ { user: u, password: p, permissions: { \
         publish: { deny: [\"parti.group.>\"] }, subscribe: { deny: [\"parti.group.>\"] } } } ] }",
    ));
    let url = format!("nats://u:p@{}", server.address());
    let begun = Instant::now();
    let store = NatsStore::connect(&url, &group(), patient()).await;
    let store = store.expect("opens");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it waited for answers"
    );
    for _ in 0..20 {
        assert_eq!(info(&store).await.faults, []);
    }
    write(&store, put("a", "1", Expect::Absent)).await;
    eventually("it is denied", PATIENCE, async || {
        let text = std::fs::read_to_string(server.log_path()).unwrap_or_default();
        text.contains("Violation")
    })
    .await;
    for _ in 0..20 {
        info(&store).await;
    }
    let text = std::fs::read_to_string(server.log_path()).unwrap_or_default();
    let denials = text.matches("Violation").count();
    assert!(denials < 10, "{denials} lines in the server's log");
    assert!(!log.text().contains("WARN"), "{}", log.text());
}
