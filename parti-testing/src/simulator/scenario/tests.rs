//! Tests of scenarios: each property of a user's work is broken once, and the presets do what they say.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parti_core::{PartitionKey, RevokeCause};

use super::super::{
    App, Cx, FaultClass, FencedResource, HandlerError, Nemesis, OWN_PROPERTIES, SimGuard,
};
use super::*;

/// A handler that writes again and again, with one defect or none.
struct Writer {
    defect: Defect,
    holding: RefCell<BTreeSet<PartitionKey>>,
    assigned: Cell<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    /// It waits to be told of a revocation instead of asking its guard before each write.
    WaitsToBeTold,
    /// Its task outlives the ownership.
    NeverStops,
    /// It forgets to note what it was told to give back.
    KeepsBooks,
    /// It stops for good when a write has no answer.
    GivesUp,
    Panics,
    Spins,
    Claims,
    /// It depends on something that no seed determines.
    OutsideWorld,
}

impl Writer {
    fn new(defect: Defect) -> Self {
        Self {
            defect,
            holding: RefCell::default(),
            assigned: Cell::new(0),
        }
    }
}

#[async_trait(?Send)]
impl App for Writer {
    async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError> {
        self.holding.borrow_mut().insert(guard.partition().clone());
        self.assigned.set(self.assigned.get() + 1);
        match self.defect {
            Defect::Panics => assert!(self.assigned.get() < 3, "a third partition"),
            Defect::Spins => {
                while self.assigned.get() > 2 {
                    cx.sleep(Duration::ZERO).await;
                    cx.spawn(async {});
                    core::future::poll_fn(|context| {
                        context.waker().wake_by_ref();
                        core::task::Poll::<()>::Pending
                    })
                    .await;
                }
            }
            Defect::Claims if self.assigned.get() > 2 => cx.fail("three are too many"),
            Defect::OutsideWorld if self.assigned.get() > 2 => {
                static SHARED: AtomicU64 = AtomicU64::new(1);
                let millis = SHARED.fetch_add(1, Ordering::Relaxed);
                cx.sleep(Duration::from_millis(millis)).await;
                let _ = cx.write("ledger", &guard, 7).await;
                cx.fail("at a time that no seed determines");
            }
            Defect::None
            | Defect::WaitsToBeTold
            | Defect::NeverStops
            | Defect::KeepsBooks
            | Defect::GivesUp
            | Defect::Claims
            | Defect::OutsideWorld => {}
        }
        let defect = self.defect;
        let work = cx.clone();
        cx.spawn(async move {
            loop {
                let goes_on = defect == Defect::NeverStops
                    || (!guard.is_revoking()
                        && (guard.is_valid() || defect == Defect::WaitsToBeTold));
                if !goes_on {
                    return;
                }
                let written = work.write("ledger", &guard, 1).await;
                if written.is_err() && defect == Defect::GivesUp {
                    return;
                }
                work.sleep(Duration::from_millis(300)).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: Cx, guard: SimGuard, _: RevokeCause) {
        if self.defect != Defect::KeepsBooks {
            self.holding.borrow_mut().remove(guard.partition());
        }
    }

    fn holding(&self) -> Option<BTreeSet<PartitionKey>> {
        Some(self.holding.borrow().clone())
    }
}

fn scenario(defect: Defect, nemesis: Nemesis, ledger: FencedResource) -> Scenario {
    Scenario::builder("writer", move |_| Writer::new(defect))
        .nemesis(nemesis)
        .workers(3)
        .partitions(8)
        .faults_last(Duration::from_secs(20))
        .resource(ledger)
        .expect_progress()
        .build()
}

/// The scenario most likely to show a defect, the property that must show it, and in how many seeds.
fn found(defect: Defect, nemesis: Nemesis, ledger: FencedResource, seeds: u64) -> ScenarioReport {
    let scenario = scenario(defect, nemesis, ledger);
    let report = scenario.hunt(0..seeds).expect("coherent");
    report.unwrap_or_else(|| panic!("{defect:?} was not found in {seeds} seeds"))
}

fn checking() -> FencedResource {
    FencedResource::checking("ledger")
}

/// A kit that cries wolf is switched off.
#[test]
fn a_correct_handler_passes_under_every_preset() {
    for nemesis in [
        Nemesis::calm(),
        Nemesis::swarm(),
        Nemesis::crashes(),
        Nemesis::pauses(),
        Nemesis::partitions(),
        Nemesis::network(),
        Nemesis::clocks(),
    ] {
        scenario(Defect::None, nemesis, checking()).check(3);
    }
}

/// A kit that finds nothing is worse than none: each property is broken by the handler it is about.
#[test]
fn each_property_finds_the_defect_it_is_about() {
    let leave = || Nemesis::only(&[FaultClass::Leave]);
    let cases = [
        (Defect::WaitsToBeTold, Nemesis::pauses(), "OWN-S4"),
        (Defect::NeverStops, leave(), "OWN-S19"),
        (Defect::KeepsBooks, leave(), "OWN-S20"),
        (Defect::GivesUp, Nemesis::network(), "OWN-LIVE"),
        (Defect::Panics, Nemesis::calm(), "OWN-PANIC"),
        (Defect::Spins, Nemesis::calm(), "OWN-SPIN"),
        (Defect::Claims, Nemesis::calm(), "OWN-CLAIM"),
    ];
    let mut seen: BTreeSet<&str> = cases.iter().map(|(.., id)| *id).collect();
    for (defect, nemesis, id) in cases {
        let report = found(defect, nemesis, checking(), 30);
        let first = report.violation().expect("a violation").id;
        assert_eq!(first, id, "{defect:?}: {report}");
        assert!(report.deterministic, "{defect:?}");
    }
    let ignoring = FencedResource::ignoring("ledger");
    let report = found(Defect::None, Nemesis::network(), ignoring, 30);
    assert_eq!(report.violation().map(|v| v.id), Some("OWN-S6"), "{report}");
    seen.insert("OWN-S6");
    let all: BTreeSet<_> = OWN_PROPERTIES.iter().map(|property| property.id).collect();
    assert_eq!(seen, all, "every property has been broken");
}

/// A developer who looks for a failure that does not come back has to learn that it cannot.
#[test]
fn a_handler_that_no_seed_determines_is_said_to_be_one() {
    let report = found(Defect::OutsideWorld, Nemesis::calm(), checking(), 1);
    assert!(!report.deterministic);
    assert!(report.to_string().contains("no seed determines"));
}

/// A report that cannot be acted on is noise: it names the seed and the test, and the seed is the run.
#[test]
fn a_failure_is_told_with_its_seed_and_comes_back_from_it() {
    let scenario = scenario(Defect::WaitsToBeTold, Nemesis::pauses(), checking());
    let report = scenario
        .hunt(0..30)
        .expect("coherent")
        .expect("a violation");
    let seed = report.plan.seed;
    let here = "scenario::tests::a_failure_is_told_with_its_seed_and_comes_back_from_it";
    let command = format!("PARTI_SIM_SEED={seed} cargo test -p parti-testing simulator::{here}");
    assert!(report.to_string().ends_with(&command), "{report}");
    let again = scenario.run(seed).expect("coherent");
    assert_eq!(again.outcome, report.outcome);
    let stored = serde_json::to_string(&report.plan).expect("plain data");
    let plan: Plan = serde_json::from_str(&stored).expect("same shape");
    let kept = self::scenario(Defect::WaitsToBeTold, Nemesis::plan(plan), checking());
    assert_eq!(
        kept.run(0).expect("coherent").outcome.digest,
        report.outcome.digest
    );
}

/// Nobody reads a plan of seven workers to find the one pause that matters.
#[test]
fn a_failing_scenario_shrinks_and_still_fails_alike() {
    let scenario = scenario(Defect::WaitsToBeTold, Nemesis::pauses(), checking());
    let report = scenario
        .hunt(0..30)
        .expect("coherent")
        .expect("a violation");
    let smaller = scenario
        .shrink(&report.plan)
        .expect("coherent")
        .expect("it fails");
    let again = scenario.run_plan(&smaller).expect("coherent");
    let id = |report: &ScenarioReport| report.violation().map(|violation| violation.id);
    assert_eq!(id(&again), id(&report));
    let size = |plan: &Plan| (plan.partitions as usize) + plan.nodes.len() + plan.actions.len();
    assert!(size(&smaller) < size(&report.plan), "{smaller:?}");
}

/// A handler that takes a while to load, with at most so many loads at once, and fails to at first; on
/// the first node it never loads one of the partitions.
struct Loads {
    most: usize,
    running: Cell<usize>,
    tried: RefCell<BTreeSet<PartitionKey>>,
}

impl Loads {
    fn at_most(most: usize) -> Self {
        Self {
            most,
            running: Cell::default(),
            tried: RefCell::default(),
        }
    }
}

#[async_trait(?Send)]
impl App for Loads {
    async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError> {
        self.running.set(self.running.get() + 1);
        if self.running.get() > self.most {
            cx.fail(format!("{} at once", self.running.get()));
        }
        cx.sleep(Duration::from_millis(50)).await;
        self.running.set(self.running.get() - 1);
        let key = guard.partition();
        let broken = cx.process().node == 0 && key.to_string().starts_with("p3");
        if self.tried.borrow_mut().insert(key.clone()) || broken {
            return Err(HandlerError::new("no database"));
        }
        let work = cx.clone();
        cx.spawn(async move {
            while guard.is_valid() && !guard.is_revoking() {
                let _ = work.write("ledger", &guard, 1).await;
                work.sleep(Duration::from_millis(300)).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: Cx, _: SimGuard, _: RevokeCause) {}
}

fn loading(most: usize) -> ScenarioBuilder {
    Scenario::builder("loads", move |_| Loads::at_most(most))
        .nemesis(Nemesis::calm())
        .workers(3)
        .partitions(12)
        .resource(checking())
        .expect_progress()
}

/// A database that takes two connections from a worker got sixteen, in production only.
#[test]
fn no_more_callbacks_run_at_once_than_a_worker_allows() {
    loading(2).concurrency(2).build().check(2);
    let unbounded = loading(2).build().hunt(0..2).expect("coherent");
    let id = unbounded.and_then(|report| report.violation().map(|violation| violation.id));
    assert_eq!(id, Some("OWN-CLAIM"));
}

/// What happens when loading fails was tried out for the first time in production: the partition is
/// tried again where it is, and given to somebody else when that does not help.
#[test]
fn what_a_handler_cannot_begin_is_tried_again_and_then_elsewhere() {
    let scenario = loading(usize::MAX).build();
    let report = scenario.run(1).expect("coherent");
    assert_eq!(report.violation(), None, "{report}");
    let ledger = report.resource("ledger").expect("in the scenario");
    let worked: BTreeSet<_> = ledger.accepted().iter().map(|w| &w.partition).collect();
    assert_eq!(worked.len(), 12, "everything was begun somewhere");
    let owners = report.outcome.owners.len();
    assert_eq!(owners, 12, "and is owned");
    for nemesis in [Nemesis::swarm(), Nemesis::crashes()] {
        let scenario = loading(usize::MAX).nemesis(nemesis);
        scenario
            .faults_last(Duration::from_secs(10))
            .build()
            .check(2);
    }
}
