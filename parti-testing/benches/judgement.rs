//! What one event costs a leader: a heartbeat, an acknowledgement, a join, and the loss of a worker,
//! over growing groups. One JSON object per line.
//!
//! `cargo bench -p parti-testing --bench judgement` measures; without `--bench` it makes one short
//! round, so that the tests keep it alive. The other workers are records only: what is measured is one
//! core, with its decoding of records and its effects, and no store.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use parti_core::{
    AssignmentStrategy, Boot, Config, Core, Effect, Entry, Epoch, Event, Expect, Instant, Key,
    Nonce, Partition, Readiness, Record, SessionRecord, SessionStatus, StoreOp, Version,
    WatchEvent, WatchId, WatchScope, WorkerId, Write, WriteId, wire,
};
use parti_strategy::Sticky;
use parti_testing::kit::kv::{Kv, Limits};

/// Workers, with ten partitions for each.
const SIZES: [u32; 4] = [10, 100, 1_000, 5_000];

fn main() {
    let measures = std::env::args().any(|argument| argument == "--bench");
    for size in SIZES {
        if measures || size == SIZES[0] {
            run(size, if measures { 20_000 } else { 100 });
        }
    }
}

fn run(size: u32, rounds: u32) {
    let mut group = Group::settled(size);
    let heartbeat = group.time(rounds, Group::heartbeat);
    let acknowledgement = group.time(rounds.min(2_000), Group::acknowledgement);
    let plans = rounds.min(20);
    let change = group.time(plans, Group::change_of_list);
    println!(
        "{{\"workers\":{size},\"partitions\":{},\"heartbeat_ns\":{},\"acknowledgement_ns\":{},\
         \"list_change_with_plan_and_commit_us\":{}}}",
        size * 10,
        heartbeat.as_nanos(),
        acknowledgement.as_nanos(),
        change.as_micros(),
    );
}

/// A leader, and the records of everybody else.
struct Group {
    core: Core,
    kv: Kv,
    now: Instant,
    watch: Option<(WatchId, WatchScope)>,
    inbox: VecDeque<Event>,
    partitions: Vec<Partition>,
    sessions: Vec<SessionRecord>,
    next: usize,
}

impl Group {
    /// A leader that has planned for all and whose plan was confirmed.
    fn settled(size: u32) -> Self {
        let config = Config::builder("bench").worker_id_range(0, size).build();
        let boot = Boot {
            now: Instant::from_millis(1_000),
            wall_ms: 1_700_000_000_000,
            seed: 1,
            strategy: Sticky::new().id(),
            software: "bench".to_owned(),
            endpoint: None,
            prepares: false,
        };
        let partition = |n: u32| Partition::new([format!("p-{n}")]).expect("valid");
        let limits = Limits {
            max_batch: usize::MAX,
            max_value: 64 << 20,
        };
        let mut group = Self {
            core: Core::new(config.expect("coherent"), boot),
            kv: Kv::new(1, limits),
            now: Instant::from_millis(1_000),
            watch: None,
            inbox: VecDeque::from([Event::Start]),
            partitions: (0..size * 10).map(partition).collect(),
            sessions: Vec::new(),
            next: 0,
        };
        group.settle();
        for number in 1..size {
            group.sessions.push(session(number));
            group.renew(number as usize - 1, Expect::Absent);
        }
        // Through the election and the cold start, with everybody renewing.
        for _ in 0..40 {
            group.pass(Duration::from_secs(1));
            for worker in 0..group.sessions.len() {
                group.renew(worker, Expect::Any);
            }
        }
        assert!(group.core.status().is_leader, "it leads");
        group.confirm();
        group
    }

    /// The mean time of one round, in which the core alone is measured.
    fn time(&mut self, rounds: u32, round: fn(&mut Self) -> Duration) -> Duration {
        (0..rounds).map(|_| round(self)).sum::<Duration>() / rounds
    }

    /// One worker renews and says what it said before.
    fn heartbeat(&mut self) -> Duration {
        self.next = (self.next + 1) % self.sessions.len();
        // All renew within one interval.
        self.now += Duration::from_secs(2) / self.sessions.len() as u32;
        self.write_session(self.next, Expect::Any);
        self.measured()
    }

    /// One worker has taken in its record again: the leader judges the whole group.
    fn acknowledgement(&mut self) -> Duration {
        self.next = (self.next + 1) % self.sessions.len();
        let applied = &mut self.sessions[self.next].applied;
        *applied = applied.next();
        self.heartbeat()
    }

    /// The list changes: the leader lists, plans, and commits.
    fn change_of_list(&mut self) -> Duration {
        // Past the cooldown, with everybody renewing.
        for _ in 0..6 {
            self.pass(Duration::from_secs(2));
            for worker in 0..self.sessions.len() {
                self.renew(worker, Expect::Any);
            }
        }
        let last = self.partitions.len();
        let changed = Partition::new([format!("p-{last}-{}", self.now)]).expect("valid");
        self.partitions[last - 1] = changed;
        self.inbox.push_back(Event::SourceChanged);
        let spent = self.measured();
        self.confirm();
        spent
    }

    /// Passes on what is waiting; how long the core and the strategy took.
    fn measured(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        while let Some(event) = self.inbox.pop_front() {
            let start = std::time::Instant::now();
            self.core.handle(self.now, black_box(event));
            spent += start.elapsed();
            spent += self.drain();
        }
        spent
    }

    fn settle(&mut self) {
        self.measured();
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.core.poll_timeout().filter(|wake| wake.at <= end) {
            self.now = self.now.max(wake.at);
            self.core.handle_timeout(self.now);
            self.drain();
            self.settle();
        }
        self.now = end;
    }

    /// Performs the effects; how long the strategy took.
    fn drain(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Store { op, request } => {
                    let result = self.kv.execute(&request);
                    self.inbox.push_back(Event::Store { op, result });
                    self.publish(&request);
                }
                Effect::Watch { id, scope } => self.begin(id, scope),
                Effect::Unwatch { .. }
                | Effect::Assign { .. }
                | Effect::Prepare { .. }
                | Effect::Withdraw { .. }
                | Effect::Answer { .. }
                | Effect::Probe { .. }
                | Effect::Notify(_) => {}
                Effect::ListPartitions { op } => {
                    let result = Ok(self.partitions.clone());
                    self.inbox.push_back(Event::Partitions { op, result });
                }
                Effect::Plan { op, input } => {
                    let start = std::time::Instant::now();
                    let result = Sticky::new().plan(&input);
                    spent += start.elapsed();
                    self.inbox.push_back(Event::Planned { op, result });
                }
                Effect::Revoke { grants, .. } => self.inbox.push_back(Event::Released { grants }),
            }
        }
        spent
    }

    fn begin(&mut self, id: WatchId, scope: WatchScope) {
        let mut present: Vec<Entry> = self.kv.entries().cloned().collect();
        present.retain(|entry| scope.contains(&entry.key));
        present.sort_unstable_by_key(|entry| entry.revision);
        let revision = self.kv.last_revision();
        let present = present.into_iter().map(WatchEvent::Entry);
        for event in present.chain([WatchEvent::CaughtUp { revision }]) {
            self.inbox.push_back(Event::Watch { id, event });
        }
        self.watch = Some((id, scope));
    }

    /// Shows the watch what a commit wrote.
    fn publish(&mut self, request: &StoreOp) {
        let (Some((id, scope)), StoreOp::Commit { writes }) = (&self.watch, request) else {
            return;
        };
        let written = writes.iter().filter_map(|write| self.kv.entry(&write.key));
        let shown = written.filter(|entry| scope.contains(&entry.key));
        let events = shown.map(|entry| Event::Watch {
            id: *id,
            event: WatchEvent::Entry(entry.clone()),
        });
        self.inbox.extend(events);
    }

    fn renew(&mut self, worker: usize, expect: Expect) {
        self.write_session(worker, expect);
        self.settle();
    }

    /// Writes a session and puts its entry where the leader's watch would.
    fn write_session(&mut self, worker: usize, expect: Expect) {
        let record = &mut self.sessions[worker];
        record.write.seq += 1;
        let key = format!("w.worker-{}", worker + 1);
        let value = Some(wire::encode(&Record::Session(record.clone())));
        let write = Write { key, value, expect };
        let applied = self.kv.commit(&[write]).expect("applies");
        for applied in applied {
            let revision = applied.entry.revision;
            if self.sessions[worker].epoch == Epoch::ZERO {
                self.sessions[worker].epoch = Epoch::from(revision);
            }
            let Some((id, WatchScope::All)) = self.watch else {
                continue;
            };
            let event = WatchEvent::Entry(applied.entry);
            self.inbox.push_back(Event::Watch { id, event });
        }
    }

    /// Everybody takes in its record, until nothing is left to do.
    fn confirm(&mut self) {
        for _ in 0..4 {
            let records: Vec<(usize, Version)> = self.kv.entries().filter_map(record_of).collect();
            for (worker, version) in records {
                if worker > 0 && self.sessions[worker - 1].applied != version {
                    self.sessions[worker - 1].applied = version;
                    self.renew(worker - 1, Expect::Any);
                }
            }
            self.pass(Duration::from_millis(100));
        }
    }
}

/// The worker's number and the version of an assignment.
fn record_of(entry: &Entry) -> Option<(usize, Version)> {
    let Key::Assignment(worker) = Key::parse(&entry.key) else {
        return None;
    };
    let number = worker.as_str().strip_prefix("worker-")?.parse().ok()?;
    match wire::decode(entry.value.as_deref()?) {
        Ok(Record::Assignment(record)) => Some((number, record.version)),
        Ok(_) | Err(_) => None,
    }
}

fn session(number: u32) -> SessionRecord {
    let worker = WorkerId::numbered("worker", number);
    assert!(worker.is_ok(), "a valid ID");
    SessionRecord {
        write: WriteId {
            nonce: Nonce::new(u128::from(number) + 1_000),
            seq: 0,
        },
        epoch: Epoch::ZERO,
        status: SessionStatus::Active,
        applied: Version::ZERO,
        known: Version::ZERO,
        age: Duration::ZERO,
        reads: parti_core::wire::FORMATS,
        draining: Vec::new(),
        capacity: 1,
        labels: Default::default(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: "bench".to_owned(),
        endpoint: None,
        settings: parti_core::GroupSettings::default(),
        honours: parti_core::Mode::Exclusive,
        rejections: Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    }
}
