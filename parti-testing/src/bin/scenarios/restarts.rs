//! Deployments: workers that come and go because somebody wants it.

use std::time::{Duration, Instant};

use parti_core::Cause;

use super::group::{Group, Step, affinity, ensure};
use super::worker::now_ms;

/// Everybody dies at once and as many come back at once.
pub(super) fn thundering_herd(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let since = now_ms();
    let workers = group.living();
    for worker in &workers {
        group.kill(*worker)?;
    }
    for _ in &workers {
        group.join()?;
    }
    let limit = group.lease() * 2 + group.soon();
    group.until_settled(limit)?;
    group.figure("owned_again_ms", now_ms() - since);
    let rebalances = group.rebalances(since)?.len();
    group.figure("rebalances", rebalances as u64);
    // For the joiners, the first to fall silent, the window's end, and who is proved silent just after.
    ensure(rebalances <= 4, || {
        format!("{rebalances} rebalances for one restart")
    })
}

/// One after the other leaves until nobody is left, then as many come.
pub(super) fn rolling_update(group: &mut Group) -> Step<()> {
    // A leader grants little in a bucket that is younger than a lease.
    group.stays(
        "everything is owned",
        group.lease() + 500,
        Group::is_covered,
    )?;
    let before = group.owners();
    let since = now_ms();
    let workers = group.living();
    for worker in &workers {
        group.terminate(*worker)?;
        group.wait_exit(*worker)?;
    }
    ensure(group.shares().iter().sum::<usize>() == 0, || {
        "something is owned by nobody's process".to_owned()
    })?;
    group.figure("to_zero_ms", now_ms() - since);
    for _ in &workers {
        group.join()?;
    }
    let count = workers.len();
    group.until("all claimed and everything owned", group.bound(), |group| {
        let claimed = group.living().iter().all(|&n| group.share(n) > 0);
        claimed && group.is_covered() && group.leaders().len() == 1
    })?;
    group.no_emergency(since)?;
    // The windows of the last joins have to pass before the plan is the old one.
    group.until("the old places", group.bound(), |group| {
        affinity(&before, &group.owners()) > 80 && group.is_covered()
    })?;
    group.figure("affinity_percent", affinity(&before, &group.owners()));
    ensure(group.living().len() == count, || {
        "somebody is missing".to_owned()
    })
}

/// Each is replaced while its slot is held.
pub(super) fn rolling_update_with_held_slots(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let before = group.owners();
    let since = now_ms();
    for worker in group.living() {
        group.terminate(worker)?;
        group.wait_exit(worker)?;
        let next = group.join()?;
        let share = format!("the share of {worker} for its replacement");
        group.until(&share, group.bound(), |group| {
            group.share(next) > 0 && group.is_covered()
        })?;
        let after = group.owners();
        let kept = affinity(&before, &after);
        ensure(kept == 100, || {
            format!("only {kept} % stayed when {worker} was replaced")
        })?;
    }
    group.figure("affinity_percent", affinity(&before, &group.owners()));
    group.figure("update_ms", now_ms() - since);
    let moved: u32 = group
        .rebalances(since)?
        .iter()
        .map(|entry| entry.moved)
        .sum();
    ensure(moved == 0, || format!("{moved} partitions moved"))?;
    group.no_emergency(since)
}

/// Seven join three at once.
pub(super) fn rapid_scaling(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let since = now_ms();
    for _ in 0..7 {
        group.join()?;
    }
    group.until_settled(group.bound())?;
    group.figure("even_ms", now_ms() - since);
    let rebalances = group.rebalances(since)?;
    let causes: Vec<Cause> = rebalances.iter().map(|entry| entry.cause).collect();
    group.figure("rebalances", causes.len() as u64);
    ensure(causes == [Cause::PlannedScale], || {
        format!("not one rebalance for seven joins: {causes:?}")
    })?;
    group.no_emergency(since)
}

/// Twenty start at once, and later twenty see the leader die at once.
pub(super) fn concurrent_election(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let leader = group.leader()?;
    let since = now_ms();
    group.kill(leader)?;
    let took = group.until_taken_over(leader, since)?;
    group.figure("taken_over_ms", took);
    group.until_settled(group.bound())?;
    let elected = group.events(since, "leader");
    ensure(elected == 1, || {
        format!("{elected} leaders were elected instead of one")
    })?;
    let limit = group.soon();
    ensure(took <= limit, || {
        format!("taken over after {took} ms, not {limit}")
    })
}

/// For a time somebody comes, dies or leaves at every turn.
pub(super) fn high_churn(group: &mut Group) -> Step<()> {
    let time = Duration::from_secs(if group.is_full() { 60 } else { 15 });
    let begun = Instant::now();
    let (mut leaving, mut turns) = (Vec::new(), 0);
    while begun.elapsed() < time {
        let living = group.living();
        let victim = living[group.dice(living.len() as u64) as usize];
        match (living.len(), group.dice(4)) {
            (..=4, _) | (5..=9, 0 | 1) => drop(group.join()?),
            (_, 2) => group.kill(victim)?,
            (_, _) => {
                group.terminate(victim)?;
                leaving.push(victim);
            }
        }
        turns += 1;
        let pause = 400 + group.dice(600);
        group.stays("alive", pause, |_| true)?;
    }
    group.figure("turns", turns);
    let since = now_ms();
    for worker in leaving {
        group.wait_exit(worker)?;
    }
    group.until_settled(group.bound())?;
    group.figure("settled_ms", now_ms() - since);
    let limit = group.lease() * 2 + group.soon();
    let took = now_ms() - since;
    ensure(took <= limit, || {
        format!("settled after {took} ms, not {limit}")
    })
}

/// Everybody is replaced, one after the other, and a worker that gains a partition has to load it first.
pub(super) fn prepare_rolling(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let since = now_ms();
    for worker in group.living() {
        group.join()?;
        group.terminate(worker)?;
        group.wait_exit(worker)?;
    }
    let limit = group.bound() + group.warmup() * 2;
    group.until_settled(limit)?;
    group.figure("update_ms", now_ms() - since);
    group.no_emergency(since)?;
    let gaps = group.gaps(since);
    let at = |percent: usize| gaps.get((gaps.len() * percent).div_ceil(100).saturating_sub(1));
    let at = |percent| at(percent).copied().unwrap_or(0);
    group.figure("moves", gaps.len() as u64);
    group.figure("gap_p50_ms", at(50));
    group.figure("gap_p99_ms", at(99));
    group.figure("gap_max_ms", at(100));
    ensure(at(100) < group.warmup(), || {
        let (longest, warmup) = (at(100), group.warmup());
        format!(
            "a partition had no owner for {longest} ms, while the next needed {warmup} ms to get ready"
        )
    })
}
