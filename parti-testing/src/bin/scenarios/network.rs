//! Networks that are slow, cut, or cut in one direction only.

use std::time::Duration;

use parti_testing::rig::proxy::{BOTH, Direction, Link};

pub(super) mod splits;

use super::group::{Group, Step, ensure};
use super::worker::now_ms;

/// The leader is cut off, another one takes its place, and it comes back.
pub(super) fn split_brain(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let leader = group.leader()?;
    let since = now_ms();
    group.cut(leader, &BOTH);
    let took = group.until_taken_over(leader, since)?;
    group.figure("taken_over_ms", took);
    ensure(took <= group.soon(), || {
        format!("taken over after {took} ms")
    })?;
    let extra = group.dice(group.lease());
    group.stays("everything is owned", extra, Group::is_covered)?;
    let healed = now_ms();
    group.heal(leader);
    group.until_settled(group.bound())?;
    let took = now_ms() - healed;
    group.figure("healed_ms", took);
    ensure(
        !group.look(leader, parti_testing::rig::worker_logs::Life::leads),
        || "it leads again although it was replaced".to_owned(),
    )?;
    let limit = group.soon() + group.lease();
    ensure(took <= limit, || {
        format!("settled {took} ms after the heal, not {limit}")
    })
}

/// One that follows and one that leads are slow, but alive.
pub(super) fn gray_failure(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let (leader, follower) = (group.leader()?, group.follower()?);
    let (since, before) = (now_ms(), group.owners());
    let jitter = Duration::from_millis(100);
    let delay = Duration::from_millis(40 + group.dice(60));
    for slow in [leader, follower] {
        group.slow(slow, Link::default().delay(delay).jitter(jitter));
    }
    group.stays("nothing moves", group.lease() * 3, |group| {
        group.owners() == before
    })?;
    group.heal(leader);
    group.heal(follower);
    group.no_emergency(since)?;
    let rebalances = group.rebalances(since)?.len();
    ensure(rebalances == 0, || {
        format!("{rebalances} rebalances for slowness")
    })?;
    let elected = group.events(since, "leader");
    ensure(elected == 0, || {
        "a slow leader lost its leadership".to_owned()
    })?;
    group.figure("delay_ms", u64::try_from(delay.as_millis()).unwrap_or(0));
    Ok(())
}

/// Renewals come again and again just before it is too late.
pub(super) fn slow_heartbeats(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let follower = group.follower()?;
    let (since, before) = (now_ms(), group.owners());
    for _ in 0..3 {
        group.cut(follower, &BOTH);
        let held = group.lease() * 55 / 100 + group.dice(100);
        group.stays("nothing moves", held, |group| group.owners() == before)?;
        group.heal(follower);
        group.stays("nothing moves", group.lease() / 2, |group| {
            group.owners() == before
        })?;
    }
    group.no_emergency(since)?;
    let rebalances = group.rebalances(since)?.len();
    ensure(rebalances == 0, || {
        format!("{rebalances} rebalances for late heartbeats")
    })
}

/// Two halves that never see the store at the same time, until they do.
pub(super) fn two_sides(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let living = group.living();
    let (one, other) = living.split_at(living.len() / 2);
    let since = now_ms();
    one.iter().for_each(|&worker| group.cut(worker, &BOTH));
    let owns_all = |side: &[usize]| {
        let side = side.to_vec();
        move |group: &Group| {
            let owned: usize = side.iter().map(|&worker| group.share(worker)).sum();
            owned == 100 && group.is_covered()
        }
    };
    group.until(
        "everything owned by one side",
        group.bound(),
        owns_all(other),
    )?;
    group.figure("first_side_ms", now_ms() - since);
    let swapped = now_ms();
    other.iter().for_each(|&worker| group.cut(worker, &BOTH));
    one.iter().for_each(|&worker| group.heal(worker));
    group.until(
        "everything owned by the other side",
        group.bound(),
        owns_all(one),
    )?;
    group.figure("second_side_ms", now_ms() - swapped);
    let healed = now_ms();
    other.iter().for_each(|&worker| group.heal(worker));
    group.until_settled(group.bound())?;
    let took = now_ms() - healed;
    group.figure("healed_ms", took);
    let limit = group.soon() + group.lease();
    ensure(took <= limit, || {
        format!("settled {took} ms after the heal, not {limit}")
    })
}

/// The leader is cut off between taking partitions away and granting them.
pub(super) fn leader_cut_during_a_rebalance(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let leader = group.leader()?;
    let begun = now_ms();
    let joined = group.join()?;
    group.until("a handoff on its way", group.bound(), |group| {
        group.told(begun, |number, line| {
            let revokes = line.number("revoked").unwrap_or(0) > 0;
            number == leader && line.event == "committed" && revokes
        }) > 0
    })?;
    let since = now_ms();
    group.cut(leader, &BOTH);
    let others = |group: &Group| {
        let living = group.living().into_iter().filter(|&n| n != leader);
        let owned: usize = living.map(|n| group.share(n)).sum();
        owned == 100 && group.is_covered() && group.share(joined) > 0
    };
    group.until("everything owned by the others", group.bound(), others)?;
    let took = now_ms() - since;
    group.figure("taken_over_ms", took);
    group.heal(leader);
    group.until_settled(group.bound())?;
    let limit = group.soon() + group.lease();
    ensure(took <= limit, || {
        format!("taken over after {took} ms, not {limit}")
    })
}

/// What a worker sends does not arrive; what it hears does. First a follower, then the leader.
pub(super) fn cut_towards_the_server(group: &mut Group) -> Step<()> {
    one_way(group, Direction::ToServer)
}

/// A worker hears nothing, but what it sends arrives. First a follower, then the leader.
pub(super) fn cut_towards_the_worker(group: &mut Group) -> Step<()> {
    one_way(group, Direction::ToClient)
}

fn one_way(group: &mut Group, direction: Direction) -> Step<()> {
    group.until_settled(group.soon())?;
    let victims = [group.follower()?, group.leader()?];
    let mut worst = 0;
    for victim in victims {
        let since = now_ms();
        group.cut(victim, &[direction]);
        worst = worst.max(group.until_taken_over(victim, since)?);
        let extra = group.dice(group.lease());
        group.stays("everything is owned", extra, Group::is_covered)?;
        group.heal(victim);
        group.until_settled(group.bound())?;
    }
    group.figure("slowest_takeover_ms", worst);
    // A renewal that still arrived begins the lease again.
    let limit = group.soon() + group.lease();
    ensure(worst <= limit, || {
        format!("a take-over took {worst} ms, not {limit}")
    })
}
