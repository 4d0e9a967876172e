//! What holds when, as tables over the facts.

use super::*;
use parti_core::{Boot, Core, HistoryLoss, Nonce, Problem, StrategyId, Term, WorkerId};

const NOW: Instant = Instant::from_millis(1_000_000);

fn ago(millis: u64) -> Instant {
    NOW.saturating_sub(Duration::from_millis(millis))
}

fn config(mode: Mode) -> Config {
    let config = Config::builder("g").mode(mode);
    config.build().expect("coherent")
}

/// A stable member of a group with the default timings: heartbeat 2 s, lease 6 s.
fn sound() -> (Status, Vitals) {
    let boot = Boot {
        now: NOW,
        wall_ms: 0,
        seed: 1,
        strategy: StrategyId::new("s"),
        software: String::new(),
        endpoint: None,
        prepares: false,
    };
    let worker = WorkerId::new("worker-0").expect("valid");
    let mut status = Core::new(config(Mode::Exclusive), boot).status();
    status.state = State::Stable;
    status.worker = Some(worker.clone());
    status.nonce = Some(Nonce::new(1));
    status.deadline = Some(NOW + Duration::from_secs(5));
    status.mode.honours = Some(Mode::Exclusive);
    status.leader = Some(worker);
    status.term = Term::new(1);
    status.version = Version::new(9);
    status.applied = Version::new(9);
    let vitals = Vitals {
        turned: ago(10),
        ..Vitals::default()
    };
    (status, vitals)
}

fn codes(mode: Mode, change: impl FnOnce(&mut Status, &mut Vitals)) -> Vec<HealthCode> {
    let (mut status, mut vitals) = sound();
    status.mode.honours = Some(mode);
    change(&mut status, &mut vitals);
    let health = judge(&config(mode), NOW, None, &status, &vitals);
    health
        .conditions
        .iter()
        .map(|condition| condition.code)
        .collect()
}

fn found(change: impl FnOnce(&mut Status, &mut Vitals)) -> Vec<HealthCode> {
    codes(Mode::Exclusive, change)
}

/// A probe that fails on a healthy worker takes it out of service for nothing.
#[test]
fn a_sound_worker_has_no_condition() {
    assert_eq!(found(|_, _| {}), []);
    assert_eq!(Health::default().to_string(), "ok\n");
}

/// Each condition comes when its time is over, and not before: a blip is not an incident.
#[test]
fn each_condition_holds_from_its_own_time_on_and_for_itself() {
    use HealthCode as C;
    type Change = fn(&mut Status, &mut Vitals, u64);
    let cases: [(C, Change, u64); 8] = [
        (C::DriverStalled, |_, v, ms| v.turned = ago(ms), 15_000),
        (
            C::StoreUnreachable,
            |_, v, ms| v.store_failing = Some((ago(ms), "x".into())),
            2_000,
        ),
        (C::NoLeader, |_, v, ms| v.no_leader = Some(ago(ms)), 6_000),
        (
            C::RebalanceStuck,
            |_, v, ms| v.unfinished = Some(ago(ms)),
            {
                let config = config(Mode::Exclusive);
                (config.handoff_timeout() + config.lease()).as_millis() as u64
            },
        ),
        (
            C::CallbackStuck,
            |_, v, ms| v.oldest_callback = Some((ago(ms), "x".into())),
            { config(Mode::Exclusive).drain_timeout().as_millis() as u64 },
        ),
        (
            C::LeaseMarginLow,
            |s, _, ms| s.deadline = Some(ago(ms) + Duration::from_secs(6)),
            4_000,
        ),
        (
            C::LeaseLost,
            |s, _, ms| s.deadline = Some(ago(ms) + Duration::from_secs(6)),
            5_999,
        ),
        (
            C::NoIdentity,
            |s, _, ms| s.worker = s.worker.take().filter(|_| ms == 0),
            0,
        ),
    ];
    for (code, change, patience) in cases {
        let not_yet = found(|status, vitals| change(status, vitals, patience));
        assert!(!not_yet.contains(&code), "{code} after {patience} ms");
        let holds = found(|status, vitals| change(status, vitals, patience + 1));
        assert_eq!(holds, [code], "after {} ms", patience + 1);
    }
}

/// What the core finds wrong must not be lost on the way to the caller.
#[test]
fn every_problem_of_the_core_becomes_a_condition_of_its_own() {
    let config = config(Mode::Exclusive);
    let shown = |problem: Problem| {
        let (mut status, vitals) = sound();
        status.problems = vec![problem];
        judge(&config, NOW, None, &status, &vitals).conditions
    };
    let mut codes = Vec::new();
    for kind in ProblemKind::ALL {
        let (code, patience) = condition_of(kind, &config);
        assert_ne!(
            code,
            HealthCode::OtherProblem,
            "{kind} has no line in the table"
        );
        assert_eq!(
            code.impact(),
            Impact::Report,
            "{kind}: no worker can help it alone"
        );
        codes.push(code);
        let millis = patience.as_millis() as u64;
        let problem = |since: u64, told_by: Option<&str>| Problem {
            kind,
            since: ago(since),
            count: 7,
            detail: "7 of 9".into(),
            told_by: told_by.map(|id| WorkerId::new(id).expect("valid")),
        };
        assert_eq!(shown(problem(millis, None)), [], "{kind} too early");
        let condition = |detail: &str| Condition {
            code,
            lasting: Some(Duration::from_millis(millis + 1)),
            detail: detail.into(),
        };
        assert_eq!(shown(problem(millis + 1, None)), [condition("7 of 9")]);
        let told = problem(millis + 1, Some("worker-3"));
        assert_eq!(shown(told), [condition("7 of 9 (says worker-3)")]);
    }
    codes.dedup();
    assert_eq!(
        codes.len(),
        ProblemKind::ALL.len(),
        "two problems, one condition"
    );
}

/// A worker that knows of an incident must say which.
#[test]
fn states_and_reasons_become_conditions() {
    use HealthCode as C;
    let degraded =
        |reason: DegradedReason| found(move |_, vitals| vitals.degraded = Some((ago(1), reason)));
    assert_eq!(
        degraded(DegradedReason::WatchSilent),
        [C::WatchSilent, C::Degraded]
    );
    assert_eq!(degraded(DegradedReason::WritesFailing), [C::Degraded]);
    let lost = |_: &mut Status, vitals: &mut Vitals| {
        vitals.history_lost = Some((ago(1), "the bucket was deleted".into()));
    };
    assert_eq!(found(lost), [C::HistoryLost]);
    assert_eq!(
        found(|status, _| status.applied = Version::ZERO),
        [C::NotAssigned]
    );
    let circuit = |to: CircuitState| found(move |status, _| status.store.watch_circuit.state = to);
    assert_eq!(circuit(CircuitState::HalfOpen), [C::CircuitOpen]);
    assert_eq!(circuit(CircuitState::Closed), []);
    assert_eq!(found(|_, vitals| vitals.stopping = true), [C::Stopping]);
    let slow_end = found(|_, vitals| (vitals.stopping, vitals.turned) = (true, ago(60_000)));
    assert_eq!(slow_end, [C::Stopping], "the last callbacks are waited for");
    let overlap = codes(Mode::Overlap, |status, _| {
        status.deadline = Some(Instant::FAR_FUTURE)
    });
    assert_eq!(overlap, []);
}

/// Restarting every worker because the store is down costs every one its slot, and helps nobody.
#[test]
fn nothing_that_the_store_can_cause_is_a_reason_to_restart() {
    let health = |ended: Option<&Ended>, change: &dyn Fn(&mut Status, &mut Vitals)| {
        let (mut status, mut vitals) = sound();
        change(&mut status, &mut vitals);
        judge(&config(Mode::Exclusive), NOW, ended, &status, &vitals)
    };
    let outage = health(None, &|status, vitals| {
        vitals.store_failing = Some((ago(600_000), "no answer".into()));
        vitals.degraded = Some((ago(590_000), DegradedReason::LeaseLost));
        vitals.no_leader = Some(ago(600_000));
        vitals.oldest_callback = Some((ago(600_000), "on_assigned of p/1".into()));
        status.deadline = Some(ago(590_000));
    });
    assert!(outage.is_live() && !outage.is_ready() && outage.has(HealthCode::LeaseLost));
    let brief = health(None, &|_, vitals| {
        vitals.store_failing = Some((ago(3_000), "no answer".into()));
    });
    assert!(brief.is_live() && brief.is_ready() && brief.has(HealthCode::StoreUnreachable));
    assert_eq!(
        brief.to_string(),
        "store_unreachable for 3.0 s: no answer\n"
    );
    let blocked = health(None, &|_, vitals| vitals.turned = ago(60_000));
    assert!(!blocked.is_live() && !blocked.is_ready());
    let failed = Ended::Failed("it panicked".into());
    assert!(!health(Some(&failed), &|_, _| {}).is_live());
    let halted = health(Some(&Ended::HistoryLost(HistoryLoss::Missing)), &|_, _| {});
    assert!(
        halted.is_live() && !halted.is_ready(),
        "a restart would begin again before anybody has looked"
    );
    assert_eq!(
        halted.to_string(),
        "history_lost: halted: the bucket was deleted\n"
    );
    let stopped = health(Some(&Ended::Stopped), &|_, _| {});
    assert!(
        stopped.is_live() && !stopped.is_ready(),
        "a stop was wanted"
    );
}
