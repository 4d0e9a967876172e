//! One run: owners on a stream that fail as the seed says, then everything heals.
//!
//! It is separate from what it moves: here is chance, and nowhere else. What always holds: every step is one
//! of the things that can happen next, chosen by the seed; a request is done when the server does it and not
//! when it is asked or answered.

use std::collections::BTreeMap;
use std::time::Duration;

use parti_nats::consume::{Owner, Retention, Wrote};

use super::checks::{Checks, Violation};
use super::lane::{Act, Effect, Lane, Purpose};
use super::planted::Bug;
use super::request::{Answer, Item, Request};
use super::server::{FakeStream, Release};
use crate::kit::random::Random;

mod faults;
mod numberings;

use numberings::Numberings;

/// How long a run may take to come to rest when the faults are over, in steps.
const PATIENCE: u64 = 20_000;
/// How often to look whether all is done.
const LOOK: u64 = 50;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Everything follows from it.
    pub seed: u64,
    /// A bug that every owner has.
    pub bug: Option<Bug>,
    /// Keep what happened.
    pub traced: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the stream kept its messages.
    pub retention: Retention,
    /// What did not hold.
    pub violation: Option<Violation>,
    /// How many messages were published.
    pub published: u64,
    /// How often a partition got another owner.
    pub moves: u64,
    /// How many handler calls were repeats.
    pub repeats: u64,
    /// How many steps it took.
    pub steps: u64,
    /// What happened, if it was kept.
    pub trace: Vec<String>,
}

/// A request on its way, or its answer.
#[derive(Debug)]
struct Flight {
    lane: u64,
    purpose: Purpose,
    operation: u64,
    request: Option<Request>,
    answer: Answer,
}

struct World {
    random: Random,
    retention: Retention,
    bug: Option<Bug>,
    server: FakeStream,
    checks: Checks,
    lanes: BTreeMap<u64, Lane>,
    /// The lanes that a suspended process runs.
    frozen: Vec<u64>,
    /// The lane that the group says owns the partition.
    owners: BTreeMap<u32, Option<u64>>,
    flights: Vec<Flight>,
    /// How many messages each key has.
    numbers: BTreeMap<u32, u64>,
    numberings: Numberings,
    /// The server was killed at least once.
    was_killed: bool,
    made: u64,
    steps: u64,
    moves: u64,
    trace: Option<Vec<String>>,
}

/// Runs a seed.
#[must_use]
pub fn run(run: &Run) -> Outcome {
    let mut random = Random::new(run.seed, "streams");
    let kinds = [Retention::Limits, Retention::WorkQueue, Retention::Interest];
    let retention = kinds[random.below(3) as usize];
    let numberings = Numberings::new(&mut random);
    let first = numberings.listed(None);
    let release = if random.below(2) == 0 {
        Release::Before214
    } else {
        Release::Since214
    };
    let mut world = World {
        server: FakeStream::new(retention, release),
        retention,
        bug: run.bug,
        checks: Checks::new(),
        lanes: BTreeMap::new(),
        frozen: Vec::new(),
        owners: first.iter().map(|partition| (*partition, None)).collect(),
        numberings,
        was_killed: false,
        flights: Vec::new(),
        numbers: BTreeMap::new(),
        made: 0,
        steps: 0,
        moves: 0,
        trace: run.traced.then(Vec::new),
        random,
    };
    world.found(first);
    let steps = 200 + world.random.below(1_200);
    let faults = world.random.below(4);
    while world.steps < steps && world.checks.violation.is_none() {
        world.step(faults);
    }
    world.heal();
    Outcome {
        retention,
        violation: world.checks.violation,
        published: world.numbers.values().sum(),
        moves: world.moves,
        repeats: world.checks.repeats,
        steps: world.steps,
        trace: world.trace.unwrap_or_default(),
    }
}

impl World {
    /// By interest a group creates a durable for each partition before anything is published.
    fn found(&mut self, partitions: impl IntoIterator<Item = u32>) {
        if self.retention != Retention::Interest {
            return;
        }
        let owner = Owner { token: 0, nonce: 0 };
        for partition in partitions {
            let lane = Lane::new(partition, owner, self.retention, None);
            let create = Request::Create {
                name: lane.durable_name().encode(),
                partition: Some(partition),
                after: 0,
            };
            self.server.serve(create);
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} {}", self.steps, what()));
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.steps)
    }

    fn step(&mut self, faults: u64) {
        self.steps += 1;
        match self.random.below(1_020) {
            1_000..1_004 => self.repartition(),
            1_004..1_020 => self.look_at_the_gate(),
            0..70 => self.publish(),
            70..400 => self.serve(),
            400..680 => self.deliver(faults),
            680..950 => self.act(),
            950..974 => self.grant(),
            974..982 => self.revoke(),
            982..988 => self.synchronise(),
            _ => self.fail(faults),
        }
        self.checks.dropped(&self.server);
    }

    fn publish(&mut self) {
        let (key, partition) = self.numberings.choose(&mut self.random);
        let next = self.numbers.entry(key).or_default();
        let number = *next;
        *next += 1;
        let item = Item {
            sequence: self.server.facts().last + 1,
            partition,
            number,
        };
        self.checks.published(item, key);
        self.server.serve(Request::Publish { partition, number });
        self.note(|| format!("published {item:?} of key {key}"));
    }

    /// The server does one of the requests on the way, whichever comes first.
    fn serve(&mut self) {
        let waiting = self.flights.iter().enumerate();
        let waiting = waiting.filter(|(_, flight)| flight.request.is_some());
        let waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        let Some(index) = self.pick(waiting.len()).map(|pick| waiting[pick]) else {
            return;
        };
        let Some(request) = self.flights[index].request.take() else {
            return;
        };
        let lane = self.flights[index].lane;
        let answer = self.done(&request);
        self.note(|| format!("lane {lane}: {request:?} -> {answer:?}"));
        self.flights[index].answer = answer;
    }

    fn done(&mut self, request: &Request) -> Answer {
        if let (Request::Load { partition }, Some(Bug::FollowerRead)) = (request, self.bug) {
            return self.server.read_from_follower(*partition);
        }
        if let Request::Acknowledge { sequence, name, .. } = request
            && self.server.names().contains(name)
        {
            self.checks.acknowledged(&self.server, *sequence);
        }
        let answer = self.server.serve(request.clone());
        if let (
            Request::Store {
                partition, cursor, ..
            },
            Answer::Wrote(Wrote::Stored { .. }),
        ) = (request, &answer)
        {
            self.checks.stored(*partition, cursor);
        }
        answer
    }

    fn pick(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.random.below(count as u64) as usize)
    }

    /// One of the answers arrives, or is lost; or a request is given up that may still be done.
    fn deliver(&mut self, faults: u64) {
        let loses = faults > 0 && self.random.below(40) < faults;
        let ready = self.flights.iter().enumerate();
        let ready = ready.filter(|(_, flight)| flight.request.is_none() || loses);
        let ready: Vec<usize> = ready.map(|(index, _)| index).collect();
        let Some(index) = self.pick(ready.len()).map(|pick| ready[pick]) else {
            return;
        };
        let flight = &self.flights[index];
        if self.frozen.contains(&flight.lane) {
            return;
        }
        let (lane, purpose, operation) = (flight.lane, flight.purpose, flight.operation);
        let answer = if loses {
            Answer::Unknown
        } else {
            flight.answer.clone()
        };
        if self.flights[index].request.is_none() {
            self.flights.swap_remove(index);
        }
        let now = self.now();
        let Some(is) = self.lanes.get_mut(&lane) else {
            return;
        };
        if purpose == Purpose::Acknowledging || is.awaited.get(&purpose) != Some(&operation) {
            return;
        }
        is.awaited.remove(&purpose);
        let before = is.owner;
        let effects = is.answered(purpose, answer.clone(), now);
        if answer == Answer::Unknown {
            self.note(|| format!("lane {lane}: no answer for {purpose:?}"));
        }
        self.apply(lane, before, effects);
    }

    fn act(&mut self) {
        let awake = self.lanes.iter();
        let awake = awake.filter(|(number, _)| !self.frozen.contains(number));
        let acts = awake.flat_map(|(number, lane)| lane.acts().into_iter().map(|a| (*number, a)));
        let acts: Vec<(u64, Act)> = acts.collect();
        let Some((number, act)) = self.pick(acts.len()).map(|pick| acts[pick]) else {
            return;
        };
        self.acts(number, act);
    }

    fn acts(&mut self, number: u64, act: Act) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&number) else {
            return;
        };
        let before = lane.owner;
        let effects = lane.act(act, now);
        self.apply(number, before, effects);
    }

    fn apply(&mut self, number: u64, owner: Owner, effects: Vec<Effect>) {
        let partition = self.lanes.get(&number).map(|lane| lane.partition);
        for effect in effects {
            match effect {
                Effect::Ask(purpose, request) => self.ask(number, purpose, request),
                Effect::Handled { item, may_repeat } => {
                    self.handled(number, owner, item, may_repeat);
                }
                Effect::Released => {
                    self.note(|| format!("lane {number} released"));
                    self.free(number);
                }
                Effect::Stopped(condition) => {
                    self.note(|| format!("lane {number} stopped: {condition}"));
                    let is = partition.and_then(|partition| self.server.cursor(partition));
                    self.checks.stopped(&condition, owner, is);
                    if self.lanes.get(&number).is_some_and(Lane::is_ended) {
                        self.free(number);
                    }
                }
            }
        }
    }

    fn handled(&mut self, lane: u64, owner: Owner, item: Item, may_repeat: bool) {
        let is_owner = self.owners.get(&item.partition) == Some(&Some(lane));
        self.note(|| format!("lane {lane} handled {item:?} (may repeat: {may_repeat})"));
        self.checks.handled(item, owner, may_repeat, is_owner);
    }

    fn ask(&mut self, number: u64, purpose: Purpose, request: Request) {
        self.made += 1;
        let operation = self.made;
        if let Some(lane) = self.lanes.get_mut(&number)
            && purpose != Purpose::Acknowledging
        {
            lane.awaited.insert(purpose, operation);
        }
        self.flights.push(Flight {
            lane: number,
            purpose,
            operation,
            request: Some(request),
            answer: Answer::Unknown,
        });
    }

    /// Nobody owns the partition of a lane that is over.
    fn free(&mut self, number: u64) {
        for owner in self
            .owners
            .values_mut()
            .filter(|owner| **owner == Some(number))
        {
            *owner = None;
        }
        self.lanes.remove(&number);
        self.frozen.retain(|frozen| *frozen != number);
    }

    fn grant(&mut self) {
        let listed = self.numberings.listed(self.bug);
        let free = self.owners.iter();
        let free = free.filter(|(partition, owner)| owner.is_none() && listed.contains(partition));
        let free: Vec<u32> = free.map(|(partition, _)| *partition).collect();
        let Some(partition) = self.pick(free.len()).map(|pick| free[pick]) else {
            return;
        };
        self.made += 1;
        self.moves += 1;
        let number = self.made;
        let owner = Owner {
            token: number,
            nonce: number << 20,
        };
        self.lanes.insert(
            number,
            Lane::new(partition, owner, self.retention, self.bug),
        );
        self.owners.insert(partition, Some(number));
        self.note(|| format!("partition {partition} is granted to lane {number}"));
    }

    fn owned(&mut self) -> Option<u64> {
        let owned: Vec<u64> = self.owners.values().copied().flatten().collect();
        self.pick(owned.len()).map(|pick| owned[pick])
    }

    fn revoke(&mut self) {
        let Some(number) = self.owned() else { return };
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.revoke();
        }
        self.note(|| format!("lane {number} is revoked"));
    }

    fn synchronise(&mut self) {
        self.server.synchronise();
        self.server.catch_up();
    }

    /// Everything works again, and must come to rest with all done.
    fn heal(&mut self) {
        self.frozen.clear();
        self.tell_late_ones();
        let limit = self.steps + PATIENCE;
        while self.checks.violation.is_none() {
            self.steps += 1;
            match self.random.below(1_020) {
                1_000.. => self.look_at_the_gate(),
                0..400 => self.serve(),
                400..700 => self.deliver(0),
                700..980 => self.act(),
                _ => {
                    self.grant();
                    self.look_for_what_is_left();
                }
            }
            self.checks.dropped(&self.server);
            if !self.steps.is_multiple_of(LOOK) {
                continue;
            }
            let rests = self.lanes.values().all(Lane::is_settled);
            let all = self.owners.values().all(Option::is_some);
            // What a killed server forgot was acknowledged stays where there is no further owner.
            let forgets = self.was_killed && self.retention == Retention::WorkQueue;
            let is_over = |partition| forgets && !self.owners.contains_key(&partition);
            let left = self.checks.left(&self.server, self.retention, is_over);
            match left {
                None if rests && all && self.is_shared() => return,
                left if self.steps >= limit => {
                    let left = left.unwrap_or_else(|| "no owner comes to rest".to_owned());
                    self.checks.not_drained(left);
                }
                _ => {}
            }
        }
    }

    /// What happens after a while: late acknowledgements are asked for again, owners sweep.
    fn look_for_what_is_left(&mut self) {
        if self.random.below(5) == 0 {
            self.server.acknowledgements_are_late();
        }
        let numbers: Vec<u64> = self.lanes.keys().copied().collect();
        for number in numbers {
            let lane = self.lanes.get(&number);
            if lane.is_some_and(|lane| !lane.awaits(Purpose::Reading)) {
                self.acts(number, Act::Sweep);
            }
        }
    }
}
