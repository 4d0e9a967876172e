//! The bucket is deleted under real processes.

use parti::GroupName;
use parti::nats::{NatsOptions, NatsStore};
use parti_testing::rig::worker_logs::{Life, judge, shares};

use super::{Group, PARTITIONS};

/// Somebody deletes the wrong stream: nobody may own anything twice over it, tokens go on rising, and
/// the group comes back by itself.
#[test]
fn a_deleted_bucket_is_noticed_and_everything_is_owned_again_with_higher_tokens() {
    let group = Group::start("fast", 5);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    let before = group.lives();
    delete_bucket(&group);
    group.until("every worker notices", |lives| {
        lives.iter().all(|life| life.count("history_lost") == 1)
    });
    group.until("everything owned again", |lives| {
        let again = |life: &Life| life.count("claimed") >= 2;
        lives.iter().all(again) && sum(lives) == PARTITIONS
    });
    let lives = group.lives();
    assert_eq!(judge(&lives), []);
    for (life, earlier) in lives.iter().zip(&before) {
        assert_eq!(
            life.count("revoked"),
            earlier.count("assigned"),
            "all given up"
        );
    }
    let noticed = lives
        .iter()
        .filter_map(|life| life.last("history_lost"))
        .min();
    let regained = lives
        .iter()
        .flat_map(|life| life.first_after("assigned", noticed));
    let took = regained.min().zip(noticed).map(|(then, now)| then - now);
    eprintln!("granted again {took:?} ms after the first noticed");
    assert!(
        took.is_some_and(|took| took >= 900),
        "a quarantine of a lease: {took:?} ms"
    );
}

/// With `halt` nothing is created and nothing is held until people have looked.
#[test]
fn with_halt_a_deleted_bucket_ends_the_work_and_stays_deleted() {
    let group = Group::start_with("fast", 2, &["--on-bucket-lost", "halt"]);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    delete_bucket(&group);
    group.until("all is given up", |lives| {
        lives.iter().all(|life| life.count("history_lost") == 1) && sum(lives) == 0
    });
    assert!(!bucket_exists(&group), "nobody creates it");
    let lives = group.lives();
    assert!(lives.iter().all(|life| life.count("claimed") == 1));
    assert_eq!(judge(&lives), []);
}

fn delete_bucket(group: &Group) {
    let answer = ask(group, "STREAM.DELETE.KV_parti_demo");
    assert!(answer.contains("\"success\":true"), "{answer}");
}

fn bucket_exists(group: &Group) -> bool {
    !ask(group, "STREAM.INFO.KV_parti_demo").contains("stream not found")
}

/// The answer of the server to a request of an operator.
fn ask(group: &Group, method: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asking = async {
        // A bucket of its own: opening the group's would create it.
        let name = GroupName::new("operator").expect("valid");
        let url = group.server().url();
        let store = NatsStore::connect(&url, &name, NatsOptions::default()).await;
        let store = store.expect("connects");
        let subject = format!("$JS.API.{method}");
        let answer = store.client().request(subject, "".into()).await;
        String::from_utf8_lossy(&answer.expect("an answer").payload).into_owned()
    };
    runtime.expect("a runtime").block_on(asking)
}
