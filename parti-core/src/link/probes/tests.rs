//! What answers come to, step by step.

use super::*;
use crate::config::Mode;
use core::time::Duration;

const A: Nonce = Nonce::new(1);
const B: Nonce = Nonce::new(2);

/// A process that asks two sessions every 25 ms; the lease is 6 s, `suspect_after` 200 ms.
struct Asker {
    config: Config,
    probes: Probes,
}

impl Asker {
    fn new() -> Self {
        let builder = Config::builder("g")
            .mode(Mode::Fenced)
            .sinks_compare_tokens(true);
        let builder = builder.probe_interval(Duration::from_millis(25));
        let mut probes = Probes::default();
        probes.aim(Instant::ORIGIN, [A, B]);
        Self {
            config: builder.build().expect("coherent"),
            probes,
        }
    }

    /// Asks everybody whose turn it is at this millisecond.
    fn ask(&mut self, ms: u64) -> Vec<ProbeId> {
        let mut next = || Instant::from_millis(ms + 25);
        self.probes.due(Instant::from_millis(ms), &mut next)
    }

    fn told(&mut self, ms: u64, probe: ProbeId, answer: ProbeAnswer) {
        let now = Instant::from_millis(ms);
        self.probes.on_answer(&self.config, now, probe, answer);
    }

    /// Asks three times and is told nothing. The last probe of A.
    fn ask_in_vain(&mut self, ms: u64) -> ProbeId {
        let asked = [0, 25, 50].map(|later| self.ask(ms + later));
        let mut of_a = asked
            .into_iter()
            .flatten()
            .filter(|probe| probe.session == A);
        of_a.next_back().expect("it is asked")
    }

    /// From which millisecond on A is suspected.
    fn suspected_from(&self) -> Option<u64> {
        let at = self.probes.suspected_at(&self.config, A)?;
        Some(at.as_nanos() / 1_000_000)
    }
}

fn sessions(probes: &[ProbeId]) -> Vec<Nonce> {
    probes.iter().map(|probe| probe.session).collect()
}

/// A process that runs only now and then was suspected, and planned around, each time it paused.
#[test]
fn a_session_that_answers_after_all_has_twice_the_time_up_to_a_lease() {
    let mut asker = Asker::new();
    let mut began = 0;
    for patience in [200, 400, 800, 1_600, 3_200, 6_000, 6_000] {
        let last = asker.ask_in_vain(began);
        assert_eq!(asker.suspected_from(), Some(began + patience));
        asker.told(began + patience, last, ProbeAnswer::Alive);
        assert_eq!(asker.suspected_from(), None);
        began += patience + 100;
    }
}

/// A worker with unsteady contact was suspected, planned around and kept every eleven leases, for ever.
#[test]
fn a_wrong_suspicion_is_remembered_for_longer_each_time() {
    let mut asker = Asker::new();
    let mut began = 0;
    for leases in [10, 20, 40, 80, 80] {
        let last = asker.ask_in_vain(began);
        assert_eq!(asker.suspected_from(), Some(began + 200), "forgotten");
        asker.told(began + 200, last, ProbeAnswer::Alive);
        let until = began + 200 + leases * 6_000;
        let last = asker.ask_in_vain(until - 60);
        assert_eq!(asker.suspected_from(), Some(until - 60 + 400), "{leases}");
        asker.told(until - 5, last, ProbeAnswer::Alive);
        began = until + 100;
    }
}

/// A worker whose connection comes and goes looked gone each time.
#[test]
fn after_a_wrong_suspicion_nobody_there_has_to_last() {
    let mut asker = Asker::new();
    let gone = |asker: &mut Asker, ms| {
        let last = asker.ask_in_vain(ms);
        asker.told(ms + 60, last, ProbeAnswer::Nobody);
        assert!(!asker.probes.is_gone(A), "once is not enough");
        asker.told(ms + 61, last, ProbeAnswer::Nobody);
        assert!(asker.probes.is_gone(A));
        last
    };
    let last = gone(&mut asker, 0);
    assert_eq!(asker.suspected_from(), Some(61), "at once");
    asker.told(300, last, ProbeAnswer::Alive);
    assert!(asker.probes.cleared(A).is_some() && asker.probes.cleared(B).is_none());
    gone(&mut asker, 1_000);
    assert_eq!(asker.suspected_from(), Some(1_061 + 200));
}

/// Whose trouble it is was known only at the next round of probes, after an interval.
#[test]
fn at_the_first_nobody_all_are_asked_again_and_then_only_those_in_doubt() {
    let mut asker = Asker::new();
    let first = asker.ask(0);
    assert_eq!(sessions(&first), [A, B]);
    assert!(asker.ask(1).is_empty());
    asker.told(1, first[0], ProbeAnswer::Nobody);
    assert_eq!(sessions(&asker.ask(1)), [A, B]);
    asker.told(2, first[1], ProbeAnswer::Nobody);
    assert_eq!(sessions(&asker.ask(2)), [B]);
}

/// An answer from before somebody fell silent says nothing of the way since.
#[test]
fn only_an_answer_to_a_later_probe_shows_that_the_way_is_good() {
    let mut asker = Asker::new();
    let first = asker.ask(0);
    asker.told(1, first[0], ProbeAnswer::Alive);
    assert!(!asker.probes.answered_since(A, B), "asked before");
    let second = asker.ask(25);
    asker.told(26, second[0], ProbeAnswer::Alive);
    assert!(asker.probes.answered_since(A, B));
    asker.told(27, second[1], ProbeAnswer::Alive);
    assert!(
        !asker.probes.answered_since(A, B),
        "it is not silent any more"
    );
}

/// A leader that was cut off for less than `suspect_after` found those gone that connected later than it did.
#[test]
fn a_probe_without_an_answer_is_remembered_although_nobody_is_suspected() {
    let mut asker = Asker::new();
    let first = asker.ask(0);
    asker.told(5, first[0], ProbeAnswer::Silence);
    assert_eq!(asker.suspected_from(), None);
    assert_eq!(asker.probes.silent(A), Some(Instant::from_millis(5)));
    assert_eq!(asker.probes.silent(B), None);
}
