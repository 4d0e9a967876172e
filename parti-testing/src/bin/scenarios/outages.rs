//! Processes and servers that stand still or are killed and come back.

use super::external_writes::delete_bucket;
use super::group::{Group, Step, ensure, words};
use super::worker::now_ms;

/// How long an outage of the full set lasts beyond the leases, in milliseconds.
const A_MINUTE: u64 = 60_000;

/// A process stands still for longer than its lease, first one that follows, then the leader.
pub(super) fn worker_paused(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let mut worst = 0;
    for victim in [group.follower()?, group.leader()?] {
        let since = now_ms();
        group.pause(victim)?;
        worst = worst.max(group.until_taken_over(victim, since)?);
        let extra = group.dice(group.lease());
        group.stays("everything is owned", extra, |group| {
            let others = group.living().into_iter().filter(|&n| n != victim);
            others.map(|n| group.share(n)).sum::<usize>() == 100
        })?;
        group.resume(victim)?;
        group.until("a new session", group.bound(), |group| {
            group.look(victim, |life| life.count("claimed")) == 2
        })?;
        group.until_settled(group.bound())?;
    }
    group.figure("slowest_takeover_ms", worst);
    let limit = group.soon();
    ensure(worst <= limit, || {
        format!("a take-over took {worst} ms, not {limit}")
    })
}

/// The server dies and comes back on its data: once soon, once after all leases are over.
pub(super) fn server_restarted(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let (since, before) = (now_ms(), group.owners());
    let server = group.cluster.node(0);
    server.kill().map_err(words("the server's death"))?;
    server.restart().map_err(words("the server"))?;
    group.stays("nothing moves", group.lease(), |group| {
        group.owners() == before
    })?;
    group.no_emergency(since)?;
    long_outage(
        group,
        |group| group.cluster.node(0).kill().map_err(words("its death")),
        |group| group.cluster.node(0).restart().map_err(words("the server")),
    )
}

/// The server stands still until all leases are over.
pub(super) fn server_paused(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    long_outage(
        group,
        |group| group.cluster.node(0).pause().map_err(words("SIGSTOP")),
        |group| group.cluster.node(0).resume().map_err(words("SIGCONT")),
    )
}

fn long_outage(
    group: &mut Group,
    stop: impl Fn(&mut Group) -> Step<()>,
    start: impl Fn(&mut Group) -> Step<()>,
) -> Step<()> {
    let (since, before) = (now_ms(), group.owners());
    stop(group)?;
    let took = group.until("nothing is relied on any more", group.soon(), |group| {
        group.shares().iter().sum::<usize>() == 0
    })?;
    group.figure("given_up_ms", took);
    let extra = if group.is_full() {
        A_MINUTE
    } else {
        group.dice(group.lease())
    };
    group.stays("nothing is owned", extra, |group| {
        group.shares().iter().sum::<usize>() == 0
    })?;
    start(group)?;
    let back = now_ms();
    group.until("the same owners", group.bound(), |group| {
        group.owners() == before
    })?;
    let took = now_ms() - back;
    group.figure("owned_again_ms", took);
    let claimed = group.events(since, "claimed");
    ensure(claimed == 0, || format!("{claimed} sessions are new"))?;
    let told = group.told(since, |_, line| {
        line.event == "committed" && line.number("evicted").unwrap_or(0) > 0
    });
    ensure(told == 0, || {
        "somebody was declared dead for the server's fault".to_owned()
    })?;
    let limit = group.soon() + group.lease();
    ensure(took <= limit, || {
        format!("owned again {took} ms after the outage, not {limit}")
    })
}

/// The server that leads the bucket's stream dies, and comes back after the fail-over.
pub(super) fn stream_leader_killed(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let stream = "KV_parti_demo";
    let (since, before) = (now_ms(), group.owners());
    let rounds = if group.is_full() { 3 } else { 1 };
    let mut slowest = 0;
    for _ in 0..rounds {
        let killed = now_ms();
        let leader = group.cluster.wait_for_stream_leader(stream);
        let leader = leader.map_err(words("the stream's leader"))?;
        group
            .cluster
            .node(leader)
            .kill()
            .map_err(words("its death"))?;
        let next = group.cluster.wait_for_stream_leader(stream);
        next.map_err(words("its successor"))?;
        slowest = slowest.max(now_ms() - killed);
        group
            .cluster
            .node(leader)
            .restart()
            .map_err(words("its return"))?;
        group.stays("nothing moves", group.lease(), |group| {
            group.owners() == before
        })?;
        group
            .cluster
            .wait_until_whole()
            .map_err(words("the cluster"))?;
    }
    group.figure("slowest_failover_ms", slowest);
    group.no_emergency(since)
}

/// The server's wall clock is set forward and back, by more than any lease, while a worker joins and
/// dies, while the server starts again, and while the bucket is lost.
pub(super) fn server_clock_steps(group: &mut Group) -> Step<()> {
    const HOUR: i64 = 3_600;
    group.until_settled(group.soon())?;
    let mut worst = 0;
    for step in [HOUR, -HOUR] {
        let (since, before) = (now_ms(), group.owners());
        set_clock(group, step)?;
        let calm = group.lease() * 3 / 2;
        group.stays("nothing moves", calm, |group| group.owners() == before)?;
        group.no_emergency(since)?;
        let rebalances = group.rebalances(since)?.len();
        ensure(rebalances == 0, || {
            format!("{rebalances} rebalances for a clock")
        })?;
        let joined = group.join()?;
        group.until_settled(group.soon())?;
        let since = now_ms();
        group.kill(joined)?;
        worst = worst.max(group.until_taken_over(joined, since)?);
        group.until_settled(group.soon())?;
    }
    group.figure("slowest_takeover_ms", worst);
    // The newest messages are an hour from now for the server that starts on them.
    set_clock(group, HOUR)?;
    group.stays("alive", group.lease() / 2, |_| true)?;
    let (since, before) = (now_ms(), group.owners());
    let again = group.cluster.node(0).restart();
    again.map_err(words("the server"))?;
    group.stays("nothing moves", group.lease(), |group| {
        group.owners() == before
    })?;
    group.no_emergency(since)?;
    // A new bucket says of itself that it is an hour old, or not created yet.
    let steps: &[i64] = if group.is_full() {
        &[-HOUR, HOUR]
    } else {
        &[HOUR]
    };
    for &step in steps {
        delete_bucket(group)?;
        let since = now_ms();
        set_clock(group, step)?;
        group.until("nothing relied on any more", group.soon(), |group| {
            group.events(since, "revoked") >= 100
        })?;
        group.until_settled(group.bound())?;
        group.figure("owned_again_ms", now_ms() - since);
    }
    let limit = group.soon();
    ensure(worst <= limit, || {
        format!("a take-over took {worst} ms, not {limit}")
    })
}

/// Sets it, and sees that the server has another time than before.
fn set_clock(group: &mut Group, step: i64) -> Step<()> {
    let told = |group: &Group| {
        let page = group.cluster.page(0, "/varz");
        // The day and the hour.
        page.and_then(|page| Some(page["now"].as_str()?.get(..13)?.to_owned()))
    };
    let before = told(group);
    let set = group.cluster.node(0).set_clock(step);
    set.map_err(words("the server's clock"))?;
    let after = told(group);
    ensure(after.is_some() && before != after, || {
        format!("the clock of the server is not set: {before:?}, {after:?}")
    })
}
