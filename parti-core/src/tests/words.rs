//! The words that leave the program: labels, log fields, keys. Dashboards and queries quote them.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::io::effect::{Effect, RevokeCause};
use crate::io::event::{OpId, OpOwner, WatchId};
use crate::io::grant::Grant;
use crate::io::notice::{AlertLevel, DegradedReason, FailedStep, OwnerEnd};
use crate::model::id::{Epoch, GroupName, Nonce, Revision, Token, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::{Cause, State};
use crate::ports::strategy::StrategyId;
use crate::records::record::Verb;
use crate::resilience::breaker::{Circuit, CircuitState};

/// Checks that values have these words, in order, each its own.
fn are<T>(values: &[T], word: impl Fn(&T) -> String, published: &str) {
    let words: Vec<String> = values.iter().map(word).collect();
    let published: Vec<&str> = published.split_whitespace().collect();
    assert_eq!(words, published);
    let distinct: BTreeSet<_> = words.iter().collect();
    assert_eq!(distinct.len(), words.len(), "{words:?}");
}

/// A renamed or shared label word silently empties the panels and alerts that quote it.
#[test]
fn labels_are_the_published_words_each_its_own() {
    use CircuitState::{Closed, HalfOpen, Open};
    use DegradedReason as Degraded;
    use OpOwner::{Candidate, Claim, Leader, Reconcile, Request, Session};
    use RevokeCause::{IdentityLost, LeaseLost, Reassigned, Stopping};
    let states = "init claiming_id election waiting_assignment stable scaling rebalancing emergency \
                  degraded shutdown";
    are(&State::ALL, |state| state.as_str().to_string(), states);
    are(&State::ALL, ToString::to_string, states);
    let causes = "takeover resignation cold_start planned_scale restart emergency drain \
                  partitions_changed weights_changed manual resume unprocessed parked settings";
    are(&Cause::ALL, |cause| cause.as_str().to_string(), causes);
    are(&Cause::ALL, ToString::to_string, causes);
    let circuits = [Circuit::Store, Circuit::Watch];
    are(
        &circuits,
        |circuit| circuit.as_str().to_string(),
        "store watch",
    );
    are(&circuits, ToString::to_string, "store watch");
    let places = [Closed, HalfOpen, Open];
    are(
        &places,
        |place| place.as_str().to_string(),
        "closed half_open open",
    );
    are(&places, ToString::to_string, "closed half_open open");
    let revoked = [Reassigned, LeaseLost, IdentityLost, Stopping];
    let words = "reassigned lease_lost identity_lost stopping";
    are(&revoked, |cause| cause.as_str().to_string(), words);
    are(&revoked, ToString::to_string, words);
    let degraded = [
        Degraded::WritesFailing,
        Degraded::WatchSilent,
        Degraded::LeaseLost,
        Degraded::HistoryLost,
    ];
    let words = "writes_failing watch_silent lease_lost history_lost";
    are(&degraded, |reason| reason.as_str().to_string(), words);
    are(&degraded, ToString::to_string, words);
    let owners = [Claim, Session, Candidate, Reconcile, Request, Leader];
    let words = "claim session candidate reconcile request leader";
    are(&owners, |owner| owner.as_str().to_string(), words);
    are(
        &OwnerEnd::ALL,
        |end| end.as_str().to_string(),
        "released lost",
    );
    let steps = "list_partitions plan commit take_over renew_session";
    are(&FailedStep::ALL, |step| step.as_str().to_string(), steps);
    are(&FailedStep::ALL, ToString::to_string, steps);
    are(
        &Verb::ALL,
        |verb| verb.as_str().to_string(),
        "refresh trigger step-down drain cordon freeze pin evict",
    );
}

/// The verb is part of a key: one that is not read back is a request nobody carries out.
#[test]
fn verbs_are_read_back_and_nothing_else_is_one() {
    for verb in Verb::ALL {
        assert_eq!(Verb::parse(verb.as_str()), Some(verb));
    }
    assert_eq!((Verb::parse("Refresh"), Verb::parse("")), (None, None));
}

/// A log in which versions, revisions and tokens look alike sends its reader the wrong way.
#[test]
fn debug_output_says_which_kind_of_number_it_is_and_display_is_bare() {
    assert_eq!(
        alloc::format!("{:?} {}", Revision::new(7), Revision::new(7)),
        "Revision(7) 7"
    );
    assert_eq!(alloc::format!("{:?}", Version::new(8)), "Version(8)");
    assert_eq!(
        alloc::format!("{:?}", Epoch::from(Revision::new(9))),
        "Epoch(9)"
    );
    let grant = Grant {
        partition: PartitionKey::new(["t", "7"]).expect("valid"),
        token: Token::from(Version::new(3)),
    };
    assert_eq!(alloc::format!("{grant:?}"), "t/7@3");
    let grants = Vec::from([grant]);
    let assign = alloc::format!("{:?}", Effect::Assign { grants });
    assert_eq!(assign, "Assign { grants: [t/7@3] }");
    let op = OpId {
        owner: OpOwner::Leader,
        seq: 12,
    };
    assert_eq!(
        (op.to_string(), op.owner()),
        ("Leader#12".to_string(), OpOwner::Leader)
    );
    assert_eq!(WatchId(4).to_string(), "watch#4");
    assert_eq!(StrategyId::new("sticky/1").to_string(), "sticky/1");
    assert_eq!(
        alloc::format!("{:?}", StrategyId::new("sticky/1")),
        "sticky/1"
    );
}

/// A session is looked for by its name in logs of both ends: it must not lose its zeros.
#[test]
fn a_nonce_is_written_with_all_its_digits_and_shortened_to_its_head() {
    let nonce = Nonce::new(0x00ab_0000_0000_0000_0000_0000_0000_0001);
    assert_eq!(nonce.to_string(), "00ab0000000000000000000000000001");
    assert_eq!(alloc::format!("{nonce:?}"), "00ab0000");
    assert_eq!(nonce.get(), 0x00ab_0000_0000_0000_0000_0000_0000_0001);
}

/// Names come from flags and files as text; a bad one must be refused there, not later.
#[test]
fn names_are_parsed_with_the_same_rules_they_are_made_with() {
    let worker: WorkerId = "worker-3".parse().expect("valid");
    assert_eq!(worker, WorkerId::numbered("worker", 3).expect("valid"));
    assert_eq!(alloc::format!("{worker:?}"), "worker-3");
    let error = "a b".parse::<GroupName>().expect_err("a blank");
    assert!(
        error.to_string().contains("group name \"a b\" holds ' '"),
        "{error}"
    );
}

/// An alert that skips a level, or is raised early, wakes the wrong people.
#[test]
fn alert_levels_follow_each_other_and_are_reached_exactly_at_their_time() {
    let mut level = AlertLevel::of(AlertLevel::Info.after());
    let mut seen = Vec::new();
    while let Some(now) = level {
        assert_eq!(AlertLevel::of(now.after()), Some(now));
        let moment = core::time::Duration::from_nanos(1);
        let before = AlertLevel::of(now.after().saturating_sub(moment));
        assert_eq!(before, seen.last().copied(), "just before {now:?}");
        seen.push(now);
        level = now.next();
    }
    let seconds: Vec<u64> = seen.iter().map(|level| level.after().as_secs()).collect();
    assert_eq!(seconds, [30, 120, 300, 600]);
}
