//! Workers that die, at the worst moments.

use super::group::{Group, SCALED, SLACK_MS, Step, ensure};
use super::worker::now_ms;

/// Eight of ten die in the same moment, the leader perhaps among them.
pub(super) fn eight_of_ten_die(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let mut living = group.living();
    let since = now_ms();
    for _ in 0..8 {
        let choice = group.dice(living.len() as u64) as usize;
        group.kill(living.swap_remove(choice))?;
    }
    group.until_settled(group.bound())?;
    let took = now_ms() - since;
    group.figure("owned_again_ms", took);
    // So many at once look like a restart: one window is waited for them to come back.
    let limit = group.soon() + SCALED.timing.cold * 2 + SLACK_MS;
    ensure(took <= limit, || {
        format!("owned again after {took} ms, not {limit}")
    })
}

/// The one that took over most dies as soon as it has.
pub(super) fn cascading_failures(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let rounds = if group.is_full() { 4 } else { 2 };
    let (mut victim, mut worst) = (group.follower()?, 0);
    for _ in 0..rounds {
        let since = now_ms();
        let before = group.shares();
        group.kill(victim)?;
        let took = group.until_taken_over(victim, since)?;
        worst = worst.max(took);
        let gain = |n: &usize| group.share(*n).saturating_sub(before[*n]);
        victim = group
            .living()
            .into_iter()
            .max_by_key(gain)
            .unwrap_or(victim);
    }
    group.figure("slowest_takeover_ms", worst);
    group.until_settled(group.bound())?;
    let limit = group.soon();
    ensure(worst <= limit, || {
        format!("a take-over took {worst} ms, not {limit}")
    })
}

/// A rebalance begins, and the leader dies before, at and after each of its writes.
pub(super) fn leader_dies_at_each_step(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let mut worst = 0;
    for step in ["claimed", "committed", "revoked", "assigned"] {
        let leader = group.leader()?;
        let begun = now_ms();
        let joined = group.join()?;
        let what = format!("the step {step} of a rebalance");
        group.until(&what, group.bound(), |group| {
            group.told(begun, |number, line| {
                let by = match step {
                    "claimed" | "assigned" => number == joined,
                    _ => true,
                };
                by && line.event == step
            }) > 0
        })?;
        let since = now_ms();
        group.kill(leader)?;
        let what = format!("everything again after the death at {step}");
        group.until(&what, group.bound(), |group| {
            group.is_even() && group.leaders().len() == 1
        })?;
        worst = worst.max(now_ms() - since);
    }
    group.figure("slowest_repair_ms", worst);
    // The join that was interrupted may be planned only after the take-over.
    let limit = group.soon() + group.lease();
    ensure(worst <= limit, || {
        format!("a repair took {worst} ms, not {limit}")
    })
}

/// The one that partitions are on their way to dies.
pub(super) fn gaining_worker_dies(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let before = now_ms();
    let joined = group.join()?;
    group.until("a handoff on its way", group.bound(), |group| {
        group.told(before, |_, line| {
            line.event == "committed" && line.number("revoked").unwrap_or(0) > 0
        }) > 0
    })?;
    let since = now_ms();
    group.kill(joined)?;
    // Until the former owners are done with them, the partitions are still theirs.
    group.until("given up for the dead one", group.bound(), |group| {
        group.events(since, "revoked") > 0 && !group.is_covered()
    })?;
    group.until_settled(group.bound())?;
    let took = now_ms() - since;
    group.figure("owned_again_ms", took);
    let limit = group.soon() + SCALED.timing.window;
    ensure(took <= limit, || {
        format!("owned again after {took} ms, not {limit}")
    })
}

/// The one that gets ready for partitions dies before it is.
pub(super) fn prepare_gainer_dies(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let since = now_ms();
    let joined = group.join()?;
    group.until("a preparation", group.bound(), |group| {
        group.look(joined, |life| life.count("preparing")) > 0
    })?;
    group.kill(joined)?;
    let time = group.lease() + group.warmup();
    group.stays("everything is owned", time, Group::is_covered)?;
    let revoked = group.events(since, "revoked");
    ensure(revoked == 0, || {
        format!("{revoked} partitions were taken away for one that never was ready")
    })?;
    group.until_settled(group.bound())?;
    group.figure("settled_ms", now_ms() - since);
    Ok(())
}

/// Followers that are killed, in a group that does not wait for leases.
pub(super) fn fenced_kill(group: &mut Group) -> Step<()> {
    let rounds = group.budget();
    repaired(group, rounds, Group::follower, Group::kill)
}

/// The leader is killed, in a group that does not wait for leases.
pub(super) fn fenced_leader_kill(group: &mut Group) -> Step<()> {
    let rounds = group.budget();
    repaired(group, rounds, settled_leader, Group::kill)
}

/// The leader, when it has led for a heartbeat: by then all have seen whom to ask.
fn settled_leader(group: &mut Group) -> Step<usize> {
    let heartbeat = group.heartbeat();
    group.until("a leader of a heartbeat", group.bound(), |group| {
        let since = now_ms() - heartbeat;
        let elections = group.told(since, |_, line| line.event == "leader");
        elections == 0 && group.leaders().len() == 1
    })?;
    group.leader()
}

/// A follower stands still and goes on later, in a group that does not wait for leases.
pub(super) fn fenced_stop(group: &mut Group) -> Step<()> {
    repaired(group, 1, Group::follower, |group, number| {
        group.pause(number)
    })?;
    let stopped = group.living().into_iter().find(|&n| group.is_paused(n));
    let stopped = stopped.ok_or("nobody stands still")?;
    let since = now_ms();
    group.resume(stopped)?;
    group.until("it takes part again", group.bound(), |group| {
        group.told(since, |number, line| {
            number == stopped && line.event == "claimed"
        }) > 0
    })?;
    group.until_settled(group.bound())?;
    Ok(())
}

/// One after the other is lost, and what it had is owned again long before its lease is over.
fn repaired(
    group: &mut Group,
    rounds: usize,
    victim: impl Fn(&mut Group) -> Step<usize>,
    lose: impl Fn(&mut Group, usize) -> Step<()>,
) -> Step<()> {
    group.until_settled(group.bound())?;
    let mut worst = 0;
    for _ in 0..rounds {
        let lost = victim(group)?;
        let since = now_ms();
        lose(group, lost)?;
        let took = group.until_taken_over(lost, since)?;
        group.figure("owned_again_ms", took);
        worst = worst.max(took);
        let limit = group.lease() / 2;
        ensure(worst <= limit, || {
            format!("owned again after {worst} ms, not {limit}, half a lease")
        })?;
        group.until("one leader", group.bound(), |group| {
            group.leaders().len() == 1
        })?;
    }
    Ok(())
}
