//! Every refusal in words: it names the offending value and, where there is one, the remedy.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::error::ConfigError;
use crate::io::notice::{StartError, StepDownReason};
use crate::model::id::{MAX_NAME_LEN, NameError, Nonce, Revision, WorkerId, WriteId};
use crate::model::partition::{Partition, PartitionError, PartitionKey};
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::source::SourceError;
use crate::ports::store::{StoreError, StoreErrorKind};
use crate::ports::strategy::{
    AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId, WorkerInfo, WorkerTable,
};
use crate::records::record::{Control, Record};
use crate::resilience::breaker::{BreakerError, CircuitOpen};

fn key() -> PartitionKey {
    PartitionKey::new(["orders", "7"]).expect("valid")
}

fn worker(number: u32) -> WorkerId {
    WorkerId::numbered("worker", number).expect("valid")
}

/// Each text must hold every part, or its reader has to look the value up elsewhere.
fn says<const N: usize>(cases: [(String, &[&str]); N]) {
    for (text, parts) in cases {
        for part in parts {
            assert!(text.contains(part), "{text:?} does not say {part:?}");
        }
    }
}

/// "Invalid partition" without the partition costs an evening.
#[test]
fn refused_partitions_and_lists_are_named_with_the_limit_they_break() {
    use PartitionError as E;
    let text = "2:a".to_string();
    says([
        (E::NoParts.to_string(), &["at least one part"]),
        (E::EmptyPart { index: 2 }.to_string(), &["part 2", "empty"]),
        (
            E::TooManyParts { parts: 17 }.to_string(),
            &["17 parts", "at most 16"],
        ),
        (
            E::TooLong { bytes: 1_025 }.to_string(),
            &["1025 bytes", "at most 1024"],
        ),
        (
            E::Malformed { text }.to_string(),
            &["\"2:a\"", "not an encoded"],
        ),
        (
            E::Duplicate { key: key() }.to_string(),
            &["orders/7", "twice"],
        ),
        (
            E::WeightOverflow { key: key() }.to_string(),
            &["orders/7", "use smaller weights"],
        ),
        (
            E::TooMany { len: 5_000_000_000 }.to_string(),
            &["5000000000", "at most 4294967294"],
        ),
        (
            SourceError::from(E::Duplicate { key: key() }).to_string(),
            &["list is invalid", "orders/7"],
        ),
        (
            SourceError::Unavailable("no route".to_string()).to_string(),
            &["unavailable", "no route"],
        ),
    ]);
}

/// A worker that does not start is all an operator has; its last words must be enough.
#[test]
fn a_failed_start_names_the_pool_the_time_and_the_last_error() {
    let error = || StoreError::new(StoreErrorKind::Unavailable, "no servers");
    let after = Duration::from_secs(30);
    let exhausted = StartError::StableIdExhausted {
        first: worker(0),
        last: worker(9),
        holders: Vec::from([worker(4)]),
    };
    let last = Some(error());
    says([
        (
            exhausted.to_string(),
            &["worker-0 to worker-9", "worker-4", "widen worker_id_range"],
        ),
        (
            StartError::StoreUnavailable { after, last }.to_string(),
            &["30s", "no servers", "it was not sent"],
        ),
        (
            StartError::StoreUnavailable { after, last: None }.to_string(),
            &["within 30s"],
        ),
        (
            StartError::Rejected(error()).to_string(),
            &["refuses this worker", "no servers"],
        ),
    ]);
}

/// What an error leaves behind decides what to do; two kinds that read alike are one too few.
#[test]
fn each_kind_of_store_error_says_what_it_leaves_behind() {
    use StoreErrorKind::{Missing, Refused, Rejected, Unavailable, Unknown};
    says([
        (
            StoreError::new(Missing, "m").to_string(),
            &["m (missing", "no bucket"],
        ),
        (
            StoreError::new(Refused, "m").to_string(),
            &["m (refused", "nothing was written"],
        ),
        (
            StoreError::new(Unknown, "m").to_string(),
            &["m (unknown", "may or may not"],
        ),
        (
            StoreError::new(Unavailable, "m").to_string(),
            &["m (unavailable", "not sent"],
        ),
        (
            StoreError::new(Rejected, "m").to_string(),
            &["m (rejected", "never succeed"],
        ),
    ]);
}

/// A lost history stops everything; what was compared with what has to be told.
#[test]
fn a_lost_history_is_told_with_what_was_known_and_what_was_found() {
    use crate::io::notice::HistoryLoss as L;
    let key = "w.worker-3".to_string();
    let (before, found) = (Revision::new(70), Revision::new(12));
    let revision = before;
    says([
        (
            L::Recreated {
                before: 5,
                found: 9,
            }
            .to_string(),
            &["again", "at 9 ns", "at 5 ns"],
        ),
        (
            L::RolledBack { before, found }.to_string(),
            &["rolled back", "70", "12"],
        ),
        (L::Missing.to_string(), &["bucket was deleted"]),
        (
            L::Vanished { key, revision }.to_string(),
            &["revision 70 of w.worker-3", "gone"],
        ),
    ]);
}

/// A leader that resigns without a reason looks like a bug in the election.
#[test]
fn stepping_down_says_why() {
    let unsteady = StepDownReason::UnsteadyContact(Duration::from_secs(18));
    let failing = StepDownReason::Failing("no servers".to_string());
    says([
        (StepDownReason::Deposed.to_string(), &["another worker"]),
        (StepDownReason::SessionLost.to_string(), &["session ended"]),
        (StepDownReason::Stopping.to_string(), &["stopping"]),
        (failing.to_string(), &["kept failing", "no servers"]),
        (unsteady.to_string(), &["too late", "18s", "judge nobody"]),
    ]);
}

/// A plan is refused on one machine and debugged on another: all numbers have to travel.
#[test]
fn refused_plans_name_ranks_workers_and_counts() {
    let (rank, owner, workers) = (3, 9, 2);
    says([
        (PlanError::NoWorkers.to_string(), &["no worker"]),
        (
            PlanError::DuplicateWorker { worker: worker(1) }.to_string(),
            &["worker-1", "twice"],
        ),
        (
            PlanError::TooManyWorkers { len: 77 }.to_string(),
            &["77 workers"],
        ),
        (
            PlanError::WrongLength {
                expected: 4,
                found: 3,
            }
            .to_string(),
            &["3 owners", "4 partitions"],
        ),
        (
            PlanError::UnknownOwner {
                rank,
                owner,
                workers,
            }
            .to_string(),
            &["rank 3", "worker 9 of 2"],
        ),
        (
            PlanError::BadUnplaced { rank: 3 }.to_string(),
            &["rank 3", "unplaced"],
        ),
        (
            PlanError::BadInput("two anchors".to_string()).to_string(),
            &["two anchors"],
        ),
        (PlanError::failed("no solver").to_string(), &["no solver"]),
    ]);
}

/// An unreadable record is all there is to go by: format, size or the bad value must be told.
#[test]
fn unreadable_records_say_what_was_found_in_them() {
    use crate::records::wire::WireError as E;
    let text = || "no such cause".to_string();
    let control = Record::Control(Control {
        lasts: None,
        write: WriteId {
            nonce: Nonce::new(1),
            seq: 1,
        },
        author: text(),
        reason: text(),
        pins: Vec::new(),
    });
    let later = crate::records::wire::encode_as(9, &control);
    let later = crate::records::wire::envelope(&later).expect("an envelope");
    says([
        (E::Empty.to_string(), &["record is empty"]),
        (
            E::NoEnvelope { found: 9 }.to_string(),
            &["begins with 9 instead of 1"],
        ),
        (
            E::OtherRelease(Box::new(later)).to_string(),
            &["format 9", "reads 1 to 1", "another release"],
        ),
        (
            E::TooLarge { bytes: 9_999_999 }.to_string(),
            &["9999999 bytes", "at most"],
        ),
        (
            E::Malformed(text()).to_string(),
            &["damaged", "no such cause"],
        ),
        (
            E::Invalid(text()).to_string(),
            &["bad value", "no such cause"],
        ),
    ]);
}

/// A name over the limit once failed at the server, as "invalid subject".
#[test]
fn refused_names_and_breakers_say_what_would_be_right() {
    let what = "worker ID";
    let open = |until| CircuitOpen {
        since: Instant::from_millis(1_500),
        until,
    };
    says([
        (
            NameError::Empty { what }.to_string(),
            &["worker ID is empty", "use letters"],
        ),
        (
            WorkerId::new(&"x".repeat(MAX_NAME_LEN + 1))
                .expect_err("long")
                .to_string(),
            &["worker ID", "65 bytes", "at most 64"],
        ),
        (
            BreakerError::ZeroFailureThreshold.to_string(),
            &["failure_threshold = 0", "at least 1"],
        ),
        (
            BreakerError::ZeroSuccessThreshold.to_string(),
            &["success_threshold = 0", "at least 1"],
        ),
        (
            BreakerError::ZeroTimeout.to_string(),
            &["timeout = 0", "use more"],
        ),
        (
            ConfigError::from(BreakerError::ZeroTimeout).to_string(),
            &["circuit_breaker: timeout = 0"],
        ),
        (
            open(Some(Instant::from_millis(2_500))).to_string(),
            &["since 1.5s", "until 2.5s"],
        ),
        (open(None).to_string(), &["since 1.5s", "until its probe"]),
    ]);
}

/// Who may own is a table by ID; a worker that is there twice would be counted twice.
#[test]
fn a_worker_table_is_ordered_by_id_and_refuses_a_duplicate_by_name() {
    let of = |numbers: &[u32]| {
        WorkerTable::new(
            numbers
                .iter()
                .map(|&n| WorkerInfo::new(worker(n)))
                .collect(),
        )
    };
    let table = of(&[3, 1, 2]).expect("distinct");
    let ids: Vec<_> = table.as_slice().iter().map(|w| w.id.clone()).collect();
    assert_eq!(ids, [worker(1), worker(2), worker(3)]);
    assert_eq!(table.get(2).map(|w| &w.id), Some(&worker(3)));
    assert_eq!(
        (table.get(3), table.len(), table.is_empty()),
        (None, 3, false)
    );
    assert_eq!(
        (table.index_of(&worker(2)), table.index_of(&worker(4))),
        (Some(1), None)
    );
    assert!(of(&[]).expect("empty").is_empty());
    let twice = of(&[1, 2, 1]).expect_err("twice");
    assert_eq!(twice, PlanError::DuplicateWorker { worker: worker(1) });
}

/// A strategy behind a pointer that lost its name would look like another one at every fail-over.
#[test]
fn a_boxed_or_shared_strategy_is_the_same_strategy() {
    #[derive(Clone)]
    struct AllToTheFirst;
    impl AssignmentStrategy for AllToTheFirst {
        fn id(&self) -> StrategyId {
            StrategyId::new("first/1")
        }
        fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
            let owners = Vec::from_iter(input.partitions.hashes().iter().map(|_| 0));
            Ok(Plan {
                owners,
                ..Plan::default()
            })
        }
    }
    fn planned(strategy: impl AssignmentStrategy) -> (String, Result<Plan, PlanError>) {
        let list = Vec::from([Partition::new(["a"]).expect("valid")]);
        let partitions = Arc::new(PartitionTable::new(list).expect("valid"));
        let workers = Vec::from([WorkerInfo::new(worker(0))]);
        let workers = Arc::new(WorkerTable::new(workers).expect("valid"));
        let plan = strategy.plan(&PlanInput::fresh(partitions, workers));
        (strategy.id().to_string(), plan)
    }
    let expected = planned(AllToTheFirst);
    assert_eq!(expected.1.as_ref().map(|plan| plan.owners.len()), Ok(1));
    assert_eq!(planned(Box::new(AllToTheFirst)), expected);
    assert_eq!(planned(Arc::new(AllToTheFirst)), expected);
    let boxed: Box<dyn AssignmentStrategy> = Box::new(AllToTheFirst);
    assert_eq!(planned(boxed), expected);
}
