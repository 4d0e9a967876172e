//! Two hundred workers and ten thousand partitions on one server: figures, with wide bounds only.
//!
//! It is separate because it measures more than it judges, and because its workers share
//! processes. The figures of the Go library beside it are those of fifty workers and a thousand
//! partitions with its defaults.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::group::{Group, Step, affinity, ensure};
use super::worker::now_ms;

/// How long the group is left alone to see what that costs.
const IDLE: Duration = Duration::from_secs(10);
/// Ticks of the system's account of processor time, in a second.
const TICKS: u64 = 100;

/// A cold start, an idle time, one more worker, its crash, the leader's crash, a rolling update.
pub(super) fn scale(group: &mut Group) -> Step<()> {
    let assigned = group
        .latest("assigned")
        .saturating_sub(group.latest("claimed"));
    group.figure("cold_start_ms", assigned);
    idle(group)?;
    let bound = group.bound();

    let joined = group.join()?;
    group.until("a share for one more", bound, |group| {
        group.share(joined) > 0 && group.is_covered()
    })?;
    let claimed = group.look(joined, |life| life.last("claimed")).unwrap_or(0);
    group.figure("join_ms", group.latest("assigned").saturating_sub(claimed));

    let since = now_ms();
    group.kill(joined)?;
    group.until("what the crashed had", bound, Group::is_covered)?;
    group.figure("crash_ms", group.latest("assigned").saturating_sub(since));

    let leader = group.leader()?;
    ensure(leader == 0, || {
        format!("{leader} leads and not the first process")
    })?;
    let since = now_ms();
    group.kill(leader)?;
    group.until("what the leader had", bound, Group::is_covered)?;
    group.figure(
        "leader_crash_ms",
        group.latest("assigned").saturating_sub(since),
    );
    group.leader()?;
    update(group)?;
    show(group);
    Ok(())
}

/// What an idle group costs the server.
fn idle(group: &mut Group) -> Step<()> {
    // The last acknowledgements are not idling.
    sleep(Duration::from_secs(3));
    let look = |group: &mut Group| {
        let page = group.cluster.page(0, "/varz");
        let page = page.ok_or_else(|| "the server shows nothing".to_owned())?;
        let count = |name: &str| page[name].as_u64().unwrap_or(0);
        let ticks = group.cluster.node(0).pid().and_then(ticks).unwrap_or(0);
        Ok::<_, String>((count("in_msgs"), count("out_msgs"), ticks))
    };
    let (sent, heard, ticks) = look(group)?;
    sleep(IDLE);
    let (sent_now, heard_now, ticks_now) = look(group)?;
    let (seconds, workers) = (IDLE.as_secs(), 200);
    let requests = (sent_now - sent) * 1000 / seconds / workers;
    group.figure("idle_requests_per_1000_worker_seconds", requests);
    group.figure("idle_messages_out_per_s", (heard_now - heard) / seconds);
    let percent = (ticks_now - ticks) * 1000 / TICKS / seconds;
    group.figure("idle_server_cpu_permille_of_a_core", percent);
    ensure(requests > 300, || {
        format!("not counted: {requests} per 1000 worker seconds")
    })?;
    ensure(requests < 900, || {
        format!("{requests} requests per 1000 worker seconds")
    })
}

/// Fifty workers are replaced while their seats are held.
fn update(group: &mut Group) -> Step<()> {
    let (before, since) = (group.owners(), now_ms());
    let last = group.living().last().copied().unwrap_or(0);
    group.terminate(last)?;
    group.wait_exit_of(last, 50)?;
    let next = group.join_many(50)?;
    let share = before.len() / 6;
    group.until("the shares of the replaced", group.bound(), |group| {
        group.share(next) > share && group.is_covered()
    })?;
    group.figure("update_of_50_ms", now_ms() - since);
    let kept = affinity(&before, &group.owners());
    group.figure("affinity_percent", kept);
    ensure(kept == 100, || format!("only {kept} % stayed"))
}

/// Processor time of a process, where the system tells it.
fn ticks(pid: u32) -> Option<u64> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// The figures beside those of the Go library.
fn show(group: &Group) {
    let go = |name: &str| match name {
        "cold_start_ms" => "630 to 10 200 (5 to 50 workers)",
        "join_ms" => "105 to 225",
        "crash_ms" => "7 500 to 11 000",
        "leader_crash_ms" => "4 500 to 15 000, up to 35 000",
        "idle_requests_per_1000_worker_seconds" => "1 800, the leader 18 000",
        "idle_messages_out_per_s" => "425 to the leader alone",
        "idle_server_cpu_permille_of_a_core" => "20 to 40 (50 workers)",
        _ => "-",
    };
    for (name, value) in group.figures() {
        eprintln!("        {name:<40} {value:>8}   Go: {}", go(name));
    }
}
