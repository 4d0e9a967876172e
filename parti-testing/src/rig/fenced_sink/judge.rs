//! What must be true of all calls that a sink was told of.
//!
//! It is separate from the sink because it reads the log from the outside. What always holds: every finding
//! names the key or the partition and the numbers that do not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Call, Verdict};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What is wrong.
    pub findings: Vec<String>,
    /// How many calls repeated what was stored.
    pub repeats: u64,
    /// How many calls of older owners were refused.
    pub fenced: u64,
}

/// A partition that went from one owner to the next, as its calls show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The partition.
    pub partition: u32,
    /// The token of the new owner.
    pub token: u64,
    /// The index of its first call.
    pub first: usize,
    /// From the last call of any older owner before, until that.
    pub gap: Duration,
}

/// Holds the log to what is promised: each key's messages are stored once and in order, tokens rise, no call
/// skips a message, and a call that repeats one says that it may. `published` has how many each key has.
#[must_use]
pub fn judge(calls: &[Call], published: &BTreeMap<String, u64>) -> Judged {
    let mut judged = Judged::default();
    stored(calls, published, &mut judged.findings);
    raw(calls, &mut judged);
    judged
}

/// The committed output.
fn stored(calls: &[Call], published: &BTreeMap<String, u64>, findings: &mut Vec<String>) {
    let mut due: BTreeMap<&str, u64> = BTreeMap::new();
    let mut tokens: BTreeMap<u32, u64> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.verdict == Verdict::Stored) {
        let effect = &call.effect;
        let due = due.entry(&effect.key).or_default();
        let (key, number) = (&effect.key, effect.number);
        match number.cmp(due) {
            std::cmp::Ordering::Less => findings.push(format!("{key}: {number} is stored twice")),
            std::cmp::Ordering::Greater => {
                findings.push(format!("{key}: {number} is stored where {due} is due"));
            }
            std::cmp::Ordering::Equal => {}
        }
        *due = (*due).max(number + 1);
        let token = tokens.entry(effect.partition).or_default();
        if effect.token < *token {
            let (partition, older) = (effect.partition, effect.token);
            findings.push(format!("{partition}: stored with {older} after {token}"));
        }
        *token = effect.token.max(*token);
    }
    for (key, count) in published {
        let found = due.get(key.as_str()).copied().unwrap_or_default();
        if found != *count {
            findings.push(format!("{key}: {found} are stored and {count} published"));
        }
    }
}

/// What handlers were given. Calls of an owner that was refused count for nobody.
fn raw(calls: &[Call], judged: &mut Judged) {
    // What each partition has seen up to, as sequence; and each key, as number.
    let mut seen: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    let mut due: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for call in calls {
        let effect = &call.effect;
        let (partition, key, number) = (effect.partition, &effect.key, effect.number);
        let place = (partition, effect.token);
        let before = last.insert(place, effect.sequence);
        let is_back = before.is_some_and(|before| effect.sequence < before);
        if is_back && !effect.may_repeat {
            let (token, sequence) = (effect.token, effect.sequence);
            judged.findings.push(format!(
                "{partition}: {sequence} after {before:?} under the token {token}"
            ));
        }
        if call.verdict == Verdict::Fenced {
            judged.fenced += 1;
            continue;
        }
        let due = due.entry(key).or_default();
        if number > *due {
            judged
                .findings
                .push(format!("{key}: a handler got {number} before {due}"));
        }
        *due = (*due).max(number + 1);
        if !seen.entry(partition).or_default().insert(effect.sequence) {
            judged.repeats += 1;
            if !effect.may_repeat {
                let (token, sequence) = (effect.token, effect.sequence);
                judged.findings.push(format!(
                    "{partition}: {sequence} again under {token}, and it does not say so"
                ));
            }
        }
    }
}

/// Every change of the owner that the calls of a log show, in their order.
#[must_use]
pub fn handoffs(calls: &[Call]) -> Vec<Handoff> {
    let mut last: BTreeMap<u32, (u64, std::time::Instant)> = BTreeMap::new();
    let mut found = Vec::new();
    for (first, call) in calls.iter().enumerate() {
        let (partition, token) = (call.effect.partition, call.effect.token);
        match last.get_mut(&partition) {
            Some((newest, _)) if token < *newest => {}
            Some((newest, at)) => {
                if token > *newest {
                    let gap = call.at.duration_since(*at);
                    found.push(Handoff {
                        partition,
                        token,
                        first,
                        gap,
                    });
                }
                (*newest, *at) = (token, call.at);
            }
            None => drop(last.insert(partition, (token, call.at))),
        }
    }
    found
}
