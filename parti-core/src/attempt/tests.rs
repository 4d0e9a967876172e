//! Sequences of answers and what they prove, as a table: one line a case.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Attempt, Outcome};
use crate::config::Config;
use crate::core::Boot;
use crate::cx::Env;
use crate::effect::Effect;
use crate::event::{OpId, OpOwner};
use crate::id::{Nonce, Revision, WriteId};
use crate::record::{Control, Record};
use crate::store::{Entry, Expect, StoreError, StoreErrorKind, StoreOp, StoreReply, Write};
use crate::strategy::StrategyId;
use crate::time::Instant;
use crate::wire;

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
        write,
        author,
        reason,
    };
    Some(wire::encode(&Record::Control(control)))
}

fn entry(revision: u64, write: WriteId) -> Option<Entry> {
    Some(Entry {
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
    let error = |kind| Err(StoreError::new(kind, "scripted"));
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
    let config = Config::builder("g").build().expect("coherent");
    let mut now = Instant::from_millis(1_000);
    let boot = Boot {
        now,
        wall_ms: 0,
        seed: 1,
        strategy: StrategyId::new("s"),
        software: String::new(),
    };
    let mut env = Env::new(config, boot);
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
        return format!("{asked} {outcome}");
    }
    format!("{asked} open")
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
    let again = "rejected other5 ".repeat(8);
    let end = one(&format!("unknown other5 {again}"));
    assert!(end.ends_with(" rejected"), "{end}");
}

/// With several keys a refusal can be another key's: it is passed on when the first is as expected.
#[test]
fn a_refusal_of_another_key_is_told_apart_from_a_spurious_one() {
    assert_eq!(many("refused other5"), "WR refused");
    assert_eq!(many("refused other7"), "WR lost true");
    assert_eq!(many("unknown other5 refused other5 ok7"), "WRWRW won 7");
}

/// A key that must not exist is lost to whoever created it.
#[test]
fn creating_a_key_is_lost_to_any_other_value() {
    let create = |answers| play(Expect::Absent, 1, answers);
    assert_eq!(create("unknown absent ok3"), "WRW won 3");
    assert_eq!(create("unknown other2"), "WR lost true");
    assert_eq!(create("refused own2"), "WR won 2");
}
