//! How long nobody handles a partition's messages: after a crash, and when it moves as planned.
//!
//! It is separate from the faults since these runs are there for their figures. What always holds: times
//! are those of the sink's clock, from the kill or the old owner's last call to the new owner's first.

use std::collections::BTreeMap;
use std::time::Instant;

use parti_testing::rig::fenced_sink::{Call, Handoff, handoffs};
use parti_testing::rig::worker_logs::Life;

use super::faults::{began, goes_on};
use crate::group::{Group, Step, ensure};

/// How often a worker joins and leaves.
const ROUNDS: usize = 5;

/// One after the other is killed; how long each one's partitions stood still at most.
pub(crate) fn take_overs(group: &mut Group) -> Step<()> {
    began(group)?;
    for _ in 0..group.budget() {
        let took = kill(group)?;
        group.figure("taken_over_us", took);
        let limit = group.lease() / 2;
        ensure(took / 1000 <= limit, || {
            format!(
                "taken over after {} ms, not {limit}, half a lease",
                took / 1000
            )
        })?;
        goes_on(group)?;
        group.until_settled(group.bound())?;
    }
    Ok(())
}

/// Workers come and go as planned; how long each partition that moved stood still.
pub(crate) fn moves(group: &mut Group) -> Step<()> {
    began(group)?;
    let since = group.consumption()?.count();
    for _ in 0..ROUNDS {
        for gap in join_and_leave(group)? {
            group.figure("gap_us", gap);
        }
    }
    let repeats = group.consumption()?.repeats(since);
    ensure(repeats == 0, || {
        format!("{repeats} messages were handled again")
    })
}

/// Kills a follower; until the last of its partitions had a call of another owner, in microseconds.
pub(super) fn kill(group: &mut Group) -> Step<u64> {
    let victim = group.follower()?;
    let lost: Vec<u32> = group
        .look(victim, Life::owned)
        .keys()
        .filter_map(|key| number(key))
        .collect();
    ensure(!lost.is_empty(), || {
        format!("worker process {victim} owned nothing")
    })?;
    let tokens = group.consumption()?.calls(0, newest);
    let killed = Instant::now();
    group.kill(victim)?;
    let consumption = group.consumption()?;
    // Under which a partition is called first, by another owner.
    let begun = |calls: &[Call]| {
        let first = lost.iter().map(|partition| {
            let before = tokens.get(partition).copied().unwrap_or_default();
            let is_next =
                |call: &&Call| call.effect.partition == *partition && call.effect.token > before;
            calls.iter().find(is_next).map(|call| call.at)
        });
        first.collect::<Option<Vec<Instant>>>()
    };
    let since = consumption.count();
    let limit = group.bound();
    group.until("calls of other owners", limit, |_| {
        consumption.calls(since, begun).is_some()
    })?;
    let first = consumption.calls(since, begun).unwrap_or_default();
    let last = first.into_iter().max();
    let took = last.map(|last| last.saturating_duration_since(killed));
    Ok(took.map_or(0, |took| {
        u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
    }))
}

/// One more joins, and leaves when all is even; how long each partition that moved stood still, in
/// microseconds.
pub(super) fn join_and_leave(group: &mut Group) -> Step<Vec<u64>> {
    let since = group.consumption()?.count();
    let joined = group.join()?;
    group.until_settled(group.bound())?;
    goes_on(group)?;
    group.terminate(joined)?;
    group.wait_exit(joined)?;
    group.until_settled(group.bound())?;
    goes_on(group)?;
    let moved = group.consumption()?.calls(since, handoffs);
    ensure(!moved.is_empty(), || "nothing moved".to_owned())?;
    let micros = |moved: &Handoff| u64::try_from(moved.gap.as_micros()).unwrap_or(u64::MAX);
    Ok(moved.iter().map(micros).collect())
}

/// The newest token of each partition.
fn newest(calls: &[Call]) -> BTreeMap<u32, u64> {
    let mut newest = BTreeMap::new();
    for call in calls {
        let token = newest.entry(call.effect.partition).or_default();
        *token = call.effect.token.max(*token);
    }
    newest
}

/// The number of a partition's key: what stands last in it.
fn number(key: &str) -> Option<u32> {
    let digits = key.rsplit(|letter: char| !letter.is_ascii_digit());
    digits
        .into_iter()
        .find(|digits| !digits.is_empty())?
        .parse()
        .ok()
}
