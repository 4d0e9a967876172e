//! The second simulator on itself: the same run each time, what is told of a failure, and a few seeds.

use std::sync::Arc;

use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};

use super::*;

/// Says that something is wrong for each partition whose name it is given.
struct Complains(Process, Option<&'static str>);

#[async_trait]
impl PartitionHandler for Complains {
    async fn on_assigned(&self, key: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        if self.1 == Some(&key.to_string()) {
            self.0.violate("this one must not be processed");
        }
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

fn about(partition: Option<&'static str>) -> Scenario {
    Scenario::new(move |process| Arc::new(Complains(process, partition)))
}

/// A seed that cannot be run again the same way explains nothing.
#[test]
fn the_same_seed_gives_the_same_run() {
    let quiet = Run::new(|process| Arc::new(Complains(process, None)));
    for seed in 0..3 {
        let plan = Plan::from_seed(seed);
        let (one, other) = (run(&quiet, &plan), run(&quiet, &plan));
        assert_eq!(one.digest, other.digest, "seed {seed}");
        assert!(one.met[&Situation::Assigned] > 0);
    }
}

/// What the core's simulator shows of a driver of its own must hold with the shipped one.
#[test]
fn shipped_managers_keep_every_property_under_seeded_faults() {
    about(None).seeds(0..8).run().assert_holds();
}

/// A failure among a hundred actions is read by nobody.
#[test]
fn what_a_handler_finds_is_told_with_the_smallest_plan() {
    let report = about(Some("p/0")).seeds(0..1).run();
    let failure = report.failures.first().expect("it complains");
    assert_eq!(failure.violation.property, Property::Handler);
    assert_eq!(
        (failure.plan.actions.len(), failure.plan.partitions),
        (0, 1)
    );
    assert!(
        report.to_string().contains("must not be processed"),
        "{report}"
    );
}
