//! Tests of the simulator itself.

use super::*;
use crate::simulator::checks::{Process, Rules};
use parti_core::{Expect, Revision};

/// Without determinism a seed is a rumour and shrinking is impossible.
#[test]
fn twenty_seeds_run_twice_give_the_same_digests_in_both_modes() {
    for (mode, seed) in [Mode::Exclusive, Mode::Overlap]
        .into_iter()
        .flat_map(|mode| (0..20).map(move |seed| (mode, seed)))
    {
        let mut plan = Plan::from_seed(seed, mode);
        (plan.settings.pace, plan.safety_ms) = (Timings::Fast, 8_000);
        let first = Sim::run_traced(&plan, Tracing::Off).expect("coherent");
        let second = Sim::run_traced(&plan, Tracing::Last).expect("coherent");
        assert_eq!(first.digest, second.digest, "{mode:?}, seed {seed}");
        assert_eq!(first.violations, second.violations, "{mode:?}, seed {seed}");
        assert_eq!(first.situations, second.situations, "{mode:?}, seed {seed}");
    }
}

/// A bug once found is kept as a plan, since generators change.
#[test]
fn plans_survive_being_stored() {
    for seed in 0..100 {
        let plan = Plan::from_seed(seed, Mode::Overlap);
        let text = serde_json::to_string(&plan).expect("plain data");
        assert_eq!(
            serde_json::from_str::<Plan>(&text).expect("same shape"),
            plan
        );
    }
}

/// Every commit must survive a small swarm; larger ones run with `cargo xtask sim`.
#[test]
fn a_small_swarm_finds_no_violation_in_either_mode() {
    for mode in [Mode::Exclusive, Mode::Overlap] {
        let options = cli::BatchOptions {
            runs: 6,
            mode,
            jobs: 2,
            ..Default::default()
        };
        let report = cli::run_batch(&options, &|_| ()).expect("coherent");
        let failures: Vec<_> = report.failures.iter().map(|f| f.report.as_str()).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
        assert_eq!(report.runs, 6);
        let seen = |name| report.situations[name] > 0;
        assert!(seen("grant_after_acknowledgement") && seen("evicted_silent"));
    }
}

/// The result of a batch must not depend on the machine's number of processors.
#[test]
fn a_batch_is_the_same_with_any_number_of_threads() {
    let run = |jobs| {
        let options = cli::BatchOptions {
            runs: 2,
            first_seed: 100,
            jobs,
            ..Default::default()
        };
        let report = cli::run_batch(&options, &|_| ()).expect("coherent");
        (report.runs, report.generations, report.situations)
    };
    assert_eq!(run(1), run(3));
}

/// A report with three hundred seconds of faults is read by nobody.
#[test]
fn a_failing_plan_shrinks_to_what_it_takes() {
    // Nobody can hold a partition once every node has retired: a failure that needs no fault.
    let mut plan = Plan::from_seed(3, Mode::Exclusive);
    (plan.settings.pace, plan.safety_ms) = (Timings::Fast, 3_000);
    for node in &mut plan.nodes {
        node.survives = false;
    }
    plan.faults.drop_reply_ppm = 10_000;
    let smaller = shrink(&plan).expect("coherent").expect("it fails");
    assert_eq!(smaller.faults, Faults::none());
    assert_eq!((smaller.nodes.len(), smaller.actions.len()), (1, 0));
}

/// Two who want a slot are usual; a crowd is what the rule of one winner has to stand.
#[test]
fn three_who_claim_a_slot_at_the_same_revision_contend_for_it() {
    let config = parti_core::Config::builder("g").build().expect("coherent");
    let mut situations = judging::situations::Situations::new(&Rules::new(&config, false));
    let mut claim = |node, key, revision| {
        let expect = Expect::Revision(Revision::new(revision));
        situations.claim(Process { node, run: 1 }, key, expect);
        situations.counts()["slot_contended"]
    };
    assert_eq!(claim(0, "w.worker-0", 7), 0);
    assert_eq!(claim(1, "w.worker-0", 7), 0);
    assert_eq!(claim(1, "w.worker-0", 7), 0, "one that tries again");
    assert_eq!(claim(2, "w.worker-0", 8), 0, "a later session");
    assert_eq!(claim(2, "w.worker-1", 7), 0, "another slot");
    assert_eq!(claim(2, "w.worker-0", 7), 1);
    assert_eq!(claim(3, "w.worker-0", 7), 1, "one crowd");
}

/// A batch whose checkers had nothing to check must not pass as a proof.
#[test]
fn a_large_batch_must_have_seen_what_is_not_rare() {
    let mut report = cli::BatchReport {
        runs: cli::ENOUGH_RUNS - 1,
        ..Default::default()
    };
    let seen = SITUATIONS.iter().map(|name| ((*name).to_owned(), 3));
    report.situations = seen.collect();
    report.situations.insert("evicted_silent".to_owned(), 0);
    assert!(report.missing().is_empty(), "too few runs to tell");
    report.runs += 1;
    assert_eq!(report.missing(), ["evicted_silent"]);
    assert_eq!(report.rarest(1), [("evicted_silent", 0)]);
}

/// A situation that a mode does not have is not one that its seeds failed to meet.
#[test]
fn a_batch_counts_the_situations_of_its_mode() {
    let counts = |mode| {
        let options = cli::BatchOptions {
            runs: 1,
            mode,
            ..Default::default()
        };
        let report = cli::run_batch(&options, &|_| ()).expect("coherent");
        report.situations.contains_key("lease_lost")
    };
    assert!(counts(Mode::Exclusive));
    assert!(!counts(Mode::Overlap));
}
