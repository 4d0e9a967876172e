//! A group under test: servers, a proxy before each worker, and the worker processes.
//!
//! It is separate from the scenarios because they are to read as what happens and what must hold.
//! What always holds: nothing waits without a bound, and what did not come in time is named
//! together with what there was instead.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerOptions;
use parti_testing::rig::proxy::{BOTH, Direction, Link, Proxy};
use parti_testing::rig::worker_logs::{Life, Line, gaps, takeover_since};

use super::consumption::{Consumption, STREAM};
use super::worker::{ProcessState, Worker, now_ms};

mod bucket;
mod setup;

pub(super) use setup::{Ask, Mode, SCALED, Setup, Timing};

/// What a step of a scenario comes to; the reason in words.
pub(super) type Step<T> = Result<T, String>;

/// What a busy machine may add to any bound.
pub(super) const SLACK_MS: u64 = 2_500;
/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The group's name; each scenario has servers of its own.
pub(super) const GROUP: &str = "demo";
/// How long a worker that was asked to end may take.
const EXIT_MAX: Duration = Duration::from_secs(30);

/// Worker processes on servers of their own.
pub(super) struct Group {
    ask: Ask,
    setup: Setup,
    pub(super) cluster: NatsCluster,
    proxies: Vec<Vec<Proxy>>,
    workers: Vec<Worker>,
    /// What is consumed, where it is.
    stream: Option<Consumption>,
    dice: u64,
    figures: Vec<(&'static str, u64)>,
}

impl Group {
    /// Starts the servers and the workers, and waits until every partition has its owner.
    pub(super) fn start(ask: Ask, setup: Setup) -> Step<Self> {
        std::fs::create_dir_all(&ask.folder).map_err(words("the folder of the histories"))?;
        let options = ServerOptions::default().program(&ask.server);
        let cluster = NatsCluster::start(setup.nodes, &options).map_err(words("the servers"))?;
        let dice = ask.seed;
        let stream = setup.stream;
        let stream = stream.map(|stream| Consumption::start(&cluster.url(), stream, &setup));
        let stream = stream.transpose()?;
        let mut group = Self {
            ask,
            setup,
            cluster,
            proxies: Vec::new(),
            workers: Vec::new(),
            stream,
            dice,
            figures: Vec::new(),
        };
        for workers in setup.shared {
            let number = group.join_many(*workers)?;
            // The first one leads before the others come.
            group.until("claimed", 60_000, |group| {
                group.look(number, |life| life.count("claimed")) >= *workers
            })?;
        }
        let own = if setup.shared.is_empty() {
            setup.workers
        } else {
            0
        };
        for _ in 0..own {
            group.join()?;
        }
        let started = now_ms();
        group.until("a first owner for everything", 30_000, Self::is_covered)?;
        group.figure("first_ms", now_ms() - started);
        // By interest, what is published before somebody consumes is not stored.
        if let Some(stream) = &mut group.stream {
            stream.publish();
        }
        Ok(group)
    }

    pub(super) const fn seed(&self) -> u64 {
        self.ask.seed
    }

    pub(super) const fn is_full(&self) -> bool {
        self.ask.full
    }

    pub(super) const fn heartbeat(&self) -> u64 {
        self.setup.timing.heartbeat
    }

    pub(super) const fn lease(&self) -> u64 {
        self.setup.timing.lease
    }

    /// One lease, and what a busy machine adds: within it a crash is repaired.
    pub(super) const fn soon(&self) -> u64 {
        self.setup.timing.lease + SLACK_MS
    }

    /// The bound that the configuration gives for every fault.
    pub(super) fn bound(&self) -> u64 {
        let told = |worker: &Worker| {
            let life = worker.life();
            let line = life.lines.iter().find(|line| line.event == "configured");
            line.and_then(|line| line.number("bound_ms"))
        };
        self.workers.iter().find_map(told).unwrap_or(0) + SLACK_MS
    }

    pub(super) fn mode(&self) -> Mode {
        self.setup.mode.unwrap_or(self.ask.mode)
    }

    /// A number below a bound that follows from the seed.
    pub(super) const fn dice(&mut self, bound: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn figure(&mut self, name: &'static str, value: u64) {
        self.figures.push((name, value));
    }

    pub(super) fn figures(&self) -> &[(&'static str, u64)] {
        &self.figures
    }

    /// Starts one more worker; its number.
    pub(super) fn join(&mut self) -> Step<usize> {
        self.join_many(1)
    }

    /// Starts one more process with so many workers in it; its number.
    pub(super) fn join_many(&mut self, workers: usize) -> Step<usize> {
        let number = self.workers.len();
        let (proxies, url) = self.way_to_the_store(number)?;
        let mut command = Command::new(&self.ask.worker);
        command.args(["--json", "--group", GROUP, "--nats", &url]);
        let setup = &self.setup;
        let mut option = |name: &str, value: String| {
            command.args([name, &value]);
        };
        option("--partitions", setup.partitions.to_string());
        option("--expected", setup.workers.to_string());
        option("--mode", self.mode().name().to_owned());
        option("--strategy", setup.strategy.to_owned());
        option("--drain-ms", setup.drain.to_string());
        option("--warmup-ms", setup.warmup.to_string());
        option("--replicas", setup.nodes.to_string());
        if !setup.shared.is_empty() {
            option("--workers", workers.to_string());
            option("--pool", "1000".to_owned());
            // Two hundred threads that look at guards would be most of the load.
            option("--look-ms", "0".to_owned());
        }
        for (name, value) in setup.timing.settings() {
            option("--set", format!("{name}={value}"));
        }
        if let Some(stream) = &self.stream {
            option("--stream", STREAM.to_owned());
            option("--sink", stream.sink().to_string());
        }
        if self.mode() == Mode::Fenced {
            option("--set", format!("probe_interval={}", setup.probes));
        }
        if let Some(hold) = setup.hold {
            option("--hold-ms", hold.to_string());
        }
        command.env("RUST_LOG", "parti=debug,async_nats=info");
        let name = format!("worker-process-{number:02}");
        let worker = Worker::start(&mut command, &self.ask.folder, &name);
        self.workers
            .push(worker.map_err(words("a worker process"))?);
        self.proxies.push(proxies);
        Ok(number)
    }

    /// A proxy for each server, or none where many workers share a process.
    fn way_to_the_store(&self, number: usize) -> Step<(Vec<Proxy>, String)> {
        if !self.setup.shared.is_empty() {
            return Ok((Vec::new(), self.cluster.url()));
        }
        let seed = self.ask.seed.wrapping_add(number as u64);
        let addresses = self.cluster.addresses().into_iter();
        let proxies = addresses.map(|address| Proxy::start(address, seed));
        let proxies: Result<Vec<_>, _> = proxies.collect();
        let proxies = proxies.map_err(words("a proxy"))?;
        let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
        Ok((proxies, urls.join(",")))
    }

    /// Everybody who runs and is meant to.
    pub(super) fn living(&self) -> Vec<usize> {
        let workers = self.workers.iter().enumerate();
        let living = workers.filter(|(_, worker)| worker.standing == ProcessState::Running);
        living.map(|(number, _)| number).collect()
    }

    pub(super) fn leaders(&self) -> Vec<usize> {
        let leads = |number: &usize| self.workers[*number].life().leads();
        self.living().into_iter().filter(leads).collect()
    }

    /// The numbers that the system has for the processes that run.
    pub(super) fn pids(&self) -> Vec<u32> {
        let living = self.living().into_iter();
        living.map(|number| self.workers[number].pid()).collect()
    }

    /// The one leader, once there is one.
    pub(super) fn leader(&self) -> Step<usize> {
        let bound = self.bound();
        self.until("one leader", bound, |group| group.leaders().len() == 1)?;
        let leader = self.leaders().first().copied();
        leader.ok_or_else(|| "the leader is gone".to_owned())
    }

    /// Someone who does not lead, as the seed has it.
    pub(super) fn follower(&mut self) -> Step<usize> {
        let leader = self.leader()?;
        let followers = self.living().into_iter().filter(|&n| n != leader);
        let followers: Vec<usize> = followers.collect();
        let choice = self.dice(followers.len().max(1) as u64) as usize;
        let follower = followers.get(choice).copied();
        follower.ok_or_else(|| "nobody follows".to_owned())
    }

    pub(super) fn kill(&mut self, number: usize) -> Step<()> {
        self.workers[number].kill().map_err(words("kill -9"))
    }

    pub(super) fn terminate(&mut self, number: usize) -> Step<()> {
        self.workers[number].terminate().map_err(words("SIGTERM"))
    }

    /// Waits for a process that was asked to end.
    pub(super) fn wait_exit(&mut self, number: usize) -> Step<()> {
        self.wait_exit_of(number, 1)
    }

    /// The same for a process of so many workers.
    pub(super) fn wait_exit_of(&mut self, number: usize, workers: usize) -> Step<()> {
        let stopped = |group: &Self| group.workers[number].life().count("stopped") >= workers;
        let limit = u64::try_from(EXIT_MAX.as_millis()).unwrap_or(u64::MAX);
        self.until("the end of a worker", limit, stopped)?;
        let status = self.workers[number].wait().map_err(words("its end"))?;
        ensure(status.success(), || format!("worker {number}: {status}"))
    }

    pub(super) fn pause(&self, number: usize) -> Step<()> {
        self.workers[number].pause().map_err(words("SIGSTOP"))
    }

    /// How many of a group can be lost one after the other, and each is evicted because it does not answer:
    /// a quarter of those that are left.
    pub(super) fn budget(&self) -> usize {
        (self.setup.workers / 5).max(1)
    }

    pub(super) fn is_paused(&self, number: usize) -> bool {
        self.look(number, |life| life.paused_at_ms.is_some())
    }

    pub(super) fn resume(&self, number: usize) -> Step<()> {
        self.workers[number].resume().map_err(words("SIGCONT"))
    }

    /// Holds what a worker sends, hears, or both.
    pub(super) fn cut(&self, number: usize, directions: &[Direction]) {
        for proxy in &self.proxies[number] {
            directions.iter().for_each(|way| proxy.hold(*way));
        }
    }

    /// Connects a worker to this server, whichever of its addresses it tries.
    pub(super) fn attach(&self, number: usize, node: usize) -> Step<()> {
        let address = self.cluster.addresses().get(node).copied();
        let address = address.ok_or_else(|| format!("there is no server {node}"))?;
        for proxy in &self.proxies[number] {
            proxy.set_server(address);
            proxy.reset();
        }
        Ok(())
    }

    pub(super) fn slow(&self, number: usize, link: Link) {
        for proxy in &self.proxies[number] {
            BOTH.iter().for_each(|way| proxy.set_link(*way, link));
        }
    }

    /// Ends what `cut` and `slow` began; what was held arrives now.
    pub(super) fn heal(&self, number: usize) {
        self.slow(number, Link::default());
        self.proxies[number].iter().for_each(Proxy::heal);
    }

    /// What a process has written, and a look at it.
    pub(super) fn look<T>(&self, number: usize, at: impl FnOnce(&Life) -> T) -> T {
        at(&self.workers[number].life())
    }

    pub(super) fn share(&self, number: usize) -> usize {
        self.look(number, Life::share)
    }

    pub(super) fn shares(&self) -> Vec<usize> {
        let shares = self.workers.iter().map(|worker| worker.life().share());
        shares.collect()
    }

    /// Whether a line since then says something.
    pub(super) fn told(&self, since_ms: u64, what: impl Fn(usize, &Line) -> bool) -> usize {
        let told = |(number, worker): (usize, &Worker)| {
            let life = worker.life();
            let late = life.lines.iter().rev();
            let late = late.take_while(|line| line.at_ms >= since_ms);
            late.filter(|line| what(number, line)).count()
        };
        self.workers.iter().enumerate().map(told).sum()
    }

    /// How often an event was told of since then.
    pub(super) fn events(&self, since_ms: u64, event: &str) -> usize {
        self.told(since_ms, |_, line| line.event == event)
    }

    /// When any process last told of an event.
    pub(super) fn latest(&self, event: &str) -> u64 {
        let last = self.workers.iter().map(|worker| worker.life().last(event));
        last.flatten().max().unwrap_or(0)
    }

    /// Who owns each partition, by worker ID.
    pub(super) fn owners(&self) -> BTreeMap<String, String> {
        let owned = self.workers.iter().map(|worker| worker.life().owned());
        let owned = owned.flatten();
        owned
            .map(|(partition, owned)| (partition, owned.worker))
            .collect()
    }

    /// Every partition has an owner that runs, and in exclusive mode no second one.
    pub(super) fn is_covered(&self) -> bool {
        let sum: usize = self.shares().iter().sum();
        let twice = sum > self.setup.partitions && self.mode() == Mode::Exclusive;
        self.owners().len() == self.setup.partitions && !twice
    }

    /// Everything is owned, and evenly by all who run.
    pub(super) fn is_even(&self) -> bool {
        let shares: Vec<usize> = self.living().iter().map(|&n| self.share(n)).collect();
        let (least, most) = (shares.iter().min(), shares.iter().max());
        let even = least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= 1);
        even && shares.iter().sum::<usize>() == self.setup.partitions && self.is_covered()
    }

    /// Waits for a condition; how long it took.
    pub(super) fn until(
        &self,
        what: &str,
        limit_ms: u64,
        reached: impl Fn(&Self) -> bool,
    ) -> Step<u64> {
        let begun = Instant::now();
        loop {
            if reached(self) {
                return Ok(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
            if let Some(missing) = self.workers.iter().position(Worker::is_missing) {
                return Err(format!("worker process {missing} ended by itself"));
            }
            if begun.elapsed() > Duration::from_millis(limit_ms) {
                let shares = self.shares();
                let leaders = self.leaders();
                return Err(format!(
                    "not within {limit_ms} ms: {what}; shares {shares:?}, leaders {leaders:?}"
                ));
            }
            sleep(LOOK);
        }
    }

    /// Waits until everything is owned, evenly, and one leads.
    pub(super) fn until_settled(&self, limit_ms: u64) -> Step<u64> {
        self.until("an even share for all and one leader", limit_ms, |group| {
            group.is_even() && group.leaders().len() == 1
        })
    }

    /// Watches that a condition holds for a time.
    pub(super) fn stays(
        &self,
        what: &str,
        time_ms: u64,
        holds: impl Fn(&Self) -> bool,
    ) -> Step<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(time_ms) {
            let spent = begun.elapsed().as_millis();
            ensure(holds(self), || {
                format!(
                    "after {spent} ms no more: {what}; shares {:?}",
                    self.shares()
                )
            })?;
            sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until others own what a process owned at a moment; how long that was in all.
    pub(super) fn until_taken_over(&self, number: usize, since_ms: u64) -> Step<u64> {
        let lost: Vec<String> = self.look(number, |life| {
            let mut owned = Life::default();
            let before = life.lines.iter().filter(|line| line.at_ms <= since_ms);
            before.for_each(|line| owned.push(line.clone()));
            owned.owned().into_keys().collect()
        });
        self.until("what it had, owned by others", self.bound(), |group| {
            let others = (0..group.workers.len()).filter(|&other| other != number);
            let mut owned: Vec<String> = Vec::new();
            others.for_each(|other| owned.extend(group.look(other, Life::owned).into_keys()));
            owned.sort();
            lost.iter().all(|one| owned.binary_search(one).is_ok())
        })?;
        let took = takeover_since(&self.lives(), number, since_ms);
        took.ok_or_else(|| format!("worker process {number} owned nothing"))
    }

    /// How long each partition had no owner between two that it had since then, the longest last.
    pub(super) fn gaps(&self, since_ms: u64) -> Vec<u64> {
        gaps(&self.lives(), since_ms)
    }

    /// How many workers it began with.
    pub(super) const fn workers(&self) -> usize {
        self.setup.workers
    }

    /// How often a process is asked whether it runs, if it is.
    pub(super) fn probes(&self) -> Option<u64> {
        (self.mode() == Mode::Fenced).then_some(self.setup.probes)
    }

    pub(super) const fn warmup(&self) -> u64 {
        self.setup.warmup
    }

    fn lives(&self) -> Vec<Life> {
        let lives = self.workers.iter().map(|worker| worker.life().clone());
        lives.collect()
    }
}

/// The share of partitions that are where they were, in per cent.
pub(super) fn affinity(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> u64 {
    let same = before
        .iter()
        .filter(|(key, owner)| after.get(*key) == Some(owner));
    (same.count() * 100 / before.len().max(1)) as u64
}

/// A claim, with what there was instead.
pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Step<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Turns an error into a reason.
pub(super) fn words<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
