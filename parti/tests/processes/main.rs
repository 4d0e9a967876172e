//! Real processes on a real nats-server or on one file: joins, `kill -9`, the loss of the leader, SIGTERM,
//! and what an idle group costs. The histories that the processes wrote are checked against each other.

#[cfg(feature = "sqlite")]
mod file;
mod idle;
mod losses;
mod strain;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::process::OwnProcess;
use parti_testing::rig::worker_logs::{Life, Line, judge, shares, takeover_ms};
use strain::Strain;

const PARTITIONS: usize = 100;
/// How long anything may take that has no bound of its own.
const LIMIT: Duration = Duration::from_secs(120);

/// The life of a group on real processes: nothing of it may depend on sharing one.
#[test]
fn five_processes_share_survive_kills_and_leave_cleanly() {
    let strain = Strain::begin();
    let mut group = Group::start("fast", 5);
    group.until("an even share", |lives| {
        shares_are(lives, &[20, 20, 20, 20, 20])
    });

    let lives = group.lives();
    let mut ids: Vec<&str> = lives.iter().map(Life::claimed).collect();
    ids.sort_unstable();
    let dense = ["worker-0", "worker-1", "worker-2", "worker-3", "worker-4"];
    assert_eq!(ids, dense);

    group.join(5);
    group.until("a share for the sixth", |lives| shares(lives)[5] >= 16);

    let follower = group.position(|leads| !leads);
    group.kill(follower);
    group.until("its partitions again", |lives| {
        takeover_ms(lives, follower).is_some()
    });

    let leader = group.position(|leads| leads);
    group.kill(leader);
    group.until("the leader's, too", |lives| {
        takeover_ms(lives, leader).is_some()
    });
    group.until("everything", |lives| {
        shares(lives).iter().sum::<usize>() == PARTITIONS
    });

    let lives = group.lives();
    for dead in [follower, leader] {
        let took = takeover_ms(&lives, dead).expect("waited for");
        eprintln!("taken over after {took} ms");
        assert!(
            took <= strain.allows(1000 + 1000),
            "lease 1 s and a second more, but {took} ms, {strain}"
        );
    }
    for process in group.alive() {
        let status = group.terminate(process);
        assert!(status.success(), "SIGTERM is a clean end: {status}");
    }
    let lives = group.lives();
    assert_eq!(judge(&lives), []);
    for process in group.alive() {
        let last = lives[process].lines.last().map(|line| line.event.as_str());
        assert_eq!(last, Some("stopped"));
    }
}

/// Starting a whole deployment at once has left half of it without an assignment elsewhere.
#[test]
fn twenty_workers_that_start_at_once_all_own_their_share_within_a_second() {
    let strain = Strain::begin();
    let group = Group::start("default", 20);
    group.until("an even share", |lives| shares_are(lives, &[5; 20]));
    let lives = group.lives();
    let ids: BTreeSet<&str> = lives.iter().map(Life::claimed).collect();
    assert_eq!(ids.len(), 20, "{ids:?}");
    let last = |event: &str| lives.iter().filter_map(|life| life.last(event)).max();
    let (claimed, assigned) = (
        last("claimed").expect("told"),
        last("assigned").expect("told"),
    );
    let took = assigned.saturating_sub(claimed);
    eprintln!("the last share {took} ms after the last claim");
    assert!(took <= strain.allows(1000), "{took} ms, {strain}");
}

/// Crash after crash: the median take-over hardly takes longer than the lease.
#[test]
fn repeated_kills_are_taken_over_within_the_lease_and_a_little() {
    let strain = Strain::begin();
    let mut group = Group::start("fast", 6);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    let mut took = Vec::new();
    for round in 0..5 {
        group.until("everything owned", |lives| sum(lives) == PARTITIONS);
        let victim = group.position(|leads| leads == (round % 2 == 0));
        group.kill(victim);
        group.until("taken over", |lives| takeover_ms(lives, victim).is_some());
        took.push(takeover_ms(&group.lives(), victim).expect("waited for"));
        group.join(6 + round);
    }
    took.sort_unstable();
    eprintln!("taken over after {took:?} ms");
    assert!(
        took[2] <= strain.allows(1000 + 100),
        "median of {took:?} ms, lease 1000 ms, {strain}"
    );
    assert!(
        took[4] <= strain.allows(1000 + 1000),
        "worst of {took:?} ms, lease 1000 ms, {strain}"
    );
    let lives = group.lives();
    assert_eq!(judge(&lives), []);
}

/// A paused process cannot run a callback: it has to wake up as one that owns nothing.
#[test]
fn a_paused_process_loses_its_partitions_and_comes_back_as_a_new_session() {
    let group = Group::start("fast", 3);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    let follower = group.position(|leads| !leads);
    group.processes[follower].child.pause().expect("pauses");
    group.processes[follower].seen().paused_at_ms = Some(now_ms());
    group.until("taken over", |lives| takeover_ms(lives, follower).is_some());
    let before = group.lives()[follower].clone();
    group.processes[follower].child.resume().expect("goes on");
    group.until("its end is told", |lives| {
        lives[follower].count("revoked") >= before.count("assigned")
    });
    group.until("a new session", |lives| {
        lives[follower].count("claimed") > before.count("claimed")
    });
    group.until("a share again", |lives| shares(lives)[follower] >= 30);
    let lives = group.lives();
    assert_eq!(judge(&lives), []);
}

/// After a crash of its leader nobody decided anything for two heartbeats, although everybody could have
/// asked the process and would have been told that there is none.
#[test]
fn a_killed_leader_that_is_probed_is_replaced_long_before_its_renewal_is_missed() {
    let strain = Strain::begin();
    let probing = &["--set", "probe_interval=25"];
    let mut group = Group::start_with("default", 5, probing);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    // Every session has said that its process answers.
    thread::sleep(Duration::from_millis(500));
    let mut took = Vec::new();
    for _ in 0..2 {
        let leader = group.position(|leads| leads);
        group.kill(leader);
        let killed_at = group.lives()[leader].killed_at_ms;
        let next = |lives: &[Life]| {
            let gained = lives.iter().enumerate();
            let gained = gained.filter(|(process, _)| *process != leader);
            gained
                .filter_map(|(_, life)| life.first_after("leader", killed_at))
                .min()
        };
        group.until("another leads", |lives| next(lives).is_some());
        let after = next(&group.lives()).zip(killed_at);
        took.push(after.map_or(u64::MAX, |(at, killed)| at - killed));
        let leaders = |lives: &[Life]| lives.iter().filter(|life| life.leads()).count();
        group.until("a leader that renews", |lives| leaders(lives) > 0);
        thread::sleep(Duration::from_secs(3));
    }
    eprintln!("led again after {took:?} ms");
    let most = took.iter().max().copied().unwrap_or_default();
    assert!(
        most <= strain.allows(25 + 100 + 400),
        "an interval and a little, but {took:?} ms, {strain}"
    );
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    assert_eq!(judge(&group.lives()), []);
}

/// An outage of the store many leases long must end where it began: nobody may be declared dead for
/// what was the store's fault, and nobody has to restart.
#[test]
fn an_outage_of_the_server_ends_with_the_same_ids_and_the_same_assignment() {
    let group = Group::start("default", 4);
    group.until("an even share", |lives| shares_are(lives, &[25; 4]));
    let before: Vec<_> = group.lives().iter().map(Life::owned).collect();
    group.server().pause().expect("pauses");
    let revoked = |lives: &[Life]| shares(lives).iter().sum::<usize>() == 0;
    group.until("everything given up at the end of the leases", revoked);
    thread::sleep(Duration::from_secs(7));
    group.server().resume().expect("resumes");
    group.until("everything back", |lives| shares_are(lives, &[25; 4]));
    let lives = group.lives();
    assert_eq!(lives.iter().map(Life::owned).collect::<Vec<_>>(), before);
    for life in &lives {
        assert_eq!(life.count("claimed"), 1, "the same session goes on");
        assert!(life.count("degraded") >= 1, "it is told");
    }
    assert_eq!(judge(&lives), []);
}

/// The default timings promise to detect a crash within the lease of six seconds.
#[test]
fn the_default_timings_take_over_within_the_lease_and_a_second() {
    let strain = Strain::begin();
    let mut group = Group::start("default", 3);
    let sum = |lives: &[Life]| shares(lives).iter().sum::<usize>();
    group.until("everything owned", |lives| sum(lives) == PARTITIONS);
    let leader = group.position(|leads| leads);
    group.kill(leader);
    group.until("taken over", |lives| takeover_ms(lives, leader).is_some());
    let lives = group.lives();
    let took = takeover_ms(&lives, leader).expect("waited for");
    eprintln!("taken over after {took} ms");
    assert!(took <= strain.allows(6000 + 1000), "{took} ms, {strain}");
    assert_eq!(judge(&lives), []);
}

fn shares_are(lives: &[Life], expected: &[usize]) -> bool {
    shares(lives) == expected
}

/// Where a group keeps its records.
enum Place {
    /// On a server of its own, with the port where it tells of itself.
    Server(NatsServer, u16),
    /// In a file of this machine.
    #[cfg(feature = "sqlite")]
    File(PathBuf),
}

impl Place {
    fn arguments(&self) -> [String; 2] {
        match self {
            Self::Server(server, _) => ["--nats".to_owned(), server.url()],
            #[cfg(feature = "sqlite")]
            Self::File(path) => ["--file".to_owned(), path.display().to_string()],
        }
    }
}

/// Worker processes and what they share.
struct Group {
    place: Place,
    profile: &'static str,
    expected: usize,
    /// Further arguments of each process.
    further: &'static [&'static str],
    processes: Vec<Process>,
}

impl Group {
    fn start(profile: &'static str, workers: usize) -> Self {
        Self::start_with(profile, workers, &[])
    }

    fn start_with(profile: &'static str, workers: usize, further: &'static [&'static str]) -> Self {
        let monitoring = free_port();
        let config = format!("http: \"127.0.0.1:{monitoring}\"");
        let server = NatsServer::start(ServerOptions::default().config(&config));
        let place = Place::Server(server.expect("a nats-server"), monitoring);
        Self::start_in(place, profile, workers, further)
    }

    fn start_in(
        place: Place,
        profile: &'static str,
        workers: usize,
        further: &'static [&'static str],
    ) -> Self {
        let mut group = Self {
            place,
            profile,
            expected: workers,
            further,
            processes: Vec::new(),
        };
        for number in 0..workers {
            group.join(number);
        }
        group
    }

    fn join(&mut self, number: usize) {
        assert_eq!(number, self.processes.len());
        let (partitions, expected) = (PARTITIONS.to_string(), self.expected.to_string());
        let mut command = Command::new(example("worker"));
        command
            .args(self.place.arguments())
            .args(["--partitions", &partitions, "--json"])
            .args(["--profile", self.profile, "--expected", &expected])
            .args(self.further);
        self.processes.push(Process::start(command));
    }

    /// The server of a group that has one.
    fn server(&self) -> &NatsServer {
        match &self.place {
            Place::Server(server, _) => server,
            #[cfg(feature = "sqlite")]
            Place::File(path) => panic!("the group is in {}", path.display()),
        }
    }

    fn lives(&self) -> Vec<Life> {
        self.processes.iter().map(Process::life).collect()
    }

    fn alive(&self) -> Vec<usize> {
        let alive = |&process: &usize| self.processes[process].life().killed_at_ms.is_none();
        (0..self.processes.len()).filter(alive).collect()
    }

    /// A living process that leads, or one that does not.
    fn position(&self, wanted: impl Fn(bool) -> bool) -> usize {
        let leads = |process: usize| self.processes[process].life().leads();
        let mut alive = self.alive().into_iter();
        alive
            .find(|&process| wanted(leads(process)))
            .expect("there is one")
    }

    fn until(&self, what: &str, reached: impl Fn(&[Life]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !reached(&self.lives()) {
            let now = shares(&self.lives());
            assert!(
                Instant::now() < deadline,
                "not within {LIMIT:?}: {what}; {now:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a process as a power failure does.
    fn kill(&mut self, process: usize) {
        let process = &mut self.processes[process];
        let killed_at = now_ms();
        process.child.kill().expect("it ends");
        process.seen().killed_at_ms = Some(killed_at);
    }

    /// Asks a process to end, as an orchestrator does.
    fn terminate(&mut self, process: usize) -> ExitStatus {
        let process = &mut self.processes[process];
        process.child.terminate().expect("it runs");
        let status = process.child.wait().expect("it ends");
        let reader = process.reader.take().expect("read to the end once");
        reader.join().expect("it reads what there is");
        status
    }
}

/// A worker process. Dropping it kills it.
struct Process {
    child: OwnProcess,
    seen: Arc<Mutex<Life>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped());
        let mut child = OwnProcess::spawn(command).expect("starts");
        let out = BufReader::new(child.child().stdout.take().expect("piped"));
        let seen = Arc::<Mutex<Life>>::default();
        let written = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            for text in out.lines().map_while(Result::ok) {
                // A killed process may leave half a line behind.
                if let Some(line) = Line::parse(&text) {
                    let mut life = written.lock().unwrap_or_else(PoisonError::into_inner);
                    life.push(line);
                }
            }
        });
        let reader = Some(reader);
        Self {
            child,
            seen,
            reader,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Life> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> Life {
        self.seen().clone()
    }
}

/// An example: from the folder that `PARTI_EXAMPLES` names, or built as this test was.
fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if let Some(built) = std::env::var_os("PARTI_EXAMPLES") {
            return PathBuf::from(built);
        }
        let test = std::env::current_exe().expect("known");
        let folder = test
            .ancestors()
            .nth(2)
            .expect("<profile>/deps/<test>")
            .to_path_buf();
        let target = folder.parent().expect("a target folder");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "parti-rs",
                "--example",
                "worker",
                "--example",
                "quickstart",
            ])
            .args(["--all-features", "--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the example builds"
        );
        folder.join("examples")
    });
    folder.join(name)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500 000 000")
}
