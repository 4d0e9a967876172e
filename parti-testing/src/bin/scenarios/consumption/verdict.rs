//! What must hold of everything that handlers told, beside what the sink's own checker knows: each owner
//! begins with exactly the first message that its predecessor had not committed.
//!
//! It is separate because it compares three logs: calls, cursors, and what was published. What always holds:
//! a token whose writes were not seen, since the server was away, is no finding.

use std::collections::{BTreeMap, BTreeSet};

use parti_testing::rig::fenced_sink::{Call, Verdict, judge};

use super::Positions;
use super::publisher::Published;

/// The most findings that are told.
const MOST: usize = 20;

pub(super) fn of(
    calls: &[Call],
    published: &Published,
    positions: &Positions,
    partition_of: impl Fn(&str) -> u32,
) -> Vec<String> {
    let counts = published.iter();
    let counts = counts.map(|(key, all)| (key.clone(), all.len() as u64));
    let judged = judge(calls, &counts.collect());
    let mut findings = judged.findings;
    let mut sequences: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for (key, all) in published {
        let partition = sequences.entry(partition_of(key)).or_default();
        partition.extend(all);
    }
    findings.extend(inexact(calls, &sequences, positions));
    let more = findings.len().saturating_sub(MOST);
    findings.truncate(MOST);
    findings.extend((more > 0).then(|| format!("and {more} more")));
    findings
}

/// Owners that did not begin where they should.
fn inexact(
    calls: &[Call],
    sequences: &BTreeMap<u32, BTreeSet<u64>>,
    positions: &Positions,
) -> Vec<String> {
    let mut begun: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut findings = Vec::new();
    for call in calls {
        let effect = &call.effect;
        let place = (effect.partition, effect.token);
        if !begun.insert(place) || call.verdict == Verdict::Fenced {
            continue;
        }
        let Some((positions, all)) = positions.get(&place).zip(sequences.get(&place.0)) else {
            continue;
        };
        let next = |position: &u64| all.range(position + 1..).next().copied();
        // Its commits are later, and a take-over that was refused was earlier: one of them was its beginning.
        if !positions
            .iter()
            .any(|position| next(position) == Some(effect.sequence))
        {
            let (partition, token) = place;
            let (first, from) = (effect.sequence, positions.first());
            findings.push(format!(
                "{partition}: the owner with {token} began with {first}; its first position is {from:?}"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use parti_testing::rig::fenced_sink::{Effect, FencedSink};

    use super::*;

    /// An owner that begins too early repeats without need, and one that begins too late skips.
    #[test]
    fn an_owner_that_begins_elsewhere_than_its_predecessor_committed_is_found() {
        let sequences = BTreeMap::from([(3, BTreeSet::from([10, 20, 30]))]);
        let positions = Positions::from([((3, 7), BTreeSet::from([12]))]);
        for (first, is_exact) in [(10, false), (20, true), (30, false)] {
            let mut sink = FencedSink::default();
            sink.take(Effect::new(3, 7, first, "k", 0), Instant::now());
            let found = inexact(sink.calls(), &sequences, &positions);
            assert_eq!(found.is_empty(), is_exact, "{first}: {found:?}");
        }
    }
}
