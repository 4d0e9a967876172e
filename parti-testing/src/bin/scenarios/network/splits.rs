//! A cluster of servers that falls into two sides, each with its workers.
//!
//! It is separate from cuts of single workers because here both sides have a server that answers:
//! the smaller side goes on being readable, and its clients see nothing but missing acknowledgements.

use crate::group::{Group, Step, ensure, words};
use crate::worker::now_ms;

const STREAM: &str = "KV_parti_demo";
/// How long the larger side may take, once it can write, until watches can be set up again: that needs
/// the leader of the cluster, which is elected by itself.
const FAIL_OVER_MS: u64 = 10_000;
/// How long the smaller side may take to catch up, beside what the group then needs.
const CATCH_UP_MS: u64 = 10_000;

/// The single server on the smaller side follows the bucket's stream.
pub(crate) fn a_follower_split_off(group: &mut Group) -> Step<()> {
    placed(group, false)
}

/// It leads the stream, and does not know for a time that it cannot.
pub(crate) fn the_leader_split_off(group: &mut Group) -> Step<()> {
    placed(group, true)
}

/// With the group's leader on the smaller side, or with followers only, as the seed has it.
fn placed(group: &mut Group, with_stream_leader: bool) -> Step<()> {
    group.until_settled(group.soon())?;
    let leads = group.cluster.wait_for_stream_leader(STREAM);
    let leads = leads.map_err(words("the stream's leader"))?;
    let alone = if with_stream_leader {
        leads
    } else {
        (leads + 1) % 3
    };
    let small = smaller_side(group, group.seed() % 2 == 1)?;
    split(group, alone, &small)
}

/// Two of the workers.
fn smaller_side(group: &mut Group, with_leader: bool) -> Step<Vec<usize>> {
    let leader = group.leader()?;
    let mut followers = group.living();
    followers.retain(|&worker| worker != leader);
    let choice = group.dice(followers.len() as u64) as usize;
    let one = followers.swap_remove(choice);
    let other = if with_leader { leader } else { followers[0] };
    Ok(vec![one, other])
}

fn split(group: &mut Group, alone: usize, small: &[usize]) -> Step<()> {
    let others: Vec<usize> = (0..3).filter(|&node| node != alone).collect();
    let living = group.living();
    for (number, worker) in living.iter().enumerate() {
        let far = others[number % 2];
        group.attach(*worker, if small.contains(worker) { alone } else { far })?;
    }
    // Where each is connected now changes nothing.
    let before = group.owners();
    group.stays("nothing moves", group.lease() / 2, |group| {
        group.owners() == before
    })?;

    let since = now_ms();
    group.cluster.split(&[alone]);
    let elected = group.cluster.wait_for_stream_leader_among(STREAM, &others);
    elected.map_err(words("a leader on the larger side"))?;
    let elected = now_ms();
    group.figure("stream_leader_ms", elected - since);
    let gone = |group: &Group| small.iter().all(|&worker| group.share(worker) == 0);
    let left = (since + group.soon()).saturating_sub(now_ms());
    group.until("the smaller side stopped", left, gone)?;
    group.figure("stopped_ms", now_ms() - since);
    let all_of = |group: &Group| {
        let large = group.living().into_iter().filter(|n| !small.contains(n));
        large.map(|n| group.share(n)).sum::<usize>() == 100 && group.is_covered()
    };
    let limit = group.soon() + group.lease() + FAIL_OVER_MS;
    let left = (elected + limit).saturating_sub(now_ms());
    group.until("everything owned by the larger side", left, all_of)?;
    group.figure("taken_over_ms", now_ms() - since);
    is_cut(group, alone, &others)?;
    let extra = group.dice(group.lease() / 2);
    group.stays("everything is owned", extra, all_of)?;

    let healed = now_ms();
    group.cluster.heal();
    let whole = group.cluster.wait_until_whole();
    whole.map_err(words("the cluster"))?;
    group.figure("whole_ms", now_ms() - healed);
    group.until_settled(group.bound())?;
    let took = now_ms() - healed;
    group.figure("healed_ms", took);
    let limit = group.soon() + group.lease() + CATCH_UP_MS;
    ensure(took <= limit, || {
        format!("settled {took} ms after the heal, not {limit}")
    })
}

/// That the split is one: the server alone knows less than the others, who go on writing.
fn is_cut(group: &Group, alone: usize, others: &[usize]) -> Step<()> {
    let last = |node: usize| group.cluster.last_sequence(node, STREAM).unwrap_or(0);
    let (behind, ahead) = (last(alone), last(others[0]).max(last(others[1])));
    ensure(behind < ahead, || {
        format!("the server alone is at {behind}, the others at {ahead}: they are not split")
    })
}
