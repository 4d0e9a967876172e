//! What production does to a group that consumes a stream.
//!
//! It is separate from the verdict, which is the same for all of it. What always holds: after each fault
//! every partition goes on before the next one begins, and what was planned repeats nothing.

use std::time::Duration;

use parti_testing::rig::proxy::BOTH;
use serde_json::json;

use super::{STREAM, bench};
use crate::group::{Group, Step, ensure, words};
use crate::worker::now_ms;

/// How long a fail-over of the stream may take beyond what the group may.
const FAIL_OVER_MS: u64 = 20_000;

/// One server: everything that happens to workers, readers and the server, one after the other.
pub(crate) fn alone(group: &mut Group) -> Step<()> {
    began(group)?;
    step("a join and a SIGTERM", planned(group))?;
    step("readers deleted", readers_deleted(group))?;
    step("kill -9", killed(group))?;
    step("SIGSTOP", frozen(group))?;
    step("a cut", cut(group))?;
    step("the server killed", server_killed(group, 0))
}

/// Three servers: leaders that step down and die, beside a crash and a cut.
pub(crate) fn cluster(group: &mut Group) -> Step<()> {
    began(group)?;
    step("a join and a SIGTERM", planned(group))?;
    step("leaders that step down", steps_down(group))?;
    step("kill -9", killed(group))?;
    step("a cut", cut(group))?;
    let leader = group.cluster.wait_for_stream_leader(STREAM);
    let leader = leader.map_err(words("the stream's leader"))?;
    step("a server killed", server_killed(group, leader))?;
    step(
        "the end of the fail-over",
        group.until_settled(group.bound()).map(drop),
    )?;
    step("readers deleted", readers_deleted(group))
}

/// Names the step in what went wrong.
fn step(name: &str, ended: Step<()>) -> Step<()> {
    ended.map_err(words(name))
}

/// Everybody has a share, and every partition has had a message.
pub(super) fn began(group: &mut Group) -> Step<()> {
    group.until_settled(group.bound())?;
    goes_on(group)
}

/// Every partition gets messages, and its handler is done with them.
pub(super) fn goes_on(group: &Group) -> Step<()> {
    let consumption = group.consumption()?;
    let since = consumption.count();
    let limit = group.bound() + FAIL_OVER_MS;
    group.until("messages of every partition", limit, |_| {
        consumption.flows(since)
    })?;
    Ok(())
}

/// What nobody need repeat, does not.
fn once(group: &Group, since: usize, what: &str) -> Step<()> {
    let repeats = group.consumption()?.repeats(since);
    ensure(repeats == 0, || {
        format!("{repeats} messages were handled again after {what}")
    })
}

/// One joins, and leaves on SIGTERM.
fn planned(group: &mut Group) -> Step<()> {
    let since = group.consumption()?.count();
    let longest = bench::join_and_leave(group)?.into_iter().max();
    group.figure("move_gap_ms", longest.unwrap_or_default() / 1000);
    once(group, since, "a join and a SIGTERM")
}

/// An operator deletes every reader.
fn readers_deleted(group: &Group) -> Step<()> {
    let consumption = group.consumption()?;
    if consumption.stream.retention == "interest" {
        // It loses what waits, and is reported: see the guarantees.
        return Ok(());
    }
    let since = consumption.count();
    let names = consumption.ask(&format!("CONSUMER.NAMES.{STREAM}"), &json!({}))?;
    for name in names["consumers"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        // One that was replaced just now is gone.
        drop(consumption.ask(&format!("CONSUMER.DELETE.{STREAM}.{name}"), &json!({})));
    }
    goes_on(group)?;
    once(group, since, "the deletion of the readers")
}

fn killed(group: &mut Group) -> Step<()> {
    let took = bench::kill(group)?;
    group.figure("killed_ms", took / 1000);
    goes_on(group)?;
    group.until_settled(group.bound())?;
    Ok(())
}

/// A process stands still until others have what it had, and comes back.
fn frozen(group: &mut Group) -> Step<()> {
    let victim = group.follower()?;
    let since = now_ms();
    group.pause(victim)?;
    group.until_taken_over(victim, since)?;
    goes_on(group)?;
    let since = now_ms();
    group.resume(victim)?;
    group.until("it takes part again", group.bound(), |group| {
        group.told(since, |number, line| {
            number == victim && line.event == "claimed"
        }) > 0
    })?;
    group.until_settled(group.bound())?;
    goes_on(group)
}

/// The network to the servers is cut for one that can still reach the sink.
fn cut(group: &mut Group) -> Step<()> {
    let victim = group.follower()?;
    let since = now_ms();
    group.cut(victim, &BOTH);
    group.until_taken_over(victim, since)?;
    goes_on(group)?;
    group.heal(victim);
    group.until_settled(group.bound())?;
    goes_on(group)
}

/// `STREAM.LEADER.STEPDOWN` of the messages and of the cursors.
fn steps_down(group: &Group) -> Step<()> {
    let consumption = group.consumption()?;
    let since = consumption.count();
    for stream in [STREAM, "KV_parti_cursors_ORDERS"] {
        if consumption.stream.replicas > 1 {
            consumption.ask(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &json!({}))?;
        }
        goes_on(group)?;
    }
    once(group, since, "leaders that stepped down")
}

/// A server is killed and comes back on its data. Where handled messages are removed the publisher waits: a
/// server forgets with them which IDs it has seen.
fn server_killed(group: &mut Group, node: usize) -> Step<()> {
    let consumption = group.consumption()?;
    let is_removed = consumption.stream.retention != "limits";
    let held = is_removed.then(|| consumption.hold());
    let server = group.cluster.node(node);
    server.kill().map_err(words("the server's death"))?;
    if group.servers() > 1 {
        std::thread::sleep(Duration::from_secs(1));
    }
    let server = group.cluster.node(node);
    server.restart().map_err(words("the server"))?;
    group
        .cluster
        .wait_until_whole()
        .map_err(words("the servers"))?;
    drop(held);
    goes_on(group)
}
