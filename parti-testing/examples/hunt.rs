//! Runs seeds and prints the first failures: `hunt [mode] [first] [runs] [jobs]` or, with a trace,
//! `hunt [mode] [seed] trace`, or a smaller plan that fails alike, `hunt [mode] [seed] shrink`.

use parti_testing::simulator::cli::{BatchOptions, run_batch};
use parti_testing::simulator::{BugReport, Handoff, Plan, Sim, Tracing, shrink};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |index: usize| words.get(index).map(String::as_str);
    let mode = word(0)
        .and_then(Handoff::parse)
        .unwrap_or(Handoff::Exclusive)
        .into();
    let number = |index, default| word(index).and_then(|w| w.parse().ok()).unwrap_or(default);
    let first_seed = number(1, 0);
    if word(2) == Some("trace") {
        let plan = Plan::from_seed(first_seed, mode);
        println!("{plan:#?}");
        match Sim::run_traced(&plan, Tracing::Full) {
            Ok(outcome) => println!(
                "{}",
                BugReport {
                    plan: &plan,
                    outcome: &outcome
                }
            ),
            Err(error) => println!("{error}"),
        }
        return;
    }
    if word(2) == Some("shrink") {
        match shrink(&Plan::from_seed(first_seed, mode)) {
            Ok(smaller) => println!("{smaller:#?}"),
            Err(error) => println!("{error}"),
        }
        return;
    }
    let (runs, jobs) = (number(2, 100), number(3, 1) as usize);
    let options = BatchOptions {
        runs,
        first_seed,
        mode,
        jobs,
        max_failures: 1000,
        ..BatchOptions::default()
    };
    match run_batch(&options, &|_| ()) {
        Ok(report) => {
            for failure in report.failures.iter().take(3) {
                println!("{}\n", failure.report);
            }
            for failure in &report.failures {
                let reason = failure.report.lines().find(|l| l.starts_with("seed"));
                println!("{}", reason.unwrap_or_default());
            }
            println!("never seen: {:?}", report.never_seen());
            println!("{}", report.to_json());
        }
        Err(error) => println!("{error}"),
    }
}
