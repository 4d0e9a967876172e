//! Records in, effects and notices out: what is told is exactly what happens.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::config::Config;
use crate::link::cx::Env;
use crate::model::id::{Epoch, Nonce, WriteId};
use crate::model::time::Instant;
use crate::records::record::RecordGrant;

/// The holdings of a worker and everything they want done, in words.
struct Worker {
    env: Env,
    holdings: Holdings,
}

impl Worker {
    fn new() -> Self {
        let config = Config::builder("g").build().expect("coherent");
        let (env, holdings) = (
            Env::for_tests(Instant::ORIGIN, 1, config),
            Holdings::default(),
        );
        Self { env, holdings }
    }

    fn act(&mut self, act: impl FnOnce(&mut Holdings, &mut Cx<'_>)) -> Vec<String> {
        act(&mut self.holdings, &mut self.env.cx(Instant::ORIGIN));
        self.holdings.check();
        self.env.out.drain(..).map(|effect| word(&effect)).collect()
    }

    /// Takes in a record that grants these, each with the version as its token unless told.
    fn told(&mut self, version: u64, granted: &[(&str, u64)]) -> Vec<String> {
        let nonce = Nonce::new(1);
        let granted = granted.iter().map(|&(name, token)| RecordGrant {
            partition: PartitionKey::new([name]).expect("valid"),
            token: Token::new(token),
            anchor: None,
        });
        let record = AssignmentRecord {
            write: WriteId { nonce, seq: 1 },
            version: Version::new(version),
            epoch: Epoch::new(1),
            session: crate::model::id::Nonce::new(0),
            granted: granted.collect(),
            revoking: Vec::new(),
            preparing: Vec::new(),
        };
        self.act(|holdings, cx| holdings.take_in(cx, &record))
    }

    fn released(&mut self, name: &str, token: u64) -> (bool, Vec<String>) {
        let partition = PartitionKey::new([name]).expect("valid");
        let token = Token::new(token);
        let mut any = false;
        let grants = [Grant { partition, token }];
        let words = self.act(|holdings, cx| any = holdings.released(cx, &grants));
        (any, words)
    }
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Assign { grants } => alloc::format!("assign {grants:?}"),
        Effect::Revoke { grants, cause } => alloc::format!("revoke {grants:?} {cause}"),
        Effect::Notify(Notice::AssignmentChanged {
            version,
            added,
            removed,
            total,
        }) => alloc::format!("v{version} +{added} -{removed} ={total}"),
        Effect::Prepare { preparations } => alloc::format!("prepare {preparations:?}"),
        Effect::Withdraw { preparations } => alloc::format!("withdraw {preparations:?}"),
        Effect::Store { .. }
        | Effect::Watch { .. }
        | Effect::Unwatch { .. }
        | Effect::ListPartitions { .. }
        | Effect::Plan { .. }
        | Effect::Answer { .. }
        | Effect::Probe { .. }
        | Effect::Notify(_) => panic!("not of holdings: {effect:?}"),
    }
}

/// A reader that adds up what is told must arrive at what is held; what is told for nothing hides the rest.
#[test]
fn what_a_record_changes_is_told_and_what_it_does_not_is_not() {
    let mut worker = Worker::new();
    let first = worker.told(3, &[("a", 3), ("b", 3)]);
    assert_eq!(first, ["assign [a@3, b@3]", "v3 +2 -0 =2"]);
    assert_eq!(worker.told(4, &[("a", 3), ("b", 3)]), Vec::<String>::new());
    assert_eq!(worker.holdings.applied(), Version::new(4));
    let moved = worker.told(5, &[("b", 3), ("c", 5)]);
    assert_eq!(
        moved,
        ["revoke [a@3] reassigned", "assign [c@5]", "v5 +1 -1 =2"]
    );
    let draining = worker.holdings.draining();
    assert_eq!(draining, [PartitionKey::new(["a"]).expect("valid")]);
    assert_eq!(
        worker.released("a", 3),
        (true, Vec::new()),
        "nothing begins for that"
    );
    assert_eq!(worker.released("a", 3), (false, Vec::new()), "only once");
    assert_eq!(
        worker.released("b", 3),
        (false, Vec::new()),
        "it was not asked to end"
    );
    assert_eq!(worker.holdings.assigned(), 2);
}

/// Two callbacks of one partition at once are what the guard is there to prevent.
#[test]
fn what_comes_back_while_its_processing_ends_begins_only_after_the_release() {
    let mut worker = Worker::new();
    worker.told(3, &[("a", 3)]);
    worker.told(4, &[]);
    assert_eq!(worker.told(5, &[("a", 5)]), Vec::<String>::new());
    assert_eq!(worker.holdings.draining(), [], "it is granted again");
    assert_eq!(
        worker.released("a", 5),
        (false, Vec::new()),
        "that one has not begun"
    );
    let (any, words) = worker.released("a", 3);
    assert!(any);
    assert_eq!(words, ["assign [a@5]", "v5 +1 -0 =1"]);
    // The same partition under another token is another ownership.
    assert_eq!(
        worker.told(6, &[("a", 6)]),
        ["revoke [a@5] reassigned", "v6 +0 -1 =0"]
    );
}

/// A lost lease, and its return, are changes like any other to a reader that counts partitions.
#[test]
fn a_suspension_revokes_and_tells_everything_and_a_resumption_begins_it_again() {
    let mut worker = Worker::new();
    let nothing = worker.act(|holdings, cx| holdings.suspend(cx, RevokeCause::LeaseLost));
    assert_eq!(nothing, Vec::<String>::new(), "there was nothing to lose");
    assert_eq!(
        worker.act(|holdings, cx| holdings.resume(cx)),
        Vec::<String>::new()
    );
    worker.told(3, &[("a", 3), ("b", 3)]);
    let lost = worker.act(|holdings, cx| holdings.suspend(cx, RevokeCause::LeaseLost));
    assert_eq!(lost, ["revoke [a@3, b@3] lease_lost", "v3 +0 -2 =0"]);
    assert_eq!(
        worker.told(4, &[("a", 3), ("b", 3), ("c", 4)]),
        Vec::<String>::new()
    );
    assert_eq!(
        worker.released("a", 3).1,
        Vec::<String>::new(),
        "not while suspended"
    );
    let again = worker.act(|holdings, cx| holdings.resume(cx));
    assert_eq!(
        again,
        ["assign [a@3, c@4]", "v4 +2 -0 =2"],
        "b is still ending"
    );
    assert_eq!(worker.released("b", 3).1, ["assign [b@3]", "v4 +1 -0 =3"]);
}

/// A session that is over leaves nothing that a later one could mistake for its own.
#[test]
fn a_session_that_ends_takes_its_record_with_it() {
    let mut worker = Worker::new();
    worker.told(3, &[("a", 3)]);
    assert!(!worker.holdings.is_drained() && !worker.holdings.is_empty());
    let ended = worker.act(|holdings, cx| holdings.forget(cx, RevokeCause::IdentityLost));
    assert_eq!(ended, ["revoke [a@3] identity_lost", "v3 +0 -1 =0"]);
    assert_eq!(worker.holdings.applied(), Version::ZERO);
    assert!(!worker.holdings.is_empty() && !worker.holdings.is_drained());
    worker.released("a", 3);
    assert!(worker.holdings.is_empty() && worker.holdings.is_drained());
    worker.holdings.begin();
    assert_eq!(worker.told(1, &[("a", 9)]), ["assign [a@9]", "v1 +1 -0 =1"]);
    let left: Vec<_> = worker.holdings.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["a"]);
    let given_up = worker.act(|holdings, cx| holdings.abandon(cx));
    assert_eq!(given_up, ["revoke [a@9] stopping", "v1 +0 -1 =0"]);
    assert_eq!(
        worker.holdings.applied(),
        Version::new(1),
        "the session goes on"
    );
}

/// The simulator relies on the check after every step: one that cannot fail proves nothing.
#[test]
#[should_panic(expected = "the count of partitions is off")]
fn a_wrong_count_is_caught_by_the_check() {
    let mut worker = Worker::new();
    worker.told(3, &[("a", 3)]);
    worker.act(|holdings, _| (holdings.processing, holdings.touched) = (2, true));
}

/// See above.
#[test]
#[should_panic(expected = "a is held without a token")]
fn a_partition_without_a_token_is_caught_by_the_check() {
    let mut worker = Worker::new();
    worker.told(3, &[("a", 0)]);
}
