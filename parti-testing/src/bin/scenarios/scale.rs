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
/// As the catalogue has it.
const WORKERS: u64 = 200;

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

/// What was sent, and what processor time was used, up to a moment.
struct Spent {
    sent: u64,
    heard: u64,
    server_ticks: u64,
    worker_ticks: u64,
}

/// What an idle group costs.
fn idle(group: &mut Group) -> Step<()> {
    // The last acknowledgements are not idling.
    sleep(Duration::from_secs(3));
    let before = spent(group)?;
    sleep(IDLE);
    let after = spent(group)?;
    let seconds = IDLE.as_secs();
    let requests = (after.sent - before.sent) * 1000 / seconds / WORKERS;
    group.figure("idle_requests_per_1000_worker_seconds", requests);
    let heard = (after.heard - before.heard) / seconds;
    group.figure("idle_messages_out_per_s", heard);
    let server = (after.server_ticks - before.server_ticks) * 1000 / TICKS / seconds;
    group.figure("idle_server_cpu_permille_of_a_core", server);
    // A tick is ten milliseconds; all workers together use many of them.
    let own = (after.worker_ticks - before.worker_ticks) * 1_000_000 / TICKS / seconds / WORKERS;
    group.figure("idle_cpu_microseconds_per_worker_second", own);
    memory(group)?;
    ensure(requests > 300 && own > 0 && server > 0, || {
        format!("not counted: {requests} per 1000 worker seconds, {own} µs, {server} permille")
    })?;
    ensure(requests < 900, || {
        format!("{requests} requests per 1000 worker seconds")
    })
}

/// What it costs a group that each of its processes is asked whether it runs.
pub(super) fn probe_cost(group: &mut Group) -> Step<()> {
    sleep(Duration::from_secs(3));
    let before = spent(group)?;
    sleep(IDLE);
    let after = spent(group)?;
    let seconds = IDLE.as_secs();
    let messages = (after.sent - before.sent) / seconds;
    group.figure("messages_per_s", messages);
    let permille = |ticks: u64| ticks * 1000 / TICKS / seconds;
    let server = permille(after.server_ticks - before.server_ticks);
    group.figure("server_cpu_permille_of_a_core", server);
    let workers = permille(after.worker_ticks - before.worker_ticks);
    group.figure("all_workers_cpu_permille_of_a_core", workers);
    // The leader asks everybody; a question and its answer are two messages, and half of that is enough here.
    let asked = |probes: u64| group.workers() as u64 * 1000 / probes;
    let least = group.probes().map_or(0, asked);
    ensure(messages >= least, || {
        format!("{messages} messages a second, and not {least}: not everybody was asked")
    })
}

fn spent(group: &mut Group) -> Step<Spent> {
    let page = group.cluster.page(0, "/varz");
    let page = page.ok_or_else(|| "the server shows nothing".to_owned())?;
    let count = |name: &str| page[name].as_u64().unwrap_or(0);
    let server = group.cluster.node(0).pid();
    Ok(Spent {
        sent: count("in_msgs"),
        heard: count("out_msgs"),
        server_ticks: server.and_then(ticks).unwrap_or(0),
        worker_ticks: group.pids().into_iter().filter_map(ticks).sum(),
    })
}

/// What is in memory: of all workers, shared evenly, their programs included; and of the server.
fn memory(group: &mut Group) -> Step<()> {
    let workers: u64 = group.pids().into_iter().filter_map(resident_kib).sum();
    let server = group.cluster.node(0).pid().and_then(resident_kib);
    group.figure("rss_kib_per_worker", workers / WORKERS);
    // The first process is the leader alone, each of the last ones fifty others.
    let each: Vec<u64> = group.pids().into_iter().filter_map(resident_kib).collect();
    group.figure("rss_kib_leader_process", each.first().copied().unwrap_or(0));
    group.figure("rss_kib_process_of_50", each.last().copied().unwrap_or(0));
    group.figure("server_rss_kib", server.unwrap_or(0));
    ensure(workers > 0 && server.is_some(), || {
        "the system tells nothing of memory".to_owned()
    })
}

/// Fifty workers are replaced while their slots are held.
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

/// What of a process is in memory, where the system tells it.
fn resident_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
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
        "rss_kib_per_worker" => "200 for each further one in a process",
        _ => "-",
    };
    for (name, value) in group.figures() {
        eprintln!("        {name:<40} {value:>8}   Go: {}", go(name));
    }
}
