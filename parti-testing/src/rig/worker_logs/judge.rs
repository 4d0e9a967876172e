//! The rules for the lives of all processes of a group in exclusive mode.
//!
//! It is separate from reading them because these are pure functions from histories to findings.
//! What always holds: without a finding nothing in the histories contradicts the rules; a history
//! that is cut short is not a finding.

use core::fmt;
use std::collections::BTreeMap;

use super::{Life, Line};

/// A process owned a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ownership {
    /// When processing began.
    pub from_ms: u64,
    /// Until when there is evidence that it could be relied on; `None` while it lasts.
    pub until_ms: Option<u64>,
    /// When its end was told, or the process killed.
    pub told_ms: Option<u64>,
    /// The fencing token.
    pub token: u64,
    /// The number of the process.
    pub process: usize,
    /// The session under which.
    pub session: String,
}

/// A generation as its leader told it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// How many lost histories the process that told of most had told of before: each begins with
    /// a first term.
    pub history: u64,
    /// Its version.
    pub version: u64,
    /// The term of the leader.
    pub term: u64,
    /// The leader, as a worker ID.
    pub leader: String,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Two could rely on a partition at once.
    Overlap {
        /// The partition.
        partition: String,
        /// The earlier.
        first: Ownership,
        /// The later.
        second: Ownership,
    },
    /// A later ownership has a token that does not exceed the earlier one.
    StaleToken {
        /// The partition.
        partition: String,
        /// The earlier.
        first: Ownership,
        /// The later.
        second: Ownership,
    },
    /// A process was given a partition that it had.
    AssignedTwice {
        /// The partition.
        partition: String,
        /// The process.
        process: usize,
        /// When.
        at_ms: u64,
    },
    /// A process gave back a partition that it did not have.
    RevokedInVain {
        /// The partition.
        partition: String,
        /// The process.
        process: usize,
        /// When.
        at_ms: u64,
    },
    /// The same version or term by two leaders, or terms that fall while versions rise.
    TwoChains {
        /// The one.
        first: Commit,
        /// The other.
        second: Commit,
    },
    /// A callback panicked.
    Panicked {
        /// The process.
        process: usize,
        /// When.
        at_ms: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap {
                partition,
                first,
                second,
            } => write!(f, "{partition} had two owners: {first} and {second}"),
            Self::StaleToken {
                partition,
                first,
                second,
            } => write!(
                f,
                "tokens of {partition} do not rise: {first}, then {second}"
            ),
            Self::AssignedTwice {
                partition,
                process,
                at_ms,
            } => write!(f, "{partition} assigned to its owner {process} at {at_ms}"),
            Self::RevokedInVain {
                partition,
                process,
                at_ms,
            } => write!(f, "{partition} taken from {process} without it, at {at_ms}"),
            Self::TwoChains { first, second } => {
                write!(f, "not one chain: {first:?} and {second:?}")
            }
            Self::Panicked { process, at_ms } => {
                write!(f, "a callback of {process} panicked at {at_ms}")
            }
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (process, from, token) = (self.process, self.from_ms, self.token);
        match self.until_ms {
            Some(until) => write!(f, "process {process} from {from} to {until}, token {token}"),
            None => write!(f, "process {process} since {from}, token {token}"),
        }
    }
}

/// Every rule that holds whatever happened to the processes.
#[must_use]
pub fn judge(lives: &[Life]) -> Vec<Finding> {
    let mut found = malformed(lives);
    found.extend(overlaps(lives));
    found.extend(stale_tokens(lives));
    found.extend(chain(commits(lives)));
    found
}

/// The ownerships of each partition, in the order in which they began.
#[must_use]
pub fn ownerships(lives: &[Life]) -> BTreeMap<String, Vec<Ownership>> {
    let mut all: BTreeMap<String, Vec<Ownership>> = BTreeMap::new();
    for (process, life) in lives.iter().enumerate() {
        let mut open: BTreeMap<&str, Ownership> = BTreeMap::new();
        for line in &life.lines {
            let Some(partition) = line.text("partition") else {
                continue;
            };
            match line.event.as_str() {
                "assigned" => drop(open.insert(partition, begun(process, line))),
                "revoked" => {
                    if let Some(mut ownership) = open.remove(partition) {
                        ownership.told_ms = Some(line.at_ms);
                        let used = line.number("used_ms").unwrap_or(line.at_ms);
                        ownership.until_ms = Some(used.max(ownership.from_ms));
                        all.entry(partition.to_owned()).or_default().push(ownership);
                    }
                }
                _ => {}
            }
        }
        for (partition, mut ownership) in open {
            // A paused process acts no more; once it goes on, its lines say what it believed.
            let paused = life.paused_at_ms.filter(|_| is_silent_since_pause(life));
            ownership.told_ms = life.killed_at_ms;
            ownership.until_ms = [life.killed_at_ms, paused].into_iter().flatten().min();
            all.entry(partition.to_owned()).or_default().push(ownership);
        }
    }
    all.values_mut().for_each(|list| list.sort());
    all
}

fn begun(process: usize, line: &Line) -> Ownership {
    Ownership {
        from_ms: line.at_ms,
        until_ms: None,
        told_ms: None,
        token: line.number("token").unwrap_or(0),
        process,
        session: line.session.clone(),
    }
}

fn is_silent_since_pause(life: &Life) -> bool {
    let last = life.lines.last().map(|line| line.at_ms);
    last.is_none_or(|last| life.paused_at_ms.is_some_and(|paused| last <= paused))
}

/// Ownerships of the same partition that overlap in time.
#[must_use]
pub fn overlaps(lives: &[Life]) -> Vec<Finding> {
    pairs(lives, |first, second| {
        first.until_ms.is_none_or(|until| until > second.from_ms)
    })
    .map(|(partition, first, second)| Finding::Overlap {
        partition,
        first,
        second,
    })
    .collect()
}

/// Ownerships whose token is not larger than that of another session before. A session that gets
/// back what nobody else had meanwhile keeps its token.
#[must_use]
pub fn stale_tokens(lives: &[Life]) -> Vec<Finding> {
    pairs(lives, |first, second| {
        let least = first.token + u64::from(first.session != second.session);
        second.token < least
    })
    .map(|(partition, first, second)| Finding::StaleToken {
        partition,
        first,
        second,
    })
    .collect()
}

/// Neighbours in the list of a partition's owners for which something holds.
fn pairs(
    lives: &[Life],
    holds: impl Fn(&Ownership, &Ownership) -> bool,
) -> impl Iterator<Item = (String, Ownership, Ownership)> {
    let all = ownerships(lives).into_iter();
    all.flat_map(move |(partition, list)| {
        let pairs = list.windows(2).filter(|pair| holds(&pair[0], &pair[1]));
        let pairs = pairs.map(|pair| (partition.clone(), pair[0].clone(), pair[1].clone()));
        pairs.collect::<Vec<_>>()
    })
}

/// The generations that leaders told of. One whose answer was lost is not among them.
#[must_use]
pub fn commits(lives: &[Life]) -> Vec<Commit> {
    let lines = || lives.iter().flat_map(|life| &life.lines);
    // Every process tells of the same loss; one that tells again tells of another.
    let lost_before = |life: &Life, at_ms: u64| {
        let lost = |line: &&Line| line.event == "history_lost" && line.at_ms < at_ms;
        life.lines.iter().filter(lost).count()
    };
    let commit = |line: &Line| {
        let lost = lives.iter().map(|life| lost_before(life, line.at_ms));
        let history = lost.max().unwrap_or(0) as u64;
        let (version, term) = (line.number("version")?, line.number("term")?);
        let leader = line.worker.clone();
        (line.event == "committed").then_some(Commit {
            history,
            version,
            term,
            leader,
        })
    };
    lines().filter_map(commit).collect()
}

/// Whether generations are those of one leader after another; the same generation from two sources
/// is one.
#[must_use]
pub fn chain(mut commits: Vec<Commit>) -> Vec<Finding> {
    commits.sort();
    commits.dedup();
    let broken = |first: &Commit, second: &Commit| {
        let same_history = first.history == second.history;
        let two_leaders = first.term == second.term && first.leader != second.leader;
        let falling = first.term > second.term;
        first.version >= second.version || (same_history && (falling || two_leaders))
    };
    let pairs = commits.windows(2);
    let broken = pairs.filter(|pair| broken(&pair[0], &pair[1]));
    broken
        .map(|pair| Finding::TwoChains {
            first: pair[0].clone(),
            second: pair[1].clone(),
        })
        .collect()
}

/// What no single process may have written.
fn malformed(lives: &[Life]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (process, life) in lives.iter().enumerate() {
        let mut open: BTreeMap<&str, ()> = BTreeMap::new();
        for line in &life.lines {
            let at_ms = line.at_ms;
            match (line.event.as_str(), line.text("partition")) {
                ("assigned", Some(partition)) => {
                    if open.insert(partition, ()).is_some() {
                        let partition = partition.to_owned();
                        found.push(Finding::AssignedTwice {
                            partition,
                            process,
                            at_ms,
                        });
                    }
                }
                ("revoked", Some(partition)) => {
                    if open.remove(partition).is_none() {
                        let partition = partition.to_owned();
                        found.push(Finding::RevokedInVain {
                            partition,
                            process,
                            at_ms,
                        });
                    }
                }
                ("panicked", _) => found.push(Finding::Panicked { process, at_ms }),
                (_, _) => {}
            }
        }
    }
    found
}
