//! Logs that break each promise: a checker that finds nothing proves nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Call, Effect, FencedSink, Judged, Verdict, handoffs, judge};

/// Token, sequence and number of a call.
type Told = (u64, u64, u64);

/// One partition with the key `k`.
fn told(effects: &[Told]) -> FencedSink {
    let mut sink = FencedSink::default();
    let begun = Instant::now();
    for (index, (token, sequence, number)) in effects.iter().enumerate() {
        let at = begun + Duration::from_millis(index as u64);
        sink.take(Effect::new(3, *token, *sequence, "k", *number), at);
    }
    sink
}

fn judged(calls: &[Call], published: u64) -> Judged {
    judge(calls, &BTreeMap::from([("k".to_owned(), published)]))
}

#[test]
fn a_log_as_it_should_be_has_no_finding() {
    let mut sink = told(&[(5, 10, 0), (5, 11, 1), (6, 12, 2)]);
    let again = Effect::new(3, 6, 12, "k", 2).repeating();
    assert_eq!(sink.take(again, Instant::now()), Verdict::Repeated);
    let late = Effect::new(3, 5, 13, "k", 3);
    assert_eq!(sink.take(late, Instant::now()), Verdict::Fenced);
    let found = judged(sink.calls(), 3);
    assert!(found.findings.is_empty(), "{found:?}");
    assert_eq!((found.repeats, found.fenced), (1, 1));
}

#[test]
fn each_thing_that_can_be_wrong_is_found() {
    let cases: [(&[Told], u64, &str); 4] = [
        (&[(5, 10, 0)], 2, "1 are stored and 2 published"),
        (&[(5, 10, 0), (5, 12, 2), (5, 13, 1)], 3, "1 is due"),
        (&[(5, 10, 0), (5, 12, 2)], 3, "got 2 before 1"),
        (&[(5, 10, 0), (6, 10, 0)], 1, "does not say so"),
    ];
    for (effects, published, wanted) in cases {
        let found = judged(told(effects).calls(), published);
        let says = found.findings.iter().any(|text| text.contains(wanted));
        assert!(says, "{wanted}: {found:?}");
    }
}

/// The log is judged by itself: what a sink that compares wrongly has stored is found.
#[test]
fn a_sink_that_compares_wrongly_is_found() {
    let mut calls = told(&[(5, 10, 0), (6, 11, 1), (5, 11, 1), (5, 10, 0)])
        .calls()
        .to_vec();
    calls
        .iter_mut()
        .for_each(|call| call.verdict = Verdict::Stored);
    let found = judged(&calls, 2).findings.join("; ");
    for wanted in [
        "1 is stored twice",
        "stored with 5 after 6",
        "10 after Some(11)",
    ] {
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
}

#[test]
fn a_handoff_is_from_the_last_call_of_the_old_owner_to_the_first_of_the_new() {
    let mut sink = told(&[(5, 10, 0), (5, 11, 1), (6, 12, 2), (5, 12, 2), (6, 13, 3)]);
    let found = handoffs(sink.calls());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].gap, Duration::from_millis(1));
    assert_eq!((found[0].first, found[0].token), (2, 6));
    sink.take(Effect::new(3, 8, 14, "k", 4), Instant::now());
    assert_eq!(handoffs(sink.calls()).len(), 2);
}
