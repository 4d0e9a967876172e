//! Sequences of answers and what they prove, as a table: one line a case.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Attempt, Outcome};
use crate::config::{Config, Preset};
use crate::io::effect::Effect;
use crate::io::event::{OpId, OpOwner};
use crate::link::cx::Env;
use crate::model::id::{Nonce, Revision, WriteId};
use crate::model::time::Instant;
use crate::ports::store::{Entry, Expect, StoreError, StoreErrorKind, StoreOp, StoreReply, Write};
use crate::records::record::{Control, Record};
use crate::records::wire;

const OWN: WriteId = WriteId {
    nonce: Nonce::new(1),
    seq: 1,
};
const OTHER: WriteId = WriteId {
    nonce: Nonce::new(2),
    seq: 1,
};

fn value(write: WriteId) -> Option<Vec<u8>> {
    let (author, reason) = (String::new(), String::new());
    let control = Control {
        lasts: None,
        write,
        author,
        reason,
        pins: Vec::new(),
    };
    Some(wire::encode(&Record::Control(control)))
}

fn entry(revision: u64, write: WriteId) -> Option<Entry> {
    Some(Entry {
        at_ms: 0,
        key: "k".to_string(),
        revision: Revision::new(revision),
        value: value(write),
    })
}

/// One answer in a word: `ok7` committed at 7; `refused`, `unknown`, `unavailable`, `rejected`;
/// `own7`/`other7` a read shows such a write at 7; `absent` a read shows nothing; `lost` no answer.
fn answer(word: &str) -> Result<StoreReply, StoreError> {
    let digits = word.trim_start_matches(|c: char| !c.is_ascii_digit());
    let revision: u64 = digits.parse().unwrap_or(0);
    let words = word.trim_end_matches(digits);
    let error = |kind| Err(StoreError::new(kind, format!("{words} said")));
    match word.trim_end_matches(digits) {
        "ok" => Ok(StoreReply::Committed {
            revisions: Vec::from([Revision::new(revision)]),
        }),
        "ok-nothing" => Ok(StoreReply::Committed {
            revisions: Vec::new(),
        }),
        "own" => Ok(StoreReply::Entry(entry(revision, OWN))),
        "other" => Ok(StoreReply::Entry(entry(revision, OTHER))),
        "absent" => Ok(StoreReply::Entry(None)),
        "refused" => error(StoreErrorKind::Refused),
        "unknown" | "lost" => error(StoreErrorKind::Unknown),
        "unavailable" => error(StoreErrorKind::Unavailable),
        "rejected" => error(StoreErrorKind::Rejected),
        other => panic!("no answer {other}"),
    }
}

/// Plays the answers, one for each request, and says what was asked and what came of it: `W` a
/// write, `R` a read. The write expects revision 5 unless told otherwise.
fn play(expect: Expect, keys: usize, answers: &str) -> String {
    played(expect, keys, answers).0
}

/// As [`play`], with what the attempt says of an outcome that is not clear.
fn played(expect: Expect, keys: usize, answers: &str) -> (String, String) {
    let config = Config::builder("g").build().expect("coherent");
    let mut now = Instant::from_millis(1_000);
    let mut env = Env::for_tests(now, 1, config);
    let writes = (0..keys).map(|i| Write {
        key: if i == 0 { "k".into() } else { format!("k{i}") },
        value: value(OWN),
        expect,
    });
    let writes: Vec<Write> = writes.collect();
    let mut attempt = Attempt::begin(&mut env.cx(now), OpOwner::Session, OWN, writes.clone());
    let mut asked = String::new();
    for word in answers.split_whitespace() {
        if let Some(wake) = attempt.wake() {
            now = now.max(wake.at);
            attempt.handle_timeout(&mut env.cx(now));
        }
        if word == "lease" {
            now += Duration::from_secs(6);
            continue;
        }
        env.out
            .retain(|effect| matches!(effect, Effect::Store { .. }));
        let Some(Effect::Store { op, request }) = env.out.pop_front() else {
            panic!("nothing is asked before {word}")
        };
        asked.push(match &request {
            StoreOp::Commit { writes: again } => {
                assert_eq!(*again, writes, "only the very same write may be sent again");
                'W'
            }
            StoreOp::Get { .. } => 'R',
            StoreOp::List { .. } | StoreOp::Info | StoreOp::Create => panic!("{request:?}"),
        });
        let stranger = OpId {
            owner: OpOwner::Session,
            seq: 999,
        };
        let strange = attempt.on_reply(&mut env.cx(now), stranger, &answer("ok9"));
        assert!(
            matches!(strange, Outcome::Pending),
            "a late answer of another"
        );
        let outcome = attempt.on_reply(&mut env.cx(now), op, &answer(word));
        let outcome = match outcome {
            Outcome::Pending => continue,
            Outcome::Won(revision) => format!("won {revision}"),
            Outcome::Lost(entry) => format!("lost {}", entry.is_some()),
            Outcome::Refused(_) => "refused".to_string(),
            Outcome::Rejected(_) => "rejected".to_string(),
        };
        assert_eq!(attempt.first_sent(), Instant::from_millis(1_000));
        return (format!("{asked} {outcome}"), attempt.still_open());
    }
    (format!("{asked} open"), attempt.still_open())
}

/// "Left its outcome open" for a full account sends operators after the network.
#[test]
fn an_open_outcome_is_told_in_the_words_of_the_store() {
    let said = |answers| played(Expect::Revision(Revision::new(5)), 2, answers).1;
    let silent = "the store left its outcome open and did not answer";
    assert_eq!(said(""), silent);
    let cases = [
        ("unavailable unavailable", "unavailable said"),
        ("unknown", "the store left its outcome open: unknown said"),
        (
            "unknown other5 unavailable",
            "the store left its outcome open: unavailable said",
        ),
        (
            "unknown unavailable",
            "the store left its outcome open: unavailable said",
        ),
        (
            "refused unavailable",
            "refused said, and what is stored cannot be read: unavailable said",
        ),
    ];
    for (answers, words) in cases {
        let said: Vec<String> = said(answers).split(" (").map(ToString::to_string).collect();
        let said: String = said
            .iter()
            .map(|part| part.split_once(')').map_or(part.as_str(), |(_, rest)| rest))
            .collect();
        assert_eq!(said, words, "{answers}");
    }
}

fn one(answers: &str) -> String {
    play(Expect::Revision(Revision::new(5)), 1, answers)
}

fn many(answers: &str) -> String {
    play(Expect::Revision(Revision::new(5)), 3, answers)
}

/// "It probably did not happen" has cost others data: only what is certain decides.
#[test]
fn answers_decide_only_what_they_prove() {
    assert_eq!(one("ok7"), "W won 7");
    assert_eq!(one("ok-nothing own7"), "WR won 7");
    assert_eq!(one("unknown own7"), "WR won 7");
    assert_eq!(one("refused own7"), "WR won 7");
    assert_eq!(one("unknown other7"), "WR lost true");
    assert_eq!(one("refused other7"), "WR lost true");
    // The key is as it was: the very same write may go again.
    assert_eq!(one("unknown other5 ok7"), "WRW won 7");
    assert_eq!(one("refused other5 refused own7"), "WRWR won 7");
    assert_eq!(one("unavailable unavailable ok7"), "WWW won 7");
    assert_eq!(one("unknown lost lost own8"), "WRRR won 8");
    // Its own name at the very revision expected is of an earlier history of the key.
    assert_eq!(one("unknown own5 ok7"), "WRW won 7");
}

/// Stale reads show less than is known: they prove nothing, whatever they show.
#[test]
fn stale_reads_are_repeated_until_a_lease_has_passed() {
    assert_eq!(one("unknown other4 absent own4 own7"), "WRRRR won 7");
    let six = "absent absent absent absent absent absent";
    assert_eq!(one(&format!("unknown {six}")), "WRRRRRR open");
    assert_eq!(
        one(&format!("unknown {six} lease absent")),
        "WRRRRRRR lost false"
    );
}

/// A rejection ends an attempt only if no earlier sending of it can still arrive soon.
#[test]
fn rejection_after_doubt_is_checked_first() {
    assert_eq!(one("rejected"), "W rejected");
    assert_eq!(one("unknown other5 rejected own7"), "WRWR won 7");
    // Doubt lasts for four more tries; with the fifth, the rejection is the answer.
    let again = "rejected other5 ".repeat(8);
    let end = one(&format!("unknown other5 {again}"));
    assert_eq!(end, "WRWRWRWRWRWR rejected");
}

/// With several keys a refusal can be another key's: it is passed on when the first is as expected.
#[test]
fn a_refusal_of_another_key_is_told_apart_from_a_spurious_one() {
    assert_eq!(many("refused other5"), "WR refused");
    assert_eq!(many("refused other7"), "WR lost true");
    assert_eq!(many("unknown other5 refused other5 ok7"), "WRWRW won 7");
}

/// A key that must not exist is lost to the process that created it.
#[test]
fn creating_a_key_is_lost_to_any_other_value() {
    let create = |answers| play(Expect::Absent, 1, answers);
    assert_eq!(create("unknown absent ok3"), "WRW won 3");
    assert_eq!(create("unknown other2"), "WR lost true");
    assert_eq!(create("refused own2"), "WR won 2");
}

/// An attempt all of whose requests fail, and the pauses between its tries.
struct Failing {
    env: Env,
    attempt: Attempt,
    now: Instant,
    pauses: Vec<Duration>,
}

impl Failing {
    /// Begins at 1 s, to be done so long after; with or without a budget for quick retries.
    fn begin(preset: Preset, deadline: Option<Duration>, has_budget: bool) -> Self {
        Self::seeded(1, preset, deadline, has_budget)
    }

    fn seeded(seed: u128, preset: Preset, deadline: Option<Duration>, has_budget: bool) -> Self {
        let now = Instant::from_millis(1_000);
        let config = Config::builder("g").preset(preset).build();
        let mut env = Env::for_tests(now, seed, config.expect("coherent"));
        while !has_budget && env.cx(now).may_hurry() {}
        let writes = Vec::from([Write {
            key: "k".into(),
            value: value(OWN),
            expect: Expect::Revision(Revision::new(5)),
        }]);
        let begun = Attempt::begin(&mut env.cx(now), OpOwner::Leader, OWN, writes);
        let attempt = match deadline {
            Some(after) => begun.by(now + after),
            None => begun,
        };
        let pauses = Vec::new();
        Self {
            env,
            attempt,
            now,
            pauses,
        }
    }

    /// The request is answered like this after so long; then time passes until the next.
    fn fail(&mut self, kind: StoreErrorKind, after: Duration) {
        let asked = |effect: &Effect| matches!(effect, Effect::Store { .. });
        self.env.out.retain(asked);
        let Some(Effect::Store { op, .. }) = self.env.out.pop_front() else {
            panic!("nothing is asked")
        };
        self.now += after;
        let result = Err(StoreError::new(kind, "scripted"));
        let outcome = self
            .attempt
            .on_reply(&mut self.env.cx(self.now), op, &result);
        assert!(matches!(outcome, Outcome::Pending), "{outcome:?}");
        let at = self.attempt.wake().expect("it is tried again").at;
        self.pauses.push(at.since(self.now));
        self.now = at;
        self.attempt.handle_timeout(&mut self.env.cx(at));
    }
}

/// Retries that multiply the load of a store in trouble; and renewals that give up too early, so that
/// the lease is lost although the store came back in time.
#[test]
fn without_a_budget_what_is_urgent_is_tried_after_a_third_of_what_is_left() {
    let (deadline, unavailable) = (Duration::from_secs(6), StoreErrorKind::Unavailable);
    let mut failing = Failing::begin(Preset::Default, Some(deadline), false);
    let ends = failing.now + deadline;
    let interval = Duration::from_secs(2);
    for _ in 0..6 {
        let left = ends.since(failing.now);
        failing.fail(unavailable, Duration::ZERO);
        let pause = *failing.pauses.last().expect("one more");
        let third = (left / 3).clamp(interval / 20, interval);
        assert!(pause <= third, "{pause:?} of {left:?}");
        assert!(pause >= third * 3 / 4, "{pause:?} of {left:?}");
    }
    assert!(failing.now < ends, "it is tried while it is of use");
}

/// What nothing waits for must not be asked more often than a heartbeat.
#[test]
fn without_a_budget_what_is_not_urgent_or_too_late_waits_for_an_interval() {
    let late = Some(Duration::ZERO);
    for deadline in [None, late] {
        let mut failing = Failing::begin(Preset::Default, deadline, false);
        for _ in 0..4 {
            failing.fail(StoreErrorKind::Unavailable, Duration::ZERO);
        }
        let least = Duration::from_millis(1_500);
        let most = Duration::from_secs(2);
        let within = |pause: &Duration| (least..=most).contains(pause);
        assert!(failing.pauses.iter().all(within), "{:?}", failing.pauses);
        let distinct: BTreeSet<_> = failing.pauses.iter().collect();
        assert!(
            distinct.len() > 1,
            "a herd must not stay one: {:?}",
            failing.pauses
        );
    }
}

/// An answer that never came has cost its time already: to wait as long again is half the tries.
#[test]
fn the_time_an_answer_took_is_part_of_the_pause() {
    let slow = Duration::from_millis(1_500);
    let mut failing = Failing::begin(Preset::Default, None, false);
    for _ in 0..4 {
        failing.fail(StoreErrorKind::Unavailable, slow);
    }
    let most = Duration::from_millis(500);
    assert!(
        failing.pauses.iter().all(|pause| *pause <= most),
        "{:?}",
        failing.pauses
    );
    // Even then there is a pause, or a store that answers nothing is asked in a loop.
    assert!(failing.pauses.iter().all(|pause| !pause.is_zero()));
    let never = Duration::from_secs(9);
    let mut failing = Failing::begin(Preset::Default, None, false);
    for _ in 0..4 {
        failing.fail(StoreErrorKind::Unavailable, never);
    }
    let soon = Duration::from_millis(100);
    let within = |pause: &Duration| *pause <= soon && !pause.is_zero();
    assert!(failing.pauses.iter().all(within), "{:?}", failing.pauses);
}

/// Within its budget an attempt is quick, and never slower than half a heartbeat or a second.
#[test]
fn with_a_budget_pauses_are_bounded_by_half_an_interval_and_a_second() {
    for (preset, most) in [(Preset::Fast, 125), (Preset::Patient, 1_000)] {
        let mut longest = Duration::ZERO;
        for seed in 0..40 {
            let mut failing = Failing::seeded(seed, preset, None, true);
            for _ in 0..8 {
                failing.fail(StoreErrorKind::Unavailable, Duration::ZERO);
            }
            longest = failing.pauses.into_iter().fold(longest, Duration::max);
        }
        let most = Duration::from_millis(most);
        assert!(
            longest <= most && longest > most / 2,
            "{longest:?} with {preset:?}"
        );
    }
}
