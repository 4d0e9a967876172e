//! How far a group is at one instant: who holds what, what the store says, and what is missing for the
//! group to count as settled.

use std::collections::{BTreeMap, BTreeSet};

use parti_core::{
    AssignmentRecord, Epoch, Head, Instant, ParkReason, ParkedGroup, PartitionKey, SessionRecord,
    State, Version, WorkerId,
};

use crate::simulator::checks::Process;

/// A step of the recovery after the faults. Each has its own bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everybody has an ID.
    Claimed,
    /// Somebody leads.
    Elected,
    /// The leader knows the newest generation.
    Seen,
    /// The dead are known to be dead.
    Detected,
    /// Everybody has a record.
    Decided,
    /// Everybody has taken in its record.
    Applied,
    /// What was to be handed over has been.
    HandedOver,
    /// Nobody keeps what it does not confirm.
    Confirmed,
    /// Nobody is degraded.
    Recovered,
}

/// How a worker stands to the store after the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every link is whole: it must be served.
    Core,
    /// Its requests arrive, though it may hear nothing: it may live and hinders nobody.
    Reaching,
    /// Nothing of it arrives: it counts as dead.
    CutOff,
}

/// A running process and what it holds validly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Which.
    pub process: Process,
    /// How it is connected.
    pub standing: Standing,
    /// The ID it holds, and its incarnation.
    pub id: Option<(WorkerId, Epoch)>,
    /// Where it stands.
    pub state: State,
    /// Whether it leads.
    pub leads: bool,
    /// The version of the newest generation it knows.
    pub version: Version,
    /// How much it takes relative to the others.
    pub capacity: u32,
    /// What it holds validly.
    pub held: BTreeSet<PartitionKey>,
}

/// What the store says, and since when each record has said so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// The newest generation.
    pub head: Option<Head>,
    /// The sessions, with their incarnations.
    pub sessions: BTreeMap<WorkerId, (Instant, Epoch, SessionRecord)>,
    /// The assignments.
    pub assignments: BTreeMap<WorkerId, (Instant, AssignmentRecord)>,
    /// What has no owner, by what it waits for.
    pub parked: Vec<ParkedGroup>,
    /// Workers that are to get nothing new, by order.
    pub kept_out: BTreeSet<WorkerId>,
}

impl Stored {
    /// Whether this incarnation has not ended.
    #[must_use]
    pub fn is_living(&self, worker: &WorkerId, epoch: Epoch) -> bool {
        self.sessions
            .get(worker)
            .is_some_and(|(_, present, record)| *present == epoch && record.status.is_living())
    }
}

/// Who can process a partition that not everybody can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfit {
    /// Those with whom it fails.
    pub failing: BTreeSet<Process>,
    /// Those of the core who may own it and could process it, and fail with nothing else.
    pub able: BTreeSet<Process>,
}

/// Who holds what at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// When, in true time.
    pub now: Instant,
    /// The list of the source.
    pub partitions: BTreeSet<PartitionKey>,
    /// Whether the strategy may leave a worker without a partition though there are many.
    pub uneven: bool,
    /// Partitions that no worker of the core may own: they may stay without an owner.
    pub homeless: BTreeSet<PartitionKey>,
    /// Partitions that no worker at all may own that the others can hear: they must be parked.
    pub abandoned: BTreeSet<PartitionKey>,
    /// Partitions with which handlers fail somewhere.
    pub unfit: BTreeMap<PartitionKey, Unfit>,
    /// Every running process.
    pub workers: Vec<Worker>,
    /// Processes that were told to stop and have not, though it took too long.
    pub unstopped: Vec<Process>,
    /// What the store says.
    pub stored: Stored,
    /// Somebody stays half connected: it may come and go for ever, and the group with it.
    pub restless: bool,
    /// Whether the group was seen settled at some time since the faults.
    pub settled: bool,
}

impl Coverage {
    /// The workers that must be served.
    pub fn core(&self) -> impl Iterator<Item = &Worker> {
        self.workers
            .iter()
            .filter(|worker| worker.standing == Standing::Core)
    }

    /// What is missing for the group to count as settled; empty if nothing is.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let mut pending = self.pending_leader();
        for worker in self.core() {
            if worker.state != State::Stable {
                pending.push(format!("{} is {}", worker.process, worker.state));
            }
        }
        for process in &self.unstopped {
            pending.push(format!("{process} was told to stop and has not stopped"));
        }
        self.pending_partitions(&mut pending);
        pending
    }

    /// What is missing for the group to have one leader.
    #[must_use]
    pub fn pending_leader(&self) -> Vec<String> {
        let leaders: Vec<_> = self
            .core()
            .filter(|worker| worker.leads)
            .map(|worker| worker.process.to_string())
            .collect();
        // One whose requests arrive and who hears of their outcome may lead as well as any other.
        let led = leaders.is_empty() && self.leader().is_some();
        if leaders.len() == 1 || led {
            Vec::new()
        } else {
            vec![format!("the leaders are {leaders:?}")]
        }
    }

    /// The process that leads according to `head` and to its own word.
    pub(in crate::simulator) fn leader(&self) -> Option<&Worker> {
        let named = self.stored.head.as_ref()?.leader.as_ref()?;
        let named = (named.worker.clone(), named.epoch);
        self.workers.iter().find(|worker| {
            worker.leads
                && worker.standing != Standing::CutOff
                && worker.id.as_ref() == Some(&named)
        })
    }

    /// What a worker holds and is to hold: of one that is not whole, only what its record grants.
    fn counted<'a>(&'a self, worker: &'a Worker) -> impl Iterator<Item = &'a PartitionKey> {
        let record = worker.id.as_ref().and_then(|(id, epoch)| {
            let (_, record) = self.stored.assignments.get(id)?;
            let living = record.epoch == *epoch && self.stored.is_living(id, *epoch);
            living.then_some(record)
        });
        worker.held.iter().filter(move |partition| {
            let granted = |record: &AssignmentRecord| {
                let mut granted = record.granted.iter();
                granted.any(|grant| grant.partition == **partition)
            };
            worker.standing == Standing::Core || record.is_some_and(granted)
        })
    }

    /// How much is parked for want of room by a leader that hears no answers: it does not learn that the
    /// store takes more again.
    fn out_of_room_unheard(&self) -> usize {
        let leader = self.leader();
        let heard = leader.is_none_or(|leader| leader.standing == Standing::Core);
        // Those that are kept out by order might have room, or be the only ones who may own something.
        let kept_out = !self.stored.kept_out.is_empty();
        if heard && !kept_out {
            return 0;
        }
        let parked = self.stored.parked.iter();
        let parked = parked.filter(|group| kept_out || group.reason == ParkReason::DoesNotFit);
        parked.map(|group| group.count as usize).sum()
    }

    fn pending_partitions(&self, pending: &mut Vec<String>) {
        let mut holders: BTreeMap<&PartitionKey, Vec<Process>> = BTreeMap::new();
        for worker in &self.workers {
            for partition in self.counted(worker) {
                holders.entry(partition).or_default().push(worker.process);
            }
        }
        let nobody = Vec::new();
        let mut unheld = 0_usize;
        for partition in &self.partitions {
            let held_by = holders.get(partition).unwrap_or(&nobody);
            match held_by.as_slice() {
                [_] => {}
                [] if self.homeless.contains(partition) => {}
                [] => unheld += 1,
                many => pending.push(format!("{partition} is held by {many:?}")),
            }
        }
        let capable: Vec<_> = self
            .workers
            .iter()
            .filter(|w| w.standing != Standing::CutOff && w.capacity > 0)
            .collect();
        let unheld = unheld.saturating_sub(self.out_of_room_unheard());
        // What only a broken worker could take may stay without an owner.
        if unheld > 0 && self.core().any(|worker| worker.capacity > 0) {
            let all = self.partitions.len();
            pending.push(format!("{unheld} of {all} partitions are held by nobody"));
        }
        for (partition, by) in holders {
            if !self.partitions.contains(partition) {
                pending.push(format!("{partition} is not in the list and held by {by:?}"));
            }
        }
        // Who is cordoned keeps what it has, however much that is.
        let even = !self.uneven && self.stored.kept_out.is_empty();
        if even && self.partitions.len() >= capable.len() * 4 {
            let whole = capable.iter().filter(|w| w.standing == Standing::Core);
            let idle = whole.filter(|worker| worker.held.is_empty());
            pending.extend(idle.map(|worker| format!("{} got no partition", worker.process)));
        }
    }
}
